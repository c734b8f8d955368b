package audit

import (
	"fmt"
	"slices"

	"ledgerd/evidence"
)

// settle takes what a probe or a human found out about a doubt.
func (r *Run) settle(p place, b *evidence.Settlement, by Signer) []Finding {
	found, counts := r.settles(p, b, by)
	if c := r.beside[b.Answer]; !counts && c != nil && c.cited == p.index {
		c.cited = 0 // else what a tool says could be buried by naming it here
	}
	return found
}

// settles reports also whether the settlement counts.
func (r *Run) settles(p place, b *evidence.Settlement, by Signer) (found []Finding, counts bool) {
	r.happened(p.id)
	a, i := r.byID[b.Settles], -1
	if a != nil {
		i = len(a.attempts) - 1
	} else if t, ok := r.attempts[b.Settles]; ok {
		a, i = t.act, t.i
	}
	if a == nil {
		r.brief.lose()
		return []Finding{p.broken(RuleOutcome, ReasonReference, "an earlier authorization or execution of the run", "%s", b.Settles)}, false
	}
	open := a.auth != nil && a.allowed()
	if i >= 0 {
		open = a.outcomeOf(i, p.index).state == maybe
	} else if _, any := a.last(p.index); any {
		open = false
	}
	if !open {
		found = append(found, p.broken(RuleOutcome, ReasonNotInDoubt, "what it settles to be in doubt", "%s, which is not", b.Settles).and(a.id, a.index))
		return found, false
	}
	w := answer{id: p.id, index: p.index, key: by.Key, attempt: i, status: b.Finding, output: b.Output, refs: b.Refs}
	switch b.By {
	case evidence.ByProbe:
		w.source = evidence.SourceRuntime
	default:
		w.source = evidence.SourceReported
	}
	if !b.Answer.IsZero() {
		c := r.beside[b.Answer]
		if c == nil {
			r.brief.lose()
			found = append(found, p.broken(RuleChain, ReasonReference, "the answer that it rests on, beside the line and before it", "%s", b.Answer))
		} else if body, ok := c.rec.Body.(*evidence.Confirmation); ok && c.by.Name == a.tool && body.Status == b.Finding && (c.rec.About == a.id || c.rec.About == b.Settles) {
			w.source = evidence.SourceConfirmed
		}
	}
	if b.By == evidence.ByConfirmation && w.source != evidence.SourceConfirmed {
		return append(found, p.broken(RuleOutcome, ReasonDiffers, "a confirmation by "+a.tool+" of what is settled, with the finding "+string(b.Finding), "another")), false
	}
	if a.imported() && w.source != evidence.SourceConfirmed {
		w.source = evidence.SourceImported
	}
	r.brief.touch(a)
	a.answers = append(a.answers, w)
	return found, true
}

// Doubt is an action whose outcome nobody knows.
type Doubt struct {
	ID            evidence.ID // the execution, or the authorization that was never seen executed
	Index         uint64
	Authorization evidence.ID
	Action        string
}

// InDoubt returns what a runtime that takes the run over has to settle: allowed
// authorizations without an execution, and executions whose status is unknown.
func (r *Run) InDoubt() []Doubt {
	var doubts []Doubt
	for _, a := range r.acts {
		if d, ok := a.doubt(); ok {
			doubts = append(doubts, d)
		}
	}
	return doubts
}

func (a *act) doubt() (Doubt, bool) {
	d := Doubt{a.id, a.index, a.id, a.action}
	if n := len(a.attempts); n > 0 && len(a.answers) == 0 && a.attempts[n-1].status != evidence.StatusUnknown {
		return d, false // as nearly all are: nobody said more about it
	}
	o, any := a.last(forever)
	switch {
	case !any:
		return d, a.auth != nil && a.auth.Effect == evidence.Allow && !a.misfit
	case o.status != evidence.StatusUnknown:
		return d, false
	}
	if n := len(a.attempts); n > 0 {
		d.ID, d.Index = a.attempts[n-1].id, a.attempts[n-1].index
	}
	return d, !a.imported()
}

// resumed requires that the runtime names what is in doubt, all of it and
// nothing else.
func (r *Run) resumed(p place, b *evidence.RunResumed) []Finding {
	var found []Finding
	want := make(map[evidence.ID]bool)
	for _, d := range r.InDoubt() {
		want[d.ID] = true
		if !slices.Contains(b.InDoubt, d.ID) {
			found = append(found, p.broken(RuleResume, ReasonCovers, "in_doubt to name every outcome that nobody knows", "no word of %s", d.ID).and(d.ID, d.Index))
		}
	}
	for _, id := range b.InDoubt {
		t, executed := r.attempts[id]
		if !want[id] && !executed {
			r.brief.lose()
		}
		if !want[id] && !(executed && t.act.outcomeOf(t.i, p.index).state == maybe) {
			found = append(found, p.broken(RuleResume, ReasonCovers, "in_doubt to name what is in doubt", "%s, which is not", id))
		}
	}
	return found
}

// happened notes an execution or a settlement for the next checkpoint.
func (r *Run) happened(id evidence.ID) {
	if r.brief != nil {
		r.brief.since.add(id)
		return
	}
	r.since = append(r.since, id)
}

// checkpoint requires that it covers each execution and settlement since the
// one before, and nothing that did not happen.
func (r *Run) checkpoint(p place, b *evidence.Checkpoint) []Finding {
	var found []Finding
	if b.Sequence != r.points+1 {
		found = append(found, p.broken(RuleResume, ReasonSequence, fmt.Sprintf("checkpoint %d", r.points+1), "%d", b.Sequence))
	}
	if r.brief != nil {
		// In another order it may be right all the same: the whole fold knows.
		if !r.brief.since.lists(b.Covers) {
			r.brief.lose()
		}
		r.brief.since = chain{}
		r.points = b.Sequence
		return found
	}
	happened := make(map[evidence.ID]bool, len(r.since))
	for _, id := range r.since {
		happened[id] = true
	}
	for _, id := range b.Covers {
		if !happened[id] {
			found = append(found, p.broken(RuleResume, ReasonCovers, "covers to name executions and settlements since the checkpoint before", "%s", id))
		}
		delete(happened, id)
	}
	for _, id := range r.since {
		if happened[id] {
			delete(happened, id) // said once, however often the log holds it
			found = append(found, p.broken(RuleResume, ReasonCovers, "covers to name every execution and settlement since the checkpoint before", "no word of %s", id))
		}
	}
	r.points, r.lastPt, r.since = b.Sequence, b, nil
	return found
}

// close requires that every allowed authorization has an outcome.
func (r *Run) close(p place) []Finding {
	var found []Finding
	for _, d := range r.InDoubt() {
		found = append(found, p.broken(RuleOutcome, ReasonNoOutcome, "every allowed authorization to have an outcome when the run is closed", "%s of %s without one", d.Action, d.ID).and(d.ID, d.Index))
	}
	return found
}

// Pending returns the outcomes that an open run still owes; none once closed.
func (r *Run) Pending() []Finding {
	if r.Closed {
		return nil
	}
	var found []Finding
	for _, d := range r.InDoubt() {
		f := place{d.Index, d.ID, r.Run}.undecidable(RuleOutcome, ReasonNoOutcome, "a later bundle of the run, with the execution or a settlement",
			"an outcome", "none yet of %s: it is in doubt", d.Action)
		found = append(found, f)
	}
	return found
}
