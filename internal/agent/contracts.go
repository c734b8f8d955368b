package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"ledgerd/audit"
	"ledgerd/runtime"
)

// Contracts has the contracts of a directory: DIR/TASK.json for each type of task.
// They are read when a run is opened, so that a change needs no restart; a run
// keeps the contract that it was opened with.
type Contracts struct {
	dir  string
	fsys fs.FS
}

// OpenContracts looks at every contract in a directory, and says what is wrong.
func OpenContracts(dir string) (*Contracts, error) {
	c := &Contracts{dir: dir, fsys: os.DirFS(dir)}
	files, err := fs.Glob(c.fsys, "*.json")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	for _, file := range files {
		if _, err := c.For(strings.TrimSuffix(path.Base(file), ".json"), nil); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// For returns the contract of a type of task, nil where there is none. One that
// cannot be read, or is about another task, is an error: a run without its contract
// could claim anything.
func (c *Contracts) For(task string, _ []byte) (*runtime.Contract, error) {
	if strings.ContainsAny(task, `/\`) || strings.HasPrefix(task, ".") {
		return nil, nil // no file of this directory has such a name
	}
	b, err := fs.ReadFile(c.fsys, task+".json")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, syscall.ENAMETOOLONG) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	contract, err := audit.ParseContract(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path.Join(c.dir, task+".json"), err)
	}
	if contract.Task != task {
		return nil, fmt.Errorf("%s: want a contract for the task %q, found one for %q", path.Join(c.dir, task+".json"), task, contract.Task)
	}
	return &runtime.Contract{Document: b, DeclaredBy: "operator"}, nil
}
