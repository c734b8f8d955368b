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
// why two matchings are enough for all of it:
//
// A contract is met where every expectation can be given its successes, and
// every success of an action in only can be given to an expectation; by
// Mendelsohn and Dulmage there is then one assignment that does both. More
// successes only help the first and only hurt the second. So the worst that
// doubts can do to the first is that none happened, and to the second that all
// of them did.
func (j *judgement) decide() Decision {
	if j.met(j.least, yes, false, true) {
		return j.supported()
	}
	if !j.met(j.possible, perhaps, true, false) {
		return j.refuted()
	}
	if j.doubtsDecide(perhaps) || j.doubtsDecide(yes) {
		return Decision{Result: evidence.InDoubt, Records: j.records(j.doubtful), Why: "what became of an action that bears on it is in doubt"}
	}
	return Decision{Result: evidence.Undisclosed, Records: j.records(j.undisclosed), Why: "a payload that decides was not disclosed"}
}

// doubtsDecide reports whether doubts would still matter if every withheld
// payload matched (level perhaps), or none of them did (level yes).
func (j *judgement) doubtsDecide(level truth) bool {
	least := j.least
	if level == perhaps {
		least = j.possible
	}
	return j.met(least, level, true, false) && !j.met(least, level, false, true)
}

// met reports whether the contract is met, where a match counts from level on.
// hope: doubtful items may have happened where that helps. fear: they may have
// happened where that hurts.
func (j *judgement) met(least int, level truth, hope, fear bool) bool {
	// What level is not enough for a match is enough for a breach.
	breach := perhaps + yes - level
	for i := range j.items {
		it := &j.items[i]
		if (it.out.state == done || fear && it.out.state == maybe) && it.forbidden >= breach {
			return false
		}
	}
	expects := j.graph(least, level, func(it *item) bool {
		return it.out.state == done || hope && it.out.state == maybe && it.forbidden < breach
	})
	if !expects.match().full() {
		return false
	}
	bound, n := j.bound(fear)
	return n == 0 || j.graph(least, level, bound).match().size == n
}

// bound selects the items that some expectation has to account for.
func (j *judgement) bound(fear bool) (func(it *item) bool, int) {
	is := func(it *item) bool {
		return j.only[it.act.action] && (it.out.state == done || fear && it.out.state == maybe)
	}
	n := 0
	for i := range j.items {
		if is(&j.items[i]) {
			n++
		}
	}
	return is, n
}

func (j *judgement) graph(least int, level truth, of func(*item) bool) *graph {
	g := &graph{capacity: make([]int, len(j.expects)), edges: make([][]int32, len(j.expects)), items: len(j.items)}
	for e, x := range j.expects {
		g.capacity[e] = x.Times
		for i := range j.items {
			if it := &j.items[i]; of(it) && j.matches(i, e, least) >= level {
				g.edges[e] = append(g.edges[e], int32(i))
			}
		}
	}
	return g
}

// matches reports whether item i, if it happened, counts for expectation e.
func (j *judgement) matches(i, e, least int) truth {
	t := j.fit[i*len(j.expects)+e].whole
	if t == no {
		return no
	}
	if it := &j.items[i]; it.out.source.Strength() < least {
		if it.out.state == done {
			return no
		}
		t = perhaps // a doubt may yet be settled by a stronger source
	}
	if len(j.expects[e].After) > 0 {
		t = min(t, j.inOrder(i, e, least))
	}
	return t
}

// inOrder reports whether what has to come before item i did: for each
// expectation of the actions named, as many successes that match it as it asks
// for stand before the item's authorization.
func (j *judgement) inOrder(i, e, least int) truth {
	t := yes
	from := j.items[i].act.index
	for f, before := range j.expects {
		if !slices.Contains(j.expects[e].After, before.Action) {
			continue
		}
		o := j.earlier(f, least)
		if n, _ := slices.BinarySearch(o.possible, from); n < before.Times {
			return no
		}
		if n, _ := slices.BinarySearch(o.sure, from); n < before.Times {
			t = perhaps
		}
	}
	return t
}

// occasions are the indexes, rising, at which an expectation was met for sure,
// and at which it may have been.
type occasions struct{ sure, possible []uint64 }

