package handoff_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/ledger"
	"ledgerd/ledger/tlog"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

var ctx = context.Background()

const (
	research = "ledger.example/research"
	analysis = "ledger.example/analysis"
)

// An exchange is two organisations: researchers who hand over, and analysts who
// receive.
type exchange struct {
	*testing.T
	giver, receiver *runtimetest.World
	party           *handoff.Party // the analyst's
	run             *runtime.Run   // the researcher's
	found           *runtime.Result
	fail            error // what the researcher's search comes to; nil: it succeeds
}

type query struct {
	Q string `json:"q"`
}

type finding struct {
	Rows int `json:"rows"`
}

func newExchange(t *testing.T) *exchange {
	x := &exchange{T: t, giver: runtimetest.Named(t, research), receiver: runtimetest.Named(t, analysis)}
	x.party = x.receiver.Party(x.giver)
	return x
}

func (x *exchange) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// tool is what both sides use.
func (x *exchange) tool(name string) runtime.Tool {
	return runtime.NewFunc(runtime.Spec{Name: name, Action: name, Description: name, Idempotent: true},
		func(context.Context, *runtime.Call, query) (finding, error) { return finding{7}, x.fail })
}

// open has the researcher do its search.
func (x *exchange) open(key string, options ...runtime.Option) {
	x.Helper()
	search := x.tool("search")
	var err error
	x.run, err = x.giver.Runtime(search).Open(ctx, key, append([]runtime.Option{runtime.As(runtimetest.Agent), runtime.Task("research", nil)}, options...)...)
	x.must(err)
	x.found, err = x.run.Do(ctx, runtime.Action{Step: "search", Tool: "search", Resource: "db/sales", Input: []byte(`{"q":"sales"}`)})
	if x.fail == nil {
		x.must(err)
	}
}

// offering is what the researcher offers, unless a test changes it.
func (x *exchange) offering() runtime.Offering {
	to := x.party.Receiver()
	o := runtime.Offering{
		To: evidence.Recipient{Origin: to.Origin, Actor: to.Actor, Key: to.Key}, Task: "analyse",
		Scope:    []evidence.ScopeEntry{{Action: "chart", Resource: "report/*"}},
		Artifact: []byte(`{"rows":7}`), Note: "I looked at everything.",
	}
	if x.found != nil {
		o.Evidence = []evidence.ID{x.found.Execution}
	}
	return o
}

// offer makes an offer and returns the bundle about it.
func (x *exchange) offer(o runtime.Offering, heads ...[]byte) []byte {
	x.Helper()
	id, err := x.run.Offer(ctx, o)
	x.must(err)
	return x.bundle(id, heads...)
}

func (x *exchange) bundle(offer evidence.ID, heads ...[]byte) []byte {
	x.Helper()
	var b bytes.Buffer
	x.must(x.giver.Ledger.Export(ctx, &b, ledger.ExportOptions{Offer: offer, Heads: heads}))
	return b.Bytes()
}

// refused wants a refusal for a reason.
func (x *exchange) refused(b []byte, reason handoff.Reason, undecidable bool) *handoff.Refused {
	x.Helper()
	v, err := x.party.Verify(ctx, b, nil)
	r := handoff.AsRefused(err)
	if r == nil || v != nil || r.Reason != reason || r.Undecidable != undecidable {
		x.Fatalf("want a refusal as %s (not decidable: %v), found %v", reason, undecidable, err)
	}
	return r
}

func (x *exchange) verified(b []byte) *handoff.Verified {
	x.Helper()
	v, err := x.party.Verify(ctx, b, nil)
	x.must(err)
	return v
}

