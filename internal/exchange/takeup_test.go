package exchange_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/ledger"
)

// TestComesBack: a run hands out work, and takes up what comes of it; its claims rest
// on that, also after a restart, and one bundle shows all of it.
func TestComesBack(t *testing.T) {
	g, r := newSide(t, research, nil), newSide(t, analysis, nil)
	g.knows(r)
	r.knows(g)
	offer := g.offers("report", r)
	r.waits(offer)
	_, err := r.continues("analysis-1", offer)
	r.must(err)
	r.step("analysis-1", "chart", "report/q3", api.StepSucceeded)
	back, err := r.agent.Offer(ctx, "analysis-1", api.MakeOffer{
		To: g.receiver(), Task: "chart", Scope: []evidence.ScopeEntry{{Action: "chart", Resource: "report/q3"}}, Steps: []string{"chart"},
	})
	r.must(err)
	g.waits(back.Offer)

	claims := func(want evidence.Result) evidence.ID {
		t.Helper()
		status, answer := g.post("POST", "/v1/runs/report/claims", `{"text":"It is charted.","steps":["search"],"given":[{"action":"chart","resource":"report/q3"}]}`)
		var c api.Claim
		if err := json.Unmarshal([]byte(answer), &c); err != nil || status != 200 || c.Verdict.Result != want {
			t.Fatalf("want %s, found %d %s", want, status, answer)
		}
		return c.ID
	}
	taken, err := g.agent.TakeUp(ctx, "report", back.Offer)
	g.must(err)
	again, err := g.agent.TakeUp(ctx, "report", back.Offer)
	g.must(err)
	if taken.Context != again.Context || taken.Offer != back.Offer || taken.Origin != analysis || len(g.records(evidence.KindHandoffAccepted, back.Offer)) != 1 {
		t.Fatalf("taken up: %+v and %+v", taken, again)
	}
	first := claims(evidence.NoContract) // it has none; the assertions hold
	g.end()
	g.start()
	if again := claims(evidence.NoContract); again != first {
		t.Errorf("after a restart the same claim is %s, and was %s", again, first)
	}
	state, err := g.agent.OpenRun(ctx, "report", api.OpenRun{Task: "research"})
	g.must(err)
	if state.Continues != nil || len(state.TookUp) != 1 || state.TookUp[0].Offer != back.Offer {
		t.Errorf("the run: %+v", state)
	}
	r.until("the acceptance came back", func() bool { return len(r.records(evidence.KindHandoffAccepted, back.Offer)) == 1 })
	joined(t, r, g, state.Run)
	if status, answer := g.post("POST", "/v1/runs/report/close", ""); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}

	var b bytes.Buffer
	g.must(g.Ledger.Export(ctx, &b, ledger.ExportOptions{Run: state.Run}))
	both := &bundle.Trust{}
	for _, s := range []*side{g, r} {
		own, err := bundle.ParseTrust(s.trust())
		s.must(err)
		both.Ledgers = append(both.Ledgers, own.Ledgers...)
	}
	report, err := audit.VerifyBundle(&b, both, audit.Options{Run: state.Run})
	g.must(err)
	if report.ExitCode() != 0 || len(report.Given) != 1 || len(report.Given[0].Report.Given) != 1 {
		t.Errorf("exit %d, %d bundles in it: %v", report.ExitCode(), len(report.Given), report.Rule(audit.RuleVerdict).Findings)
	}
	if v := report.Verdicts[0].Verdict; v.Assertions[1].Result != evidence.Supported || len(v.Given) != 1 || v.Given[0].Result != evidence.Supported {
		t.Errorf("%+v", v)
	}

	// What is closed takes nothing up, and nothing is accepted for it.
	r.step("analysis-1", "another", "report/q4", api.StepSucceeded)
	late, err := r.agent.Offer(ctx, "analysis-1", api.MakeOffer{
		To: g.receiver(), Task: "chart", Scope: []evidence.ScopeEntry{{Action: "chart", Resource: "report/q4"}}, Steps: []string{"another"},
	})
	r.must(err)
	g.waits(late.Offer)
	if status, answer := g.post("POST", "/v1/runs/report/handoffs", `{"offer":"`+late.Offer.String()+`"}`); status != 409 || len(g.records(evidence.KindHandoffAccepted, late.Offer)) != 0 {
		t.Errorf("%d %s", status, answer)
	}
	if status, _ := g.post("POST", "/v1/runs/report/handoffs", `{}`); status != 422 {
		t.Errorf("no offer: %d", status)
	}
}

// TestContextTakesUp: a context that names an acceptance for its run takes it up, as
// whoever audits the run sees it.
func TestContextTakesUp(t *testing.T) {
	g, r := newSide(t, research, nil), newSide(t, analysis, nil)
	g.knows(r)
	r.knows(g)
	offer := g.offers("research-1", r)
	r.waits(offer)
	state, err := r.continues("analysis-1", offer)
	r.must(err)
	if status, answer := r.post("POST", "/v1/runs/analysis-1/context", `{"sources":[{"name":"again","text":"rows","evidence":"`+state.Continues.Acceptance.String()+`"}]}`); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	again, err := r.continues("analysis-1", offer)
	r.must(err)
	if again.Continues == nil || len(again.TookUp) != 0 {
		t.Errorf("what it continues, twice: %+v", again)
	}
	joined(t, g, r, state.Run)
}
