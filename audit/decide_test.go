package audit

import (
	"slices"
	"testing"

	"ledgerd/evidence"
)

// newFakeRunWithout opens a run that has no contract.
func newFakeRunWithout(t testing.TB) *fakeRun {
	f := &fakeRun{t: t, run: NewRun(nil), payloads: make(PayloadMap)}
	f.add(&evidence.RunOpened{Runtime: "rt"})
	return f
}

// try tries a contract on a run that has none.
func (f *fakeRun) try(contract string) *Trial {
	f.t.Helper()
	c, err := ParseContract([]byte(`{"contract":"v1","task":"x",` + contract + `}`))
	if err != nil {
		f.t.Fatal(err)
	}
	trial, err := Try(f.run, c, "", f.payloads)
	if err != nil {
		f.t.Fatal(err)
	}
	return trial
}

// TestTryParts: each part of a contract is decided as if the others asked for nothing,
// by what it is about alone.
func TestTryParts(t *testing.T) {
	const (
		ok    = evidence.StatusSuccess
		doubt = evidence.StatusAccepted
	)
	type did struct {
		action string
		status evidence.Status
	}
	type said struct {
		place   string
		result  evidence.Result
		source  evidence.Source
		records []int // of what was done
	}
	tests := []struct {
		name, contract string
		did            []did
		parts          []said
	}{
		{"one of two is done", `"expects":[{"action":"a"},{"action":"b"}]`, []did{{"a", ok}}, []said{
			{"/expects/0", evidence.Supported, evidence.SourceRuntime, []int{0}},
			{"/expects/1", evidence.Unsupported, "", nil},
		}},
		{"both are done", `"expects":[{"action":"a"},{"action":"b"}]`, []did{{"a", ok}, {"b", ok}}, []said{
			{"/expects/0", evidence.Supported, evidence.SourceRuntime, []int{0}},
			{"/expects/1", evidence.Supported, evidence.SourceRuntime, []int{1}},
		}},
		{"once too often", `"expects":[{"action":"a"}],"only":["a"]`, []did{{"a", ok}, {"a", ok}}, []said{
			{"/expects/0", evidence.Supported, evidence.SourceRuntime, []int{0, 1}},
			{"/only", evidence.Contradicted, "", []int{0, 1}},
		}},
		{"both in doubt", `"expects":[{"action":"a"}],"only":["a","b"]`, []did{{"a", doubt}, {"b", doubt}}, []said{
			{"/expects/0", evidence.InDoubt, "", []int{0}},
			{"/only", evidence.InDoubt, "", []int{0, 1}},
		}},
		{"one need not be done", `"expects":[{"action":"a","times":{"most":2}},{"action":"b"}],"only":["a"]`, nil, []said{
			{"/expects/0", evidence.Supported, evidence.SourceConfirmed, nil},
			{"/expects/1", evidence.Unsupported, "", nil},
			{"/only", evidence.Supported, "", nil},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakeRunWithout(t)
			var done []evidence.ID
			for _, d := range tt.did {
				_, x := f.do(d.action, `{}`, d.status, nil)
				done = append(done, x)
			}
			trial := f.try(tt.contract)
			if len(trial.Parts) != len(tt.parts) {
				t.Fatalf("%d parts, expected %d", len(trial.Parts), len(tt.parts))
			}
			for i, want := range tt.parts {
				var records []evidence.ID
				for _, n := range want.records {
					records = append(records, done[n])
				}
				got := trial.Parts[i]
				if got.Place != want.place || got.Result != want.result || got.Source != want.source || !slices.Equal(got.Records, sortedIDs(records)) {
					t.Errorf("%s: %s from %q by %v, expected %s: %s from %q by %v: %s", got.Place, got.Result, got.Source, got.Records, want.place, want.result, want.source, records, got.Why)
				}
			}
		})
	}
}

