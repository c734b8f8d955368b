package agent_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ledgerd/evidence"
	"ledgerd/internal/agent"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

// TestNotices: what the ledger says that waits is what the runtime told of when it
// began to wait, but for the runs' keys; what was answered, settled or ended does
// not wait, and what was erased nobody can answer for.
func TestNotices(t *testing.T) {
	w := runtimetest.New(t)
	told := make(map[evidence.ID]runtime.Notice)
	w.Config = func(c *runtime.Config) {
		c.Notify = func(n runtime.Notice) { told[n.Authorization] = n }
	}
	w.Permit = runtime.PermitterFunc(func(ctx context.Context, r *runtime.PermissionRequest) (runtime.Permission, error) {
		if strings.HasPrefix(r.Step, "ask") {
			return runtime.Permission{Effect: evidence.Escalate, Mode: evidence.Enforce, Policies: []string{"ask"}, Team: runtimetest.Team}, nil
		}
		return runtimetest.AllowAll(ctx, r)
	})
	tool := runtime.NewFunc(runtime.Spec{Name: "bank", Action: "pay"}, func(context.Context, *runtime.Call, string) (string, error) {
		return "", &runtime.Failure{Class: evidence.OutcomeUnknown, Err: errors.New("the line broke")}
	})
	rt := w.Runtime(tool)
	open := func(key string) *runtime.Run {
		t.Helper()
		run, err := rt.Open(t.Context(), key, runtime.As(runtimetest.Agent), runtime.Task("refund", nil))
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
	// step does one that comes to no result, and returns what it left.
	step := func(run *runtime.Run, name string) evidence.ID {
		t.Helper()
		_, err := runtime.Do(t.Context(), run, name, tool, "input of "+name, runtime.On("account/"+name))
		if waiting, ok := errors.AsType[*runtime.Waiting](err); ok {
			return waiting.Authorization
		}
		doubt, ok := errors.AsType[*runtime.InDoubt](err)
		if !ok {
			t.Fatal(err)
		}
		return doubt.Doubt
	}
	run := open("a")
	want := []evidence.ID{step(run, "ask-1")}
	answered, refused := step(run, "ask-answered"), step(run, "ask-refused")
	w.Approve(run.ID(), answered)
	w.Refuse(run.ID(), refused)
	erased := step(run, "ask-erased")
	for _, p := range w.Records(run.ID()) {
		if p.ID == erased {
			if _, err := w.Ledger.Erase(t.Context(), p.Record.Body.(*evidence.Authorization).Input.Commit, "asked_to"); err != nil {
				t.Fatal(err)
			}
		}
	}
	want = append(want, step(run, "doubt"))
	step(run, "settled")
	if err := run.Settle(t.Context(), "settled", runtime.Finding{Status: evidence.StatusNotRun}); err != nil {
		t.Fatal(err)
	}
	closed := open("b")
	step(closed, "ask-closed")
	if err := closed.End(t.Context(), evidence.Stopped, "test"); err != nil {
		t.Fatal(err)
	}
	want = append(want, step(open("c"), "ask-2"))

	var got []evidence.ID
	for n, err := range agent.Notices(t.Context(), w.Ledger, w.Clock.Now()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, n.Authorization)
		n.Key = told[n.Authorization].Key
		if fmt.Sprintf("%+v", n) != fmt.Sprintf("%+v", told[n.Authorization]) {
			t.Errorf("by the ledger\n%+v, and it was told\n%+v", n, told[n.Authorization])
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("want %v, found %v", want, got)
	}
	for range agent.Notices(t.Context(), w.Ledger, w.Clock.Now()) {
		break // who has enough gets no more
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range agent.Notices(ctx, w.Ledger, w.Clock.Now()) {
		if err == nil {
			t.Error("it went on after its end")
		}
	}
}
