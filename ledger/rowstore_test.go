package ledger_test

import (
	"bytes"
	"context"
	"iter"
	"slices"

	"ledgerd/ledger/tlog"
	"ledgerd/ledger/tlog/tlogtest"
)

// rowStore is a store in memory whose commits fail when a test wants.
type rowStore struct{ tlogtest.Store }

func (s *rowStore) sorted() []tlog.Row {
	rows := slices.Clone(s.Store.Rows())
	slices.SortStableFunc(rows, func(a, b tlog.Row) int { return bytes.Compare(a.Key, b.Key) })
	return rows
}

func (s *rowStore) Row(_ context.Context, key []byte) ([]byte, error) {
	for _, row := range slices.Backward(s.Store.Rows()) {
		if bytes.Equal(row.Key, key) {
			return row.Value, nil
		}
	}
	return nil, tlog.ErrNoRow
}

func (s *rowStore) Rows(_ context.Context, from, to []byte, reverse bool) iter.Seq2[tlog.Row, error] {
	return func(yield func(tlog.Row, error) bool) {
		rows := s.sorted()
		if reverse {
			slices.Reverse(rows)
		}
		for _, row := range rows {
			if bytes.Compare(row.Key, from) >= 0 && (to == nil || bytes.Compare(row.Key, to) < 0) && !yield(row, nil) {
				return
			}
		}
	}
}
