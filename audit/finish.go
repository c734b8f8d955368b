package audit

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"ledgerd/bundle"
	"ledgerd/evidence"
)

// Report ends the audit and says what it found. Call it once, last.
func (a *Auditor) Report() *Report {
	r := &Report{}
	if a.trusted == nil || a.strangers > 0 && a.strangers == a.scope.Heads {
		// A ledger of the same name whose head a stranger signed is another
		// ledger: what is wrong with it proves nothing about this one.
		a.untrusted()
	} else if a.opts.HashesOnly {
		a.skipped()
	} else {
		a.registryPinned()
		a.suspects()
		a.oneOf()
		a.openRuns()
		r.Verdicts = a.judgements()
		a.asked(r)
	}
	a.countPayloads()
	r.Rules = a.tally.results(a.asEnforced)
	r.Scope = a.scope
	r.Equivocation, r.Given = a.equivoc, a.given
	for _, at := range slices.SortedFunc(maps.Keys(a.met), headAt.compare) {
		r.Heads = append(r.Heads, a.met[at].note)
	}
	return r
}

// untrusted: whoever signed, nobody vouches for them. Nothing holds, and nothing
// is proven wrong either.
func (a *Auditor) untrusted() {
	for _, rule := range Rules() {
		delete(a.tally.applies, rule)
		delete(a.tally.found, rule)
		delete(a.tally.worst, rule)
		delete(a.tally.omitted, rule)
		a.tally.add(Finding{
			Rule: rule, Status: Undecidable, Reason: ReasonUntrusted, Expected: "a ledger that the trust file names",
			Found: a.origin, Decides: "a trust file with the log key and entry 0 of " + a.origin + ", from someone you trust",
		})
	}
}

// skipped: the entries are those of the tree, and nobody looked who says what in them.
func (a *Auditor) skipped() {
	for _, rule := range Rules() {
		if rule == RuleInclusion || rule == RuleConsistency {
			continue
		}
		a.tally.add(Finding{
			Rule: rule, Status: Undecidable, Reason: ReasonSkipped, Expected: "signatures that are verified",
			Found: "hashes only, as was asked for", Decides: "the audit without that",
		})
	}
}

func (a *Auditor) registryPinned() {
	decides := "a bundle that holds the registry"
	if a.about == nil && len(a.heads) > 0 && a.heads[len(a.heads)-1].Size == 0 {
		decides = "the log, once it has an entry"
	} else if a.scope.Records == 0 {
		return
	}
	if a.registry.Number() < 0 {
		a.tally.add(Finding{
			Rule: RuleRegistry, Status: Undecidable, Reason: ReasonEntryZero, Expected: "the registry from entry 0 on", Found: "no entry 0",
			Decides: decides,
		})
	}
}

// oneOf leaves the run that the bundle is about, and what was found in it.
func (a *Auditor) oneOf() {
	if !a.oneRun() {
		return
	}
	r := a.subject()
	clear(a.runs)
	a.order = nil
	if r != nil {
		a.runs[a.target.Run] = r
		a.order = []evidence.RunID{a.target.Run}
		a.tally.add(r.found...)
	}
	a.scope.Runs = len(a.runs)
}

// openRuns says what runs that are not closed still owe.
func (a *Auditor) openRuns() {
	for _, r := range a.sortedRuns() {
		if r.Opened.IsZero() || r.Closed {
			continue
		}
		a.scope.Open++
		doubts := r.Pending()
		a.scope.InDoubt += len(doubts)
		// A run or a handoff is looked at as it stands; elsewhere what comes
		// next is only not there yet.
		if a.about != nil && (a.about.Kind == bundle.AboutRun || a.about.Kind == bundle.AboutOffer) {
			a.tally.add(doubts...)
		}
	}
	if a.scope.InDoubt > 0 {
		a.tally.note[RuleOutcome] = fmt.Sprintf("%d actions of open runs are in doubt", a.scope.InDoubt)
	}
	if a.scope.NotEnforced {
		a.tally.note[RuleAuthorized] = "not enforced: some permission checks were only observed"
	}
	if a.elsewhere > 0 {
		a.tally.note[RuleHandoff] = fmt.Sprintf("the offers of %d runs stand in other ledgers: their scope and time are decided by the bundle about each", a.elsewhere)
	}
}

