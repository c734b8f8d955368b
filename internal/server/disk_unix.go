//go:build unix

package server

import (
	"errors"
	"syscall"
)

// isDiskFull reports whether the operating system had no room.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// maxFiles returns how many files this process may have open, 0 if it cannot
// tell.
func maxFiles() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0
	}
	return int(min(uint64(l.Cur), 1<<30))
}
