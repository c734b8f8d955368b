package datadir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"ledgerd/internal/api"
	"ledgerd/ledger"
)

// Backup writes a copy of the directory's ledger into one that does not exist
// yet: everything but keys and tokens.
func (l *Ledger) Backup(ctx context.Context, dir string) error {
	if err := l.Ledger.Backup(ctx, dir); err != nil {
		return err
	}
	if err := l.Dir.writeMeta(dir); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// Restore copies a backup into a directory that does not exist yet, checks all
// of it, and makes a token for reading it. What comes out is read-only for good:
// the log's key is in no backup, and two ledgers that go on from one tree would
// be two histories under one name.
func Restore(ctx context.Context, backup, path string, now time.Time) (*Dir, *ledger.CheckReport, error) {
	from, err := Open(backup)
	if err != nil {
		return nil, nil, fmt.Errorf("restore: %w", err)
	}
	if !from.Copy {
		return nil, nil, fmt.Errorf("restore: %s is a ledger at work and no backup: copy it with ledgerd backup", backup)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("restore: want %s not to be there yet", path)
	}
	if err := copyTree(ctx, backup, path); err != nil {
		return nil, nil, fmt.Errorf("restore: %w", err)
	}
	d, err := Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("restore: %w", err)
	}
	if err := d.firstToken([]api.Right{api.RightRead, api.RightPayloads, api.RightAdminister}, now); err != nil {
		return nil, nil, fmt.Errorf("restore: %w", err)
	}
	report, err := d.Check(ctx, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("restore: %w", err)
	}
	return d, report, nil
}

// Check recomputes everything, also where the ledger cannot be opened.
func (d *Dir) Check(ctx context.Context, progress func(done, size uint64)) (*ledger.CheckReport, error) {
	store, err := d.Store(Options{}, true)
	if err != nil {
		return nil, err
	}
	vault, err := d.Vault(0)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	report, err := ledger.Check(ctx, store, vault, d.Log, progress)
	return report, errors.Join(err, store.Close())
}

// Reindex makes every index row again, from the log alone.
func (d *Dir) Reindex(ctx context.Context, progress func(done, size uint64)) error {
	store, err := d.Store(Options{}, true)
	if err != nil {
		return err
	}
	return errors.Join(ledger.Reindex(ctx, store, d.Log, progress), store.Close())
}

// copyTree copies directories and files, and refuses anything else: a backup
// holds no links.
func copyTree(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case e.IsDir():
			return os.Mkdir(target, 0o700)
		case e.Type().IsRegular():
			return copyFile(path, target)
		}
		return fmt.Errorf("%s: want a file or a directory, found %s", path, e.Type())
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
