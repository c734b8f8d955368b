//go:build !unix

package filelock

import (
	"errors"
	"os"
)

func lock(*os.File) error { return errors.ErrUnsupported }

func held(*os.File) (bool, error) { return false, errors.ErrUnsupported }
