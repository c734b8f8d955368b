package runtimetest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"ledgerd/ledger"
)

// memoryFS is a vault's file system in memory. It loses nothing, so its syncs do
// nothing: what a power loss takes is the business of package ledger's tests, and
// waiting for a disk would make each of the many worlds of a crash test slow.
type memoryFS struct {
	mu    sync.Mutex // guards files, and what is in them
	files map[string]*memoryData
}

type memoryData struct{ b []byte }

func newMemoryFS() *memoryFS { return &memoryFS{files: make(map[string]*memoryData)} }

var _ ledger.VaultFS = (*memoryFS)(nil)

func missing(path string) error { return &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist} }

func (*memoryFS) MkdirAll(string) error { return nil } // directories are the paths of files
func (*memoryFS) SyncDir(string) error  { return nil }
func (*memoryFS) SyncsAll() bool        { return false }
func (*memoryFS) SyncAll(string) error  { return nil }

func (m *memoryFS) RemoveAll(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.files {
		if name == path || filepath.Dir(name) == path {
			delete(m.files, name)
		}
	}
	return nil
}

func (m *memoryFS) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name := range m.files {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	return names, nil
}

func (m *memoryFS) Create(path string) (ledger.VaultFile, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[path] != nil {
		return nil, &os.PathError{Op: "create", Path: path, Err: os.ErrExist}
	}
	m.files[path] = &memoryData{}
	return &memoryFile{fs: m, name: path, data: m.files[path]}, nil
}

func (m *memoryFS) Open(path string) (ledger.VaultFile, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[path] == nil {
		return nil, missing(path)
	}
	return &memoryFile{fs: m, name: path, data: m.files[path]}, nil
}

func (m *memoryFS) Overwrite(path string) (ledger.VaultFile, error) { return m.Open(path) }

func (m *memoryFS) Exists(path string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files[path] != nil
}

func (m *memoryFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[from] == nil {
		return missing(from)
	}
	m.files[to] = m.files[from]
	delete(m.files, from)
	return nil
}

func (m *memoryFS) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.files[path] == nil {
		return missing(path)
	}
	delete(m.files, path)
	return nil
}

// memoryFile is an open file. One goroutine has it; what is in it, many may.
type memoryFile struct {
	fs   *memoryFS
	name string
	data *memoryData
	at   int64
}

func (f *memoryFile) Name() string { return f.name }
func (f *memoryFile) Sync() error  { return nil }
func (f *memoryFile) Close() error { return nil }

func (f *memoryFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.data.b)), nil
}

func (f *memoryFile) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.at)
	f.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (f *memoryFile) ReadAt(p []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return bytes.NewReader(f.data.b).ReadAt(p, at)
}

func (f *memoryFile) Write(p []byte) (int, error) {
	n, err := f.WriteAt(p, f.at)
	f.at += int64(n)
	return n, err
}

func (f *memoryFile) WriteAt(p []byte, at int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if grow := at + int64(len(p)) - int64(len(f.data.b)); grow > 0 {
		f.data.b = append(f.data.b, make([]byte, grow)...)
	}
	return copy(f.data.b[at:], p), nil
}

func (f *memoryFile) Seek(offset int64, whence int) (int64, error) {
	size, _ := f.Size()
	switch whence {
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek %s: want an offset from 0, found %d", f.name, offset)
	}
	f.at = offset
	return offset, nil
}
