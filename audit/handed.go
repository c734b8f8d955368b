package audit

import "ledgerd/evidence"

// A take is a record of a run's line that takes up a handoff: its run.opened, or
// a context with the acceptance among its sources.
type take struct {
	place
	acceptance evidence.ID
}

// handed is what an acceptance brought to the run that it opens.
type handed struct {
	bundle evidence.Digest // commitment to the bundle about the offer
	offer  *Offer          // nil: not disclosed
}

// Hand gives the run what an acceptance commits to: the bundle that was verified.
// From the record of its line on that takes the acceptance up, the run rests on it.
// o is nil where the bundle is not at hand.
func (r *Run) Hand(acceptance evidence.ID, b *evidence.HandoffAccepted, o *Offer) {
	if r.handed == nil {
		r.handed = make(map[evidence.ID]*handed)
	}
	r.handed[acceptance] = &handed{b.Bundle.Commit, o}
}

// takesUp notes the handoffs that a record of the line takes up.
func (r *Run) takesUp(p place, b evidence.Body) {
	note := func(id evidence.ID) {
		if _, again := r.takenBy[id]; again || id.IsZero() {
			return
		}
		if r.takenBy == nil {
			r.takenBy = make(map[evidence.ID]evidence.ID)
		}
		r.takenBy[id] = p.id
		r.takes = append(r.takes, take{p, id})
	}
	switch b := b.(type) {
	case *evidence.RunOpened:
		note(b.Acceptance)
	case *evidence.Context:
		for i := range b.Sources {
			note(b.Sources[i].Evidence)
		}
	}
}

// Takes returns the acceptances that the run's line may have taken up, in its order:
// the one that it was opened by, and what its contexts name as the evidence of their
// sources, which may be other records.
func (r *Run) Takes() []evidence.ID {
	ids := make([]evidence.ID, len(r.takes))
	for i := range r.takes {
		ids[i] = r.takes[i].acceptance
	}
	return ids
}

// TakenBy returns the record of the line that takes up an acceptance; the zero ID:
// none does.
func (r *Run) TakenBy(acceptance evidence.ID) evidence.ID { return r.takenBy[acceptance] }

// hasBundle reports whether the bundle under a commitment was handed to the run, and
// is at hand.
func (r *Run) hasBundle(commit evidence.Digest) bool {
	for _, h := range r.handed {
		if h.bundle == commit && h.offer != nil {
			return true
		}
	}
	return false
}

// A ground is a handoff on which a run rests.
type ground struct {
	take
	*handed // nil: what the run was opened to continue is not in the bundle
}

// grounds returns the handoffs that the run took up before an index. A source of a
// context is one where it is an acceptance for this run.
func (r *Run) grounds(asOf uint64) []ground {
	var all []ground
	for _, t := range r.takes {
		h := r.handed[t.acceptance]
		if t.index < asOf && (h != nil || t.acceptance == r.Body.Acceptance) {
			all = append(all, ground{t, h})
		}
	}
	return all
}

// GivenResult is what is decided about work that was handed to a run.
type GivenResult struct {
	Acceptance evidence.ID
	Decision   // no_contract: its giver claimed nothing, and offered it on nothing
}

// given decides what the run's grounds are worth.
func (b *bench) given(w *Verdict) {
	for _, g := range b.run.grounds(b.asOf) {
		d := hidden
		if b.opens(g) {
			d = g.offer.worth(w.Weakest)
		}
		w.Given = append(w.Given, GivenResult{g.acceptance, d})
	}
}

// opens reports whether the bundle of a ground is disclosed, and notes that it was
// asked for.
func (b *bench) opens(g ground) bool {
	if g.handed == nil {
		return false
	}
	if b.bundles == nil {
		b.bundles = make(map[evidence.Digest]bool)
	}
	ok := g.offer != nil && (b.values.only == nil || b.values.only[g.bundle])
	b.bundles[g.bundle] = ok
	return ok
}

// worth decides what its giver claimed and offered the work on: the worst of the
// claims that its line cites, of the records that the offer rests on, and of what was
// handed to the giver before. It is the same for all who ask under one weakest source.
func (o *Offer) worth(weakest evidence.Source) Decision {
	if d, ok := o.worths[weakest]; ok {
		return d
	}
	d := Decision{Result: evidence.NoContract, Why: "its giver claimed nothing, and offered it on nothing"}
	say := func(id evidence.ID, result evidence.Result, why string) {
		switch {
		case result == evidence.NoContract || rank(result) > rank(d.Result) && d.Result != evidence.NoContract:
			return
		case result != d.Result:
			d = Decision{Result: result, Why: why}
		}
		d.Records = append(d.Records, id)
	}
	r, v := o.Run(), newValues(o.auditor.payloads)
	for _, c := range r.claims {
		if c.cited != 0 {
			result, why := r.judge(c, c.at, forever, weakest, v).claimed()
			say(c.id, result, "its giver's claim is "+string(result)+why)
		}
	}
	for _, id := range o.Body.Evidence {
		result, why := o.standing(id, weakest, v)
		say(id, result, why)
	}
	for _, g := range r.grounds(forever) {
		b := &bench{run: r, values: v}
		if !b.opens(g) {
			say(g.acceptance, evidence.Undisclosed, "what was handed to its giver was not disclosed")
			continue
		}
		w := g.offer.worth(weakest)
		say(g.acceptance, w.Result, "what was handed to its giver: "+w.Why)
	}
	d.Records = sortedIDs(d.Records)
	if o.worths == nil {
		o.worths = make(map[evidence.Source]Decision)
	}
	o.worths[weakest] = d
	return d
}

// claimed is the worst of a claim's assertions, and why; no_contract where it makes
// none.
func (v *Verdict) claimed() (evidence.Result, string) {
	result, why := evidence.NoContract, ""
	for _, a := range v.Assertions {
		if a.Result != evidence.NoContract && (result == evidence.NoContract || rank(a.Result) < rank(result)) {
			result, why = a.Result, ": "+a.Why
		}
	}
	return result, why
}
