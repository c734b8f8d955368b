package tlog

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// A Config says how a Log works. Origin and key are those of Signer and
// Verifier; everything else may be left out.
type Config struct {
	Signer   note.Signer   // the log's key; its name is the origin
	Verifier note.Verifier // its public half, see NewVerifier
	Admitter Admitter      // nil: every entry is taken
	Keeper   HeadKeeper    // nil: a rollback of the store is not seen
	ReadOnly bool          // take nothing; Signer may be nil, and Keeper is only asked

	// KeepEvery is the least time between two calls of Keeper.Keep, 1 s if 0:
	// the head outside lags behind by that much at most, and by nothing after
	// Close.
	KeepEvery time.Duration
	// QueueEntries and QueueBytes bound the line: 8,192 and 32 MiB if 0.
	QueueEntries, QueueBytes int
	// BatchEntries and BatchBytes bound a commit: 256 and 2 MiB if 0. The last
	// entry may go beyond BatchBytes.
	BatchEntries, BatchBytes int
	// CacheBytes bounds the memory for verified tiles, 16 MiB if 0.
	CacheBytes int
	// OnFatal is called once when a commit has failed, after every writer has
	// its answer. A daemon ends the process in it, without closing the store.
	OnFatal func(error)
	// OnCommit, if set, is called for each commit that became durable, in
	// order. It must not wait.
	OnCommit func(CommitStats)
}

// CommitStats describes one commit.
type CommitStats struct {
	Entries int
	Bytes   int           // of the entries
	Size    uint64        // of the log, with this commit
	Gather  time.Duration // from its first admission until it was begun
	Sync    time.Duration // from then until it was durable
	Queue   int           // candidates in line when it was begun
}

func (c *Config) setDefaults() {
	def := func(v *int, n int) {
		if *v <= 0 {
			*v = n
		}
	}
	def(&c.QueueEntries, 8192)
	def(&c.QueueBytes, 32<<20)
	def(&c.BatchEntries, 256)
	def(&c.BatchBytes, 2<<20)
	def(&c.CacheBytes, 16<<20)
	if c.KeepEvery <= 0 {
		c.KeepEvery = time.Second
	}
	if c.Admitter == nil {
		c.Admitter = admitAll{}
	}
}

type admitAll struct{}

func (admitAll) Prepare(cs []*Candidate) []error { return make([]error, len(cs)) }
func (admitAll) Admit(uint64, *Candidate) error  { return nil }
func (admitAll) Rows(uint64, int) []Row          { return nil }
func (admitAll) Durable(uint64)                  {}

// A Log orders entries over a Store. Its methods may be called from any
// goroutine.
//
// Three kinds of goroutine work for it: preparers, one for each CPU, take
// candidates as they come; the sequencer, which alone owns the growing tree,
// takes them in line order, and begins commits; the committer waits for these,
// in order, and answers. At most two commits are begun and not yet durable;
// meanwhile the sequencer gathers the next one.
type Log struct {
	store Store
	cfg   Config
	cache *tileCache

	view    atomic.Pointer[view] // what is durable; set by the committer
	grown   notifier             // woken with each new view
	keepNow chan struct{}        // wakes the keeper; capacity 1

	mu          sync.Mutex // guards the next five, and so the order of the line
	line        chan *slot // in order, for the sequencer; never full
	prep        chan *slot // the same, for the preparers
	queued      int        // slots in line
	queuedBytes int
	closed      bool // no more submissions; line and prep are closed

	flights chan struct{} // holds one for each commit in flight

	dead    chan struct{} // closed when a commit has failed
	cause   error         // why; read only once dead is closed
	working sync.WaitGroup
	ended   chan struct{} // closed when all goroutines have ended
	keepErr error         // of the last Keep; read only once ended is closed

	counts counts
}

// Counts are totals since Open.
type Counts struct {
	Appended, Duplicates, Refused, Busy uint64
	Commits                             uint64
	Queue                               int   // candidates in line now
	KeepErr                             error // of the last attempt to keep a head
}

type counts struct {
	appended, duplicates, refused, busy, commits atomic.Uint64
	keepErr                                      atomic.Pointer[error]
}

