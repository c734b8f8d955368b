package pebblestore_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"ledgerd/ledger/pebblestore"
	"ledgerd/ledger/tlog"
	"ledgerd/ledger/tlog/tlogtest"
)

var ctx = context.Background()

// A failed sync, or write, of the write-ahead log: the waiters hear "unknown",
// the log is dead, nothing is synced again, and after a restart everything that
// was acknowledged is there.
func TestFailedSync(t *testing.T) {
	for name, kinds := range map[string][]errorfs.OpKind{
		"sync":  {errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo},
		"write": {errorfs.OpFileWrite},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			var armed atomic.Bool
			var injected, after atomic.Int64
			p := newProcess(m, func(_ int64, op errorfs.Op) error {
				if !armed.Load() || !strings.HasSuffix(op.Path, ".log") {
					return nil
				}
				for _, k := range kinds {
					if op.Kind == k {
						if injected.Add(1) > 1 {
							after.Add(1)
						}
						return errors.New("input/output error")
					}
				}
				return nil
			})
			j := tlogtest.NewJournal(nil)
			l, _, err := p.open(t)
			if err != nil {
				t.Fatal(err)
			}
			load(l, j, "load", 3)
			armed.Store(true)
			rs, err := l.Append(ctx, &tlog.Candidate{Entry: []byte("lost")})
			if err != nil || !errors.Is(rs[0].Err, tlog.ErrUnknown) {
				t.Fatalf("got %+v, %v, expected ErrUnknown", rs, err)
			}
			for range 5 {
				if rs, err := l.Append(ctx, &tlog.Candidate{Entry: []byte("more")}); !errors.Is(err, tlog.ErrNotAppended) {
					t.Errorf("after the failure: %+v, %v, expected ErrNotAppended", rs, err)
				}
			}
			if err := l.Close(); err == nil {
				t.Error("Close of a dead log succeeds")
			}
			if after.Load() > 0 {
				t.Errorf("the failed operation was tried %d times again", after.Load())
			}
			p.killed.Store(true)
			for _, percent := range []int{0, 50, 100} {
				if err := survive(t, m.powerLoss(percent, 3), j.Prefix(j.Len())); err != nil {
					t.Errorf("restart with %d%% of unsynced data: %v", percent, err)
				}
			}
		})
	}
}

// With too little room left, appends are refused before anything is written,
// reads go on, and appends do again when there is room.
func TestDiskFull(t *testing.T) {
	mem := vfs.NewMem()
	room := func(bytes uint64) { mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: bytes, TotalBytes: 1 << 40}) }
	room(1 << 30)
	s := open(t, "ledger", pebblestore.Options{FS: mem})
	l, err := tlog.Open(ctx, s, config(t))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, 0, 10)
	room(512 << 20)
	rs, err := l.Append(ctx, candidates(10, 2)...)
	if err != nil || !errors.Is(rs[0].Err, tlog.ErrDiskFull) || !errors.Is(rs[1].Err, tlog.ErrDiskFull) {
		t.Fatalf("got %+v, %v, expected ErrDiskFull", rs, err)
	}
	if e, err := l.Entry(ctx, 9); err != nil || string(e) != "entry 9" {
		t.Errorf("read on a full disk: %q, %v", e, err)
	}
	if l.Head().Size != 10 {
		t.Errorf("size %d", l.Head().Size)
	}
	room(1 << 30)
	fill(t, l, 10, 2)
	if err := errors.Join(l.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestSecondOpenRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, pebblestore.Options{})
	defer s.Close()
	if _, err := pebblestore.Open(dir, pebblestore.Options{Logger: quiet}); !errors.Is(err, pebblestore.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second open: %v, expected ErrLocked and the directory", err)
	}
	none := filepath.Join(t.TempDir(), "none")
	if _, err := pebblestore.Open(none, pebblestore.Options{Logger: quiet, MustExist: true}); err == nil {
		t.Error("a store that must exist was made")
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("the refused open made a directory")
	}
}

