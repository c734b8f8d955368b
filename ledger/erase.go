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
	f, err := os.OpenFile(v.intentPath(d), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("erase payload %s: %w", d, err)
	}
	if err := errors.Join(f.Close(), syncDir(filepath.Join(v.dir, erasingDir))); err != nil {
		return fmt.Errorf("erase payload %s: %w", d, err)
	}
	return nil
}

// intended lists what intend wrote down and forget did not take back.
func (v *Vault) intended() ([]evidence.Digest, error) {
	files, err := os.ReadDir(filepath.Join(v.dir, erasingDir))
	if err != nil {
		return nil, fmt.Errorf("unfinished erasures: %w", err)
	}
	var out []evidence.Digest
	for _, f := range files {
		b, err := hex.DecodeString(f.Name())
		if err != nil || len(b) != len(evidence.Digest{}) {
			return nil, fmt.Errorf("unfinished erasures: %s: expected a payload's digest in hexadecimal as name", filepath.Join(v.dir, erasingDir, f.Name()))
		}
		out = append(out, evidence.Digest(b))
	}
	return out, nil
}

func (v *Vault) forget(d evidence.Digest) error {
	if err := os.Remove(v.intentPath(d)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("erase payload %s: %w", d, err)
	}
	return nil
}

// remove overwrites the payload's file with zeros, salt included, syncs that,
// removes the file and syncs its directory. A missing file is none to remove.
//
// The zeros reach the sectors where the file system writes in place (ext4, XFS).
// On one that never does, and inside a flash device, the old sectors live on
// until they are reused; docs/operations.md says so.
func (v *Vault) remove(d evidence.Digest) error {
	path := v.path(d)
	err := overwrite(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("erase payload %s: %w", d, err)
	}
	return nil
}

func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = io.CopyN(f, zeros{}, info.Size())
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
