package tlog_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/mod/sumdb/note"

	"ledgerd/ledger/tlog"
	"ledgerd/ledger/tlog/tlogtest"
)

const origin = "ledger.example/test"

var ctx = context.Background()

func config(t testing.TB) tlog.Config {
	t.Helper()
	signer, verifier := pair(t, origin, 0)
	return tlog.Config{Signer: signer, Verifier: verifier}
}

// pair returns both halves of a key that is the same in every run.
func pair(t testing.TB, origin string, seed byte) (note.Signer, note.Verifier) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(append([]byte{seed}, make([]byte, ed25519.SeedSize-1)...))
	signer, err := tlog.NewSigner(origin, key)
	if err != nil {
		t.Fatal(err)
	}
	vkey, err := tlog.VerifierKey(origin, key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := tlog.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

func mustOpen(t testing.TB, s tlog.Store, c tlog.Config) *tlog.Log {
	t.Helper()
	l, err := tlog.Open(ctx, s, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func entry(i int) []byte { return fmt.Appendf(nil, "entry %d", i) }

func candidate(s string) *tlog.Candidate { return &tlog.Candidate{Entry: []byte(s)} }

func fill(t testing.TB, l *tlog.Log, from, n int) {
	t.Helper()
	for n > 0 {
		k := min(n, 1000)
		cs := make([]*tlog.Candidate, k)
		for i := range cs {
			cs[i] = &tlog.Candidate{Entry: entry(from + i)}
		}
		rs, err := l.Append(ctx, cs...)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rs {
			if r.Err != nil || r.Index != uint64(from+i) {
				t.Fatalf("entry %d: got %+v", from+i, r)
			}
		}
		from, n = from+k, n-k
	}
}

func checkLog(t testing.TB, l *tlog.Log, j *tlogtest.Journal) {
	t.Helper()
	h := l.Head()
	if err := tlogtest.CheckLog(config(t).Verifier, h.Note, l.Entries(ctx, 0, h.Size), j); err != nil {
		t.Error(err)
	}
}

// each prepares candidates one by one.
func each(cs []*tlog.Candidate, prepare func(*tlog.Candidate) error) []error {
	errs := make([]error, len(cs))
	for i, c := range cs {
		errs[i] = prepare(c)
	}
	return errs
}

// A keyed admitter refuses what begins with "no", and knows what stands.
type keyed struct {
	mu      sync.Mutex
	at      map[tlog.Hash]uint64
	durable atomic.Uint64
	slow    bool
}

func (k *keyed) Prepare(cs []*tlog.Candidate) []error { return each(cs, k.prepare) }

func (k *keyed) prepare(c *tlog.Candidate) error {
	if k.slow {
		time.Sleep(time.Duration(rand.IntN(100)) * time.Microsecond)
	}
	if strings.HasPrefix(string(c.Entry), "bad") {
		return errBad
	}
	c.Value = len(c.Entry)
	return nil
}

func (k *keyed) Admit(index uint64, c *tlog.Candidate) error {
	if c.Value != len(c.Entry) || c.Leaf != tlog.LeafHash(c.Entry) {
		panic("Admit before Prepare")
	}
	if strings.HasPrefix(string(c.Entry), "no") {
		return errNo
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if at, ok := k.at[c.Leaf]; ok {
		return &tlog.Duplicate{Index: at}
	}
	k.at[c.Leaf] = index
	return nil
}

func (k *keyed) Rows(first uint64, n int) []tlog.Row {
	return []tlog.Row{{Key: fmt.Appendf(nil, "row %d", first), Value: fmt.Append(nil, n)}}
}
func (k *keyed) Durable(size uint64) { k.durable.Store(size) }

var errBad, errNo = errors.New("bad"), errors.New("no")

func TestResults(t *testing.T) {
	defer goleak.VerifyNone(t)
	s, c := new(tlogtest.Store), config(t)
	k := &keyed{at: make(map[tlog.Hash]uint64)}
	c.Admitter = k
	l := mustOpen(t, s, c)
	rs, err := l.Append(ctx, candidate("a"), candidate("no 1"), candidate("b"), candidate("a"), candidate("bad 1"),
		candidate(""), candidate(strings.Repeat("x", tlog.MaxEntry+1)), candidate(strings.Repeat("x", tlog.MaxEntry)))
	if err != nil {
		t.Fatal(err)
	}
	want := []tlog.Result{
		{Index: 0},
		{Err: errNo},
		{Index: 1},
		{Index: 0, Duplicate: true},
		{Err: errBad},
		{Err: tlog.ErrEntrySize},
		{Err: tlog.ErrEntrySize},
		{Index: 2},
	}
	for i, w := range want {
		if r := rs[i]; r.Index != w.Index || r.Duplicate != w.Duplicate || !errors.Is(r.Err, w.Err) {
			t.Errorf("result %d: got %+v, expected %+v", i, r, w)
		}
	}
	// Nothing to commit, but an answer all the same.
	rs, err = l.Append(ctx, candidate("b"), candidate("no 2"))
	if err != nil || rs[0] != (tlog.Result{Index: 1, Duplicate: true}) || rs[1].Err != errNo {
		t.Errorf("got %+v, %v", rs, err)
	}
	if rs, err := l.Append(ctx); err != nil || len(rs) != 0 {
		t.Errorf("no candidates: got %+v, %v", rs, err)
	}
	if n := l.Counts(); n.Appended != 3 || n.Duplicates != 2 || n.Refused != 5 || k.durable.Load() != 3 {
		t.Errorf("counts: %+v, durable %d", n, k.durable.Load())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(ctx, candidate("c")); !errors.Is(err, tlog.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := l.Wait(ctx, 4); !errors.Is(err, tlog.ErrClosed) {
		t.Errorf("Wait after Close: %v", err)
	}
}

// Order of calls is the order of the log, however long preparation takes, and
// entries and rows arrive in one batch.
func TestOrderOfCalls(t *testing.T) {
	defer goleak.VerifyNone(t)
	s, c := new(tlogtest.Store), config(t)
	c.Admitter = &keyed{at: make(map[tlog.Hash]uint64), slow: true}
	c.BatchEntries = 7
	l := mustOpen(t, s, c)
	var waits []func(context.Context) ([]tlog.Result, error)
	for i := range 500 {
		waits = append(waits, l.Submit(&tlog.Candidate{Entry: entry(2 * i)}, &tlog.Candidate{Entry: entry(2*i + 1)}))
	}
	for i, wait := range waits {
		rs, err := wait(ctx)
		if err != nil || rs[0].Index != uint64(2*i) || rs[1].Index != uint64(2*i+1) {
			t.Fatalf("submission %d: got %+v, %v", i, rs, err)
		}
	}
	rows := uint64(0)
	for _, r := range s.Rows() {
		var first, n uint64
		fmt.Sscanf(string(r.Key), "row %d", &first)
		fmt.Sscan(string(r.Value), &n)
		if first != rows || n > 7 {
			t.Errorf("row of %d entries from %d, expected it to go on at %d", n, first, rows)
		}
		rows += n
	}
	if rows != 1000 {
		t.Errorf("rows stand for %d entries, expected 1000", rows)
	}
	checkLog(t, l, tlogtest.NewJournal(nil))
	l.Close()
}

// Nothing is seen, answered or proven before it is durable: neither the entry,
// nor its duplicate, nor a refusal that rests on it. And a waiter that gives up
// takes nothing out of the line.
func TestNothingBeforeDurable(t *testing.T) {
	hold := make(chan struct{})
	s := new(tlogtest.Store)
	c := config(t)
	c.Admitter = &keyed{at: make(map[tlog.Hash]uint64)}
	l := mustOpen(t, s, c)
	fill(t, l, 0, 1)
	begun := s.Begins()
	s.OnWait = func(int, *tlog.Batch) error { <-hold; return nil }
	first := l.Submit(candidate("x"))
	for s.Begins() == begun {
		time.Sleep(time.Millisecond)
	}
	dup, refused := l.Submit(candidate("x")), l.Submit(candidate("no"))
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	for i, wait := range []func(context.Context) ([]tlog.Result, error){first, dup, refused} {
		if rs, err := wait(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d: answered %+v, %v before it was durable", i, rs, err)
		}
	}
	if l.Head().Size != 1 {
		t.Errorf("the head shows size %d", l.Head().Size)
	}
	if _, err := l.Entry(ctx, 1); !errors.Is(err, tlog.ErrBeyond) {
		t.Errorf("entry 1: %v", err)
	}
	if _, err := l.Inclusion(ctx, 1, 2); !errors.Is(err, tlog.ErrBeyond) {
		t.Errorf("inclusion: %v", err)
	}
	if _, err := l.Consistency(ctx, 1, 2); !errors.Is(err, tlog.ErrBeyond) {
		t.Errorf("consistency: %v", err)
	}
	if _, err := l.Tile(ctx, tlog.Tile{Level: 0, N: 0, Width: 2}); !errors.Is(err, tlog.ErrBeyond) {
		t.Errorf("tile: %v", err)
	}
	if _, err := l.EntryTile(ctx, 0, 2); !errors.Is(err, tlog.ErrBeyond) {
		t.Errorf("entry tile: %v", err)
	}
	if _, err := l.Root(ctx, 2); !errors.Is(err, tlog.ErrBeyond) {
		t.Errorf("root: %v", err)
	}
	if err := l.Wait(short, 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait: %v", err)
	}
	close(hold)
	if err := l.Wait(ctx, 2); err != nil {
		t.Error(err)
	}
	if rs, err := first(ctx); err != nil || rs[0].Index != 1 {
		t.Errorf("got %+v, %v", rs, err)
	}
	if rs, err := dup(ctx); err != nil || rs[0] != (tlog.Result{Index: 1, Duplicate: true}) {
		t.Errorf("duplicate: got %+v, %v", rs, err)
	}
	if rs, err := refused(ctx); err != nil || rs[0].Err != errNo {
		t.Errorf("refused: got %+v, %v", rs, err)
	}
}

func TestBusy(t *testing.T) {
	hold := make(chan struct{})
	s, c := new(tlogtest.Store), config(t)
	c.QueueEntries, c.BatchEntries = 10, 5
	l := mustOpen(t, s, c)
	s.OnWait = func(int, *tlog.Batch) error { <-hold; return nil }
	var accepted []func(context.Context) ([]tlog.Result, error)
	busy := 0
	for i := range 1000 {
		wait := l.Submit(&tlog.Candidate{Entry: entry(i)})
		if _, err := wait(canceled()); errors.Is(err, tlog.ErrBusy) {
			busy++
			continue
		}
		accepted = append(accepted, wait)
	}
	// Two in flight, one gathering, the line: no more than that is held.
	if most := 3*5 + 10 + 1; len(accepted) > most || busy == 0 {
		t.Errorf("%d were accepted, expected at most %d", len(accepted), most)
	}
	close(hold)
	for i, wait := range accepted {
		if rs, err := wait(ctx); err != nil || rs[0].Err != nil || rs[0].Index != uint64(i) {
			t.Fatalf("accepted submission %d: %+v, %v", i, rs, err)
		}
	}
	if n := l.Counts(); n.Busy != uint64(busy) || n.Queue != 0 {
		t.Errorf("counts: %+v, expected %d busy", n, busy)
	}
}

func canceled() context.Context {
	c, cancel := context.WithCancel(ctx)
	cancel()
	return c
}

// A failed sync is final: what was begun is unknown, what stood in line was
// certainly not appended, nothing is retried, and after a restart the log holds
// either of the two outcomes.
func TestFailedSync(t *testing.T) {
	for _, tc := range []struct {
		name  string
		err   error
		begun error
		size  uint64 // after the restart
	}{
		{"and did not persist", errors.New("input/output error"), tlog.ErrUnknown, 3},
		{"but persisted", tlogtest.Persisted{Err: errors.New("input/output error")}, tlog.ErrUnknown, 4},
		{"someone else wrote", fmt.Errorf("put: %w", tlog.ErrConflict), tlog.ErrNotAppended, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			defer goleak.VerifyNone(t)
			s, c := new(tlogtest.Store), config(t)
			fatal := make(chan error, 2)
			c.OnFatal = func(err error) { fatal <- err }
			c.Admitter = &keyed{at: make(map[tlog.Hash]uint64)}
			j := tlogtest.NewJournal(nil)
			l := mustOpen(t, s, c)
			fill(t, l, 0, 3)
			for i := range 3 {
				j.Acked(uint64(i), entry(i))
			}
			begun := s.Begins()
			hold := make(chan struct{})
			waits := 0
			s.OnWait = func(int, *tlog.Batch) error { <-hold; waits++; return tc.err }
			one := l.Submit(candidate("one"))
			for s.Begins() < begun+1 {
				time.Sleep(time.Millisecond)
			}
			two := l.Submit(candidate("two"))
			for s.Begins() < begun+2 {
				time.Sleep(time.Millisecond)
			}
			old, refused, queued := l.Submit(&tlog.Candidate{Entry: entry(1)}), l.Submit(candidate("no")), l.Submit(candidate("three"))
			close(hold)
			for i, wait := range []func(context.Context) ([]tlog.Result, error){one, two, queued} {
				want := tc.begun
				if i == 2 {
					want = tlog.ErrNotAppended
				}
				rs, err := wait(ctx)
				if err != nil || !errors.Is(rs[0].Err, want) {
					t.Errorf("submission %d: got %+v, %v, expected %v", i, rs, err, want)
				}
				if errors.Is(rs[0].Err, tlog.ErrUnknown) && errors.Is(rs[0].Err, tlog.ErrNotAppended) {
					t.Errorf("submission %d is unknown and not appended: %v", i, rs[0].Err)
				}
			}
			for _, wait := range []func(context.Context) ([]tlog.Result, error){old, refused} {
				if rs, err := wait(ctx); err != nil || !errors.Is(rs[0].Err, tlog.ErrNotAppended) {
					t.Errorf("in line: got %+v, %v", rs, err)
				}
			}
			if err := <-fatal; !errors.Is(err, tc.err) {
				t.Errorf("OnFatal: %v", err)
			}
			if _, err := l.Append(ctx, candidate("four")); !errors.Is(err, tlog.ErrNotAppended) || !errors.Is(err, tc.err) {
				t.Errorf("after the failure: %v", err)
			}
			if err := l.Wait(ctx, 100); !errors.Is(err, tc.err) {
				t.Errorf("Wait: %v", err)
			}
			if err := l.Close(); !errors.Is(err, tc.err) {
				t.Errorf("Close: %v", err)
			}
			if l.Head().Size != 3 || waits != 1 || s.Begins() != begun+2 {
				t.Errorf("head %d, %d waits, %d batches begun: something was retried or published", l.Head().Size, waits, s.Begins()-begun)
			}
			select {
			case err := <-fatal:
				t.Errorf("OnFatal again: %v", err)
			default:
			}
			l = mustOpen(t, s.Restart(), c)
			if l.Head().Size != tc.size {
				t.Errorf("restarted at size %d, expected %d", l.Head().Size, tc.size)
			}
			checkLog(t, l, j)
			l.Close()
		})
	}
}

// A full disk refuses before admission, and appends go on when there is room.
func TestDiskFull(t *testing.T) {
	s, c := new(tlogtest.Store), config(t)
	k := &keyed{at: make(map[tlog.Hash]uint64)}
	c.Admitter = k
	l := mustOpen(t, s, c)
	fill(t, l, 0, 3)
	var full atomic.Bool
	full.Store(true)
	s.OnRoom = func() error {
		if full.Load() {
			return fmt.Errorf("%w: 3 bytes left", tlog.ErrDiskFull)
		}
		return nil
	}
	if rs, err := l.Append(ctx, candidate("a"), candidate("b")); err != nil || !errors.Is(rs[0].Err, tlog.ErrDiskFull) || !errors.Is(rs[1].Err, tlog.ErrDiskFull) {
		t.Errorf("got %+v, %v", rs, err)
	}
	if len(k.at) != 3 {
		t.Errorf("%d entries were admitted, expected 3", len(k.at))
	}
	if e, err := l.Entry(ctx, 2); err != nil || string(e) != "entry 2" {
		t.Errorf("read on a full disk: %q, %v", e, err)
	}
	full.Store(false)
	if rs, err := l.Append(ctx, candidate("a")); err != nil || rs[0].Err != nil || rs[0].Index != 3 {
		t.Errorf("with room again: %+v, %v", rs, err)
	}
}

// While a commit syncs, one more is begun, and what comes then shares the third.
func TestGroupCommit(t *testing.T) {
	s, c := new(tlogtest.Store), config(t)
	var commits []int
	c.OnCommit = func(st tlog.CommitStats) { commits = append(commits, st.Entries) }
	l := mustOpen(t, s, c)
	begun := s.Begins()
	hold := make(chan struct{})
	s.OnWait = func(int, *tlog.Batch) error { <-hold; return nil }
	var waits []func(context.Context) ([]tlog.Result, error)
	for i := range 2 {
		waits = append(waits, l.Submit(&tlog.Candidate{Entry: entry(i)}))
		for s.Begins() < begun+i+1 {
			time.Sleep(time.Millisecond)
		}
	}
	for i := range 100 {
		waits = append(waits, l.Submit(&tlog.Candidate{Entry: entry(2 + i)}))
	}
	time.Sleep(20 * time.Millisecond)
	if n := s.Begins() - begun; n != 2 {
		t.Errorf("%d commits in flight, expected 2", n)
	}
	for l.Counts().Queue > 0 {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	for _, wait := range waits {
		if rs, err := wait(ctx); err != nil || rs[0].Err != nil {
			t.Fatal(rs, err)
		}
	}
	l.Close()
	if fmt.Sprint(commits) != "[1 1 100]" {
		t.Errorf("commits of %v entries, expected [1 1 100]", commits)
	}
}

// A head that was signed for a candidate which was then refused is never used.
func TestForeseenHeadOfRefused(t *testing.T) {
	s, c := new(tlogtest.Store), config(t)
	c.Admitter = slowNo{}
	l := mustOpen(t, s, c)
	for i := range 20 {
		if rs, err := l.Append(ctx, candidate(fmt.Sprint("no ", i))); err != nil || rs[0].Err != errNo {
			t.Fatal(rs, err)
		}
		if rs, err := l.Append(ctx, &tlog.Candidate{Entry: entry(i)}); err != nil || rs[0].Err != nil {
			t.Fatal(rs, err)
		}
		checkLog(t, l, tlogtest.NewJournal(nil))
	}
	l.Close()
}

// slowNo takes its time over what it then refuses.
type slowNo struct{}

func (s slowNo) Prepare(cs []*tlog.Candidate) []error { return each(cs, s.prepare) }

func (slowNo) prepare(c *tlog.Candidate) error {
	if strings.HasPrefix(string(c.Entry), "no") {
		time.Sleep(time.Millisecond)
		return errNo
	}
	return nil
}
func (slowNo) Admit(uint64, *tlog.Candidate) error { return nil }
func (slowNo) Rows(uint64, int) []tlog.Row         { return nil }
func (slowNo) Durable(uint64)                      {}

// Writers who are ready while a commit is in flight are prepared together,
// whoever comes first; one who comes alone is.
func TestPreparedTogether(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that it is known who is ready
	a := new(counting)
	s, c := new(tlogtest.Store), config(t)
	c.Admitter = a
	l := mustOpen(t, s, c)
	defer l.Close()
	for i := range 3 {
		if _, err := l.Append(ctx, &tlog.Candidate{Entry: entry(i)}); err != nil {
			t.Fatal(err)
		}
	}
	hold, begun := make(chan struct{}), s.Begins()
	s.OnWait = func(int, *tlog.Batch) error { <-hold; return nil }
	const writers = 33
	var wg sync.WaitGroup
	write := func(i int) {
		wg.Go(func() {
			if _, err := l.Append(ctx, &tlog.Candidate{Entry: entry(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	write(3)
	for s.Begins() == begun {
		time.Sleep(time.Millisecond)
	}
	for i := range writers {
		write(4 + i)
	}
	for l.Counts().Queue > 0 || s.Begins() < begun+2 {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	wg.Wait()
	if fmt.Sprint(a.together[:4]) != "[1 1 1 1]" {
		t.Errorf("no commit in flight: want each alone, found %v", a.together[:4])
	}
	if n := len(a.together) - 4; n > writers/3 {
		t.Errorf("want %d candidates prepared by several, found %v", writers, a.together[4:])
	}
}

// counting remembers how many candidates were prepared at a time.
type counting struct {
	slowNo
	together []int // of one preparer
}

func (a *counting) Prepare(cs []*tlog.Candidate) []error {
	a.together = append(a.together, len(cs))
	return a.slowNo.Prepare(cs)
}
