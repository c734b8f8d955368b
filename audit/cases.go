package audit

import (
	"iter"
	"math"
	"slices"
)

// maxCases is how many cases are gone through one by one, maxWork how many pairs
// of items and expectations in all of them. Past either, what hangs on something
// else that is open is left open: never a wrong yes or no, but perhaps an "in
// doubt" where all worlds agree.
const (
	maxCases = 1024
	maxWork  = 1 << 24
)

// A fate is what became of an action in doubt. One that happened may have ended
// when its record says, or after all else.
type fate int8

const (
	open fate = iota // not assumed
	never
	early
	late
)

// An assumption settles what other matches hang on. What it leaves open is
// decided for the best or the worst, see [view.met].
type assumption struct {
	fates []fate           // of each item; nil: all are open
	fits  map[[2]int]truth // of items and expectations that are perhaps
	holds []truth          // of each condition that is perhaps; nil: none is assumed
}

// cases are the assumptions under which a contract can be judged by two
// matchings: each doubt, and each match, that decides about another match or a
// condition, both ways. All together they are all worlds.
type cases struct {
	doubts   [][]fate
	payloads []*assumption // without fates
	rough    []*assumption // only what conditions come to
	coarse   bool          // too many: rough takes the place of all, though doubts decide
}

// all yields every case, loose those that only tell conditions apart.
func (c *cases) all() iter.Seq[*assumption] {
	return func(yield func(*assumption) bool) {
		for _, g := range c.payloads {
			for _, d := range c.doubts {
				if !yield(c.assume(g, d)) {
					return
				}
			}
		}
	}
}

func (c *cases) loose() iter.Seq[*assumption] { return slices.Values(c.rough) }

func (c *cases) assume(g *assumption, d []fate) *assumption {
	if d == nil {
		return g // the same each time, so that views are kept
	}
	return &assumption{d, g.fits, g.holds}
}

// cases takes apart what is open, with matches as source strength least makes
// them.
func (j *judgement) cases(least int) *cases {
	c := new(cases)
	undecided := &view{judgement: j, assumption: new(assumption), least: least}
	undecided.fill()
	var conditions []int
	for k := range j.conditions {
		if undecided.condition(k) == perhaps {
			conditions = append(conditions, k)
		}
	}
	for bits := range 1 << len(conditions) {
		a := &assumption{holds: make([]truth, len(j.conditions))}
		for n, k := range conditions {
			a.holds[k] = truthOf(bits>>n&1 == 1)
		}
		c.rough = append(c.rough, a)
	}
	hinges := j.hinges()
	fits := j.hingingFits(c.rough, least)
	limit := min(maxCases, maxWork/max(1, len(j.items)*len(j.expects)))
	if j.limit > 0 {
		limit = j.limit
	}
	n := len(c.rough)
	for range hinges {
		n = min(n*3, limit+1)
	}
	for range fits {
		n = min(n*2, limit+1)
	}
	if n > limit {
		c.payloads, c.doubts, c.coarse = c.rough, [][]fate{nil}, len(hinges) > 0
		return c
	}
	c.payloads = c.rough
	for _, key := range fits {
		var both []*assumption
		for _, a := range c.payloads {
			for _, t := range []truth{no, yes} {
				b := &assumption{fits: map[[2]int]truth{key: t}, holds: a.holds}
				for k, v := range a.fits {
					b.fits[k] = v
				}
				both = append(both, b)
			}
		}
		c.payloads = both
	}
	c.doubts = [][]fate{nil}
	for _, i := range hinges {
		var each [][]fate
		for _, d := range c.doubts {
			for _, f := range []fate{never, early, late} {
				e := make([]fate, len(j.items))
				copy(e, d)
				e[i] = f
				each = append(each, e)
			}
		}
		c.doubts = each
	}
	return c
}

// hinges are the items in doubt on which others, or conditions, hang.
func (j *judgement) hinges() []int {
	hung := j.hung()
	var found []int
	for i := range j.items {
		if j.items[i].out.state != maybe {
			continue
		}
		hinge := j.mayBeLast(i) || j.decides(i, perhaps)
		for e := range j.expects {
			hinge = hinge || hung[e] && j.fit[i*len(j.expects)+e].whole != no
		}
		if hinge {
			found = append(found, i)
		}
	}
	return found
}

// hung are the expectations on whose matches others hang.
func (j *judgement) hung() []bool {
	hung := make([]bool, len(j.expects))
	for _, before := range j.before {
		for _, f := range before {
			hung[f] = true
		}
	}
	for _, e := range slices.Concat(j.from, j.banFrom) {
		if e >= 0 {
			hung[e] = true
		}
	}
	return hung
}

