package userdaemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ledgerd/internal/datadir"
	"ledgerd/internal/filelock"
	"ledgerd/internal/userdaemon/place"
)

// Home is the directory of a user's daemon.
type Home struct {
	Path   string
	Socket string
}

// Find returns the home at a path, or where it is "", that of the environment. It need
// not be there; if it is, it has to be the user's alone.
func Find(path string) (*Home, error) {
	var err error
	if path == "" {
		path, err = place.Home(os.Getenv)
	} else {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, err
	}
	h := &Home{Path: path}
	if err := place.Private(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	h.Socket, err = place.Socket(path, os.Getenv("XDG_RUNTIME_DIR"))
	return h, err
}

// make makes the directory, if it is not there.
func (h *Home) make() error {
	if err := os.MkdirAll(filepath.Dir(h.Path), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(h.Path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return place.Private(h.Path)
}

func (h *Home) file(names ...string) string {
	return filepath.Join(append([]string{h.Path}, names...)...)
}

// DataDir is where the ledger is.
func (h *Home) DataDir() string { return h.file("ledger") }

func (h *Home) dir() (*datadir.Dir, error) { return datadir.Open(h.DataDir()) }

// lock waits for a lock of the home's, until ctx ends.
func (h *Home) lock(ctx context.Context, names ...string) (unlock func(), err error) {
	type held struct {
		unlock func()
		err    error
	}
	got := make(chan held, 1)
	go func() {
		unlock, err := filelock.Lock(h.file(names...))
		got <- held{unlock, err}
	}()
	select {
	case g := <-got:
		return g.unlock, g.err
	case <-ctx.Done():
		go func() {
			if g := <-got; g.err == nil {
				g.unlock()
			}
		}()
		return nil, fmt.Errorf("waiting for another process that starts the daemon: %w", ctx.Err())
	}
}
