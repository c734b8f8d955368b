// Package runtimetest helps with tests of agents: a ledger in memory, a clock
// that only the test moves, drivers that crash at any step, and assertions on
// the evidence.
//
//	w := runtimetest.New(t)
//	rt := w.Runtime(sendEmail)
//	run, err := rt.Open(ctx, "complaint-4711", runtime.As(runtimetest.Agent), runtime.Task("complaint", nil))
//	...
//	w.Supported(run.ID())
//	w.Audit(run.ID())
//
// What it makes is the real thing: records are signed, admitted, and can be
// audited.
package runtimetest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"sync"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/ledger"
	"ledgerd/ledger/pebblestore"
	"ledgerd/ledger/tlog"
	"ledgerd/runtime"
)

// The names in a world.
const (
	Origin  = "ledger.example/runtimetest"
	Runtime = "test-runtime"
	Agent   = "test-agent" // hosted by Runtime
	Human   = "test-human" // of team Team
	Team    = "operators"
)

// World is a ledger in memory with a runtime, an agent and a human.
type World struct {
	testing.TB
	Origin string // of the ledger
	Ledger *ledger.Ledger
	Clock  *Clock
	// Permit is what runtimes ask; it allows everything unless a test sets it.
	Permit runtime.Permitter
	// Config, where set, changes the configuration of each runtime made.
	Config func(*runtime.Config)

	vkey                string
	root, runtime, user *evidence.PrivateKey
	store               *pebblestore.Store
}

// New makes a world. It ends with the test.
func New(t testing.TB) *World { return Named(t, Origin) }

// Named makes a world whose ledger has another name: two of them are two
// organisations.
func Named(t testing.TB, origin string) *World {
	t.Helper()
	w := &World{TB: t, Origin: origin, Clock: NewClock(), root: newKey(t), runtime: newKey(t), user: newKey(t), Permit: AllowAll}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	signer, err := tlog.NewSigner(origin, private)
	w.must(err)
	w.vkey, err = tlog.VerifierKey(origin, public)
	w.must(err)
	w.store, err = pebblestore.OpenMemory()
	w.must(err)
	vault, err := ledger.OpenVaultOn(newMemoryFS(), "payloads", 0)
	w.must(err)
	now := evidence.TimeOf(w.Clock.Now())
	g := ledger.Genesis{Origin: origin, RootKeys: []evidence.JWK{w.root.Public().JWK()}, Time: now}
	entry, err := evidence.Sign(g.Entry0(), w.root)
	w.must(err)
	cfg := ledger.Config{Signer: signer, VerifierKey: w.vkey, Runtime: w.runtime, RuntimeActor: Runtime, Clock: w.Clock.Now}
	w.Ledger, err = ledger.Create(context.Background(), w.store, vault, cfg, entry)
	w.must(err)
	t.Cleanup(func() {
		w.must(w.Ledger.Close())
		w.must(w.store.Close())
	})
	key, user := w.runtime.Public().JWK(), w.user.Public().JWK()
	w.register(&evidence.ActorRegistered{Name: Runtime, Role: evidence.RoleRuntime, Key: &key})
	w.register(&evidence.ActorRegistered{Name: Agent, Role: evidence.RoleAgent, Host: Runtime})
	w.register(&evidence.ActorRegistered{Name: Human, Role: evidence.RoleHuman, Key: &user, Teams: []string{Team}})
	return w
}

func newKey(t testing.TB) *evidence.PrivateKey {
	t.Helper()
	k, err := evidence.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (w *World) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *World) register(b *evidence.ActorRegistered) {
	w.Helper()
	_, err := w.Ledger.Register(context.Background(), w.root, b)
	w.must(err)
}

// Actor registers another actor, and returns its key: a human of another team, a
// tool that confirms what it did, an agent that speaks for itself.
func (w *World) Actor(name string, role evidence.Role, teams ...string) *evidence.PrivateKey {
	w.Helper()
	k := newKey(w.TB)
	jwk := k.Public().JWK()
	w.register(&evidence.ActorRegistered{Name: name, Role: role, Key: &jwk, Teams: teams})
	return k
}

// Revoke revokes an actor: [Runtime], [Agent] or [Human].
func (w *World) Revoke(name string) {
	w.Helper()
	_, err := w.Ledger.Revoke(context.Background(), w.root, &evidence.ActorRevoked{Name: name, Reason: "test"})
	w.must(err)
}

// AllowAll permits everything.
var AllowAll = runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
	return runtime.Permission{Effect: evidence.Allow, Mode: evidence.Enforce, Policies: []string{"allow-all"}}, nil
})

