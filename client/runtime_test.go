package client_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/daemontest"
	"ledgerd/ledger"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

type mail struct {
	To string `json:"to"`
}

type sent struct {
	MessageID string `json:"messageId"`
}

// workflow drives runs of a daemon from outside.
type workflow struct {
	*testing.T
	daemon *daemontest.Daemon
	client *client.Client
	permit runtime.Permitter
	calls  int
	tool   *runtime.Func[mail, sent]
}

func newWorkflow(t *testing.T, permit runtime.Permitter) *workflow {
	t.Helper()
	d := daemontest.New(t, nil)
	w := &workflow{T: t, daemon: d, client: d.Client(d.Token), permit: permit}
	return w
}

// open begins a process: a runtime with nothing but the daemon's address.
func (w *workflow) open() *runtime.Run {
	w.Helper()
	w.tool = runtime.NewFunc(runtime.Spec{
		Name: "email", Action: "send_email", Idempotent: true, Params: []string{"to"}, Refs: []string{"messageId"},
		Schema: []byte(`{"type":"object","required":["to"],"properties":{"to":{"type":"string"}},"additionalProperties":false}`),
	}, func(_ context.Context, _ *runtime.Call, in mail) (sent, error) {
		w.calls++
		return sent{"msg_" + in.To}, nil
	})
	rt, err := runtime.New(runtime.Config{
		Ledger: client.Runtime(w.client), Origin: daemontest.Origin, Actor: w.daemon.Dir.Runtime, Key: w.daemon.Key,
		Permit: w.permit, Tools: []runtime.Tool{w.tool}, Team: "finance",
	})
	if err != nil {
		w.Fatal(err)
	}
	run, err := rt.Open(w.Context(), "complaint-4711", runtime.As(daemontest.Agent), runtime.Task("complaint", map[string]string{"id": "4711"}))
	if err != nil {
		w.Fatal(err)
	}
	return run
}

// sound audits the run's bundle, as the daemon hands it out.
func (w *workflow) sound(run evidence.RunID) {
	w.Helper()
	var b bytes.Buffer
	if err := w.client.Export(w.Context(), &b, ledger.ExportOptions{Run: run}); err != nil {
		w.Fatal(err)
	}
	trust, err := w.client.Trust(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	report, err := audit.VerifyBundle(&b, trust, audit.Options{Run: run})
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range report.Rules {
		if r.Status == audit.Broken && r.Rule != audit.RuleClaim {
			w.Errorf("%s is broken: %v", r.Rule, r.Findings)
		}
	}
}

func TestRuntimeStepOnceAndReplayed(t *testing.T) {
	w := newWorkflow(t, runtimetest.AllowAll)
	ctx := t.Context()
	run := w.open()
	res, err := runtime.Do(ctx, run, "notify", w.tool, mail{"mia"})
	if err != nil || res.Value.MessageID != "msg_mia" || res.Replayed || w.calls != 1 {
		t.Fatalf("%+v, %v, %d calls", res, err, w.calls)
	}
	if _, err := runtime.Do(ctx, run, "notify", w.tool, mail{"eve"}); err == nil {
		t.Error("another input was taken under the same name")
	}
	var other *runtime.RunError
	if _, err := w.openAgain(); !errors.As(err, &other) || other.Reason != runtime.RunHeld {
		t.Errorf("another driver: want held, found %v", err)
	}
	claim, err := run.Claim(ctx, "Mia was told", res)
	if err != nil || claim.Verdict.Err() != nil {
		t.Fatal(claim, err)
	}
	if err := run.Close(ctx); err != nil {
		t.Fatal(err)
	}
	w.sound(run.ID())

	run = w.open() // another process, from the top
	again, err := runtime.Do(ctx, run, "notify", w.tool, mail{"mia"})
	if err != nil || again.Value != res.Value || !again.Replayed || w.calls != 1 {
		t.Errorf("after a restart: %+v, %v, %d calls", again, err, w.calls)
	}
}

func (w *workflow) openAgain() (*runtime.Run, error) {
	rt, err := runtime.New(runtime.Config{
		Ledger: client.Runtime(w.client), Origin: daemontest.Origin, Actor: w.daemon.Dir.Runtime, Key: w.daemon.Key, Permit: w.permit,
	})
	if err != nil {
		w.Fatal(err)
	}
	return rt.Open(w.Context(), "complaint-4711", runtime.As(daemontest.Agent), runtime.Task("complaint", map[string]string{"id": "4711"}))
}

func TestRuntimeDenied(t *testing.T) {
	w := newWorkflow(t, runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
		return runtime.Permission{Effect: evidence.Deny, Policies: []string{"no-mail"}, Set: &runtime.Document{Media: "text/plain", Data: []byte("forbid")}}, nil
	}))
	run := w.open()
	for range 2 {
		var denied *runtime.Denied
		if _, err := runtime.Do(t.Context(), run, "notify", w.tool, mail{"mia"}); !errors.As(err, &denied) || len(denied.Policies) != 1 {
			t.Fatalf("%v", err)
		}
	}
	if err := run.Close(t.Context()); err != nil || w.calls != 0 {
		t.Errorf("%v, %d calls", err, w.calls)
	}
	w.sound(run.ID())
}

