package ledger_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ledgerd/evidence"
	"ledgerd/internal/raced"
	"ledgerd/ledger"
	"ledgerd/ledger/pebblestore"
	"ledgerd/ledger/tlog"
)

// tamper rewrites the index rows of a stopped ledger.
func (w *world) tamper(change func(tlog.Row) []tlog.Row) {
	w.t.Helper()
	w.stop()
	s := w.openStore()
	var rows []tlog.Row
	for row, err := range s.Rows(w.t.Context(), nil, nil, false) {
		if err != nil {
			w.t.Fatal(err)
		}
		rows = append(rows, change(row)...)
	}
	err := s.RebuildRows(w.t.Context(), func(yield func(tlog.Row, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	})
	if err := errors.Join(err, s.Close()); err != nil {
		w.t.Fatal(err)
	}
}

// offline checks a stopped ledger's store and vault.
func (w *world) offline() *ledger.CheckReport {
	w.t.Helper()
	s := w.openStore()
	r, err := ledger.Check(w.t.Context(), s, w.vault, w.cfg.VerifierKey, nil)
	if err := errors.Join(err, s.Close()); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// A row of any kind that is lost, points elsewhere, or says what the log does not
// say is found, and named.
func TestCheckFindsWrongRows(t *testing.T) {
	raced.Skip(t)
	for _, kind := range "rbhuxpkf" {
		for _, how := range []string{"lost", "changed", "added"} {
			t.Run(string(kind)+" "+how, func(t *testing.T) {
				w := newWorld(t)
				c := w.put(payload("x"))
				w.mixed(4)
				w.must(w.accept(others[0], 7))
				if _, err := w.Erase(t.Context(), c.Commit, "gdpr-17"); err != nil {
					t.Fatal(err)
				}
				done := false
				w.tamper(func(row tlog.Row) []tlog.Row {
					if done || row.Key[0] != byte(kind) {
						return []tlog.Row{row}
					}
					done = true
					other := tlog.Row{Key: bytes.Clone(row.Key), Value: bytes.Clone(row.Value)}
					if len(other.Value) > 0 {
						other.Value[0] ^= 1
					} else {
						other.Key[len(other.Key)-1] ^= 1
					}
					switch how {
					case "lost":
						return nil
					case "changed":
						return []tlog.Row{other}
					}
					other.Key[3] ^= 0x40
					return []tlog.Row{row, other}
				})
				if !done {
					t.Fatalf("the ledger has no row of kind %c: the test tests nothing", kind)
				}
				r := w.offline()
				if len(r.Differences) == 0 {
					t.Fatal("not found")
				}
				t.Log(r.Differences[0])
				s := w.openStore()
				if err := errors.Join(ledger.Reindex(t.Context(), s, w.cfg.VerifierKey, nil), s.Close()); err != nil {
					t.Fatal(err)
				}
				if r := w.offline(); !r.Sound() {
					t.Errorf("after a reindex: %v", r.Differences)
				}
			})
		}
	}
}

// A store whose rows another version made is not opened: it would know of no tree
// head on which something was accepted before. A reindex mends it.
func TestRowsOfAnotherForm(t *testing.T) {
	for name, form := range map[string][]byte{"before there were forms": nil, "older": {1}, "newer": {99}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.must(w.accept(others[0], 7))
			w.tamper(func(row tlog.Row) []tlog.Row {
				switch {
				case row.Key[0] == 'k', row.Key[0] == 'f' && form == nil:
					return nil
				case row.Key[0] == 'f':
					row.Value = form
				}
				return []tlog.Row{row}
			})
			s := w.openStore()
			l, err := ledger.Open(t.Context(), s, w.vault, w.cfg)
			if err == nil || !strings.Contains(err.Error(), "run reindex") {
				t.Fatalf("opened: %v, %v", l, err)
			}
			if l, err := ledger.Create(t.Context(), s, w.vault, w.cfg, genesis(t, evidence.TimeOf(start))...); err == nil {
				t.Errorf("created again: %v", l)
			}
			if err := errors.Join(ledger.Reindex(t.Context(), s, w.cfg.VerifierKey, nil), s.Close()); err != nil {
				t.Fatal(err)
			}
			w.restart()
			if found := w.find(ledger.Filter{Known: others[0]}); len(found) != 1 {
				t.Errorf("after a reindex: %v", found)
			}
		})
	}
}