// TestResearchToAnalysis is the scenario of a researcher who hands an unverified
// summary to an analyst, which is refused; and then an artifact with its evidence,
// which is accepted, and its scope enforced.
func TestResearchToAnalysis(t *testing.T) {
	x := newExchange(t)
	x.open("q3")

	summary := x.offering()
	summary.Artifact, summary.Evidence, summary.Note = nil, nil, "Sales rose by 12 %. All sources were checked."
	r := x.refused(x.offer(summary), handoff.NoEvidence, false)
	rejection, err := x.party.Reject(ctx, r)
	x.must(err)
	at, err := x.receiver.Ledger.Get(ctx, rejection)
	x.must(err)
	if b := at.Record.Body.(*evidence.HandoffRejected); b.Offer != r.Offer || b.Origin != research || b.Reason != "no_evidence" {
		t.Errorf("rejected as %+v", b)
	}

	v := x.verified(x.offer(x.offering()))
	if string(v.Artifact()) != `{"rows":7}` || string(v.Note()) != "I looked at everything." || v.Giver() != runtimetest.Agent || v.Origin() != research {
		t.Errorf("verified %s from %s of %s", v.Artifact(), v.Giver(), v.Origin())
	}
	chart := x.tool("chart")
	rt := x.receiver.Runtime(chart, x.tool("mail"))
	accepted, err := x.party.Accept(ctx, v, rt.RunID("analysis"))
	x.must(err)
	run, err := rt.Open(ctx, "analysis", runtime.As(runtimetest.Agent), runtime.Task("analyse", nil), runtime.Continues(accepted))
	x.must(err)
	do := func(run *runtime.Run, step, tool, resource string) error {
		_, err := run.Do(ctx, runtime.Action{Step: step, Tool: tool, Resource: resource, Input: []byte(`{"q":"x"}`)})
		return err
	}
	x.must(do(run, "chart", "chart", "report/q3"))
	var denied *runtime.Denied
	for step, resource := range map[string]string{"elsewhere": "customer/1", "nowhere": ""} {
		if err := do(run, step, "chart", resource); !errors.As(err, &denied) || len(denied.Policies) != 1 || denied.Policies[0] != runtime.ScopePolicy {
			t.Errorf("out of scope, on %q: %v", resource, err)
		}
	}
	if err := do(run, "mail", "mail", "report/q3"); !errors.As(err, &denied) {
		t.Errorf("another action: %v", err)
	}
	child, err := rt.Open(ctx, "child", runtime.As(runtimetest.Agent), runtime.Task("analyse", nil), runtime.Child(run))
	x.must(err)
	if err := do(child, "mail", "mail", "report/q3"); !errors.As(err, &denied) {
		t.Errorf("another action, by a child: %v", err)
	}

	// After a restart the run is what it was, and its scope too.
	x.receiver.Clock.Add(time.Hour)
	x.receiver.Config = func(c *runtime.Config) { c.Handoffs = x.party.For }
	rt = x.receiver.Runtime(chart, x.tool("mail"))
	again, err := x.party.Load(ctx, accepted.ID())
	x.must(err)
	for name, option := range map[string]runtime.Option{"by its acceptance": runtime.Continues(again), "by its key": runtime.Reopen()} {
		run, err = rt.Open(ctx, "analysis", runtime.As(runtimetest.Agent), runtime.Task("analyse", nil), option)
		if err != nil {
			t.Fatal(name, err)
		}
		if run.Accepted() == nil || string(run.Accepted().Artifact()) != `{"rows":7}` {
			t.Errorf("%s: it continues %+v", name, run.Accepted())
		}
		if err := do(run, "again", "mail", "report/q3"); !errors.As(err, &denied) {
			t.Errorf("%s: another action: %v", name, err)
		}
		run.Leave(ctx)
	}
	x.receiver.Config = nil
	if _, err := x.receiver.Runtime(chart).Open(ctx, "analysis", runtime.Reopen()); err == nil {
		t.Error("a run was opened without the scope that it has")
	}

	// The receiver's bundle holds both halves.
	x.bothHalves(accepted.Opens())
}

// bothHalves verifies the bundle of a run of the receiver's, with nothing but the
// two trust files.
func (x *exchange) bothHalves(run evidence.RunID) {
	x.Helper()
	var b bytes.Buffer
	x.must(x.receiver.Ledger.Export(ctx, &b, ledger.ExportOptions{Run: run}))
	trust := x.receiver.Party(x.giver, x.receiver).Trust
	r, err := audit.VerifyBundle(&b, trust, audit.Options{Run: run})
	x.must(err)
	h := r.Rule(audit.RuleHandoff)
	if h.Status != audit.Held || len(r.Given) != 1 || r.Given[0].Report.Scope.Origin != research {
		x.Errorf("handoff %s: %v", h.Status, h.Findings)
	}
}

