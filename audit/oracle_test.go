package audit

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"ledgerd/evidence"
)

// The oracle decides a question as docs/rules.md defines it: by going through
// every world. A world settles each doubt (it happened or not, by a strong
// source or a weak one) and each withheld payload (for each item and expectation
// that nothing else decides, whether it matches). It assigns by trying every
// assignment.

// oneWorld is one way in which things may have been.
type oneWorld struct {
	happened []bool
	fits     [][]bool // item, expectation
	forbid   []bool
}

// metIn decides one world, without order.
func metIn(j *judgement, w oneWorld) bool {
	var slots []int
	for e, x := range j.expects {
		for range x.Times {
			slots = append(slots, e)
		}
	}
	for i := range j.items {
		if w.happened[i] && w.forbid[i] {
			return false
		}
	}
	used := make([]bool, len(j.items))
	var try func(k int) bool
	try = func(k int) bool {
		if k == len(slots) {
			for i := range j.items {
				if w.happened[i] && j.only[j.items[i].act.action] && !used[i] {
					return false
				}
			}
			return true
		}
		for i := range j.items {
			if w.happened[i] && !used[i] && w.fits[i][slots[k]] {
				used[i] = true
				if try(k + 1) {
					return true
				}
				used[i] = false
			}
		}
		return false
	}
	return try(0)
}

// worlds calls yield with every world; payloads fixes what withheld payloads
// match: perhaps leaves them free.
func worlds(j *judgement, payloads truth, yield func(oneWorld)) {
	w := oneWorld{happened: make([]bool, len(j.items)), forbid: make([]bool, len(j.items))}
	var free []*bool // to be tried both ways
	for i := range j.items {
		it := &j.items[i]
		w.fits = append(w.fits, make([]bool, len(j.expects)))
		switch it.out.state {
		case done:
			w.happened[i] = true
		case maybe:
			free = append(free, &w.happened[i])
		}
		settle := func(t truth, to *bool, helps bool) {
			switch {
			case t == yes:
				*to = true
			case t == perhaps && payloads == perhaps:
				free = append(free, to)
			case t == perhaps:
				*to = (payloads == yes) == helps
			}
		}
		settle(it.forbidden, &w.forbid[i], false)
		for e := range j.expects {
			t := j.fit[i*len(j.expects)+e].whole
			if s := it.out.source.Strength(); s < j.least && t != no {
				t = no
				if it.out.state == maybe || s >= j.possible {
					t = perhaps
				}
			}
			settle(t, &w.fits[i][e], true)
		}
	}
	for mask := range 1 << len(free) {
		for b, p := range free {
			*p = mask>>b&1 == 1
		}
		yield(w)
	}
}

func mixed(j *judgement, payloads truth) (someTrue, someFalse bool) {
	worlds(j, payloads, func(w oneWorld) {
		if metIn(j, w) {
			someTrue = true
		} else {
			someFalse = true
		}
	})
	return someTrue, someFalse
}

func oracle(j *judgement) (result evidence.Result, refuted bool) {
	someTrue, someFalse := mixed(j, perhaps)
	switch {
	case !someFalse:
		return evidence.Supported, false
	case !someTrue:
		return "", true
	}
	for _, payloads := range []truth{yes, no} { // all match; none do
		if t, f := mixed(j, payloads); t && f {
			return evidence.InDoubt, false
		}
	}
	return evidence.Undisclosed, false
}

// small draws a judgement without order, small enough to try every world.
func small(t *rapid.T) *judgement {
	j := &judgement{question: &question{only: make(map[string]bool)}}
	j.least = rapid.IntRange(1, 5).Draw(t, "least")
	j.possible = j.least
	if rapid.IntRange(0, 9).Draw(t, "contract withheld") == 0 {
		j.possible = rapid.IntRange(1, j.least).Draw(t, "possible")
	}
	for e := range rapid.IntRange(0, 3).Draw(t, "expects") {
		j.expects = append(j.expects, &Expectation{Action: fmt.Sprint(e), Times: rapid.IntRange(1, 2).Draw(t, "times")})
	}
	j.only["bound"] = true
	sources := []evidence.Source{evidence.SourceConfirmed, evidence.SourceRuntime, evidence.SourceReported, evidence.SourceImported}
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
	for i := range rapid.IntRange(0, 5).Draw(t, "items") {
		action := rapid.SampledFrom([]string{"bound", "free"}).Draw(t, "action")
		it := item{act: &act{action: action}, out: outcome{
			state:  rapid.SampledFrom([]state{done, done, maybe, notDone}).Draw(t, "state"),
			source: rapid.SampledFrom(sources).Draw(t, "source"),
			ids:    []evidence.ID{{byte(i + 1)}},
		}}
		if it.out.state == maybe {
			if budget < 4 {
				it.out.state = done
			} else {
				budget--
			}
		}
		if it.out.state != notDone && rapid.IntRange(0, 7).Draw(t, "forbids") == 0 {
			it.forbidden = truthFor("forbidden")
		}
		for range j.expects {
			v := truthFor("fit")
			if it.out.state != done || j.possible < j.least {
				// A weak source turns a sure match of these into a perhaps.
				if v == yes && it.out.source.Strength() < j.least {
					if budget == 0 {
						v = no
					} else {
						budget--
					}
				}
			}
			j.fit = append(j.fit, truth2{v, v})
		}
		j.items = append(j.items, it)
	}
	return j
}

// TestJudgeAgainstEveryWorld: on small worlds the two matchings say what all
// worlds together say.
func TestJudgeAgainstEveryWorld(t *testing.T) {
	counts := make(map[evidence.Result]int)
	judge := func(t *rapid.T) {
		j := small(t)
		want, refuted := oracle(j)
		got := j.decide()
		counts[got.Result]++
		if refuted != (got.Result == evidence.Contradicted || got.Result == evidence.Unsupported) || !refuted && got.Result != want {
			for i := range j.items {
				it := &j.items[i]
				t.Logf("item %d %s: state %d source %s forbidden %d fits %v", i, it.act.action, it.out.state, it.out.source, it.forbidden, j.fit[i*len(j.expects):(i+1)*len(j.expects)])
			}
			for _, x := range j.expects {
				t.Logf("expects %d times", x.Times)
			}
			t.Fatalf("least %d possible %d: all worlds say %q (refuted %v), judged %s: %s", j.least, j.possible, want, refuted, got.Result, got.Why)
		}
	}
	for range 20 { // a hundred worlds each: enough that every result is drawn
		rapid.Check(t, judge)
	}
	t.Log(counts)
	for _, r := range []evidence.Result{evidence.Supported, evidence.Contradicted, evidence.Unsupported, evidence.InDoubt, evidence.Undisclosed} {
		if counts[r] == 0 {
			t.Errorf("%s was never drawn: the test tests less than it says", r)
		}
	}
}
