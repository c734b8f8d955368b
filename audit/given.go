package audit

import (
	"fmt"
	"maps"
	"slices"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// maxDepth is how many bundles may lie in each other: handoffs in a row.
const maxDepth = 32

// Given is the audit of the bundle that an acceptance commits to, which lies in
// the bundle that is audited. It is under the same trust file.
type Given struct {
	Acceptance evidence.ID
	Body       *evidence.HandoffAccepted
	Report     *Report // nil where it is no bundle; Err says why
	Err        error

	auditor *Auditor
}

// nested audits a bundle that lies in this one, as it streams by. nil: the payload
// is none.
func (a *Auditor) nested(rec *evidence.Record, it *bundle.PayloadItem) *Given {
	if rec == nil {
		return nil
	}
	b, ok := rec.Body.(*evidence.HandoffAccepted)
	if !ok || b.Bundle.Commit != it.Commit {
		return nil
	}
	g := &Given{Acceptance: a.lastAt.id, Body: b}
	if a.depth == maxDepth {
		g.Err = fmt.Errorf("expected at most %d handoffs in a row", maxDepth)
		return g
	}
	g.auditor, g.Report, g.Err = auditBundle(it.Data, a.trust, Options{}, a.depth+1)
	return g
}

// give takes what an acceptance rests on.
func (a *Auditor) give(p place, rec *evidence.Record, g *Given) {
	a.given = append(a.given, g)
	if a.accepted[p.id] == nil {
		return // nobody can be shown to have accepted
	}
	if f := g.finding(p); f != nil {
		a.tally.add(*f)
	}
	if g.auditor == nil {
		return
	}
	for _, at := range slices.SortedFunc(maps.Keys(g.auditor.met), headAt.compare) {
		a.meet(at, g.auditor.met[at])
	}
	if o := g.auditor.offers[g.Body.Offer]; o != nil && g.auditor.origin == g.Body.Origin {
		a.offers[g.Body.Offer] = o
	}
	if o := g.auditor.offered(); o != nil && g.offered() && o.ID == g.Body.Offer && o.Origin == g.Body.Origin {
		a.handed[p.id] = o
	}
}

// offered reports whether the bundle is about an offer that this ledger's actor
// accepted, and not about another's acceptance.
func (g *Given) offered() bool { return g.Body.Acceptance.IsZero() }

// finding says what is wrong with what was accepted; nil: nothing.
func (g *Given) finding(p place) *Finding {
	about := evidence.KindHandoffOffered
	id := g.Body.Offer
	if !g.Body.Acceptance.IsZero() {
		about, id = evidence.KindHandoffAccepted, g.Body.Acceptance
	}
	expected := fmt.Sprintf("a bundle of %s about the %s %s that holds up", g.Body.Origin, about, id)
	broken := func(found string, args ...any) *Finding {
		f := p.broken(RuleHandoff, ReasonGiven, expected, found, args...)
		return &f
	}
	if g.Err != nil {
		return broken("%v", g.Err)
	}
	x := g.auditor
	switch {
	case x.origin != g.Body.Origin || x.about.Record != id:
		return broken("one of %s about %s", x.origin, x.about)
	case g.Report.Status() == Broken:
		return broken("%s", g.Report.first(Broken))
	}
	if s := g.Report.Scope; s.Size > 0 && (s.Size != uint64(g.Body.Head.Size) || s.Root != tlog.Hash(g.Body.Head.Root)) {
		return broken("a tree head of size %d and root %s, where the record says %d and %s", s.Size, s.Root, g.Body.Head.Size, g.Body.Head.Root)
	}
	if g.Report.Status() == Undecidable {
		f := p.undecidable(RuleHandoff, ReasonGiven, "what that audit asks for", expected, "%s", g.Report.first(Undecidable))
		return &f
	}
	if x.target.Kind != about {
		return broken("one about a %s", x.target.Kind)
	}
	if o := x.offered(); o != nil {
		for _, cited := range o.Body.Evidence {
			switch standing, why := o.Evidence(cited); standing {
			case Failed, Absent:
				return broken("it offers the work on %s: %s", cited, why)
			case Doubtful:
				f := p.undecidable(RuleHandoff, ReasonGiven, "what came of "+cited.String(), expected, "it offers the work on that: %s", why)
				return &f
			}
		}
	}
	if o, ok := x.target.Body.(*evidence.HandoffAccepted); ok && (o.Offer != g.Body.Offer || o.Opens != g.Body.Opens) {
		return broken("an acceptance of %s that opens %s", o.Offer, o.Opens)
	}
	return nil
}

// first says in words which rule has that status, and why.
func (r *Report) first(s Status) string {
	for _, rule := range r.Rules {
		for i := range rule.Findings {
			if f := &rule.Findings[i]; f.Status == s {
				return f.String()
			}
		}
	}
	for _, a := range r.Asked {
		if a.Status == s {
			return fmt.Sprintf("%s: expected %s, found %s", a.Asked, a.Expected, a.Found)
		}
	}
	return string(s)
}
