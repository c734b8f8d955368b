package audit

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"ledgerd/evidence"
)

// A Decision is what the evidence says of one question.
type Decision struct {
	Result evidence.Result
	// Source is the weakest that the result rests on: the strongest that could
	// have been asked for. Only where supported and where something is expected.
	Source evidence.Source
	// Records decide: sorted, each once.
	Records []evidence.ID
	// Why says it in words, for people; it is no part of a verdict's bytes.
	Why string
}

// decide goes through what the items may turn out to be. docs/rules.md derives
// why two matchings are enough for each case ([judgement.cases]):
//
// A contract is met where every expectation can be given its successes, and
// every success of an action in only can be given to an expectation; by
// Mendelsohn and Dulmage there is then one assignment that does both. More
// successes only help the first and only hurt the second. So the worst that
// doubts can do to the first is that none happened, and to the second that all
// of them did.
func (j *judgement) decide() Decision {
	c := j.cases(j.least)
	if j.everywhere(c, j.least) {
		return j.supported(c)
	}
	if !j.somewhere(c) {
		return j.refuted(c)
	}
	if j.doubtsDecide(c, perhaps) || j.doubtsDecide(c, yes) {
		return Decision{Result: evidence.InDoubt, Records: j.touching(c, j.doubtful), Why: "what became of an action that bears on it is in doubt"}
	}
	return Decision{Result: evidence.Undisclosed, Records: j.touching(c, j.undisclosed), Why: "a payload that decides was not disclosed"}
}

// everywhere reports whether the contract is met in every world.
func (j *judgement) everywhere(c *cases, least int) bool {
	for a := range c.all() {
		if v := j.view(a, least); !v.met(yes, false, true) {
			return false
		}
	}
	return true
}

// somewhere reports whether it is met in some world.
func (j *judgement) somewhere(c *cases) bool {
	for a := range c.all() {
		if v := j.view(a, j.possible); v.met(perhaps, true, false) {
			return true
		}
	}
	return false
}

// doubtsDecide reports whether doubts would still matter if every withheld
// payload that only helps or hurts matched (level perhaps), or none of them did
// (level yes), and the others turned out in some way.
func (j *judgement) doubtsDecide(c *cases, level truth) bool {
	if c.coarse {
		return true
	}
	least := j.least
	if level == perhaps {
		least = j.possible
	}
	for _, g := range c.payloads {
		hope, fear := false, true
		for _, d := range c.doubts {
			v := j.view(c.assume(g, d), least)
			hope = hope || v.met(level, true, false)
			fear = fear && v.met(level, false, true)
		}
		if hope && !fear {
			return true
		}
	}
	return false
}

// met reports whether the contract is met, where a match counts from level on.
// hope: doubtful items may have happened where that helps. fear: they may have
// happened where that hurts.
func (v *view) met(level truth, hope, fear bool) bool {
	// What level is not enough for a match is enough for a breach.
	breach := perhaps + yes - level
	for i := range v.items {
		if (v.happens[i] == yes || fear && v.happens[i] == perhaps) && v.banned[i] >= breach {
			return false
		}
	}
	expects := v.graph(level, v.needs, func(i int) bool {
		return v.happens[i] == yes || hope && v.happens[i] == perhaps && v.banned[i] < breach
	})
	if !expects.match().full() {
		return false
	}
	bound, n := v.bound(fear)
	return n == 0 || v.graph(level, v.takes, bound).match().size == n
}

// needs is how many successes an expectation has to have, takes how many it
// accounts for at most.
func (v *view) needs(e int) int {
	if only := v.part.expects; only != nil && !only[e] {
		return 0
	}
	return v.expects[e].Least
}

func (v *view) takes(e int) int { return v.expects[e].Most }

// bound selects the items that some expectation has to account for.
func (v *view) bound(fear bool) (func(i int) bool, int) {
	is := func(i int) bool {
		return !v.part.free && v.items[i].own() && v.only[v.items[i].act.action] && (v.happens[i] == yes || fear && v.happens[i] == perhaps)
	}
	n := 0
	for i := range v.items {
		if is(i) {
			n++
		}
	}
	return is, n
}

func (v *view) graph(level truth, capacity func(e int) int, of func(i int) bool) *graph {
	g := &graph{capacity: make([]int, len(v.expects)), edges: make([][]int32, len(v.expects)), items: len(v.items)}
	for e := range v.expects {
		if !v.active[e] {
			continue
		}
		g.capacity[e] = capacity(e)
		for i := range v.items {
			if v.match[i*len(v.expects)+e] >= level && of(i) {
				g.edges[e] = append(g.edges[e], int32(i))
			}
		}
	}
	return g
}

func (j *judgement) supported(c *cases) Decision {
	d := Decision{Result: evidence.Supported}
	if len(j.expects) == 0 {
		d.Why = "nothing happened that it forbids"
		return d
	}
	for _, s := range []evidence.Source{
		evidence.SourceConfirmed, evidence.SourceRuntime, evidence.SourceReported, evidence.SourceObserved, evidence.SourceImported,
	} {
		if s.Strength() > j.least && j.tooStrong(s) {
			continue
		}
		if s.Strength() <= j.least || j.everywhere(j.cases(s.Strength()), s.Strength()) {
			d.Source = s
			break
		}
	}
	sure := make(map[int]bool)
	for a := range c.loose() {
		v := j.view(a, j.least)
		for i := range j.items {
			if j.items[i].out.state == done && v.best(i) == yes {
				sure[i] = true
			}
		}
	}
	d.Records = j.records(func(i int) bool { return sure[i] })
	d.Why = "all that it asks for succeeded"
	return d
}

