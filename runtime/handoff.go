package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/ledger"
)

// ScopePolicy is what an authorization names as deciding policy that was denied
// because the handoff which the run continues does not permit it.
const ScopePolicy = "handoff-scope"

// Continues opens the run that continues a handoff: the one that its acceptance
// opens, whose key is the run's. Whatever the policies say, nothing is permitted in
// it that the handoff's scope does not permit, or that of another which it took up
// ([Run.Take]), nor in its children.
func Continues(a *handoff.Accepted) Option { return func(o *openOptions) { o.accepted = a } }

// Accepted returns the handoff that the run continues; nil: none.
func (r *Run) Accepted() *handoff.Accepted { return r.accepted }

// Taken returns the handoffs that the run took up, the one that it continues first.
func (r *Run) Taken() []*handoff.Accepted {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.taken)
}

// continues finds what the run continues and took up before. r.mu is held.
func (r *Run) continues(ctx context.Context, o *openOptions) error {
	r.accepted, r.taken = nil, nil
	if err := r.takesUp(ctx, r.state.Run().Takes()); err != nil {
		return err
	}
	if id := r.body.Acceptance; !id.IsZero() && r.accepted == nil {
		if o.accepted == nil {
			return r.fail(RunChanged, "it continues the handoff accepted by %s: open it with runtime.Continues, or give the runtime its party to handoffs", id)
		}
		r.took(o.accepted)
	}
	return nil
}

// takesUp notes those of the records that are handoffs accepted for the run. r.mu is
// held.
func (r *Run) takesUp(ctx context.Context, ids []evidence.ID) error {
	if r.rt.cfg.Handoffs == nil {
		return nil
	}
	party := r.rt.cfg.Handoffs(r.agent)
	for _, id := range ids {
		a, err := party.Taken(ctx, r.id, id)
		if err != nil {
			return err
		}
		if a != nil {
			r.took(a)
		}
	}
	return nil
}

// took notes a handoff that the run took up. r.mu is held.
func (r *Run) took(a *handoff.Accepted) {
	if slices.ContainsFunc(r.taken, func(o *handoff.Accepted) bool { return o.ID() == a.ID() }) {
		return
	}
	a.Hand(r.state.Run())
	r.taken = append(r.taken, a)
	if a.ID() == r.body.Acceptance {
		r.accepted = a
	}
}

// Take has the run take up a handoff that was accepted for it, besides the one that
// it continues, if it does: an agent that handed out work takes up what comes back,
// and one that was given work by several takes up what each of them gave. From then on
// the run's claims rest on it, too. What it may do is what one of the handoffs
// permits, if it was opened to continue one; else what it might before.
//
// It is a context on the line, whose source is the artifact and names the acceptance;
// its ID is returned. Taken up again it is the same. The runtime needs its party to
// handoffs for it ([Config.Handoffs]).
func (r *Run) Take(ctx context.Context, a *handoff.Accepted) (evidence.ID, error) {
	switch {
	case r.rt.cfg.Handoffs == nil:
		return evidence.ID{}, errors.New("runtime: want a party to handoffs in the configuration: without, the run could not be resumed")
	case a == nil || a.Opens() != r.id || a.Agent() != r.agent:
		return evidence.ID{}, fmt.Errorf("run %q: want a handoff that %s accepted for %s", r.key, r.agent, r.id)
	}
	r.mu.Lock()
	id := r.state.Run().TakenBy(a.ID())
	r.mu.Unlock()
	if !id.IsZero() {
		return id, nil
	}
	s := Source{Name: a.Giver(), Data: a.Artifact(), Evidence: a.ID()}
	if c := a.Offer().Artifact; c != nil {
		s.Media = c.Media
	}
	return r.Context(ctx, s)
}

// permits reports whether what a run was given permits an action: one that continues
// no handoff needs nobody's.
func (r *Run) permits(action, resource string) bool {
	return r.accepted == nil || slices.ContainsFunc(r.taken, func(a *handoff.Accepted) bool { return a.Permits(action, resource) })
}

// outOfScope returns the handoff whose scope does not permit an action; nil: there
// is none.
func (r *Run) outOfScope(action, resource string) *handoff.Accepted {
	for ; r != nil; r = r.parent {
		if !r.permits(action, resource) {
			return r.accepted
		}
	}
	return nil
}

