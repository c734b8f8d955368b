package checkpoint_test

import (
	"fmt"
	"slices"
	"testing"

	"ledgerd/audit"
	"ledgerd/checkpoint"
	"ledgerd/evidence"
)

// A teller tells a State the records of a run. Nobody signed them: who did is
// what the teller says.
type teller struct {
	states []*checkpoint.State
	told   []told
	prev   evidence.ID
	found  []audit.Finding
}

type told struct {
	placed evidence.Placed
	by     audit.Signer
}

var (
	writer   = audit.Signer{Name: "rt", Role: evidence.RoleRuntime}
	human    = audit.Signer{Name: "mia", Role: evidence.RoleHuman, Teams: []string{"finance"}}
	stranger = audit.Signer{Name: "tom", Role: evidence.RoleHuman, Teams: []string{"legal"}}
	machine  = audit.Signer{Name: "bot", Role: evidence.RoleAgent, Teams: []string{"finance"}}
)

const run = evidence.RunID("run_0197f3c2-7d1e-7a60-8b1c-000000000001")

func newTeller() *teller {
	return &teller{states: []*checkpoint.State{checkpoint.New(nil), checkpoint.New(nil)}}
}

// line tells the next record of the line, whoever signed it.
func (w *teller) line(by audit.Signer, body evidence.Body) evidence.ID {
	id := w.tell(&evidence.Record{Run: run, Prev: w.prev, Body: body}, by)
	if by.Name == writer.Name {
		w.prev = id
	}
	return id
}

// beside tells a record beside the line.
func (w *teller) beside(by audit.Signer, about evidence.ID, body evidence.Body) evidence.ID {
	return w.tell(&evidence.Record{Run: run, About: about, Body: body}, by)
}

func (w *teller) tell(rec *evidence.Record, by audit.Signer) evidence.ID {
	n := uint64(len(w.told) + 1)
	rec.Kind, rec.Actor, rec.Time = rec.Body.Kind(), "a", evidence.Time(n)
	p := evidence.Placed{Index: n, ID: evidence.IDOf(fmt.Appendf(nil, "%d", n)), Record: rec}
	w.told = append(w.told, told{p, by})
	for i, s := range w.states {
		if found := s.Apply(p, by); i == 0 {
			w.found = found
		}
	}
	return p.ID
}

func (w *teller) open() {
	w.line(writer, &evidence.RunOpened{Runtime: writer.Name})
}

// ask tells an authorization of a step.
func (w *teller) ask(step string, effect evidence.Effect, mod func(*evidence.Authorization)) evidence.ID {
	b := &evidence.Authorization{
		Step: step, Action: "pay", Tool: "bank", IdempotencyKey: fmt.Sprint(step, len(w.told)), Effect: effect, Mode: evidence.Enforce, Source: evidence.SourceRuntime,
	}
	if effect == evidence.Escalate {
		b.Team = "finance"
	}
	if mod != nil {
		mod(b)
	}
	return w.line(writer, b)
}

func (w *teller) attempt(auth evidence.ID, n int64, status evidence.Status) evidence.ID {
	b := &evidence.Execution{Authorization: auth, Action: "pay", Tool: "bank", Attempt: n, Status: status, Source: evidence.SourceRuntime}
	if status == evidence.StatusFailure {
		b.Class = evidence.ToolUnavailable
	}
	return w.line(writer, b)
}

// use repeats an escalated authorization with an approval.
func (w *teller) use(step string, asked, approval evidence.ID) evidence.ID {
	var key string
	for _, x := range w.told {
		if x.placed.ID == asked {
			key = x.placed.Record.Body.(*evidence.Authorization).IdempotencyKey
		}
	}
	return w.ask(step, evidence.Allow, func(b *evidence.Authorization) {
		b.Escalated, b.Approval, b.IdempotencyKey = asked, approval, key
	})
}

const later = evidence.Time(1000)

func approve(until evidence.Time) *evidence.Approval {
	return &evidence.Approval{Answer: evidence.Approve, Until: until}
}

