package audit

import (
	"errors"

	"ledgerd/bundle"
	"ledgerd/evidence"
)

// Auditor is fed tree heads, records in log order and payloads, and reports. Make
// one with [New] for each bundle or log.
type Auditor struct {
	opts      Options
	origin    string
	about     *bundle.About // nil: the whole log
	trust     *bundle.Trust
	depth     int // how many bundles this one lies in
	trusted   *bundle.TrustedLedger
	registry  *Registry
	tally     *tally
	scope     Scope
	heads     []headSeen
	strangers int       // tree heads signed by nobody whom the trust file names
	strange   []Finding // about tree heads by signers whom the trust file does not name
	equivoc   [][2][]byte
	met       map[headAt]headSeen // tree heads here, and in the bundles that lie here

	runs      map[evidence.RunID]*Run // open ones; in a bundle, all
	brief     bool                    // runs forget what is decided, but for those in whole
	whole     map[evidence.RunID]bool
	lost      map[evidence.RunID]bool // brief runs that have to be folded again whole
	order     []evidence.RunID        // of a bundle
	known     map[[16]byte]struct{}   // every run ever opened, in a log
	uses      map[evidence.Digest]uint64
	offers    map[evidence.ID]*offerRecord
	accepted  map[evidence.ID]*acceptance
	accounts  accounts
	lastUse   map[evidence.Digest]place
	target    *evidence.Record                 // of a bundle about a record or an offer
	records   map[evidence.ID]*evidence.Record // attributed, of runs; in a bundle about an offer
	elsewhere int                              // runs that continue a handoff from another ledger

	given    []*Given               // what acceptances rest on, where it was disclosed
	handed   map[evidence.ID]*Offer // by acceptance: what was handed over with it
	payloads *disclosures
	last     *evidence.Record // to which payloads that follow belong
	lastAt   place
}

type acceptance struct {
	place
	rec  *evidence.Record
	body *evidence.HandoffAccepted
	by   Signer
}

// New returns the Auditor of a ledger. about says what a bundle is about; nil:
// the whole log is audited.
func New(trust *bundle.Trust, origin string, about *bundle.About, o Options) *Auditor {
	a := &Auditor{
		opts: o, origin: origin, about: about, trust: trust, tally: newTally(),
		runs: make(map[evidence.RunID]*Run), known: make(map[[16]byte]struct{}), uses: make(map[evidence.Digest]uint64),
		handed: make(map[evidence.ID]*Offer),
		offers: make(map[evidence.ID]*offerRecord), accepted: make(map[evidence.ID]*acceptance),
		accounts: newAccounts(), lastUse: make(map[evidence.Digest]place),
		payloads: newDisclosures(),
	}
	a.scope = Scope{Kind: "log", Origin: origin, About: about, Recorded: make(map[evidence.Result]int)}
	if about != nil {
		a.scope.Kind = "bundle"
	}
	if trust != nil {
		a.trusted = trust.Ledger(origin)
	}
	var entry0 evidence.ID
	if a.trusted != nil {
		entry0 = a.trusted.Entry0
	}
	a.registry = NewRegistry(origin, entry0)
	if a.trusted != nil {
		reserve(a.registry, a.trusted)
		for _, p := range a.trusted.Actors {
			a.registry.Pin(p.Name, p.Role, p.Key)
		}
	}
	return a
}

// forgetful has the runs of a log forget what is decided in them, but for those
// in whole. Those that would have had to remember are in lost, in the end.
func (a *Auditor) forgetful(whole map[evidence.RunID]bool) {
	a.brief, a.whole, a.lost = true, whole, make(map[evidence.RunID]bool)
}

// Trusted reports whether the trust file names the ledger. Where it does not,
// nothing is decided, and records need not be fed.
func (a *Auditor) Trusted() bool { return a.trusted != nil }

// Add takes the entry at index. Entries come in log order.
func (a *Auditor) Add(index uint64, entry []byte) {
	u, err := evidence.Parse(entry)
	a.add(&candidate{index: index, id: evidence.IDOf(entry), u: u, err: err})
}

// A candidate is an entry on its way: parsed, and perhaps verified under the key
// that its kid names.
type candidate struct {
	index    uint64
	id       evidence.ID
	u        *evidence.Unverified
	err      error // of form
	verified bool
}

