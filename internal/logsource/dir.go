package logsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Dir reads a log from a directory that holds a static tlog-tiles tree. Nothing
// outside of it is read, wherever links in it lead.
func Dir(dir string) (*Source, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	get := func(_ context.Context, path string, limit int64) ([]byte, error) {
		return readFile(root, filepath.FromSlash(path), limit)
	}
	return &Source{get: get, name: dir, done: root.Close}, nil
}

func readFile(root *os.Root, path string, limit int64) ([]byte, error) {
	// Opening a pipe would wait for its other end.
	info, err := root.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotThere
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("expected a regular file, found %s", info.Mode().Type())
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("expected at most %d bytes, found %d", limit, info.Size())
	}
	f, err := root.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, limit, info.Size())
}

// readAll reads at most limit bytes and fails if there are more.
func readAll(r io.Reader, limit, hint int64) ([]byte, error) {
	b := make([]byte, 0, min(max(hint, 512), limit)+1)
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):min(cap(b), int(limit)+1)])
		b = b[:len(b)+n]
		if int64(len(b)) > limit {
			return nil, fmt.Errorf("expected at most %d bytes, found more", limit)
		}
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