func (a *Auditor) sortedRuns() []*Run {
	runs := make([]*Run, 0, len(a.runs))
	for _, r := range a.runs {
		runs = append(runs, r)
	}
	slices.SortFunc(runs, func(x, y *Run) int {
		if x.opened.index < y.opened.index {
			return -1
		}
		return 1
	})
	return runs
}

// subject returns the run that the bundle is about, or of a range the one that
// is asked for; nil where there is none.
func (a *Auditor) subject() *Run {
	switch {
	case a.about == nil:
		return nil
	case a.about.Kind == bundle.AboutRun:
		return a.runs[a.about.Run]
	case a.about.Kind == bundle.AboutRange:
		return a.runs[a.opts.Run]
	case a.target != nil && a.target.Run != "":
		return a.runs[a.target.Run]
	}
	return nil
}

// judgements decides claims, contracts and recorded verdicts. A log holds no
// payloads: there they are left to the bundles of its runs.
func (a *Auditor) judgements() []Judged {
	if a.about == nil {
		for _, rule := range []Rule{RuleClaim, RuleContract, RuleVerdict, RuleDisclosure} {
			a.tally.note[rule] = "decided by the bundle of each run: a log holds no payloads"
		}
		return nil
	}
	var all []Judged
	v := newValues(a.payloads)
	for _, id := range a.order {
		r := a.runs[id]
		if r.Opened.IsZero() {
			continue
		}
		all = append(all, a.judgeClaims(r, v)...)
		all = append(all, a.judgeContract(r, v)...)
		for _, w := range r.verdicts {
			a.tally.applies[RuleVerdict] = true
			if f := a.recompute(r, w); f != nil {
				a.tally.add(*f)
			}
		}
	}
	return all
}

func (a *Auditor) weakest() evidence.Source { return a.trusted.WeakestSource }

func (a *Auditor) judgeClaims(r *Run, v *values) []Judged {
	var all []Judged
	for _, c := range r.claims {
		if c.cited == 0 {
			continue // said beside the line, and the run took no notice of it
		}
		a.tally.applies[RuleClaim] = true
		w := r.judge(c, c.at, forever, a.weakest(), v)
		all = append(all, Judged{r.Run, c.index, w})
		if len(w.Assertions) == 0 {
			a.tally.add(c.undecidable(RuleClaim, ReasonResult, "a claim that asserts something", "an assertion", "none: nothing could break it"))
		}
		for _, x := range w.Assertions {
			what := fmt.Sprintf("assertion %d of statement %d to be supported", x.Assertion, x.Statement)
			a.result(c.place, RuleClaim, what, x.Decision, w)
		}
		for _, g := range w.Given {
			if g.Result != evidence.NoContract {
				a.result(c.place, RuleClaim, "what the claim rests on, as "+g.Acceptance.String()+" accepted it, to be supported", g.Decision, w)
			}
		}
	}
	return all
}

// result turns a decision into a finding.
func (a *Auditor) result(p place, rule Rule, expected string, d Decision, w *Verdict) {
	var f Finding
	switch d.Result {
	case evidence.Supported:
		return
	case evidence.Contradicted, evidence.Unsupported:
		f = p.broken(rule, ReasonResult, expected, "%s: %s", d.Result, d.Why)
	case evidence.InDoubt:
		f = p.undecidable(rule, ReasonResult, "a settlement, or the tool's confirmation, of what is in doubt", expected, "%s: %s", d.Result, d.Why)
	case evidence.Undisclosed:
		f = p.undecidable(rule, ReasonResult, "the payloads "+digests(w.Withheld), expected, "%s: %s", d.Result, d.Why)
	default:
		f = p.undecidable(rule, ReasonResult, "a contract that asks for something", expected, "%s: %s", d.Result, d.Why)
	}
	f.Records = append(f.Records, d.Records...)
	a.tally.add(f)
}

