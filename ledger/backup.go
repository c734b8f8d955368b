package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"ledgerd/evidence"
)

// The parts of a data directory.
const (
	StoreDir    = "store"    // the log and its index: a pebblestore
	PayloadsDir = "payloads" // the vault
	KeysDir     = "keys"     // 0600; the daemon's, in no backup
	// BackupFile stands in a backup, with the newest tree head of the ledger
	// when it was taken. A data directory that has it is a restored copy, and
	// opened read-only.
	BackupFile = "BACKUP"
	// HeadSuffix makes the default path of the newest tree head from that of
	// the data directory: beside it, so that who copies or restores the
	// directory does not copy or restore the head with it.
	HeadSuffix = ".head"
)

// HeadPath returns the default path of the file that keeps the newest tree head
// outside of a data directory.
func HeadPath(dataDir string) string { return filepath.Clean(dataDir) + HeadSuffix }

// IsBackup reports whether a data directory is a restored copy.
func IsBackup(dataDir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dataDir, BackupFile))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// ErrNoBackup: the store cannot copy itself.
var ErrNoBackup = errors.New("the store cannot be backed up")

// Backup copies log, index and payloads into a directory that does not exist
// yet, in the layout of a data directory, while the ledger is at work. The copy
// of the log is as of one moment; payloads are as of then or later. Keys are not
// copied: a copy can be read, served and verified, and signs nothing. To go on
// after a loss, create a successor (Genesis.Successor).
func (l *Ledger) Backup(ctx context.Context, dir string) error {
	store, ok := l.store.(interface{ Backup(dir string) error })
	if !ok {
		return ErrNoBackup
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	// The mark comes first: what a crash leaves is never taken for a ledger.
	if err := writeSynced(filepath.Join(dir, BackupFile), l.Head().Note); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	// Then the log, then the payloads: each payload is durable before a record
	// that commits to it.
	if err := store.Backup(filepath.Join(dir, StoreDir)); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := l.vault.backup(ctx, filepath.Join(dir, PayloadsDir)); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := errors.Join(syncDir(dir), syncDir(filepath.Dir(dir))); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// Bounds of what backup holds in memory, beside one payload.
const (
	backupBytes = 16 << 20
	backupMany  = 1024
)

// backup copies every payload that has a file, verified, and the keys of those
// that lie in the store, which was copied before. The copies are files of their
// own, no links: an erasure overwrites the original.
func (v *Vault) backup(ctx context.Context, dir string) error {
	to, err := OpenVaultOn(v.fs, dir, v.max)
	if err != nil {
		return err
	}
	if v.cells != nil {
		// Keys of later payloads are nothing that the copy needs.
		last, ok, err := lastSlot(v.cells.store)
		if err == nil && ok {
			err = v.cells.keys.copyTo(dir, last+1)
		}
		if err != nil {
			return err
		}
	}
	var batch []evidence.Payload
	bytes := 0
	flush := func() error {
		_, err := to.PutMany(ctx, batch)
		batch, bytes = batch[:0], 0
		return err
	}
	for d, err := range v.files(ctx) {
		if err != nil {
			return err
		}
		p, err := v.Payload(d)
		if errors.Is(err, ErrNoPayload) {
			continue // erased meanwhile
		}
		if err != nil {
			return err
		}
		batch = append(batch, *p)
		if bytes += len(p.Data); bytes >= backupBytes || len(batch) == backupMany {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
