package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"ledgerd/ledger/tlog"
)

// A HeadFile is a tlog.HeadKeeper: one file with the newest tree head, best on
// another disk than the store, and in no backup together with it.
//
// The file is replaced, never changed: written beside it, synced, renamed, and
// the directory synced. A crash leaves the old head or the new one.
type HeadFile struct {
	fs   vfs.FS
	path string
}

var _ tlog.HeadKeeper = (*HeadFile)(nil)

// NewHeadFile returns the HeadFile at a path, the operating system's if fs is
// nil.
func NewHeadFile(fs vfs.FS, path string) *HeadFile {
	if fs == nil {
		fs = vfs.Default
	}
	return &HeadFile{fs, path}
}

// Newest implements tlog.HeadKeeper.
func (h *HeadFile) Newest(context.Context) ([]byte, error) {
	f, err := h.fs.Open(h.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, tlog.MaxHead+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", h.path, err)
	}
	if len(head) == 0 {
		return nil, fmt.Errorf("%s is empty, expected a signed tree head", h.path)
	}
	return head, nil
}

// Keep implements tlog.HeadKeeper.
func (h *HeadFile) Keep(_ context.Context, head []byte) error {
	temp := h.path + ".new"
	f, err := h.fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(append([]byte(nil), head...)) // Write may change its argument
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", temp, err)
	}
	if err := h.fs.Rename(temp, h.path); err != nil {
		return err
	}
	dir, err := h.fs.OpenDir(h.fs.PathDir(h.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
