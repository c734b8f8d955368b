package exchange_test

import (
	"net/http"
	"testing"

	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/api"
	"ledgerd/internal/exchange"
)

// TestOwnKey: an agent whose key the daemon has not takes the bundle, and accepts by
// itself; its acceptance goes back all the same. Nothing is said in its name.
func TestOwnKey(t *testing.T) {
	g, r := strangers(t, nil)
	key := r.Actor("clerk", evidence.RoleAgent)
	g.work("research-1")
	offer := func(change func(*api.MakeOffer)) evidence.ID {
		t.Helper()
		o := g.offering(r)
		o.To = evidence.Recipient{Origin: analysis, Actor: "clerk", Key: key.Public().Thumbprint()}
		change(&o)
		made, err := g.agent.Offer(ctx, "research-1", o)
		g.must(err)
		return made.Offer
	}
	// The runtime does not host it.
	r.refused(g.bundleOf(offer(func(o *api.MakeOffer) { o.To.Key = r.Key.Public().Thumbprint() })), 422, "handoff_wrong_audience")
	bare := offer(func(o *api.MakeOffer) { o.Steps = nil })
	r.refused(g.bundleOf(bare), 422, "handoff_no_evidence")
	if found := r.records(evidence.KindHandoffRejected, bare); len(found) != 0 {
		t.Errorf("rejected in its name: %+v", found)
	}
	good := offer(func(*api.MakeOffer) {})
	if status, p := r.deliver(g.bundleOf(good)); status != http.StatusAccepted {
		t.Fatalf("%d %+v", status, p)
	}
	c := r.Client(r.Grant("clerk", api.RightAct, api.RightRecord, api.RightRead, api.RightPayloads))
	b, err := c.HandoffBundle(ctx, good)
	r.must(err)
	own, err := r.Ledger.Trust()
	r.must(err)
	trust, err := exchange.TrustOf(own, r.Exchange.Peers())
	r.must(err)
	party := &handoff.Party{Ledger: client.Handoffs(c), Origin: analysis, Agent: "clerk", Key: key, Trust: trust}
	v, err := party.Verify(ctx, b, nil)
	r.must(err)
	a, err := party.Accept(ctx, v, "run_018f2f6c-8f7e-7cc3-9c4b-3f0e9a6b1c2d")
	r.must(err)
	g.knows(r)
	g.until("the acceptance came back", func() bool { return len(g.records(evidence.KindHandoffAccepted, good)) == 1 })
	if back := g.records(evidence.KindHandoffAccepted, good)[0]; *back.Acceptance != a.ID() {
		t.Errorf("what came back: %+v", back)
	}
	if n := len(r.list().Waiting); n != 0 {
		t.Errorf("%d still wait", n)
	}
}