// TestRefused has each reason to refuse.
func TestRefused(t *testing.T) {
	t.Run("malformed", func(t *testing.T) {
		x := newExchange(t)
		x.open("q3")
		x.refused([]byte("Sales rose by 12 %."), handoff.Malformed, false)
		b := x.offer(x.offering())
		x.refused(b[:len(b)-3], handoff.Malformed, false)
		var run bytes.Buffer
		x.must(x.giver.Ledger.Export(ctx, &run, ledger.ExportOptions{Run: x.run.ID()}))
		x.refused(run.Bytes(), handoff.Malformed, false)
	})
	t.Run("too large", func(t *testing.T) {
		x := newExchange(t)
		x.refused(make([]byte, handoff.MaxBundle+1), handoff.Large, false)
	})
	t.Run("untrusted", func(t *testing.T) {
		x := newExchange(t)
		x.open("q3")
		x.party = x.receiver.Party()
		x.refused(x.offer(x.offering()), handoff.Untrusted, true)
		x.party = x.receiver.Party(runtimetest.Named(t, research)) // of the same name
		x.refused(x.offer(x.offering()), handoff.Untrusted, true)
	})
	t.Run("signature", func(t *testing.T) {
		x := newExchange(t)
		x.open("q3")
		b := x.offer(x.offering())
		// Another's registry, pinned: then the key is nobody's.
		x.party.Trust.Ledgers[0].Entry0 = evidence.IDOf([]byte("another"))
		x.refused(b, handoff.Signature, false)
	})
	t.Run("head too old", func(t *testing.T) {
		x := newExchange(t)
		x.open("q3")
		o := x.offering()
		o.For, o.HeadMaxAge = time.Hour, time.Minute
		b := x.offer(o)
		x.verified(b)
		x.receiver.Clock.Add(time.Minute + time.Second)
		x.refused(b, handoff.HeadOld, false)
	})
	t.Run("rule", func(t *testing.T) {
		x := newExchange(t)
		x.open("q3")
		if _, err := x.run.Claim(ctx, "The customers were told.", &runtime.Result{Step: "tell", Action: "tell"}); err != nil {
			t.Fatal(err)
		}
		r := x.refused(x.offer(x.offering()), handoff.Rule, false)
		if r.Report.Rule(audit.RuleClaim).Status != audit.Broken || !strings.Contains(r.Error(), "claim") {
			t.Errorf("%v", r)
		}
	})
	t.Run("rule not decidable", func(t *testing.T) {
		x := newExchange(t)
		x.open("q3")
		_, err := x.run.Ask(ctx, runtime.Ask{Step: "own", Tool: "own", Action: "do", Input: []byte(`{}`), By: "me"})
		x.must(err)
		r := x.refused(x.offer(x.offering()), handoff.Rule, true)
		if r.Report.Rule(audit.RuleOutcome).Status != audit.Undecidable {
			t.Errorf("%v", r)
		}
	})
	t.Run("evidence failed", func(t *testing.T) {
		x := newExchange(t)
		x.fail = errors.New("no such table")
		x.open("q3")
		o := x.offering()
		for _, p := range x.giver.Records(x.run.ID()) {
			if p.Record.Kind == evidence.KindExecution {
				o.Evidence = []evidence.ID{p.ID}
			}
		}
		x.refused(x.offer(o), handoff.BadEvidence, false)
	})
	t.Run("artifact", func(t *testing.T) {
		x := newExchange(t)
		x.open("q3")
		o := x.offering()
		id, err := x.run.Offer(ctx, o)
		x.must(err)
		b := x.bundle(id)
		x.must(second(x.party.Verify(ctx, b, []byte(`{"rows":7}`))))
		if _, err := x.party.Verify(ctx, b, []byte(`{"rows":8}`)); handoff.AsRefused(err) == nil || handoff.AsRefused(err).Reason != handoff.Artifact {
			t.Errorf("another artifact: %v", err)
		}
		// Swapped in the bundle: it is not what the offer commits to.
		i := bytes.LastIndex(b, []byte("eyJyb3dzIjo3fQ"))
		x.refused(bytes.Join([][]byte{b[:i], []byte("eyJyb3dzIjo4fQ"), b[i+14:]}, nil), handoff.Artifact, false)
		o.Artifact, o.Note = nil, "no artifact"
		id2, err := x.run.Offer(ctx, o)
		x.must(err)
		if _, err := x.party.Verify(ctx, x.bundle(id2), []byte(`{"rows":7}`)); handoff.AsRefused(err) == nil || handoff.AsRefused(err).Reason != handoff.Artifact {
			t.Errorf("an artifact where none is offered: %v", err)
		}
		var withheld bytes.Buffer
		x.must(x.giver.Ledger.Export(ctx, &withheld, ledger.ExportOptions{Offer: id, Hide: func(rec *evidence.Record, _ evidence.Commitment) bool {
			return rec.Kind == evidence.KindHandoffOffered
		}}))
		x.refused(withheld.Bytes(), handoff.Artifact, true)
	})
}