// TestPlan has every answer of Plan, each by the records that lead to it.
func TestPlan(t *testing.T) {
	refuse := &evidence.Approval{Answer: evidence.Refuse}
	for _, c := range []struct {
		name string
		tell func(w *teller)
		want checkpoint.Next
	}{
		{"nothing is recorded", func(*teller) {}, checkpoint.Begin},
		{"another step began", func(w *teller) { w.ask("other", evidence.Allow, nil) }, checkpoint.Begin},
		{"denied", func(w *teller) { w.ask("s", evidence.Deny, nil) }, checkpoint.Refused},
		{"denied, and not enforced", func(w *teller) {
			w.ask("s", evidence.Deny, func(b *evidence.Authorization) { b.Mode = evidence.Observe })
		}, checkpoint.Settle},
		{"asked", func(w *teller) { w.ask("s", evidence.Escalate, nil) }, checkpoint.Ask},
		{"refused by a human", func(w *teller) { w.beside(human, w.ask("s", evidence.Escalate, nil), refuse) }, checkpoint.Refused},
		{"refused by a human of another team", func(w *teller) { w.beside(stranger, w.ask("s", evidence.Escalate, nil), refuse) }, checkpoint.Ask},
		{"approved", func(w *teller) { w.beside(human, w.ask("s", evidence.Escalate, nil), approve(later)) }, checkpoint.Use},
		{"approved by a human of another team", func(w *teller) { w.beside(stranger, w.ask("s", evidence.Escalate, nil), approve(later)) }, checkpoint.Ask},
		{"approved by no human", func(w *teller) { w.beside(machine, w.ask("s", evidence.Escalate, nil), approve(later)) }, checkpoint.Ask},
		{"approved once", func(w *teller) { w.beside(human, w.ask("s", evidence.Escalate, nil), approve(later-501)) }, checkpoint.Ask},
		{"approved until now", func(w *teller) { w.beside(human, w.ask("s", evidence.Escalate, nil), approve(later-500)) }, checkpoint.Use},
		{"approved once, and again", func(w *teller) {
			id := w.ask("s", evidence.Escalate, nil)
			w.beside(human, id, approve(2))
			w.beside(human, id, approve(later))
		}, checkpoint.Use},
		{"refused, then approved", func(w *teller) {
			id := w.ask("s", evidence.Escalate, nil)
			w.beside(human, id, refuse)
			w.beside(human, id, approve(later))
		}, checkpoint.Refused},
		{"approved, then refused", func(w *teller) {
			id := w.ask("s", evidence.Escalate, nil)
			w.beside(human, id, approve(later))
			w.beside(human, id, refuse)
		}, checkpoint.Use},
		{"another question was approved", func(w *teller) {
			w.beside(human, w.ask("other", evidence.Escalate, nil), approve(later))
			w.ask("s", evidence.Escalate, nil)
		}, checkpoint.Ask},
		{"approved, and the approval used", func(w *teller) {
			id := w.ask("s", evidence.Escalate, nil)
			w.use("s", id, w.beside(human, id, approve(later)))
		}, checkpoint.Settle},
		{"approved once, and used too late", func(w *teller) {
			id := w.ask("s", evidence.Escalate, nil)
			w.use("s", id, w.beside(human, id, approve(2)))
		}, checkpoint.Refused},
		{"allowed, and not seen executed", func(w *teller) { w.ask("s", evidence.Allow, nil) }, checkpoint.Settle},
		{"succeeded", func(w *teller) { w.attempt(w.ask("s", evidence.Allow, nil), 1, evidence.StatusSuccess) }, checkpoint.Return},
		{"failed", func(w *teller) { w.attempt(w.ask("s", evidence.Allow, nil), 1, evidence.StatusFailure) }, checkpoint.Attempt},
		{"did not run", func(w *teller) { w.attempt(w.ask("s", evidence.Allow, nil), 1, evidence.StatusNotRun) }, checkpoint.Attempt},
		{"unknown", func(w *teller) { w.attempt(w.ask("s", evidence.Allow, nil), 1, evidence.StatusUnknown) }, checkpoint.Settle},
		{"accepted", func(w *teller) { w.attempt(w.ask("s", evidence.Allow, nil), 1, evidence.StatusAccepted) }, checkpoint.Await},
		{"failed, then succeeded", func(w *teller) {
			id := w.ask("s", evidence.Allow, nil)
			w.attempt(id, 1, evidence.StatusFailure)
			w.attempt(id, 2, evidence.StatusSuccess)
		}, checkpoint.Return},
		{"unknown, and found to have happened", func(w *teller) {
			x := w.attempt(w.ask("s", evidence.Allow, nil), 1, evidence.StatusUnknown)
			w.line(writer, &evidence.Settlement{Settles: x, By: evidence.ByProbe, Finding: evidence.StatusSuccess})
		}, checkpoint.Return},
		{"not seen executed, and found not to have run", func(w *teller) {
			id := w.ask("s", evidence.Allow, nil)
			w.line(writer, &evidence.Settlement{Settles: id, By: evidence.ByHuman, Finding: evidence.StatusNotRun})
		}, checkpoint.Attempt},
		{"accepted, and found to have failed", func(w *teller) {
			x := w.attempt(w.ask("s", evidence.Allow, nil), 1, evidence.StatusAccepted)
			w.line(writer, &evidence.Settlement{Settles: x, By: evidence.ByProbe, Finding: evidence.StatusFailure})
		}, checkpoint.Attempt},
		{"failed, and authorized anew", func(w *teller) {
			w.attempt(w.ask("s", evidence.Allow, nil), 1, evidence.StatusFailure)
			w.ask("s", evidence.Allow, nil)
		}, checkpoint.Settle},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTeller()
			w.open()
			c.tell(w)
			if got := w.states[0].Plan("s", later-500); got.Next != c.want {
				t.Errorf("%s comes next, not %s", got.Next, c.want)
			}
		})
	}
}