// tooStrong reports, at a glance, that no more can be asked for than there is:
// something is expected, and nothing has that source.
func (j *judgement) tooStrong(s evidence.Source) bool {
	asks := slices.ContainsFunc(j.expects, func(x *Expectation) bool { return x.Least > 0 && x.when == nil && x.unless == nil })
	return asks && j.part.expects == nil && !slices.ContainsFunc(j.items, func(it item) bool {
		return it.out.state != notDone && it.out.source.Strength() >= s.Strength()
	})
}

// best returns how well an item matches the expectation that it matches best.
func (v *view) best(i int) truth {
	t := no
	for e, m := range v.match[i*len(v.expects) : (i+1)*len(v.expects)] {
		if only := v.part.expects; only == nil || only[e] {
			t = max(t, m)
		}
	}
	return t
}

// A refutation is what one case says against a contract that is met in no world.
type refutation struct {
	rank    int // 1 forbidden, 2 too many, 3 failed; 4 merely unsupported
	why     string
	records []evidence.ID
}

// refuted tells what is contradicted from what is merely unsupported: by every
// case, where conditions make several.
func (j *judgement) refuted(c *cases) Decision {
	var all []evidence.ID
	worst := refutation{rank: 0}
	for a := range c.loose() {
		r := j.refutation(a)
		if r.rank == 4 && worst.rank != 4 {
			all = nil // of what is unsupported, only weak sources are of use
		}
		if r.rank == 4 || worst.rank != 4 {
			all = append(all, r.records...)
		}
		if r.rank > worst.rank {
			worst = r
		}
	}
	d := Decision{Result: evidence.Contradicted, Why: worst.why, Records: sortedIDs(all)}
	if worst.rank == 4 {
		d.Result = evidence.Unsupported
	}
	return d
}

func (j *judgement) refutation(a *assumption) refutation {
	v := j.view(a, j.possible)
	forbidden := j.records(func(i int) bool { return j.items[i].out.state == done && v.banned[i] == yes })
	if len(forbidden) > 0 {
		return refutation{1, "something forbidden succeeded", forbidden}
	}
	// Sources aside: a success too many is one, whoever reported it.
	bound, n := v.bound(false)
	plain := j.view(a, 0)
	if m := plain.graph(perhaps, plain.takes, bound).match(); m.size < n {
		left := m.unaccounted()
		return refutation{2, "something succeeded that nothing asked for", j.records(func(i int) bool { return bound(i) && left[i] })}
	}
	short := v.graph(perhaps, v.needs, func(i int) bool {
		return v.happens[i] == yes || v.happens[i] == perhaps && v.banned[i] < yes
	}).match().short()
	failed := j.records(func(i int) bool {
		if j.items[i].out.state != notDone {
			return false
		}
		for e := range j.expects {
			if short[e] && v.attempt(i, e) == yes {
				return true
			}
		}
		return false
	})
	if len(failed) > 0 {
		return refutation{3, "what it asks for was tried, and failed or was denied", failed}
	}
	weak := j.records(func(i int) bool {
		return j.items[i].out.state == done && j.items[i].out.source.Strength() < j.possible && plain.best(i) != no
	})
	why := "there is no evidence of what it asks for" + j.missing(short)
	if len(weak) > 0 {
		why = "only reported: the evidence has a weaker source than is asked for"
	}
	return refutation{4, why, weak}
}

// missing names the first few actions that are short.
func (j *judgement) missing(short map[int]bool) string {
	var names []string
	for e, x := range j.expects {
		if short[e] && !slices.Contains(names, x.Action) {
			names = append(names, x.Action)
		}
	}
	switch {
	case len(names) == 0:
		return ""
	case len(names) > 3:
		names = append(names[:3], fmt.Sprintf("%d more", len(names)-3))
	}
	return ": " + strings.Join(names, ", ")
}

// doubtful selects the items in doubt that may bear on it.
func (j *judgement) doubtful(v, _ *view, i int) bool {
	return j.items[i].out.state == maybe &&
		(v.best(i) != no || v.banned[i] != no || j.only[j.items[i].act.action] && j.items[i].own() && !j.part.free || j.decides(i, perhaps) || j.mayBeLast(i))
}

// undisclosed selects the items that perhaps match something.
func (j *judgement) undisclosed(v, least *view, i int) bool {
	if j.items[i].out.state == notDone {
		return false
	}
	if v.banned[i] == perhaps || j.decides(i, perhaps) && !j.decides(i, yes) {
		return true
	}
	return v.best(i) == perhaps || least.best(i) == perhaps
}

// decides reports whether an item is, at least so surely, what a condition means.
func (j *judgement) decides(i int, level truth) bool {
	for k := range j.conditions {
		if j.meets[i*len(j.conditions)+k] >= level {
			return true
		}
	}
	return false
}

// mayBeLast reports whether some after_last is about the item.
func (j *judgement) mayBeLast(i int) bool {
	return slices.ContainsFunc(j.expects, func(x *Expectation) bool { return x.waitsFor(&j.items[i]) })
}

// touching returns the records of the items that some case selects.
func (j *judgement) touching(c *cases, of func(possible, least *view, i int) bool) []evidence.ID {
	found := make(map[int]bool)
	for a := range c.loose() {
		v, least := j.view(a, j.possible), j.view(a, j.least)
		for i := range j.items {
			found[i] = found[i] || of(v, least, i)
		}
	}
	return j.records(func(i int) bool { return found[i] })
}

// records returns the evidence IDs of the items selected.
func (j *judgement) records(of func(i int) bool) []evidence.ID {
	var ids []evidence.ID
	for i := range j.items {
		if of(i) {
			ids = append(ids, j.items[i].out.ids...)
		}
	}
	return sortedIDs(ids)
}

func sortedIDs(ids []evidence.ID) []evidence.ID {
	slices.SortFunc(ids, func(a, b evidence.ID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}
