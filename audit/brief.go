package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"ledgerd/evidence"
)

// brief is how a [Run] is folded in the audit of a whole log, which judges no
// claim: what is decided is forgotten, so that an open run costs memory for what
// is open in it and not for what it did. A nil brief forgets nothing.
//
// What is forgotten: attempts that another followed; actions that succeeded, or
// that were denied; escalated ones that were answered; records beside the line
// that were cited, approvals that were used; which executions and settlements a checkpoint will have to
// cover, but for a digest of them.
//
// The rules do not change by that. A record that names what is not there may
// name what was forgotten, and so may one that looks like a repetition: brief
// then says that it is lost, and the run has to be folded again whole. In a log
// in which all holds, hardly a record does that.
type brief struct {
	lost    bool
	seen    map[uint64]struct{} // fingerprints: uses, and records beside the line
	since   chain               // executions and settlements since the last checkpoint
	touched []*act              // by the record at hand
	cited   []evidence.ID       // by the record at hand
	gone    int                 // acts of the run that are forgotten, and not cleared away yet
}

// lose notes that a rule needs what may have been forgotten. What the rule finds
// without it is of no use, and harms nobody: the fold begins again.
func (b *brief) lose() {
	if b != nil {
		b.lost = true
	}
}

// first takes what may be there once. A fingerprint that is there already is
// most likely a repetition; either way the fold of the whole run decides.
func (b *brief) first(d evidence.Digest) {
	f := fingerprint(d)
	if _, again := b.seen[f]; again {
		b.lost = true
		return
	}
	if b.seen == nil {
		b.seen = make(map[uint64]struct{})
	}
	b.seen[f] = struct{}{}
}

// fingerprint is what is kept of a digest to see that it comes again. Somebody
// may make two that are alike: then the whole digests decide.
func fingerprint(d evidence.Digest) uint64 { return binary.BigEndian.Uint64(d[:]) }

// touch notes that the record at hand may have decided a.
func (b *brief) touch(a *act) {
	if b != nil {
		b.touched = append(b.touched, a)
	}
}

// cites notes that rec, the record at hand, names c, which is then done with; an
// approval only once it is used.
func (b *brief) cites(rec *evidence.Record, c *besideRecord) {
	if b != nil && (c.rec.Kind != evidence.KindApproval || rec.Kind == evidence.KindAuthorization) {
		b.cited = append(b.cited, c.id)
	}
}

// chain is a digest of a list of evidence IDs that is longer with each.
type chain struct{ sum evidence.Digest }

func (c *chain) add(id evidence.ID) {
	var b [2 * sha256.Size]byte
	copy(b[:], c.sum[:])
	copy(b[sha256.Size:], id[:])
	c.sum = sha256.Sum256(b[:])
}

// lists reports whether ids is the list, in its order.
func (c *chain) lists(ids []evidence.ID) bool {
	var other chain
	for _, id := range ids {
		other.add(id)
	}
	return other == *c
}

// forget drops what the record just applied has decided. An [Auditor] calls it
// once it has asked the run about that record.
func (r *Run) forget() {
	b := r.brief
	if b == nil {
		return
	}
	for _, a := range b.touched {
		r.slim(a)
		if a.decided() && !a.gone {
			r.drop(a)
		}
	}
	for _, id := range b.cited {
		delete(r.beside, id)
	}
	clear(b.touched)
	b.touched, b.cited = b.touched[:0], b.cited[:0]
	if 2*b.gone > len(r.acts) {
		r.acts = slices.DeleteFunc(r.acts, func(a *act) bool { return a.gone })
		b.gone = 0
	}
}

// decided reports whether no record that keeps the rules has still to do with
// the action: only what breaks one, or a tool that takes its word back, names it.
func (a *act) decided() bool {
	o, any := a.last(forever)
	switch {
	case a.auth == nil: // no other attempt can follow one that fits no authorization
		return o.state != maybe
	case any:
		return o.state == done
	}
	return a.answered || a.auth.Effect == evidence.Deny && !a.allowed() && a.fault != nil
}

func (r *Run) drop(a *act) {
	delete(r.byID, a.id)
	for i := range a.attempts {
		delete(r.attempts, a.attempts[i].id)
	}
	a.gone = true
	r.brief.gone++
}

// slim leaves of an act its last attempt with the word on it, and of its
// authorization what later attempts are held to.
func (r *Run) slim(a *act) {
	last := len(a.attempts) - 1
	for i := range a.attempts[:max(last, 0)] {
		delete(r.attempts, a.attempts[i].id)
	}
	if last > 0 {
		a.attempts[0] = a.attempts[last]
		a.attempts = a.attempts[:1]
		a.before += last
		r.attempts[a.attempts[0].id] = attemptOf{a, 0}
	}
	if last >= 0 {
		a.attempts[0].output, a.attempts[0].refs = nil, nil
	}
	a.answers = slimAnswers(a.answers, last)
	if x := a.auth; x != nil && (x.Policies != nil || x.Params != nil || x.ToolSchema != nil || x.PolicySet != nil) {
		y := *x // the record is not ours to change
		y.ToolSchema, y.Params, y.Policies, y.PolicySet, y.Errors = nil, nil, nil, nil, nil
		a.auth = &y
	}
}

// slimAnswers keeps the answers about the last attempt, each word once: to hear
// one again from the same source changes no outcome.
func slimAnswers(all []answer, last int) []answer {
	kept := all[:0]
	for _, w := range all {
		if w.attempt != last || slices.ContainsFunc(kept, func(k answer) bool { return k.source == w.source && k.status == w.status }) {
			continue
		}
		w.attempt = min(last, 0)
		w.output, w.refs = nil, nil
		kept = append(kept, w)
	}
	return kept
}
