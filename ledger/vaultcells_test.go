package ledger_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"ledgerd/evidence"
	"ledgerd/ledger"
	"ledgerd/ledger/tlog"
)

// cell returns a payload's slot and what lies there; false: it has none.
func (w *world) cell(d evidence.Digest) (slot uint64, rows []tlog.Row, ok bool) {
	w.t.Helper()
	at := append([]byte{'d'}, d[:]...)
	b, err := w.store.Cell(at)
	if errors.Is(err, tlog.ErrNoRow) {
		return 0, nil, false
	}
	if err != nil {
		w.t.Fatal(err)
	}
	box, err := w.store.Cell(append([]byte{'s'}, b...))
	if err != nil {
		w.t.Fatal(err)
	}
	return binary.BigEndian.Uint64(b), []tlog.Row{{Key: at, Value: b}, {Key: append([]byte{'s'}, b...), Value: box}}, true
}

// keyOf returns the key of a payload that lies in a cell.
func (w *world) keyOf(d evidence.Digest) ([]byte, bool) {
	w.t.Helper()
	slot, _, ok := w.cell(d)
	if !ok {
		return nil, false
	}
	var f interface {
		ReadAt([]byte, int64) (int, error)
		Close() error
	}
	var err error
	if w.fs == nil && w.dir != "" {
		f, err = os.Open(filepath.Join(w.dir, "payloads", "keys"))
	} else {
		f, err = w.fs.Open("/payloads/keys")
	}
	if err != nil {
		w.t.Fatal(err)
	}
	key := make([]byte, 32)
	_, err = f.ReadAt(key, int64(slot)*32)
	if err := errors.Join(err, f.Close()); err != nil {
		w.t.Fatal(err)
	}
	return key, true
}

