//go:build unix

package notify

import (
	"os/exec"
	"syscall"
)

// group gives the command a process group, all of which ends with its time.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
