package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"ledgerd/evidence"
	"ledgerd/ledger"
	"ledgerd/ledger/pebblestore"
	"ledgerd/ledger/tlog"
)

const origin = "ledger.example/test"

// start is when the fixtures' clock begins.
var start = time.Date(2026, 5, 29, 14, 0, 0, 0, time.UTC)

// A clock that only tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clock) time() evidence.Time { return evidence.TimeOf(c.Now()) }

func key(name string) *evidence.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	k, err := evidence.NewPrivateKey(seed[:])
	if err != nil {
		panic(err)
	}
	return k
}

func logKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("log " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// The actors of every fixture.
var (
	rootKey    = key("root")
	runtimeKey = key("runtime-01")
	otherKey   = key("runtime-02")
	agentKey   = key("agent-own")
	humanKey   = key("alice")
	toolKey    = key("email_sender")
)

// A world is a ledger in a test, with all that it stands on.
type world struct {
	t testing.TB
	*ledger.Ledger
	fs    vfs.FS // nil: the operating system's
	dir   string
	store *pebblestore.Store
	vault *ledger.Vault
	clock *clock
	cfg   ledger.Config
	count int // of runs made
	// offers is how many were accepted.
	offers int
	// daemon opens the store with the options of a daemon, not those of a test.
	daemon bool
}

func config(t testing.TB, c *clock) ledger.Config {
	t.Helper()
	k := logKey(origin)
	signer, err := tlog.NewSigner(origin, k)
	if err != nil {
		t.Fatal(err)
	}
	vkey, err := tlog.VerifierKey(origin, k.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Config{
		Signer: signer, VerifierKey: vkey, Clock: c.Now, Runtime: runtimeKey, RuntimeActor: "runtime-01",
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (w *world) openStore() *pebblestore.Store {
	w.t.Helper()
	if !w.daemon {
		return openStore(w.t, w.fs, filepath.Join(w.dir, "store"))
	}
	s, err := pebblestore.Open(filepath.Join(w.dir, "store"), pebblestore.Options{FS: w.fs, Logger: quiet()})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func openStore(t testing.TB, fs vfs.FS, dir string) *pebblestore.Store {
	t.Helper()
	s, err := pebblestore.Open(dir, pebblestore.Options{FS: fs, Logger: quiet(), MinFree: 1 << 20, MemTableBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openVault(t testing.TB, dir string) *ledger.Vault {
	t.Helper()
	v, err := ledger.OpenVault(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// newWorld makes a ledger in a temporary directory with the usual actors.
func newWorld(t testing.TB, change ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), clock: &clock{now: start}}
	w.cfg = config(t, w.clock)
	for _, f := range change {
		f(w)
	}
	w.store = w.openStore()
	w.vault = openVault(t, filepath.Join(w.dir, "payloads"))
	l, err := ledger.Create(t.Context(), w.store, w.vault, w.cfg, genesis(t, w.clock.time())...)
	if err != nil {
		t.Fatal(err)
	}
	w.Ledger = l
	t.Cleanup(w.stop)
	return w
}

func (w *world) stop() {
	if w.Ledger != nil {
		if err := w.Ledger.Close(); err != nil {
			w.t.Errorf("close: %v", err)
		}
		w.Ledger = nil
	}
	if w.store != nil {
		if err := w.store.Close(); err != nil {
			w.t.Errorf("close store: %v", err)
		}
		w.store = nil
	}
}

// restart closes and opens everything.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.store = w.openStore()
	w.vault = openVault(w.t, filepath.Join(w.dir, "payloads"))
	l, err := ledger.Open(w.t.Context(), w.store, w.vault, w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Ledger = l
}

// genesis returns entry 0 and the registrations of the actors, which make
// registry numbers 0 to 6.
func genesis(t testing.TB, at evidence.Time) [][]byte {
	t.Helper()
	g := ledger.Genesis{Origin: origin, RootKeys: []evidence.JWK{rootKey.Public().JWK()}, Time: at}
	entries := [][]byte{sign(t, g.Entry0(), rootKey)}
	jwk := func(k *evidence.PrivateKey) *evidence.JWK { j := k.Public().JWK(); return &j }
	for i, a := range []*evidence.ActorRegistered{
		{Name: "runtime-01", Role: evidence.RoleRuntime, Key: jwk(runtimeKey)},
		{Name: "runtime-02", Role: evidence.RoleRuntime, Key: jwk(otherKey)},
		{Name: "support", Role: evidence.RoleAgent, Host: "runtime-01"},
		{Name: "agent-own", Role: evidence.RoleAgent, Key: jwk(agentKey)},
		{Name: "alice", Role: evidence.RoleHuman, Key: jwk(humanKey), Teams: []string{"billing"}},
		{Name: "email_sender", Role: evidence.RoleTool, Key: jwk(toolKey)},
	} {
		number := int64(i + 1)
		rec := &evidence.Record{
			Origin: origin, Kind: evidence.KindActorRegistered, Registry: &number, Prev: evidence.IDOf(entries[i]),
			Actor: ledger.RootActor, Time: at, Body: a,
		}
		entries = append(entries, sign(t, rec, rootKey))
	}
	return entries
}

const lastNumber = 6 // the registry number after genesis

func sign(t testing.TB, r *evidence.Record, k *evidence.PrivateKey) []byte {
	t.Helper()
	b, err := evidence.Sign(r, k)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A run signs the records of one run's line.
type run struct {
	w    *world
	id   evidence.RunID
	prev evidence.ID
	n    int

	parent evidence.ID
}

func (w *world) newRun() *run {
	w.count++
	return &run{w: w, id: runID(w.count)}
}

func runID(n int) evidence.RunID {
	return evidence.RunID(fmt.Sprintf("run_0197f3c2-0000-7000-8000-%012x", n))
}

func commitSalt(s string) [32]byte { return sha256.Sum256([]byte(s)) }

func commit(s string) evidence.Commitment {
	p := evidence.Payload{Salt: commitSalt(s), Media: "text/plain", Data: []byte(s)}
	return p.Commitment()
}

func (r *run) record(b evidence.Body) *evidence.Record {
	rec := &evidence.Record{Origin: origin, Kind: b.Kind(), Run: r.id, Prev: r.prev, Actor: "support", Time: r.w.clock.time(), Body: b}
	if b.Kind().NamesRegistry() {
		n := r.w.Registry().Number()
		rec.Registry = &n
	}
	return rec
}

// next signs the next record and takes it as admitted.
func (r *run) next(b evidence.Body) []byte {
	e := sign(r.w.t, r.record(b), runtimeKey)
	r.prev = evidence.IDOf(e)
	r.n++
	return e
}

func (r *run) open() []byte {
	return r.next(&evidence.RunOpened{Principal: "user:1", Subject: "ticket:1", Task: "complaint", Runtime: "runtime-01", Parent: r.parent})
}

func (r *run) authorize(action string) []byte {
	return r.next(&evidence.Authorization{
		Step: fmt.Sprintf("step-%d", r.n), Action: action, Tool: "email_sender", Input: commit("input"),
		IdempotencyKey: fmt.Sprintf("key-%d", r.n), Effect: evidence.Allow, Mode: evidence.Enforce, Source: evidence.SourceRuntime,
	})
}

func (r *run) execute(action string, attempt int64) []byte {
	out := commit("output")
	return r.next(&evidence.Execution{
		Authorization: r.prev, Action: action, Tool: "email_sender", Input: commit("input"), Attempt: attempt,
		Status: evidence.StatusSuccess, Source: evidence.SourceRuntime, Output: &out,
	})
}

func (r *run) close() []byte { return r.next(&evidence.RunClosed{End: evidence.Completed}) }

// whole signs a run of one action, from open to close.
func (r *run) whole(action string) [][]byte {
	return [][]byte{r.open(), r.authorize(action), r.execute(action, 1), r.close()}
}

func (w *world) must(entries ...[]byte) []evidence.Placed {
	w.t.Helper()
	placed, err := w.Append(w.t.Context(), entries...)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range placed {
		if !bytes.Equal(placed[i].Entry, entries[i]) {
			w.t.Fatalf("placed %q, want %q", placed[i].Entry, entries[i])
		}
	}
	return placed
}
