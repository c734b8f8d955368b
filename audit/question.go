package audit

import (
	"slices"

	"ledgerd/evidence"
)

// truth is Kleene's: what is unknown may turn out either way.
type truth int

const (
	no truth = iota
	perhaps
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// A question is what a contract, or one assertion, asks of a run's actions.
type question struct {
	expects  []*Expectation // no two alike
	forbids  []*Expectation
	only     map[string]bool
	opaque   bool // expects stands for an expectation that was not disclosed
	least    int  // strength of source from which a success counts
	possible int  // from which it may count; less than least where the contract is withheld
}

// contractQuestion asks whether the contract is met.
func contractQuestion(c *Contract, least int) *question {
	q := &question{forbids: c.Forbids, only: make(map[string]bool), least: least, possible: least}
	for _, action := range c.Only {
		q.only[action] = true
	}
	alike := make(map[string]*Expectation)
	for _, e := range c.Expects {
		key := e.key()
		if same := alike[key]; same != nil {
			same.Times += e.Times
			continue
		}
		own := *e
		alike[key] = &own
		q.expects = append(q.expects, &own)
	}
	return q
}

// key tells expectations apart, whatever their times.
func (e *Expectation) key() string {
	after := slices.Clone(e.After)
	slices.Sort(after)
	key := quote(e.Action) + quote(e.Resource)
	for _, a := range slices.Compact(after) {
		key += "," + quote(a)
	}
	for _, v := range []*value{e.input, e.inputHas, e.outputHas} {
		key += "|"
		if v != nil {
			key += v.key
		}
	}
	return key
}

// An item is one thing that an agent did, may have done, or failed to do.
type item struct {
	act       *act
	out       outcome
	forbidden truth // whether it matches what must not happen
}

// values reads payloads as JSON values, each once.
type values struct {
	payloads Payloads
	cache    map[evidence.Digest]*value // nil: not JSON, or not in one form
	withheld map[evidence.Digest]bool
}

// of returns the value of a payload, nil where it is not JSON; known tells
// whether it is disclosed.
func (v *values) of(c *evidence.Commitment) (val *value, known bool) {
	if val, known = v.cache[c.Commit]; known || v.withheld[c.Commit] {
		return val, known
	}
	data, ok := v.payloads.Payload(c.Commit)
	if !ok {
		v.withheld[c.Commit] = true
		return nil, false
	}
	val, err := parseValue(data)
	if err != nil {
		val = nil // what does not parse is equal to nothing
	}
	v.cache[c.Commit] = val
	return val, true
}

// inputFits reports whether an item's input is what e asks for. clear is what stands
// of it in the record.
func inputFits(e *Expectation, v *value, known bool, clear *value) truth {
	switch {
	case e.input == nil && e.inputHas == nil:
		return yes
	case known && e.input != nil:
		return truthOf(v != nil && v.equal(e.input))
	case known:
		return truthOf(v != nil && v.has(e.inputHas))
	case e.input != nil:
		// The members in the clear are the input's own.
		if clear != nil && !clear.within(e.input) {
			return no
		}
		return perhaps
	}
	return partFits(e.inputHas, clear)
}

// within reports whether every member of v, whole, is w's.
func (v *value) within(w *value) bool {
	for name, m := range v.members {
		if o := w.members[name]; o == nil || !o.equal(m) {
			return false
		}
	}
	return true
}

// partFits decides by the members in the clear, as far as they go.
func partFits(part, clear *value) truth {
	if !part.object || clear == nil {
		return perhaps
	}
	all := yes
	for name, p := range part.members {
		switch m := clear.members[name]; {
		case m == nil:
			all = perhaps
		case !m.has(p):
			return no
		}
	}
	return all
}

// clearOf parses what a record shows of a payload. Records are valid: it parses.
func clearOf(o evidence.Object) *value {
	if o == nil {
		return nil
	}
	v, err := parseValue(o)
	if err != nil {
		return nil
	}
	return v
}

// A judgement is a question with the items that bear on it.
type judgement struct {
	*question
	items  []item
	fit    []truth2 // of each item and expectation
	values *values
	order  map[[2]int]*occasions // by expectation and strength
}

// truth2 is what is known of an item against an expectation: its input, which
// the attempt alone decides, and its output too.
type truth2 struct{ attempt, whole truth }

// against compares one item with one expectation, the order aside.
func (j *judgement) against(it *item, e *Expectation) truth2 {
	if it.act.action != e.Action || e.Resource != "" && it.act.resource != e.Resource {
		return truth2{}
	}
	in := yes
	if e.input != nil || e.inputHas != nil {
		v, known := j.values.of(&it.act.input)
		var clear *value
		if !known && it.act.auth != nil {
			clear = clearOf(it.act.auth.Params)
		}
		in = inputFits(e, v, known, clear)
	}
	if j.opaque {
		in = min(in, perhaps)
	}
	out := yes
	if e.outputHas != nil {
		out = j.outputFits(it, e)
	}
	return truth2{in, min(in, out)}
}

func (j *judgement) outputFits(it *item, e *Expectation) truth {
	var v *value
	known := false
	if it.out.output != nil {
		v, known = j.values.of(it.out.output)
	}
	switch {
	case it.out.state == maybe:
		return perhaps // what it gives in the end, nobody knows
	case it.out.output == nil:
		return no
	case known:
		return truthOf(v != nil && v.has(e.outputHas))
	}
	return partFits(e.outputHas, clearOf(it.out.refs))
}
