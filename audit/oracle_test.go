package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ledgerd/evidence"
)

// The oracle decides a question as docs/rules.md defines it: by going through
// every world. A world settles each doubt (it happened or not, by when its record
// says or later, by a strong source or a weak one) and each withheld payload (for
// each item and expectation, prohibition, condition or reference that nothing
// else decides, whether it matches). In it, what hangs on other matches is
// computed from these. It assigns by trying every assignment.

// oneWorld is one way in which things may have been.
type oneWorld struct {
	happened, late []bool
	fits, bans     [][]bool // of each item
	meets          [][]bool // of each item: the conditions
	input          []bool   // of each condition
	refers         map[[3]int]bool
}

// matchesIn returns which items match which expectations in a world.
func matchesIn(j *judgement, w *oneWorld) (match [][]bool, active []bool) {
	active = make([]bool, len(j.expects))
	for e, x := range j.expects {
		active[e] = thereIn(j, w, x)
	}
	match = make([][]bool, len(j.items))
	for i := range match {
		match[i] = make([]bool, len(j.expects))
	}
	for _, e := range j.order {
		for i := range j.items {
			match[i][e] = active[e] && w.fits[i][e] && (j.from[e] < 0 || refersIn(j, w, match, i, e, j.from[e])) && inOrderIn(j, w, match, active, i, e)
		}
	}
	return match, active
}

// whenIn is when an item that happened was done.
func whenIn(j *judgement, w *oneWorld, i int) uint64 {
	if w.late[i] {
		return math.MaxUint64
	}
	return j.items[i].out.index
}

func thereIn(j *judgement, w *oneWorld, x *Expectation) bool {
	holds := func(c *condition) bool {
		if c.succeeded == nil || !w.input[c.n] {
			return w.input[c.n]
		}
		for i := range j.items {
			if w.happened[i] && w.meets[i][c.n] {
				return true
			}
		}
		return false
	}
	return (x.when == nil || holds(x.when)) && (x.unless == nil || !holds(x.unless))
}

func refersIn(j *judgement, w *oneWorld, match [][]bool, i, e, source int) bool {
	for o := range j.items {
		if w.happened[o] && match[o][source] && whenIn(j, w, o) < j.items[i].act.index && w.refers[[3]int{i, e, o}] {
			return true
		}
	}
	return false
}

func inOrderIn(j *judgement, w *oneWorld, match [][]bool, active []bool, i, e int) bool {
	from := j.items[i].act.index
	for f, before := range j.expects {
		if !active[f] || !slices.Contains(j.expects[e].After, before.Action) {
			continue
		}
		n := 0
		for k := range j.items {
			if w.happened[k] && match[k][f] && whenIn(j, w, k) < from {
				n++
			}
		}
		if n < before.Least {
			return false
		}
	}
	for k := range j.items {
		if k != i && w.happened[k] && slices.Contains(j.expects[e].AfterLast, j.items[k].act.action) && whenIn(j, w, k) >= from {
			return false
		}
	}
	return true
}

// metIn decides one world.
func metIn(j *judgement, w *oneWorld) bool {
	match, active := matchesIn(j, w)
	for i := range j.items {
		for f, x := range j.forbids {
			if w.happened[i] && w.bans[i][f] && thereIn(j, w, x) && (j.banFrom[f] < 0 || refersIn(j, w, match, i, len(j.expects)+f, j.banFrom[f])) {
				return false
			}
		}
	}
	load := make([]int, len(j.expects))
	var try func(i int) bool
	try = func(i int) bool {
		if i == len(j.items) {
			for e, x := range j.expects {
				if active[e] && load[e] < x.Least {
					return false
				}
			}
			return true
		}
		if !(w.happened[i] && j.only[j.items[i].act.action]) && try(i+1) {
			return true
		}
		for e, x := range j.expects {
			if w.happened[i] && match[i][e] && load[e] < x.Most {
				load[e]++
				if try(i + 1) {
					return true
				}
				load[e]--
			}
		}
		return false
	}
	return try(0)
}