func TestForeignPebbleRefused(t *testing.T) {
	mem := vfs.NewMem()
	db, err := pebble.Open("db", &pebble.Options{FS: mem, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Set([]byte("key"), nil, nil), db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := pebblestore.Open("db", pebblestore.Options{FS: mem, Logger: quiet}); err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("somebody else's database: %v", err)
	}
}

func TestRows(t *testing.T) {
	s := open(t, "ledger", pebblestore.Options{FS: vfs.NewMem()})
	defer s.Close()
	if _, err := s.Load(ctx); err != nil {
		t.Fatal(err)
	}
	commit := func(first uint64, rows ...tlog.Row) error {
		p, err := s.Begin(&tlog.Batch{First: first, Entries: [][]byte{[]byte("e")}, Rows: rows, Head: []byte("head"), Tiles: []tlog.FullTile{{Level: 0, N: first, Data: []byte("t")}}})
		if err != nil {
			return err
		}
		return p.Wait()
	}
	row := func(k string) tlog.Row { return tlog.Row{Key: []byte(k), Value: []byte("of " + k)} }
	if err := commit(0, row("A"), row("d"), row("a1"), row("f"), row("Z"), row("U"), row("a2")); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"", "e\x00", "T1", "H", "Mx", "\xff"} {
		if err := commit(1, row(k)); err == nil {
			t.Errorf("a row with the key %q is taken", k)
		}
		if _, err := s.Row(ctx, []byte(k)); err == nil || errors.Is(err, tlog.ErrNoRow) {
			t.Errorf("Row(%q): %v", k, err)
		}
	}
	list := func(from, to []byte, reverse bool) string {
		var keys []string
		for r, err := range s.Rows(ctx, from, to, reverse) {
			if err != nil || string(r.Value) != "of "+string(r.Key) {
				t.Fatalf("%q %q %v", r.Key, r.Value, err)
			}
			keys = append(keys, string(r.Key))
		}
		return strings.Join(keys, " ")
	}
	if got := list(nil, nil, false); got != "A U Z a1 a2 d f" {
		t.Errorf("forward: %s", got)
	}
	if got := list(nil, nil, true); got != "f d a2 a1 Z U A" {
		t.Errorf("reverse: %s", got)
	}
	if got := list([]byte("a"), []byte("b"), true); got != "a2 a1" {
		t.Errorf("prefix: %s", got)
	}
	if _, err := s.Row(ctx, []byte("a3")); err != tlog.ErrNoRow {
		t.Errorf("no row: %v", err)
	}
	if err := commit(0); !errors.Is(err, tlog.ErrConflict) {
		t.Errorf("a batch at the wrong size: %v", err)
	}

	// Rebuilding replaces every row and nothing else; interrupted, the store
	// refuses to load until it is done.
	seq := func(fail error, keys ...string) iter.Seq2[tlog.Row, error] {
		return func(yield func(tlog.Row, error) bool) {
			for _, k := range keys {
				if !yield(row(k), nil) {
					return
				}
			}
			if fail != nil {
				yield(tlog.Row{}, fail)
			}
		}
	}
	broken := errors.New("broken off")
	if err := s.RebuildRows(ctx, seq(broken, "a1")); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if _, err := s.Load(ctx); err == nil || !strings.Contains(err.Error(), "run reindex again") {
		t.Errorf("load after half a rebuild: %v", err)
	}
	if err := s.RebuildRows(ctx, seq(nil, "\xfe", "b", "I", "\x00")); err != nil {
		t.Fatal(err)
	}
	if head, err := s.Load(ctx); err != nil || string(head) != "head" {
		t.Errorf("load after the rebuild: %q, %v", head, err)
	}
	if got := list(nil, nil, false); got != "\x00 I b \xfe" {
		t.Errorf("rebuilt: %q", got)
	}
	for e, err := range s.Entries(ctx, 0, 1) {
		if string(e) != "e" || err != nil {
			t.Errorf("entry after the rebuild: %q, %v", e, err)
		}
	}
}

