package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"ledgerd/evidence"
	"ledgerd/ledger"
	"ledgerd/ledger/pebblestore"
	"ledgerd/ledger/tlog"
	"ledgerd/ledger/tlog/tlogtest"
)

// noLocks: locks of a process that is gone do not outlive it, which the memory
// file system cannot know.
type noLocks struct{ vfs.FS }

func (noLocks) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// boot opens the ledger on a file system, or makes it where it is not there yet.
// The vault lies elsewhere: its files are renamed into place after their sync,
// and no test here has payloads.
func boot(t testing.TB, fs vfs.FS, vault *ledger.Vault, c *clock) (*ledger.Ledger, *pebblestore.Store, error) {
	s, err := pebblestore.Open("/store", pebblestore.Options{FS: noLocks{fs}, Logger: quiet(), MemTableBytes: 64 << 10})
	if err != nil {
		return nil, nil, err
	}
	cfg := config(t, c)
	cfg.Keeper = pebblestore.NewHeadFile(fs, "/head")
	cfg.BatchEntries, cfg.Runs = 16, 3
	l, err := ledger.Create(context.Background(), s, vault, cfg, genesis(t, evidence.TimeOf(start))...)
	return l, s, err
}

// A driver appends to one run, from where the ledger says that it is, and notes
// what it was told.
func drive(t testing.TB, l *ledger.Ledger, j *tlogtest.Journal, id evidence.RunID, c *clock, rounds int) error {
	w := &world{t: t, Ledger: l, clock: c}
	r := &run{w: w, id: id}
	for p, err := range l.Run(context.Background(), id) {
		if err != nil {
			return err
		}
		if p.Record.Kind == evidence.KindRunClosed {
			return nil
		}
		r.prev, r.n = p.ID, r.n+1
	}
	submit := func(entries ...[]byte) error {
		outs, err := l.SubmitEach(entries...)(context.Background())
		if err != nil {
			return nil // the power is gone
		}
		for i, o := range outs {
			if o.Err == nil {
				j.Acked(o.Index, entries[i])
			} else if ledger.AsRefusal(o.Err) != nil {
				return fmt.Errorf("a record of the only writer was refused: %w", o.Err)
			}
		}
		return nil
	}
	if r.n == 0 {
		if err := submit(r.open()); err != nil {
			return err
		}
	}
	for range rounds {
		var batch [][]byte
		for range 1 + r.n%3 {
			batch = append(batch, r.authorize("send_email"), r.execute("send_email", 1))
		}
		if err := submit(batch...); err != nil {
			return err
		}
		seen := j.Look()
		seen(l.Head().Note)
	}
	return nil
}

// survives opens the ledger after a power loss: every acknowledged record is in
// it, every line holds, the index is what the log says, and all of its writers
// can go on.
func survives(t testing.TB, fs vfs.FS, vault *ledger.Vault, c *clock, j *tlogtest.Journal, runs int) error {
	l, s, err := boot(t, fs, vault, c)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	check := func() error {
		h := l.Head()
		verifier, err := tlog.NewVerifier(l.VerifierKey())
		if err != nil {
			return err
		}
		if err := tlogtest.CheckLog(verifier, h.Note, l.Log().Entries(context.Background(), 0, h.Size), j); err != nil {
			return err
		}
		r, err := l.Check(context.Background(), nil)
		if err == nil && !r.Sound() {
			err = fmt.Errorf("the index differs: %v", r.Differences)
		}
		w := &world{t: t, Ledger: l}
		for i := range runs {
			w.holdLine(runID(i), -1)
		}
		return err
	}
	if err := check(); err != nil {
		return err
	}
	for i := range runs {
		if err := drive(t, l, j, runID(i), c, 1); err != nil {
			return fmt.Errorf("go on: %w", err)
		}
	}
	if err := check(); err != nil {
		return fmt.Errorf("after it went on: %w", err)
	}
	return errors.Join(l.Close(), s.Close())
}

// Power loss at every file operation of a workload of several runs.
func TestPowerLossAtEveryOperation(t *testing.T) {
	const runs = 5
	c := &clock{now: start}
	vault := openVault(t, t.TempDir())
	mem := vfs.NewCrashableMem()
	j := tlogtest.NewJournal(nil)
	var ops, points, failures atomic.Int64
	every := int64(2)
	if testing.Short() {
		every = 13
	}
	var one sync.Mutex
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		n := ops.Add(1)
		if n%every != 0 {
			return nil
		}
		one.Lock()
		defer one.Unlock()
		for _, percent := range []int{0, 50, 100} {
			// What was acknowledged before the power goes has to be there.
			heard := j.Prefix(j.Len())
			after := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(n), 1))})
			points.Add(1)
			if err := survives(t, after, vault, c, heard, runs); err != nil && failures.Add(1) <= 5 {
				t.Errorf("power loss at operation %d (%v of %s), %d%% of what was not synced kept: %v", n, op.Kind, op.Path, percent, err)
			}
		}
		return nil
	}))
	l, s, err := boot(t, fs, vault, c)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range runs {
		wg.Go(func() {
			if err := drive(t, l, j, runID(i), c, 3); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	size := l.Head().Size
	if err := errors.Join(l.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d operations, %d power losses, %d records, %d failures", ops.Load(), points.Load(), size, failures.Load())
	if points.Load() < 20 || size < 40 {
		t.Error("the workload is too small to mean anything")
	}
}

// A failed sync: writers hear that it is unknown, nothing is retried, and after
// a restart the records are there or not, whole.
func TestFailedSync(t *testing.T) {
	c := &clock{now: start}
	vault := openVault(t, t.TempDir())
	s := new(rowStore)
	fatal := make(chan error, 1)
	cfg := config(t, c)
	cfg.OnFatal = func(err error) { fatal <- err }
	l, err := ledger.Create(t.Context(), s, vault, cfg, genesis(t, evidence.TimeOf(start))...)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("input/output error")
	s.OnWait = func(int, *tlog.Batch) error { return broken }
	w := &world{t: t, Ledger: l, clock: c}
	r := w.newRun()
	if _, err := l.Append(t.Context(), r.open()); !errors.Is(err, tlog.ErrUnknown) || ledger.AsRefusal(err) != nil {
		t.Errorf("a record whose sync failed: %v", err)
	}
	select {
	case err := <-fatal:
		if !errors.Is(err, broken) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("OnFatal was not called")
	}
	if _, err := l.Append(t.Context(), r.authorize("send_email")); !errors.Is(err, tlog.ErrNotAppended) {
		t.Errorf("a record after that: %v", err)
	}
	if got := l.Head().Size; got != lastNumber+1 {
		t.Errorf("the head has moved to %d", got)
	}
	if _, err := l.At(t.Context(), lastNumber+1); !errors.Is(err, ledger.ErrNoRecord) {
		t.Errorf("the record is shown: %v", err)
	}
}