func (a *Auditor) add(c *candidate) {
	a.scope.Records++
	a.tally.applies[RuleSignature], a.tally.applies[RuleRegistry] = true, true
	a.last, a.lastAt = nil, place{index: c.index, id: c.id}
	if a.trusted == nil {
		return // whoever signed it, nobody vouches for them
	}
	if c.err != nil {
		a.unreadable(c)
		return
	}
	rec := c.u.UnverifiedRecord()
	p := place{c.index, c.id, rec.Run}
	a.last, a.lastAt = rec, p
	by, ok := a.attribute(p, c)
	if ok {
		a.span(rec)
	}
	if ok && rec.Kind.Place() == evidence.Registry {
		if err := a.registry.Apply(c.index, c.id, rec); err != nil {
			a.tally.add(p.refused(err))
			a.registry.skipTo(c.index, c.id, rec)
		}
		return
	}
	if a.about != nil && c.id == a.about.Record {
		a.target = rec
	}
	if !ok {
		// What nobody can be shown to have said is no evidence. Its place on the
		// line is taken all the same: that it is there is no gap.
		if r := a.runs[rec.Run]; r != nil && rec.OnLine() && rec.Prev == r.Tail {
			r.Extend(c.index, c.id, rec)
		}
		return
	}
	a.record(p, rec, by)
}

func (a *Auditor) unreadable(c *candidate) {
	p := place{index: c.index, id: c.id}
	var newer *evidence.VersionError
	if errors.As(c.err, &newer) {
		a.tally.add(p.undecidable(RuleSignature, ReasonNewer, "a newer verifier", "a record of version 1", "%v", c.err))
		return
	}
	a.tally.add(p.broken(RuleSignature, ReasonForm, "a record in the one form that there is", "%v", c.err))
}

func (a *Auditor) span(rec *evidence.Record) {
	if a.scope.From == 0 || rec.Time < a.scope.From {
		a.scope.From = rec.Time
	}
	a.scope.To = max(a.scope.To, rec.Time)
}

// attribute decides the rules signature and registry of one record.
func (a *Auditor) attribute(p place, c *candidate) (Signer, bool) {
	by, key, err := a.registry.attribute(c.index, c.u)
	if err != nil {
		a.tally.add(p.refused(err))
		return Signer{}, false
	}
	if !c.verified {
		if _, err := c.u.Verify(key); err != nil {
			a.tally.add(p.broken(RuleSignature, ReasonSignature, "a signature by "+by.Name, "%v", err))
			return Signer{}, false
		}
	}
	rec := c.u.UnverifiedRecord()
	if err := a.registry.current(c.index, rec); err != nil {
		a.tally.add(p.refused(err))
	}
	a.lastUse[by.Key] = p
	return by, true
}

// record takes a record that is attributed.
func (a *Auditor) record(p place, rec *evidence.Record, by Signer) {
	switch b := rec.Body.(type) {
	case *evidence.PayloadErased:
		a.payloads.erase(b.Commit)
		return
	case *evidence.HandoffAccepted:
		a.tally.applies[RuleHandoff] = true
		a.useOnce(p, rec, RuleHandoff)
		a.accepted[p.id] = &acceptance{p, rec, b, by}
		return
	case *evidence.HandoffOffered:
		a.offers[p.id] = &offerRecord{p, b, rec, by}
	}
	if rec.Run == "" {
		return
	}
	if a.aside(rec.Run) {
		return
	}
	if a.about != nil && a.about.Kind == bundle.AboutOffer {
		if a.records == nil {
			a.records = make(map[evidence.ID]*evidence.Record)
		}
		a.records[p.id] = rec
	}
	a.inRun(p, rec, by)
}

// aside reports whether a record belongs to another run than the bundle is
// about: a parent's offer, say. It is signed and included; its run is not here.
func (a *Auditor) aside(run evidence.RunID) bool {
	return a.about != nil && a.about.Kind == bundle.AboutRun && run != a.about.Run
}

// oneRun reports whether the bundle is about one record and its run, which is
// known only once that record has been read. Other runs in it, such as that of
// a parent's offer, are not there as a whole.
func (a *Auditor) oneRun() bool {
	return a.about != nil && (a.about.Kind == bundle.AboutRecord || a.about.Kind == bundle.AboutOffer)
}