// A backup taken under load opens, holds a head of the original, and all that
// was acknowledged before it began.
func TestBackupWhileServing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "ledger"), pebblestore.Options{})
	l, err := tlog.Open(ctx, s, config(t))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, 0, 1000)
	done := make(chan struct{})
	go func() { defer close(done); fill(t, l, 1000, 20_000) }()
	for i := range 3 {
		before := l.Head().Size
		to := filepath.Join(dir, fmt.Sprint("backup ", i))
		if err := s.Backup(to); err != nil {
			t.Fatal(err)
		}
		b := open(t, to, pebblestore.Options{MustExist: true})
		r, err := tlog.Check(ctx, b, config(t).Verifier, nil)
		if err != nil || len(r.Differences) > 0 || r.Head.Size < before {
			t.Fatalf("backup: %v, %+v, expected at least size %d", err, r, before)
		}
		if err := l.Wait(ctx, r.Head.Size); err != nil {
			t.Fatal(err)
		}
		if root, err := l.Root(ctx, r.Head.Size); err != nil || root != r.Head.Root {
			t.Errorf("the backup's head of size %d has the root %v, the original's %v, %v", r.Head.Size, r.Head.Root, root, err)
		}
		b.Close()
		if err := s.Backup(to); err == nil {
			t.Error("a backup over another is taken")
		}
	}
	<-done
	if err := errors.Join(l.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	ro := open(t, filepath.Join(dir, "backup 0"), pebblestore.Options{ReadOnly: true})
	defer ro.Close()
	if _, err := ro.Load(ctx); err != nil {
		t.Error(err)
	}
	if err := ro.Room(1); err == nil {
		t.Error("a read-only store has room")
	}
}

// A bit flipped in any file of a store at rest is found when it is opened or
// checked, or it changes nothing.
func TestFlippedBitsInFiles(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "ledger"), pebblestore.Options{})
	l, err := tlog.Open(ctx, s, config(t))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, 0, 600)
	if err := s.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	fill(t, l, 600, 30) // in the write-ahead log
	head := l.Head()
	if err := errors.Join(l.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	found, harmless := 0, 0
	files, err := filepath.Glob(filepath.Join(dir, "ledger", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil || len(data) == 0 {
			continue
		}
		for at := 3; at < len(data); at += max(len(data)/20, 1) {
			mem := vfs.NewMem()
			if ok, err := vfs.Clone(vfs.Default, mem, filepath.Join(dir, "ledger"), "ledger"); !ok || err != nil {
				t.Fatal(err)
			}
			f, err := mem.OpenReadWrite("ledger/"+filepath.Base(file), vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte{data[at] ^ 0x10}, int64(at)); err != nil {
				t.Fatal(err)
			}
			f.Close()
			result := make(chan error, 2)
			go func() {
				// A corrupt manifest or log may be fatal: also an answer.
				fatal := func(m string) { result <- errors.New(m); select {} }
				s, err := pebblestore.Open("ledger", pebblestore.Options{FS: mem, Logger: quiet, Fatal: fatal})
				if err != nil {
					result <- err
					return
				}
				defer s.Close()
				r, err := tlog.Check(ctx, s, config(t).Verifier, nil)
				switch {
				case err != nil:
				case len(r.Differences) > 0:
					err = &r.Differences[0]
				case r.Head.Size != head.Size:
					err = fmt.Errorf("it ends at %d", r.Head.Size)
				}
				result <- err
			}()
			err = <-result
			if err != nil {
				if strings.HasPrefix(err.Error(), "it ends at") {
					t.Logf("%s, byte %d of %d: %v, without the head outside the store nobody would know", filepath.Base(file), at, len(data), err)
				}
				found++
			} else {
				harmless++
			}
		}
	}
	t.Logf("of %d flips, %d were found and %d left every entry, tile and the head as they were", found+harmless, found, harmless)
	if found < harmless/4 {
		t.Error("hardly any flip was found")
	}
}
