package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"ledgerd/ledger/tlog"
)

func indexOf(key []byte) (uint64, bool) {
	if len(key) != 9 {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[1:]), true
}

// Entries implements tlog.Reader.
func (s *Store) Entries(ctx context.Context, first, end uint64) iter.Seq2[[]byte, error] {
	return s.run(ctx, entryKey, first, end, "entry")
}

// Tiles implements tlog.Reader.
func (s *Store) Tiles(ctx context.Context, level uint8, first, end uint64) iter.Seq2[[]byte, error] {
	return s.run(ctx, func(n uint64) []byte { return tileKey(level, n) }, first, end, fmt.Sprintf("tile %d", level))
}

// run yields the values under consecutive keys. A single one is a plain lookup,
// which is cheaper than an iterator.
func (s *Store) run(ctx context.Context, key func(uint64) []byte, first, end uint64, what string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if first >= end {
			return
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
			return
		}
		missing := func(n uint64) { yield(nil, fmt.Errorf("%s %d is missing in the store", what, n)) }
		if end-first == 1 {
			v, err := s.get(key(first))
			if errors.Is(err, pebble.ErrNotFound) {
				missing(first)
				return
			}
			yield(v, err)
			return
		}
		it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: key(first), UpperBound: key(end)})
		if err != nil {
			yield(nil, err)
			return
		}
		defer it.Close()
		at := first
		for ok := it.First(); ok; ok = it.Next() {
			if at%256 == 0 && ctx.Err() != nil {
				yield(nil, ctx.Err())
				return
			}
			if string(it.Key()) != string(key(at)) {
				missing(at)
				return
			}
			v, err := it.ValueAndErr()
			if err != nil {
				yield(nil, err)
				return
			}
			if at++; !yield(append(make([]byte, 0, len(v)), v...), nil) {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(nil, err)
		} else if at != end {
			missing(at)
		}
	}
}

// Row implements tlog.RowReader.
func (s *Store) Row(_ context.Context, key []byte) ([]byte, error) {
	if err := checkRow(key); err != nil {
		return nil, err
	}
	v, err := s.get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, tlog.ErrNoRow
	}
	return v, err
}

// Rows implements tlog.RowReader. The store's own keys are passed over.
func (s *Store) Rows(ctx context.Context, from, to []byte, reverse bool) iter.Seq2[tlog.Row, error] {
	return func(yield func(tlog.Row, error) bool) {
		it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: from, UpperBound: to})
		if err != nil {
			yield(tlog.Row{}, err)
			return
		}
		defer it.Close()
		step, ok := it.Next, false
		if reverse {
			step, ok = it.Prev, it.Last()
		} else {
			ok = it.First()
		}
		for n := 0; ok; n++ {
			if n%256 == 0 && ctx.Err() != nil {
				yield(tlog.Row{}, ctx.Err())
				return
			}
			if checkRow(it.Key()) != nil {
				// One seek passes over a million entries.
				if own := it.Key()[0]; reverse {
					ok = it.SeekLT([]byte{own})
				} else {
					ok = it.SeekGE([]byte{own + 1})
				}
				continue
			}
			v, err := it.ValueAndErr()
			if err != nil {
				yield(tlog.Row{}, err)
				return
			}
			row := tlog.Row{Key: append([]byte(nil), it.Key()...), Value: append(make([]byte, 0, len(v)), v...)}
			if !yield(row, nil) {
				return
			}
			ok = step()
		}
		if err := it.Error(); err != nil {
			yield(tlog.Row{}, err)
		}
	}
}
