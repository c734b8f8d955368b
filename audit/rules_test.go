package audit_test

import (
	"bytes"
	"slices"
	"testing"

	"ledgerd/audit"
	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
)

const goodContract = `{"contract": "v1", "task": "complaint",
	"expects": [
		{"action": "lookup", "input_has": {"order": 7}},
		{"action": "refund", "resource": "order/7", "input": {"amount": 12.50, "order": 7}, "after": ["lookup"]},
		{"action": "send_email", "output_has": {"messageId": "m1"}}],
	"forbids": [{"action": "delete_account"}],
	"only": ["refund", "send_email"]}`

// A scene is a world with one run in which every rule has something to decide,
// and all hold unless mutate breaks one.
type scene struct {
	*audittest.World
	run   *audittest.Run
	claim evidence.Placed
	given []byte // the bundle about what the run continues
}

// withheldBundle is what an acceptance commits to, in worlds that do not look at it.
var withheldBundle = (&evidence.Payload{Media: bundle.Media, Data: []byte("withheld")}).Commitment()

// play writes the scene. mutate sees every record before it is signed.
func play(t testing.TB, mutate func(rec *evidence.Record)) *scene {
	w := audittest.New(t)
	w.Mutate = mutate
	s := &scene{World: w}
	giver := w.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Subject = "ticket-0" })
	offer := giver.Line(&evidence.HandoffOffered{
		To: evidence.Recipient{Origin: w.Origin, Actor: audittest.Agent, Key: w.Key(audittest.Runtime).Public().Thumbprint()}, Task: "complaint",
		Scope:   []evidence.ScopeEntry{{Action: "lookup", Resource: "*"}, {Action: "refund", Resource: "order/*"}, {Action: "send_email", Resource: "*"}},
		Expires: w.Clock + 3_600_000, HeadMaxAge: 60,
	})
	size := len(w.Placed)
	s.given = w.Bundle(audittest.Bundling{Header: bundle.OfferHeader(w.Origin, offer.ID), Indexes: w.RunIndexes(giver.ID)})
	giver.Close(evidence.Completed)
	id := evidence.RunID("run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11")
	accepted := w.Append(&evidence.Record{Actor: audittest.Agent, Body: &evidence.HandoffAccepted{
		Offer: offer.ID, Origin: w.Origin, Opens: id, Head: evidence.HeadRef{Size: int64(size), Root: evidence.Digest(w.Root(size))},
		Bundle: w.CommitAs(bundle.Media, string(s.given)),
	}}, audittest.Runtime)
	r := w.Open(func(rec *evidence.Record, b *evidence.RunOpened) {
		rec.Run, b.Subject, b.Acceptance = id, "ticket-1", accepted.ID
		b.Contract = &evidence.ContractRef{Document: w.Commit(goodContract), DeclaredBy: "operator"}
		b.Budget = evidence.Amounts{"usd_micro": 1000, "tool_calls": 10}
	})
	s.run = r
	looked := r.Do("lookup", `{"order":7,"deep":true}`)
	// An escalated refund, approved by a human of the team.
	asked := r.Authorize("refund", `{"order": 7, "amount": 12.5}`, func(b *evidence.Authorization) {
		b.Resource, b.Effect, b.Team = "order/7", evidence.Escalate, audittest.Team
	})
	approval := r.Beside(audittest.Human, asked.ID, &evidence.Approval{Answer: evidence.Approve, Until: w.Clock + 600_000})
	q := *asked.Record.Body.(*evidence.Authorization)
	q.Effect, q.Team, q.Escalated, q.Approval = evidence.Allow, "", asked.ID, approval.ID
	q.Estimate = evidence.Amounts{"usd_micro": 900}
	allowed := r.Line(&q)
	failed := r.Execute(allowed, evidence.StatusFailure, func(b *evidence.Execution) { b.Class = evidence.ToolUnavailable })
	refund := r.Execute(allowed, evidence.StatusSuccess, func(b *evidence.Execution) {
		b.Attempt, b.Cost = 2, evidence.Amounts{"usd_micro": 900}
	})
	r.Line(&evidence.Checkpoint{Name: "refunded", Sequence: 1, State: w.Commit(`{}`), Covers: []evidence.ID{looked.ID, failed.ID, refund.ID}})
	// An email whose outcome a crash left open; the tool's own word settles it.
	mail := r.Authorize("send_email", `{"to":"mia"}`, func(b *evidence.Authorization) { b.Params = evidence.Object(`{"to":"mia"}`) })
	sent := r.Execute(mail, evidence.StatusUnknown, func(b *evidence.Execution) { b.Class = evidence.ToolTimeout })
	r.Line(&evidence.RunResumed{Reason: "crash", InDoubt: []evidence.ID{sent.ID}})
	out := w.Commit(`{"messageId":"m1","took":3}`)
	word := r.Beside(audittest.Tool, mail.ID, &evidence.Confirmation{Status: evidence.StatusSuccess, Output: &out, Refs: evidence.Object(`{"messageId":"m1"}`)})
	settled := &evidence.Settlement{Settles: sent.ID, By: evidence.ByConfirmation, Answer: word.ID, Finding: evidence.StatusSuccess, Output: &out}
	r.Line(settled)
	s.claim = r.ClaimContract()
	s.verdict(s.claim.ID)
	r.Close(evidence.Completed)
	return s
}