// Counts returns the Log's counters.
func (l *Log) Counts() Counts {
	l.mu.Lock()
	queue := l.queued
	l.mu.Unlock()
	c := Counts{
		Appended: l.counts.appended.Load(), Duplicates: l.counts.duplicates.Load(),
		Refused: l.counts.refused.Load(), Busy: l.counts.busy.Load(),
		Commits: l.counts.commits.Load(), Queue: queue,
	}
	if err := l.counts.keepErr.Load(); err != nil {
		c.KeepErr = *err
	}
	return c
}

// A slot is a candidate's place in line.
type slot struct {
	c     *Candidate
	ready chan struct{} // closed when prepared
	err   error         // of the preparation or admission
	index uint64
	dup   bool
	sub   *submission
	at    int // which of the submission's results it is
}

// A submission is what one call of Submit put in line.
type submission struct {
	left    atomic.Int64
	done    chan struct{} // closed when all results are there
	results []Result
}

// newSubmission makes room for n candidates: at once for a lone one, which most
// are.
func newSubmission(n int) (*submission, []slot) {
	var sub *submission
	var slots []slot
	if n == 1 {
		one := new(struct {
			submission
			slot   [1]slot
			result [1]Result
		})
		sub, slots = &one.submission, one.slot[:]
		sub.results = one.result[:]
	} else {
		sub, slots = &submission{results: make([]Result, n)}, make([]slot, n)
	}
	sub.done = make(chan struct{})
	sub.left.Store(int64(n))
	return sub, slots
}

func (s *slot) answer(r Result) {
	s.sub.results[s.at] = r
	if s.sub.left.Add(-1) == 0 {
		close(s.sub.done)
	}
}