func (j *judgement) earlier(f, least int) *occasions {
	key := [2]int{f, least}
	if o := j.order[key]; o != nil {
		return o
	}
	o := new(occasions)
	for k := range j.items {
		it := &j.items[k]
		m := j.fit[k*len(j.expects)+f].whole
		if m == no || it.out.state == notDone || it.out.state == done && it.out.source.Strength() < least {
			continue
		}
		o.possible = append(o.possible, it.out.index)
		if m == yes && it.out.state == done {
			o.sure = append(o.sure, it.out.index)
		}
	}
	slices.Sort(o.possible)
	slices.Sort(o.sure)
	if j.order == nil {
		j.order = make(map[[2]int]*occasions)
	}
	j.order[key] = o
	return o
}

func (j *judgement) supported() Decision {
	d := Decision{Result: evidence.Supported}
	if len(j.expects) == 0 {
		d.Why = "nothing happened that it forbids"
		return d
	}
	for _, s := range []evidence.Source{
		evidence.SourceConfirmed, evidence.SourceRuntime, evidence.SourceReported, evidence.SourceObserved, evidence.SourceImported,
	} {
		if s.Strength() <= j.least || j.met(s.Strength(), yes, false, true) {
			d.Source = s
			break
		}
	}
	d.Records = j.records(func(i int) bool {
		return j.items[i].out.state == done && j.best(i, j.least) == yes
	})
	d.Why = "all that it asks for succeeded"
	return d
}

// best returns how well an item matches the expectation that it matches best.
func (j *judgement) best(i, least int) truth {
	t := no
	for e := range j.expects {
		t = max(t, j.matches(i, e, least))
	}
	return t
}

// refuted tells what is contradicted from what is merely unsupported.
func (j *judgement) refuted() Decision {
	contradicted := func(why string, of func(int) bool) Decision {
		return Decision{Result: evidence.Contradicted, Records: j.records(of), Why: why}
	}
	forbidden := func(i int) bool { return j.items[i].out.state == done && j.items[i].forbidden == yes }
	if ids := j.records(forbidden); len(ids) > 0 {
		return contradicted("something forbidden succeeded", forbidden)
	}
	// Sources aside: a success too many is one, whoever reported it.
	bound, n := j.bound(false)
	if m := j.graph(0, perhaps, bound).match(); m.size < n {
		left := m.unaccounted()
		return contradicted("something succeeded that nothing asked for", func(i int) bool { return bound(&j.items[i]) && left[i] })
	}
	short := j.graph(j.possible, perhaps, func(it *item) bool {
		return it.out.state == done || it.out.state == maybe && it.forbidden < yes
	}).match().short()
	failed := func(i int) bool {
		it := &j.items[i]
		if it.out.state != notDone {
			return false
		}
		for e := range j.expects {
			if short[e] && j.fit[i*len(j.expects)+e].attempt == yes {
				return true
			}
		}
		return false
	}
	if ids := j.records(failed); len(ids) > 0 {
		return contradicted("what it asks for was tried, and failed or was denied", failed)
	}
	weak := j.records(func(i int) bool {
		return j.items[i].out.state == done && j.items[i].out.source.Strength() < j.possible && j.best(i, 0) != no
	})
	why := "there is no evidence of what it asks for" + j.missing(short)
	if len(weak) > 0 {
		why = "only reported: the evidence has a weaker source than is asked for"
	}
	return Decision{Result: evidence.Unsupported, Records: weak, Why: why}
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

func (j *judgement) doubtful(i int) bool {
	it := &j.items[i]
	return it.out.state == maybe && (j.best(i, j.possible) != no || j.only[it.act.action] || it.forbidden != no)
}

func (j *judgement) undisclosed(i int) bool {
	it := &j.items[i]
	return it.out.state != notDone && (j.best(i, j.least) == perhaps || j.best(i, j.possible) == perhaps || it.forbidden == perhaps)
}

// records returns the evidence IDs of the items selected.
func (j *judgement) records(of func(i int) bool) []evidence.ID {
	var ids []evidence.ID
	for i := range j.items {
		if of(i) {
			ids = append(ids, j.items[i].out.ids...)
		}
	}
	slices.SortFunc(ids, func(a, b evidence.ID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}
