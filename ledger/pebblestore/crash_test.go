package pebblestore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"ledgerd/ledger/pebblestore"
	"ledgerd/ledger/tlog"
	"ledgerd/ledger/tlog/tlogtest"
)

// A machine is a file system on which processes run, one after the other. Its
// power can be cut at any file operation.
type machine struct {
	mem *vfs.MemFS
}

// newMachine returns a machine whose operator has made the directory "/keep"
// for the head outside the store.
func newMachine(t testing.TB) *machine {
	m := &machine{vfs.NewCrashableMem()}
	if err := m.mem.MkdirAll("/keep", 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := m.mem.OpenDir("/")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(root.Sync(), root.Close()); err != nil {
		t.Fatal(err)
	}
	return m
}

// powerLoss returns the machine as it may be after a power loss right now, with
// a percentage of what was not synced.
func (m *machine) powerLoss(percent int, seed uint64) *machine {
	return &machine{m.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(seed, 1))})}
}

// A process is one life of the log on a machine.
type process struct {
	fs     vfs.FS
	killed atomic.Bool
	ops    atomic.Int64
	onOp   func(n int64, op errorfs.Op) error // before each writing operation
	died   chan string                        // what Fatal said
}

func newProcess(m *machine, onOp func(int64, errorfs.Op) error) *process {
	p := &process{onOp: onOp, died: make(chan string, 10)}
	p.fs = unlocked{errorfs.Wrap(m.mem, errorfs.InjectorFunc(p.op))}
	return p
}

// unlocked has no locks: those of a killed process do not outlive it, and the
// memory file system cannot know of the kill.
type unlocked struct{ vfs.FS }

func (unlocked) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func (p *process) op(op errorfs.Op) error {
	if p.killed.Load() {
		select {} // a dead process does nothing more
	}
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || p.onOp == nil {
		return nil
	}
	return p.onOp(p.ops.Add(1), op)
}

func (p *process) open(t testing.TB) (*tlog.Log, *pebblestore.Store, error) {
	s, err := pebblestore.Open("/var/ledger", pebblestore.Options{
		FS: p.fs, Logger: quiet, MemTableBytes: 64 << 10,
		Fatal: func(m string) { p.died <- m; select {} },
	})
	if err != nil {
		return nil, nil, err
	}
	c := config(t)
	c.Keeper = pebblestore.NewHeadFile(p.fs, "/keep/head")
	c.KeepEvery = time.Microsecond
	c.BatchEntries = 40
	c.Admitter = rowAdmitter{}
	l, err := tlog.Open(context.Background(), s, c)
	return l, s, err
}

// rowAdmitter writes a row for each entry, so that a torn batch would show.
type rowAdmitter struct{}

func (rowAdmitter) Prepare(cs []*tlog.Candidate) []error { return make([]error, len(cs)) }
func (rowAdmitter) Admit(uint64, *tlog.Candidate) error  { return nil }
func (rowAdmitter) Durable(uint64)                       {}
func (rowAdmitter) Rows(first uint64, n int) []tlog.Row {
	rows := make([]tlog.Row, n)
	for i := range rows {
		rows[i] = tlog.Row{Key: fmt.Appendf(nil, "row %08d", first+uint64(i))}
	}
	return rows
}

// load appends entries from several writers until it ends or fails, and notes
// everything that it hears.
func load(l *tlog.Log, j *tlogtest.Journal, tag string, rounds int) {
	look(l, j)
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := range rounds {
				cs := make([]*tlog.Candidate, 1+(i*7+w)%60)
				for k := range cs {
					cs[k] = &tlog.Candidate{Entry: fmt.Appendf(nil, "%s writer %d round %d number %d", tag, w, i, k)}
				}
				rs, err := l.Append(context.Background(), cs...)
				if err != nil {
					return
				}
				for k, r := range rs {
					if r.Err == nil {
						j.Acked(r.Index, cs[k].Entry)
					}
				}
				look(l, j)
			}
		})
	}
	wg.Wait()
}

func look(l *tlog.Log, j *tlogtest.Journal) {
	seen := j.Look()
	seen(l.Head().Note)
}

// survive opens the log on a machine after its power came back, and asks the
// oracle; then it goes on working, and asks again.
func survive(t testing.TB, m *machine, j *tlogtest.Journal) error {
	l, s, err := newProcess(m, nil).open(t)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	check := func() error {
		h := l.Head()
		if err := tlogtest.CheckLog(config(t).Verifier, h.Note, l.Entries(context.Background(), 0, h.Size), j); err != nil {
			return err
		}
		rows := uint64(0)
		for row, err := range s.Rows(context.Background(), []byte("row "), []byte("row!"), false) {
			if err != nil || string(row.Key) != fmt.Sprintf("row %08d", rows) {
				return fmt.Errorf("expected the row of entry %d, found %q, %v", rows, row.Key, err)
			}
			rows++
		}
		if rows != h.Size {
			return fmt.Errorf("%d rows for %d entries", rows, h.Size)
		}
		return nil
	}
	if err := check(); err != nil {
		return err
	}
	load(l, j, "after", 2)
	if err := check(); err != nil {
		return fmt.Errorf("after it went on: %w", err)
	}
	return errors.Join(l.Close(), s.Close())
}

func rounds(t testing.TB) int {
	if testing.Short() {
		return 6
	}
	return 8
}