// Runtime returns a new runtime over the world's ledger: what a process that
// starts anew would have.
func (w *World) Runtime(tools ...runtime.Tool) *runtime.Runtime {
	w.Helper()
	cfg := runtime.Config{
		Ledger: runtime.Embedded{Ledger: w.Ledger}, Origin: w.Origin, Actor: Runtime, Key: w.runtime,
		Permit: w.Permit, Tools: tools, Clock: w.Clock,
	}
	if w.Config != nil {
		w.Config(&cfg)
	}
	rt, err := runtime.New(cfg)
	w.must(err)
	return rt
}

// Party returns the world's side of handoffs, for its agent: what it accepts is
// under a trust file that names the ledgers of the worlds given.
func (w *World) Party(trusted ...*World) *handoff.Party {
	w.Helper()
	trust := new(bundle.Trust)
	for _, o := range trusted {
		t, err := o.Ledger.Trust()
		w.must(err)
		trust.Ledgers = append(trust.Ledgers, t.Ledgers...)
	}
	return &handoff.Party{
		Ledger: runtime.Embedded{Ledger: w.Ledger}, Origin: w.Origin, Agent: Agent, Key: w.runtime, Trust: trust, Clock: w.Clock.Now,
	}
}

// Approve has the human approve an authorization that waits, for an hour.
func (w *World) Approve(run evidence.RunID, authorization evidence.ID) evidence.ID {
	w.Helper()
	return w.answer(run, authorization, &evidence.Approval{Answer: evidence.Approve, Until: evidence.TimeOf(w.Clock.Now().Add(time.Hour))})
}

// Refuse has the human refuse it.
func (w *World) Refuse(run evidence.RunID, authorization evidence.ID) evidence.ID {
	w.Helper()
	return w.answer(run, authorization, &evidence.Approval{Answer: evidence.Refuse})
}

func (w *World) answer(run evidence.RunID, about evidence.ID, b *evidence.Approval) evidence.ID {
	w.Helper()
	n := w.Ledger.Registry().Number()
	entry, err := evidence.Sign(&evidence.Record{
		Origin: w.Origin, Kind: b.Kind(), Run: run, About: about, Registry: &n, Actor: Human, Time: evidence.TimeOf(w.Clock.Now()), Body: b,
	}, w.user)
	w.must(err)
	placed, err := w.Ledger.Append(context.Background(), entry)
	w.must(err)
	return placed[0].ID
}

// Records returns a run's records in log order.
func (w *World) Records(run evidence.RunID) []evidence.Placed {
	w.Helper()
	var list []evidence.Placed
	for p, err := range w.Ledger.Run(context.Background(), run) {
		w.must(err)
		list = append(list, p)
	}
	return list
}

// Kinds returns the kinds of a run's records in log order.
func (w *World) Kinds(run evidence.RunID) []evidence.Kind {
	w.Helper()
	var kinds []evidence.Kind
	for _, p := range w.Records(run) {
		kinds = append(kinds, p.Record.Kind)
	}
	return kinds
}

// Report audits the bundle of a run as a verifier with nothing but the trust
// file would.
func (w *World) Report(run evidence.RunID) *audit.Report {
	w.Helper()
	var b bytes.Buffer
	w.must(w.Ledger.Export(context.Background(), &b, ledger.ExportOptions{Run: run}))
	trust, err := w.Ledger.Trust()
	w.must(err)
	report, err := audit.VerifyBundle(&b, trust, audit.Options{Run: run})
	w.must(err)
	return report
}

// Sound fails the test where the audit of a run finds anything proven wrong, other
// than claims and contracts that the evidence does not support.
func (w *World) Sound(run evidence.RunID) {
	w.Helper()
	for _, r := range w.Report(run).Rules {
		if r.Status != audit.Broken || r.Rule == audit.RuleClaim || r.Rule == audit.RuleContract {
			continue
		}
		for _, f := range r.Findings {
			w.Errorf("the audit of %s: %s", run, f.String())
		}
	}
}

// Clock is a clock that only a test moves; sleeping moves it.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock at some time of day.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 5, 29, 14, 0, 0, 0, time.UTC)} }

// Now implements [runtime.Clock].
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Sleep implements [runtime.Clock]: it moves the clock on.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.Add(d)
	return nil
}

// Add moves the clock on.
func (c *Clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Example returns a world for a testable example of a documentation: it panics
// where a test would fail. done ends it.
func Example() (w *World, done func()) {
	e := new(exampleTB)
	return New(e), e.end
}

// exampleTB is as much of a testing.TB as a world needs.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (e *exampleTB) Helper()                      {}
func (e *exampleTB) Fatal(args ...any)            { panic(fmt.Sprint(args...)) }
func (e *exampleTB) Errorf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
func (e *exampleTB) Cleanup(f func())             { e.cleanups = append(e.cleanups, f) }

func (e *exampleTB) end() {
	for i := len(e.cleanups) - 1; i >= 0; i-- {
		e.cleanups[i]()
	}
}