// TestDecideWhy: who did not find what a contract asks for is told what is missing, a few
// of them, each once.
func TestDecideWhy(t *testing.T) {
	reported := func(_ *evidence.Authorization, x *evidence.Execution) { x.Source = evidence.SourceReported }
	for contract, want := range map[string]string{
		`"expects":[{"action":"a"},{"action":"done"}]`:                                                "there is no evidence of what it asks for: a",
		`"expects":[{"action":"b"},{"action":"a","input":1},{"action":"a","input":2},{"action":"c"}]`: "there is no evidence of what it asks for: b, a, c",
		`"expects":[{"action":"a"},{"action":"b"},{"action":"c"},{"action":"d"},{"action":"e"}]`:      "there is no evidence of what it asks for: a, b, c, 2 more",
		`"expects":[{"action":"a"},{"action":"told"}]`:                                                "only reported: the evidence has a weaker source than is asked for",
		// One way or the other something forbidden was done, and nothing is asked for.
		`"forbids":[{"action":"open"},{"action":"done","unless":{"succeeded":{"action":"open"}}}]`: "there is no evidence of what it asks for",
	} {
		f := newFakeRunWithout(t)
		f.do("done", `{}`, evidence.StatusSuccess, nil)
		f.do("told", `{}`, evidence.StatusSuccess, reported)
		f.do("open", `{}`, evidence.StatusAccepted, nil)
		if trial := f.try(contract); trial.Result != evidence.Unsupported || trial.Why != want {
			t.Errorf("%s: %s: %s, expected %s", contract, trial.Result, trial.Why, want)
		}
	}
}

// TestDecideWeakEitherWay: where a condition is open, what is too weak is named for every
// way in which it may turn out.
func TestDecideWeakEitherWay(t *testing.T) {
	reported := func(_ *evidence.Authorization, x *evidence.Execution) { x.Source = evidence.SourceReported }
	f := newFakeRunWithout(t)
	_, a := f.do("a", `{}`, evidence.StatusSuccess, reported)
	_, b := f.do("b", `{}`, evidence.StatusSuccess, reported)
	f.do("c", `{}`, evidence.StatusAccepted, nil)
	trial := f.try(`"expects":[{"action":"a","when":{"succeeded":{"action":"c"}}},{"action":"b","unless":{"succeeded":{"action":"c"}}}]`)
	if want := sortedIDs([]evidence.ID{a, b}); trial.Result != evidence.Unsupported || !slices.Equal(trial.Records, want) {
		t.Errorf("%s by %v, expected unsupported by %v", trial.Result, trial.Records, want)
	}
}

// TestDecideElsewhere: only says nothing of what was done in another run, and what is in
// doubt there, and is not asked for, is no doubt.
func TestDecideElsewhere(t *testing.T) {
	c, err := ParseContract([]byte(`{"contract":"v1","task":"x","expects":[{"action":"a"},{"action":"b","runs":"given","resource":"r"}],"only":["a","b"]}`))
	if err != nil {
		t.Fatal(err)
	}
	there := &site{n: 1}
	for _, tt := range []struct {
		own, other state // of what is asked for here, and of what nobody asked for there
		result     evidence.Result
		records    []evidence.ID
	}{
		{done, done, evidence.Supported, []evidence.ID{{1}, {2}}},
		{maybe, maybe, evidence.InDoubt, []evidence.ID{{1}}},
	} {
		j := &judgement{question: contractQuestion(c, evidence.SourceRuntime.Strength())}
		add := func(action, resource string, s state, where *site) {
			id := evidence.ID{byte(len(j.items) + 1)}
			j.items = append(j.items, item{act: &act{action: action, resource: resource}, out: outcome{state: s, source: evidence.SourceRuntime, ids: []evidence.ID{id}}, site: where})
		}
		add("a", "", tt.own, here)
		add("b", "r", done, there)
		add("b", "s", tt.other, there)
		j.compare()
		if d := j.decide(); d.Result != tt.result || !slices.Equal(d.Records, tt.records) {
			t.Errorf("%s by %v, expected %s by %v", d.Result, d.Records, tt.result, tt.records)
		}
	}
}

// TestDecideUnderWithheldContract: where nobody knows which sources the contract lets
// count, what is in doubt may come to be one of them, and is named.
func TestDecideUnderWithheldContract(t *testing.T) {
	f := newFakeRun(t, `{"contract":"v1","task":"x","expects":[{"action":"a"}]}`)
	f.do("a", `{}`, evidence.StatusSuccess, nil)
	_, open := f.do("a", `{}`, evidence.StatusAccepted, nil)
	claim := f.claim(evidence.Assertion{Kind: evidence.AssertAction, Action: "a"})
	clear(f.payloads)
	v, err := Judge(f.run, claim, "", f.payloads)
	if err != nil {
		t.Fatal(err)
	}
	if d := v.Assertions[0].Decision; d.Result != evidence.Undisclosed || !slices.Equal(d.Records, []evidence.ID{open}) {
		t.Errorf("%s by %v, expected undisclosed by %v", d.Result, d.Records, open)
	}
}