// TestPlanSaysWhat: the plan comes with the records that it rests on.
func TestPlanSaysWhat(t *testing.T) {
	w := newTeller()
	w.open()
	s := w.states[0]
	asked := w.ask("s", evidence.Escalate, nil)
	if list := s.Waiting(0); len(list) != 1 || list[0].Step != "s" || list[0].Action.Authorization != asked {
		t.Errorf("waiting: %+v", list)
	}
	yes := w.beside(human, asked, approve(later))
	if p := s.Plan("s", 0); p.Approval != yes || p.Answered.Until != later || len(s.Waiting(0)) != 0 || len(s.Waiting(later+1)) != 1 {
		t.Errorf("approved: %+v, waiting %+v", p, s.Waiting(0))
	}
	used := w.use("s", asked, yes)
	if p := s.Plan("s", later+1); p.Doubt != used || p.First.Authorization != asked || p.Count != 2 || p.Attempts != 0 {
		t.Errorf("used: %+v", p)
	}
	failed := w.attempt(used, 1, evidence.StatusFailure)
	if p := s.Plan("s", 0); p.Failure == nil || p.Failure.Class != evidence.ToolUnavailable || p.Attempts != 1 || !p.Doubt.IsZero() {
		t.Errorf("failed: %+v", p)
	}
	w.attempt(used, 2, evidence.StatusNotRun)
	if p := s.Plan("s", 0); p.Failure != nil || p.Attempts != 2 {
		t.Errorf("did not run: %+v", p)
	}
	next := s.Next("half")
	if next.Sequence != 1 || len(next.Covers) != 2 || next.Covers[0] != failed {
		t.Errorf("the first checkpoint: %+v", next)
	}
	if s.Last() != nil || s.Has("half") {
		t.Error("a checkpoint before there is one")
	}
	id := w.line(writer, next)
	if last := s.Last(); last == nil || last.ID != id || last.Name != "half" || last.Sequence != 1 || !s.Has("half") || s.Next("x").Sequence != 2 || len(s.Next("x").Covers) != 0 {
		t.Errorf("after a checkpoint: %+v, then %+v", last, s.Next("x"))
	}
	first := w.line(writer, &evidence.Decision{Step: "d", Model: "m"})
	w.line(writer, &evidence.Decision{Step: "d", Model: "other"})
	if d, ok := s.Decision("d"); !ok || d.ID != first || d.Decision.Model != "m" {
		t.Errorf("the first decision holds: %+v", d)
	}
	told := w.line(writer, &evidence.Escalation{Reason: "why", To: "finance", Concerns: []evidence.ID{failed}})
	if got, ok := s.Escalation(failed); !ok || got != told {
		t.Errorf("escalation: %v", got)
	}
	claim := w.line(writer, &evidence.Claim{})
	if _, ok := s.Verdict(claim); ok || !slices.Equal(s.Claims(), []evidence.ID{claim}) {
		t.Errorf("claims: %v", s.Claims())
	}
	w.line(writer, &evidence.Verdict{Claim: claim, Result: evidence.Supported})
	if v, ok := s.Verdict(claim); !ok || v.Result != evidence.Supported {
		t.Errorf("verdict: %+v", v)
	}
	if !s.Opened() || !slices.Equal(s.Steps(), []string{"s"}) || len(w.found) > 0 {
		t.Errorf("opened %v, steps %v, broken %v", s.Opened(), s.Steps(), w.found)
	}
}

// TestUnsoundRecords: what does not count for the audit is no step either.
func TestUnsoundRecords(t *testing.T) {
	w := newTeller()
	w.ask("s", evidence.Allow, nil) // before run.opened
	if p := w.states[0].Plan("s", 0); p.Next != checkpoint.Begin || len(w.found) == 0 {
		t.Errorf("before run.opened: %s, %v", p.Next, w.found)
	}
	w = newTeller()
	w.open()
	w.line(audit.Signer{Name: "other", Role: evidence.RoleRuntime}, &evidence.Authorization{Step: "s", Effect: evidence.Allow, Mode: evidence.Enforce})
	if p := w.states[0].Plan("s", 0); p.Next != checkpoint.Begin || len(w.found) == 0 {
		t.Errorf("of another writer: %s, %v", p.Next, w.found)
	}
}
