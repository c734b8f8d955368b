package tlog

import (
	"context"
	"fmt"
)

// RangeRoot returns the hash of the leaves from index lo to hi-1, as RFC 6962
// hashes them, where they lie under one node of a tree: lo is a multiple of the
// smallest power of two not below hi-lo. hi is at most the durable size.
func (l *Log) RangeRoot(ctx context.Context, lo, hi uint64) (Hash, error) {
	v := l.view.Load()
	if lo >= hi || hi > v.head.Size {
		return Hash{}, fmt.Errorf("leaves %d to %d: %w, size %d", lo, hi, ErrBeyond, v.head.Size)
	}
	return l.rangeRoot(ctx, v, lo, hi)
}
