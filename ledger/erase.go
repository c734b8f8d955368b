package ledger

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"ledgerd/evidence"
)

// An erasure has three steps: its intention is written down, the log's record
// becomes durable, the file goes. Whatever a crash leaves, the next start
// finishes: with the record the file goes, without it the intention is dropped.

func (v *Vault) intentPath(d evidence.Digest) string {
	return filepath.Join(v.dir, erasingDir, hex.EncodeToString(d[:]))
}

// intend writes down, durably, that d is being erased.
func (v *Vault) intend(d evidence.Digest) error {
	// It may stand from an erasure whose record did not come into the log.
	if path := v.intentPath(d); !v.fs.Exists(path) {
		f, err := v.fs.Create(path)
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return fmt.Errorf("erase payload %s: %w", d, err)
		}
	}
	if err := v.fs.SyncDir(filepath.Join(v.dir, erasingDir)); err != nil {
		return fmt.Errorf("erase payload %s: %w", d, err)
	}
	return nil
}

// intended lists what intend wrote down and forget did not take back.
func (v *Vault) intended() ([]evidence.Digest, error) {
	names, err := v.fs.List(filepath.Join(v.dir, erasingDir))
	if err != nil {
		return nil, fmt.Errorf("unfinished erasures: %w", err)
	}
	var out []evidence.Digest
	for _, name := range names {
		b, err := hex.DecodeString(name)
		if err != nil || len(b) != len(evidence.Digest{}) {
			return nil, fmt.Errorf("unfinished erasures: %s: expected a payload's digest in hexadecimal as name", filepath.Join(v.dir, erasingDir, name))
		}
		out = append(out, evidence.Digest(b))
	}
	return out, nil
}

func (v *Vault) forget(d evidence.Digest) error {
	if err := v.fs.Remove(v.intentPath(d)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("erase payload %s: %w", d, err)
	}
	return nil
}

// remove wipes the key of the payload's cell, and overwrites its file with zeros,
// salt included, syncs that, removes the file and syncs its directory, the latter
// also where the file is missing: whoever removed it may not have come that far,
// and its name, with zeros behind it, would come back.
//
// The zeros reach the sectors where the file system writes in place (ext4, XFS).
// On one that never does, and inside a flash device, the old sectors live on
// until they are reused; docs/operations.md says so.
func (v *Vault) remove(d evidence.Digest) error {
	if v.cells != nil {
		if err := v.cells.erase(d); err != nil {
			return err
		}
	}
	path := v.path(d)
	err := v.overwrite(path)
	if err == nil {
		err = v.fs.Remove(path)
	}
	if err == nil || errors.Is(err, os.ErrNotExist) {
		err = v.fs.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("erase payload %s: %w", d, err)
	}
	return nil
}

func (v *Vault) overwrite(path string) error {
	f, err := v.fs.Overwrite(path)
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err == nil {
		_, err = io.CopyN(f, zeros{}, size)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
