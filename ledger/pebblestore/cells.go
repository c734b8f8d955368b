package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"ledgerd/ledger/tlog"
)

// Cells are small values beside the log (ledger.CellStore). They are in the store's
// one write-ahead log, in the order in which they and the batches were begun:
// so a batch that is durable was preceded by cells that are.

func cellKey(key []byte) []byte { return append([]byte{keyCell}, key...) }

// Cell returns the value of a cell, or tlog.ErrNoRow.
func (s *Store) Cell(key []byte) ([]byte, error) {
	v, err := s.get(cellKey(key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, tlog.ErrNoRow
	}
	return v, err
}

// Cells yields the cells from key from on, up to but without the key to.
func (s *Store) Cells(ctx context.Context, from, to []byte) iter.Seq2[tlog.Row, error] {
	return func(yield func(tlog.Row, error) bool) {
		it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: cellKey(from), UpperBound: cellKey(to)})
		if err != nil {
			yield(tlog.Row{}, err)
			return
		}
		defer it.Close()
		for ok := it.First(); ok; ok = it.Next() {
			v, err := it.ValueAndErr()
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(tlog.Row{}, err)
				return
			}
			row := tlog.Row{Key: append([]byte(nil), it.Key()[1:]...), Value: append(make([]byte, 0, len(v)), v...)}
			if !yield(row, nil) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(tlog.Row{}, err)
		}
	}
}

// LastCell returns the last key of Cells, nil if there is none.
func (s *Store) LastCell(from, to []byte) ([]byte, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: cellKey(from), UpperBound: cellKey(to)})
	if err != nil {
		return nil, err
	}
	var key []byte
	if it.Last() {
		key = append(key, it.Key()[1:]...)
	}
	return key, errors.Join(it.Error(), it.Close())
}

// PutCells removes cells, sets others, and appends to the values of others, in
// this order, all or nothing. They are durable once a batch is that was begun
// after it returned, or SyncCells has returned.
func (s *Store) PutCells(remove [][]byte, set, join []tlog.Row) error {
	size := 64
	for _, rows := range [2][]tlog.Row{set, join} {
		for _, c := range rows {
			size += len(c.Key) + len(c.Value) + 16
		}
	}
	if err := s.roomForCells(size); err != nil {
		return err
	}
	if err := s.failed.Load(); err != nil {
		return fmt.Errorf("put cells after a failed sync: %w", *err)
	}
	b := s.db.NewBatchWithSize(size)
	for _, key := range remove {
		if err := b.Delete(cellKey(key), nil); err != nil {
			return err
		}
	}
	for _, c := range set {
		if err := b.Set(cellKey(c.Key), c.Value, nil); err != nil {
			return err
		}
	}
	for _, c := range join {
		// Pebble's own merger appends.
		if err := b.Merge(cellKey(c.Key), c.Value, nil); err != nil {
			return err
		}
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("put cells: %w", err)
	}
	return b.Close()
}

// roomEvery is how many bytes of cells are put between two looks at the free space,
// which is a system call. It is little beside what has to be free.
const roomEvery = 1 << 20

func (s *Store) roomForCells(size int) error {
	if s.cellBytes.Add(int64(size)) < roomEvery {
		return nil
	}
	if err := s.Room(size); err != nil {
		return err
	}
	s.cellBytes.Store(0)
	return nil
}

// SyncCells makes durable what PutCells was told before. A failed sync is final.
func (s *Store) SyncCells() error {
	if err := s.failed.Load(); err != nil {
		return fmt.Errorf("sync cells after a failed sync: %w", *err)
	}
	b := s.db.NewBatchWithSize(64)
	err := b.LogData([]byte("cells"), nil)
	if err == nil {
		err = s.db.ApplyNoSyncWait(b, pebble.Sync)
	}
	if err == nil {
		err = b.SyncWait()
	}
	if err != nil {
		err = fmt.Errorf("sync of the write-ahead log: %w", err)
		s.failed.CompareAndSwap(nil, &err)
		return err
	}
	return b.Close()
}