func (a *Auditor) inRun(p place, rec *evidence.Record, by Signer) {
	a.tally.applies[RuleChain] = true
	r := a.runs[rec.Run]
	if r == nil {
		r = a.newRun(p, rec)
		if r == nil {
			return
		}
	}
	found := r.Apply(p.index, p.id, rec, by)
	switch b := rec.Body.(type) {
	case *evidence.RunOpened:
		if r.opened.id == p.id {
			found = append(found, a.opens(p, r, rec, b)...)
		}
	case *evidence.Context:
		found = append(found, a.joins(p, r, rec, b)...)
	}
	if a.oneRun() {
		r.found = append(r.found, found...) // until it is known which run
	} else {
		a.tally.add(found...)
	}
	a.applies(p, r, rec)
	if r.account != nil && r.account.binds() && rec.OnLine() {
		a.accounts.open(p.id, r.account)
	}
	r.forget()
	a.noteLost(r)
	if a.about == nil && r.Closed {
		a.drop(r)
	}
}

// newRun makes room for a run, unless the log has opened and closed it before.
func (a *Auditor) newRun(p place, rec *evidence.Record) *Run {
	if a.about == nil {
		key := [16]byte(packRun(rec.Run))
		if _, again := a.known[key]; again {
			a.tally.add(p.broken(RuleChain, ReasonClosed, "nothing after run.closed", "a %s", rec.Kind))
			return nil
		}
		if rec.Kind == evidence.KindRunOpened {
			a.known[key] = struct{}{}
		}
	}
	r := NewRun(a.registry)
	if a.brief && !a.whole[rec.Run] {
		r.brief = &brief{}
	}
	a.runs[rec.Run] = r
	if a.about != nil {
		a.order = append(a.order, rec.Run)
	}
	a.scope.Runs++
	return r
}

// drop forgets a closed run: its findings are made.
func (a *Auditor) drop(r *Run) {
	delete(a.runs, r.Run)
	if r.account != nil {
		a.accounts.close(r.account)
	}
}

// noteLost notes which runs have to be folded again whole: r, or those whose
// accounts it charges.
func (a *Auditor) noteLost(r *Run) {
	if r.brief != nil && r.brief.lost {
		a.lost[r.Run] = true
	}
	for x := r.account; x != nil; x = x.parent {
		if x.brief != nil && x.brief.lost {
			a.lost[x.run] = true
		}
	}
}

// applies notes which rules the record gives something to decide.
func (a *Auditor) applies(p place, r *Run, rec *evidence.Record) {
	t := a.tally.applies
	switch b := rec.Body.(type) {
	case *evidence.RunOpened:
		t[RuleBudget] = t[RuleBudget] || len(b.Budget) > 0
	case *evidence.Authorization:
		t[RuleOutcome] = true
		a.scope.NotEnforced = a.scope.NotEnforced || b.Mode == evidence.Observe && b.Source != evidence.SourceImported
	case *evidence.Execution:
		x, ok := r.attempts[p.id]
		t[RuleAuthorized] = t[RuleAuthorized] || !ok || !x.act.imported()
	case *evidence.Checkpoint, *evidence.RunResumed:
		t[RuleResume] = true
	case *evidence.Verdict:
		a.scope.Recorded[b.Result]++
	}
}

// useOnce reports a second use of what is used once in the ledger.
func (a *Auditor) useOnce(p place, rec *evidence.Record, rule Rule) {
	for _, u := range Uses(rec) {
		if InRun(u) || u[0] == useNumber {
			continue // the run, and the registry, see to these
		}
		key := useDigest(u)
		if first, again := a.uses[key]; again {
			a.tally.add(p.broken(rule, ReasonUsed, "an offer and an acceptance to be used once", "%s used before, at index %d", useName(u), first))
			continue
		}
		a.uses[key] = p.index
	}
}

// suspects reports, once all of the registry has been read, the keys whose
// records it puts in doubt.
func (a *Auditor) suspects() {
	for _, s := range a.registry.suspectKeys() {
		last, used := a.lastUse[s.kid]
		if !used || last.index < s.from {
			continue
		}
		a.tally.add(last.undecidable(RuleSignature, ReasonSuspect, s.actor+"'s own word on these records",
			"a key that was in its actor's hands alone", "key %s of %s, in doubt from index %d on; this is the last record that it signed", s.kid, s.actor, s.from))
	}
}
