package handoff_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/ledger"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

const reportContract = `{"contract":"v1","task":"report","expects":[
  {"action":"plan"},
  {"action":"search","runs":"given","resource":"db/north","after":["plan"]},
  {"action":"search","runs":"given","resource":"db/south","after":["plan"]},
  {"action":"compile","after":["search"]}],
  "forbids":[{"action":"mail","runs":"all"}]}`

// a team is a supervisor and those to whom it hands out work, each with its own
// ledger.
type team struct {
	*testing.T
	lead    *runtimetest.World
	party   *handoff.Party // the supervisor's
	workers []*runtimetest.World
	run     *runtime.Run // the supervisor's
	fail    bool         // the workers' searches do
}

func act(name string, fail *bool) runtime.Tool {
	return runtime.NewFunc(runtime.Spec{Name: name, Action: name, Description: name, Idempotent: true},
		func(context.Context, *runtime.Call, query) (finding, error) {
			if fail != nil && *fail {
				return finding{}, errors.New("no such table")
			}
			return finding{7}, nil
		})
}

func newTeam(t *testing.T) *team {
	x := &team{T: t, lead: runtimetest.Named(t, "ledger.example/lead")}
	for _, name := range []string{"ledger.example/north", "ledger.example/south"} {
		x.workers = append(x.workers, runtimetest.Named(t, name))
	}
	x.party = x.lead.Party(x.lead, x.workers[0], x.workers[1])
	x.lead.Config = func(c *runtime.Config) {
		c.Handoffs = x.party.For
		c.Contracts = func(string, []byte) (*runtime.Contract, error) {
			return &runtime.Contract{Document: []byte(reportContract), DeclaredBy: "operator"}, nil
		}
	}
	x.open()
	return x
}

func (x *team) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

func (x *team) open() {
	x.Helper()
	var err error
	x.run, err = x.lead.Runtime(act("plan", nil), act("compile", nil)).Open(ctx, "report", runtime.As(runtimetest.Agent), runtime.Task("report", nil))
	x.must(err)
}

func (x *team) do(run *runtime.Run, action, resource string) *runtime.Result {
	x.Helper()
	r, err := run.Do(ctx, runtime.Action{Step: action, Tool: action, Resource: resource, Input: []byte(`{"q":"sales"}`)})
	if err != nil && !x.fail {
		x.Fatal(err)
	}
	return r
}

// hand offers work of a run, and returns the bundle about the offer.
func (x *team) hand(w *runtimetest.World, run *runtime.Run, to *handoff.Party, scope evidence.ScopeEntry, on ...evidence.ID) []byte {
	x.Helper()
	r := to.Receiver()
	id, err := run.Offer(ctx, runtime.Offering{
		To: evidence.Recipient{Origin: r.Origin, Actor: r.Actor, Key: r.Key}, Task: "search", Scope: []evidence.ScopeEntry{scope}, Evidence: on, Artifact: []byte(`{"rows":7}`),
	})
	x.must(err)
	var b bytes.Buffer
	x.must(w.Ledger.Export(ctx, &b, ledger.ExportOptions{Offer: id}))
	return b.Bytes()
}

// work hands a region to a worker, who searches it and hands back what it found.
func (x *team) work(i int, region string, plan *runtime.Result) []byte {
	x.Helper()
	w := x.workers[i]
	party := w.Party(x.lead, x.workers[0]) // what the supervisor took up before lies in what it hands out
	b := x.hand(x.lead, x.run, party, evidence.ScopeEntry{Action: "search", Resource: region}, plan.Execution)
	v, err := party.Verify(ctx, b, nil)
	x.must(err)
	rt := w.Runtime(act("search", &x.fail))
	a, err := party.Accept(ctx, v, rt.RunID("search"))
	x.must(err)
	run, err := rt.Open(ctx, "search", runtime.As(runtimetest.Agent), runtime.Task("search", nil), runtime.Continues(a))
	x.must(err)
	var on []evidence.ID
	if found := x.do(run, "search", region); found != nil {
		on = append(on, found.Execution)
	}
	return x.hand(w, run, x.party, evidence.ScopeEntry{Action: "search", Resource: region}, on...)
}

// takes has the supervisor take up what came back.
func (x *team) takes(b []byte) *handoff.Accepted {
	x.Helper()
	v, err := x.party.Verify(ctx, b, nil)
	x.must(err)
	a, err := x.party.Accept(ctx, v, x.run.ID())
	x.must(err)
	id, err := x.run.Take(ctx, a)
	x.must(err)
	again, err := x.run.Take(ctx, a)
	if err != nil || again != id {
		x.Errorf("taken up again: %s, %v", again, err)
	}
	return a
}

func (x *team) exported() []byte {
	x.Helper()
	var b bytes.Buffer
	x.must(x.lead.Ledger.Export(ctx, &b, ledger.ExportOptions{Run: x.run.ID()}))
	return b.Bytes()
}