// hingingFits are the matches that are perhaps and on which others hang.
func (j *judgement) hingingFits(rough []*assumption, least int) [][2]int {
	hung := j.hung()
	if !slices.Contains(hung, true) {
		return nil
	}
	var found [][2]int
	for i := range j.items {
		for e := range j.expects {
			if !hung[e] || j.items[i].out.state == notDone {
				continue
			}
			if slices.ContainsFunc(rough, func(a *assumption) bool { return j.view(a, least).match[i*len(j.expects)+e] == perhaps }) {
				found = append(found, [2]int{i, e})
			}
		}
	}
	return found
}

// A view is what is known of all matches in one case.
type view struct {
	*judgement
	*assumption
	least     int
	happens   []truth  // of each item
	when      []uint64 // of each item: the index by which it was done, if it was
	active    []bool   // of each expectation: whether its conditions hold
	match     []truth  // of each item and expectation
	banned    []truth  // of each item: whether it matches what must not happen
	occasions []*occasions
	gave      [][]int32 // of each expectation: the items whose output may be referred to; nil: not looked yet
}

type viewKey struct {
	a     *assumption
	least int
}

// view computes what is known in a case, each that is asked for again once.
func (j *judgement) view(a *assumption, least int) *view {
	key := viewKey{a, least}
	if v := j.views[key]; v != nil {
		return v
	}
	v := &view{judgement: j, assumption: a, least: least}
	v.fill()
	v.compareAll()
	if j.views == nil {
		j.views = make(map[viewKey]*view)
	}
	if a.fates == nil && len(j.views) < 8 {
		j.views[key] = v
	}
	return v
}

// fill says what happened, and when.
func (v *view) fill() {
	v.happens = make([]truth, len(v.items))
	v.when = make([]uint64, len(v.items))
	for i := range v.items {
		out := &v.items[i].out
		v.when[i] = out.index
		switch out.state {
		case done:
			v.happens[i] = yes
		case maybe:
			switch v.fate(i) {
			case open:
				v.happens[i] = perhaps
			case early:
				v.happens[i] = yes
			case late:
				v.happens[i], v.when[i] = yes, math.MaxUint64
			}
		}
	}
}

func (v *view) fate(i int) fate {
	if v.fates == nil {
		return open
	}
	return v.fates[i]
}

// condition reports whether a condition holds, by what is known.
func (v *view) condition(k int) truth {
	c := v.conditions[k]
	if c.succeeded == nil || v.input[k] == no {
		return v.input[k]
	}
	t := no
	for i := range v.items {
		m := min(v.happens[i], v.meets[i*len(v.conditions)+k])
		if out := &v.items[i].out; c.strict && m != no && out.source.Strength() < v.least {
			m = no
			if out.state == maybe {
				m = perhaps // it may yet be settled by a stronger source
			}
		}
		t = max(t, m)
	}
	return min(t, v.input[k])
}

// there reports whether the conditions of an item hold.
func (v *view) there(x *Expectation) bool {
	holds := func(c *condition) bool {
		t := v.condition(c.n)
		if t == perhaps {
			t = v.holds[c.n]
		}
		return t == yes
	}
	return (x.when == nil || holds(x.when)) && (x.unless == nil || !holds(x.unless))
}

// compareAll fills in all matches, each expectation after those that it waits for.
func (v *view) compareAll() {
	n := len(v.expects)
	v.active = make([]bool, n)
	for e, x := range v.expects {
		v.active[e] = v.there(x)
	}
	v.match = make([]truth, len(v.items)*n)
	v.occasions, v.gave = make([]*occasions, n), make([][]int32, n)
	for _, e := range v.order {
		if !v.active[e] {
			continue
		}
		last := v.last(v.expects[e])
		for i := range v.items {
			t := v.fit[i*n+e].whole
			if t != no && v.from[e] >= 0 {
				t = v.refersTo(i, e, v.from[e]).whole
			}
			if t == no {
				continue
			}
			if out := &v.items[i].out; out.source.Strength() < v.least {
				if out.state == done {
					continue
				}
				t = perhaps // a doubt may yet be settled by a stronger source
			}
			t = min(t, v.inOrder(i, e), last.before(i))
			if assumed, ok := v.fits[[2]int{i, e}]; ok && t == perhaps {
				t = assumed
			}
			v.match[i*n+e] = t
		}
	}
	v.banned = make([]truth, len(v.items))
	for f, x := range v.forbids {
		if only := v.part.forbids; only != nil && !only[f] || !v.there(x) {
			continue
		}
		for i := range v.items {
			t := v.ban[i*len(v.forbids)+f].whole
			if t != no && v.banFrom[f] >= 0 {
				t = v.refersTo(i, n+f, v.banFrom[f]).whole
			}
			if v.items[i].out.state != notDone {
				v.banned[i] = max(v.banned[i], t)
			}
		}
	}
}

