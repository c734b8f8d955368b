package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ledgerd/evidence"
)

// asked is the judgement that a contract leads to.
func (f *fakeRun) asked(contract string) *judgement {
	f.t.Helper()
	c, err := ParseContract([]byte(`{"contract":"v1","task":"x",` + contract + `}`))
	if err != nil {
		f.t.Fatal(err)
	}
	b := &bench{run: f.run, asOf: forever, told: forever, values: newValues(f.payloads), used: make(map[evidence.Digest]bool)}
	b.index()
	return b.judgement(contractQuestion(c, evidence.SourceRuntime.Strength()))
}

func hideInput(f *fakeRun) func(*evidence.Authorization, *evidence.Execution) {
	return func(a *evidence.Authorization, _ *evidence.Execution) { delete(f.payloads, a.Input.Commit) }
}

// TestHinges: only what is open makes cases, and of that only what others hang on. Each
// that is too many makes two or three cases of one, and there is a limit to them.
func TestHinges(t *testing.T) {
	const contract = `"expects":[{"action":"a","input_has":{"x":1}},{"action":"b","input_has":{"x":1},"after":["a"]}]`
	f := newFakeRun(t, `{}`)
	f.do("a", `{"x":1}`, evidence.StatusSuccess, nil)
	f.do("a", `{"x":1}`, evidence.StatusFailure, nil)
	f.do("a", `{"x":2}`, evidence.StatusUnknown, nil)
	f.do("a", `{"x":1}`, evidence.StatusUnknown, nil) // the only one
	f.do("b", `{"x":1}`, evidence.StatusUnknown, nil)
	if got := f.asked(contract).hinges(); !slices.Equal(got, []int{3}) {
		t.Errorf("doubts that others hang on: %v, expected the fourth", got)
	}
	f = newFakeRun(t, `{}`)
	f.do("a", `{"x":1}`, evidence.StatusSuccess, nil)
	f.do("a", `{"x":1}`, evidence.StatusFailure, hideInput(f))
	f.do("a", `{"x":1}`, evidence.StatusSuccess, hideInput(f)) // the only one
	f.do("b", `{"x":1}`, evidence.StatusSuccess, hideInput(f))
	j := f.asked(contract)
	c := j.cases(j.least)
	if got := j.hingingFits(c.rough, j.least); !slices.Equal(got, [][2]int{{2, 0}}) {
		t.Errorf("matches that others hang on: %v, expected the third item's", got)
	}
	if len(c.payloads) != 2 || c.coarse {
		t.Errorf("%d cases of one that is withheld, expected 2", len(c.payloads))
	}
}

// TestCasesPastTheLimit: past it there are those that conditions make, and no others.
func TestCasesPastTheLimit(t *testing.T) {
	f := newFakeRun(t, `{}`)
	f.do("a", `{}`, evidence.StatusUnknown, nil)
	f.do("a", `{}`, evidence.StatusUnknown, nil)
	f.do("b", `{}`, evidence.StatusSuccess, nil)
	j := f.asked(`"expects":[{"action":"a"},{"action":"b","after":["a"]}]`)
	for limit, want := range map[int]int{0: 9, 9: 9, 8: 1} {
		j.limit = limit
		c := j.cases(j.least)
		n := 0
		for range c.all() {
			n++
		}
		if n != want || c.coarse != (want == 1) {
			t.Errorf("with a limit of %d: %d cases, expected %d", limit, n, want)
		}
	}
}

