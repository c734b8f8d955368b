//go:build unix

package userdaemon

import (
	"os/exec"
	"syscall"
)

// detach has a program be in a session of its own: what ends the one that started it,
// a terminal or a process group, does not end it.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

func terminate(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }
