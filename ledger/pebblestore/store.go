package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"ledgerd/ledger/tlog"
)

// A Store is a tlog.Store and tlog.RowReader in one directory.
type Store struct {
	db       *pebble.DB
	lock     *pebble.Lock
	fs       vfs.FS
	dir      string
	minFree  uint64
	readOnly bool

	failed    atomic.Pointer[error] // why nothing more can be begun
	cellBytes atomic.Int64          // put since the last look at the free space

	beginMu sync.Mutex // guards next, and the order of batches
	next    uint64     // expected First of the next batch
	loaded  bool
}

var (
	_ tlog.Store     = (*Store)(nil)
	_ tlog.RowReader = (*Store)(nil)
)

// Close closes the store. It is not for a store whose sync has failed: end the
// process instead.
func (s *Store) Close() error {
	var err error
	if s.failed.Load() == nil && !s.readOnly {
		// Tables are under checksums to their last byte. In a write-ahead
		// log, what follows the last but one sync cannot be told from a torn
		// end, so nothing is left there while the store is at rest.
		err = s.db.Flush()
	}
	err = errors.Join(err, s.db.Close())
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

// Dir returns the directory that the store was opened in.
func (s *Store) Dir() string { return s.dir }

func (s *Store) checkFormat() error {
	found, err := s.get(formatKey)
	switch {
	case err == nil && string(found) != formatValue:
		return fmt.Errorf("expected a store of format %q, found %q: open it with the version that wrote it", formatValue, found)
	case err == nil:
		return nil
	case !errors.Is(err, pebble.ErrNotFound):
		return err
	}
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	if it.First() {
		return errors.Join(fmt.Errorf("expected a store of format %q, found one of something else, whose first key is %q", formatValue, it.Key()), it.Close())
	}
	if err := it.Close(); err != nil || s.readOnly {
		return err
	}
	return s.db.Set(formatKey, []byte(formatValue), pebble.Sync)
}

// get copies a value.
func (s *Store) get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if err != nil {
		return nil, err
	}
	v = append(make([]byte, 0, len(v)), v...)
	return v, closer.Close()
}

// Load implements tlog.Store.
func (s *Store) Load(ctx context.Context) ([]byte, error) {
	if _, err := s.get(rebuildKey); err == nil {
		return nil, errors.New("its index rows are incomplete, for a reindex was interrupted: run reindex again")
	} else if !errors.Is(err, pebble.ErrNotFound) {
		return nil, err
	}
	head, err := s.get(headKey)
	if err != nil && !errors.Is(err, pebble.ErrNotFound) {
		return nil, fmt.Errorf("read the newest tree head: %w", err)
	}
	next, err := s.entryCount()
	if err != nil {
		return nil, err
	}
	if !s.readOnly {
		// What recovery replayed from the write-ahead log may so far be only
		// in the operating system's memory, if the last process was killed.
		// Opening flushes it to synced tables; this sync orders itself behind
		// that, and fails where the disk does.
		if err := s.db.LogData([]byte("loaded"), pebble.Sync); err != nil {
			return nil, fmt.Errorf("sync what was recovered: %w", err)
		}
	}
	s.beginMu.Lock()
	s.next, s.loaded = next, true
	s.beginMu.Unlock()
	return head, nil
}

// entryCount returns the index after the last entry.
func (s *Store) entryCount() (uint64, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyEntry}, UpperBound: []byte{keyEntry + 1}})
	if err != nil {
		return 0, err
	}
	defer it.Close()
	if !it.Last() {
		return 0, it.Error()
	}
	index, ok := indexOf(it.Key())
	if !ok {
		return 0, fmt.Errorf("an entry has the key %q, expected %d bytes", it.Key(), 9)
	}
	return index + 1, nil
}

// Room implements tlog.Store.
func (s *Store) Room(bytes int) error {
	if s.readOnly {
		return errors.New("the store is open read-only")
	}
	u, err := s.fs.GetDiskUsage(s.dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("free space of %s: %w", s.dir, err)
	}
	if u.AvailBytes < s.minFree+uint64(bytes) {
		return fmt.Errorf("%w: %d bytes are free in %s, expected at least %d: free some, appends then go on by themselves",
			tlog.ErrDiskFull, u.AvailBytes, s.dir, s.minFree+uint64(bytes))
	}
	return nil
}

// Begin implements tlog.Store.
func (s *Store) Begin(b *tlog.Batch) (tlog.Pending, error) {
	s.beginMu.Lock()
	defer s.beginMu.Unlock()
	if err := s.failed.Load(); err != nil {
		return nil, fmt.Errorf("begin a batch after a failed one: %w", *err)
	}
	if !s.loaded {
		return nil, errors.New("begin a batch: the store was not loaded")
	}
	if b.First != s.next {
		return nil, fmt.Errorf("begin a batch at %d, but the store ends at %d: %w", b.First, s.next, tlog.ErrConflict)
	}
	pb, err := s.batch(b)
	if err != nil {
		return nil, err
	}
	if err := s.db.ApplyNoSyncWait(pb, pebble.Sync); err != nil {
		s.failed.CompareAndSwap(nil, &err)
		return nil, err
	}
	s.next += uint64(len(b.Entries))
	return &pending{s, pb}, nil
}

func (s *Store) batch(b *tlog.Batch) (*pebble.Batch, error) {
	size := len(b.Head) + 64
	for _, e := range b.Entries {
		size += len(e) + 16
	}
	for _, r := range b.Rows {
		if err := checkRow(r.Key); err != nil {
			return nil, err
		}
		size += len(r.Key) + len(r.Value) + 8
	}
	for _, t := range b.Tiles {
		size += len(t.Data) + 16
	}
	pb := s.db.NewBatchWithSize(size)
	for i, e := range b.Entries {
		if err := pb.Set(entryKey(b.First+uint64(i)), e, nil); err != nil {
			return nil, err
		}
	}
	for _, t := range b.Tiles {
		if err := pb.Set(tileKey(t.Level, t.N), t.Data, nil); err != nil {
			return nil, err
		}
	}
	for _, r := range b.Rows {
		if err := pb.Set(r.Key, r.Value, nil); err != nil {
			return nil, err
		}
	}
	return pb, pb.Set(headKey, b.Head, nil)
}

type pending struct {
	store *Store
	batch *pebble.Batch
}

// Wait implements tlog.Pending.
func (p *pending) Wait() error {
	if err := p.batch.SyncWait(); err != nil {
		err = fmt.Errorf("sync of the write-ahead log: %w", err)
		p.store.failed.CompareAndSwap(nil, &err)
		return err
	}
	return p.batch.Close()
}
