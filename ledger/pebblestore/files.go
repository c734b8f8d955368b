package pebblestore

import (
	"errors"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// makeDir makes a directory and syncs it into its parents: Pebble syncs only
// what lies in a directory that exists. All of them are synced each time, for
// whoever made them may have been killed before.
func makeDir(fs vfs.FS, dir string) error {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for at := fs.PathDir(dir); ; at = fs.PathDir(at) {
		// What may not be read was not made here.
		if err := syncDir(fs, at); err != nil && !errors.Is(err, os.ErrPermission) {
			return err
		}
		if fs.PathDir(at) == at {
			return nil
		}
	}
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// inOrder syncs a directory before a marker is made in it.
//
// A marker is a file whose name says which manifest counts. Pebble syncs the
// manifest, makes the marker and syncs the directory, once for both names. On a
// file system that does not keep the order of names, a power loss in between
// can leave the marker of a manifest that is not there, and no store that opens.
type inOrder struct{ vfs.FS }

func (fs inOrder) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(fs.PathBase(name), "marker.") {
		if err := syncDir(fs.FS, fs.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return fs.FS.Create(name, c)
}

func (fs inOrder) Unwrap() vfs.FS { return fs.FS }
