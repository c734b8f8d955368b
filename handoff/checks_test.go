package handoff_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/ledger"
	"ledgerd/ledger/tlog"
)

// blind is a ledger whose finds come too early to see an acceptance.
type blind struct{ handoff.Ledger }

func (blind) Find(context.Context, ledger.Filter) iter.Seq2[evidence.Placed, error] {
	return func(func(evidence.Placed, error) bool) {}
}

func usedBy(t *testing.T, what string, err error, stands evidence.ID) {
	t.Helper()
	if r := handoff.AsRefused(err); r == nil || r.Reason != handoff.Used || r.Stands != stands {
		t.Errorf("%s: %v", what, err)
	}
}

// TestAnothersAcceptance: what stands is the party's own, or it is refused, however it
// comes to be seen.
func TestAnothersAcceptance(t *testing.T) {
	x := newExchange(t)
	x.open("q3")
	v := x.verified(x.offer(x.offering()))
	head := evidence.HeadRef{Size: int64(v.Report().Scope.Size), Root: evidence.Digest(v.Report().Scope.Root)}
	// A copy that says it is of another ledger's, for the same run.
	copied := x.forgeIn(x.receiver, &evidence.HandoffAccepted{Offer: v.ID(), Origin: research, Opens: opens, Head: head, Acceptance: evidence.ID{1}}, nil)
	_, err := x.party.Accept(ctx, v, opens)
	usedBy(t, "a copy", err, copied)

	x = newExchange(t)
	x.open("q3")
	v = x.verified(x.offer(x.offering()))
	head = evidence.HeadRef{Size: int64(v.Report().Scope.Size), Root: evidence.Digest(v.Report().Scope.Root)}
	other := x.party.For(x.party.Agent + "/2")
	id := x.forgeAs(x.receiver, other.Agent, &evidence.HandoffAccepted{Offer: v.ID(), Origin: research, Opens: opens, Head: head}, nil)
	late := *x.party
	late.Ledger = blind{late.Ledger}
	_, err = late.Accept(ctx, v, opens)
	usedBy(t, "another's, seen by its conflict", err, id)
}

// TestReturnedTooLarge: what is larger than is kept is not even read.
func TestReturnedTooLarge(t *testing.T) {
	x := newExchange(t)
	_, err := x.giver.Party(x.receiver).Returned(ctx, make([]byte, handoff.MaxBundle+1))
	if r := handoff.AsRefused(err); r == nil || r.Reason != handoff.Large {
		t.Errorf("%v", err)
	}
}

// TestTwoHeadsInABundle: a log that signed two roots for one size is refused as that,
// with the proof.
func TestTwoHeadsInABundle(t *testing.T) {
	w := audittest.Named(t, research)
	r := w.Open(nil)
	x := r.Do("search", `{}`)
	to := handoff.Receiver{Origin: analysis, Actor: "analyst", Key: evidence.Digest{7}}
	offer := r.Line(&evidence.HandoffOffered{
		To: evidence.Recipient{Origin: to.Origin, Actor: to.Actor, Key: to.Key}, Task: "analyse", Scope: []evidence.ScopeEntry{{Action: "chart", Resource: "*"}},
		Evidence: []evidence.ID{x.ID}, Expires: w.Clock + 3_600_000, HeadMaxAge: 3600,
	})
	n := len(w.Placed)
	heads := [][]byte{w.SignHead(w.Origin, n, tlog.Hash{9}), w.Head(n)}
	b := w.Bundle(audittest.Bundling{Header: bundle.OfferHeader(w.Origin, offer.ID), Indexes: w.RunIndexes(r.ID), Heads: heads})
	_, err := handoff.Verify(b, handoff.Options{Trust: w.Trust(), To: to, Now: w.Clock.Std()})
	var refused *handoff.Refused
	if !errors.As(err, &refused) || refused.Reason != handoff.HeadOther || refused.Proof[0] == nil || refused.Proof[1] == nil {
		t.Errorf("%v", err)
	}
}
