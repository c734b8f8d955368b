package pebblestore_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"ledgerd/ledger/pebblestore"
	"ledgerd/ledger/tlog"
	"ledgerd/ledger/tlog/tlogtest"
)

// What the crash tests of this package find only where chance keeps one name and
// drops another is made to happen here.

// A power loss keeps the name of a marker that was just made, and no other name
// that was not synced: a file system need not keep them in order. Whatever the
// marker names has to be there, so the store opens, and nothing that was
// acknowledged is lost. Fails wherever inOrder does not sync first.
func TestPowerLossKeepsOnlyTheMarker(t *testing.T) {
	m := newMachine(t)
	j := tlogtest.NewJournal(nil)
	manifests := 0
	onOp := func(_ int64, op errorfs.Op) error {
		base := m.mem.PathBase(op.Path)
		if op.Kind != errorfs.OpCreate || !strings.HasPrefix(base, "marker.") {
			return nil
		}
		if strings.HasPrefix(base, "marker.manifest.") {
			manifests++
		}
		after := m.powerLoss(0, 1)
		if err := after.mem.MkdirAll(m.mem.PathDir(op.Path), 0o700); err != nil {
			t.Error(err)
			return nil
		}
		f, err := after.mem.Create(op.Path, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Error(err)
			return nil
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := survive(t, after, j.Prefix(j.Len())); err != nil {
			t.Errorf("power loss that keeps %s and no other name that was not synced: %v", base, err)
		}
		return nil
	}
	const lives = 3 // each makes a manifest of its own
	for range lives {
		l, s, err := newProcess(m, onOp).open(t)
		if err != nil {
			t.Fatal(err)
		}
		load(l, j, "load", 1)
		if err := errors.Join(l.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if manifests < lives {
		t.Errorf("%d manifests were made, expected at least %d: the test tests nothing", manifests, lives)
	}
}

// A batch is begun while a backup is copied, lies in the copy, and cannot be
// made durable in the original. Then nobody gets the copy: it holds a head of a
// size for which the original, after a restart, may sign another one. Fails
// wherever Backup does not sync the store behind the copy.
func TestBackupHoldsNothingThatTheStoreMayLose(t *testing.T) {
	const backup = "/var/backup"
	m := newMachine(t)
	var (
		s      *pebblestore.Store
		armed  atomic.Bool
		begun  atomic.Bool
		synced = make(chan struct{}) // the batch was written, and its sync has begun
		copied = make(chan struct{}) // the copy of the write-ahead log is whole
		begin  = sync.OnceFunc(func() { close(synced) })
		whole  = sync.OnceFunc(func() { close(copied) })
	)
	commit := func(first uint64, entry string) (tlog.Pending, error) {
		return s.Begin(&tlog.Batch{First: first, Entries: [][]byte{[]byte(entry)}, Head: []byte("head of " + entry)})
	}
	p := newProcess(m, func(_ int64, op errorfs.Op) error {
		wal, copying := strings.HasSuffix(op.Path, ".log"), strings.HasPrefix(op.Path, backup+"/")
		syncs := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
		switch {
		case !armed.Load():
		case copying && op.Kind == errorfs.OpCreate && begun.CompareAndSwap(false, true):
			if _, err := commit(1, "entry 1"); err != nil {
				t.Error(err)
			}
			<-synced
		case copying && wal && syncs:
			whole()
		case !copying && wal && syncs && begun.Load():
			begin()
			<-copied
			return errors.New("input/output error")
		}
		return nil
	})
	open := func(fs vfs.FS, dir string, fatal func(string)) (*pebblestore.Store, uint64) {
		t.Helper()
		s, err := pebblestore.Open(dir, pebblestore.Options{FS: fs, Logger: quiet, Fatal: fatal})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load(ctx); err != nil {
			t.Fatal(err)
		}
		size := uint64(0)
		for _, err := range s.Entries(ctx, 0, 2) {
			if err == nil {
				size++
			}
		}
		return s, size
	}
	s, _ = open(p.fs, "/var/ledger", func(m string) { p.died <- m; select {} })
	first, err := commit(0, "entry 0")
	if err == nil {
		err = first.Wait()
	}
	if err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	returned := make(chan error, 1)
	go func() { returned <- s.Backup(backup) }()
	select {
	case <-p.died:
	case err := <-returned:
		if err == nil {
			t.Error("a copy is handed out whose newest batch the store could not make durable")
		}
	}
	p.killed.Store(true)
	// What makes the test mean something: the copy has the batch, the store does
	// not after a power loss.
	c, held := open(newProcess(m, nil).fs, backup, nil)
	o, kept := open(newProcess(m.powerLoss(0, 1), nil).fs, "/var/ledger", nil)
	if held != 2 || kept != 1 {
		t.Errorf("the copy holds %d entries and the store keeps %d, expected 2 and 1: the test tests nothing", held, kept)
	}
	if err := errors.Join(c.Close(), o.Close()); err != nil {
		t.Error(err)
	}
}
