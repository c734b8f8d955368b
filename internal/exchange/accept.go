package exchange

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"strings"

	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/api"
)

// Accept accepts an offer that waits for an agent, for a run that is yet to be
// opened. Where it was accepted for that run, that is what it returns. Why not, is a
// *handoff.Refused.
func (x *Exchange) Accept(ctx context.Context, agent string, offer evidence.ID, opens evidence.RunID) (*handoff.Accepted, error) {
	party := x.Party(agent)
	a, accepted, err := x.book.acceptanceOf(ctx, offer)
	if err != nil {
		return nil, err
	}
	if accepted {
		if a.actor != agent || a.body.Opens != opens || !a.body.Acceptance.IsZero() {
			return nil, &handoff.Refused{
				Reason: handoff.Used, Offer: offer, Origin: a.body.Origin, Stands: a.id, Expected: "an offer that nobody accepted",
				Found: fmt.Sprintf("it was accepted by %s, for %s", a.actor, a.body.Opens),
			}
		}
		return party.Load(ctx, a.id)
	}
	_, b, err := x.inbox.get(offer)
	if err != nil {
		return nil, err
	}
	v, err := party.Verify(ctx, b, nil)
	if err != nil {
		return nil, err
	}
	return party.Accept(ctx, v, opens)
}

// Recipient returns for whom an offer is that waits here, or was answered here.
func (x *Exchange) Recipient(ctx context.Context, offer evidence.ID) (string, error) {
	a, accepted, err := x.book.acceptanceOf(ctx, offer)
	if err != nil {
		return "", err
	}
	if accepted && a.body.Acceptance.IsZero() {
		return a.actor, nil
	}
	if by := x.book.dismissed(offer); by != "" {
		return by, nil
	}
	w, _, err := x.inbox.get(offer)
	if err != nil {
		return "", err
	}
	return w.To.Actor, nil
}

// Bundle returns the bundle about an offer that waits here, or was accepted here.
func (x *Exchange) Bundle(ctx context.Context, offer evidence.ID) ([]byte, error) {
	a, accepted, err := x.book.acceptanceOf(ctx, offer)
	if err != nil {
		return nil, err
	}
	if accepted && a.body.Acceptance.IsZero() {
		kept, err := x.Party(a.actor).Ledger.ReadPayload(ctx, a.body.Bundle.Commit)
		if err != nil {
			return nil, err
		}
		return kept.Data, nil
	}
	_, b, err := x.inbox.get(offer)
	return b, err
}

// Show verifies an offer anew: as of now where it waits, as of its acceptance where it
// was accepted. open discloses what is handed over, and the note.
func (x *Exchange) Show(ctx context.Context, offer evidence.ID, open bool) (*api.Offered, error) {
	a, accepted, err := x.book.acceptanceOf(ctx, offer)
	if err != nil {
		return nil, err
	}
	b, err := x.Bundle(ctx, offer)
	if err != nil {
		return nil, err
	}
	unverified, err := handoff.UnverifiedOffer(b)
	if err != nil {
		return nil, err
	}
	o := handoff.Options{Trust: x.cfg.Peers.Trust(), Now: x.now()}
	shown := &api.Offered{}
	if accepted {
		// Whom it was for stood in the registry then, and admission looked.
		at, err := x.cfg.Ledger.Get(ctx, a.id)
		if err != nil {
			return nil, err
		}
		o.To, o.Now, o.Bare = handoff.Receiver(unverified.To), at.Record.Time.Std(), true
		shown.Acceptance, shown.Opens, shown.Received = &a.id, a.body.Opens, at.Record.Time
	} else {
		w, _, err := x.inbox.get(offer)
		if err != nil {
			return nil, err
		}
		shown.Received, o.To = w.Received, x.receiver(unverified.To)
		if o.Known, err = x.Party("").Known(ctx, w.Origin); err != nil {
			return nil, err
		}
	}
	v, err := handoff.Verify(b, o)
	if err != nil {
		return nil, err
	}
	body := v.Offer()
	shown.Offer, shown.Origin, shown.Giver, shown.To, shown.Task, shown.Expires, shown.Size = v.ID(), v.Origin(), v.Giver(), body.To, body.Task, body.Expires, int64(len(b))
	shown.Scope, shown.Evidence, shown.Records = body.Scope, body.Evidence, v.Report().Scope.Records
	if body.Artifact != nil {
		shown.Media = body.Artifact.Media
	}
	if open {
		shown.UnverifiedNote = string(v.Note())
		if art := v.Artifact(); isJSON(shown.Media) && json.Valid(art) {
			shown.Artifact = art
		} else {
			shown.ArtifactBase64 = art
		}
	}
	return shown, nil
}

func isJSON(media string) bool {
	t, _, err := mime.ParseMediaType(media)
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}

// Reject records that an agent does not accept an offer that waits for it: for what is
// wrong with it, or else because of a word of its own. The same rejection again is the
// one that stands.
func (x *Exchange) Reject(ctx context.Context, agent string, offer evidence.ID, because string) (*api.Rejection, error) {
	x.rejecting.Lock()
	defer x.rejecting.Unlock()
	if because != "" {
		if before, err := x.book.rejectionOf(ctx, rejection{offer, agent, because}); err != nil || !before.IsZero() {
			return &api.Rejection{Rejection: before, Offer: offer, Reason: because}, err
		}
	}
	if a, accepted, err := x.book.acceptanceOf(ctx, offer); err != nil {
		return nil, err
	} else if accepted {
		return nil, &handoff.Refused{Reason: handoff.Used, Offer: offer, Origin: a.body.Origin, Stands: a.id, Expected: "an offer that nobody accepted", Found: "it was accepted"}
	}
	w, b, err := x.inbox.get(offer)
	if err != nil {
		return nil, err
	}
	party := x.Party(agent)
	_, err = party.Verify(ctx, b, nil)
	r := handoff.AsRefused(err)
	switch {
	case err != nil && r == nil:
		return nil, err
	case because != "":
		r = &handoff.Refused{Reason: handoff.Reason(because), Offer: offer, Origin: w.Origin, Expected: "work that is wanted", Found: "work that is not"}
	case r == nil:
		return nil, ErrBecause
	}
	before, err := x.book.rejectionOf(ctx, rejection{offer, agent, string(r.Reason)})
	if err != nil {
		return nil, err
	}
	if before.IsZero() {
		if before, err = party.Reject(ctx, r); err != nil {
			return nil, err
		}
	}
	x.inbox.drop(offer)
	return &api.Rejection{Rejection: before, Offer: offer, Reason: string(r.Reason)}, nil
}

// ErrBecause: an offer that holds up is rejected for a reason, or not at all.
var ErrBecause = fmt.Errorf("the offer verifies: say because of what it is not wanted")
