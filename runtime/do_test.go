package runtime_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

var ctx = context.Background()

type mail struct {
	To   string `json:"to"`
	Text string `json:"text,omitzero"`
}

type sent struct {
	MessageID string `json:"messageId"`
}

// A mailServer counts what was sent, by key: the effects, not the records.
type mailServer struct {
	mu    sync.Mutex
	calls int
	sent  map[string]int
	fail  func(call int) error // before the effect; nil: none
	after func(call int) error // after it
}

func (m *mailServer) effects() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, k := range m.sent {
		n += k
	}
	return n
}

func (m *mailServer) send(idempotent bool) func(context.Context, *runtime.Call, mail) (sent, error) {
	return func(_ context.Context, c *runtime.Call, in mail) (sent, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.calls++
		if m.fail != nil {
			if err := m.fail(m.calls); err != nil {
				return sent{}, err
			}
		}
		if m.sent == nil {
			m.sent = make(map[string]int)
		}
		if !idempotent || m.sent[c.Key] == 0 {
			m.sent[c.Key]++
		}
		if m.after != nil {
			if err := m.after(m.calls); err != nil {
				return sent{}, err
			}
		}
		return sent{"msg_" + in.To}, nil
	}
}

var mailSpec = runtime.Spec{
	Name: "email", Action: "send_email", Description: "Sends an email.", Idempotent: true,
	Schema: []byte(`{"type":"object","required":["to"],"properties":{"to":{"type":"string","minLength":1},"text":{"type":"string"}},"additionalProperties":false}`),
	Params: []string{"to"}, Refs: []string{"messageId"},
}

func open(t *testing.T, rt *runtime.Runtime, options ...runtime.Option) *runtime.Run {
	t.Helper()
	run, err := rt.Open(ctx, "complaint-4711", append([]runtime.Option{runtime.As(runtimetest.Agent), runtime.Task("complaint", map[string]string{"id": "4711"})}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func TestStepOnceAndReplayed(t *testing.T) {
	w := runtimetest.New(t)
	var server mailServer
	tool := runtime.NewFunc(mailSpec, server.send(true))
	rt := w.Runtime(tool)
	run := open(t, rt)
	res, err := runtime.Do(ctx, run, "notify", tool, mail{To: "mia"})
	if err != nil {
		t.Fatal(err)
	}
	if res.Value.MessageID != "msg_mia" || res.Replayed || server.effects() != 1 {
		t.Errorf("%+v, %d effects", res, server.effects())
	}
	again, err := runtime.Do(ctx, run, "notify", tool, mail{To: "mia"})
	if err != nil || again.Value != res.Value || !again.Replayed || again.Execution != res.Execution {
		t.Errorf("again: %+v, %v", again, err)
	}
	var other *runtime.RunError
	if _, err := runtime.Do(ctx, run, "notify", tool, mail{To: "eve"}); !errors.As(err, &other) || other.Reason != runtime.RunStepUsed {
		t.Errorf("another input: %v", err)
	}
	claim, err := run.Claim(ctx, "Mia was told", res)
	if err != nil || claim.Verdict.Err() != nil {
		t.Fatal(claim, err)
	}
	if err := run.Close(ctx); err != nil {
		t.Fatal(err)
	}
	w.Sound(run.ID())

	// Another process, from the top: nothing is done again.
	tool = runtime.NewFunc(mailSpec, server.send(true))
	run = open(t, w.Runtime(tool))
	again, err = runtime.Do(ctx, run, "notify", tool, mail{To: "mia"})
	if err != nil || again.Value != res.Value || !again.Replayed {
		t.Errorf("after a restart: %+v, %v", again, err)
	}
	replayed, err := run.Claim(ctx, "Mia was told", again)
	if err != nil || !replayed.Replayed || replayed.ID != claim.ID || string(replayed.Verdict.Document) != string(claim.Verdict.Document) {
		t.Errorf("the claim after a restart: %+v, %v", replayed, err)
	}
	if server.calls != 1 {
		t.Errorf("the tool was called %d times", server.calls)
	}
	if err := run.Close(ctx); err != nil {
		t.Error(err)
	}
}

func TestDenied(t *testing.T) {
	w := runtimetest.New(t)
	w.Permit = runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
		return runtime.Permission{Effect: evidence.Deny, Policies: []string{"no-mail"}, Set: &runtime.Document{Media: "text/plain", Data: []byte("forbid")}}, nil
	})
	var server mailServer
	tool := runtime.NewFunc(mailSpec, server.send(true))
	run := open(t, w.Runtime(tool))
	for range 2 {
		_, err := runtime.Do(ctx, run, "notify", tool, mail{To: "mia"})
		var denied *runtime.Denied
		if !errors.As(err, &denied) || denied.Authorization.IsZero() || len(denied.Policies) != 1 {
			t.Fatalf("%v", err)
		}
	}
	if server.calls != 0 {
		t.Error("the tool was called")
	}
	claim, err := run.Claim(ctx, "Mia was told", &runtime.Result{Step: "notify", Action: "send_email"})
	var unsupported *runtime.Unsupported
	if err != nil || !errors.As(claim.Verdict.Err(), &unsupported) || unsupported.Result != evidence.Contradicted {
		t.Errorf("a lie: %+v, %v", claim, err)
	}
	if _, err := run.Summarize(ctx, "Mia was told, really", &runtime.Result{Step: "notify", Action: "send_email"}); !errors.As(err, &unsupported) {
		t.Errorf("a lie leaves as a summary: %v", err)
	}
	if err := run.Close(ctx); err != nil {
		t.Fatal(err)
	}
	w.Sound(run.ID())
}

func TestApprovedOnce(t *testing.T) {
	w := runtimetest.New(t)
	w.Permit = runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
		return runtime.Permission{Effect: evidence.Escalate, Team: runtimetest.Team, Policies: []string{"ask"}}, nil
	})
	var notices []runtime.Notice
	w.Config = func(c *runtime.Config) { c.Notify = func(n runtime.Notice) { notices = append(notices, n) } }
	var server mailServer
	tool := runtime.NewFunc(mailSpec, server.send(true))
	rt := w.Runtime(tool)
	run := open(t, rt)
	var waiting *runtime.Waiting
	for range 3 {
		if _, err := runtime.Do(ctx, run, "notify", tool, mail{To: "mia"}); !errors.As(err, &waiting) || waiting.Team != runtimetest.Team {
			t.Fatalf("%v", err)
		}
	}
	if len(notices) != 1 || string(notices[0].Input) != `{"to":"mia"}` {
		t.Errorf("%+v", notices)
	}
	w.Approve(run.ID(), waiting.Authorization)
	res, err := runtime.Do(ctx, run, "notify", tool, mail{To: "mia"})
	if err != nil || server.effects() != 1 {
		t.Fatal(res, err, server.effects())
	}
	if _, err := runtime.Do(ctx, run, "notify", tool, mail{To: "mia"}); err != nil || server.calls != 1 {
		t.Error(err, server.calls)
	}
	w.Sound(run.ID())
}