// Whatever bit of a payload's cells, or of its key, flips, nothing of it is handed
// out; putting it again repairs it, and what was damaged can never be read again.
func TestDamagedCellIsNeverRead(t *testing.T) {
	w := newWorld(t)
	p := payload("the customer's address")
	c := w.put(p)
	slot, rows, _ := w.cell(c.Commit)
	set := func(rows ...tlog.Row) {
		if err := w.store.PutCells(nil, rows, nil); err != nil {
			t.Fatal(err)
		}
	}
	damaged := func(what string) {
		t.Helper()
		if _, err := w.Payload(t.Context(), c.Commit); !errors.Is(err, ledger.ErrCommitment) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := w.vault.Payload(c.Commit); !errors.Is(err, ledger.ErrCommitment) {
			t.Errorf("%s, in memory: %v", what, err)
		}
	}
	for i := range rows[1].Value {
		bad := bytes.Clone(rows[1].Value)
		bad[i] ^= 1
		set(tlog.Row{Key: rows[1].Key, Value: bad})
		damaged(fmt.Sprintf("byte %d of %d", i, len(bad)))
	}
	for _, n := range []int{0, 20, 44, 60, len(rows[1].Value) - 1} {
		set(tlog.Row{Key: rows[1].Key, Value: rows[1].Value[:n]})
		damaged(fmt.Sprintf("%d bytes", n))
	}
	set(rows[1])
	// Another's cell does not pass for it.
	other := w.put(payload("another customer's address"))
	_, theirs, _ := w.cell(other.Commit)
	set(tlog.Row{Key: rows[0].Key, Value: theirs[0].Value})
	damaged("another's slot")
	set(tlog.Row{Key: rows[0].Key, Value: []byte("x")})
	damaged("no slot")
	set(rows...)

	keys := filepath.Join(w.dir, "payloads", "keys")
	flip := func() {
		b, err := os.ReadFile(keys)
		if err == nil {
			b[slot*32+7] ^= 1
			err = os.WriteFile(keys, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	flip()
	damaged("the key")
	if rep, err := w.Check(t.Context(), nil); err != nil || len(rep.Differences) != 1 || rep.Payloads != 1 {
		t.Errorf("check: %+v, %v", rep, err)
	}
	w.put(p)
	if err := w.vault.Verify(c.Commit); err != nil {
		t.Errorf("put again: %v", err)
	}
	flip() // back: if the old key were there still, the old cell could be read
	if at, _, _ := w.cell(c.Commit); at == slot {
		t.Error("a slot was used twice")
	}
	if _, err := w.store.Cell(rows[1].Key); !errors.Is(err, tlog.ErrNoRow) {
		t.Errorf("the damaged cell stays: %v", err)
	}
	w.sound()
	// Without its keys nothing can be read, and nothing is called missing.
	w.stop()
	if err := os.Rename(keys, keys+".away"); err != nil {
		t.Fatal(err)
	}
	w.restart()
	damaged("without keys")
	if err := os.Rename(keys+".away", keys); err != nil {
		t.Fatal(err)
	}
	w.sound()
}

// A crash may bring the cells of an erased payload back. Nothing can be read from
// them, and a check does not mind them.
func TestErasedCellsThatComeBack(t *testing.T) {
	w := newWorld(t)
	c := w.put(payload("secret"))
	kept := w.put(payload("kept"))
	_, rows, _ := w.cell(c.Commit)
	if _, err := w.Erase(t.Context(), c.Commit, "gdpr-17"); err != nil {
		t.Fatal(err)
	}
	if err := w.store.PutCells(nil, rows, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := w.Payload(t.Context(), c.Commit); !errors.Is(err, ledger.ErrErased) {
			t.Errorf("read: %v", err)
		}
		if _, err := w.vault.Payload(kept.Commit); err != nil {
			t.Error(err)
		}
		w.sound()
		w.restart()
	}
}

// What was put ahead twice lies there twice, and is erased twice.
func TestErasePutAheadTwice(t *testing.T) {
	w := newWorld(t)
	p := payload("twice")
	var keys [][]byte
	for range 2 {
		if _, err := w.PutPayloadsAhead(t.Context(), []evidence.Payload{p}); err != nil {
			t.Fatal(err)
		}
		b, err := w.store.Cell(append([]byte{'d'}, digestOf(p)...))
		if err != nil {
			t.Fatal(err)
		}
		all, err := os.ReadFile(filepath.Join(w.dir, "payloads", "keys"))
		if err != nil {
			t.Fatal(err)
		}
		slot := binary.BigEndian.Uint64(b[len(b)-8:])
		keys = append(keys, all[slot*32:][:32])
	}
	c := w.put(p) // and finds it there
	if bytes.Equal(keys[0], keys[1]) {
		t.Fatal("it lies there once: the test tests nothing")
	}
	if _, err := w.Erase(t.Context(), c.Commit, "gdpr-17"); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if files := w.grep(key); len(files) > 0 {
			t.Errorf("a key lies in %v", files)
		}
	}
	w.sound()
}

func digestOf(p evidence.Payload) []byte { c := p.Commitment(); return c.Commit[:] }

// A reindex makes rows anew, which are not all that is in the store.
func TestReindexKeepsPayloads(t *testing.T) {
	w := newWorld(t)
	w.mixed(20)
	c := w.put(payload("kept"))
	w.stop()
	s := w.openStore()
	if err := errors.Join(ledger.Reindex(t.Context(), s, w.cfg.VerifierKey, nil), s.Close()); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if err := w.vault.Verify(c.Commit); err != nil {
		t.Error(err)
	}
	w.sound()
}

// A slot that is free again after a restart gets another key, and slots in use
// are left alone.
func TestSlotsAfterRestart(t *testing.T) {
	w := newWorld(t)
	var all []evidence.Commitment
	for i := range 5 {
		for k := range 3 {
			all = append(all, w.put(payload(fmt.Sprint("payload ", i, k))))
		}
		last := all[len(all)-1]
		before, _ := w.keyOf(last.Commit)
		if _, err := w.Erase(t.Context(), last.Commit, "gdpr-17"); err != nil {
			t.Fatal(err)
		}
		all = all[:len(all)-1]
		w.restart()
		all = append(all, w.put(payload(fmt.Sprint("in its place ", i))))
		if after, _ := w.keyOf(all[len(all)-1].Commit); bytes.Equal(before, after) {
			t.Error("the key of what was erased is in use again")
		}
		for _, c := range all {
			if err := w.vault.Verify(c.Commit); err != nil {
				t.Error(err)
			}
		}
	}
	w.sound()
}

// A payload that was put ahead costs no sync, and is there before its record is.
func TestPutAheadCostsNoSync(t *testing.T) {
	fs := newSyncFS(true)
	mem := vfs.NewCrashableMem()
	w, err := bootVault(t, countSyncs{mem, fs}, nil, &clock{now: start})
	if err != nil {
		t.Fatal(err)
	}
	defer w.stop()
	r := &run{w: w, id: runID(1)}
	if _, err := w.Append(t.Context(), r.open()); err != nil {
		t.Fatal(err)
	}
	put := func(s string) evidence.Commitment {
		t.Helper()
		cs, err := w.PutPayloadsAhead(t.Context(), []evidence.Payload{payload(s)})
		if err != nil {
			t.Fatal(err)
		}
		return cs[0]
	}
	put("the first makes keys")
	before := fs.syncs.Load()
	c := put("ahead")
	if n := fs.syncs.Load() - before; n != 0 {
		t.Errorf("%d syncs", n)
	}
	if _, err := w.Append(t.Context(), r.next(&evidence.Escalation{Reason: "policy", To: "billing", Text: &c})); err != nil {
		t.Fatal(err)
	}
	if n := fs.syncs.Load() - before; n != 1 {
		t.Errorf("%d syncs for payload and record, want 1", n)
	}
	after, err := bootVault(t, mem.CrashClone(vfs.CrashCloneCfg{}), nil, &clock{now: start})
	if err != nil {
		t.Fatal(err)
	}
	defer after.stop()
	if err := after.vault.Verify(c.Commit); err != nil {
		t.Errorf("after a power loss: %v", err)
	}
	if _, err := w.PutPayloads(t.Context(), []evidence.Payload{payload("durable")}); err != nil {
		t.Fatal(err)
	}
	if n := fs.syncs.Load() - before; n != 2 {
		t.Errorf("%d syncs after a payload alone, want 2", n)
	}
}

// countSyncs counts the syncs of files.
type countSyncs struct {
	vfs.FS
	by syncFS
}

func (c countSyncs) count(f vfs.File, err error) (vfs.File, error) { return countedFile{f, c.by}, err }

func (c countSyncs) Create(name string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	return c.count(c.FS.Create(name, cat))
}

func (c countSyncs) OpenReadWrite(name string, cat vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return c.count(c.FS.OpenReadWrite(name, cat, o...))
}

func (c countSyncs) ReuseForWrite(from, to string, cat vfs.DiskWriteCategory) (vfs.File, error) {
	return c.count(c.FS.ReuseForWrite(from, to, cat))
}

type countedFile struct {
	vfs.File
	by syncFS
}

func (f countedFile) Sync() error {
	f.by.syncs.Add(1)
	return f.File.Sync()
}

func (f countedFile) SyncData() error {
	f.by.syncs.Add(1)
	return f.File.SyncData()
}
