package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"ledgerd/evidence"
	"ledgerd/ledger"
	"ledgerd/ledger/pebblestore"
)

// vaultOn is a vault's file system on one of Pebble's, whose power can be cut.
type vaultOn struct {
	vfs.FS
	all vfs.FS // the same, where everything is synced at once, as on Linux; else nil
}

type fileOn struct {
	vfs.File
	name string
	at   int64
}

func (f *fileOn) Name() string { return f.name }

func (f *fileOn) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *fileOn) Read(b []byte) (int, error) {
	n, err := f.ReadAt(b, f.at)
	f.at += int64(n)
	return n, err
}

// Write hands on a copy: under the race detector MemFS writes over what it is given,
// to find who relies on it.
func (f *fileOn) Write(b []byte) (int, error) { return f.File.Write(bytes.Clone(b)) }

func (f *fileOn) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		f.at = offset
	case io.SeekCurrent:
		f.at += offset
	default:
		return 0, errors.ErrUnsupported
	}
	return f.at, nil
}

func on(path string, f vfs.File, err error) (ledger.VaultFile, error) {
	if err != nil {
		return nil, err
	}
	return &fileOn{File: f, name: path}, nil
}

func (v vaultOn) MkdirAll(dir string) error { return v.FS.MkdirAll(dir, 0o700) }
func (v vaultOn) SyncsAll() bool            { return v.all != nil }

func (v vaultOn) Open(path string) (ledger.VaultFile, error) {
	f, err := v.FS.Open(path)
	return on(path, f, err)
}

func (v vaultOn) Create(path string) (ledger.VaultFile, error) {
	if v.Exists(path) {
		return nil, fmt.Errorf("%s stands there", path)
	}
	f, err := v.FS.Create(path, vfs.WriteCategoryUnspecified)
	return on(path, f, err)
}

func (v vaultOn) Overwrite(path string) (ledger.VaultFile, error) {
	if _, err := v.Stat(path); err != nil {
		return nil, err // OpenReadWrite would make it
	}
	f, err := v.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	return on(path, f, err)
}

func (v vaultOn) Exists(path string) bool {
	_, err := v.Stat(path)
	return err == nil
}

func (v vaultOn) SyncDir(dir string) error {
	d, err := v.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (v vaultOn) SyncAll(dir string) error { return syncAll(vaultOn{FS: v.all}, dir) }

// syncAll syncs no more than the vault: the store's own syncs are the store's.
func syncAll(v vaultOn, dir string) error {
	names, err := v.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := v.PathJoin(dir, name)
		info, err := v.Stat(path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			err = syncAll(v, path)
		} else {
			var f vfs.File
			if f, err = v.FS.Open(path); err == nil {
				err = errors.Join(f.Sync(), f.Close())
			}
		}
		if err != nil {
			return err
		}
	}
	return v.SyncDir(dir)
}

// bootVault opens store and vault on one file system.
func bootVault(t testing.TB, fs, all vfs.FS, c *clock) (*world, error) {
	s, err := pebblestore.Open("/store", pebblestore.Options{FS: noLocks{fs}, Logger: quiet(), MemTableBytes: 64 << 10})
	if err != nil {
		return nil, err
	}
	v, err := ledger.OpenVaultOn(vaultOn{fs, all}, "/payloads", 0)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	v.SetCells(4<<10, 16)
	l, err := ledger.Create(context.Background(), s, v, config(t, c), genesis(t, evidence.TimeOf(start))...)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &world{t: t, Ledger: l, fs: fs, store: s, vault: v, clock: c}, nil
}

// promises is what a vault's users were told.
type promises struct {
	mu sync.Mutex
	// recorded: a put of it has returned, alone or with a record that commits to
	// it. erasing: an erasure has begun. erased: one has returned.
	recorded, erasing, erased map[string]bool
	// keys of what was erased, as far as it lay in cells.
	keys map[string]bool
}

func newPromises() *promises {
	return &promises{recorded: map[string]bool{}, erasing: map[string]bool{}, erased: map[string]bool{}, keys: map[string]bool{}}
}

func (p *promises) tell(of map[string]bool, texts ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, text := range texts {
		of[text] = true
	}
}

