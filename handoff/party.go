package handoff

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/go-json-experiment/json"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger"
	"ledgerd/ledger/tlog"
)

// Ledger is the ledger of one side of a handoff.
type Ledger interface {
	// Submit gives the entries their place in line; wait returns once they are
	// durable and provable. Its errors are those of package ledger.
	Submit(entries ...[]byte) (wait func(context.Context) ([]evidence.Placed, error))
	// Get returns the record of that ID.
	Get(ctx context.Context, id evidence.ID) (evidence.Placed, error)
	// Find yields the records that meet the filter, in log order.
	Find(ctx context.Context, f ledger.Filter) iter.Seq2[evidence.Placed, error]
	// PutPayloads stores payloads; they are durable before any record is that is
	// submitted after it returned.
	PutPayloads(ctx context.Context, payloads []evidence.Payload) ([]evidence.Commitment, error)
	// ReadPayload returns what was stored under a commitment.
	ReadPayload(ctx context.Context, commit evidence.Digest) (*evidence.Payload, error)
	// Actors returns the registry as it stands.
	Actors(ctx context.Context) (*audit.Registry, error)
}

// Party is one side of a handoff, and its ledger. It accepts for an agent.
type Party struct {
	Ledger Ledger
	Origin string               // of the ledger
	Agent  string               // who receives
	Key    *evidence.PrivateKey // that signs for it: its own, or that of the runtime that hosts it
	Trust  *bundle.Trust        // names the ledgers of those who hand over
	Bare   bool                 // accepts offers that rest on no evidence
	Clock  func() time.Time     // nil: the system's
	Random io.Reader            // nil: crypto/rand's
}

// Receiver returns for whom an offer has to be.
func (p *Party) Receiver() Receiver {
	return Receiver{p.Origin, p.Agent, p.Key.Public().Thumbprint()}
}

// For returns the same party for another agent, for which the same key signs.
func (p *Party) For(agent string) *Party {
	q := *p
	q.Agent = agent
	return &q
}

func (p *Party) now() time.Time {
	if p.Clock != nil {
		return p.Clock()
	}
	return time.Now()
}

// Verify is [Verify] of what was handed over to this party, under its trust file and
// what its ledger knows of the giver's. artifact is the artifact where it was carried
// by itself; nil: it was not.
func (p *Party) Verify(ctx context.Context, b, artifact []byte) (*Verified, error) {
	o := Options{Trust: p.Trust, To: p.Receiver(), Now: p.now(), Artifact: artifact, Bare: p.Bare}
	if h, err := bundle.NewReader(bytes.NewReader(b)).Header(); err == nil {
		known, err := p.Known(ctx, h.Origin)
		if err != nil {
			return nil, err
		}
		o.Known = known
	}
	v, err := Verify(b, o)
	if err != nil {
		return nil, err
	}
	if at, err := p.accepted(ctx, v.ID()); err != nil || !at.ID.IsZero() {
		if err == nil && !p.own(at) {
			err = used(v.ID(), v.Origin(), at)
		}
		if err != nil {
			return nil, err
		}
	}
	return v, nil
}

// Known returns the largest tree head of another ledger on which something was
// accepted here; nil where nothing was.
func (p *Party) Known(ctx context.Context, origin string) (*KnownHead, error) {
	at, err := p.acceptance(ctx, ledger.Filter{Known: origin})
	if err != nil || at.ID.IsZero() {
		return nil, err
	}
	last := at.Record.Body.(*evidence.HandoffAccepted)
	k := &KnownHead{Size: uint64(last.Head.Size), Root: tlog.Hash(last.Head.Root)}
	// The note is for a proof, should there be need of one; its size and root are
	// what the record says.
	if kept, err := p.Ledger.ReadPayload(ctx, last.Bundle.Commit); err == nil {
		k.Note = lastHead(kept.Data)
	}
	return k, nil
}

// lastHead returns the largest tree head of a bundle; nil where there is none.
func lastHead(b []byte) []byte {
	r := bundle.NewReader(bytes.NewReader(b))
	var note []byte
	for {
		item, err := r.Next()
		h, ok := item.(*bundle.HeadItem)
		if err != nil || !ok {
			return note
		}
		note = h.Note
	}
}

// accepted returns the acceptance of an offer in this ledger; the zero Placed where
// there is none.
func (p *Party) accepted(ctx context.Context, offer evidence.ID) (evidence.Placed, error) {
	return p.acceptance(ctx, ledger.Filter{Offer: offer})
}

