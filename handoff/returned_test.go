package handoff_test

import (
	"bytes"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/ledger"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

const opens = evidence.RunID("run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11")

// back accepts an offer and returns the bundle about the acceptance.
func (x *exchange) back(o runtime.Offering) (*handoff.Accepted, []byte) {
	x.Helper()
	a, err := x.party.Accept(ctx, x.verified(x.offer(o)), opens)
	x.must(err)
	return a, x.about(a.ID())
}

func (x *exchange) about(record evidence.ID) []byte {
	x.Helper()
	var b bytes.Buffer
	x.must(x.receiver.Ledger.Export(ctx, &b, ledger.ExportOptions{Record: record}))
	return b.Bytes()
}

// TestReturned: the acceptance goes back to the giver, whose ledger records it once.
func TestReturned(t *testing.T) {
	x := newExchange(t)
	x.open("q3")
	a, b := x.back(x.offering())
	giver := x.giver.Party(x.giver, x.receiver)
	id, err := giver.Returned(ctx, b)
	x.must(err)
	at, err := x.giver.Ledger.Get(ctx, id)
	x.must(err)
	if c := at.Record.Body.(*evidence.HandoffAccepted); c.Acceptance != a.ID() || c.Offer != a.OfferID() || c.Opens != opens || c.Origin != analysis {
		t.Errorf("recorded %+v", c)
	}
	if again, err := giver.Returned(ctx, b); err != nil || again != id {
		t.Errorf("returned twice: %v, %v", again, err)
	}
	// The copy opens no run of the giver's.
	if a, err := giver.Load(ctx, id); err == nil {
		t.Errorf("the copy is an acceptance: %+v", a)
	}
	// Both halves, joined: the giver's bundle holds the receiver's word.
	var own bytes.Buffer
	x.must(x.giver.Ledger.Export(ctx, &own, ledger.ExportOptions{Record: id}))
	back, r, err := audit.VerifyAcceptance(&own, giver.Trust, audit.Options{})
	if err != nil || back == nil || r.ExitCode() != 0 || len(r.Given) != 1 || r.Given[0].Report.Scope.Origin != analysis {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestReturnedRefused has what a giver does not take for an acceptance.
func TestReturnedRefused(t *testing.T) {
	for name, c := range map[string]struct {
		try         func(x *exchange) ([]byte, *handoff.Party)
		reason      handoff.Reason
		undecidable bool
	}{
		"no bundle": {func(x *exchange) ([]byte, *handoff.Party) {
			return []byte("we took it"), x.giver.Party(x.giver, x.receiver)
		}, handoff.Malformed, false},
		"about something else": {func(x *exchange) ([]byte, *handoff.Party) {
			var b bytes.Buffer
			x.must(x.giver.Ledger.Export(ctx, &b, ledger.ExportOptions{Run: x.run.ID()}))
			return b.Bytes(), x.giver.Party(x.giver, x.receiver)
		}, handoff.Malformed, false},
		"the receiver is not trusted": {func(x *exchange) ([]byte, *handoff.Party) {
			_, b := x.back(x.offering())
			return b, x.giver.Party(x.giver)
		}, handoff.Untrusted, true},
		"of another giver's offer": {func(x *exchange) ([]byte, *handoff.Party) {
			_, b := x.back(x.offering())
			other := runtimetest.Named(x.T, "ledger.example/others")
			return b, other.Party(x.giver, x.receiver)
		}, handoff.Audience, false},
		"of another agent's offer": {func(x *exchange) ([]byte, *handoff.Party) {
			_, b := x.back(x.offering())
			p := x.giver.Party(x.giver, x.receiver)
			p.Agent = "somebody"
			return b, p
		}, handoff.Audience, false},
		"by another than it was for": {func(x *exchange) ([]byte, *handoff.Party) {
			// The receiver's ledger takes what its runtime says; the giver does not.
			o := x.offering()
			o.To.Actor = "somebody"
			id, err := x.run.Offer(ctx, o)
			x.must(err)
			return x.about(x.forge(&evidence.HandoffAccepted{Offer: id, Origin: research, Opens: opens, Head: evidence.HeadRef{Size: 1, Root: evidence.Digest{1}}})), x.giver.Party(x.giver, x.receiver)
		}, handoff.Audience, false},
		"of an offer elsewhere": {func(x *exchange) ([]byte, *handoff.Party) {
			id, err := x.run.Offer(ctx, x.offering())
			x.must(err)
			return x.about(x.forge(&evidence.HandoffAccepted{Offer: id, Origin: "ledger.example/others", Opens: opens, Head: evidence.HeadRef{Size: 1, Root: evidence.Digest{1}}})), x.giver.Party(x.giver, x.receiver)
		}, handoff.Audience, false},
		"in another ledger than it was for": {func(x *exchange) ([]byte, *handoff.Party) {
			o := x.offering()
			o.To.Origin = "ledger.example/others"
			id, err := x.run.Offer(ctx, o)
			x.must(err)
			return x.about(x.forge(&evidence.HandoffAccepted{Offer: id, Origin: research, Opens: opens, Head: evidence.HeadRef{Size: 1, Root: evidence.Digest{1}}})), x.giver.Party(x.giver, x.receiver)
		}, handoff.Audience, false},
		"with another key than it was for": {func(x *exchange) ([]byte, *handoff.Party) {
			o := x.offering()
			o.To.Key[4] ^= 1
			id, err := x.run.Offer(ctx, o)
			x.must(err)
			return x.about(x.forge(&evidence.HandoffAccepted{Offer: id, Origin: research, Opens: opens, Head: evidence.HeadRef{Size: 1, Root: evidence.Digest{1}}})), x.giver.Party(x.giver, x.receiver)
		}, handoff.Audience, false},
		"a copy of an acceptance": {func(x *exchange) ([]byte, *handoff.Party) {
			id, err := x.run.Offer(ctx, x.offering())
			x.must(err)
			return x.about(x.forge(&evidence.HandoffAccepted{Offer: id, Origin: research, Opens: opens, Head: evidence.HeadRef{Size: 1, Root: evidence.Digest{1}}, Acceptance: evidence.ID{1}})), x.giver.Party(x.giver, x.receiver)
		}, handoff.Audience, false},
		"too late": {func(x *exchange) ([]byte, *handoff.Party) {
			o := x.offering()
			o.For = time.Minute
			id, err := x.run.Offer(ctx, o)
			x.must(err)
			x.receiver.Clock.Add(time.Hour)
			return x.about(x.forge(&evidence.HandoffAccepted{Offer: id, Origin: research, Opens: opens, Head: evidence.HeadRef{Size: 1, Root: evidence.Digest{1}}})), x.giver.Party(x.giver, x.receiver)
		}, handoff.Expired, false},
		"on a bundle that does not hold up": {func(x *exchange) ([]byte, *handoff.Party) {
			id, err := x.run.Offer(ctx, x.offering())
			x.must(err)
			return x.about(x.forgeIn(x.receiver, &evidence.HandoffAccepted{Offer: id, Origin: research, Opens: opens, Head: evidence.HeadRef{Size: 1, Root: evidence.Digest{1}}}, []byte("trust me"))), x.giver.Party(x.giver, x.receiver)
		}, handoff.Rule, false},
	} {
		t.Run(name, func(t *testing.T) {
			x := newExchange(t)
			x.open("q3")
			b, giver := c.try(x)
			id, err := giver.Returned(ctx, b)
			if r := handoff.AsRefused(err); r == nil || r.Reason != c.reason || r.Undecidable != c.undecidable || !id.IsZero() {
				t.Errorf("want a refusal as %s, found %v", c.reason, err)
			}
		})
	}
	t.Run("another acceptance of one offer", func(t *testing.T) {
		x := newExchange(t)
		x.open("q3")
		a, b := x.back(x.offering())
		stands := x.forgeIn(x.giver, &evidence.HandoffAccepted{
			Offer: a.OfferID(), Origin: analysis, Opens: opens, Head: evidence.HeadRef{Size: 1, Root: evidence.Digest{1}}, Acceptance: evidence.ID{1},
		}, nil)
		_, err := x.giver.Party(x.giver, x.receiver).Returned(ctx, b)
		if r := handoff.AsRefused(err); r == nil || r.Reason != handoff.Used || r.Stands != stands {
			t.Errorf("%v", err)
		}
	})
}

// forge has the receiver's runtime record an acceptance without any check.
func (x *exchange) forge(b *evidence.HandoffAccepted) evidence.ID {
	return x.forgeIn(x.receiver, b, nil)
}

func (x *exchange) forgeIn(w *runtimetest.World, b *evidence.HandoffAccepted, data []byte) evidence.ID {
	x.Helper()
	return x.forgeAs(w, runtimetest.Agent, b, data)
}

// forgeAs is forgeIn in the name of another agent that the runtime hosts.
func (x *exchange) forgeAs(w *runtimetest.World, agent string, b *evidence.HandoffAccepted, data []byte) evidence.ID {
	x.Helper()
	p := evidence.Payload{Media: "application/vnd.ledgerd.bundle+jsonl", Data: data}
	if data != nil {
		x.must(second(w.Ledger.PutPayloads(ctx, []evidence.Payload{p})))
	}
	b.Bundle = p.Commitment()
	n := w.Ledger.Registry().Number()
	entry, err := evidence.Sign(&evidence.Record{
		Origin: w.Origin, Kind: b.Kind(), Actor: agent, Time: evidence.TimeOf(w.Clock.Now()), Registry: &n, Body: b,
	}, w.Party().Key)
	x.must(err)
	placed, err := w.Ledger.Append(ctx, entry)
	x.must(err)
	return placed[0].ID
}