func TestRetries(t *testing.T) {
	w := runtimetest.New(t)
	unavailable := errors.New("the server is down")
	server := mailServer{fail: func(call int) error {
		if call < 3 {
			return &runtime.Failure{Class: evidence.ToolUnavailable, Err: unavailable, NotRun: true}
		}
		return nil
	}}
	tool := runtime.NewFunc(mailSpec, server.send(true))
	run := open(t, w.Runtime(tool), runtime.Budget(evidence.Amounts{"attempts": 4}))
	before := w.Clock.Now()
	res, err := runtime.Do(ctx, run, "notify", tool, mail{To: "mia"})
	if err != nil || server.calls != 3 || server.effects() != 1 {
		t.Fatal(res, err, server.calls)
	}
	if d := w.Clock.Now().Sub(before); d < 300e6 || d > 600e6 {
		t.Errorf("two delays came to %v", d)
	}
	server.fail = func(int) error {
		return &runtime.Failure{Class: evidence.ToolUnavailable, Err: unavailable}
	}
	_, err = runtime.Do(ctx, run, "again", tool, mail{To: "mia"})
	var failed *runtime.Failed
	if !errors.As(err, &failed) || failed.Class != evidence.BudgetExceeded || server.calls != 4 {
		t.Errorf("over the budget of 4 attempts: %v after %d calls", err, server.calls)
	}
	w.Sound(run.ID())
}

func TestRepair(t *testing.T) {
	w := runtimetest.New(t)
	var server mailServer
	tool := runtime.NewFunc(mailSpec, server.send(true))
	run := open(t, w.Runtime(tool))
	action := runtime.Action{Step: "notify", Tool: "email", Input: []byte(`{"recipient":"mia"}`)}
	_, err := run.Do(ctx, action)
	var failed *runtime.Failed
	if !errors.As(err, &failed) || failed.Class != evidence.InvalidToolPayload || failed.Authorization.IsZero() {
		t.Fatalf("%v", err)
	}
	action.Repair = func(context.Context, []byte, *runtime.Failed) ([]byte, error) { return []byte(`{"to":"mia"}`), nil }
	for range 2 {
		res, err := run.Do(ctx, action)
		if err != nil || server.calls != 1 || string(res.Output) != `{"messageId":"msg_mia"}` {
			t.Fatal(res, err, server.calls)
		}
	}
	w.Sound(run.ID())
}

// TestRow51StateIsInert: whatever a checkpoint's state looks like to some language,
// it is bytes here, and the same bytes when it is read back.
func TestRow51StateIsInert(t *testing.T) {
	w := runtimetest.New(t)
	state := []byte(`{"__proto__":{"admin":true},"$type":"System.Diagnostics.Process","!!python/object/apply:os.system":["id"],"constructor":{"name":"x"},"n":12345678901234567890}`)
	run := open(t, w.Runtime())
	if _, err := run.Save(ctx, "half", state); err != nil {
		t.Fatal(err)
	}
	run.Leave(ctx)
	run = open(t, w.Runtime())
	var back json.RawMessage
	name, err := run.Restore(ctx, &back)
	if err != nil || name != "half" || !bytes.Equal(back, state) {
		t.Errorf("%s: %s, %v", name, back, err)
	}
	w.Sound(run.ID())
}
