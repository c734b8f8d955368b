package policy

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const denyAll = "@id(\"none\") forbid (principal, action, resource);\n"

func TestReload(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	if _, err := Open(dir, Options{Logger: slog.New(slog.DiscardHandler)}); err == nil {
		t.Fatal("an empty directory was opened")
	}
	write(t, dir, "a.cedar", permitAll)
	p, err := Open(dir, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	old := p.Set()
	for name, text := range map[string]string{
		"syntax": "permit", "no id": "permit (principal, action, resource);", "empty": "", "twice": permitAll + permitAll,
	} {
		write(t, dir, "a.cedar", text)
		log.Reset()
		if err := p.Reload(); err == nil || p.Set() != old {
			t.Errorf("%s: want the old set and an error, found %v", name, err)
		}
		if !strings.Contains(log.String(), "old ones stay in force") {
			t.Errorf("%s: it is not logged: %q", name, log.String())
		}
	}
	write(t, dir, "a.cedar", denyAll)
	if err := p.Reload(); err != nil {
		t.Fatal(err)
	}
	got, err := p.Permit(t.Context(), refund(`{}`))
	if err != nil || got.Effect != evidence.Deny || !slices.Equal(got.Policies, []string{"none"}) || got.Set != p.Set().Document() {
		t.Errorf("%+v %v", got, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := p.Reload(); err == nil || p.Set().Policy("none") == nil {
		t.Error("without its directory, want the old set and an error, found", err)
	}
}

// TestWatcher: a change is taken over once it has settled, what is wrong is
// logged once, and nothing is loaded that did not change.
func TestWatcher(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	write(t, dir, "a.cedar", permitAll)
	p, err := Open(dir, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	w := watcher{Permitter: p}
	first := p.Set()
	in := func() *Set { w.look(); return p.Set() }
	for range 3 {
		if in() != first {
			t.Error("loaded again without a change")
		}
	}
	write(t, dir, "a.cedar", permitAll+denyAll)
	if in() != first {
		t.Error("a change was taken over before it settled")
	}
	second := in()
	if second == first || second.Policy("none") == nil {
		t.Error("a change was not taken over")
	}
	log.Reset()
	write(t, dir, "a.cedar", "permit")
	for range 4 {
		if in() != second {
			t.Error("the old set is not in force")
		}
	}
	if n := strings.Count(log.String(), "ERROR"); n != 1 {
		t.Errorf("want one line about what is wrong, found %d: %s", n, log.String())
	}
	log.Reset()
	write(t, dir, "a.cedar", permitAll+denyAll)
	if in(); in() != second {
		t.Error("the same files again were loaded")
	}
	write(t, dir, "a.cedar", permitAll)
	if in(); in().Digest() != first.Digest() {
		t.Error("going back was not taken over")
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if in(); in().Digest() != first.Digest() || strings.Count(log.String(), "ERROR") != 1 {
		t.Error(log.String())
	}
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.cedar", permitAll)
	p, err := Open(dir, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { p.Watch(ctx, time.Millisecond); close(done) }()
	write(t, dir, "b.cedar", denyAll)
	for p.Set().Policy("none") == nil {
		if _, err := p.Permit(ctx, refund(`{}`)); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	<-done
}

func TestObserve(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.cedar", denyAll)
	p, err := Open(dir, Options{Observe: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Permit(t.Context(), refund(`{}`))
	if err != nil || got.Effect != evidence.Deny || got.Mode != evidence.Observe {
		t.Errorf("%+v %v", got, err)
	}
}

// counter is a tool that counts its calls.
type counter struct{ calls *int }

func (counter) Spec() *runtime.Spec { return &runtime.Spec{Name: "refunds", Action: "issue_refund"} }

func (c counter) Call(context.Context, *runtime.Call) (*runtime.Output, error) {
	*c.calls++
	return &runtime.Output{Media: "application/json", Data: []byte(`{}`)}, nil
}

// TestGoverned: a real run under policies, from a question to a human to the
// evidence that an auditor reads.
func TestGoverned(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.cedar", `@id("refunds") permit (principal == Agent::"test-agent", action == Action::"issue_refund", resource);
@id("large") @escalate("operators") forbid (principal, action, resource) when { context.input.amount > 100 };`)
	permit, err := Open(dir, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w := runtimetest.New(t)
	w.Permit = permit
	calls := 0
	ctx := t.Context()
	rt := w.Runtime(counter{&calls})
	run, err := rt.Open(ctx, "complaint-1", runtime.As(runtimetest.Agent), runtime.Task("complaint", nil))
	if err != nil {
		t.Fatal(err)
	}
	do := func(step, input string) error {
		_, err := run.Do(ctx, runtime.Action{Step: step, Tool: "refunds", Input: []byte(input)})
		return err
	}
	if err := do("small", `{"amount":50}`); err != nil || calls != 1 {
		t.Fatal(err, calls)
	}
	var denied *runtime.Denied
	if err := do("none", `{}`); !errors.As(err, &denied) || calls != 1 || len(denied.Errors) != 1 || !slices.Equal(denied.Policies, []string{"large"}) {
		t.Fatalf("want denied by the error of large, found %v", err)
	}
	var waiting *runtime.Waiting
	if err := do("large", `{"amount":500}`); !errors.As(err, &waiting) || calls != 1 || waiting.Team != "operators" {
		t.Fatalf("want to wait for a human, found %v", err)
	}
	w.Approve(run.ID(), waiting.Authorization)
	if err := do("large", `{"amount":500}`); err != nil || calls != 2 {
		t.Fatal(err, calls)
	}
	sets := 0
	for _, r := range w.Records(run.ID()) {
		b, ok := r.Record.Body.(*evidence.Authorization)
		if !ok {
			continue
		}
		sets++
		p, err := runtime.Embedded{Ledger: w.Ledger}.ReadPayload(ctx, b.PolicySet.Commit)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := ParseDocument(p.Data); err != nil || s.Digest() != permit.Set().Digest() {
			t.Errorf("the kept policies are not those in force: %v", err)
		}
	}
	if sets != 4 {
		t.Errorf("want four authorizations, found %d", sets)
	}
	if err := run.Close(ctx); err != nil {
		t.Error(err)
	}
	w.Sound(run.ID())
}
