package audit

import (
	"fmt"

	"ledgerd/evidence"
)

// opens connects a run with its parent and with the handoff that it continues.
func (a *Auditor) opens(p place, r *Run, rec *evidence.Record, b *evidence.RunOpened) []Finding {
	r.account.parent = a.accounts.of(b.Parent)
	if b.Acceptance.IsZero() {
		return nil
	}
	a.useOnce(p, rec, RuleHandoff)
	r.account.held = &handoffState{acceptance: b.Acceptance}
	return a.takesUp(p, r, rec, b.Acceptance)
}

// joins connects a run with the handoffs that a context takes up: the acceptances for
// this run among its sources.
func (a *Auditor) joins(p place, r *Run, rec *evidence.Record, b *evidence.Context) []Finding {
	if r.Tail != p.id {
		return nil // it is not on the line
	}
	var found []Finding
	for i := range b.Sources {
		acc := a.accepted[b.Sources[i].Evidence]
		if acc != nil && acc.body.Opens == rec.Run && acc.body.Acceptance.IsZero() && r.handed[acc.id] == nil {
			found = append(found, a.takesUp(p, r, rec, acc.id)...)
		}
	}
	return found
}

// takesUp connects a run with what an acceptance hands to it.
func (a *Auditor) takesUp(p place, r *Run, rec *evidence.Record, acceptance evidence.ID) []Finding {
	a.tally.applies[RuleHandoff] = true
	acc := a.accepted[acceptance]
	switch {
	case acc == nil && a.about != nil:
		return []Finding{p.undecidable(RuleHandoff, ReasonNotAccepted, "a bundle that holds the acceptance", "the acceptance that the run continues", "none with the ID %s here", acceptance)}
	case acc == nil:
		return []Finding{p.broken(RuleHandoff, ReasonNotAccepted, "an acceptance before the run", "none with the ID %s", acceptance)}
	case !acc.body.Acceptance.IsZero():
		return []Finding{p.broken(RuleHandoff, ReasonNotAccepted, "an acceptance by an actor of this ledger", "one that another ledger recorded, %s", acc.body.Acceptance).and(acc.id, acc.index)}
	case acc.body.Opens != rec.Run:
		return []Finding{p.broken(RuleHandoff, ReasonNotAccepted, "the run that the acceptance opens, "+string(acc.body.Opens), "%s", rec.Run).and(acc.id, acc.index)}
	case !sameAgent(acc.rec.Actor, rec.Actor):
		return []Finding{p.broken(RuleHandoff, ReasonNotAccepted, "a run of "+acc.rec.Actor+", who accepted", "one of %s", rec.Actor).and(acc.id, acc.index)}
	}
	r.Hand(acc.id, acc.body, a.handed[acc.id])
	offer := a.offers[acc.body.Offer]
	if offer == nil {
		return a.noOffer(p, acc)
	}
	if h := r.account.held; h != nil { // who works in its own right needs no scope
		h.offers = append(h.offers, offer)
	}
	var found []Finding
	if acc.rec.Time > offer.body.Expires {
		found = append(found, p.broken(RuleHandoff, ReasonExpired, "an acceptance until "+offer.body.Expires.String(), "%s", acc.rec.Time).and(acc.id, acc.index))
	}
	if to := offer.body.To; to.Origin != a.origin || !sameAgent(to.Actor, acc.rec.Actor) || to.Key != acc.by.Key {
		found = append(found, p.broken(RuleHandoff, ReasonNotAccepted, fmt.Sprintf("an acceptance by %s of %s with key %s", to.Actor, to.Origin, to.Key), "%s with key %s", acc.rec.Actor, acc.by.Key).and(acc.id, acc.index))
	}
	return found
}

func (a *Auditor) noOffer(p place, acc *acceptance) []Finding {
	if a.about == nil && acc.body.Origin != a.origin {
		a.elsewhere++ // the giver's ledger has it: no log holds another's records
		return nil
	}
	if a.about == nil {
		return []Finding{p.broken(RuleHandoff, ReasonNotAccepted, "the offer before its acceptance", "none with the ID %s", acc.body.Offer).and(acc.id, acc.index)}
	}
	return []Finding{p.undecidable(RuleHandoff, ReasonOutOfScope, "the giver's bundle about the offer "+acc.body.Offer.String(), "the offer, for its scope and time", "none here").and(acc.id, acc.index)}
}

// sameAgent compares actors; an instance acts as its agent.
func sameAgent(a, b string) bool {
	x, _ := SplitInstance(a)
	y, _ := SplitInstance(b)
	return x == y
}