// acceptance returns the acceptance that a filter by offer or by other ledger finds;
// the zero Placed where it finds none. A ledger that is elsewhere is held to it.
func (p *Party) acceptance(ctx context.Context, f ledger.Filter) (evidence.Placed, error) {
	for at, err := range p.Ledger.Find(ctx, f) {
		if err != nil {
			return evidence.Placed{}, fmt.Errorf("handoff: what was accepted before: %w", err)
		}
		b, ok := at.Record.Body.(*evidence.HandoffAccepted)
		if !ok || b.Offer != f.Offer && !f.Offer.IsZero() || b.Origin != f.Known && f.Known != "" {
			return evidence.Placed{}, fmt.Errorf("handoff: want the acceptance that was asked for, found the %s %s", at.Record.Kind, at.ID)
		}
		return at, nil
	}
	return evidence.Placed{}, nil
}

// own reports whether an acceptance is this party's.
func (p *Party) own(at evidence.Placed) bool {
	return at.Record.Actor == p.Agent && at.Record.Body.(*evidence.HandoffAccepted).Acceptance.IsZero()
}

// used: another acceptance of the offer stands.
func used(offer evidence.ID, origin string, at evidence.Placed) *Refused {
	return &Refused{
		Reason: Used, Expected: "an offer that nobody accepted",
		Found: fmt.Sprintf("it was accepted by %s, for %s", at.Record.Actor, at.Record.Body.(*evidence.HandoffAccepted).Opens),
		Offer: offer, Origin: origin, Stands: at.ID,
	}
}

// tries is how often a record is signed anew because somebody registered an actor
// meanwhile, or the line was full.
const tries = 8

// Accept records that the offer is accepted, for a run that is yet to be opened.
// One acceptance of an offer stands in a ledger: where it is this party's, and for
// the same run, it is returned; another's, or for another run, is a *[Refused] with
// reason [Used].
func (p *Party) Accept(ctx context.Context, v *Verified, opens evidence.RunID) (*Accepted, error) {
	if v == nil || v.to != p.Receiver() {
		return nil, errors.New("handoff: want an offer that was verified for this party")
	}
	at, err := p.accepted(ctx, v.ID())
	if err != nil {
		return nil, err
	}
	if !at.ID.IsZero() {
		return p.stands(v, at, opens)
	}
	if r := p.late(ctx, v); r != nil {
		return nil, r
	}
	id, err := p.record(ctx, &evidence.HandoffAccepted{Offer: v.ID(), Origin: v.Origin(), Opens: opens, Head: v.head()}, v.bundle)
	if err != nil {
		return nil, err
	}
	if at, err = p.Ledger.Get(ctx, id); err != nil {
		return nil, fmt.Errorf("handoff: the acceptance that stands: %w", err)
	}
	return v.accepted(at), nil
}

// late is what may have changed since the offer was verified.
func (p *Party) late(ctx context.Context, v *Verified) error {
	known, err := p.Known(ctx, v.Origin())
	if err != nil {
		return err
	}
	c := &check{o: &Options{Trust: p.Trust, To: v.to, Now: p.now(), Known: known, Bare: v.bare}, offer: v.offer, report: v.report}
	for _, rule := range []func() *Refused{c.expiry, c.fresh, c.known} {
		if r := rule(); r != nil {
			r.Offer, r.Origin, r.Report = v.ID(), v.Origin(), v.report
			return r
		}
	}
	return nil
}

// stands returns an acceptance that was there already, if it is the one that is
// wanted.
func (p *Party) stands(v *Verified, at evidence.Placed, opens evidence.RunID) (*Accepted, error) {
	if !p.own(at) || at.Record.Body.(*evidence.HandoffAccepted).Opens != opens {
		return nil, used(v.ID(), v.Origin(), at)
	}
	return v.accepted(at), nil
}

func (p *Party) random() io.Reader {
	if p.Random != nil {
		return p.Random
	}
	return rand.Reader
}

// append records what the agent says, outside of any run.
func (p *Party) append(ctx context.Context, body evidence.Body) (evidence.Placed, error) {
	for try := 1; ; try++ {
		registry, err := p.Ledger.Actors(ctx)
		if err != nil {
			return evidence.Placed{}, fmt.Errorf("handoff: read the registry: %w", err)
		}
		n := registry.Number()
		entry, err := evidence.Sign(&evidence.Record{
			Origin: p.Origin, Kind: body.Kind(), Actor: p.Agent, Time: evidence.TimeOf(p.now()), Registry: &n, Body: body,
		}, p.Key)
		if err != nil {
			return evidence.Placed{}, fmt.Errorf("handoff: %w", err)
		}
		placed, err := p.Ledger.Submit(entry)(ctx)
		if err == nil {
			return placed[0], nil
		}
		refusal := ledger.AsRefusal(err)
		stale := refusal != nil && refusal.Reason == ledger.Reason(audit.ReasonStale)
		if try == tries || !stale && !errors.Is(err, tlog.ErrBusy) {
			return evidence.Placed{}, fmt.Errorf("handoff: the ledger took no %s: %w", body.Kind(), err)
		}
		if !stale {
			select {
			case <-time.After(time.Duration(try) * 10 * time.Millisecond):
			case <-ctx.Done():
				return evidence.Placed{}, ctx.Err()
			}
		}
	}
}

