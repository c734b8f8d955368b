package audit

import (
	"fmt"
	"maps"
	"slices"

	"ledgerd/evidence"
)

// Payloads gives disclosed payloads by their commitments. Whoever implements it
// has opened each with its salt.
type Payloads interface {
	// Payload returns the payload under a commitment, and whether there is one.
	Payload(commit evidence.Digest) ([]byte, bool)
}

// PayloadMap is Payloads in memory.
type PayloadMap map[evidence.Digest][]byte

// Payload implements Payloads.
func (m PayloadMap) Payload(commit evidence.Digest) ([]byte, bool) {
	b, ok := m[commit]
	return b, ok
}

// Judge decides a claim of the run, and the run's contract as at the claim; or,
// with the zero claim, the contract at the run's last record. weakest is the
// weakest source that the trust file lets count; absent: what the contract says.
//
// Every record of the run before the claim is judged, cited or not. The same
// records, payloads and trust give the same bytes ([Verdict.Bytes]).
func Judge(r *Run, claim evidence.ID, weakest evidence.Source, p Payloads) (*Verdict, error) {
	asOf := uint64(forever)
	var c *claimRecord
	if !claim.IsZero() {
		if c = r.claim(claim); c == nil {
			return nil, fmt.Errorf("judge: expected a claim of %s, found none with the ID %s", r.Run, claim)
		}
		asOf = c.at
	}
	if r.Opened.IsZero() {
		return nil, fmt.Errorf("judge: expected a run that was opened")
	}
	return r.judge(c, asOf, forever, weakest, newValues(p)), nil
}

func newValues(p Payloads) *values {
	return &values{payloads: p, cache: make(map[evidence.Digest]*value), withheld: make(map[evidence.Digest]bool)}
}

func (r *Run) claim(id evidence.ID) *claimRecord {
	for _, c := range r.claims {
		if c.id == id {
			return c
		}
	}
	return nil
}

// judge decides as of index asOf, with the doubts about keys that the registry
// tells before index told.
func (r *Run) judge(c *claimRecord, asOf, told uint64, weakest evidence.Source, v *values) *Verdict {
	w := &Verdict{Origin: r.Origin, Run: r.Run, Opened: r.Opened, Weakest: weakest}
	b := &bench{run: r, asOf: asOf, told: told, values: v, used: make(map[evidence.Digest]bool), weakest: weakest.Strength()}
	b.index()
	contract := b.contract(w)
	b.given(w)
	if c != nil {
		w.Claim, w.Bare = c.id, BareStatements(c.body)
		for i := range c.body.Statements {
			for k := range c.body.Statements[i].Assertions {
				d := b.assertion(&c.body.Statements[i].Assertions[k], contract, w.Contract)
				w.Assertions = append(w.Assertions, AssertionResult{i, k, d})
			}
		}
	}
	w.Disclosed, w.Withheld = b.payloads()
	w.Result = w.overall()
	return w
}

// A bench is one judging of a run: its items by action, and what was looked at.
type bench struct {
	run        *Run
	asOf, told uint64
	weakest    int
	values     *values
	own        *site
	byAction   map[string][]item
	sites      *sites                   // nil: nothing asked yet what was done elsewhere
	elsewhere  map[string][]item        // of the other sites, by action
	used       map[evidence.Digest]bool // payloads that were asked for
	bundles    map[evidence.Digest]bool // those of what was handed over, and whether they are disclosed
}

// index lists what was done, may have been done, or failed, by action.
func (b *bench) index() {
	b.byAction = make(map[string][]item)
	b.own = &site{run: b.run, end: b.asOf, values: b.values}
	b.own.list(b.byAction, b.told)
}

// surveyed returns the sites, and lists what was done at others than the first.
func (b *bench) surveyed() *sites {
	if b.sites == nil {
		b.sites, b.elsewhere = b.survey(), make(map[string][]item)
		for _, s := range b.sites.all[1:] {
			s.list(b.elsewhere, forever)
		}
	}
	return b.sites
}

