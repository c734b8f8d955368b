package handoff

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/ledger"
)

// Returned records, in the giver's ledger, that an offer of this party's was
// accepted: b is the bundle about the receiver's acceptance, of the receiver's
// ledger, which the party's trust file names. What does not hold up is a *[Refused].
// Returned twice it is recorded once.
func (p *Party) Returned(ctx context.Context, b []byte) (evidence.ID, error) {
	if len(b) > MaxBundle {
		return evidence.ID{}, &Refused{Reason: Large, Expected: fmt.Sprintf("a bundle of at most %d bytes", MaxBundle), Found: fmt.Sprintf("%d", len(b))}
	}
	back, report, err := audit.VerifyAcceptance(bytes.NewReader(b), p.Trust, audit.Options{})
	if err != nil {
		return evidence.ID{}, &Refused{Reason: Malformed, Expected: "a bundle about an acceptance", Found: err.Error()}
	}
	c := &check{o: &Options{}, report: report}
	refuse := func(r *Refused) (evidence.ID, error) {
		r.Origin, r.Report = report.Scope.Origin, report
		if back != nil {
			r.Offer = back.Body.Offer
		}
		return evidence.ID{}, r
	}
	switch {
	case report.Status() == audit.Broken:
		return refuse(c.broken())
	case report.Status() == audit.Undecidable:
		return refuse(c.undecided())
	case back == nil:
		return refuse(&Refused{Reason: Malformed, Expected: "a bundle about an acceptance", Found: fmt.Sprintf("one about %s", report.Scope.About)})
	}
	offer, err := p.offer(ctx, back)
	if err != nil {
		return evidence.ID{}, err
	}
	if r := answers(offer, back); r != nil {
		return refuse(r)
	}
	body := &evidence.HandoffAccepted{
		Offer: back.Body.Offer, Origin: back.Origin, Opens: back.Body.Opens, Acceptance: back.ID,
		Head: evidence.HeadRef{Size: int64(report.Scope.Size), Root: evidence.Digest(report.Scope.Root)},
	}
	return p.record(ctx, body, b)
}

// offer returns the offer of this party that an acceptance names.
func (p *Party) offer(ctx context.Context, back *audit.Acceptance) (*evidence.HandoffOffered, error) {
	at, err := p.Ledger.Get(ctx, back.Body.Offer)
	if errors.Is(err, ledger.ErrNoRecord) {
		return nil, &Refused{Reason: Audience, Expected: "the acceptance of an offer that stands in " + p.Origin, Found: "of " + back.Body.Offer.String(), Origin: back.Origin}
	}
	if err != nil {
		return nil, fmt.Errorf("handoff: the offer %s: %w", back.Body.Offer, err)
	}
	b, ok := at.Record.Body.(*evidence.HandoffOffered)
	if !ok || at.Record.Actor != p.Agent || back.Body.Origin != p.Origin {
		return nil, &Refused{
			Reason: Audience, Expected: fmt.Sprintf("the acceptance of an offer by %s of %s", p.Agent, p.Origin),
			Found: fmt.Sprintf("of a %s by %s of %s", at.Record.Kind, at.Record.Actor, back.Body.Origin), Origin: back.Origin, Offer: back.Body.Offer,
		}
	}
	return b, nil
}

// answers holds an acceptance to the offer that it names.
func answers(offer *evidence.HandoffOffered, back *audit.Acceptance) *Refused {
	to := offer.To
	switch {
	case !back.Body.Acceptance.IsZero():
		return &Refused{Reason: Audience, Expected: "the receiver's own acceptance", Found: "a copy of " + back.Body.Acceptance.String()}
	case to.Origin != back.Origin || to.Actor != back.Record.Actor || to.Key != back.By.Key:
		return &Refused{
			Reason: Audience, Expected: fmt.Sprintf("an acceptance by %s of %s, key %s", to.Actor, to.Origin, to.Key),
			Found: fmt.Sprintf("one by %s of %s, key %s", back.Record.Actor, back.Origin, back.By.Key),
		}
	case back.Record.Time > offer.Expires:
		return &Refused{Reason: Expired, Expected: "an acceptance until " + offer.Expires.String(), Found: back.Record.Time.String()}
	}
	return nil
}
