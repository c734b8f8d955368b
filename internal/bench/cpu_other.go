//go:build !unix

package bench

import "time"

// CPUTime returns false: it cannot be told here.
func CPUTime() (time.Duration, bool) { return 0, false }
