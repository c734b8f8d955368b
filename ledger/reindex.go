package ledger

import (
	"context"
	"fmt"
	"iter"

	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// A Rebuilder is a Store whose index rows can be replaced.
type Rebuilder interface {
	Store
	// NewestHead is Load, but works where an earlier RebuildRows was
	// interrupted.
	NewestHead() ([]byte, error)
	// RebuildRows replaces all index rows. If it is interrupted, the store
	// refuses to load until it has run to its end.
	RebuildRows(ctx context.Context, rows iter.Seq2[tlog.Row, error]) error
}

// reindexBatch is how many records share posting rows after a reindex.
const reindexBatch = 512

// Reindex makes all index rows again, from the log alone, after it has checked
// that the log is the one whose head was signed. No ledger may be at work on the
// store. What any query answers is the same as before, unless the rows were
// wrong.
func Reindex(ctx context.Context, s Rebuilder, verifierKey string, progress func(done, size uint64)) error {
	verifier, err := tlog.NewVerifier(verifierKey)
	if err != nil {
		return fmt.Errorf("reindex: %w", err)
	}
	r, err := tlog.Check(ctx, rebuilding{s}, verifier, nil)
	if err != nil {
		return fmt.Errorf("reindex: %w", err)
	}
	if len(r.Differences) > 0 {
		return fmt.Errorf("reindex: %w", &r.Differences[0])
	}
	if err := s.RebuildRows(ctx, rowsOfLog(ctx, s, r.Head.Size, progress)); err != nil {
		return fmt.Errorf("reindex: %w", err)
	}
	return nil
}

// rebuilding is a store whose rows may be incomplete.
type rebuilding struct{ Rebuilder }

func (r rebuilding) Load(context.Context) ([]byte, error) { return r.NewestHead() }

func rowsOfLog(ctx context.Context, s tlog.Reader, size uint64, progress func(done, size uint64)) iter.Seq2[tlog.Row, error] {
	return func(yield func(tlog.Row, error) bool) {
		var batch []indexed
		first, index := uint64(0), uint64(0)
		flush := func() bool {
			for _, row := range rowsOf(first, batch) {
				if !yield(row, nil) {
					return false
				}
			}
			if batch, first = batch[:0], index; progress != nil {
				progress(index, size)
			}
			return true
		}
		for entry, err := range s.Entries(ctx, 0, size) {
			var p evidence.Placed
			if err == nil {
				p, err = place(index, entry)
			}
			if err != nil {
				yield(tlog.Row{}, err)
				return
			}
			batch = append(batch, indexedOf(p))
			if index++; len(batch) == reindexBatch && !flush() {
				return
			}
		}
		flush()
	}
}
