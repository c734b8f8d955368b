package tlog

import (
	"context"
	"fmt"
)

// Subtree returns the hash, as RFC 6962 has it, of the leaves from lo to hi-1 of
// the durable tree. They must lie under one node: lo is a multiple of the
// smallest power of two not below hi-lo. A bundle's writer asks for its nodes
// this way.
func (l *Log) Subtree(ctx context.Context, lo, hi uint64) (Hash, error) {
	v := l.view.Load()
	if lo >= hi || hi > v.head.Size {
		return Hash{}, fmt.Errorf("subtree of entries %d to %d: %w, size %d", lo, hi, ErrBeyond, v.head.Size)
	}
	return l.rangeRoot(ctx, v, lo, hi)
}
