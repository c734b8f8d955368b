package tlog

import (
	"context"
	"fmt"
	"time"
)

// keepHeads gives the newest durable head to the keeper, at most once in
// KeepEvery, and the last one after the committer has ended.
func (l *Log) keepHeads(committed <-chan struct{}) {
	kept := uint64(0)
	keep := func() {
		h := l.Head()
		if h.Size == kept && l.keepErr == nil {
			return
		}
		err := l.cfg.Keeper.Keep(context.Background(), h.Note)
		if err != nil {
			// Appends go on: the store is sound, and what lags behind is the
			// guard against its replacement. Counts shows it.
			err = fmt.Errorf("keep the tree head of size %d outside the store: %w", h.Size, err)
			l.counts.keepErr.Store(&err)
		} else {
			kept = h.Size
			l.counts.keepErr.Store(nil)
		}
		l.keepErr = err
	}
	pace := time.NewTimer(l.cfg.KeepEvery)
	defer pace.Stop()
	for {
		select {
		case <-l.keepNow:
		case <-committed:
			keep()
			return
		}
		keep()
		pace.Reset(l.cfg.KeepEvery)
		select {
		case <-pace.C:
		case <-committed:
			keep()
			return
		}
	}
}
