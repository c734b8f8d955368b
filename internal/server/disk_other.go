//go:build !unix

package server

// isDiskFull: this system does not say.
func isDiskFull(error) bool { return false }

// maxFiles: likewise.
func maxFiles() int { return 0 }
