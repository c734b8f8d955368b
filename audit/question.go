package audit

import (
	"slices"
	"strconv"

	"ledgerd/evidence"
)

// truth is Kleene's: what is unknown may turn out either way.
type truth int8

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
	expects    []*Expectation // no two alike
	forbids    []*Expectation
	only       map[string]bool
	conditions []*condition
	opaque     bool // expects stands for an expectation that was not disclosed
	least      int  // strength of source from which a success counts
	possible   int  // from which it may count; less than least where the contract is withheld
	part       part // of it that is asked
	limit      int  // of cases; 0: maxCases

	order   []int   // of expects: each after those that it waits for
	before  [][]int // of each of expects: those that its after names
	from    []int   // of each of expects: the one whose output it refers to; -1: none
	banFrom []int   // of each of forbids: likewise
}

// A part is what is asked of a contract to explain it. The zero part is all.
type part struct {
	expects map[int]bool // that need their successes; nil: all
	forbids map[int]bool // nil: all
	free    bool         // only is not asked
}

// contractQuestion asks whether the contract is met.
func contractQuestion(c *Contract, least int) *question {
	q := &question{forbids: c.Forbids, only: make(map[string]bool), conditions: c.conditions, least: least, possible: least}
	for _, action := range c.Only {
		q.only[action] = true
	}
	alike := make(map[string]*Expectation)
	for _, e := range c.Expects {
		key := e.key()
		if same := alike[key]; same != nil {
			same.Least += e.Least
			same.Most = min(same.Most+e.Most, anyTimes)
			continue
		}
		own := *e
		alike[key] = &own
		q.expects = append(q.expects, &own)
	}
	return q
}

// prepare looks up what expectations say of each other.
func (q *question) prepare() {
	q.order, _ = inTurn(q.expects)
	named := make(map[string]int)
	byAction := make(map[string][]int)
	for e, x := range q.expects {
		byAction[x.Action] = append(byAction[x.Action], e)
		if x.As != "" {
			named[x.As] = e
		}
	}
	from := func(list []*Expectation) []int {
		of := make([]int, len(list))
		for e, x := range list {
			of[e] = -1
			if s := x.source(); s != "" {
				of[e] = named[s]
			}
		}
		return of
	}
	q.from, q.banFrom = from(q.expects), from(q.forbids)
	q.before = make([][]int, len(q.expects))
	for e, x := range q.expects {
		for _, action := range x.After {
			for _, f := range byAction[action] {
				if !slices.Contains(q.before[e], f) {
					q.before[e] = append(q.before[e], f)
				}
			}
		}
	}
}

// key tells expectations apart, whatever their times.
func (e *Expectation) key() string {
	set := func(actions []string) string {
		actions = slices.Clone(actions)
		slices.Sort(actions)
		key := ""
		for _, a := range slices.Compact(actions) {
			key += "," + quote(a)
		}
		return key
	}
	key := quote(e.Action) + quote(e.Resource) + quote(e.As) + string(e.Runs) + set(e.After) + ";" + set(e.AfterLast)
	for _, p := range []*pattern{e.resource, e.input, e.inputHas, e.output, e.outputHas} {
		key += "|"
		if p != nil {
			key += p.key
		}
	}
	for _, k := range []*condition{e.when, e.unless} {
		key += "|"
		if k != nil {
			key += strconv.Itoa(k.n)
		}
	}
	return key
}

// crosses reports whether it asks what was done in runs that were handed over.
func (q *question) crosses() bool {
	for _, list := range [][]*Expectation{q.expects, q.forbids} {
		for _, e := range list {
			if e.Runs != RunsOwn {
				return true
			}
		}
	}
	return slices.ContainsFunc(q.conditions, func(k *condition) bool { return k.succeeded != nil && k.succeeded.Runs != RunsOwn })
}

// An item is one thing that an agent did, may have done, or failed to do.
type item struct {
	act  *act
	out  outcome
	site *site // where
}

// own reports whether it was done in the run that is judged.
func (it *item) own() bool { return it.site.n == 0 }

// looksAt reports whether an expectation is about an item of that action, for where
// it was done.
func (e *Expectation) looksAt(it *item) bool {
	switch e.Runs {
	case RunsOwn:
		return it.own()
	case RunsGiven:
		return !it.own()
	}
	return true
}