func (p *promises) copy() *promises {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := newPromises()
	for _, m := range [][2]map[string]bool{{q.recorded, p.recorded}, {q.erasing, p.erasing}, {q.erased, p.erased}, {q.keys, p.keys}} {
		for k := range m[1] {
			m[0][k] = true
		}
	}
	return q
}

// text is short enough for a cell, long is not; both are long enough for a power
// loss to tear.
func text(format string, args ...any) string {
	return strings.Repeat(fmt.Sprintf(format, args...)+". ", 60)
}

func long(format string, args ...any) string {
	return strings.Repeat(fmt.Sprintf(format, args...)+". ", 400)
}

// either is the one or the other.
func either(k int, format string, args ...any) string {
	if k%2 == 0 {
		return long(format, args...)
	}
	return text(format, args...)
}

// erase erases a payload, and keeps the promise that its key is gone.
func (p *promises) erase(w *world, s string) error {
	pl := payload(s)
	key, inCell := w.keyOf(pl.Commitment().Commit)
	p.tell(p.erasing, s)
	if _, err := w.Erase(context.Background(), pl.Commitment().Commit, "gdpr-17"); err != nil {
		return err
	}
	p.tell(p.erased, s)
	if inCell {
		p.tell(p.keys, string(key))
	}
	return nil
}

