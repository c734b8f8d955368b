package runtime_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

type booking struct {
	Seat string `json:"seat"`
}

// booker books seats, and knows how to give them back.
type booker struct {
	*runtime.Func[booking, sent]
}

func (booker) Compensate(input []byte, out *runtime.Output) (string, []byte, error) {
	var b booking
	var s sent
	if err := errors.Join(json.Unmarshal(input, &b), json.Unmarshal(out.Data, &s)); err != nil {
		return "", nil, err
	}
	undo, err := json.Marshal(map[string]string{"seat": b.Seat, "booking": s.MessageID})
	return "cancel", undo, err
}

func TestUndo(t *testing.T) {
	w := runtimetest.New(t)
	taken := map[string]bool{}
	book := booker{runtime.NewFunc(runtime.Spec{Name: "book", Action: "book_seat"}, func(_ context.Context, _ *runtime.Call, b booking) (sent, error) {
		taken[b.Seat] = true
		return sent{"booking-" + b.Seat}, nil
	})}
	type cancellation struct {
		Seat    string `json:"seat"`
		Booking string `json:"booking"`
	}
	cancel := runtime.NewFunc(runtime.Spec{Name: "cancel", Action: "cancel_seat"}, func(_ context.Context, _ *runtime.Call, c cancellation) (sent, error) {
		if c.Booking != "booking-"+c.Seat || !taken[c.Seat] {
			return sent{}, errors.New("no such booking")
		}
		delete(taken, c.Seat)
		return sent{"cancelled"}, nil
	})
	run := openAs(t, w.Runtime(book, cancel), "trip")
	if _, err := run.Undo(ctx, "seat"); err == nil {
		t.Error("what never began was undone")
	}
	if _, err := runtime.Do(ctx, run, "seat", book, booking{"12A"}); err != nil || !taken["12A"] {
		t.Fatal(err)
	}
	if _, err := run.Undo(ctx, "seat"); err != nil || len(taken) > 0 {
		t.Errorf("%v, %v", err, taken)
	}
	// Once, also in another life.
	w.Clock.Add(time.Hour)
	run = openAs(t, w.Runtime(book, cancel), "trip")
	if res, err := run.Undo(ctx, "seat"); err != nil || !res.Replayed || res.Step != "seat.undo" {
		t.Errorf("%+v, %v", res, err)
	}
	// It needs a permission of its own.
	w.Permit = runtime.PermitterFunc(func(_ context.Context, r *runtime.PermissionRequest) (runtime.Permission, error) {
		if r.Action == "cancel_seat" {
			return runtime.Permission{Effect: evidence.Deny}, nil
		}
		return runtime.Permission{Effect: evidence.Allow}, nil
	})
	run = openAs(t, w.Runtime(book, cancel), "another trip")
	if _, err := runtime.Do(ctx, run, "seat", book, booking{"13C"}); err != nil {
		t.Fatal(err)
	}
	var denied *runtime.Denied
	if _, err := run.Undo(ctx, "seat"); !errors.As(err, &denied) || !taken["13C"] {
		t.Errorf("%v, %v", err, taken)
	}
	// Who cannot say how, cannot be undone.
	if _, err := run.Undo(ctx, "seat.undo"); err == nil {
		t.Error("what was denied was undone")
	}
	w.Sound(run.ID())
}

// A denial is told to a human once, unless the rules say otherwise.
func TestDenialIsEscalated(t *testing.T) {
	w := runtimetest.New(t)
	var notices []runtime.Notice
	w.Permit = runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
		return runtime.Permission{Effect: evidence.Deny, Policies: []string{"no-mail"}}, nil
	})
	w.Config = func(c *runtime.Config) { c.Notify = func(n runtime.Notice) { notices = append(notices, n) } }
	var server mailServer
	tool := runtime.NewFunc(mailSpec, server.send(true))
	run := openAs(t, w.Runtime(tool), "told")
	var first *runtime.Denied
	for range 3 {
		var denied *runtime.Denied
		_, err := runtime.Do(ctx, run, "notify", tool, mail{To: "mia"})
		if !errors.As(err, &denied) || denied.Escalation.IsZero() {
			t.Fatalf("%+v", err)
		}
		if first == nil {
			first = denied
		}
		if denied.Escalation != first.Escalation {
			t.Error("it is told twice")
		}
	}
	if len(notices) != 1 || notices[0].Reason != "permission_denied" || notices[0].Authorization != first.Authorization || string(notices[0].Input) != `{"to":"mia"}` {
		t.Errorf("%+v", notices)
	}
	w.Sound(run.ID())
	w.Config = func(c *runtime.Config) {
		c.Rules = runtime.DefaultRules()
		c.Rules[evidence.PermissionDenied] = runtime.Rule{Answer: runtime.AnswerStop}
		c.Rules[evidence.ClaimUnsupported] = runtime.Rule{Answer: runtime.AnswerEscalate}
	}
	quiet := openAs(t, w.Runtime(tool), "not told")
	var denied *runtime.Denied
	if _, err := runtime.Do(ctx, quiet, "notify", tool, mail{To: "mia"}); !errors.As(err, &denied) || !denied.Escalation.IsZero() {
		t.Errorf("%+v", err)
	}
	// And a claim that nothing supports, where they say so.
	var unsupported *runtime.Unsupported
	lie := &runtime.Result{Step: "notify", Action: "send_email"}
	for range 2 {
		if _, err := quiet.Summarize(ctx, "I told mia.", lie); !errors.As(err, &unsupported) {
			t.Errorf("%v", err)
		}
	}
	told := 0
	for _, p := range w.Records(quiet.ID()) {
		if b, ok := p.Record.Body.(*evidence.Escalation); ok && b.Reason == "claim_unsupported" {
			told++
		}
	}
	if told != 2 { // two claims
		t.Errorf("told %d times", told)
	}
	w.Sound(quiet.ID())
}