// values reads payloads as JSON values, each once.
type values struct {
	payloads Payloads
	cache    map[evidence.Digest]*value // nil: not JSON, or not in one form
	withheld map[evidence.Digest]bool
	only     map[evidence.Digest]bool // the payloads that count; nil: all that there are
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

// within reports whether every member of v, whole, is w's.
func (v *value) within(w *value) bool {
	for name, m := range v.members {
		if o := w.members[name]; o == nil || !o.equal(m) {
			return false
		}
	}
	return true
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
	fit    []truth2          // of each item and expectation, what it refers to being unknown
	ban    []truth2          // of each item and item of forbids
	meets  []truth           // of each item and condition: whether it is the success meant
	input  []truth           // of each condition: whether the run's input is as it says
	sites  int               // how many runs it is about
	run    known             // the run's input
	refers map[[3]int]truth2 // of items, what they are compared with, and items referred to
	views  map[viewKey]*view
}

// truth2 is what is known of an item against an expectation: its input, which
// the attempt alone decides, and its output too.
type truth2 struct{ attempt, whole truth }

// against compares one item with one expectation, the order aside. source is
// what it refers to, as far as that is known.
func (j *judgement) against(it *item, e *Expectation, source known) truth2 {
	if it.act.action != e.Action || e.Resource != "" && it.act.resource != e.Resource || !e.looksAt(it) {
		return truth2{}
	}
	r := &references{input: j.run, output: source}
	in := yes
	if e.resource != nil {
		var v *value
		if it.act.resource != "" {
			v = &value{key: quote(it.act.resource), kind: '"', text: it.act.resource}
		}
		in = e.resource.fits(v, true, r)
	}
	if in != no && (e.input != nil || e.inputHas != nil) {
		in = min(in, payloadFits(j.inputOf(it), e.input, e.inputHas, r))
	}
	if j.opaque {
		in = min(in, perhaps)
	}
	out := yes
	if in != no && (e.output != nil || e.outputHas != nil) {
		switch {
		case it.out.state == maybe:
			out = perhaps // what it gives in the end, nobody knows
		case it.out.output == nil:
			out = no
		default:
			out = payloadFits(j.outputOf(it), e.output, e.outputHas, r)
		}
	}
	return truth2{in, min(in, out)}
}

func (j *judgement) inputOf(it *item) known {
	v, ok := it.site.values.of(&it.act.input)
	if ok || it.act.auth == nil {
		return known{v: v, ok: ok}
	}
	return known{clear: clearOf(it.act.auth.Params)}
}

// outputOf returns what an item gave: nothing is known of one in doubt.
func (j *judgement) outputOf(it *item) known {
	switch {
	case it.out.state == maybe:
		return known{}
	case it.out.output == nil:
		return known{ok: true}
	}
	v, ok := it.site.values.of(it.out.output)
	if ok {
		return known{v: v, ok: true}
	}
	return known{clear: clearOf(it.out.refs)}
}

// payloadFits reports whether a payload is what is asked for, all of it (whole)
// or a part.
func payloadFits(k known, whole, part *pattern, r *references) truth {
	p := part
	if whole != nil {
		p = whole
	}
	switch {
	case !k.ok:
		return p.fitsClear(k.clear, whole != nil, r)
	case k.v == nil:
		return no // what does not parse is equal to nothing
	}
	return p.fits(k.v, whole != nil, r)
}

// compare fills in what the payloads say.
func (j *judgement) compare() {
	j.prepare()
	for i := range j.items {
		it := &j.items[i]
		j.sites = max(j.sites, it.site.n+1)
		for _, x := range j.expects {
			j.fit = append(j.fit, j.against(it, x, known{}))
		}
		for _, x := range j.forbids {
			j.ban = append(j.ban, j.against(it, x, known{}))
		}
		for _, k := range j.conditions {
			t := no
			if k.succeeded != nil {
				t = j.against(it, k.succeeded, known{}).whole
			}
			j.meets = append(j.meets, t)
		}
	}
	for _, k := range j.conditions {
		t := yes
		if k.input != nil || k.inputHas != nil {
			t = payloadFits(j.run, k.input, k.inputHas, &references{input: j.run})
		}
		j.input = append(j.input, t)
	}
}

// maxReferring bounds the comparisons that are kept, not how many are made.
const maxReferring = 1 << 20

// referring compares item i with an expectation (e below len(expects)) or with
// an item of forbids, where it refers to the output of item o.
func (j *judgement) referring(i, e, o int) truth2 {
	key := [3]int{i, e, o}
	t, ok := j.refers[key]
	if !ok {
		x := j.asked(e)
		t = j.against(&j.items[i], x, j.outputOf(&j.items[o]))
		if j.refers == nil {
			j.refers = make(map[[3]int]truth2)
		}
		if len(j.refers) < maxReferring {
			j.refers[key] = t
		}
	}
	return t
}

// asked returns an expectation, or, numbered after them, an item of forbids.
func (j *judgement) asked(e int) *Expectation {
	if e < len(j.expects) {
		return j.expects[e]
	}
	return j.forbids[e-len(j.expects)]
}
