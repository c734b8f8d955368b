package runtime_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

// TestTakeOverWaitsForTheCall: a driver that is taken over may stand right before a
// call. Whoever comes after it, and after that one, does everything else at once, and
// settles that doubt only when the call must be over: nothing happens twice.
func TestTakeOverWaitsForTheCall(t *testing.T) {
	w := runtimetest.New(t)
	var server mailServer
	stands, goOn := make(chan struct{}), make(chan struct{})
	send := server.send(false)
	tool := func(stuck bool) *runtime.ProbedFunc[mail, sent] {
		return runtime.NewFunc(runtime.Spec{Name: "email", Action: "send_email", Timeout: 10 * time.Minute}, func(ctx context.Context, c *runtime.Call, in mail) (sent, error) {
			if stuck {
				close(stands)
				<-goOn
			}
			return send(ctx, c, in)
		}).WithProbe(func(_ context.Context, c *runtime.Call, in mail) (evidence.Status, sent, error) {
			if server.sent[c.Key] > 0 {
				return evidence.StatusSuccess, sent{"msg_" + in.To}, nil
			}
			return evidence.StatusNotRun, sent{}, nil
		})
	}
	stuck, plain := tool(true), tool(false)
	old := open(t, w.Runtime(stuck))
	ended := make(chan error, 1)
	go func() {
		_, err := runtime.Do(ctx, old, "notify", stuck, mail{To: "mia"})
		ended <- err
	}()
	select {
	case <-stands:
	case err := <-ended:
		t.Fatal(err)
	}
	held := func(err error) bool {
		var run *runtime.RunError
		return errors.As(err, &run) && run.Reason == runtime.RunHeld
	}
	own := runtime.Ask{Step: "else", Tool: "own", Action: "do", Input: []byte(`{}`), By: "me"}
	rt := w.Runtime(plain)
	for range 2 { // put away and opened again, it still waits
		second := open(t, rt, runtime.TakeOver())
		if _, err := runtime.Do(ctx, second, "notify", plain, mail{To: "mia"}); !held(err) {
			t.Fatalf("settled while the call may be under way: %v", err)
		}
		if _, err := second.Ask(ctx, own); err != nil {
			t.Errorf("something else: %v", err)
		}
		second.Leave(ctx)
	}
	// The second one is gone; the third learns of the call by its lease.
	w.Clock.Add(5 * time.Minute)
	if _, err := w.Runtime(plain).Open(ctx, old.Key(), runtime.Reopen()); !held(err) {
		t.Errorf("opened: %v", err)
	}
	third := open(t, w.Runtime(plain), runtime.TakeOver())
	if _, err := runtime.Do(ctx, third, "notify", plain, mail{To: "mia"}); !held(err) {
		t.Errorf("settled by the third: %v", err)
	}
	third.Leave(ctx)
	close(goOn)
	var lost *runtime.RunError
	if err := <-ended; !errors.As(err, &lost) || lost.Reason != runtime.RunTaken {
		t.Errorf("the first one: %v", err)
	}
	w.Clock.Add(time.Hour)
	last := open(t, w.Runtime(plain))
	res, err := runtime.Do(ctx, last, "notify", plain, mail{To: "mia"})
	if err != nil || res.Value.MessageID != "msg_mia" || server.effects() != 1 {
		t.Errorf("%+v, %v, %d effects", res, err, server.effects())
	}
	w.Sound(last.ID())
}

// TestKilled: who knows that the driver is dead with its calls waits for nothing.
func TestKilled(t *testing.T) {
	w := runtimetest.New(t)
	var server mailServer
	tool := runtime.NewFunc(mailSpec, server.send(true))
	run := open(t, w.Runtime(tool))
	if _, err := run.Ask(ctx, runtime.Ask{Step: "else", Tool: "own", Action: "do", Input: []byte(`{}`), By: "me"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Runtime(tool).Open(ctx, run.Key(), runtime.Reopen()); err == nil {
		t.Error("opened while another has the lease")
	}
	second := open(t, w.Runtime(tool), runtime.Killed())
	second.Leave(ctx)
	third := open(t, w.Runtime(tool)) // the lease was given back
	third.Leave(ctx)
}