func digests(ds []evidence.Digest) string {
	s := ""
	for i, d := range ds {
		if i == 5 {
			return s + fmt.Sprintf(" and %d more", len(ds)-i)
		}
		if i > 0 {
			s += ", "
		}
		s += d.String()
	}
	return s
}

// judgeContract decides whether the run's contract is met at its close.
func (a *Auditor) judgeContract(r *Run, v *values) []Judged {
	if r.Body.Contract == nil {
		a.tally.note[RuleContract] = "no_contract: nobody declared what had to happen"
		return nil
	}
	if !r.Closed {
		if a.about.Kind == bundle.AboutRun {
			a.tally.add(r.opened.undecidable(RuleContract, ReasonResult, "a later bundle of the run, with its run.closed", "the run to be closed", "it is open"))
		} else {
			a.tally.note[RuleContract] = "the run is open: a contract is decided at its close"
		}
		return nil
	}
	a.tally.applies[RuleContract] = true
	w := r.judge(nil, forever, forever, a.weakest(), v)
	p := place{r.TailIndex, r.Tail, r.Run}
	a.result(p, RuleContract, "the contract to be met at the close", w.Contract.Decision, w)
	return []Judged{{r.Run, r.TailIndex, w}}
}

// recompute reaches a recorded verdict again from the inputs that it names. nil:
// to the byte.
func (a *Auditor) recompute(r *Run, w *verdictRecord) *Finding {
	broken := func(reason Reason, expected, found string, args ...any) *Finding {
		f := w.broken(RuleVerdict, reason, expected, found, args...)
		return &f
	}
	missing := func(commit ...evidence.Digest) *Finding {
		f := w.undecidable(RuleVerdict, ReasonMissing, "the payloads "+digests(commit), "the verdict, and what it was reached from", "withheld")
		return &f
	}
	doc, ok := a.payloads.Payload(w.body.Document.Commit)
	if !ok {
		return missing(w.body.Document.Commit)
	}
	recorded, err := parseVerdict(doc)
	switch {
	case err != nil:
		return broken(ReasonParse, "a verdict", "%v", err)
	case recorded.Rules > RulesVersion:
		f := w.undecidable(RuleVerdict, ReasonNewer, "a newer verifier", fmt.Sprintf("rules of version %d", RulesVersion), "%d", recorded.Rules)
		return &f
	case recorded.Claim != w.body.Claim || recorded.Result != w.body.Result:
		return broken(ReasonBytes, "the claim and result of the record", "%s in the document", recorded.Result)
	}
	var c *claimRecord
	asOf := w.index + 1
	if !w.body.Claim.IsZero() {
		if c = r.claim(w.body.Claim); c == nil || c.index > w.index {
			return broken(ReasonReference, "a claim of the run, before its verdict", "%s", w.body.Claim)
		}
		asOf = c.at
	}
	inputs, only := make(PayloadMap), make(map[evidence.Digest]bool)
	var absent []evidence.Digest
	for _, commit := range recorded.Disclosed {
		only[commit] = true
		if r.hasBundle(commit) {
			continue
		}
		data, ok := a.payloads.Payload(commit)
		if !ok {
			absent = append(absent, commit)
		}
		inputs[commit] = data
	}
	if len(absent) > 0 {
		return missing(absent...)
	}
	v := newValues(inputs)
	v.only = only
	again, err := r.judge(c, asOf, w.index, recorded.Trust.WeakestSource, v).Bytes()
	if err != nil || !bytes.Equal(again, doc) {
		return broken(ReasonBytes, "the verdict that the records give: "+string(again), "%s", doc)
	}
	return nil
}