// Submit gives the candidates their place in line, next to each other: the
// order of calls is the order of the log. Each is admitted or refused by
// itself. wait returns all their results, in their order, once each is decided
// and what it rests on durable.
//
// A wait that is given up takes nothing out of the line; it may be called
// again. Its error is that of its context; or ErrBusy, ErrClosed or
// ErrNotAppended, with no results, where the candidates got no place at all.
func (l *Log) Submit(cs ...*Candidate) (wait func(context.Context) ([]Result, error)) {
	failed := func(err error) func(context.Context) ([]Result, error) {
		return func(context.Context) ([]Result, error) { return nil, err }
	}
	if l.cfg.ReadOnly {
		return failed(ErrReadOnly)
	}
	sub, slots := newSubmission(len(cs))
	if len(cs) == 0 {
		close(sub.done)
	}
	bytes := 0
	for i, c := range cs {
		slots[i] = slot{c: c, ready: make(chan struct{}), sub: sub, at: i}
		bytes += len(c.Entry)
	}

	l.mu.Lock()
	switch {
	case l.closed:
		l.mu.Unlock()
		select {
		case <-l.dead:
			return failed(fmt.Errorf("%w: %w", ErrNotAppended, l.cause))
		default:
			return failed(ErrClosed)
		}
	// One submission may exceed the bytes where the line is empty, or it
	// could never get a place.
	case l.queued+len(cs) > l.cfg.QueueEntries, l.queued > 0 && l.queuedBytes+bytes > l.cfg.QueueBytes:
		l.mu.Unlock()
		l.counts.busy.Add(1)
		return failed(ErrBusy)
	}
	l.queued += len(cs)
	l.queuedBytes += bytes
	for i := range slots {
		// Neither blocks: their capacity is QueueEntries.
		l.line <- &slots[i]
		l.prep <- &slots[i]
	}
	l.mu.Unlock()

	return func(ctx context.Context) ([]Result, error) {
		select {
		case <-sub.done:
			return sub.results, nil
		default:
		}
		select {
		case <-sub.done:
			return sub.results, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Append is Submit, and wait.
func (l *Log) Append(ctx context.Context, cs ...*Candidate) ([]Result, error) {
	return l.Submit(cs...)(ctx)
}

// Head returns the newest durable tree head. Every read is bounded by it.
func (l *Log) Head() *SignedHead { return l.view.Load().head }

// Wait returns once the durable tree has at least size entries, or with an
// error where the context or the Log ended before.
func (l *Log) Wait(ctx context.Context, size uint64) error {
	for {
		woken := l.grown.wait()
		if l.Head().Size >= size {
			return nil
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.ended:
			if l.Head().Size >= size {
				return nil
			}
			return l.Err()
		}
	}
}

// Err returns nil while the Log takes entries, why it died where it did, and
// ErrClosed after Close.
func (l *Log) Err() error {
	select {
	case <-l.dead:
		return l.cause
	default:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	return nil
}

// Close takes no more candidates, waits until those in line are durable and the
// newest head is kept, and returns. It does not close the store. Its error is
// why the Log died, or why the head could not be kept.
func (l *Log) Close() error {
	l.stop(nil)
	<-l.ended
	select {
	case <-l.dead:
		return l.cause
	default:
		return l.keepErr
	}
}

// stop closes the line and, where there is a cause, marks the Log as dead.
func (l *Log) stop(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cause != nil {
		select {
		case <-l.dead:
		default:
			l.cause = cause
			close(l.dead)
		}
	}
	if !l.closed {
		l.closed = true
		close(l.line)
		close(l.prep)
	}
}

func (l *Log) start(e *edge) {
	l.line = make(chan *slot, l.cfg.QueueEntries)
	l.prep = make(chan *slot, l.cfg.QueueEntries)
	l.flights = make(chan struct{}, maxInFlight)
	commits := make(chan *commit, maxInFlight)
	for range runtime.GOMAXPROCS(0) {
		l.working.Go(l.prepare)
	}
	s := &sequencer{log: l, edge: e, commits: commits}
	l.working.Go(s.run)
	committed := make(chan struct{})
	l.working.Go(func() {
		defer close(committed)
		l.commitAll(commits)
	})
	if l.cfg.Keeper != nil && !l.cfg.ReadOnly {
		l.working.Go(func() { l.keepHeads(committed) })
	}
	go func() {
		l.working.Wait()
		close(l.ended)
		select {
		case <-l.dead:
			if l.cfg.OnFatal != nil {
				l.cfg.OnFatal(l.cause)
			}
		default:
		}
	}()
}

// prepareAtOnce is how many candidates a preparer takes together at most: what
// they share costs an eighth then, and more would only make the first of them
// wait.
const prepareAtOnce = 8

// prepare is a preparer. It takes together what is there, less what the other
// preparers could do meanwhile. A writer's goroutine wakes it with the first of
// them. While a commit is in flight, which those have to wait for that come now,
// it lets others run that are ready to bring more; a lone writer never waits so.
func (l *Log) prepare() {
	preparers := runtime.GOMAXPROCS(0)
	var slots []*slot
	for s := range l.prep {
		if len(l.flights) > 0 && len(l.prep) < preparers*(prepareAtOnce-1) {
			runtime.Gosched()
		}
		slots = append(slots[:0], s)
		for more := min(len(l.prep)/preparers, prepareAtOnce-1); more > 0; more-- {
			select {
			case s, ok := <-l.prep:
				if ok {
					slots = append(slots, s)
				}
			default:
			}
		}
		l.prepareAll(slots)
	}
}

func (l *Log) prepareAll(slots []*slot) {
	cs, of := make([]*Candidate, 0, len(slots)), make([]*slot, 0, len(slots))
	for _, s := range slots {
		if n := len(s.c.Entry); n == 0 || n > MaxEntry {
			s.err = fmt.Errorf("%w, found %d", ErrEntrySize, n)
			continue
		}
		s.c.Leaf = LeafHash(s.c.Entry)
		cs, of = append(cs, s.c), append(of, s)
	}
	for i, err := range l.cfg.Admitter.Prepare(cs) {
		of[i].err = err
	}
	for _, s := range slots {
		close(s.ready)
	}
}

// fatal says what a failed commit means for those that it held.
func fatal(err error) error {
	if errors.Is(err, ErrConflict) {
		return fmt.Errorf("%w: %w", ErrNotAppended, err)
	}
	return fmt.Errorf("%w: %w", ErrUnknown, err)
}

// A notifier wakes everybody who waits.
type notifier struct {
	mu sync.Mutex
	ch chan struct{} // nil: nobody waits
}

func (n *notifier) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *notifier) wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}