// worlds calls yield with every world; payloads fixes what withheld payloads
// match: perhaps leaves them free. It returns whether there were doubts, and
// payloads that are withheld.
func worlds(j *judgement, payloads truth, yield func(*oneWorld)) (doubts, withheld bool) {
	w := &oneWorld{happened: make([]bool, len(j.items)), late: make([]bool, len(j.items)), refers: make(map[[3]int]bool)}
	var free []*bool // to be tried both ways
	settle := func(t truth, to *bool, helps bool) {
		switch {
		case t == yes:
			*to = true
		case t == perhaps && payloads == perhaps:
			withheld = true
			free = append(free, to)
		case t == perhaps:
			*to = (payloads == yes) == helps
		}
	}
	weak := func(t truth, it *item, least, possible int) truth {
		if s := it.out.source.Strength(); s < least && t != no {
			if it.out.state == maybe || s >= possible {
				return perhaps
			}
			return no
		}
		return t
	}
	derived := slices.ContainsFunc(slices.Concat(j.expects, j.forbids), func(x *Expectation) bool { return len(x.After)+len(x.AfterLast)+len(x.reads.sources) > 0 })
	refers := make(map[[3]int]*bool)
	for i := range j.items {
		it := &j.items[i]
		w.fits = append(w.fits, make([]bool, len(j.expects)))
		w.bans = append(w.bans, make([]bool, len(j.forbids)))
		w.meets = append(w.meets, make([]bool, len(j.conditions)))
		switch it.out.state {
		case done:
			w.happened[i] = true
		case maybe:
			doubts = true
			free = append(free, &w.happened[i])
			if derived {
				free = append(free, &w.late[i])
			}
		}
		for f := range j.forbids {
			t := j.ban[i*len(j.forbids)+f].whole
			if t != no && j.banFrom[f] >= 0 {
				t = yes // the references decide
			}
			settle(t, &w.bans[i][f], false)
		}
		for e := range j.expects {
			t := j.fit[i*len(j.expects)+e].whole
			if t != no && j.from[e] >= 0 {
				t = yes
			}
			settle(weak(t, it, j.least, j.possible), &w.fits[i][e], true)
		}
		for k, c := range j.conditions {
			t := j.meets[i*len(j.conditions)+k]
			if c.strict {
				t = weak(t, it, j.least, j.least)
			}
			settle(t, &w.meets[i][k], true)
		}
	}
	w.input = make([]bool, len(j.conditions))
	for k, t := range j.input {
		settle(t, &w.input[k], true)
	}
	for key, t := range j.refers {
		refers[key] = new(bool)
		settle(t.whole, refers[key], true)
	}
	if len(free) > 20 {
		panic("too many worlds")
	}
	for mask := range 1 << len(free) {
		for b, p := range free {
			*p = mask>>b&1 == 1
		}
		skip := false
		for i := range j.items {
			skip = skip || w.late[i] && !w.happened[i]
		}
		if skip {
			continue
		}
		for key, p := range refers {
			w.refers[key] = *p
		}
		yield(w)
	}
	return doubts, withheld
}

func mixed(j *judgement, payloads truth) (someTrue, someFalse, doubts, withheld bool) {
	doubts, withheld = worlds(j, payloads, func(w *oneWorld) {
		if metIn(j, w) {
			someTrue = true
		} else {
			someFalse = true
		}
	})
	return someTrue, someFalse, doubts, withheld
}

// oracle returns the result, "" where it is refuted, and for what is open where
// several conditions or references make doubts and payloads hard to tell apart: "open".
func oracle(j *judgement) evidence.Result {
	someTrue, someFalse, doubts, withheld := mixed(j, perhaps)
	switch {
	case !someFalse:
		return evidence.Supported
	case !someTrue:
		return ""
	case !withheld:
		return evidence.InDoubt
	case !doubts:
		return evidence.Undisclosed
	case len(j.conditions) > 0 || slices.Contains(j.hung(), true):
		return "open"
	}
	for _, payloads := range []truth{yes, no} { // all match; none do
		if t, f, _, _ := mixed(j, payloads); t && f {
			return evidence.InDoubt
		}
	}
	return evidence.Undisclosed
}

