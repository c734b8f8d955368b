//go:build !unix

package bench

import "time"

// cpuTime returns false: it cannot be told here.
func cpuTime() (time.Duration, bool) { return 0, false }
