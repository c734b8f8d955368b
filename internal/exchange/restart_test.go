package exchange_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/exchange"
)

// TestSecondHandoff: from the second on, the receiver knows a tree head, says so, and
// the giver's next bundle holds it. Nobody is to blame for that.
func TestSecondHandoff(t *testing.T) {
	g, r := newSide(t, research, nil), newSide(t, analysis, func(c *exchange.Config) { c.Quotas.Failures = 1 })
	g.knows(r)
	r.knows(g)
	for _, key := range []string{"one", "two", "three"} {
		offer := g.offers("research-"+key, r)
		r.waits(offer)
		_, err := r.continues("analysis-"+key, offer)
		r.must(err)
		g.until("the acceptance of "+key+" came back", func() bool { return len(g.records(evidence.KindHandoffAccepted, offer)) == 1 })
	}
	for _, h := range r.list().Handoffs {
		if h.Kind == evidence.KindHandoffRejected {
			t.Errorf("a rejection was recorded: %+v", h)
		}
	}
}

// TestReceiverDown: an offer is sent until it arrives, also by the giver's next
// process.
func TestReceiverDown(t *testing.T) {
	g, r := newSide(t, research, nil), newSide(t, analysis, nil)
	g.knows(r)
	r.knows(g)
	r.end()
	offer := g.offers("research-1", r)
	g.until("it was tried", func() bool {
		d := g.delivery(offer)
		return d.State == api.DeliveryPending && d.Tries > 0 && d.Reason == "no_answer"
	})
	g.end()
	g.start()
	g.until("it was tried again", func() bool { return g.delivery(offer).Tries > 0 })
	r.start()
	r.waits(offer)
	g.until("it is delivered", func() bool { return g.delivery(offer).State == api.DeliveryDelivered })
	g.end()
	g.start()
	if d := g.delivery(offer); d.State != api.DeliveryDelivered {
		t.Errorf("after a restart: %+v", d)
	}
}

// TestGiverDown: an acceptance goes back until it arrives, also from the receiver's
// next process; and what waits, waits across a restart.
func TestGiverDown(t *testing.T) {
	g, r := newSide(t, research, nil), newSide(t, analysis, nil)
	g.knows(r)
	r.knows(g)
	offer := g.offers("research-1", r)
	r.waits(offer)
	g.end()
	r.end()
	r.start()
	r.waits(offer)
	state, err := r.continues("analysis-1", offer)
	r.must(err)
	r.until("it was tried", func() bool { return r.delivery(state.Continues.Acceptance).Tries > 0 })
	r.end()
	r.start()
	// The run that is opened again is held to the scope, by its key alone.
	r.step("analysis-1", "elsewhere", "secrets", api.StepDenied)
	r.step("analysis-1", "chart", "report/q3", api.StepSucceeded)
	again, err := r.agent.OpenRun(ctx, "analysis-1", api.OpenRun{Task: "analyse"})
	r.must(err)
	if again.Continues == nil || again.Continues.Acceptance != state.Continues.Acceptance {
		t.Errorf("opened without naming the offer: %+v", again)
	}
	g.start()
	g.until("the acceptance came back", func() bool { return len(g.records(evidence.KindHandoffAccepted, offer)) == 1 })
	r.until("it is delivered", func() bool { return r.delivery(state.Continues.Acceptance).State == api.DeliveryDelivered })
	joined(t, g, r, state.Run)
}

// TestHere: an offer to an agent of the same ledger needs no peer, and no way back.
func TestHere(t *testing.T) {
	g := newSide(t, research, nil)
	for _, key := range []string{"one", "two"} {
		offer := g.offers("research-"+key, g)
		g.waits(offer)
		state, err := g.continues("analysis-"+key, offer)
		g.must(err)
		g.step("analysis-"+key, "chart", "report/q3", api.StepSucceeded)
		g.until("it is answered", func() bool { return g.delivery(offer).State == api.DeliveryAnswered })
		if d := g.delivery(state.Continues.Acceptance); d.State != "" {
			t.Errorf("the acceptance goes out: %+v", d)
		}
		if n := len(g.records(evidence.KindHandoffAccepted, offer)); n != 1 {
			t.Errorf("%d acceptances", n)
		}
	}
}

// TestAnsweredByHand: what was answered in another way is not sent any more.
func TestAnsweredByHand(t *testing.T) {
	g, r := newSide(t, research, nil), newSide(t, analysis, nil)
	r.knows(g)
	r.until("nothing is left", func() bool { _, pending := r.Exchange.Counts(); return pending == 0 })
	var sent atomic.Int64
	closed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		sent.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer closed.Close()
	_, err := g.admin.AddPeer(ctx, api.Peer{URL: closed.URL, Trust: r.trust()})
	g.must(err)
	offer := g.offers("research-1", r)
	g.until("it was tried", func() bool { return sent.Load() > 0 })
	r.deliver(g.bundleOf(offer))
	_, err = r.continues("analysis-1", offer)
	r.must(err)
	g.until("the acceptance came back", func() bool { return len(g.records(evidence.KindHandoffAccepted, offer)) == 1 })
	if _, pending := g.Exchange.Counts(); pending != 0 {
		t.Errorf("%d are still to go out", pending)
	}
}

// TestByHand: what no peer is there for waits for one.
func TestByHand(t *testing.T) {
	g, r := newSide(t, research, nil), newSide(t, analysis, nil)
	r.knows(g)
	offer := g.offers("research-1", r)
	if d := g.delivery(offer); d.State != api.DeliveryByHand {
		t.Errorf("without a peer: %+v", d)
	}
	g.knows(r)
	r.waits(offer)
	g.until("it is delivered", func() bool { return g.delivery(offer).State == api.DeliveryDelivered })
}