// work puts payloads, records them, and erases some of them.
func (p *promises) work(w *world, r *run, tag string, rounds int) error {
	ctx := context.Background()
	record := func(texts ...string) error {
		var entries [][]byte
		for _, s := range texts {
			pl := payload(s)
			c := pl.Commitment()
			entries = append(entries, r.next(&evidence.Escalation{Reason: "policy", To: "billing", Text: &c}))
		}
		if _, err := w.Append(ctx, entries...); err != nil {
			return err
		}
		p.tell(p.recorded, texts...)
		return nil
	}
	if _, err := w.Append(ctx, r.open()); err != nil {
		return err
	}
	for i := range rounds {
		one := long("%s one %d", tag, i)
		pl := payload(one)
		if _, err := w.PutPayload(ctx, pl.Salt, pl.Media, bytes.NewReader(pl.Data)); err != nil {
			return err
		}
		if err := record(one); err != nil {
			return err
		}
		var many []string
		var payloads []evidence.Payload
		for k := range 3 + 3*i { // few and many are synced in different ways
			many = append(many, either(k, "%s many %d of %d", tag, k, i))
			payloads = append(payloads, payload(many[k]))
		}
		if _, err := w.PutPayloads(ctx, payloads); err != nil {
			return err
		}
		if err := record(many...); err != nil {
			return err
		}
		ahead := text("%s ahead %d", tag, i)
		if _, err := w.PutPayloadsAhead(ctx, []evidence.Payload{payload(ahead)}); err != nil {
			return err
		}
		if err := record(ahead); err != nil {
			return err
		}
		together, err := p.putTogether(w, tag, i)
		if err != nil {
			return err
		}
		if err := record(together...); err != nil {
			return err
		}
		for _, s := range []string{one, ahead, many[1], together[0]} {
			if err := p.erase(w, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// putTogether puts payloads at the same time, each by a caller of its own, who is
// told by itself: the last one is told that it cannot.
func (p *promises) putTogether(w *world, tag string, round int) ([]string, error) {
	texts := make([]string, 3+4*round) // few and many are synced in different ways
	errs := make([]error, len(texts)+1)
	var wg sync.WaitGroup
	for k := range texts {
		texts[k] = either(k, "%s together %d of %d", tag, k, round)
		wg.Go(func() {
			_, errs[k] = w.PutPayloads(context.Background(), []evidence.Payload{payload(texts[k])})
			if errs[k] == nil {
				p.tell(p.recorded, texts[k])
			}
		})
	}
	if round > 0 {
		wg.Go(func() {
			erased := payload(long("%s one %d", tag, round-1))
			if _, err := w.PutPayloads(context.Background(), []evidence.Payload{erased}); !errors.Is(err, ledger.ErrErased) {
				errs[len(texts)] = fmt.Errorf("want ErrErased, found %w", err)
			}
		})
	}
	wg.Wait()
	return texts, errors.Join(errs...)
}

// kept holds a vault to what its users were told.
func (p *promises) kept(w *world, fs vfs.FS) error {
	ctx := context.Background()
	for s := range p.recorded {
		pl := payload(s)
		f, err := w.Payload(ctx, pl.Commitment().Commit)
		switch {
		case errors.Is(err, ledger.ErrErased) && p.erasing[s]:
			// Whoever says so has done so.
			if w.vault.Verify(pl.Commitment().Commit) == nil {
				return fmt.Errorf("%.20q is said to be erased, and is there", s)
			}
		case p.erased[s]:
			return fmt.Errorf("%.20q was erased: %v", s, err)
		case err != nil:
			return fmt.Errorf("%.20q was recorded: %w", s, err)
		default:
			if err := f.Close(); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(p.gone(fs, "/payloads"), p.gone(fs, "/store")); err != nil {
		return err
	}
	r, err := w.Check(ctx, nil)
	if err == nil && !r.Sound() {
		err = fmt.Errorf("%v", r.Differences)
	}
	return err
}

// gone looks for what was erased, and for the keys to it, in every file.
func (p *promises) gone(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		if base := filepath.Base(dir); base == "tmp" || base == "erasing" {
			return fmt.Errorf("%s is left", path)
		}
		info, err := fs.Stat(path)
		if err == nil && info.IsDir() {
			if err := p.gone(fs, path); err != nil {
				return err
			}
			continue
		}
		var f vfs.File
		if err == nil {
			f, err = fs.Open(path)
		}
		switch {
		case errors.Is(err, os.ErrNotExist): // the store removes files of its own that it needs no more
			continue
		case err != nil:
			return err
		}
		b, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		for s := range p.erased {
			if salt := payload(s).Salt; bytes.Contains(b, []byte(s[:100])) || bytes.Contains(b, salt[:]) {
				return fmt.Errorf("%.20q was erased, and lies in %s", s, path)
			}
		}
		for key := range p.keys {
			if bytes.Contains(b, []byte(key)) {
				return fmt.Errorf("the key of what was erased lies in %s", path)
			}
		}
	}
	return nil
}

// zeroed requires that nothing is left in a file whose erasure has begun.
func zeroed(fs vfs.FS, path string) error {
	f, err := fs.Open(path)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if left := bytes.Trim(b, "\x00"); len(left) > 0 || len(b) == 0 {
		return fmt.Errorf("%s is removed while %d of its %d bytes are on the disk", path, len(left), len(b))
	}
	return nil
}

// survivesVault starts after a power loss, holds the vault to its promises, and
// goes on.
func survivesVault(t testing.TB, fs, all vfs.FS, c *clock, p *promises, run *run) error {
	w, err := bootVault(t, fs, all, c)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer w.stop()
	if err := p.kept(w, fs); err != nil {
		return err
	}
	run.w = w
	if err := p.work(w, run, "after", 1); err != nil {
		return fmt.Errorf("go on: %w", err)
	}
	if err := p.kept(w, fs); err != nil {
		return fmt.Errorf("after it went on: %w", err)
	}
	return nil
}

// Power loss at every file operation of a workload that puts, records and erases
// payloads: what was recorded can be read, what was erased stays erased.
func TestVaultPowerLossAtEveryOperation(t *testing.T) {
	for name, whole := range map[string]bool{"each file is synced": false, "all is synced at once": true} {
		t.Run(name, func(t *testing.T) {
			c := &clock{now: start}
			mem := vfs.NewCrashableMem()
			allOf := func(fs vfs.FS) vfs.FS {
				if !whole {
					return nil
				}
				return fs
			}
			p := newPromises()
			var one sync.Mutex
			var ops, points, failures atomic.Int64
			every := int64(1)
			if testing.Short() {
				every = 17
			}
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpMkdirAll {
					return nil
				}
				one.Lock()
				defer one.Unlock()
				// Once a name is gone nobody can tell what is left in the sectors,
				// so nothing may be there by then.
				if dir := filepath.Dir(op.Path); op.Kind == errorfs.OpRemove && len(filepath.Base(dir)) == 2 {
					sectors := mem.CrashClone(vfs.CrashCloneCfg{})
					if err := zeroed(sectors, op.Path); err != nil {
						t.Error(err)
					}
				}
				n := ops.Add(1)
				if n%every != 0 {
					return nil
				}
				// Nothing that was not synced is there, and half of it or all of it, in turns.
				for i, percent := range []int{0, 50 + 50*int(n&1)} {
					told := p.copy() // before the power goes
					after := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(n), 1))})
					points.Add(1)
					if err := survivesVault(t, after, allOf(after), c, told, &run{id: runID(100 + i)}); err != nil && failures.Add(1) <= 5 {
						t.Errorf("power loss at operation %d (%v of %s), %d%% of what was not synced kept: %v", n, op.Kind, op.Path, percent, err)
					}
				}
				return nil
			}))
			w, err := bootVault(t, fs, allOf(mem), c)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.work(w, &run{w: w, id: runID(1)}, "load", 2); err != nil {
				t.Fatal(err)
			}
			w.stop()
			t.Logf("%d operations, %d power losses, %d payloads recorded, %d erased, %d failures",
				ops.Load(), points.Load(), len(p.recorded), len(p.erased), failures.Load())
			if points.Load() < 20 || len(p.erased) < 4 {
				t.Error("the workload is too small to mean anything")
			}
		})
	}
}