// What a wrong row points to is never handed out.
func TestWrongRowsAreNotBelieved(t *testing.T) {
	w := newWorld(t)
	r := w.newRun()
	own := w.must(r.whole("send_email")...)
	w.tamper(func(row tlog.Row) []tlog.Row {
		switch row.Key[0] {
		case 'h', 'u':
			row.Value[0] ^= 1
		case 'r':
			row.Key[len(row.Key)-1] -= 4
		}
		return []tlog.Row{row}
	})
	w.restart()
	var index *ledger.IndexError
	if _, err := w.Get(t.Context(), own[0].ID); !errors.As(err, &index) {
		t.Errorf("by ID: %v", err)
	}
	for p, err := range w.Run(t.Context(), r.id) {
		if !errors.As(err, &index) {
			t.Errorf("by run: %d, %v", p.Index, err)
		}
	}
	// Nor decided on: neither a refusal nor an admission.
	for _, e := range [][]byte{own[0].Entry, r.authorize("refund")} {
		if _, err := w.Append(t.Context(), e); !errors.As(err, &index) || ledger.AsRefusal(err) != nil {
			t.Errorf("appended over a wrong index: %v", err)
		}
	}
}

func TestCheckFindsDamagedPayloads(t *testing.T) {
	w := newWorld(t)
	good, bad, gone := w.put(payload("good")), w.put(filed("bad")), payload("gone")
	r := w.newRun()
	commitments := func(c evidence.Commitment) []byte {
		return r.next(&evidence.Escalation{Reason: "policy", To: "billing", Text: &c})
	}
	w.must(r.open(), commitments(good), commitments(bad), commitments(gone.Commitment()))
	if rep := w.sound(); rep.Payloads != 2 || rep.Absent != 1 || rep.Registry != lastNumber {
		t.Errorf("%+v", rep)
	}
	if err := os.WriteFile(w.payloadFile(bad.Commit), []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "payloads/00/stray"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rep, err := w.Check(t.Context(), nil)
	if err != nil || len(rep.Differences) != 2 || rep.Payloads != 1 {
		t.Fatalf("%+v, %v", rep, err)
	}
	text := rep.Differences[0].String() + rep.Differences[1].String()
	if !strings.Contains(text, bad.Commit.String()) || !strings.Contains(text, "stray") {
		t.Errorf("the report does not name them: %v", rep.Differences)
	}
}

// An interrupted reindex leaves a store that refuses to open, and that another
// reindex repairs.
func TestReindexInterrupted(t *testing.T) {
	w := newWorld(t)
	w.mixed(20)
	w.stop()
	s := w.openStore()
	broken := errors.New("power is gone")
	if err := ledger.Reindex(t.Context(), stopping{s, broken}, w.cfg.VerifierKey, nil); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if _, err := ledger.Open(t.Context(), s, w.vault, w.cfg); err == nil {
		t.Error("a ledger with half an index was opened")
	}
	if err := ledger.Reindex(t.Context(), s, w.cfg.VerifierKey, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.sound()
}

// stopping is a store in which rebuilding rows stops in the middle.
type stopping struct {
	*pebblestore.Store
	err error
}

func (s stopping) RebuildRows(ctx context.Context, rows iter.Seq2[tlog.Row, error]) error {
	n := 0
	return s.Store.RebuildRows(ctx, func(yield func(tlog.Row, error) bool) {
		for row, err := range rows {
			if n++; n == 20 {
				yield(tlog.Row{}, s.err)
				return
			}
			if !yield(row, err) {
				return
			}
		}
	})
}

// A log that is not the one whose head was signed is not indexed, and a check
// says which entry it is.
func TestReindexRefusesAnotherLog(t *testing.T) {
	w := newWorld(t)
	w.mixed(3)
	w.stop()
	s := w.openStore()
	defer s.Close()
	bad := flipping{s, 11}
	if err := ledger.Reindex(t.Context(), bad, w.cfg.VerifierKey, nil); err == nil {
		t.Error("indexed a log with a flipped bit")
	}
	r, err := ledger.Check(t.Context(), bad, w.vault, w.cfg.VerifierKey, nil)
	if err != nil || r.Sound() {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err := ledger.Check(t.Context(), s, w.vault, w.cfg.VerifierKey, nil); err != nil || !r.Sound() {
		t.Errorf("the store itself: %+v, %v", r, err)
	}
}

// flipping is a store that flips a bit of one entry.
type flipping struct {
	*pebblestore.Store
	index uint64
}

func (s flipping) Entries(ctx context.Context, first, end uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		at := first
		for e, err := range s.Store.Entries(ctx, first, end) {
			if at == s.index && err == nil {
				e[200] ^= 1
			}
			if at++; !yield(e, err) {
				return
			}
		}
	}
}

// A backup is taken while the ledger is at work. It is read, proven and audited
// like the original, signs nothing, and holds no key.
func TestBackup(t *testing.T) {
	w := newWorld(t)
	c := w.put(payload("a letter"))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := w.Append(t.Context(), w.newRun().whole("send_email")...); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	for w.Head().Size < 100 {
		if err := w.Log().Wait(t.Context(), w.Head().Size+1); err != nil {
			t.Fatal(err)
		}
	}
	before := w.Head().Size
	dir := filepath.Join(t.TempDir(), "backup")
	err := w.Backup(t.Context(), dir)
	close(stop)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Backup(t.Context(), dir); err == nil {
		t.Error("a second backup into the same directory")
	}
	if is, err := ledger.IsBackup(dir); err != nil || !is {
		t.Errorf("the backup is not marked as one: %v, %v", is, err)
	}
	if is, err := ledger.IsBackup(w.dir); err != nil || is {
		t.Errorf("the original is marked as a backup: %v, %v", is, err)
	}
	logSeed := logKey(origin).Seed()
	later := w.put(payload("after the backup"))
	laterKey, _ := w.keyOf(later.Commit)
	for _, secret := range [][]byte{laterKey, logSeed, []byte(base64.RawURLEncoding.EncodeToString(logSeed)), rootKey.Seed(), runtimeKey.Seed()} {
		copied := *w
		copied.dir = dir
		if files := copied.grep(secret); len(files) > 0 {
			t.Errorf("a key lies in %v", files)
		}
	}

	s, err := pebblestore.Open(filepath.Join(dir, ledger.StoreDir), pebblestore.Options{ReadOnly: true, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	v, err := ledger.OpenVault(filepath.Join(dir, ledger.PayloadsDir), 0)
	if err != nil {
		t.Fatal(err)
	}
	cfg := w.cfg
	cfg.Signer, cfg.Runtime, cfg.ReadOnly = nil, nil, true
	l, err := ledger.Open(t.Context(), s, v, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Head().Size < before {
		t.Errorf("the backup has %d records, %d were durable before", l.Head().Size, before)
	}
	if _, err := l.ReceiptAt(t.Context(), before-1); err != nil {
		t.Error(err)
	}
	if r, err := l.Check(t.Context(), nil); err != nil || !r.Sound() {
		t.Errorf("%+v, %v", r, err)
	}
	if p, err := l.Payload(t.Context(), c.Commit); err != nil {
		t.Error(err)
	} else if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Append(t.Context(), w.newRun().open()); !errors.Is(err, ledger.ErrReadOnly) {
		t.Errorf("appended to a backup: %v", err)
	}
	if _, err := l.Erase(t.Context(), c.Commit, "x"); !errors.Is(err, ledger.ErrReadOnly) {
		t.Errorf("erased from a backup: %v", err)
	}
	p := payload("another letter")
	if _, err := l.PutPayload(t.Context(), p.Salt, p.Media, bytes.NewReader(p.Data)); !errors.Is(err, ledger.ErrReadOnly) {
		t.Errorf("put into a backup: %v", err)
	}
	w.succeed(l)
}

// succeed creates the ledger that goes on where a restored copy ends.
func (w *world) succeed(old *ledger.Ledger) {
	w.t.Helper()
	head := old.Head()
	g := ledger.Genesis{
		Origin: "ledger.example/test-2", RootKeys: []evidence.JWK{rootKey.Public().JWK()}, Time: w.clock.time(),
		Successor: ledger.SuccessorOf(old.Origin(), head.Size, evidence.Digest(head.Root)),
	}
	k := logKey("second")
	signer, err := tlog.NewSigner(g.Origin, k)
	if err != nil {
		w.t.Fatal(err)
	}
	vkey, err := tlog.VerifierKey(g.Origin, k.Public().(ed25519.PublicKey))
	if err != nil {
		w.t.Fatal(err)
	}
	dir := w.t.TempDir()
	s := openStore(w.t, nil, filepath.Join(dir, "store"))
	defer s.Close()
	cfg := ledger.Config{Signer: signer, VerifierKey: vkey, Clock: w.clock.Now}
	l, err := ledger.Create(w.t.Context(), s, openVault(w.t, filepath.Join(dir, "payloads")), cfg, sign(w.t, g.Entry0(), rootKey))
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Close()
	p, err := l.At(w.t.Context(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	b := p.Record.Body.(*evidence.LedgerCreated)
	if b.Successor == nil || b.Successor.Origin != origin || uint64(b.Successor.Head.Size) != head.Size || b.Successor.Head.Root != evidence.Digest(head.Root) {
		w.t.Errorf("entry 0 says %+v", b.Successor)
	}
}

// An older copy of the store does not pass for the ledger.
func TestOldCopyIsRefused(t *testing.T) {
	keep := filepath.Join(t.TempDir(), "head")
	w := newWorld(t, func(w *world) { w.cfg.Keeper = pebblestore.NewHeadFile(nil, keep) })
	w.mixed(3)
	w.stop()
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(filepath.Join(w.dir, "store"))); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.mixed(3)
	w.stop()
	s := openStore(t, nil, old)
	defer s.Close()
	if _, err := ledger.Open(t.Context(), s, w.vault, w.cfg); !errors.Is(err, tlog.ErrRollback) {
		t.Errorf("an old copy: %v", err)
	}
	// To be read it is good enough.
	cfg := w.cfg
	cfg.ReadOnly, cfg.Keeper = true, nil
	l, err := ledger.Open(t.Context(), s, w.vault, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestCreateTwice(t *testing.T) {
	w := newWorld(t)
	entries := genesis(t, w.clock.time())
	w.stop()
	s := w.openStore()
	defer s.Close()
	l, err := ledger.Create(t.Context(), s, w.vault, w.cfg, entries...)
	if err != nil {
		t.Fatalf("the same entries again: %v", err)
	}
	if l.Head().Size != uint64(len(entries)) {
		t.Errorf("the log has %d entries, want %d", l.Head().Size, len(entries))
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	g := ledger.Genesis{Origin: origin, RootKeys: []evidence.JWK{rootKey.Public().JWK()}, Time: w.clock.time() + 1}
	if _, err := ledger.Create(t.Context(), s, w.vault, w.cfg, sign(t, g.Entry0(), rootKey)); !errors.Is(err, ledger.ErrExists) {
		t.Errorf("another entry 0: %v", err)
	}
	empty := openStore(t, nil, filepath.Join(t.TempDir(), "store"))
	defer empty.Close()
	if _, err := ledger.Open(t.Context(), empty, w.vault, w.cfg); !errors.Is(err, ledger.ErrNoLedger) {
		t.Errorf("an empty store: %v", err)
	}
	// Entry 0 is signed by one of its own keys, and nothing comes before it.
	forged := sign(t, g.Entry0(), rootKey)
	forged[len(forged)-1] ^= 'A' ^ 'Q' // another signature, in canonical base64
	for name, first := range map[string][]byte{
		"a forged one":   forged,
		"another key":    sign(t, g.Entry0(), runtimeKey),
		"another kind":   entries[1],
		"another origin": sign(t, (&ledger.Genesis{Origin: "x", RootKeys: g.RootKeys, Time: g.Time}).Entry0(), rootKey),
		"the log's key":  logKeyAsRoot(t, w),
	} {
		if _, err := ledger.Create(t.Context(), empty, w.vault, w.cfg, first); ledger.AsRefusal(err) == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// logKeyAsRoot is an entry 0 whose root key is the log's: a key has one purpose.
func logKeyAsRoot(t *testing.T, w *world) []byte {
	k, err := evidence.NewPrivateKey(logKey(origin).Seed())
	if err != nil {
		t.Fatal(err)
	}
	g := ledger.Genesis{Origin: origin, RootKeys: []evidence.JWK{k.Public().JWK()}, Time: w.clock.time()}
	return sign(t, g.Entry0(), k)
}

func TestRotateAnActor(t *testing.T) {
	w := newWorld(t)
	fresh := key("runtime-01, second")
	placed, err := w.Rotate(t.Context(), rootKey, "runtime-01", fresh.Public(), "yearly")
	if err != nil || len(placed) != 2 {
		t.Fatalf("%d records, %v", len(placed), err)
	}
	rec := w.newRun().record(&evidence.RunOpened{Principal: "user:1", Task: "complaint", Runtime: "runtime-01"})
	w.refused(sign(t, rec, runtimeKey), 403, "revoked_key", evidence.ID{})
	w.must(sign(t, rec, fresh))
	w.restart()
	for _, a := range w.Registry().Actors() {
		if a.Name == "runtime-01" && (len(a.Keys) != 2 || !a.Active()) {
			t.Errorf("%+v", a)
		}
	}
}
