package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ledgerd/checkpoint"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/api"
	"ledgerd/internal/exchange"
	"ledgerd/runtime"
)

// ErrNoHandoffs: the daemon takes and makes no handoffs.
var ErrNoHandoffs = errors.New("this daemon hands nothing over")

func (h *Host) exchange() (*exchange.Exchange, error) {
	if h.cfg.Handoffs == nil {
		return nil, ErrNoHandoffs
	}
	return h.cfg.Handoffs, nil
}

// Offer offers work of a run to another agent.
func (h *Host) Offer(ctx context.Context, by, key string, o api.MakeOffer) (*api.Offer, error) {
	x, err := h.exchange()
	if err != nil {
		return nil, err
	}
	offering, err := offeringOf(&o)
	if err != nil {
		return nil, err
	}
	if len(o.Steps)+len(o.Evidence) > maxList {
		return nil, invalid("steps", "want at most %d records and steps together, found %d", maxList, len(o.Steps)+len(o.Evidence))
	}
	var answer *api.Offer
	err = h.with(ctx, by, key, func(run *runtime.Run) error {
		offering.Evidence = slices.Clone(o.Evidence)
		for _, step := range o.Steps {
			id, err := succeeded(run, step)
			if err != nil {
				return err
			}
			if !slices.Contains(offering.Evidence, id) {
				offering.Evidence = append(offering.Evidence, id)
			}
		}
		id, err := run.Offer(ctx, *offering)
		if err != nil {
			return err
		}
		answer = &api.Offer{Run: run.ID(), Offer: id}
		answer.Delivery, answer.Expires, err = x.Delivery(ctx, id)
		return err
	})
	return answer, err
}

// maxFor is how long an offer can be accepted at most.
const maxFor = 366 * 24 * time.Hour

func offeringOf(o *api.MakeOffer) (*runtime.Offering, error) {
	if err := identifiers(map[string]string{"to.origin": o.To.Origin, "to.actor": o.To.Actor, "task": o.Task}); err != nil {
		return nil, err
	}
	switch {
	case o.To.Origin == "" || o.To.Actor == "" || o.To.Key.IsZero():
		return nil, invalid("to", "want the origin, actor and key of who receives")
	case o.Task == "":
		return nil, invalid("task", "want a type of task, found none")
	case len(o.Scope) == 0 || len(o.Scope) > maxList:
		return nil, invalid("scope", "want 1 to %d entries of action and resource, found %d", maxList, len(o.Scope))
	case o.ForS < 0 || o.ForS > int64(maxFor/time.Second):
		return nil, invalid("for_s", "want 1 to %d seconds, found %d", int64(maxFor/time.Second), o.ForS)
	case o.HeadMaxAgeS < 0 || o.HeadMaxAgeS > int64(maxFor/time.Second):
		return nil, invalid("head_max_age_s", "want 1 to %d seconds, found %d", int64(maxFor/time.Second), o.HeadMaxAgeS)
	case len(o.Artifact) > 0 && (len(o.ArtifactBase64) > 0 || o.Media != ""):
		return nil, invalid("artifact", "want artifact, or artifact_base64 with media, found both")
	case len(o.ArtifactBase64) > 0 && o.Media == "":
		return nil, invalid("media", "want the media type of artifact_base64, found none")
	}
	for _, s := range o.Scope {
		if s.Action == "" || s.Resource == "" {
			return nil, invalid("scope", "want an action and a resource in each entry")
		}
		if err := identifiers(map[string]string{"scope.action": s.Action, "scope.resource": s.Resource}); err != nil {
			return nil, err
		}
	}
	a := &runtime.Offering{
		To: o.To, Task: o.Task, Scope: o.Scope, Media: o.Media, Note: o.Note,
		For: time.Duration(o.ForS) * time.Second, HeadMaxAge: time.Duration(o.HeadMaxAgeS) * time.Second,
	}
	if len(o.ArtifactBase64) > 0 {
		a.Artifact = o.ArtifactBase64
		return a, nil
	}
	var err error
	a.Artifact, err = value("artifact", o.Artifact)
	return a, err
}

// succeeded returns the successful execution of a step.
func succeeded(run *runtime.Run, step string) (id evidence.ID, err error) {
	run.View(func(s *checkpoint.State) {
		p := s.Plan(step, evidence.TimeOf(time.Now()))
		if p.Next != checkpoint.Return {
			err = fmt.Errorf("step %q: %w that succeeded", clip(step), runtime.ErrNoStep)
			return
		}
		id = p.Action.Last
	})
	return id, err
}

// continues returns what a run is opened with that continues a handoff: an offer that
// it is to accept, or what it accepted before; no option where it continues nothing.
func (h *Host) continues(ctx context.Context, agent, key string, offer *evidence.ID) ([]runtime.Option, error) {
	before, err := h.openedFor(ctx, key)
	if err != nil && !errors.Is(err, runtime.ErrNoRun) {
		return nil, err
	}
	opened := err == nil
	if offer == nil && (!opened || before.Acceptance.IsZero()) || opened && before.agent != agent {
		return nil, nil // or another agent's run, which the runtime will say
	}
	x, err := h.exchange()
	if err != nil {
		return nil, err
	}
	if offer == nil {
		return nil, nil // the runtime reads back what it accepted
	}
	if opened && before.Acceptance.IsZero() {
		// Before anything is accepted for a run that cannot continue it.
		return nil, &runtime.RunError{Run: h.RunID(key), Key: key, Reason: runtime.RunChanged, Err: errors.New("it was opened to continue nothing")}
	}
	a, err := x.Accept(ctx, agent, *offer, h.RunID(key))
	if err != nil {
		return nil, err
	}
	return []runtime.Option{runtime.Continues(a)}, nil
}