// asked answers what the options ask for, and what the bundle says of itself.
func (a *Auditor) asked(r *Report) {
	answer := func(what, expected, found string, ok bool) {
		status := Held
		if !ok {
			status = Broken
		}
		r.Asked = append(r.Asked, Answer{what, status, expected, found})
	}
	if a.about == nil {
		if a.opts.Run != "" || a.opts.Subject != "" || a.opts.Contract != nil || !a.opts.ContractDigest.IsZero() {
			r.Asked = append(r.Asked, Answer{"about", Undecidable, "the bundle of a run", "a log, which is about all of its runs"})
		}
		return
	}
	run := a.subject()
	switch a.about.Kind {
	case bundle.AboutRun:
		answer("about", string(a.about.Run)+" from its run.opened", opening(run), run != nil && !run.Opened.IsZero())
	case bundle.AboutRecord, bundle.AboutOffer:
		ok := a.target != nil && (a.about.Kind != bundle.AboutOffer || a.target.Kind == evidence.KindHandoffOffered)
		answer("about", a.about.String(), kindOf(a.target), ok)
	}
	opened := &evidence.RunOpened{}
	name := "no run"
	if run != nil && run.Body != nil {
		opened, name = run.Body, string(run.Run)
	}
	if a.opts.Run != "" {
		answer("run", string(a.opts.Run), name, name == string(a.opts.Run))
	}
	if a.opts.Subject != "" {
		answer("subject", a.opts.Subject, orNone(opened.Subject), opened.Subject == a.opts.Subject)
	}
	if a.opts.Contract != nil || !a.opts.ContractDigest.IsZero() {
		r.Asked = append(r.Asked, a.askedContract(opened))
	}
}

func opening(r *Run) string {
	if r == nil || r.Opened.IsZero() {
		return "no such run.opened"
	}
	return "its run.opened " + r.Opened.String()
}

func kindOf(rec *evidence.Record) string {
	if rec == nil {
		return "no such record"
	}
	return string(rec.Kind)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (a *Auditor) askedContract(opened *evidence.RunOpened) Answer {
	want := a.opts.ContractDigest
	if a.opts.Contract != nil {
		c, err := ParseContract(a.opts.Contract)
		if err != nil {
			return Answer{"contract", Undecidable, "a contract to compare with", err.Error()}
		}
		if !want.IsZero() && want != c.Digest() {
			return Answer{"contract", Undecidable, "one contract", "a document and a digest that differ"}
		}
		want = c.Digest()
	}
	answer := Answer{"contract", Broken, want.String(), "none"}
	if opened.Contract == nil {
		return answer
	}
	doc, ok := a.payloads.Payload(opened.Contract.Document.Commit)
	if !ok {
		return Answer{"contract", Undecidable, want.String(), "not disclosed"}
	}
	c, err := ParseContract(doc)
	if err != nil {
		answer.Found = err.Error()
		return answer
	}
	answer.Found = c.Digest().String()
	if c.Digest() == want {
		answer.Status = Held
	}
	return answer
}

func (a *Auditor) countPayloads() {
	if a.about == nil {
		return
	}
	var list [3][]evidence.Digest
	for commit, state := range a.payloads.state {
		list[state] = append(list[state], commit)
	}
	for i := range list {
		sortDigests(list[i])
	}
	s := &a.scope
	s.Disclosed, s.Withheld, s.Erased = len(list[shown]), len(list[withheld]), len(list[erased])
	s.WithheldBy, s.ErasedBy = first(list[withheld], maxNamed), first(list[erased], maxNamed)
	if a.payloads.dropped {
		a.tally.note[RuleDisclosure] = fmt.Sprintf("more than %d MiB of payloads: those beyond were checked and not judged by", maxKept>>20)
	}
}

func first(ds []evidence.Digest, n int) []evidence.Digest { return ds[:min(n, len(ds))] }

// asEnforced tells the rules of which only the whole log decides a part.
func (a *Auditor) asEnforced(rule Rule) bool {
	if a.about == nil {
		return false
	}
	switch rule {
	case RuleRegistry, RuleChain, RuleAuthorized, RuleBudget, RuleHandoff:
		return true
	}
	return false
}
