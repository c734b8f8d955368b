package audit

import (
	"fmt"
	"strings"

	"ledgerd/evidence"
)

// A Trial is what a contract says of a run as it stands, and what each part of
// it says.
type Trial struct {
	Decision
	Parts    []TrialPart
	Withheld []evidence.Digest // payloads that bear on it and were not there
}

// TrialPart is one item of expects or forbids, or only.
type TrialPart struct {
	Place  string // in the contract: a JSON pointer
	Action string // of the item; for only: ""
	Item   string // what it is about, in words
	Decision
}

// Try decides a contract at the last record of a run that need not have it.
// weakest is as in [Judge]. A part is decided as if the others asked for nothing.
func Try(r *Run, c *Contract, weakest evidence.Source, p Payloads) (*Trial, error) {
	if r.Opened.IsZero() {
		return nil, fmt.Errorf("try: expected a run that was opened")
	}
	b := &bench{run: r, asOf: forever, told: forever, values: newValues(p), used: make(map[evidence.Digest]bool), weakest: weakest.Strength()}
	b.index()
	t := &Trial{Decision: Decision{Result: evidence.NoContract, Why: "the contract asks for nothing"}}
	if c.Empty() {
		return t, nil
	}
	least := max(c.WeakestSource.Strength(), b.weakest)
	t.Decision = b.ask(contractQuestion(c, least))
	none := map[int]bool{}
	alike := make(map[string]int) // where an item of expects stands among those that are not alike
	for i, e := range c.Expects {
		n, ok := alike[e.key()]
		if !ok {
			n = len(alike)
			alike[e.key()] = n
		}
		t.part(b, c, least, part{expects: map[int]bool{n: true}, forbids: none, free: true}, fmt.Sprintf("/expects/%d", i), e)
	}
	for i, e := range c.Forbids {
		t.part(b, c, least, part{expects: none, forbids: map[int]bool{i: true}, free: true}, fmt.Sprintf("/forbids/%d", i), e)
	}
	if c.Only != nil {
		t.part(b, c, least, part{expects: none, forbids: none}, "/only", nil)
	}
	_, t.Withheld = b.payloads()
	return t, nil
}

func (t *Trial) part(b *bench, c *Contract, least int, of part, place string, e *Expectation) {
	q := contractQuestion(c, least)
	q.part = of
	x := TrialPart{Place: place, Item: "nothing else than is expected", Decision: hidden}
	if e != nil {
		x.Action, x.Item = e.Action, e.words
	}
	if b.blind(q) {
		t.Parts = append(t.Parts, x)
		return
	}
	j := b.judgement(q)
	x.Decision = j.decide()
	if (x.Result == evidence.Unsupported || x.Result == evidence.Contradicted) && b.early(e, least) {
		x.Why = "it was done, and " + strings.Join(e.AfterLast, " or ") + " was done after it"
	}
	if x.Result == evidence.Supported {
		switch {
		case e == nil:
			x.Why = "all that changed something is accounted for"
		case j.absent(e):
			x.Why, x.Source = "its conditions say that it is not asked for", ""
		case len(of.expects) == 0:
			x.Why = "it did not happen"
		}
		if len(of.expects) == 0 {
			x.Source = "" // nothing is expected: there is nothing to have a source
		}
	}
	t.Parts = append(t.Parts, x)
}

// absent reports whether the conditions of an item do not hold for sure.
func (j *judgement) absent(e *Expectation) bool {
	for a := range j.cases(j.least).loose() {
		if j.view(a, j.least).there(e) {
			return false
		}
	}
	return true
}
