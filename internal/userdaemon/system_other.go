//go:build !unix

package userdaemon

import (
	"errors"
	"os/exec"
)

// Without Unix there is no lock (package filelock), and so no daemon to be shared.

func detach(*exec.Cmd) {}

func terminate(int) error { return errors.ErrUnsupported }
