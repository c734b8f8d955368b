//go:build unix

package bench

import (
	"syscall"
	"time"
)

// CPUTime returns the CPU time that this process has used, in user and in
// system mode; false where it cannot be told.
func CPUTime() (time.Duration, bool) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
