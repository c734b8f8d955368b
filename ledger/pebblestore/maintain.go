package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"ledgerd/ledger/tlog"
)

// Backup writes a consistent copy of the store into a directory that must not
// exist yet, while the store is at work. The copy holds everything that was
// durable when Backup was called, and its newest head is one that was, or is
// about to be, signed for all: open it with [Open]. Files that do not change
// any more are hard links where the file system allows.
//
// The log's key is not in the store, and so in no backup.
func (s *Store) Backup(dir string) error {
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("backup to %s: %w", dir, err)
	}
	if s.readOnly {
		return nil
	}
	// The copy may hold a batch whose sync has not ended. If it were lost here
	// and stood there, two trees could be signed for one size: so whatever the
	// copy holds is made durable here before anybody gets the copy.
	if err := s.db.LogData([]byte("backup"), pebble.Sync); err != nil {
		return fmt.Errorf("backup to %s: sync the store: %w", dir, err)
	}
	return nil
}

// rebuildBatch is the size of the batches in which RebuildRows writes.
const rebuildBatch = 4 << 20

// RebuildRows replaces all index rows by the ones given, which may come in any
// order; no Log may be at work on the store. If it is interrupted, the store
// refuses to load until it has run to its end.
func (s *Store) RebuildRows(ctx context.Context, rows iter.Seq2[tlog.Row, error]) error {
	if s.readOnly {
		return errors.New("rebuild index rows: the store is open read-only")
	}
	// From here on until rebuildKey is gone, Load refuses.
	if err := s.db.Set(rebuildKey, nil, pebble.Sync); err != nil {
		return err
	}
	b := s.db.NewBatch()
	low := byte(0)
	for _, own := range []byte{keyHead, keyMeta, keyTile, keyCell, keyEntry} { // ascending
		if err := b.DeleteRange([]byte{low}, []byte{own}, nil); err != nil {
			return err
		}
		low = own + 1
	}
	if err := b.DeleteRange([]byte{low}, []byte{keyBeyond}, nil); err != nil {
		return err
	}
	flush := func() error {
		if err := b.Commit(pebble.NoSync); err != nil {
			return err
		}
		b = s.db.NewBatch()
		return ctx.Err()
	}
	if err := flush(); err != nil {
		return err
	}
	for row, err := range rows {
		if err == nil {
			err = checkRow(row.Key)
		}
		if err == nil {
			err = b.Set(row.Key, row.Value, nil)
		}
		if err == nil && b.Len() >= rebuildBatch {
			err = flush()
		}
		if err != nil {
			return fmt.Errorf("rebuild index rows: %w", err)
		}
	}
	if err := b.Delete(rebuildKey, nil); err != nil {
		return err
	}
	// One log, in order: this sync makes all the batches before it durable.
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("rebuild index rows: %w", err)
	}
	return nil
}

// Settle flushes and compacts everything, as idle time would. DiskBytes then is
// what the store needs at rest.
func (s *Store) Settle(ctx context.Context) error {
	if err := s.db.Flush(); err != nil {
		return err
	}
	return s.db.Compact(ctx, []byte{0}, []byte{keyBeyond}, false)
}

// Stats is what the store can say about itself.
type Stats struct {
	DiskBytes     uint64 // tables and logs, those kept for reuse included
	TableBytes    uint64 // tables alone
	MemTableBytes uint64
	CacheBytes    int64
}

// Stats returns the store's sizes.
func (s *Store) Stats() Stats {
	m := s.db.Metrics()
	return Stats{DiskBytes: m.DiskSpaceUsage(), TableBytes: uint64(m.Total().TablesSize), MemTableBytes: m.MemTable.Size, CacheBytes: m.BlockCache.Size}
}

// NewestHead returns the newest tree head that was committed, nil if there is
// none. Unlike Load it does not mind incomplete index rows: who replaces these
// needs to know how long the log is.
func (s *Store) NewestHead() ([]byte, error) {
	head, err := s.get(headKey)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	return head, err
}
