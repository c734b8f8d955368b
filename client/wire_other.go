//go:build !unix

package client

import "net"

// quiet cannot be told here: a connection that the daemon closed gives an error
// when it is used.
func quiet(net.Conn) bool { return true }