// Power loss at every file operation of a workload, with none, some and all of
// what was not synced kept.
func TestPowerLossAtEveryOperation(t *testing.T) {
	m := newMachine(t)
	j := tlogtest.NewJournal(nil)
	var points atomic.Int64
	var failures atomic.Int64
	try := func(n int64, op errorfs.Op, m *machine, j *tlogtest.Journal, percent int) {
		points.Add(1)
		if err := survive(t, m, j); err != nil && failures.Add(1) <= 5 {
			t.Errorf("power loss at operation %d (%v of %s), %d%% of unsynced data kept: %v", n, op.Kind, op.Path, percent, err)
		}
	}
	p := newProcess(m, func(n int64, op errorfs.Op) error {
		for i, percent := range []int{0, 50, 100} {
			if testing.Short() && (n%3 != 0 || i > 0 && n%5 != 0) {
				continue
			}
			// What was acknowledged before the power goes has to be there.
			heard := j.Prefix(j.Len())
			try(n, op, m.powerLoss(percent, uint64(n)), heard, percent)
		}
		return nil
	})
	l, s, err := p.open(t)
	if err != nil {
		t.Fatal(err)
	}
	load(l, j, "load", rounds(t))
	if err := errors.Join(l.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d operations, %d power losses, %d entries, %d failures", p.ops.Load(), points.Load(), l.Head().Size, failures.Load())
	if l.Head().Size < 256 || p.ops.Load() < 50 {
		t.Errorf("the workload is too small to mean anything: %d entries, %d operations", l.Head().Size, p.ops.Load())
	}
}

// Power loss at every file operation of a recovery.
func TestPowerLossDuringRecovery(t *testing.T) {
	m := newMachine(t)
	j := tlogtest.NewJournal(nil)
	type crash struct {
		m     *machine
		heard *tlogtest.Journal
	}
	const at = 120
	crashes := make(chan crash, 1)
	p := newProcess(m, func(n int64, _ errorfs.Op) error {
		if n == at {
			heard := j.Prefix(j.Len())
			crashes <- crash{m.powerLoss(70, 7), heard}
		}
		return nil
	})
	l, s, err := p.open(t)
	if err != nil {
		t.Fatal(err)
	}
	load(l, j, "load", rounds(t))
	if err := errors.Join(l.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if p.ops.Load() < at {
		t.Fatalf("the workload has only %d operations", p.ops.Load())
	}
	c := <-crashes
	var points atomic.Int64
	p2 := newProcess(c.m, func(n int64, op errorfs.Op) error {
		for _, percent := range []int{0, 50, 100} {
			points.Add(1)
			if err := survive(t, c.m.powerLoss(percent, uint64(n)), c.heard.Prefix(c.heard.Len())); err != nil {
				t.Errorf("power loss at operation %d of the recovery (%v of %s), %d%% kept: %v", n, op.Kind, op.Path, percent, err)
			}
		}
		return nil
	})
	l, s, err = p2.open(t)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d power losses during recovery", points.Load())
}

// A killed process leaves bytes that only the operating system's memory holds.
// The next one reads them, and shows a head of them; then the power goes.
//
// It is killed at each sync of the write-ahead log, when there is most to lose,
// and at every operation.
func TestKillRestartPublishPowerLoss(t *testing.T) {
	kills, unsynced := 0, 0
	for at := int64(1); killAt(t, at, true, &kills, &unsynced); at++ {
		if testing.Short() && at == 12 {
			break
		}
	}
	for at := int64(1); !testing.Short() && killAt(t, at, false, &kills, &unsynced); at++ {
	}
	t.Logf("%d kills; in %d of them the restart showed what a power loss before it would have taken", kills, unsynced)
	if unsynced == 0 {
		t.Error("no kill left anything unsynced, so this test shows nothing")
	}
}

// killAt kills at the at-th operation, or sync of the write-ahead log. It returns
// false where there are not so many.
func killAt(t *testing.T, at int64, syncs bool, kills, unsynced *int) bool {
	m := newMachine(t)
	dying := tlogtest.NewJournal(nil)
	reached := make(chan struct{})
	var p *process
	var seen atomic.Int64
	p = newProcess(m, func(n int64, op errorfs.Op) error {
		if syncs {
			if !strings.HasSuffix(op.Path, ".log") || op.Kind != errorfs.OpFileSync && op.Kind != errorfs.OpFileSyncData {
				return nil
			}
			n = seen.Add(1)
		}
		if n >= at {
			if p.killed.CompareAndSwap(false, true) {
				close(reached)
			}
			select {}
		}
		return nil
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if l, s, err := p.open(t); err == nil {
			load(l, dying, "load", rounds(t))
			_ = errors.Join(l.Close(), s.Close())
		}
	}()
	select {
	case <-reached:
	case <-ended:
		return false
	}
	*kills++
	// What the dead says from here on nobody hears: its goroutines still run, and
	// would show heads of its time.
	j := dying.Prefix(dying.Len())
	lost := sizeAfter(t, m.powerLoss(0, 1))

	l, s, err := newProcess(m, nil).open(t)
	if err != nil {
		t.Fatalf("restart after a kill at operation %d: %v", at, err)
	}
	shown := l.Head()
	look(l, j)
	if shown.Size > lost {
		*unsynced++
	}
	heard := j.Prefix(j.Len())
	if err := survive(t, m.powerLoss(0, uint64(at)), heard); err != nil {
		t.Fatalf("kill at operation %d, restart, head of size %d shown, power loss: %v", at, shown.Size, err)
	}
	load(l, j, "second life", 1)
	if err := survive(t, m.powerLoss(50, uint64(at)), j.Prefix(j.Len())); err != nil {
		t.Fatalf("kill at operation %d, restart, appends, power loss: %v", at, err)
	}
	if err := errors.Join(l.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	return true
}

func sizeAfter(t testing.TB, m *machine) uint64 {
	l, s, err := newProcess(m, nil).open(t)
	if err != nil {
		t.Fatal(err)
	}
	size := l.Head().Size
	if err := errors.Join(l.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	return size
}