func continuedOf(a *handoff.Accepted) *api.Continued {
	if a == nil {
		return nil
	}
	o := a.Offer()
	return &api.Continued{Acceptance: a.ID(), Offer: a.OfferID(), Origin: a.Origin(), Giver: a.Giver(), Task: o.Task, Scope: o.Scope}
}

// tookUp lists the handoffs that a run took up besides the one that it continues.
func tookUp(run *runtime.Run) []api.Continued {
	var all []api.Continued
	for _, a := range run.Taken() {
		if a != run.Accepted() {
			all = append(all, *continuedOf(a))
		}
	}
	return all
}

// TakeUp accepts an offer that waits for the agent of a run which is open, and has the
// run take it up.
func (h *Host) TakeUp(ctx context.Context, by, key string, t api.TakeUp) (*api.TakenUp, error) {
	x, err := h.exchange()
	if err != nil {
		return nil, err
	}
	if t.Offer.IsZero() {
		return nil, invalid("offer", "want the evidence ID of an offer, found none")
	}
	var answer *api.TakenUp
	err = h.with(ctx, by, key, func(run *runtime.Run) error {
		closed := false
		run.View(func(s *checkpoint.State) { closed = s.Closed() != nil })
		if closed { // before anything is accepted for it
			return &runtime.RunError{Run: run.ID(), Key: key, Reason: runtime.RunEnded, Err: errors.New("a run that is closed takes nothing up")}
		}
		a, err := x.Accept(ctx, run.Agent(), t.Offer, run.ID())
		if err != nil {
			return err
		}
		id, err := run.Take(ctx, a)
		if err != nil {
			return err
		}
		answer = &api.TakenUp{Continued: *continuedOf(a), Run: run.ID(), Context: id}
		return nil
	})
	return answer, err
}

// Handoffs lists the handoffs of the ledger, and what waits.
func (h *Host) Handoffs(ctx context.Context, first uint64, limit int) (*api.Handoffs, error) {
	x, err := h.exchange()
	if err != nil {
		return nil, err
	}
	return x.List(ctx, first, limit)
}

// Handoff shows an offer that waits here, or was accepted here, verified anew. may
// reports whether what is handed over, or anything of it, may be shown of an offer to
// that agent.
func (h *Host) Handoff(ctx context.Context, offer evidence.ID, may func(agent string) (seen, opened bool)) (*api.Offered, error) {
	x, seen, opened, err := h.shown(ctx, offer, may)
	if err == nil && !seen {
		err = ErrOtherAgent
	}
	if err != nil {
		return nil, err
	}
	return x.Show(ctx, offer, opened)
}

// HandoffBundle returns the bundle about an offer, as it came.
func (h *Host) HandoffBundle(ctx context.Context, offer evidence.ID, may func(agent string) (seen, opened bool)) ([]byte, error) {
	x, _, opened, err := h.shown(ctx, offer, may)
	if err == nil && !opened {
		err = ErrOtherAgent
	}
	if err != nil {
		return nil, err
	}
	return x.Bundle(ctx, offer)
}

// shown asks what may be shown of an offer.
func (h *Host) shown(ctx context.Context, offer evidence.ID, may func(agent string) (seen, opened bool)) (x *exchange.Exchange, seen, opened bool, err error) {
	if x, err = h.exchange(); err != nil {
		return nil, false, false, err
	}
	agent, err := x.Recipient(ctx, offer)
	if err != nil {
		return nil, false, false, err
	}
	seen, opened = may(agent)
	return x, seen, opened, nil
}

// RejectOffer records that an agent does not accept an offer.
func (h *Host) RejectOffer(ctx context.Context, by string, offer evidence.ID, r api.RejectOffer) (*api.Rejection, error) {
	x, err := h.exchange()
	if err != nil {
		return nil, err
	}
	if err := identifiers(map[string]string{"because": r.Because}); err != nil {
		return nil, err
	}
	if slices.Contains(handoff.Reasons(), handoff.Reason(r.Because)) {
		return nil, invalid("because", "want a word of yours, found %q, which says that the offer does not verify", r.Because)
	}
	agent, err := x.Recipient(ctx, offer)
	if err != nil {
		return nil, err
	}
	if !h.acts(by, agent) {
		return nil, ErrOtherAgent
	}
	answer, err := x.Reject(ctx, agent, offer, r.Because)
	if errors.Is(err, exchange.ErrBecause) {
		return nil, &InvalidError{"because", err}
	}
	return answer, err
}

// openedFor reads what a run was opened for, and fails with runtime.ErrNoRun where it
// never was.
func (h *Host) openedFor(ctx context.Context, key string) (*opening, error) {
	for p, err := range h.cfg.Ledger.Run(ctx, h.cfg.Runtime.RunID(key)) {
		if err != nil {
			return nil, err
		}
		if b, ok := p.Record.Body.(*evidence.RunOpened); ok {
			return &opening{b, p.Record.Actor, p.ID}, nil
		}
	}
	return nil, fmt.Errorf("run %q: %w", key, runtime.ErrNoRun)
}

// opening is the record that opened a run.
type opening struct {
	*evidence.RunOpened
	agent string
	id    evidence.ID
}