// small draws a judgement, small enough to try every world. rich: with order,
// references and conditions.
func small(t *rapid.T, rich bool) *judgement {
	j := &judgement{question: &question{only: make(map[string]bool)}, sites: 1, refers: make(map[[3]int]truth2)}
	j.least = rapid.IntRange(1, 5).Draw(t, "least")
	j.possible = j.least
	if !rich && rapid.IntRange(0, 9).Draw(t, "contract withheld") == 0 {
		j.possible = rapid.IntRange(1, j.least).Draw(t, "possible")
	}
	budget := 9 // worlds double with each
	truthFor := func(name string) truth {
		v := rapid.SampledFrom([]truth{no, yes, yes, perhaps}).Draw(t, name)
		if v == perhaps {
			if budget == 0 {
				return no
			}
			budget--
		}
		return v
	}
	chance := func(name string, n int) bool { return rapid.IntRange(1, n).Draw(t, name) == 1 }
	if rich {
		for n := range rapid.IntRange(0, 2).Draw(t, "conditions") {
			k := &condition{n: n, strict: chance("strict", 2)}
			in := yes
			if chance("of the input", 3) {
				in = truthFor("input")
			} else {
				k.succeeded = new(Expectation)
			}
			j.conditions, j.input = append(j.conditions, k), append(j.input, in)
		}
	}
	condition := func(x *Expectation) {
		for _, k := range j.conditions {
			switch {
			case !chance("conditional", 2):
			case k.strict:
				x.unless = k
			default:
				x.when = k
			}
		}
	}
	for e := range rapid.IntRange(0, 3).Draw(t, "expects") {
		n := rapid.IntRange(1, 2).Draw(t, "times")
		x := &Expectation{Action: fmt.Sprint(e), As: fmt.Sprint(e), Least: n, Most: n}
		if rich {
			x.Least = rapid.IntRange(0, n).Draw(t, "least times")
			if chance("any number", 4) {
				x.Most = anyTimes
			}
			if e > 0 && chance("after", 3) {
				x.After = []string{fmt.Sprint(rapid.IntRange(0, e-1).Draw(t, "after which"))}
			}
			if chance("after the last", 3) {
				x.AfterLast = []string{rapid.SampledFrom([]string{"bound", "free"}).Draw(t, "last which")}
			}
			if e > 0 && chance("refers", 4) {
				x.reads.sources = []string{fmt.Sprint(rapid.IntRange(0, e-1).Draw(t, "to which"))}
			}
			condition(x)
		}
		j.expects = append(j.expects, x)
	}
	if chance("forbids", 2) {
		x := new(Expectation)
		if rich {
			if len(j.expects) > 0 && chance("forbidden refers", 3) {
				x.reads.sources = []string{"0"}
			}
			condition(x)
		}
		j.forbids = []*Expectation{x}
	}
	j.only["bound"] = true
	j.prepare()
	sources := []evidence.Source{evidence.SourceConfirmed, evidence.SourceRuntime, evidence.SourceReported, evidence.SourceImported}
	index := uint64(0)
	for i := range rapid.IntRange(0, 5).Draw(t, "items") {
		action := rapid.SampledFrom([]string{"bound", "free"}).Draw(t, "action")
		it := item{act: &act{action: action}, site: here, out: outcome{
			state:  rapid.SampledFrom([]state{done, done, maybe, notDone}).Draw(t, "state"),
			source: rapid.SampledFrom(sources).Draw(t, "source"),
			ids:    []evidence.ID{{byte(i + 1)}},
		}}
		index++
		it.act.index = index
		if chance("overlaps", 4) {
			index += 3 // the next one begins before this one ends
		} else {
			index++
		}
		it.out.index = index
		if chance("overlapped", 4) {
			index -= min(index, 2)
		}
		cost := 1
		if rich {
			cost = 2
		}
		if it.out.state == maybe {
			if budget < cost+2 {
				it.out.state = done
			} else {
				budget -= cost
			}
		}
		weak := func(v truth) truth {
			// A weak source turns a sure match of these into a perhaps.
			if (it.out.state != done || j.possible < j.least) && v == yes && it.out.source.Strength() < j.least {
				if budget == 0 {
					return no
				}
				budget--
			}
			return v
		}
		for range j.forbids {
			v := no
			if it.out.state != notDone && chance("forbids this", 4) {
				v = truthFor("forbidden")
			}
			j.ban = append(j.ban, truth2{v, v})
		}
		for _, k := range j.conditions {
			v := no
			if k.succeeded != nil && chance("meets", 2) {
				if v = truthFor("met"); k.strict {
					v = weak(v)
				}
			}
			j.meets = append(j.meets, v)
		}
		for e := range j.expects {
			v := weak(truthFor("fit"))
			if j.from[e] >= 0 && v != no {
				v = perhaps
			}
			j.fit = append(j.fit, truth2{v, v})
		}
		j.items = append(j.items, it)
	}
	for i := range j.items {
		for o := range j.items {
			for e, from := range slices.Concat(j.from, j.banFrom) {
				if from >= 0 {
					v := truthFor("refers")
					j.refers[[3]int{i, e, o}] = truth2{v, v}
				}
			}
		}
	}
	return j
}

