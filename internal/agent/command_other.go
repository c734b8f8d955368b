//go:build !linux

package agent

import (
	"errors"

	"ledgerd/runtime"
)

func (e *commandEntry) tool(runtime.Spec) (runtime.Tool, error) {
	return nil, errors.New("commands are run on Linux alone")
}