// list adds the items of a site by action, with the doubts about keys that its
// registry tells before index told.
func (s *site) list(byAction map[string][]item, told uint64) {
	add := func(a *act, o outcome) {
		if s.run.registry != nil {
			for _, k := range o.keys {
				if s.run.registry.Suspect(k.key, k.index, told) {
					o.state = maybe
				}
			}
		}
		byAction[a.action] = append(byAction[a.action], item{act: a, out: o, site: s})
	}
	for _, a := range s.run.acts {
		if a.index >= s.end {
			continue
		}
		n := a.known(s.end)
		for i := range n {
			add(a, a.outcomeOf(i, s.end))
		}
		if n > 0 {
			continue
		}
		// Without an execution: denied, in doubt, or with an answer that says what
		// became of it.
		o := a.outcomeOf(-1, s.end)
		switch {
		case len(o.ids) > 1 || a.allowed():
			add(a, o)
		case a.auth.Effect == evidence.Deny:
			o.state = notDone
			add(a, o)
		}
	}
}

// contract decides the run's contract into w, and returns it where it is
// disclosed and readable.
func (b *bench) contract(w *Verdict) *Contract {
	ref := b.run.Body.Contract
	if ref == nil {
		return nil
	}
	w.Contract = &ContractResult{Commit: ref.Document.Commit}
	doc, ok := b.raw(&ref.Document)
	if !ok {
		w.Contract.Decision = Decision{Result: evidence.Undisclosed, Why: "the contract was not disclosed"}
		return nil
	}
	c, err := ParseContract(doc)
	if err != nil {
		w.Contract.Decision = Decision{Result: evidence.Unsupported, Why: err.Error()}
		return nil
	}
	digest := c.Digest()
	w.Contract.Digest = &digest
	if c.Empty() {
		w.Contract.Decision = Decision{Result: evidence.NoContract, Why: "the contract asks for nothing"}
		return c
	}
	w.Contract.Decision = b.ask(contractQuestion(c, max(c.WeakestSource.Strength(), b.weakest)))
	return c
}

// assertion decides one assertion of a claim.
func (b *bench) assertion(a *evidence.Assertion, c *Contract, result *ContractResult) Decision {
	if a.Kind == evidence.AssertContract {
		if result == nil {
			return Decision{Result: evidence.NoContract, Why: "the run has no contract"}
		}
		return result.Decision
	}
	q := &question{expects: []*Expectation{{Action: a.Action, Resource: a.Resource, Least: 1, Most: 1}}}
	switch {
	case c != nil:
		q.least = max(c.WeakestSource.Strength(), b.weakest)
		q.possible = q.least
	case result != nil: // what the contract asks of sources, nobody can read
		q.least, q.possible = evidence.SourceConfirmed.Strength(), max(1, b.weakest)
	default:
		q.least = max(evidence.SourceRuntime.Strength(), b.weakest)
		q.possible = q.least
	}
	if a.Expect == nil {
		return b.ask(q)
	}
	doc, ok := b.raw(a.Expect)
	if !ok {
		q.opaque = true
		return b.ask(q)
	}
	e, err := ParseExpectation(doc)
	if err != nil {
		return Decision{Result: evidence.Unsupported, Why: "what it expects: " + err.Error()}
	}
	if e.Action != a.Action || a.Resource != "" && e.Resource != "" && e.Resource != a.Resource {
		return Decision{Result: evidence.Unsupported, Why: fmt.Sprintf("it speaks of %s and expects %s", a.Action, e.Action)}
	}
	if e.Resource == "" {
		e.Resource = a.Resource
	}
	q.expects[0] = e
	return b.ask(q)
}

