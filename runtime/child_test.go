package runtime_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

func openAs(t *testing.T, rt *runtime.Runtime, key string, options ...runtime.Option) *runtime.Run {
	t.Helper()
	run, err := rt.Open(ctx, key, append([]runtime.Option{runtime.As(runtimetest.Agent), runtime.Task("complaint", nil)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// auditLog folds the whole log, where budgets of parents meet what children spend.
func auditLog(w *runtimetest.World) {
	w.Helper()
	trust, err := w.Ledger.Trust()
	if err != nil {
		w.Fatal(err)
	}
	a := audit.New(trust, runtimetest.Origin, nil, audit.Options{})
	for p, err := range w.Ledger.Records(ctx, 0, w.Ledger.Head().Size) {
		if err != nil {
			w.Fatal(err)
		}
		a.Add(p.Index, p.Entry)
	}
	for _, r := range a.Report().Rules {
		for _, f := range r.Findings {
			if r.Status == audit.Broken {
				w.Errorf("the audit of the log: %s", f.String())
			}
		}
	}
}

func exceeded(err error) bool {
	var failed *runtime.Failed
	return errors.As(err, &failed) && failed.Class == evidence.BudgetExceeded
}

// What children and their children spend counts for the parent, also after a
// restart, and however many spend at once.
func TestBudgetOverChildren(t *testing.T) {
	w := runtimetest.New(t)
	var server mailServer
	tool := runtime.NewFunc(mailSpec, server.send(true))
	rt := w.Runtime(tool)
	do := func(run *runtime.Run, step string) error {
		_, err := runtime.Do(ctx, run, step, tool, mail{To: "mia"})
		return err
	}
	limit := runtime.Budget(evidence.Amounts{"tool_calls": 4})
	parent := openAs(t, rt, "parent", limit)
	child := openAs(t, rt, "child", runtime.Child(parent))
	grandchild := openAs(t, rt, "grandchild", runtime.Child(child))
	for i, run := range []*runtime.Run{parent, child, grandchild} {
		if err := do(run, "one"); err != nil {
			t.Fatal(i, err)
		}
	}
	// The process dies; the next one finds what was spent.
	w.Clock.Add(time.Hour)
	rt = w.Runtime(tool)
	parent = openAs(t, rt, "parent", limit)
	child = openAs(t, rt, "child", runtime.Child(parent))
	if err := do(child, "one"); err != nil {
		t.Error("replayed:", err)
	}
	if err := do(child, "two"); err != nil {
		t.Error("the fourth call of four:", err)
	}
	if err := do(parent, "two"); !exceeded(err) || server.calls != 4 {
		t.Errorf("the fifth call of four: %v, %d calls", err, server.calls)
	}
	if err := do(openAs(t, rt, "another child", runtime.Child(parent)), "one"); !exceeded(err) || server.calls != 4 {
		t.Errorf("the fifth call of four, by a new child: %v, %d calls", err, server.calls)
	}
	auditLog(w)

	server.calls = 0
	many := openAs(t, rt, "many", runtime.Budget(evidence.Amounts{"tool_calls": 5}))
	var wg sync.WaitGroup
	for i := range 8 {
		run := openAs(t, rt, fmt.Sprint("child of many ", i), runtime.Child(many))
		wg.Go(func() {
			for k := range 3 {
				if err := do(run, fmt.Sprint("step-", k)); err != nil && !exceeded(err) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if server.calls != 5 {
		t.Errorf("%d calls, want 5", server.calls)
	}
	auditLog(w)
}

// A child is resumed as what it was opened as, and a run is not its own child.
func TestChildOfWhom(t *testing.T) {
	w := runtimetest.New(t)
	rt := w.Runtime()
	parent, other := openAs(t, rt, "parent"), openAs(t, rt, "other")
	child := openAs(t, rt, "child", runtime.Child(parent))
	w.Clock.Add(time.Hour)
	as := []runtime.Option{runtime.As(runtimetest.Agent), runtime.Task("complaint", nil)}
	for name, options := range map[string][]runtime.Option{"no run": nil, "another run": {runtime.Child(other)}} {
		var e *runtime.RunError
		if _, err := rt.Open(ctx, "child", append(options, as...)...); !errors.As(err, &e) || e.Reason != runtime.RunChanged {
			t.Errorf("as a child of %s: %v", name, err)
		}
	}
	for _, of := range []*runtime.Run{child, parent} {
		if _, err := rt.Open(ctx, "parent", append(as, runtime.Child(of))...); err == nil {
			t.Errorf("a run is its own child's child")
		}
	}
	if _, err := w.Runtime().Open(ctx, "child", append(as, runtime.Child(parent))...); err == nil {
		t.Error("a child in another process than its parent")
	}
	if _, err := rt.Open(ctx, "child", append(as, runtime.Child(parent))...); err != nil {
		t.Error(err)
	}
	w.Sound(child.ID())
	auditLog(w)
}

// Who has the parent decides what is spent: a child's driver whose parent was
// taken over calls nothing any more.
func TestChildOfAParentThatWasTaken(t *testing.T) {
	w := runtimetest.New(t)
	var server mailServer
	tool := runtime.NewFunc(mailSpec, server.send(true))
	rt := w.Runtime(tool)
	parent := openAs(t, rt, "parent")
	child := openAs(t, rt, "child", runtime.Child(parent))
	if err := parent.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := runtime.Do(ctx, child, "one", tool, mail{To: "mia"}); err != nil {
		t.Error("nobody else has the parent:", err)
	}
	w.Clock.Add(time.Hour)
	openAs(t, w.Runtime(tool), "parent")
	_, err := runtime.Do(ctx, child, "two", tool, mail{To: "mia"})
	var e *runtime.RunError
	if !errors.As(err, &e) || e.Reason != runtime.RunHeld || server.calls != 1 {
		t.Errorf("%v after %d calls", err, server.calls)
	}
}

// Nor is anything permitted to a child whose parent was taken, for others to do.
func TestAskOfAChildWhoseParentWasTaken(t *testing.T) {
	w := runtimetest.New(t)
	rt := w.Runtime()
	parent := openAs(t, rt, "parent")
	child := openAs(t, rt, "child", runtime.Child(parent))
	ask := func(step string) error {
		_, err := child.Ask(ctx, runtime.Ask{Step: step, Tool: "own", Action: "do", Input: []byte(`{}`), By: "me"})
		return err
	}
	if err := ask("one"); err != nil {
		t.Fatal(err)
	}
	w.Clock.Add(time.Hour)
	openAs(t, w.Runtime(), "parent")
	var e *runtime.RunError
	if err := ask("two"); !errors.As(err, &e) || e.Reason != runtime.RunHeld {
		t.Errorf("%v", err)
	}
}

// What a child may yet report is set aside in its parent's budget: once, whoever
// opened the parent or the child again meanwhile.
func TestBudgetOverWhatChildrenAsked(t *testing.T) {
	w := runtimetest.New(t)
	rt := w.Runtime()
	limit := runtime.Budget(evidence.Amounts{"tool_calls": 3})
	ask := func(run *runtime.Run, step string) error {
		_, err := run.Ask(ctx, runtime.Ask{Step: step, Tool: "own", Action: "do", Input: []byte(`{}`), By: "me"})
		return err
	}
	parent := openAs(t, rt, "parent", limit)
	child := openAs(t, rt, "child", runtime.Child(parent))
	if err := ask(child, "asked"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		child.Leave(ctx)
		child = openAs(t, rt, "child", runtime.Child(parent))
	}
	if err := ask(parent, "one"); err != nil {
		t.Error("the second call of three:", err)
	}
	// The process dies; of the next one's runs only the parent is opened.
	w.Clock.Add(time.Hour)
	rt = w.Runtime()
	parent = openAs(t, rt, "parent", limit)
	if err := ask(parent, "two"); err != nil {
		t.Error("the third call of three:", err)
	}
	if err := ask(parent, "three"); !exceeded(err) {
		t.Errorf("the fourth call of three, one of which the child may be making: %v", err)
	}
	child = openAs(t, rt, "child", runtime.Child(parent))
	if _, err := child.Report(ctx, runtime.Report{Step: "asked", Attempt: 1, Status: evidence.StatusNotRun}); err != nil {
		t.Fatal(err)
	}
	if err := ask(parent, "four"); err != nil {
		t.Error("the third call of three, as the child's was none:", err)
	}
	if err := ask(child, "five"); !exceeded(err) {
		t.Errorf("the fourth call of three: %v", err)
	}
	auditLog(w)
}

// The ledger counts attempts and tool calls, whatever a record says that they cost,
// while a run is driven as when it is read back.
func TestCostsAreCountedAsTheAuditDoes(t *testing.T) {
	w := runtimetest.New(t)
	limit := runtime.Budget(evidence.Amounts{"tool_calls": 3, "attempts": 3})
	run := openAs(t, w.Runtime(), "run", limit)
	did := func(step string, status evidence.Status) {
		t.Helper()
		g, err := run.Ask(ctx, runtime.Ask{Step: step, Tool: "own", Action: "do", Input: []byte(`{}`), By: "me"})
		if err != nil {
			t.Fatalf("step %s: %v", step, err)
		}
		_, err = run.Report(ctx, runtime.Report{Step: step, Attempt: g.Attempt, Status: status, Cost: evidence.Amounts{"tool_calls": 9, "attempts": 9}})
		if err != nil {
			t.Fatal(err)
		}
	}
	did("not-run", evidence.StatusNotRun)
	did("one", evidence.StatusSuccess)
	w.Clock.Add(time.Hour)
	run = openAs(t, w.Runtime(), "run", limit)
	did("two", evidence.StatusSuccess)
	did("three", evidence.StatusSuccess)
	if _, err := run.Ask(ctx, runtime.Ask{Step: "four", Tool: "own", Action: "do", Input: []byte(`{}`), By: "me"}); !exceeded(err) {
		t.Errorf("the fourth call of three: %v", err)
	}
	w.Sound(run.ID())
	auditLog(w)
}

// A claim that is replayed has the verdict that it had, with its record and why.
func TestReplayedClaimSaysWhy(t *testing.T) {
	w := runtimetest.New(t)
	lie := &runtime.Result{Step: "notify", Action: "send_email"}
	claim := func() *runtime.Claim {
		t.Helper()
		w.Clock.Add(time.Hour)
		c, err := openAs(t, w.Runtime(), "run").Claim(ctx, "I told mia.", lie)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, again := claim(), claim()
	var a, b *runtime.Unsupported
	if !errors.As(first.Verdict.Err(), &a) || !errors.As(again.Verdict.Err(), &b) || !again.Replayed {
		t.Fatalf("%+v, %+v", first, again)
	}
	if a.Verdict.IsZero() || a.Verdict != b.Verdict || len(a.Why) == 0 || fmt.Sprint(a.Why) != fmt.Sprint(b.Why) {
		t.Errorf("first %+v, replayed %+v", a, b)
	}
}