// wider reports whether a scope is wider than what the run was given.
func (r *Run) wider(scope []evidence.ScopeEntry) bool {
	var given []evidence.ScopeEntry
	for _, a := range r.taken {
		given = append(given, a.Offer().Scope...)
	}
	return r.accepted != nil && !audit.Narrower(scope, given)
}

func acceptanceOf(a *handoff.Accepted) evidence.ID {
	if a == nil {
		return evidence.ID{}
	}
	return a.ID()
}

// Offering is work that a run's agent offers to another.
type Offering struct {
	To    evidence.Recipient
	Task  string // the type of task, as the receiver knows it
	Scope []evidence.ScopeEntry
	// Evidence is on what the offer rests: results of steps, claims.
	Evidence []evidence.ID
	// Artifact is what is handed over, of a media type; nil: nothing is.
	Artifact []byte
	Media    string // application/json if empty
	Note     string // natural language, which nobody verifies
	// For is how long the offer can be accepted: an hour if 0.
	For time.Duration
	// HeadMaxAge is how old the tree head of the bundle may be then: For if 0.
	HeadMaxAge time.Duration
}

// Offer offers work to another agent, on the run's line, and returns the offer's
// evidence ID: of this a bundle is exported, which goes to the receiver. The same
// offer made again is the one that stands.
//
// A run that continues a handoff passes on no more than it was given: what is wider
// is a [*handoff.Refused] with reason [handoff.Scope].
func (r *Run) Offer(ctx context.Context, o Offering) (evidence.ID, error) {
	if o.For <= 0 {
		o.For = time.Hour
	}
	if o.HeadMaxAge <= 0 {
		o.HeadMaxAge = o.For
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := r; p != nil; p = p.parent {
		if p.wider(o.Scope) {
			return evidence.ID{}, &handoff.Refused{
				Reason: handoff.Scope, Origin: p.accepted.Origin(), Offer: p.accepted.OfferID(),
				Expected: "a scope within that of the handoff which the run continues", Found: "a wider one",
			}
		}
	}
	if id, err := r.offered(ctx, &o); err != nil || !id.IsZero() {
		return id, err
	}
	body := &evidence.HandoffOffered{
		To: o.To, Task: o.Task, Scope: o.Scope, Evidence: o.Evidence, Parent: acceptanceOf(r.accepted),
		Expires: evidence.TimeOf(r.rt.cfg.Clock.Now().Add(o.For)), HeadMaxAge: int64(max(o.HeadMaxAge/time.Second, 1)),
	}
	var payloads []evidence.Payload
	keep := r.rt.sealInto(&payloads)
	var err error
	if o.Artifact != nil {
		if body.Artifact, err = keep(o.Media, o.Artifact); err != nil {
			return evidence.ID{}, err
		}
	}
	if o.Note != "" {
		if body.Note, err = keep(mediaText, []byte(o.Note)); err != nil {
			return evidence.ID{}, err
		}
	}
	placed, err := r.write(ctx, draft{body: body, actor: r.agent, payloads: payloads})
	return placed.ID, err
}

// offered returns the offer that was made before, if it is the same one; the zero ID:
// there is none. r.mu is held.
func (r *Run) offered(ctx context.Context, o *Offering) (evidence.ID, error) {
	for p, err := range r.rt.cfg.Ledger.Run(ctx, r.id) {
		if err != nil {
			return evidence.ID{}, fmt.Errorf("run %q: what it offered before: %w", r.key, err)
		}
		b, ok := p.Record.Body.(*evidence.HandoffOffered)
		if !ok || !p.Record.OnLine() || b.To != o.To || b.Task != o.Task || !slices.Equal(b.Scope, o.Scope) || !slices.Equal(b.Evidence, o.Evidence) {
			continue
		}
		same, err := r.holds(ctx, b.Artifact, o.Artifact)
		if err == nil && same {
			var note []byte
			if o.Note != "" {
				note = []byte(o.Note)
			}
			same, err = r.holds(ctx, b.Note, note)
		}
		if err != nil || same {
			return p.ID, err
		}
	}
	return evidence.ID{}, nil
}

// holds reports whether a commitment is to data; nil: to nothing. What was erased
// nobody can compare.
func (r *Run) holds(ctx context.Context, c *evidence.Commitment, data []byte) (bool, error) {
	if c == nil || data == nil {
		return c == nil && data == nil, nil
	}
	p, err := r.rt.cfg.Ledger.ReadPayload(ctx, c.Commit)
	switch {
	case errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNoPayload):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("run %q: what it offered before: %w", r.key, err)
	}
	return bytes.Equal(p.Data, data), nil
}