// raw returns a disclosed payload and notes that it was asked for.
func (b *bench) raw(c *evidence.Commitment) ([]byte, bool) {
	b.used[c.Commit] = true
	data, ok := b.values.payloads.Payload(c.Commit)
	if !ok {
		b.values.withheld[c.Commit] = true
	}
	return data, ok
}

// ask decides a question.
func (b *bench) ask(q *question) Decision {
	if b.blind(q) {
		return hidden
	}
	return b.judgement(q).decide()
}

// blind reports whether it asks about other runs, and one of the bundles is withheld
// on which this one rests.
func (b *bench) blind(q *question) bool { return q.crosses() && !b.surveyed().whole }

// hidden is what is decided about what was handed over, where that is withheld.
var hidden = Decision{Result: evidence.Undisclosed, Why: "the bundle about what was handed over was not disclosed"}

// judgement gathers what bears on a question.
func (b *bench) judgement(q *question) *judgement {
	j := &judgement{question: q}
	crosses := q.crosses()
	if crosses {
		b.surveyed()
	}
	seen := make(map[string]bool)
	take := func(action string) {
		if !seen[action] {
			seen[action] = true
			j.items = append(j.items, b.byAction[action]...)
			if crosses {
				j.items = append(j.items, b.elsewhere[action]...)
			}
		}
	}
	refers := false
	for _, list := range [][]*Expectation{q.expects, q.forbids} {
		for _, e := range list {
			take(e.Action)
			b.consult(e)
			refers = refers || e.reads.inputs
			for _, action := range e.AfterLast {
				take(action)
			}
			for _, x := range q.expects {
				if x.As != "" && x.As == e.source() {
					b.consultOutputs(x)
				}
			}
		}
	}
	for _, k := range q.conditions {
		refers = refers || k.input != nil || k.inputHas != nil
		if k.succeeded != nil {
			take(k.succeeded.Action)
			b.consult(k.succeeded)
			refers = refers || k.succeeded.reads.inputs
		}
	}
	for _, action := range slices.Sorted(maps.Keys(q.only)) {
		take(action)
	}
	if refers {
		j.run = b.input()
	}
	j.compare()
	return j
}

// input is the run's own input, which a contract refers to.
func (b *bench) input() known {
	c := b.run.Body.Input
	if c == nil {
		return known{ok: true} // nothing is equal to what is not there
	}
	b.used[c.Commit] = true
	v, ok := b.values.of(c)
	return known{v: v, ok: ok}
}

// consult notes the payloads that bear on an expectation: the inputs of its
// action where it says what the input is, and what successes gave where it says
// what the output is. The contract decides what they are, not how far a
// verifier had to look.
//
// What was done elsewhere lies in a bundle, which is one payload.
func (b *bench) consult(e *Expectation) {
	if e.Runs == RunsGiven {
		return
	}
	if e.input != nil || e.inputHas != nil {
		for i := range b.byAction[e.Action] {
			b.used[b.byAction[e.Action][i].act.input.Commit] = true
		}
	}
	if e.output != nil || e.outputHas != nil {
		b.consultOutputs(e)
	}
}

func (b *bench) consultOutputs(e *Expectation) {
	if e.Runs == RunsGiven {
		return
	}
	for i := range b.byAction[e.Action] {
		if it := &b.byAction[e.Action][i]; it.out.state == done && it.out.output != nil {
			b.used[it.out.output.Commit] = true
		}
	}
}

// payloads splits what was asked for into disclosed and withheld.
func (b *bench) payloads() (disclosed, withheld []evidence.Digest) {
	for commit := range b.used {
		if _, ok := b.values.payloads.Payload(commit); ok {
			disclosed = append(disclosed, commit)
		} else {
			withheld = append(withheld, commit)
		}
	}
	for commit, ok := range b.bundles {
		if ok {
			disclosed = append(disclosed, commit)
		} else {
			withheld = append(withheld, commit)
		}
	}
	sortDigests(disclosed)
	sortDigests(withheld)
	return disclosed, withheld
}
