package exchange_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/api"
	"ledgerd/internal/exchange"
)

// TestManyOffersWait: offers that were made under different tree heads lie in the inbox
// together, and can be accepted in any order; also where the giver's daemon was restarted
// since, and to an agent of the same ledger.
func TestManyOffersWait(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		for _, how := range []string{"", "restarted", "here"} {
			t.Run(fmt.Sprint(order, how), func(t *testing.T) {
				t.Parallel()
				g := newSide(t, research, nil)
				r := g
				if how != "here" {
					r = newSide(t, analysis, nil)
					g.knows(r)
					r.knows(g)
				}
				var offers []evidence.ID
				for i := range order {
					offers = append(offers, g.offers(fmt.Sprintf("research-%d", i), r))
					r.waits(offers[i])
				}
				if how == "restarted" {
					for _, o := range offers {
						g.until("it is delivered", func() bool { return g.delivery(o).State == api.DeliveryDelivered })
					}
					g.end()
					g.start()
					_, err := r.admin.AddPeer(ctx, api.Peer{URL: g.Inbox, Trust: g.trust()})
					r.must(err)
				}
				for _, i := range order {
					var state *api.RunState
					tries := 0
					r.until("the offer can be accepted", func() bool {
						tries++
						var err error
						state, err = r.continues(fmt.Sprintf("analysis-%d", i), offers[i])
						if p, ok := errors.AsType[*client.Problem](err); ok && p.Reason != api.ReasonHandoff+string(handoff.HeadOther) && p.Reason != api.ReasonHandoff+string(handoff.HeadOlder) {
							t.Fatal(err)
						}
						return err == nil
					})
					// A bundle holds the heads of what lay there when it came.
					if slices.IsSorted(order) && tries > 1 {
						t.Errorf("in the order in which they came, the offer %d was accepted after %d tries", i, tries)
					}
					if n := len(r.records(evidence.KindHandoffAccepted, offers[i])); n < 1 {
						t.Errorf("%d acceptances of the offer %d", n, i)
					}
					if how != "here" {
						joined(t, g, r, state.Run)
					}
				}
				g.until("all are answered", func() bool {
					for _, o := range offers {
						if how != "here" && g.delivery(o).State != api.DeliveryAnswered {
							return false
						}
					}
					return len(r.list().Waiting) == 0
				})
			})
		}
	}
}

// TestReplacedWhereFull: an inbox that is full takes the bundle that an offer needs which
// lies in it.
func TestReplacedWhereFull(t *testing.T) {
	g := newSide(t, research, nil)
	r := newSide(t, analysis, nil)
	g.knows(r)
	r.knows(g)
	first, second := g.offers("research-1", r), g.offers("research-2", r)
	r.waits(first)
	r.waits(second)
	r.end()
	r.how.Change = func(c *exchange.Config) { c.Quotas.Waiting = 1 }
	r.start()
	g.knows(r)
	for i, o := range []evidence.ID{second, first} {
		r.until("the offer can be accepted", func() bool {
			_, err := r.continues(fmt.Sprintf("analysis-%d", i), o)
			return err == nil
		})
	}
}
