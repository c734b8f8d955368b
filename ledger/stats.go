package ledger

import (
	"maps"
	"sync"
	"time"

	"ledgerd/ledger/tlog"
)

// Stats are totals since the ledger was opened.
type Stats struct {
	tlog.Counts
	Size     uint64            // of the durable log
	Refusals map[Reason]uint64 // records not admitted, by reason
	Entries  uint64            // in commits that became durable
	Bytes    uint64            // of these entries
	Gather   time.Duration     // summed over the commits
	Sync     time.Duration     // likewise
	MaxSync  time.Duration
	Erased   uint64
}

// counts are the totals that the log does not keep.
type counts struct {
	mu       sync.Mutex // guards all
	refusals map[Reason]uint64
	commits  Stats
}

func (c *counts) refuse(r Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusals == nil {
		c.refusals = make(map[Reason]uint64)
	}
	c.refusals[r]++
}

// committed is told of each commit, in order.
func (l *Ledger) committed(s tlog.CommitStats) {
	c := &l.counts
	c.mu.Lock()
	t := &c.commits
	t.Entries += uint64(s.Entries)
	t.Bytes += uint64(s.Bytes)
	t.Gather += s.Gather
	t.Sync += s.Sync
	t.MaxSync = max(t.MaxSync, s.Sync)
	c.mu.Unlock()
	if l.cfg.OnCommit != nil {
		l.cfg.OnCommit(s)
	}
}

// Stats returns the ledger's totals.
func (l *Ledger) Stats() Stats {
	l.counts.mu.Lock()
	s := l.counts.commits
	s.Refusals = maps.Clone(l.counts.refusals)
	l.counts.mu.Unlock()
	s.Counts = l.log.Counts()
	s.Size = l.Head().Size
	return s
}

func (c *counts) erased() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commits.Erased++
}
