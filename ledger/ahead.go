package ledger

import (
	"context"
	"iter"
	goruntime "runtime"
	"sync"

	"ledgerd/evidence"
)

const (
	// maxAhead is how many records are read together, where many are read.
	maxAhead = 128
	// minParallel is from how many on it pays to parse them side by side.
	minParallel = 16
)

// readAhead yields the records at rising indexes, of which its caller wants about
// limit; 0: all. The first is read alone, then more and more together: who reads
// one record waits for no other.
func (l *Ledger) readAhead(ctx context.Context, indexes iter.Seq2[uint64, error], limit int) iter.Seq2[evidence.Placed, error] {
	return func(yield func(evidence.Placed, error) bool) {
		var batch []uint64
		size, left := 1, limit
		flush := func() bool {
			placed, err := l.readTogether(ctx, batch)
			for _, p := range placed {
				if !yield(p, nil) {
					return false
				}
			}
			if err != nil {
				yield(evidence.Placed{}, err)
				return false
			}
			left -= len(batch)
			if size = min(4*size, maxAhead); limit > 0 {
				size = max(1, min(size, left))
			}
			batch = batch[:0]
			return true
		}
		for index, err := range indexes {
			if err != nil {
				if flush() {
					yield(evidence.Placed{}, err)
				}
				return
			}
			if batch = append(batch, index); len(batch) == size && !flush() {
				return
			}
		}
		flush()
	}
}

// readTogether returns the records at rising indexes: as far as they can be read,
// and then the error.
func (l *Ledger) readTogether(ctx context.Context, indexes []uint64) ([]evidence.Placed, error) {
	entries := make([][]byte, 0, len(indexes))
	var end error
	for first := 0; first < len(indexes) && end == nil; {
		n := 1 // that follow each other: one read for all of them
		for first+n < len(indexes) && indexes[first+n] == indexes[first]+uint64(n) {
			n++
		}
		for entry, err := range l.log.Entries(ctx, indexes[first], indexes[first]+uint64(n)) {
			if err != nil {
				end = err
				break
			}
			entries = append(entries, entry)
		}
		first += n
	}
	placed, errs := make([]evidence.Placed, len(entries)), make([]error, len(entries))
	share := func(from, to int) {
		for i := from; i < to; i++ {
			placed[i], errs[i] = placeAdmitted(indexes[i], entries[i])
		}
	}
	if parts := min(goruntime.GOMAXPROCS(0), len(entries)/minParallel+1); parts == 1 {
		share(0, len(entries))
	} else {
		var wg sync.WaitGroup
		for i := range parts {
			wg.Go(func() { share(i*len(entries)/parts, (i+1)*len(entries)/parts) })
		}
		wg.Wait()
	}
	for i, err := range errs {
		if err != nil {
			return placed[:i], err
		}
	}
	return placed, end
}
