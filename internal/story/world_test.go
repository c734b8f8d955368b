package story

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"ledgerd/audit"
	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
)

var update = flag.Bool("update", false, "write the golden texts again")

// golden compares text with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: not what was told before; look at the difference, and write it again with -update. Found:\n%s", path, got)
	}
}

// evil is text that a terminal, or a browser, would obey.
const evil = "\x1b]8;;https://evil.example\x1b\\ok\u202e\U000e0041</pre><script>alert(1)</script><img src=x onerror=alert(2)>\r\n'\""

// A scene is a file and the trust under which it is told.
type scene struct {
	file  []byte
	trust *bundle.Trust
	world *audittest.World // of the outer bundle
	run   *audittest.Run
}

func (s *scene) read(t *testing.T) *Reading {
	t.Helper()
	x, err := ReadBundle(bytes.NewReader(s.file), s.trust, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// A fixed instant and its members.
func ref[T any](v T) *T { return &v }

const richContract = `{"contract":"v1","task":"complaint","weakest_source":"runtime","expects":[
{"action":"refund","input_has":{"order":7}},{"action":"notify"},{"action":"close_ticket"}],
"forbids":[{"action":"delete_customer"}],"only":["refund","notify","close_ticket","delete_customer"]}`

// rich is a run in which everything that there is happens: every kind of record,
// handed over twice, with texts by words(name).
func rich(t *testing.T, words func(name string) string) *scene {
	w := audittest.New(t)
	giver, first := audittest.Named(t, "giver.example/log"), audittest.Named(t, "first.example/log")
	text := func(w *audittest.World, name string) evidence.Commitment {
		return w.CommitAs("text/plain", words(name))
	}
	object := func(name string) evidence.Object {
		v, err := jsonText(words(name))
		if err != nil {
			t.Fatal(err)
		}
		return evidence.Object(`{"order":7,"note":` + v + `}`)
	}

	// The first hands over to the giver, who hands over to the run that is told.
	start := first.Open(func(_ *evidence.Record, b *evidence.RunOpened) { b.Intent = ref(text(first, "the first intent")) })
	start.Do("inspect", `{"order":7}`)
	start.Line(&evidence.Context{Sources: []evidence.ContextSource{{Name: "mail", Content: text(first, "a mail")}}})
	firstOffer := offerTo(start, giver, "inspect-further", first.CommitAs("text/plain", words("the first note")))
	passed, acceptedFirst := take(giver, start, firstOffer)
	looked := passed.Do("lookup", `{"order":7}`)
	passed.Claim(evidence.Assertion{Kind: evidence.AssertAction, Action: "lookup"})
	offer := offerTo(passed, w, "refund", giver.CommitAs("text/plain", words("the note")), func(b *evidence.HandoffOffered) {
		b.Artifact, b.Evidence, b.Parent = ref(giver.Commit(`{"parcel":17}`)), []evidence.ID{looked.ID}, acceptedFirst
	})
	run, _ := take(w, passed, offer, func(b *evidence.RunOpened) {
		b.Contract = &evidence.ContractRef{Document: w.Commit(richContract), DeclaredBy: "operator"}
		b.Intent, b.Input = ref(text(w, "the intent")), ref(w.Commit(`{"order":7}`))
		b.Budget = evidence.Amounts{"usd_micro": 5_000_000, "tool_calls": 20}
	})

	context := run.Line(&evidence.Context{Sources: []evidence.ContextSource{
		{Name: "system", Content: text(w, "a system text")}, {Name: "order", Content: w.Commit(`{"order":7}`), Evidence: run.Opened.ID},
	}})
	decision := run.Line(&evidence.Decision{
		Step: "decide", Model: "model-3", Question: ref(text(w, "a question")), Choice: w.Commit(`"refund"`), Rationale: ref(text(w, "a rationale")),
		Context: []evidence.ID{context.ID}, Cost: evidence.Amounts{"tokens": 812},
	})
	asked := run.Authorize("refund", string(object("an input")), func(b *evidence.Authorization) {
		b.Resource, b.Effect, b.Team, b.Decision, b.Policies = "order/7", evidence.Escalate, audittest.Team, decision.ID, []string{"refunds-need-leads"}
		b.PolicySet, b.Params = ref(text(w, "a policy set")), object("an input")
	})
	run.Line(&evidence.Escalation{Reason: "permission_denied", To: audittest.Team, Text: ref(text(w, "an escalation")), Concerns: []evidence.ID{asked.ID}})
	approval := run.Beside(audittest.Human, asked.ID, &evidence.Approval{Answer: evidence.Approve, Until: w.Clock + 3_600_000, Reason: ref(text(w, "an approval"))})
	refund := repeat(run, asked, approval.ID)
	run.Execute(refund, evidence.StatusFailure, func(b *evidence.Execution) { b.Class, b.Error = evidence.ToolTimeout, ref(text(w, "an error")) })
	refunded := run.Execute(refund, evidence.StatusSuccess, func(b *evidence.Execution) {
		b.Attempt, b.Output, b.Refs, b.TookMS, b.Cost = 2, ref(w.Commit(string(object("an output")))), object("an output"), ref(int64(184)), evidence.Amounts{"usd_micro": 400}
	})
	run.Line(&evidence.Checkpoint{Name: "refunded", Sequence: 1, State: w.Commit(`{"refunded":true}`), Covers: covered(run)})

	denied := run.Authorize("delete_customer", `{}`, func(b *evidence.Authorization) {
		b.Effect, b.Policies, b.Errors, b.Resource = evidence.Deny, []string{"never-delete"}, ref(text(w, "a policy error")), "order/7"
	})
	_ = denied
	mail := run.Authorize("notify", `{"to":"mia"}`, func(b *evidence.Authorization) { b.Resource, b.Mode = "order/7", evidence.Observe })
	sent := run.Execute(mail, evidence.StatusUnknown, nil)
	run.Line(&evidence.RunResumed{Reason: "lease_expired", InDoubt: []evidence.ID{sent.ID}})
	confirmation := run.Beside(audittest.Tool, mail.ID, &evidence.Confirmation{Status: evidence.StatusSuccess, Output: ref(text(w, "a confirmation"))})
	run.Line(&evidence.Settlement{Settles: sent.ID, By: evidence.ByConfirmation, Answer: confirmation.ID, Finding: evidence.StatusSuccess, Output: ref(text(w, "a settlement"))})
	pending := run.Authorize("close_ticket", `{}`, func(b *evidence.Authorization) { b.Resource = "order/7" })
	run.Execute(pending, evidence.StatusUnknown, func(b *evidence.Execution) { b.Source = evidence.SourceReported })

	claim := run.Line(&evidence.Claim{Statements: []evidence.Statement{
		{Text: text(w, "a statement"), Assertions: []evidence.Assertion{{Kind: evidence.AssertAction, Action: "refund", Expect: ref(w.Commit(`{"action":"refund"}`))}, {Kind: evidence.AssertContract}}, Cites: []evidence.ID{refunded.ID}},
		{Text: text(w, "a bare statement")},
	}})
	run.Verdict(claim.ID, evidence.InDoubt, []byte(`{}`))
	w.Append(&evidence.Record{Actor: audittest.Agent, Body: &evidence.HandoffRejected{Offer: firstOffer.ID, Origin: first.Origin, Reason: "not_for_me", Proof: ref(text(w, "a proof"))}}, audittest.Runtime)
	w.Append(&evidence.Record{Actor: audittest.Runtime, Body: &evidence.PayloadErased{Commit: context.Record.Body.(*evidence.Context).Sources[0].Content.Commit, Reason: "gdpr-17"}, Ext: evidence.Object(`{"org.example.case":` + string(object("an ext")) + `}`)}, audittest.Runtime)
	offerTo(run, giver, "archive", text(w, "a last note"))
	run.LineBy(&evidence.Record{Actor: audittest.Agent, Body: &evidence.RunClosed{End: evidence.Stopped, Reason: "outcome_unknown", Text: ref(text(w, "a closing"))}}, audittest.Runtime)
	w.Revoke(audittest.Loner, 5)

	erased := context.Record.Body.(*evidence.Context).Sources[0].Content.Commit
	withheld := decision.Record.Body.(*evidence.Decision).Rationale.Commit
	trust := w.Trust()
	trust.Ledgers = append(trust.Ledgers, giver.Trust().Ledgers...)
	trust.Ledgers = append(trust.Ledgers, first.Trust().Ledgers...)
	return &scene{w.Bundle(audittest.Bundling{
		Header: bundle.RunHeader(w.Origin, run.ID), Indexes: w.RunIndexes(run.ID), Withhold: map[evidence.Digest]bool{erased: true, withheld: true},
	}), trust, w, run}
}

// covered are the executions and settlements of a run so far.
func covered(r *audittest.Run) (ids []evidence.ID) {
	for _, p := range r.Placed {
		if p.Record.Run == r.ID && (p.Record.Kind == evidence.KindExecution || p.Record.Kind == evidence.KindSettlement) {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// repeat authorizes what was approved.
func repeat(r *audittest.Run, asked evidence.Placed, approval evidence.ID) evidence.Placed {
	b := *asked.Record.Body.(*evidence.Authorization)
	b.Effect, b.Team, b.Escalated, b.Approval = evidence.Allow, "", asked.ID, approval
	return r.Line(&b)
}

// offerTo offers the work of a run to the agent of another ledger.
func offerTo(r *audittest.Run, to *audittest.World, task string, note evidence.Commitment, mods ...func(*evidence.HandoffOffered)) evidence.Placed {
	b := &evidence.HandoffOffered{
		To:   evidence.Recipient{Origin: to.Origin, Actor: audittest.Agent, Key: to.Key(audittest.Runtime).Public().Thumbprint()},
		Task: task, Expires: r.Clock + 3_600_000, HeadMaxAge: 60, Note: &note,
	}
	for _, action := range []string{"inspect", "lookup", "refund", "notify", "close_ticket", "delete_customer"} {
		b.Scope = append(b.Scope, evidence.ScopeEntry{Action: action, Resource: "*"})
	}
	b.Parent = r.Body.Acceptance
	for _, mod := range mods {
		mod(b)
	}
	return r.Line(b)
}

// take accepts an offer in another ledger, and opens the run that continues it.
func take(w *audittest.World, from *audittest.Run, offer evidence.Placed, mods ...func(*evidence.RunOpened)) (*audittest.Run, evidence.ID) {
	over := from.Bundle(audittest.Bundling{Header: bundle.OfferHeader(from.Origin, offer.ID), Indexes: from.RunIndexes(from.ID)})
	size := len(from.Placed)
	var id evidence.ID
	run := w.Open(func(rec *evidence.Record, b *evidence.RunOpened) {
		id = w.Append(&evidence.Record{Actor: audittest.Agent, Body: &evidence.HandoffAccepted{
			Offer: offer.ID, Origin: from.Origin, Opens: rec.Run, Bundle: w.CommitAs(bundle.Media, string(over)),
			Head: evidence.HeadRef{Size: int64(size), Root: evidence.Digest(from.Root(size))},
		}}, audittest.Runtime).ID
		b.Acceptance = id
		for _, mod := range mods {
			mod(b)
		}
	})
	return run, id
}
