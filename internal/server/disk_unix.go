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