// A human is registered after the runtime has read the registry, and approves.
func TestRuntimeApprovedOnce(t *testing.T) {
	w := newWorkflow(t, runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
		return runtime.Permission{Effect: evidence.Escalate, Team: "finance", Policies: []string{"ask"}}, nil
	}))
	ctx := t.Context()
	run := w.open()
	var waiting *runtime.Waiting
	for range 2 {
		if _, err := runtime.Do(ctx, run, "notify", w.tool, mail{"mia"}); !errors.As(err, &waiting) || waiting.Team != "finance" {
			t.Fatalf("%v", err)
		}
	}
	key := w.daemon.Actor("nora", evidence.RoleHuman)
	n := w.daemon.Ledger.Registry().Number()
	entry, err := evidence.Sign(&evidence.Record{
		Origin: daemontest.Origin, Kind: evidence.KindApproval, Run: run.ID(), About: waiting.Authorization, Registry: &n, Actor: "nora",
		Time: evidence.TimeOf(time.Now()), Body: &evidence.Approval{Answer: evidence.Approve, Until: evidence.TimeOf(time.Now().Add(time.Hour))},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.daemon.Ledger.Append(ctx, entry); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if res, err := runtime.Do(ctx, run, "notify", w.tool, mail{"mia"}); err != nil || w.calls != 1 {
			t.Fatal(res, err, w.calls)
		}
	}
	if err := run.Close(ctx); err != nil {
		t.Fatal(err)
	}
	w.sound(run.ID())
}

func TestRuntimePayloadsThatAreGone(t *testing.T) {
	d := daemontest.New(t, nil)
	l := client.Runtime(d.Client(d.Token))
	stored, err := l.PutPayloads(t.Context(), []evidence.Payload{{Salt: [32]byte{7}, Media: "text/plain", Data: []byte("x")}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.ReadPayload(t.Context(), evidence.Digest{1}); !errors.Is(err, ledger.ErrNoPayload) {
		t.Errorf("nobody put it: want ErrNoPayload, found %v", err)
	}
	if _, err := d.Ledger.Erase(t.Context(), stored[0].Commit, "asked-for"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ReadPayload(t.Context(), stored[0].Commit); !errors.Is(err, ledger.ErrErased) {
		t.Errorf("want ErrErased, found %v", err)
	}
}

// statuses is a transport that notes what the daemon answers about its registry.
type statuses struct {
	http.RoundTripper
	mu    sync.Mutex
	codes []int
}

func (s *statuses) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.RoundTripper.RoundTrip(r)
	if err == nil && r.URL.Path == "/v1/registry" {
		s.mu.Lock()
		s.codes = append(s.codes, resp.StatusCode)
		s.mu.Unlock()
	}
	return resp, err
}

// TestRuntimeAsksForTheRegistry each time, and has it sent again only where it
// changed: a revocation is seen by the next call.
func TestRuntimeAsksForTheRegistry(t *testing.T) {
	d := daemontest.New(t, nil)
	transport := &statuses{RoundTripper: http.DefaultTransport}
	c, err := client.New(d.URL, client.Options{Token: d.Token, HTTP: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	l := client.Runtime(c)
	runtimeKey := d.Key.Public().Thumbprint()
	actors := func(want ...int) *audit.Registry {
		t.Helper()
		transport.codes = nil
		g, err := l.Actors(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(transport.codes, want) {
			t.Errorf("want the answers %v, found %v", want, transport.codes)
		}
		return g
	}
	first := actors(200)
	if again := actors(304); again != first || first.Speaks(runtimeKey, daemontest.Agent) != nil {
		t.Error("the registry is another one, or nobody speaks")
	}
	if _, err := d.Ledger.Revoke(t.Context(), d.Root, &evidence.ActorRevoked{Name: daemontest.Agent, Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if actors(200).Speaks(runtimeKey, daemontest.Agent) == nil {
		t.Error("a revocation was missed")
	}
	if actors(304).Number() != d.Ledger.Registry().Number() {
		t.Error("the registry is an old one")
	}
}

// TestRuntimeReadsTheRegistryAfterAFailure: that the registry was not read is not
// forgotten because the daemon says that nothing changed.
func TestRuntimeReadsTheRegistryAfterAFailure(t *testing.T) {
	d := daemontest.New(t, nil)
	failing := &failRecords{RoundTripper: http.DefaultTransport}
	c, err := client.New(d.URL, client.Options{Token: d.Token, HTTP: &http.Client{Transport: failing}})
	if err != nil {
		t.Fatal(err)
	}
	l := client.Runtime(c)
	failing.fail.Store(true)
	if _, err := l.Actors(t.Context()); err == nil {
		t.Fatal("the registry was read without its records")
	}
	failing.fail.Store(false)
	if g, err := l.Actors(t.Context()); err != nil || g.Number() != d.Ledger.Registry().Number() {
		t.Errorf("%v", err)
	}
}

// failRecords is a transport that breaks where records are read.
type failRecords struct {
	http.RoundTripper
	fail atomic.Bool
}

func (f *failRecords) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.fail.Load() && r.URL.Path == "/v1/records" {
		return nil, errors.New("connection reset")
	}
	return f.RoundTripper.RoundTrip(r)
}
