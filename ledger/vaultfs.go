package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A VaultFS is the file system that a vault is on: the operating system's, or
// one whose power a test can cut. Paths are the operating system's; a file that
// is not there is os.ErrNotExist.
//
// What a power loss may take: the content of a file since its last Sync, and the
// names in a directory since its last SyncDir, each by itself and in any order.
type VaultFS interface {
	MkdirAll(dir string) error
	RemoveAll(path string) error
	// List returns the names in a directory.
	List(dir string) ([]string, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error

	// Create makes a file that must not be there, for writing.
	Create(path string) (VaultFile, error)
	// Open opens a file for reading.
	Open(path string) (VaultFile, error)
	// Overwrite opens a file that is there, for reading and for writing in
	// place from its beginning.
	Overwrite(path string) (VaultFile, error)
	Exists(path string) bool
	Rename(from, to string) error
	Remove(path string) error

	// SyncsAll reports whether SyncAll can be called.
	SyncsAll() bool
	// SyncAll makes everything durable that was written to the file system of
	// a directory before.
	SyncAll(dir string) error
}

// A VaultFile is an open file of a VaultFS.
type VaultFile interface {
	io.ReadWriteSeeker
	io.ReaderAt
	io.WriterAt
	io.Closer
	Name() string
	Size() (int64, error)
	Sync() error
}

// osFS is the operating system's file system: directories are 0700, files 0600.
type osFS struct{}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func openFile(path string, flag int) (VaultFile, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) MkdirAll(dir string) error   { return os.MkdirAll(dir, 0o700) }
func (osFS) RemoveAll(path string) error { return os.RemoveAll(path) }
func (osFS) SyncDir(dir string) error    { return syncDir(dir) }
func (osFS) Create(path string) (VaultFile, error) {
	return openFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR)
}
func (osFS) Open(path string) (VaultFile, error)      { return openFile(path, os.O_RDONLY) }
func (osFS) Overwrite(path string) (VaultFile, error) { return openFile(path, os.O_RDWR) }
func (osFS) Rename(from, to string) error             { return os.Rename(from, to) }
func (osFS) Remove(path string) error                 { return os.Remove(path) }
func (osFS) SyncsAll() bool                           { return wholeSync }
func (osFS) SyncAll(dir string) error                 { return syncFileSystem(dir) }

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (osFS) Exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (osFS) List(dir string) ([]string, error) {
	files, err := os.ReadDir(dir)
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name()
	}
	return names, err
}

// tempPath names a file that nobody has: tmp is emptied when a vault opens, and
// one process has it at a time.
func (v *Vault) tempPath() string {
	return filepath.Join(v.dir, tmpDir, fmt.Sprintf("put-%d", v.temps.Add(1)))
}
