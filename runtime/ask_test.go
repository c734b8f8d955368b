package runtime_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

// own is an action whose tool the program runs itself.
func own(step string) runtime.Ask {
	return runtime.Ask{Step: step, Tool: "crm", Action: "update_crm", Input: []byte(`{"id":7}`), By: "worker-1"}
}

func granted(t *testing.T, run *runtime.Run, a runtime.Ask) *runtime.Grant {
	t.Helper()
	g, err := run.Ask(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func reported(t *testing.T, run *runtime.Run, rep runtime.Report) *runtime.Reported {
	t.Helper()
	r, err := run.Report(ctx, rep)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func kinds(w *runtimetest.World, run *runtime.Run, kind evidence.Kind) int {
	n := 0
	for _, k := range w.Kinds(run.ID()) {
		if k == kind {
			n++
		}
	}
	return n
}

// TestAskAndReport: permission, its question again, a report, the same and another
// one, and the recorded result.
func TestAskAndReport(t *testing.T) {
	w := runtimetest.New(t)
	run := open(t, w.Runtime())
	g := granted(t, run, own("update"))
	if g.Result != nil || g.Attempt != 1 || g.Effect != evidence.Allow || g.Key != string(run.ID())+"/update" {
		t.Fatalf("granted: %+v", g)
	}
	if again := granted(t, run, own("update")); again.Authorization != g.Authorization || again.Attempt != 1 {
		t.Errorf("the same asker: %+v", again)
	}
	a := own("update")
	a.By = "worker-2"
	var doubt *runtime.InDoubt
	if _, err := run.Ask(ctx, a); !errors.As(err, &doubt) || doubt.Doubt != g.Authorization {
		t.Errorf("another asker: %v", err)
	}
	a.By = ""
	if _, err := run.Ask(ctx, a); !errors.As(err, &doubt) {
		t.Errorf("an asker without a name: %v", err)
	}
	took := int64(12)
	rep := runtime.Report{Step: "update", Attempt: 1, Status: evidence.StatusSuccess, Output: []byte(`{"ok":true,"id":"crm-7"}`), Refs: []string{"id"}, TookMS: &took, Cost: evidence.Amounts{"tokens": 5}}
	stands := reported(t, run, rep)
	same := reported(t, run, rep)
	if same.Execution != stands.Execution || !same.Replayed || stands.Replayed {
		t.Errorf("the same report: %+v, %+v", stands, same)
	}
	for name, change := range map[string]func(*runtime.Report){
		"status": func(r *runtime.Report) { r.Status = evidence.StatusAccepted },
		"class":  func(r *runtime.Report) { r.Status, r.Class = evidence.StatusFailure, evidence.ToolFailed },
		"output": func(r *runtime.Report) { r.Output = []byte(`{"ok":true,"id":"crm-8"}`) },
		"cost":   func(r *runtime.Report) { r.Cost = nil },
		"time":   func(r *runtime.Report) { r.TookMS = nil },
		"refs":   func(r *runtime.Report) { r.Refs = nil },
		"error":  func(r *runtime.Report) { r.Error = "no" },
	} {
		other := rep
		change(&other)
		var conflict *runtime.ReportedError
		if _, err := run.Report(ctx, other); !errors.As(err, &conflict) || conflict.Stands != stands.Execution {
			t.Errorf("another %s: %v", name, err)
		}
	}
	a.By = "worker-3"
	if g := granted(t, run, a); g.Result == nil || string(g.Result.Output) != `{"ok":true,"id":"crm-7"}` || g.Result.Source != evidence.SourceReported {
		t.Errorf("the recorded result: %+v", g)
	}
	if n := kinds(w, run, evidence.KindAuthorization) + kinds(w, run, evidence.KindExecution); n != 2 {
		t.Errorf("%d authorizations and executions", n)
	}
	b := w.Records(run.ID())[2].Record.Body.(*evidence.Execution)
	if b.Source != evidence.SourceReported || string(b.Refs) != `{"id":"crm-7"}` {
		t.Errorf("the record: %+v", b)
	}
	w.Sound(run.ID())
}

// TestAskInDoubtAfterRestart: what was permitted to somebody who never reported is
// in doubt in the next process, and a report ends that, whoever gives it.
func TestAskInDoubtAfterRestart(t *testing.T) {
	for _, status := range []evidence.Status{evidence.StatusSuccess, evidence.StatusFailure, evidence.StatusNotRun, evidence.StatusUnknown} {
		t.Run(string(status), func(t *testing.T) {
			w := runtimetest.New(t)
			run := open(t, w.Runtime())
			g := granted(t, run, own("update"))
			run.Leave(ctx)
			run = open(t, w.Runtime())
			// The one who asked lives on, and never heard.
			if again := granted(t, run, own("update")); again.Authorization != g.Authorization {
				t.Errorf("the same asker: %+v", again)
			}
			a := own("update")
			a.By = "worker-2"
			var doubt *runtime.InDoubt
			if _, err := run.Ask(ctx, a); !errors.As(err, &doubt) {
				t.Fatalf("another asker: %v", err)
			}
			if n := kinds(w, run, evidence.KindEscalation); n != 0 {
				t.Errorf("%d humans asked, where the agent can tell", n)
			}
			r := reported(t, run, runtime.Report{Step: "update", Attempt: 1, Status: status})
			if r.Authorization != g.Authorization {
				t.Errorf("%+v", r)
			}
			switch status {
			case evidence.StatusSuccess:
				if g := granted(t, run, a); g.Result == nil {
					t.Errorf("%+v", g)
				}
			case evidence.StatusFailure:
				var failed *runtime.Failed
				if _, err := run.Ask(ctx, a); !errors.As(err, &failed) || failed.Class != evidence.ToolFailed || failed.Execution != r.Execution {
					t.Errorf("%v", err)
				}
			case evidence.StatusNotRun:
				if next := granted(t, run, a); next.Attempt != 2 || next.Authorization == g.Authorization || next.Key == g.Key {
					t.Errorf("another attempt: %+v", next)
				}
				w.Sound(run.ID())
			case evidence.StatusUnknown:
				if r.Escalation.IsZero() {
					t.Error("no human was asked")
				}
				if _, err := run.Ask(ctx, a); !errors.As(err, &doubt) || doubt.Doubt != r.Execution || doubt.Escalation != r.Escalation {
					t.Errorf("%v", err)
				}
				var conflict *runtime.ReportedError
				if _, err := run.Report(ctx, runtime.Report{Step: "update", Attempt: 2, Status: evidence.StatusSuccess}); !errors.As(err, &conflict) {
					t.Errorf("an attempt after an unknown one: %v", err)
				}
				// Who finds out, settles it: with the strength of a report.
				rep := runtime.Report{Step: "update", Attempt: 1, Status: evidence.StatusSuccess, Output: []byte(`1`)}
				settled := reported(t, run, rep)
				if settled.Settlement.IsZero() || settled.Status != evidence.StatusSuccess {
					t.Errorf("settled: %+v", settled)
				}
				if again := reported(t, run, rep); again.Settlement != settled.Settlement || !again.Replayed {
					t.Errorf("settled again: %+v", again)
				}
				rep.Status, rep.Output = evidence.StatusFailure, nil
				if _, err := run.Report(ctx, rep); !errors.As(err, &conflict) || conflict.Stands != settled.Settlement {
					t.Errorf("settled otherwise: %v", err)
				}
				if g := granted(t, run, a); g.Result == nil || g.Result.Source != evidence.SourceReported || string(g.Result.Output) != "1" {
					t.Errorf("%+v", g)
				}
				w.Sound(run.ID())
			}
		})
	}
}

// TestReportAccepted: what will finish later is reported again when it has.
func TestReportAccepted(t *testing.T) {
	w := runtimetest.New(t)
	run := open(t, w.Runtime())
	granted(t, run, own("update"))
	first := reported(t, run, runtime.Report{Step: "update", Attempt: 1, Status: evidence.StatusAccepted, Output: []byte(`"job-1"`)})
	var waiting *runtime.Waiting
	if _, err := run.Ask(ctx, own("update")); !errors.As(err, &waiting) || waiting.Team != "" || waiting.Execution != first.Execution {
		t.Errorf("accepted: %v", err)
	}
	var conflict *runtime.ReportedError
	if _, err := run.Report(ctx, runtime.Report{Step: "update", Attempt: 2, Status: evidence.StatusSuccess}); !errors.As(err, &conflict) {
		t.Errorf("an attempt after one that is under way: %v", err)
	}
	done := runtime.Report{Step: "update", Attempt: 1, Status: evidence.StatusSuccess, Output: []byte(`"done"`)}
	if got := reported(t, run, done); got.Settlement.IsZero() || got.Execution != first.Execution {
		t.Errorf("finished: %+v", got)
	}
	if g := granted(t, run, own("update")); g.Result == nil || string(g.Result.Output) != `"done"` {
		t.Errorf("%+v", g)
	}
	w.Sound(run.ID())
}

// TestAskAgain: a failure that is answered with retry permits another attempt: of
// an idempotent tool under the same key, of another one under a new authorization.
func TestAskAgain(t *testing.T) {
	for _, idempotent := range []bool{true, false} {
		w := runtimetest.New(t)
		run := open(t, w.Runtime())
		a := own("update")
		a.Idempotent = idempotent
		first := granted(t, run, a)
		var g *runtime.Grant
		for n := 1; n <= 5; n++ {
			reported(t, run, runtime.Report{Step: "update", Attempt: n, Status: evidence.StatusFailure, Class: evidence.ToolUnavailable, Error: "down"})
			var err error
			if g, err = run.Ask(ctx, a); n == 5 {
				var failed *runtime.Failed
				if !errors.As(err, &failed) || failed.Attempts != 5 || failed.Class != evidence.ToolUnavailable {
					t.Errorf("after 5 attempts: %v", err)
				}
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if g.Attempt != n+1 || idempotent != (g.Authorization == first.Authorization) || idempotent != (g.Key == first.Key) {
				t.Errorf("idempotent %v, attempt %d: %+v", idempotent, n+1, g)
			}
		}
		w.Sound(run.ID())
	}
	// An idempotent tool is never in doubt: another asker does it again.
	w := runtimetest.New(t)
	run := open(t, w.Runtime())
	a := own("update")
	a.Idempotent = true
	first := granted(t, run, a)
	a.By = ""
	if again := granted(t, run, a); again.Key != first.Key || again.Authorization != first.Authorization {
		t.Errorf("%+v", again)
	}
	// But not where its description, which was permitted, is another one by now.
	a.Description = "does it more thoroughly"
	var doubt *runtime.InDoubt
	if _, err := run.Ask(ctx, a); !errors.As(err, &doubt) {
		t.Errorf("another tool: %v", err)
	}
}

// TestAskIsHeldToItsStep: another action, tool, resource or input is another step.
func TestAskIsHeldToItsStep(t *testing.T) {
	w := runtimetest.New(t)
	run := open(t, w.Runtime(runtime.NewFunc(mailSpec, new(mailServer).send(true))))
	a := own("update")
	a.Resource = "customer/7"
	granted(t, run, a)
	for name, change := range map[string]func(*runtime.Ask){
		"action":   func(a *runtime.Ask) { a.Action = "delete_crm" },
		"tool":     func(a *runtime.Ask) { a.Tool = "crm2" },
		"resource": func(a *runtime.Ask) { a.Resource = "customer/8" },
		"input":    func(a *runtime.Ask) { a.Input = []byte(`{"id":8}`) },
	} {
		b := a
		change(&b)
		var other *runtime.RunError
		if _, err := run.Ask(ctx, b); !errors.As(err, &other) || other.Reason != runtime.RunStepUsed {
			t.Errorf("another %s: %v", name, err)
		}
	}
	var invalid *runtime.InvalidError
	for name, change := range map[string]func(*runtime.Ask){
		"step":     func(a *runtime.Ask) { a.Step = "a b" },
		"action":   func(a *runtime.Ask) { a.Action = "" },
		"asker":    func(a *runtime.Ask) { a.By = "a\x00" },
		"schema":   func(a *runtime.Ask) { a.Schema = []byte(`{`) },
		"estimate": func(a *runtime.Ask) { a.Estimate = evidence.Amounts{"euros": 1} },
	} {
		b := own("other")
		change(&b)
		if _, err := run.Ask(ctx, b); !errors.As(err, &invalid) || invalid.What != name {
			t.Errorf("an unusable %s: %v", name, err)
		}
	}
	// A registered tool is run here, and nobody reports what came of it.
	g := granted(t, run, runtime.Ask{Step: "notify", Tool: "email", Input: []byte(`{"to":"mia"}`)})
	if _, err := run.Report(ctx, runtime.Report{Step: "notify", Attempt: 1, Status: evidence.StatusSuccess}); !errors.As(err, &invalid) {
		t.Errorf("a report about a registered tool: %v", err)
	}
	res, err := run.Do(ctx, runtime.Action{Step: "notify", Tool: "email", Input: []byte(`{"to":"mia"}`)})
	if err != nil || res.Authorization != g.Authorization || res.Source != evidence.SourceRuntime {
		t.Errorf("the permission that was asked for is used: %+v, %v", res, err)
	}
	if _, err := run.Report(ctx, runtime.Report{Step: "nothing", Attempt: 1, Status: evidence.StatusSuccess}); !errors.As(err, &invalid) {
		t.Errorf("a report about no step: %v", err)
	}
	w.Sound(run.ID())
}

// TestReportOfWhatIsNotPermitted: it is refused, with the evidence.
func TestReportOfWhatIsNotPermitted(t *testing.T) {
	w := runtimetest.New(t)
	effect := evidence.Deny
	w.Permit = runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
		p := runtime.Permission{Effect: effect, Mode: evidence.Enforce, Policies: []string{"p"}}
		if effect == evidence.Escalate {
			p.Team = runtimetest.Team
		}
		return p, nil
	})
	run := open(t, w.Runtime())
	var denied *runtime.Denied
	if _, err := run.Ask(ctx, own("no")); !errors.As(err, &denied) {
		t.Fatal(err)
	}
	id := denied.Authorization
	if _, err := run.Report(ctx, runtime.Report{Step: "no", Attempt: 1, Status: evidence.StatusSuccess}); !errors.As(err, &denied) || denied.Authorization != id {
		t.Errorf("denied: %v", err)
	}
	effect = evidence.Escalate
	var waiting *runtime.Waiting
	if _, err := run.Ask(ctx, own("maybe")); !errors.As(err, &waiting) {
		t.Fatal(err)
	}
	if _, err := run.Report(ctx, runtime.Report{Step: "maybe", Attempt: 1, Status: evidence.StatusSuccess}); !errors.As(err, &waiting) {
		t.Errorf("waiting: %v", err)
	}
	w.Approve(run.ID(), waiting.Authorization)
	if _, err := run.Report(ctx, runtime.Report{Step: "maybe", Attempt: 1, Status: evidence.StatusSuccess}); !errors.As(err, &waiting) {
		t.Errorf("approved, and not asked again: %v", err)
	}
	g := granted(t, run, own("maybe"))
	if again := granted(t, run, own("maybe")); again.Authorization != g.Authorization {
		t.Errorf("the approval is used once: %+v, %+v", g, again)
	}
	reported(t, run, runtime.Report{Step: "maybe", Attempt: 1, Status: evidence.StatusSuccess})
	w.Sound(run.ID())
}

// TestAskKeepsTheBudget: what is permitted and not reported yet counts, in this
// process and the next, and what the budget does not permit is recorded once.
func TestAskKeepsTheBudget(t *testing.T) {
	w := runtimetest.New(t)
	budget := runtime.Budget(evidence.Amounts{"usd_micro": 100})
	run := open(t, w.Runtime(), budget)
	cost := func(step string) runtime.Ask {
		a := own(step)
		a.Estimate = evidence.Amounts{"usd_micro": 60}
		return a
	}
	granted(t, run, cost("one"))
	granted(t, run, cost("one")) // is one attempt still
	over := func(step string) evidence.ID {
		t.Helper()
		var failed *runtime.Failed
		if _, err := run.Ask(ctx, cost(step)); !errors.As(err, &failed) || failed.Class != evidence.BudgetExceeded {
			t.Fatalf("beyond the budget: %v", err)
		}
		return failed.Execution
	}
	first := over("two")
	if again := over("two"); again != first || first.IsZero() {
		t.Errorf("told again: %s, then %s", first, again)
	}
	run.Leave(ctx)
	run = open(t, w.Runtime(), budget)
	over("three")
	reported(t, run, runtime.Report{Step: "one", Attempt: 1, Status: evidence.StatusSuccess, Cost: evidence.Amounts{"usd_micro": 10}})
	if g := granted(t, run, cost("two")); g.Attempt != 2 {
		t.Errorf("what was too much is not any more: %+v", g)
	}
	w.Sound(run.ID())
}

// TestAskIsRefusedToRevoked: an agent that was revoked gets no permission.
func TestAskIsRefusedToRevoked(t *testing.T) {
	w := runtimetest.New(t)
	run := open(t, w.Runtime())
	granted(t, run, own("one"))
	w.Revoke(runtimetest.Agent)
	if g, err := run.Ask(ctx, own("one")); err == nil {
		t.Errorf("permitted: %+v", g)
	}
}

// TestDriverIsNamed: a driver that comes back to its own run records nothing; one
// that comes after a dead one takes over at once, and settles nothing that the dead
// one may still be doing.
func TestDriverIsNamed(t *testing.T) {
	w := runtimetest.New(t)
	calls := 0
	tool := runtime.NewFunc(runtime.Spec{Name: "pay", Action: "pay", Timeout: 10 * time.Second, Idempotent: true}, func(context.Context, *runtime.Call, mail) (sent, error) {
		calls++
		return sent{}, nil
	})
	dead := func(name string) bool { return name == "daemon-1" }
	rt := w.Runtime(tool)
	run := open(t, rt, runtime.Driver("daemon-1", dead))
	run.Leave(ctx)
	run = open(t, rt, runtime.Driver("daemon-1", dead))
	run.Leave(ctx)
	run, err := rt.Open(ctx, run.Key(), runtime.Reopen(), runtime.Driver("daemon-1", dead))
	if err != nil {
		t.Fatal(err)
	}
	if n := kinds(w, run, evidence.KindRunResumed); n != 0 {
		t.Errorf("%d times resumed by the driver that had it", n)
	}
	// It authorizes, and is gone in the middle of the call.
	granted(t, run, runtime.Ask{Step: "pay", Tool: "pay", Input: []byte(`{"to":"mia"}`)})
	var held *runtime.RunError
	if _, err := w.Runtime(tool).Open(ctx, run.Key(), runtime.Reopen()); !errors.As(err, &held) || held.Reason != runtime.RunHeld {
		t.Errorf("a driver who knows nobody to be dead: %v", err)
	}
	run, err = w.Runtime(tool).Open(ctx, run.Key(), runtime.Reopen(), runtime.Driver("daemon-2", dead))
	if err != nil || run.Agent() != runtimetest.Agent {
		t.Fatal(err)
	}
	if n := kinds(w, run, evidence.KindRunResumed); n != 1 {
		t.Errorf("%d times resumed", n)
	}
	pay := runtime.Action{Step: "pay", Tool: "pay", Input: []byte(`{"to":"mia"}`)}
	if _, err := run.Do(ctx, pay); !errors.As(err, &held) || held.Reason != runtime.RunHeld || calls != 0 {
		t.Errorf("while its call may be under way: %v, %d calls", err, calls)
	}
	granted(t, run, own("meanwhile"))
	w.Clock.Add(time.Minute)
	if _, err := run.Do(ctx, pay); err != nil || calls != 1 {
		t.Errorf("then: %v, %d calls", err, calls)
	}
	if _, err := rt.Open(ctx, "nobody", runtime.Reopen()); !errors.Is(err, runtime.ErrNoRun) {
		t.Errorf("a run that is not: %v", err)
	}
	if _, err := rt.Look(ctx, "nobody"); !errors.Is(err, runtime.ErrNoRun) {
		t.Errorf("a run that is not: %v", err)
	}
	look, err := rt.Look(ctx, run.Key())
	if err != nil || look.Agent() != runtimetest.Agent {
		t.Fatal(err)
	}
	if _, err := look.Ask(ctx, own("looked")); err == nil {
		t.Error("what is looked at was written to")
	}
	w.Sound(run.ID())
}

// TestSaidTwice: claims, decisions, checkpoints, contexts and ends that are said
// twice are recorded once, and other ones under their names refused.
func TestSaidTwice(t *testing.T) {
	w := runtimetest.New(t)
	w.Config = func(c *runtime.Config) {
		c.Contracts = func(string, []byte) (*runtime.Contract, error) {
			return &runtime.Contract{Document: []byte(`{"contract":"v1","task":"complaint","weakest_source":"reported","expects":[{"action":"update_crm"}],"forbids":[{"action":"drop"}],"only":["update_crm"]}`), DeclaredBy: "operator"}, nil
		}
	}
	run := open(t, w.Runtime())
	for range 2 {
		if _, err := run.Decided(ctx, "triage", "model-1", []byte(`"?"`), runtime.Thought{Choice: []byte(`"crm"`)}); err != nil {
			t.Fatal(err)
		}
		if _, err := run.Save(ctx, "begun", []byte(`{"n":1}`)); err != nil {
			t.Fatal(err)
		}
		if _, err := run.Lay(ctx, runtime.Source{Name: "customer", Data: []byte("help")}); err != nil {
			t.Fatal(err)
		}
	}
	var taken *runtime.NameTakenError
	if _, err := run.Decided(ctx, "triage", "model-1", nil, runtime.Thought{Choice: []byte(`"other"`)}); !errors.As(err, &taken) {
		t.Errorf("another choice: %v", err)
	}
	if _, err := run.Save(ctx, "begun", []byte(`{"n":2}`)); !errors.As(err, &taken) {
		t.Errorf("another state: %v", err)
	}
	if err := run.Complete(ctx); !errors.Is(err, runtime.ErrNoClaim) {
		t.Errorf("completed without a claim: %v", err)
	}
	if _, err := run.ClaimSteps(ctx, "done", nil, "update"); !errors.Is(err, runtime.ErrNoStep) {
		t.Errorf("a claim about a step that is not: %v", err)
	}
	granted(t, run, own("update"))
	var in *runtime.RunError
	if err := run.Complete(ctx); err == nil {
		t.Error("completed in doubt")
	}
	if err := run.End(ctx, evidence.Failed, "why"); !errors.As(err, &in) || in.Reason != runtime.RunInDoubt {
		t.Errorf("failed in doubt: %v", err)
	}
	early, err := run.ClaimSteps(ctx, "done", nil, "update")
	if err != nil || early.Verdict.Result != evidence.InDoubt {
		t.Fatalf("%+v, %v", early, err)
	}
	reported(t, run, runtime.Report{Step: "update", Attempt: 1, Status: evidence.StatusSuccess})
	var un *runtime.Unsupported
	if err := run.Complete(ctx); !errors.As(err, &un) || un.Claim != early.ID {
		t.Errorf("completed on a claim that was in doubt: %v", err)
	}
	claim, err := run.ClaimSteps(ctx, "done", nil, "update")
	if err != nil || claim.Verdict.Err() != nil || claim.ID == early.ID {
		t.Fatalf("%+v, %v", claim, err)
	}
	again, err := run.ClaimSteps(ctx, "done", nil, "update", "update")
	if err != nil || again.ID != claim.ID || again.Verdict.ID != claim.Verdict.ID || string(again.Verdict.Document) != string(claim.Verdict.Document) {
		t.Errorf("said twice: %+v, %v", again, err)
	}
	// What is done after the claim counts at the end.
	granted(t, run, runtime.Ask{Step: "more", Tool: "crm", Action: "drop", Input: []byte(`1`), By: "x"})
	reported(t, run, runtime.Report{Step: "more", Attempt: 1, Status: evidence.StatusSuccess})
	if err := run.Complete(ctx); !errors.As(err, &un) {
		t.Errorf("completed after what the contract forbids: %v", err)
	}
	for range 2 {
		if err := run.End(ctx, evidence.Stopped, "because"); err != nil {
			t.Fatal(err)
		}
	}
	if err := run.Complete(ctx); !errors.As(err, &in) || in.Reason != runtime.RunEnded {
		t.Errorf("ended otherwise: %v", err)
	}
	for kind, want := range map[evidence.Kind]int{
		evidence.KindDecision: 1, evidence.KindCheckpoint: 1, evidence.KindContext: 1, evidence.KindClaim: 2, evidence.KindVerdict: 2, evidence.KindRunClosed: 1,
	} {
		if n := kinds(w, run, kind); n != want {
			t.Errorf("%d of %s, want %d", n, kind, want)
		}
	}
	if r := w.Report(run.ID()); r.Rule(audit.RuleResume).Status == audit.Broken {
		t.Error("resume")
	}
	w.Sound(run.ID())
}
