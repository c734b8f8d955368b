package tlog

import (
	"errors"
	"fmt"
	"time"
)

// maxInFlight is how many commits are begun and not yet durable at most. While
// one syncs, the next is begun; a third would gain nothing, and gathers.
const maxInFlight = 2

// A commit is a batch on its way from the sequencer to the committer. Answers
// go with it that rest on what was begun before, even where it has no entries.
type commit struct {
	batch   Batch
	slots   []*slot
	view    *view   // that it makes durable; nil: it has no entries
	pending Pending // likewise
	stats   CommitStats
	begun   time.Time
}

// A sequencer owns the growing tree.
type sequencer struct {
	log     *Log
	edge    *edge
	commits chan<- *commit

	open  *commit // being gathered
	bytes int     // of its entries
	first time.Time
	guess *SignedHead // see foresee; nil: none
}

func (s *sequencer) run() {
	defer close(s.commits)
	s.open = new(commit)
	line := s.log.line
	for line != nil || len(s.open.slots) > 0 {
		select {
		case <-s.log.dead:
			s.drop()
			return
		default:
		}
		full := len(s.open.batch.Entries) >= s.log.cfg.BatchEntries || s.bytes >= s.log.cfg.BatchBytes ||
			len(s.open.slots) >= 2*s.log.cfg.BatchEntries
		var take <-chan *slot
		if !full {
			take = line
		}
		var fly chan struct{}
		if s.due(full, len(line)) {
			select {
			case s.log.flights <- struct{}{}:
				s.begin()
				continue
			default: // go on gathering until one has landed
				fly = s.log.flights
			}
		}
		select {
		case sl, ok := <-take:
			if !ok {
				line = nil
				continue
			}
			s.log.leave(sl)
			if len(s.open.slots) == 0 && len(line) == 0 {
				s.foresee(sl)
			}
			<-sl.ready
			s.admit(sl)
		case fly <- struct{}{}:
			s.begin()
		case <-s.log.dead: // the next round sees to it
		}
	}
}

// due says whether to begin what was gathered: when it is full, or nobody stands
// in line any more. So a lone writer waits for no one, and a thousand share one
// sync. Where the disk is idle, half of those who are there are enough: while
// they sync, the other half is prepared, and neither disk nor processors wait.
func (s *sequencer) due(full bool, line int) bool {
	gathered := len(s.open.slots)
	return gathered > 0 && (full || line == 0 || len(s.log.flights) == 0 && gathered >= line)
}

// drop answers everybody whose candidate was never begun.
func (s *sequencer) drop() {
	err := fmt.Errorf("%w: %w", ErrNotAppended, s.log.cause)
	for _, sl := range s.open.slots {
		sl.answer(Result{Err: err})
	}
	for sl := range s.log.line { // whoever closed dead closed it, too
		s.log.leave(sl)
		<-sl.ready
		sl.answer(Result{Err: err})
	}
}

// foresee signs the head that there will be if a lone candidate is admitted,
// while its preparation goes on: for a writer who comes alone, two signatures
// then take the time of one. If it is not admitted the head is thrown away: it
// was in no batch, and nobody saw it.
func (s *sequencer) foresee(sl *slot) {
	select {
	case <-sl.ready:
		return
	default:
	}
	size, root := s.edge.with(LeafHash(sl.c.Entry))
	s.guess, _ = SignHead(size, root, s.log.cfg.Signer) // an error comes again
}

// head signs the head of the tree as it is now.
func (s *sequencer) head() (*SignedHead, error) {
	root, guess := s.edge.root(), s.guess
	s.guess = nil
	if guess != nil && guess.Size == s.edge.size && guess.Root == root {
		return guess, nil
	}
	return SignHead(s.edge.size, root, s.log.cfg.Signer)
}

// leave takes a slot's share out of the line's bounds.
func (l *Log) leave(s *slot) {
	l.mu.Lock()
	l.queued--
	l.queuedBytes -= len(s.c.Entry)
	l.mu.Unlock()
}