func dumpJudgement(t *rapid.T, j *judgement) {
	for i := range j.items {
		it := &j.items[i]
		t.Logf("item %d %s: %d..%d state %d source %s bans %v fits %v meets %v", i, it.act.action, it.act.index, it.out.index, it.out.state, it.out.source,
			j.ban[i*len(j.forbids):(i+1)*len(j.forbids)], j.fit[i*len(j.expects):(i+1)*len(j.expects)], j.meets[i*len(j.conditions):(i+1)*len(j.conditions)])
	}
	for _, x := range slices.Concat(j.expects, j.forbids) {
		t.Logf("%d to %d times, after %v, the last %v, refers %v, when %+v unless %+v", x.Least, x.Most, x.After, x.AfterLast, x.reads.sources, x.when, x.unless)
	}
	t.Logf("refers %v, input %v, least %d possible %d", j.refers, j.input, j.least, j.possible)
}

// TestJudgeAgainstEveryWorld: on small worlds, two matchings for each case say
// what all worlds together say.
func TestJudgeAgainstEveryWorld(t *testing.T) {
	for name, rich := range map[string]bool{"plain": false, "with order, references and conditions": true} {
		t.Run(name, func(t *testing.T) {
			counts := make(map[evidence.Result]int)
			judge := func(t *rapid.T) {
				j := small(t, rich)
				want := oracle(j)
				got := j.decide().Result
				counts[got]++
				if got == evidence.Contradicted || got == evidence.Unsupported {
					got = ""
				}
				open := got == evidence.InDoubt || got == evidence.Undisclosed
				if open && (want == "open" || j.cases(j.least).coarse) {
					return // past the limit of cases, too, what is not decided stays open
				}
				if got != want {
					dumpJudgement(t, j)
					t.Fatalf("all worlds say %q, judged %q", want, got)
				}
			}
			for range 100 { // a hundred worlds each: enough that every result is drawn
				rapid.Check(t, judge)
			}
			t.Log(counts)
			for _, r := range []evidence.Result{evidence.Supported, evidence.Contradicted, evidence.Unsupported, evidence.InDoubt, evidence.Undisclosed} {
				if counts[r] == 0 {
					t.Errorf("%s was never drawn: the test tests less than it says", r)
				}
			}
		})
	}
}

// TestJudgeAgainstSomeWorlds is TestJudgeAgainstEveryWorld for the same worlds each time:
// what it notices, it notices again. The decisions to the byte are one sum: a verdict
// that was recorded is reached again, records and all, as long as the rules are the same.
func TestJudgeAgainstSomeWorlds(t *testing.T) {
	for name, c := range map[string]struct {
		rich bool
		sum  string
	}{
		"plain": {false, "17b0e2854a7a7ec3e64401558587fef0feb1350843a736a16e8878976a08149e"}, "with order, references and conditions": {true, "05583cfb078e5a44b0e44dcb94677b89fdc02d4e631b3d3bbd9cd3bcd2c117aa"},
	} {
		t.Run(name, func(t *testing.T) {
			worlds := rapid.Custom(func(t *rapid.T) *judgement { return small(t, c.rich) })
			sum := sha256.New()
			defer func() {
				if got := hex.EncodeToString(sum.Sum(nil)); got != c.sum {
					t.Errorf("other decisions: their sum is %s, expected %s", got, c.sum)
				}
			}()
			for seed := range 3000 {
				j := worlds.Example(seed)
				d := j.decide()
				want, got := oracle(j), d.Result
				fmt.Fprintln(sum, d.Result, d.Source, d.Records)
				switch {
				case got == evidence.Contradicted || got == evidence.Unsupported:
					got = ""
				case want == "open" && (got == evidence.InDoubt || got == evidence.Undisclosed):
					continue
				}
				if got != want {
					t.Fatalf("seed %d: all worlds say %q, judged %q", seed, want, got)
				}
			}
		})
	}
}

// TestJudgePastTheLimit: where there are more cases than are gone through, what
// is said to be supported or refuted is so in all worlds; no more is promised.
func TestJudgePastTheLimit(t *testing.T) {
	open := 0
	judge := func(t *rapid.T) {
		j := small(t, true)
		want := oracle(j)
		j.limit = 1
		switch got := j.decide().Result; {
		case got == evidence.Contradicted || got == evidence.Unsupported:
			got = ""
			fallthrough
		case got == evidence.Supported:
			if got != want {
				dumpJudgement(t, j)
				t.Fatalf("all worlds say %q, judged %q", want, got)
			}
		case want == "" || want == evidence.Supported:
			open++
		}
	}
	for range 100 {
		rapid.Check(t, judge)
	}
	t.Logf("left open though all worlds agree: %d", open)
}

// here is where all items of a judgement without handoffs are.
var here = new(site)