// TestViews: what is asked for again is computed once, and little of it is kept.
func TestViews(t *testing.T) {
	f := newFakeRun(t, `{}`)
	f.do("a", `{}`, evidence.StatusUnknown, nil)
	j := f.asked(`"expects":[{"action":"a"},{"action":"b","after":["a"]}]`)
	doubt := &assumption{fates: make([]fate, 1)}
	first := j.view(doubt, 1)
	if again := j.view(doubt, 1); again == first || len(j.views) > 0 {
		t.Error("kept what is known of a case that is assumed once")
	}
	c := &cases{doubts: [][]fate{nil}, payloads: []*assumption{new(assumption)}}
	for range 2 {
		for a := range c.all() {
			if a != c.payloads[0] {
				t.Error("another case the second time")
			}
		}
	}
	for range 20 {
		a := new(assumption)
		if v := j.view(a, 1); len(j.views) < 8 && v != j.view(a, 1) {
			t.Error("computed twice")
		}
	}
	if len(j.views) != 8 {
		t.Errorf("%d kept, expected 8", len(j.views))
	}
}

// TestWaitsFor: after_last is about what was done where the expectation looks.
func TestWaitsFor(t *testing.T) {
	for runs, want := range map[Runs][2]bool{RunsOwn: {true, false}, RunsGiven: {false, true}, RunsAll: {true, true}} {
		e := &Expectation{Action: "test", Runs: runs, AfterLast: []string{"edit"}}
		for n := range want {
			if got := e.waitsFor(&item{act: &act{action: "edit"}, site: &site{n: n}}); got != want[n] {
				t.Errorf("runs %q: waits for an edit at site %d: %v", runs, n, got)
			}
			if e.waitsFor(&item{act: &act{action: "test"}, site: &site{n: n}}) {
				t.Errorf("runs %q: waits for what it does not name", runs)
			}
		}
	}
}

// TestTryForbids: a part that asks for something is not decided by what another forbids,
// and what is forbidden is decided by itself.
func TestTryForbids(t *testing.T) {
	f := newFakeRun(t, `{}`)
	f.do("a", `{}`, evidence.StatusSuccess, nil)
	f.do("b", `{}`, evidence.StatusSuccess, nil)
	c, err := ParseContract([]byte(`{"contract":"v1","task":"x","expects":[{"action":"a"}],"forbids":[{"action":"b"},{"action":"c"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Try(f.run, c, "", f.payloads)
	if err != nil || got.Result != evidence.Contradicted {
		t.Fatalf("%+v %v", got, err)
	}
	want := map[string]evidence.Result{"/expects/0": evidence.Supported, "/forbids/0": evidence.Contradicted, "/forbids/1": evidence.Supported}
	for _, p := range got.Parts {
		if p.Result != want[p.Place] {
			t.Errorf("%s: %s, expected %s: %s", p.Place, p.Result, want[p.Place], p.Why)
		}
		delete(want, p.Place)
	}
	if len(want) > 0 {
		t.Errorf("not decided: %v", want)
	}
}

// TestJudgeSomeWorldsPastTheLimit is TestJudgePastTheLimit for the same worlds each time,
// with the decisions to the byte, as in TestJudgeAgainstSomeWorlds.
func TestJudgeSomeWorldsPastTheLimit(t *testing.T) {
	worlds := rapid.Custom(func(t *rapid.T) *judgement { return small(t, true) })
	sum, undecided := sha256.New(), 0
	for seed := range 3000 {
		j := worlds.Example(seed)
		want := oracle(j)
		j.limit = 1
		d := j.decide()
		fmt.Fprintln(sum, d.Result, d.Source, d.Records)
		got := d.Result
		switch got {
		case evidence.Contradicted, evidence.Unsupported:
			got = ""
		case evidence.InDoubt, evidence.Undisclosed:
			if want == "" || want == evidence.Supported {
				undecided++
			}
			continue
		}
		if got != want {
			t.Fatalf("seed %d: all worlds say %q, judged %q", seed, want, d.Result)
		}
	}
	if undecided == 0 {
		t.Error("none was left open though all worlds agree: the test tests less than it says")
	}
	const decisions = "338357202d0dc8972779fb1e13b056857cb71bd0fb6ed251df58847bbb0349f9"
	if got := hex.EncodeToString(sum.Sum(nil)); got != decisions {
		t.Errorf("other decisions: their sum is %s, expected %s", got, decisions)
	}
}