// TestRow47AudienceAndExpiry: an offer is for one receiver, for a time.
func TestRow47AudienceAndExpiry(t *testing.T) {
	t.Run("audience", func(t *testing.T) {
		for name, change := range map[string]func(*evidence.Recipient){
			"ledger": func(r *evidence.Recipient) { r.Origin = "ledger.example/others" },
			"actor":  func(r *evidence.Recipient) { r.Actor = "somebody" },
			"key":    func(r *evidence.Recipient) { r.Key[3] ^= 1 },
		} {
			t.Run(name, func(t *testing.T) {
				x := newExchange(t)
				x.open("q3")
				o := x.offering()
				change(&o.To)
				x.refused(x.offer(o), handoff.Audience, false)
			})
		}
	})
	t.Run("expired", func(t *testing.T) {
		x := newExchange(t)
		x.open("q3")
		o := x.offering()
		o.For, o.HeadMaxAge = time.Minute, time.Hour
		b := x.offer(o)
		v := x.verified(b)
		x.receiver.Clock.Add(time.Minute)
		x.verified(b)
		x.receiver.Clock.Add(time.Second)
		x.refused(b, handoff.Expired, false)
		// What was verified in time is accepted in time, too.
		if _, err := x.party.Accept(ctx, v, "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11"); handoff.AsRefused(err) == nil || handoff.AsRefused(err).Reason != handoff.Expired {
			t.Errorf("accepted late: %v", err)
		}
	})
}

// TestRow49ScopeWidened: nobody passes on more than it was given.
func TestRow49ScopeWidened(t *testing.T) {
	x := newExchange(t)
	x.open("q3")
	rt := x.receiver.Runtime(x.tool("chart"))
	accepted, err := x.party.Accept(ctx, x.verified(x.offer(x.offering())), rt.RunID("analysis"))
	x.must(err)
	run, err := rt.Open(ctx, "analysis", runtime.As(runtimetest.Agent), runtime.Task("analyse", nil), runtime.Continues(accepted))
	x.must(err)
	done, err := run.Do(ctx, runtime.Action{Step: "chart", Tool: "chart", Resource: "report/q3", Input: []byte(`{"q":"x"}`)})
	x.must(err)
	// The third organisation trusts both before it.
	third := runtimetest.Named(t, "ledger.example/press")
	next := &exchange{T: t, giver: x.receiver, receiver: third, run: run, found: done}
	next.party = third.Party(x.giver, x.receiver)
	o := next.offering()
	o.Scope = []evidence.ScopeEntry{{Action: "chart", Resource: "*"}}
	if _, err := run.Offer(ctx, o); handoff.AsRefused(err) == nil || handoff.AsRefused(err).Reason != handoff.Scope {
		t.Fatalf("offered wider: %v", err)
	}
	o.Scope = []evidence.ScopeEntry{{Action: "chart", Resource: "report/q3"}}
	b := next.offer(o)
	v := next.verified(b)
	if v.Offer().Parent != accepted.ID() || len(v.Report().Given) != 1 {
		t.Errorf("passed on: %+v", v.Offer())
	}
	next.party.Trust = third.Party(x.receiver).Trust
	next.refused(b, handoff.Rule, true) // whoever trusts the second only
	next.party.Trust = third.Party(x.giver, x.receiver).Trust
	// A runtime that does not hold to it.
	body := *v.Offer()
	body.Scope = []evidence.ScopeEntry{{Action: "chart", Resource: "*"}}
	next.refused(next.bundle(next.forgeLine(run.ID(), &body)), handoff.Scope, false)
}

