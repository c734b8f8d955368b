// Package wholefile writes files that are there whole or not at all: what a crash
// leaves is the file of before, or the new one.
package wholefile

import (
	"errors"
	"os"
	"path/filepath"
)

// Write writes a file that only its owner can read: beside its place, synced, then
// renamed, and the directory synced. Where a file of that name stands already it is
// replaced if that is asked for, and left alone with an error that is fs.ErrExist
// otherwise.
func Write(path string, b []byte, replace bool) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone once renamed
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if replace {
		err = os.Rename(f.Name(), path)
	} else {
		err = os.Link(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return SyncDir(dir)
}

// SyncDir makes durable which files are in a directory.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