// refersTo reports whether there is an earlier success of expectation source with
// whose output item i is what expectation e asks for.
func (v *view) refersTo(i, e, source int) truth2 {
	var best truth2
	for _, o := range v.given(source) {
		if !v.precedes(int(o), i) {
			continue
		}
		m := min(v.match[int(o)*len(v.expects)+source], v.happens[o])
		t := v.referring(i, e, int(o))
		best.attempt, best.whole = max(best.attempt, min(m, t.attempt)), max(best.whole, min(m, t.whole))
		if best.whole == yes {
			break
		}
	}
	return best
}

// given returns the items whose output an expectation may stand for.
func (v *view) given(source int) []int32 {
	if v.gave[source] == nil {
		v.gave[source] = []int32{}
		for o := range v.items {
			if min(v.match[o*len(v.expects)+source], v.happens[o]) != no {
				v.gave[source] = append(v.gave[source], int32(o))
			}
		}
	}
	return v.gave[source]
}

// attempt reports whether what item i was to do is what expectation e asks for,
// order and output aside.
func (v *view) attempt(i, e int) truth {
	t := v.fit[i*len(v.expects)+e].attempt
	if t != no && v.from[e] >= 0 {
		return v.refersTo(i, e, v.from[e]).attempt
	}
	return t
}

// inOrder reports whether what has to come before item i did: for each
// expectation of the actions named, as many successes that match it as it asks
// for stand before the item's authorization.
func (v *view) inOrder(i, e int) truth {
	t := yes
	for _, f := range v.before[e] {
		if !v.active[f] {
			continue
		}
		o := v.earlier(f)
		if v.count(o.possible, i) < v.expects[f].Least {
			return no
		}
		if v.count(o.sure, i) < v.expects[f].Least {
			t = perhaps
		}
	}
	return t
}

// precedes reports whether item o, if it was done, is shown to have been done before
// item i was authorized.
func (v *view) precedes(o, i int) bool { return v.when[o] < v.horizon(i, v.items[o].site.n) }

// horizon is [site.horizon] of item i.
func (j *judgement) horizon(i, of int) uint64 {
	it := &j.items[i]
	return it.site.horizon(it.act.index, of)
}

// count returns how many occasions are shown to be before item i was authorized.
func (v *view) count(of [][]uint64, i int) int {
	n := 0
	for s, when := range of {
		if len(when) > 0 {
			k, _ := slices.BinarySearch(when, v.horizon(i, s))
			n += k
		}
	}
	return n
}

// occasions are, of each site, the indexes, rising, at which an expectation was met
// for sure, and at which it may have been.
type occasions struct{ sure, possible [][]uint64 }

func (v *view) earlier(f int) *occasions {
	if o := v.occasions[f]; o != nil {
		return o
	}
	o := &occasions{make([][]uint64, v.sites), make([][]uint64, v.sites)}
	for k := range v.items {
		m := min(v.match[k*len(v.expects)+f], v.happens[k])
		if m != no {
			s := v.items[k].site.n
			o.possible[s] = append(o.possible[s], v.when[k])
		}
		if m == yes {
			s := v.items[k].site.n
			o.sure[s] = append(o.sure[s], v.when[k])
		}
	}
	for s := range v.sites {
		slices.Sort(o.possible[s])
		slices.Sort(o.sure[s])
	}
	v.occasions[f] = o
	return o
}

// lastOf is the last success of some actions, of each site, as far as it is known.
type lastOf struct {
	view *view
	of   []lastTwo
	open []int // two items that may have happened at any time
}

// lastTwo are the items with the greatest index; -1: none.
type lastTwo struct{ last, second int }

func (v *view) last(e *Expectation) *lastOf {
	l := &lastOf{view: v}
	if len(e.AfterLast) == 0 {
		return l
	}
	l.of = slices.Repeat([]lastTwo{{-1, -1}}, v.sites)
	for k := range v.items {
		it := &v.items[k]
		if !e.waitsFor(it) {
			continue
		}
		s := &l.of[it.site.n]
		switch {
		case v.happens[k] == perhaps:
			if len(l.open) < 2 {
				l.open = append(l.open, k)
			}
		case v.happens[k] == no:
		case s.last < 0 || v.when[k] > v.when[s.last]:
			s.last, s.second = k, s.last
		case s.second < 0 || v.when[k] > v.when[s.second]:
			s.second = k
		}
	}
	return l
}

// waitsFor reports whether the expectation's after_last is about an item.
func (e *Expectation) waitsFor(it *item) bool {
	return slices.Contains(e.AfterLast, it.act.action) && e.looksAt(it)
}

// before reports whether all but item i are shown to have been done before it was
// authorized.
func (l *lastOf) before(i int) truth {
	for s, two := range l.of {
		last := two.last
		if last == i {
			last = two.second
		}
		if last >= 0 && l.view.when[last] >= l.view.horizon(i, s) {
			return no
		}
	}
	if slices.ContainsFunc(l.open, func(k int) bool { return k != i }) {
		return perhaps
	}
	return yes
}