// verdict appends the verdict that the records so far give.
func (s *scene) verdict(claim evidence.ID) {
	s.T.Helper()
	v, err := audit.Judge(s.fold(), claim, "", s)
	if err != nil {
		s.T.Fatal(err)
	}
	doc, err := v.Bytes()
	if err != nil {
		s.T.Fatal(err)
	}
	s.run.Verdict(claim, v.Result, doc)
}

// fold folds the run as its runtime does.
func (s *scene) fold() *audit.Run {
	if s.given == nil {
		return foldRun(s.run, nil)
	}
	o, _, err := audit.VerifyOffer(bytes.NewReader(s.given), s.Trust(), audit.Options{})
	if err != nil {
		s.T.Fatal(err)
	}
	return foldRun(s.run, o)
}

// foldRun folds a run, to which all acceptances of its ledger hand o.
func foldRun(run *audittest.Run, o *audit.Offer) *audit.Run {
	g := audit.NewRegistry(run.Origin, run.Placed[0].ID)
	r := audit.NewRun(g)
	for _, p := range run.Placed {
		u, err := evidence.Parse(p.Entry)
		if err != nil {
			run.T.Fatal(err)
		}
		rec, by, err := g.Check(p.Index, u)
		if err != nil {
			continue
		}
		if rec.Kind.Place() == evidence.Registry {
			_ = g.Apply(p.Index, p.ID, rec)
		}
		if rec.Run == run.ID {
			r.Apply(p.Index, p.ID, rec, by)
		}
		if b, ok := rec.Body.(*evidence.HandoffAccepted); ok {
			r.Hand(p.ID, b, o)
		}
	}
	return r
}

// indexes of the run's bundle: with the offer that it continues.
func (s *scene) indexes() []int {
	at := s.RunIndexes(s.run.ID)
	for i, p := range s.Placed {
		if p.Record != nil && p.Record.Kind == evidence.KindHandoffOffered {
			at = append(at, i)
		}
	}
	slices.Sort(at)
	return slices.Compact(at)
}

func (s *scene) bundling() audittest.Bundling {
	return audittest.Bundling{Header: bundle.RunHeader(s.Origin, s.run.ID), Indexes: s.indexes(), Heads: [][]byte{s.Head(len(s.Placed) - 3), s.Head(len(s.Placed))}}
}

func verify(t testing.TB, b []byte, trust *bundle.Trust, o audit.Options) *audit.Report {
	t.Helper()
	r, err := audit.VerifyBundle(bytes.NewReader(b), trust, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func broken(r *audit.Report) (rules []audit.Rule, reasons []audit.Reason) {
	for _, x := range r.Rules {
		if x.Status == audit.Broken {
			rules = append(rules, x.Rule)
			for _, f := range x.Findings {
				reasons = append(reasons, f.Reason)
			}
		}
	}
	return rules, reasons
}

func dump(t testing.TB, r *audit.Report) {
	t.Helper()
	for _, x := range r.Rules {
		t.Logf("%-12s %-15s %s", x.Rule, x.Status, x.Note)
		for i := range x.Findings {
			t.Logf("    %s %v", &x.Findings[i], x.Findings[i].Indexes)
		}
	}
	for _, x := range r.Asked {
		t.Logf("asked %s: %s: expected %s, found %s", x.Asked, x.Status, x.Expected, x.Found)
	}
}

// TestEverythingHolds: where nothing is wrong, every rule has something to
// decide, and holds.
func TestEverythingHolds(t *testing.T) {
	s := play(t, nil)
	r := verify(t, s.Bundle(s.bundling()), s.Trust(), audit.Options{Run: s.run.ID, Subject: "ticket-1", Contract: []byte(goodContract)})
	for _, x := range r.Rules {
		if x.Status != audit.Held {
			t.Errorf("%s is %s", x.Rule, x.Status)
		}
	}
	if r.ExitCode() != audit.ExitVerified {
		t.Errorf("exit %d", r.ExitCode())
	}
	if len(r.Verdicts) != 2 || r.Verdicts[0].Verdict.Result != evidence.Supported || r.Verdicts[0].Verdict.Contract.Source != evidence.SourceRuntime {
		t.Errorf("verdicts %+v", r.Verdicts)
	}
	if t.Failed() {
		dump(t, r)
	}
}