// TestRow50LeftOut: what is left out of the giver's run is missed, and what another
// run did is no evidence.
func TestRow50LeftOut(t *testing.T) {
	t.Run("a record left out", func(t *testing.T) {
		// The giver's failures: what is left out is missed.
		x := newExchange(t)
		x.open("q3")
		b := x.offer(x.offering())
		lines := bytes.SplitAfter(b, []byte("\n"))
		for i, l := range lines {
			if !bytes.HasPrefix(l, []byte(`{"record"`)) {
				continue
			}
			cut := bytes.Join(append(append([][]byte(nil), lines[:i]...), lines[i+1:]...), nil)
			if _, err := x.party.Verify(ctx, cut, nil); handoff.AsRefused(err) == nil {
				t.Errorf("without line %d: %v", i+1, err)
			}
		}
	})
	t.Run("evidence elsewhere", func(t *testing.T) {
		x := newExchange(t)
		x.open("another")
		elsewhere := x.found.Execution
		x.open("q3")
		o := x.offering()
		o.Evidence = append(o.Evidence, elsewhere)
		x.refused(x.offer(o), handoff.OtherEvidence, false)
	})
}

func second[T any](_ T, err error) error { return err }

// TestRow48Heads: what was accepted from a ledger before holds its tree heads to that.
func TestRow48Heads(t *testing.T) {
	x := newExchange(t)
	x.open("one")
	early := x.offer(x.offering()) // of a smaller tree
	x.open("two")
	first := x.offer(x.offering())
	v := x.verified(first)
	if _, err := x.party.Accept(ctx, v, "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11"); err != nil {
		t.Fatal(err)
	}
	x.refused(early, handoff.HeadOlder, false)

	// A larger tree: the bundle has to show that it begins with what was known.
	x.open("three")
	id, err := x.run.Offer(ctx, x.offering())
	x.must(err)
	x.refused(x.bundle(id), handoff.HeadOther, true)
	known, err := x.party.Known(ctx, research)
	x.must(err)
	if known == nil || known.Note == nil {
		t.Fatalf("known: %+v", known)
	}
	x.verified(x.bundle(id, known.Note))

	// Another history of the same ledger, which signs with the same key.
	fork := *known
	fork.Root[0] ^= 1
	_, err = handoff.Verify(x.bundle(id, known.Note), handoff.Options{Trust: x.party.Trust, To: x.party.Receiver(), Now: x.receiver.Clock.Now(), Known: &fork})
	r := handoff.AsRefused(err)
	if r == nil || r.Reason != handoff.HeadOther || r.Undecidable || r.Proof[0] == nil || r.Proof[1] == nil {
		t.Fatalf("a fork: %v", err)
	}
	rejection, err := x.party.Reject(ctx, r)
	x.must(err)
	at, err := x.receiver.Ledger.Get(ctx, rejection)
	x.must(err)
	proof, err := runtime.Embedded{Ledger: x.receiver.Ledger}.ReadPayload(ctx, at.Record.Body.(*evidence.HandoffRejected).Proof.Commit)
	x.must(err)
	if !bytes.Contains(proof.Data, []byte(research)) {
		t.Errorf("the proof: %s", proof.Data)
	}
	if _, err := x.giver.Ledger.Append(ctx); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	other := runtimetest.Named(t, research)
	if err := other.Ledger.Export(ctx, &b, ledger.ExportOptions{Offer: id, Heads: [][]byte{known.Note}}); err == nil {
		t.Error("another ledger vouched for a tree head that is not its own")
	}
}

