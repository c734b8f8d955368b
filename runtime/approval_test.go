package runtime_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

// asks escalates everything to the human's team; where an approval is used, then
// runs first.
func asks(then func()) runtime.Permitter {
	return runtime.PermitterFunc(func(_ context.Context, r *runtime.PermissionRequest) (runtime.Permission, error) {
		if r.Approved && then != nil {
			then()
		}
		return runtime.Permission{Effect: evidence.Escalate, Mode: evidence.Enforce, Policies: []string{"ask"}, Team: runtimetest.Team}, nil
	})
}

// TestApprovalExpiresDuringTheCheck: an approval that holds when a step looks at
// it, and no more when its use would be recorded, permits nothing.
func TestApprovalExpiresDuringTheCheck(t *testing.T) {
	w := runtimetest.New(t)
	slow := 2 * time.Hour
	w.Permit = asks(func() { w.Clock.Add(slow) })
	var server mailServer
	tool := runtime.NewFunc(mailSpec, server.send(true))
	run := open(t, w.Runtime(tool))
	var waiting *runtime.Waiting
	if _, err := runtime.Do(ctx, run, "notify", tool, mail{To: "mia"}); !errors.As(err, &waiting) {
		t.Fatal(err)
	}
	w.Approve(run.ID(), waiting.Authorization)
	if _, err := runtime.Do(ctx, run, "notify", tool, mail{To: "mia"}); !errors.As(err, &waiting) {
		t.Errorf("want it to wait for another approval, found %v", err)
	}
	if server.calls != 0 {
		t.Error("the tool was called under an approval that had expired")
	}
	w.Sound(run.ID())
	slow = 0
	w.Approve(run.ID(), waiting.Authorization)
	if _, err := runtime.Do(ctx, run, "notify", tool, mail{To: "mia"}); err != nil || server.calls != 1 {
		t.Errorf("approved anew: %v, %d calls", err, server.calls)
	}
	w.Sound(run.ID())
}

// TestApprovedMeanwhile: an approval that arrives while the run goes on writing
// joins its line where it is used, and keeps nobody from writing.
func TestApprovedMeanwhile(t *testing.T) {
	w := runtimetest.New(t)
	free := w.Permit
	ask := asks(nil)
	w.Permit = runtime.PermitterFunc(func(ctx context.Context, r *runtime.PermissionRequest) (runtime.Permission, error) {
		if r.Step == "asked" {
			return ask.Permit(ctx, r)
		}
		return free.Permit(ctx, r)
	})
	var server mailServer
	tool := runtime.NewFunc(mailSpec, server.send(true))
	run := open(t, w.Runtime(tool))
	var waiting *runtime.Waiting
	if _, err := runtime.Do(ctx, run, "asked", tool, mail{To: "mia"}); !errors.As(err, &waiting) {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if _, err := run.Context(ctx, runtime.Source{Name: "note", Data: []byte{byte(i)}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() { w.Approve(run.ID(), waiting.Authorization) })
	for range 10 {
		wg.Go(func() {
			if _, err := runtime.Do(ctx, run, "asked", tool, mail{To: "mia"}); err != nil && !errors.As(err, new(*runtime.Waiting)) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	res, err := runtime.Do(ctx, run, "asked", tool, mail{To: "mia"})
	if err != nil || res.Value.MessageID != "msg_mia" || server.effects() != 1 {
		t.Errorf("%+v, %v, %d effects", res, err, server.effects())
	}
	uses := 0
	for _, p := range w.Records(run.ID()) {
		if b, ok := p.Record.Body.(*evidence.Authorization); ok && b.Escalated == waiting.Authorization {
			uses++
		}
	}
	if uses != 1 {
		t.Errorf("the approval was used %d times", uses)
	}
	w.Sound(run.ID())
}

// TestBudgetSideBySide: steps side by side spend no more than the budget allows,
// however late each one's cost is known: what an attempt may cost is set aside
// before it is made.
func TestBudgetSideBySide(t *testing.T) {
	const limit, estimate, steps = 1000, 150, 16
	w := runtimetest.New(t)
	spec := mailSpec
	spec.Estimate = evidence.Amounts{"usd_micro": estimate}
	var mu sync.Mutex
	spent, refused := int64(0), 0
	tool := &costly{Func: runtime.NewFunc(spec, func(context.Context, *runtime.Call, mail) (sent, error) { return sent{"msg"}, nil }), cost: func() int64 {
		mu.Lock()
		defer mu.Unlock()
		spent += estimate
		return estimate
	}}
	run := open(t, w.Runtime(tool), runtime.Budget(evidence.Amounts{"usd_micro": limit}))
	var wg sync.WaitGroup
	for i := range steps {
		wg.Go(func() {
			_, err := run.Do(ctx, runtime.Action{Step: "step-" + string(rune('a'+i)), Tool: "email", Input: []byte(`{"to":"mia"}`)})
			var failed *runtime.Failed
			switch {
			case err == nil:
			case errors.As(err, &failed) && failed.Class == evidence.BudgetExceeded:
				mu.Lock()
				refused++
				mu.Unlock()
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if want := int64(limit / estimate * estimate); spent != want || refused != steps-limit/estimate {
		t.Errorf("spent %d of %d with %d refused, want %d", spent, limit, refused, want)
	}
	w.Sound(run.ID())
}

// costly adds what a call did cost.
type costly struct {
	*runtime.Func[mail, sent]
	cost func() int64
}

func (c *costly) Call(ctx context.Context, call *runtime.Call) (*runtime.Output, error) {
	out, err := c.Func.Call(ctx, call)
	if err == nil {
		out.Cost = evidence.Amounts{"usd_micro": c.cost()}
	}
	return out, err
}