func (x *team) audit() *audit.Report {
	x.Helper()
	r, err := audit.VerifyBundle(bytes.NewReader(x.exported()), x.party.Trust, audit.Options{Run: x.run.ID()})
	x.must(err)
	return r
}

// TestFanOutAndIn: work is handed out to two, what each of them found comes back, and
// the supervisor's claim rests on it; in one bundle, which anybody verifies down to the
// searches.
func TestFanOutAndIn(t *testing.T) {
	x := newTeam(t)
	plan := x.do(x.run, "plan", "")
	one := x.takes(x.work(0, "db/north", plan))
	// A restart in between: what was taken up is known, by whoever opens the run.
	x.lead.Clock.Add(2 * time.Minute)
	x.open()
	two := x.takes(x.work(1, "db/south", plan))
	if got := x.run.Taken(); len(got) != 2 || got[0].ID() != one.ID() || got[1].ID() != two.ID() || x.run.Accepted() != nil {
		t.Fatalf("taken up: %v", got)
	}
	compiled := x.do(x.run, "compile", "report/q3") // in its own right: no scope binds it
	s, err := x.run.Summarize(ctx, "Sales rose, in the north and in the south.", compiled,
		runtime.Given{Action: "search", Resource: "db/north"}, runtime.Given{Action: "search", Resource: "db/south"})
	x.must(err)
	if s.Verdict.Result != evidence.Supported {
		t.Errorf("%s: %v", s.Verdict.Result, s.Verdict.Why())
	}
	x.must(x.run.Close(ctx))

	r := x.audit()
	for _, rule := range []audit.Rule{audit.RuleHandoff, audit.RuleContract, audit.RuleVerdict} {
		if r.Rule(rule).Status != audit.Held {
			t.Errorf("%s: %v", rule, r.Rule(rule).Findings)
		}
	}
	if len(r.Given) != 2 || len(r.Given[0].Report.Given) != 1 || r.Given[0].Report.Given[0].Report.Scope.Origin != "ledger.example/lead" {
		t.Errorf("%d bundles lie in it", len(r.Given))
	}
	last := r.Verdicts[len(r.Verdicts)-1].Verdict
	if last.Result != evidence.Supported || len(last.Given) != 2 || last.Given[0].Result != evidence.Supported {
		t.Errorf("%+v", last)
	}
}

// TestHalfOfIt: who takes up one part of two has one part.
func TestHalfOfIt(t *testing.T) {
	x := newTeam(t)
	x.takes(x.work(0, "db/north", x.do(x.run, "plan", "")))
	compiled := x.do(x.run, "compile", "")
	for _, c := range []struct {
		given runtime.Given
		why   int // what speaks against it: the contract, and the assertion
	}{{runtime.Given{Action: "search", Resource: "db/north"}, 1}, {runtime.Given{Action: "search", Resource: "db/south"}, 2}} {
		claim, err := x.run.Claim(ctx, "The report is done.", compiled, c.given)
		x.must(err)
		if v := claim.Verdict; v.Result != evidence.Unsupported || len(v.Why()) != c.why || claim.Replayed {
			t.Errorf("%s: %s, %q", c.given.Resource, v.Result, v.Why())
		}
	}
}

// TestTakenUpByAnother: what was accepted for one run another does not take up, nor
// one whose runtime could not find it again.
func TestTakenUpByAnother(t *testing.T) {
	x := newTeam(t)
	b := x.work(0, "db/north", x.do(x.run, "plan", ""))
	v, err := x.party.Verify(ctx, b, nil)
	x.must(err)
	a, err := x.party.Accept(ctx, v, x.run.ID())
	x.must(err)
	other, err := x.lead.Runtime().Open(ctx, "other", runtime.As(runtimetest.Agent), runtime.Task("report", nil))
	x.must(err)
	if _, err := other.Take(ctx, a); err == nil {
		t.Error("another run took it up")
	}
	if _, err := other.Context(ctx, runtime.Source{Name: "what-i-heard", Data: a.Artifact(), Evidence: a.ID()}); err != nil || len(other.Taken()) != 0 {
		t.Errorf("a source like any other: %v, %v", other.Taken(), err)
	}
	if _, err := x.run.Take(ctx, nil); err == nil {
		t.Error("nothing was taken up")
	}
	config := x.lead.Config
	x.lead.Config = func(c *runtime.Config) { config(c); c.Handoffs = nil }
	x.run.Leave(ctx)
	x.open()
	if _, err := x.run.Take(ctx, a); err == nil {
		t.Error("taken up by a runtime that could not find it again")
	}
	x.lead.Config = config
	x.run.Leave(ctx)
	x.open()
	// A context that names it is as good.
	if _, err := x.run.Context(ctx, runtime.Source{Name: "north", Data: a.Artifact(), Evidence: a.ID()}); err != nil {
		t.Fatal(err)
	}
	if got := x.run.Taken(); len(got) != 1 || got[0].ID() != a.ID() {
		t.Errorf("taken up: %v", got)
	}
}