// TestRow46AcceptedOnce: of many who accept one offer at once, one wins.
func TestRow46AcceptedOnce(t *testing.T) {
	x := newExchange(t)
	x.open("q3")
	v := x.verified(x.offer(x.offering()))
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []*handoff.Accepted
	for i := range 64 {
		wg.Go(func() {
			a, err := x.party.Accept(ctx, v, evidence.RunID(fmt.Sprintf("run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d%04x", i)))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, a)
			} else if r := handoff.AsRefused(err); r == nil || r.Reason != handoff.Used || r.Stands.IsZero() {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d won", len(won))
	}
	// Who asks again for the same run has the same acceptance.
	again, err := x.party.Accept(ctx, v, won[0].Opens())
	if err != nil || again.ID() != won[0].ID() {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := x.party.Accept(ctx, v, "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9dffff"); handoff.AsRefused(err) == nil || handoff.AsRefused(err).Reason != handoff.Used {
		t.Errorf("for another run: %v", err)
	}
	n := 0
	for _, err := range x.receiver.Ledger.Find(ctx, ledger.Filter{Kind: evidence.KindHandoffAccepted}) {
		x.must(err)
		n++
	}
	if n != 1 {
		t.Errorf("%d acceptances stand", n)
	}
	// It opens one run, and no other.
	rt := x.receiver.Runtime()
	if _, err := rt.Open(ctx, "other", runtime.As(runtimetest.Agent), runtime.Task("analyse", nil), runtime.Continues(won[0])); err == nil {
		t.Error("it opened another run")
	}
}

// TestAcceptedBefore: what was accepted otherwise is refused when it is verified,
// before anything is recorded.
func TestAcceptedBefore(t *testing.T) {
	x := newExchange(t)
	x.open("q3")
	b := x.offer(x.offering())
	v := x.verified(b)
	head := evidence.HeadRef{Size: 1, Root: evidence.Digest{1}}
	x.forgeIn(x.receiver, &evidence.HandoffAccepted{Offer: evidence.ID{9}, Origin: "ledger.example/others", Opens: opens, Head: head}, nil)
	x.verified(b)
	id := x.forgeIn(x.receiver, &evidence.HandoffAccepted{Offer: v.ID(), Origin: "ledger.example/others", Opens: opens, Head: head, Acceptance: evidence.ID{1}}, nil)
	if r := x.refused(b, handoff.Used, false); r.Stands != id {
		t.Errorf("want %s to stand, found %s", id, r.Stands)
	}
}

// TestKnownIsTheLargest: of each other ledger that tree head is known which a look at
// all acceptances gives, in whatever order they came.
func TestKnownIsTheLargest(t *testing.T) {
	x := newExchange(t)
	want := make(map[string]evidence.HeadRef)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range byte(60) {
		of := []string{"ledger.example/a", "ledger.example/ab", research}[r.IntN(3)]
		head := evidence.HeadRef{Size: 1 + r.Int64N(4)*200, Root: evidence.Digest{i + 1}}
		x.forgeIn(x.receiver, &evidence.HandoffAccepted{Offer: evidence.ID{i + 1}, Origin: of, Opens: opens, Head: head}, nil)
		if head.Size >= want[of].Size {
			want[of] = head
		}
		for of, head := range want {
			known, err := x.party.Known(ctx, of)
			if err != nil || known.Size != uint64(head.Size) || known.Root != tlog.Hash(head.Root) {
				t.Fatalf("of %s: want %+v, found %+v, %v", of, head, known, err)
			}
		}
	}
	if known, err := x.party.Known(ctx, "ledger.example/none"); known != nil || err != nil {
		t.Errorf("of a ledger that nothing was accepted from: %+v, %v", known, err)
	}
}

// TestVerifiedForOne: what was verified for one party is nothing to another.
func TestVerifiedForOne(t *testing.T) {
	x := newExchange(t)
	x.open("q3")
	v := x.verified(x.offer(x.offering()))
	other := *x.party
	other.Agent = "somebody"
	for name, try := range map[string]func() error{
		"another agent": func() error { return second(other.Accept(ctx, v, "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11")) },
		"nothing":       func() error { return second(x.party.Accept(ctx, nil, "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11")) },
		"the zero value": func() error {
			return second(x.party.Accept(ctx, new(handoff.Verified), "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11"))
		},
	} {
		if try() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestOfferAgain: the program that is run again from the top makes its offer once.
func TestOfferAgain(t *testing.T) {
	x := newExchange(t)
	x.open("q3")
	first, err := x.run.Offer(ctx, x.offering())
	x.must(err)
	x.giver.Clock.Add(time.Hour)
	x.open("q3")
	again, err := x.run.Offer(ctx, x.offering())
	if err != nil || again != first {
		t.Errorf("%v, %v", again, err)
	}
	o := x.offering()
	o.Artifact = []byte(`{"rows":8}`)
	other, err := x.run.Offer(ctx, o)
	if err != nil || other == first {
		t.Errorf("another artifact: %v, %v", other, err)
	}
}

// forgeLine has the giver's runtime put a record on a run's line without any check.
func (x *exchange) forgeLine(run evidence.RunID, b evidence.Body) evidence.ID {
	x.Helper()
	var prev evidence.ID
	for _, p := range x.giver.Records(run) {
		if p.Record.OnLine() {
			prev = p.ID
		}
	}
	n := x.giver.Ledger.Registry().Number()
	entry, err := evidence.Sign(&evidence.Record{
		Origin: x.giver.Origin, Kind: b.Kind(), Run: run, Prev: prev, Actor: runtimetest.Agent, Time: evidence.TimeOf(x.giver.Clock.Now()), Registry: &n, Body: b,
	}, x.giver.Party().Key)
	x.must(err)
	placed, err := x.giver.Ledger.Append(ctx, entry)
	x.must(err)
	return placed[0].ID
}

// TestLoad: an acceptance is what was accepted, and the run that it opens is no other.
func TestLoad(t *testing.T) {
	x := newExchange(t)
	x.open("one")
	one := x.offer(x.offering())
	v := x.verified(one)
	x.open("two")
	two, err := x.run.Offer(ctx, x.offering())
	x.must(err)
	// The receiver's runtime says that it accepted one, and keeps the other.
	id := x.forgeIn(x.receiver, &evidence.HandoffAccepted{Offer: two, Origin: research, Opens: opens, Head: evidence.HeadRef{Size: 1, Root: evidence.Digest{1}}}, one)
	if a, err := x.party.Load(ctx, id); err == nil {
		t.Errorf("loaded %+v", a)
	}
	if known, err := x.party.Known(ctx, research); err != nil || known.Size != 1 {
		t.Errorf("known: %+v, %v", known, err)
	}
	rt := x.receiver.Runtime()
	plain, err := rt.Open(ctx, "analysis", runtime.As(runtimetest.Agent), runtime.Task("analyse", nil))
	x.must(err)
	plain.Leave(ctx)
	a, err := x.party.Accept(ctx, v, rt.RunID("analysis"))
	if r := handoff.AsRefused(err); r == nil || r.Reason != handoff.HeadOther || !r.Undecidable {
		t.Fatalf("%+v, %v", a, err)
	}
}

// TestContinuesAnother: a run that was opened for itself continues nothing.
func TestContinuesAnother(t *testing.T) {
	x := newExchange(t)
	x.open("one")
	rt := x.receiver.Runtime()
	plain, err := rt.Open(ctx, "analysis", runtime.As(runtimetest.Agent), runtime.Task("analyse", nil))
	x.must(err)
	plain.Leave(ctx)
	a, err := x.party.Accept(ctx, x.verified(x.offer(x.offering())), rt.RunID("analysis"))
	x.must(err)
	var run *runtime.RunError
	if _, err := rt.Open(ctx, "analysis", runtime.As(runtimetest.Agent), runtime.Task("analyse", nil), runtime.Continues(a)); !errors.As(err, &run) || run.Reason != runtime.RunChanged {
		t.Errorf("%v", err)
	}
	// What is known of a ledger is its largest tree, whatever came back later.
	known, err := x.party.Known(ctx, research)
	x.must(err)
	x.forgeIn(x.receiver, &evidence.HandoffAccepted{Offer: evidence.ID{9}, Origin: research, Opens: opens, Head: evidence.HeadRef{Size: 1, Root: evidence.Digest{1}}, Acceptance: evidence.ID{1}}, nil)
	if again, err := x.party.Known(ctx, research); err != nil || again.Size != known.Size {
		t.Errorf("known: %+v, %v", again, err)
	}
}