// A process is killed at every file operation of an erasure; the next one
// finishes it, or does not know of it; then the power goes.
func TestEraseKillRestartPowerLoss(t *testing.T) {
	t.Run("file", func(t *testing.T) { eraseKillRestartPowerLoss(t, long("secret")) })
	t.Run("cell", func(t *testing.T) { eraseKillRestartPowerLoss(t, text("secret")) })
}

func eraseKillRestartPowerLoss(t *testing.T, secret string) {
	finished := 0
	for at := int64(1); ; at++ {
		c := &clock{now: start}
		mem := vfs.NewCrashableMem()
		var armed, killed atomic.Bool
		var ops atomic.Int64
		reached := make(chan struct{})
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if killed.Load() {
				select {} // a dead process does nothing more
			}
			if armed.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && ops.Add(1) == at {
				killed.Store(true)
				close(reached)
				select {}
			}
			return nil
		}))
		w, err := bootVault(t, fs, nil, c)
		if err != nil {
			t.Fatal(err)
		}
		p := newPromises()
		pl := payload(secret)
		commit := pl.Commitment()
		w.put(pl)
		r := &run{w: w, id: runID(1)}
		w.must(r.open(), r.next(&evidence.Escalation{Reason: "policy", To: "billing", Text: &commit}))
		p.tell(p.recorded, secret)
		p.tell(p.erasing, secret)
		key, _ := w.keyOf(commit.Commit)
		armed.Store(true)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = w.Erase(context.Background(), commit.Commit, "gdpr-17")
		}()
		select {
		case <-reached:
		case <-ended:
			armed.Store(false)
			w.stop()
			t.Logf("killed at %d operations; %d times the next start finished the erasure", at-1, finished)
			if at < 6 || finished == 0 {
				t.Error("the test tests nothing")
			}
			return
		}
		// The next life, on what the operating system has.
		next, err := bootVault(t, mem, nil, c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := next.Payload(t.Context(), commit.Commit); errors.Is(err, ledger.ErrErased) {
			finished++
			p.tell(p.erased, secret) // it said so
			if len(key) > 0 {
				p.tell(p.keys, string(key))
			}
		}
		if err := p.kept(next, mem); err != nil {
			t.Errorf("killed at operation %d of an erasure: %v", at, err)
		}
		// No file system promises that the names of one directory last as long as
		// those of another: here those of the intentions do.
		if err := (vaultOn{FS: mem}).SyncDir("/payloads/erasing"); err != nil {
			t.Fatal(err)
		}
		for _, percent := range []int{0, 50} {
			after := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(at), 1))})
			if err := survivesVault(t, after, nil, c, p.copy(), &run{id: runID(100)}); err != nil {
				t.Errorf("killed at operation %d of an erasure, restarted, power loss with %d%% kept: %v", at, percent, err)
			}
		}
		next.stop()
	}
}
