//go:build unix

package client

import (
	"net"
	"syscall"
)

// quiet reports whether an idle connection is one that a request can be sent
// on: neither closed by the daemon nor with an answer that nobody asked for.
func quiet(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	var room [1]byte
	open := false
	err = raw.Control(func(fd uintptr) {
		// The descriptor does not block, so this says at once that there is
		// nothing yet, which is what an open and idle connection has.
		_, err := syscall.Read(int(fd), room[:])
		open = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
	})
	return err == nil && open
}