func (s *sequencer) admit(sl *slot) {
	s.open.slots = append(s.open.slots, sl)
	if sl.err != nil {
		return
	}
	if len(s.open.batch.Entries) == 0 {
		// Admission cannot be undone, so room is asked for before.
		if sl.err = s.log.store.Room(s.log.cfg.BatchBytes + MaxEntry); sl.err != nil {
			return
		}
		s.first = time.Now()
		s.open.batch.First = s.edge.size
	}
	err := s.log.cfg.Admitter.Admit(s.edge.size, sl.c)
	if err != nil {
		var dup *Duplicate
		if errors.As(err, &dup) && dup.Index < s.edge.size {
			sl.index, sl.dup = dup.Index, true
			return
		}
		sl.err = err
		return
	}
	sl.index = s.edge.size
	s.open.batch.Entries = append(s.open.batch.Entries, sl.c.Entry)
	s.bytes += len(sl.c.Entry)
	s.edge.append(sl.c.Leaf, func(t FullTile) { s.open.batch.Tiles = append(s.open.batch.Tiles, t) })
}

// begin hands the open commit on. If we crash before Begin has returned, or at
// any time until Wait has, the store holds all of the batch or nothing of it,
// and no writer was told anything.
func (s *sequencer) begin() {
	c := s.open
	s.open = new(commit)
	if b := &c.batch; len(b.Entries) > 0 {
		c.stats = CommitStats{Entries: len(b.Entries), Bytes: s.bytes, Size: s.edge.size, Queue: len(s.log.line)}
		s.bytes = 0
		b.Rows = s.log.cfg.Admitter.Rows(b.First, len(b.Entries))
		head, err := s.head()
		if err == nil {
			b.Head = head.Note
			c.view = newView(head, s.edge.clone())
			c.begun = time.Now()
			c.stats.Gather = c.begun.Sub(s.first)
			c.pending, err = s.log.store.Begin(b)
		}
		if err != nil {
			c.pending = failedPending{err}
		}
	}
	s.commits <- c
}

type failedPending struct{ err error }

func (p failedPending) Wait() error { return p.err }

// commitAll is the committer.
func (l *Log) commitAll(commits <-chan *commit) {
	for c := range commits {
		var err error
		select {
		case <-l.dead:
			// The store promised that nothing after a failure is durable,
			// but not what a later Wait says. A batch of which the store
			// says that it is certainly not there keeps that answer.
			err = l.cause
		default:
			if c.pending != nil {
				err = c.pending.Wait()
			}
		}
		if err != nil {
			l.stop(err)
			err = fatal(err)
			for _, s := range c.slots {
				s.answer(l.failure(s, err))
			}
			<-l.flights
			continue
		}
		l.durable(c)
		<-l.flights
	}
}

// durable publishes what a commit holds, and only then answers.
func (l *Log) durable(c *commit) {
	if c.view != nil {
		l.view.Store(c.view)
		l.cfg.Admitter.Durable(c.view.head.Size)
		l.grown.wake()
		select {
		case l.keepNow <- struct{}{}:
		default:
		}
		c.stats.Sync = time.Since(c.begun)
		l.counts.commits.Add(1)
		if l.cfg.OnCommit != nil {
			l.cfg.OnCommit(c.stats)
		}
	}
	for _, s := range c.slots {
		switch {
		case s.err != nil:
			l.counts.refused.Add(1)
			s.answer(Result{Err: s.err})
		case s.dup:
			l.counts.duplicates.Add(1)
			s.answer(Result{Index: s.index, Duplicate: true})
		default:
			l.counts.appended.Add(1)
			s.answer(Result{Index: s.index})
		}
	}
}

// failure is the result of a slot whose commit failed with err.
func (l *Log) failure(s *slot, err error) Result {
	switch {
	case s.err != nil:
		return Result{Err: fmt.Errorf("%w: refused over a state that is not durable", ErrNotAppended)}
	case s.dup && s.index < l.Head().Size:
		return Result{Index: s.index, Duplicate: true}
	}
	return Result{Err: err}
}