// TestScopeOfSeveral: a run that continues a handoff may do what one of those permits
// that it took up, and pass on as much.
func TestScopeOfSeveral(t *testing.T) {
	x := newTeam(t)
	plan := x.do(x.run, "plan", "")
	w := x.workers[0]
	party := w.Party(x.lead)
	w.Config = func(c *runtime.Config) { c.Handoffs = party.For }
	rt := w.Runtime(act("search", nil))
	accept := func(region string, heads ...[]byte) *handoff.Accepted {
		r := party.Receiver()
		id, err := x.run.Offer(ctx, runtime.Offering{
			To: evidence.Recipient{Origin: r.Origin, Actor: r.Actor, Key: r.Key}, Task: "search",
			Scope: []evidence.ScopeEntry{{Action: "search", Resource: region}}, Evidence: []evidence.ID{plan.Execution},
		})
		x.must(err)
		var b bytes.Buffer
		x.must(x.lead.Ledger.Export(ctx, &b, ledger.ExportOptions{Offer: id, Heads: heads}))
		v, err := party.Verify(ctx, b.Bytes(), nil)
		x.must(err)
		a, err := party.Accept(ctx, v, rt.RunID("search"))
		x.must(err)
		return a
	}
	run, err := rt.Open(ctx, "search", runtime.As(runtimetest.Agent), runtime.Task("search", nil), runtime.Continues(accept("db/north")))
	x.must(err)
	try := func(step, region string) error {
		_, err := run.Do(ctx, runtime.Action{Step: step, Tool: "search", Resource: region, Input: []byte(`{"q":"x"}`)})
		return err
	}
	offer := func(region string) error {
		r := x.party.Receiver()
		_, err := run.Offer(ctx, runtime.Offering{To: evidence.Recipient{Origin: r.Origin, Actor: r.Actor, Key: r.Key}, Task: "t", Scope: []evidence.ScopeEntry{{Action: "search", Resource: region}}})
		return err
	}
	var denied *runtime.Denied
	if err := try("early", "db/south"); !errors.As(err, &denied) {
		t.Errorf("before it was given: %v", err)
	}
	if err := offer("db/south"); handoff.AsRefused(err) == nil {
		t.Errorf("passed on before it was given: %v", err)
	}
	known, err := party.Known(ctx, x.lead.Origin)
	x.must(err)
	if _, err := run.Take(ctx, accept("db/south", known.Note)); err != nil {
		t.Fatal(err)
	}
	x.must(try("north", "db/north"))
	x.must(try("south", "db/south"))
	x.must(offer("db/south"))
	if err := try("west", "db/west"); !errors.As(err, &denied) {
		t.Errorf("given by nobody: %v", err)
	}
	var b bytes.Buffer
	x.must(w.Ledger.Export(ctx, &b, ledger.ExportOptions{Run: run.ID()}))
	r, err := audit.VerifyBundle(&b, w.Party(x.lead, w).Trust, audit.Options{Run: run.ID()})
	x.must(err)
	if h := r.Rule(audit.RuleHandoff); h.Status != audit.Held || !slices.ContainsFunc(r.Given, func(g *audit.Given) bool { return g.Report.Scope.Origin == x.lead.Origin }) {
		t.Errorf("handoff %s: %v", h.Status, h.Findings)
	}
}

// TestClaimedAgain: a claim that was said before something was taken up is another one
// after.
func TestClaimedAgain(t *testing.T) {
	x := newTeam(t)
	b := x.work(0, "db/north", x.do(x.run, "plan", ""))
	given := []runtime.Given{{Action: "search", Resource: "db/north"}}
	say := func() *runtime.Claim {
		t.Helper()
		c, err := x.run.ClaimSteps(ctx, "The north was searched.", given, "plan")
		x.must(err)
		return c
	}
	first := say()
	if again := say(); again.ID != first.ID || !again.Replayed {
		t.Errorf("with nothing since it is %s, and was %s", again.ID, first.ID)
	}
	x.takes(b)
	if later := say(); later.ID == first.ID || len(later.Verdict.Why()) >= len(first.Verdict.Why()) {
		t.Errorf("after the handoff it is %s: %q, and was %q", later.ID, later.Verdict.Why(), first.Verdict.Why())
	}
}

// TestTakenUpInTheDark: a run whose runtime cannot say any more what it rests on says
// nothing more.
func TestTakenUpInTheDark(t *testing.T) {
	x := newTeam(t)
	b := x.work(0, "db/north", x.do(x.run, "plan", ""))
	v, err := x.party.Verify(ctx, b, nil)
	x.must(err)
	a, err := x.party.Accept(ctx, v, x.run.ID())
	x.must(err)
	x.party.Trust = x.lead.Party().Trust
	x.run.Leave(ctx)
	x.open() // with a party that trusts nobody
	if _, err := x.run.Context(ctx, runtime.Source{Name: "north", Evidence: a.ID()}); err == nil {
		t.Fatal("it was taken up, whatever it is")
	}
	if c, err := x.run.Claim(ctx, "Done."); err == nil {
		t.Errorf("a claim on unknown grounds: %+v", c)
	}
}