// Load returns an acceptance of this party that stands in its ledger, with what it
// was given for: what a run needs that is resumed. The bundle is audited again, as
// of when it was accepted.
func (p *Party) Load(ctx context.Context, id evidence.ID) (*Accepted, error) {
	at, err := p.Ledger.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("handoff: the acceptance %s: %w", id, err)
	}
	b, ok := at.Record.Body.(*evidence.HandoffAccepted)
	if !ok || !p.own(at) {
		return nil, fmt.Errorf("handoff: want an acceptance by %s, found a %s by %s: %s", p.Agent, at.Record.Kind, at.Record.Actor, id)
	}
	kept, err := p.Ledger.ReadPayload(ctx, b.Bundle.Commit)
	if err != nil {
		return nil, fmt.Errorf("handoff: what %s accepted: %w", id, err)
	}
	v, err := Verify(kept.Data, Options{Trust: p.Trust, To: p.Receiver(), Now: at.Record.Time.Std(), Bare: true})
	if err != nil {
		return nil, fmt.Errorf("handoff: what %s accepted does not hold up any more: %w", id, err)
	}
	if v.ID() != b.Offer || v.Origin() != b.Origin || v.head() != b.Head {
		return nil, fmt.Errorf("handoff: want the bundle about %s of %s, found one about %s of %s", b.Offer, b.Origin, v.ID(), v.Origin())
	}
	return v.accepted(at), nil
}

// Taken returns an acceptance that a run's line may have taken up, with what it was
// given for; nil where the record of that ID is none for this run.
func (p *Party) Taken(ctx context.Context, run evidence.RunID, id evidence.ID) (*Accepted, error) {
	at, err := p.Ledger.Get(ctx, id)
	if errors.Is(err, ledger.ErrNoRecord) {
		return nil, nil // the evidence of a context may stand elsewhere
	}
	if err != nil {
		return nil, fmt.Errorf("handoff: what %s took up: %w", run, err)
	}
	b, ok := at.Record.Body.(*evidence.HandoffAccepted)
	if !ok || b.Opens != run || !b.Acceptance.IsZero() {
		return nil, nil
	}
	return p.Load(ctx, id)
}

// Reject records why an offer was not accepted, with the proof where two tree heads
// cannot both be true, and returns the record's ID.
func (p *Party) Reject(ctx context.Context, r *Refused) (evidence.ID, error) {
	if r.Offer.IsZero() || r.Origin == "" {
		return evidence.ID{}, fmt.Errorf("handoff: want a refusal of an offer that is known: %w", r)
	}
	body := &evidence.HandoffRejected{Offer: r.Offer, Origin: r.Origin, Reason: string(r.Reason)}
	if r.Proof[0] != nil && r.Proof[1] != nil {
		data, err := json.Marshal(map[string][]string{"heads": {string(r.Proof[0]), string(r.Proof[1])}}, json.Deterministic(true))
		if err != nil {
			return evidence.ID{}, fmt.Errorf("handoff: the proof: %w", err)
		}
		if body.Proof, err = p.keep(ctx, "application/json", data); err != nil {
			return evidence.ID{}, err
		}
	}
	at, err := p.append(ctx, body)
	return at.ID, err
}

// record keeps a bundle and records an acceptance that commits to it. What was
// recorded before, of the same acceptance, is returned; of another is a *[Refused].
func (p *Party) record(ctx context.Context, body *evidence.HandoffAccepted, b []byte) (evidence.ID, error) {
	kept, err := p.keep(ctx, bundle.Media, b)
	if err != nil {
		return evidence.ID{}, err
	}
	body.Bundle = *kept
	at, err := p.append(ctx, body)
	var conflict *ledger.ConflictError
	if !errors.As(err, &conflict) || conflict.Reason != ledger.Reason(audit.ReasonUsed) {
		return at.ID, err
	}
	if at, err = p.Ledger.Get(ctx, conflict.Stands); err != nil {
		return evidence.ID{}, fmt.Errorf("handoff: the acceptance that stands: %w", err)
	}
	if there := at.Record.Body.(*evidence.HandoffAccepted); there.Acceptance != body.Acceptance || there.Opens != body.Opens || at.Record.Actor != p.Agent {
		return evidence.ID{}, used(body.Offer, body.Origin, at)
	}
	return at.ID, nil
}

// keep stores a payload and returns the commitment to it.
func (p *Party) keep(ctx context.Context, media string, data []byte) (*evidence.Commitment, error) {
	kept := evidence.Payload{Media: media, Data: data}
	if _, err := io.ReadFull(p.random(), kept.Salt[:]); err != nil {
		return nil, fmt.Errorf("handoff: a payload's salt: %w", err)
	}
	if _, err := p.Ledger.PutPayloads(ctx, []evidence.Payload{kept}); err != nil {
		return nil, fmt.Errorf("handoff: keep a payload: %w", err)
	}
	c := kept.Commitment()
	return &c, nil
}
