package audit

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gowebpki/jcs"

	"ledgerd/evidence"
)

var tool = Signer{Name: "t", Role: evidence.RoleTool}

// do authorizes an action and executes it.
func (f *fakeRun) do(action, input string, status evidence.Status, change func(*evidence.Authorization, *evidence.Execution)) (auth, exec evidence.ID) {
	in := f.commit(input)
	a := &evidence.Authorization{Step: "s", Action: action, Tool: "t", Input: in, IdempotencyKey: fmt.Sprint(f.index), Effect: evidence.Allow, Mode: evidence.Enforce, Source: evidence.SourceRuntime}
	x := &evidence.Execution{Action: action, Tool: "t", Input: in, Attempt: 1, Status: status, Source: evidence.SourceRuntime}
	if change != nil {
		change(a, x)
	}
	auth = f.add(a)
	if status == "" {
		return auth, evidence.ID{}
	}
	x.Authorization = auth
	return auth, f.add(x)
}

func (f *fakeRun) claim(assertions ...evidence.Assertion) evidence.ID {
	if assertions == nil {
		assertions = []evidence.Assertion{{Kind: evidence.AssertContract}}
	}
	return f.add(&evidence.Claim{Statements: []evidence.Statement{{Assertions: assertions}}})
}

func TestJudgeSources(t *testing.T) {
	const (
		runtime  = `{"contract":"v1","task":"x","expects":[{"action":"refund"}]}`
		reported = `{"contract":"v1","task":"x","weakest_source":"reported","expects":[{"action":"refund"}]}`
		strict   = `{"contract":"v1","task":"x","weakest_source":"confirmed","expects":[{"action":"refund"}],"only":["refund"]}`
	)
	weak := func(s evidence.Source) func(*evidence.Authorization, *evidence.Execution) {
		return func(_ *evidence.Authorization, x *evidence.Execution) { x.Source = s }
	}
	tests := []struct {
		name, contract string
		trust          evidence.Source
		play           func(f *fakeRun)
		result         evidence.Result
		source         evidence.Source
	}{
		{"by the runtime", runtime, "", func(f *fakeRun) { f.do("refund", `{}`, evidence.StatusSuccess, nil) }, evidence.Supported, evidence.SourceRuntime},
		{"only reported", runtime, "", func(f *fakeRun) { f.do("refund", `{}`, evidence.StatusSuccess, weak(evidence.SourceReported)) }, evidence.Unsupported, ""},
		{"reported will do", reported, "", func(f *fakeRun) { f.do("refund", `{}`, evidence.StatusSuccess, weak(evidence.SourceReported)) }, evidence.Supported, evidence.SourceReported},
		{"the auditor asks for more", reported, evidence.SourceRuntime, func(f *fakeRun) { f.do("refund", `{}`, evidence.StatusSuccess, weak(evidence.SourceReported)) }, evidence.Unsupported, ""},
		{"the auditor asks for less", runtime, evidence.SourceImported, func(f *fakeRun) { f.do("refund", `{}`, evidence.StatusSuccess, weak(evidence.SourceReported)) }, evidence.Unsupported, ""},
		{"the strongest of two", reported, "", func(f *fakeRun) {
			f.do("refund", `{}`, evidence.StatusSuccess, weak(evidence.SourceReported))
			f.do("refund", `{}`, evidence.StatusSuccess, nil)
		}, evidence.Supported, evidence.SourceRuntime},
		{"not confirmed", strict, "", func(f *fakeRun) { f.do("refund", `{}`, evidence.StatusSuccess, nil) }, evidence.Unsupported, ""},
		{"confirmed, and the line names it", strict, "", func(f *fakeRun) {
			a, _ := f.do("refund", `{}`, evidence.StatusSuccess, nil)
			c := f.beside(a, &evidence.Confirmation{Status: evidence.StatusSuccess}, tool)
			f.append(&evidence.Record{Prev: f.prev, Cites: []evidence.ID{c}, Body: &evidence.Escalation{Reason: "x", To: "y"}}, Signer{Name: "rt"})
		}, evidence.Supported, evidence.SourceConfirmed},
		{"confirmed, and nobody names it", strict, "", func(f *fakeRun) {
			a, _ := f.do("refund", `{}`, evidence.StatusSuccess, nil)
			f.beside(a, &evidence.Confirmation{Status: evidence.StatusSuccess}, tool)
		}, evidence.Unsupported, ""},
		{"confirmed by another tool", strict, "", func(f *fakeRun) {
			a, _ := f.do("refund", `{}`, evidence.StatusSuccess, nil)
			c := f.beside(a, &evidence.Confirmation{Status: evidence.StatusSuccess}, Signer{Name: "shadow", Role: evidence.RoleTool})
			f.append(&evidence.Record{Prev: f.prev, Cites: []evidence.ID{c}, Body: &evidence.Escalation{Reason: "x", To: "y"}}, Signer{Name: "rt"})
		}, evidence.Unsupported, ""},
		{"the tool knows better", runtime, "", func(f *fakeRun) {
			a, _ := f.do("refund", `{}`, evidence.StatusSuccess, nil)
			c := f.beside(a, &evidence.Confirmation{Status: evidence.StatusFailure}, tool)
			f.append(&evidence.Record{Prev: f.prev, Cites: []evidence.ID{c}, Body: &evidence.Escalation{Reason: "x", To: "y"}}, Signer{Name: "rt"})
		}, evidence.Contradicted, ""},
		{"the tool says both", runtime, "", func(f *fakeRun) {
			a, _ := f.do("refund", `{}`, evidence.StatusSuccess, nil)
			c := f.beside(a, &evidence.Confirmation{Status: evidence.StatusFailure}, tool)
			d := f.beside(a, &evidence.Confirmation{Status: evidence.StatusSuccess}, tool)
			f.append(&evidence.Record{Prev: f.prev, Cites: []evidence.ID{c, d}, Body: &evidence.Escalation{Reason: "x", To: "y"}}, Signer{Name: "rt"})
		}, evidence.InDoubt, ""},
		{"failed", runtime, "", func(f *fakeRun) { f.do("refund", `{}`, evidence.StatusFailure, nil) }, evidence.Contradicted, ""},
		{"denied", runtime, "", func(f *fakeRun) {
			f.do("refund", `{}`, "", func(a *evidence.Authorization, _ *evidence.Execution) { a.Effect = evidence.Deny })
		}, evidence.Contradicted, ""},
		{"nobody tried", runtime, "", func(*fakeRun) {}, evidence.Unsupported, ""},
		{"allowed, and no outcome", runtime, "", func(f *fakeRun) { f.do("refund", `{}`, "", nil) }, evidence.InDoubt, ""},
		{"accepted is not done", runtime, "", func(f *fakeRun) { f.do("refund", `{}`, evidence.StatusAccepted, nil) }, evidence.InDoubt, ""},
		{"settled by a probe", runtime, "", func(f *fakeRun) {
			_, x := f.do("refund", `{}`, evidence.StatusUnknown, nil)
			f.add(&evidence.Settlement{Settles: x, By: evidence.ByProbe, Finding: evidence.StatusSuccess})
		}, evidence.Supported, evidence.SourceRuntime},
		{"settled by a human", runtime, "", func(f *fakeRun) {
			_, x := f.do("refund", `{}`, evidence.StatusUnknown, nil)
			f.add(&evidence.Settlement{Settles: x, By: evidence.ByHuman, Finding: evidence.StatusSuccess})
		}, evidence.Unsupported, ""},
		{"settled by a report", runtime, "", func(f *fakeRun) {
			_, x := f.do("refund", `{}`, evidence.StatusUnknown, nil)
			f.add(&evidence.Settlement{Settles: x, By: evidence.ByReport, Finding: evidence.StatusSuccess})
		}, evidence.Unsupported, ""},
		{"settled: it never ran", runtime, "", func(f *fakeRun) {
			a, _ := f.do("refund", `{}`, "", nil)
			f.add(&evidence.Settlement{Settles: a, By: evidence.ByProbe, Finding: evidence.StatusNotRun})
		}, evidence.Contradicted, ""},
		{"once too often, as reported", reported, "", func(f *fakeRun) {
			f.do("refund", `{}`, evidence.StatusSuccess, nil)
			f.do("refund", `{}`, evidence.StatusSuccess, nil)
		}, evidence.Supported, evidence.SourceRuntime}, // not in only
		{"once too often", strict, evidence.SourceConfirmed, func(f *fakeRun) {
			f.do("refund", `{}`, evidence.StatusSuccess, nil)
			f.do("refund", `{}`, evidence.StatusSuccess, nil)
		}, evidence.Contradicted, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakeRun(t, tt.contract)
			tt.play(f)
			v, err := Judge(f.run, f.claim(), tt.trust, f.payloads)
			if err != nil {
				t.Fatal(err)
			}
			if v.Result != tt.result || v.Contract.Source != tt.source {
				t.Errorf("%s from %q, expected %s from %q: %s", v.Result, v.Contract.Source, tt.result, tt.source, v.Contract.Why)
			}
		})
	}
}

func TestJudgeAssertions(t *testing.T) {
	f := newFakeRun(t, `{"contract":"v1","task":"x","forbids":[{"action":"never"}]}`)
	f.do("refund", `{"order":7,"amount":1}`, evidence.StatusSuccess, nil)
	mail := func(a *evidence.Authorization, _ *evidence.Execution) {
		a.Resource, a.Params = "mia@example.org", evidence.Object(`{"subject":"done"}`)
	}
	auth, x := f.do("email", `{"subject":"done"}`, "", mail)
	_ = auth
	_ = x
	hidden := f.commit(`{"action":"refund","input_has":{"order":7}}`)
	delete(f.payloads, hidden.Commit)
	expect := func(s string) *evidence.Commitment {
		c := f.commit(s)
		return &c
	}
	action := func(action string, e *evidence.Commitment) evidence.Assertion {
		return evidence.Assertion{Kind: evidence.AssertAction, Action: action, Expect: e}
	}
	claim := f.claim(
		action("refund", nil),
		action("refund", expect(`{"action":"refund","input_has":{"order":7.0}}`)),
		action("refund", expect(`{"action":"refund","input_has":{"order":8}}`)),
		action("refund", expect(`{"action":"refund","times":2}`)),
		action("refund", &hidden),
		action("refund", expect(`{"action":"other"}`)),
		action("refund", expect(`{`)),
		action("refunds", nil),
		action("email", nil),
		evidence.Assertion{Kind: evidence.AssertAction, Action: "email", Resource: "eve@example.org"},
		action("email", expect(`{"action":"email","input_has":{"subject":"sorry"}}`)),
	)
	want := []evidence.Result{
		evidence.Supported, evidence.Supported, evidence.Unsupported, evidence.Unsupported, evidence.Undisclosed, evidence.Unsupported,
		evidence.Unsupported, evidence.Unsupported, evidence.InDoubt, evidence.Unsupported, evidence.Unsupported,
	}
	v, err := Judge(f.run, claim, "", f.payloads)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range v.Assertions {
		if a.Result != want[i] {
			t.Errorf("assertion %d: %s, expected %s: %s", i, a.Result, want[i], a.Why)
		}
	}
	if v.Result != evidence.Unsupported || v.Contract.Result != evidence.Supported {
		t.Errorf("%s, contract %s", v.Result, v.Contract.Result)
	}
	if _, err := Judge(f.run, evidence.ID{7}, "", f.payloads); err == nil {
		t.Error("judged a claim that is not there")
	}
}

// TestJudgeResources: an assertion names a resource, what it expects names one, or both
// name the same.
func TestJudgeResources(t *testing.T) {
	f := newFakeRun(t, `{"contract":"v1","task":"x","forbids":[{"action":"never"}]}`)
	f.do("email", `{}`, evidence.StatusSuccess, func(a *evidence.Authorization, x *evidence.Execution) { a.Resource, x.Resource = "mia", "mia" })
	type pair struct{ resource, expect string }
	want := map[pair]evidence.Result{
		{"", `{"action":"email","resource":"mia"}`}:    evidence.Supported,
		{"mia", `{"action":"email"}`}:                  evidence.Supported,
		{"mia", `{"action":"email","resource":"mia"}`}: evidence.Supported,
		{"eve", `{"action":"email"}`}:                  evidence.Unsupported,
		{"eve", `{"action":"email","resource":"mia"}`}: evidence.Unsupported,
	}
	for p, result := range want {
		e := f.commit(p.expect)
		v, err := Judge(f.run, f.claim(evidence.Assertion{Kind: evidence.AssertAction, Action: "email", Resource: p.resource, Expect: &e}), "", f.payloads)
		if err != nil || v.Assertions[0].Result != result {
			t.Errorf("%q expects %s: %+v, expected %s %v", p.resource, p.expect, v, result, err)
		}
	}
}

// TestJudgeDeniedAndDone: what was denied, and the tool says was done all the same, was
// done.
func TestJudgeDeniedAndDone(t *testing.T) {
	f := newFakeRun(t, `{"contract":"v1","task":"x","forbids":[{"action":"a"}]}`)
	auth, _ := f.do("a", `{}`, "", func(a *evidence.Authorization, _ *evidence.Execution) { a.Effect = evidence.Deny })
	said := f.beside(auth, &evidence.Confirmation{Status: evidence.StatusSuccess}, tool)
	f.append(&evidence.Record{Prev: f.prev, Cites: []evidence.ID{said}, Body: &evidence.Escalation{Reason: "x", To: "y"}}, Signer{Name: "rt"})
	if v, err := Judge(f.run, f.claim(), "", f.payloads); err != nil || v.Result != evidence.Contradicted {
		t.Errorf("%s, expected contradicted %v", v.Result, err)
	}
}

// TestJudgeConditions: two expectations that differ in their conditions alone are two,
// and the whole input of the run decides which of them asks for anything.
func TestJudgeConditions(t *testing.T) {
	f := &fakeRun{t: t, run: NewRun(nil), payloads: make(PayloadMap)}
	in := f.commit(`{"x":1}`)
	f.add(&evidence.RunOpened{Runtime: "rt", Input: &in, Contract: &evidence.ContractRef{DeclaredBy: "op", Document: f.commit(
		`{"contract":"v1","task":"x","expects":[{"action":"a","when":{"input":{"x":1}}},{"action":"a","when":{"input":{"x":2}}}]}`)}})
	f.do("a", `{}`, evidence.StatusSuccess, nil)
	if v, err := Judge(f.run, f.claim(), "", f.payloads); err != nil || v.Result != evidence.Supported {
		t.Errorf("%s, expected supported %v", v.Result, err)
	}
}

// TestJudgeWhere: what was done at another site is nothing to who asks about this one,
// and no reason to look there.
func TestJudgeWhere(t *testing.T) {
	c, err := ParseContract([]byte(`{"contract":"v1","task":"x","expects":[{"action":"a","when":{"succeeded":{"action":"b"}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	q := contractQuestion(c, 1)
	if q.crosses() {
		t.Error("a condition about this run asks about others")
	}
	j := &judgement{question: q}
	it := &item{act: &act{action: "a"}, out: outcome{state: done}, site: &site{n: 1}}
	if got := j.against(it, q.expects[0], known{}); got != (truth2{}) {
		t.Errorf("what was done elsewhere fits: %v", got)
	}
	// What was done without an authorization shows nothing of its input.
	it.site.values = newValues(make(PayloadMap))
	if k := j.inputOf(it); k.ok || k.clear != nil {
		t.Errorf("an input that nobody showed: %+v", k)
	}
}

// TestJudgeNothing: a run that nobody opened is not judged, and a success that gave
// nothing gave nothing that is asked for.
func TestJudgeNothing(t *testing.T) {
	if _, err := Judge(NewRun(nil), evidence.ID{}, "", make(PayloadMap)); err == nil {
		t.Error("judged a run that nobody opened")
	}
	f := newFakeRun(t, `{"contract":"v1","task":"x","expects":[{"action":"a","output_has":{"id":7}}]}`)
	f.do("a", `{}`, evidence.StatusSuccess, nil)
	if v, err := Judge(f.run, f.claim(), "", f.payloads); err != nil || v.Result != evidence.Unsupported {
		t.Errorf("without an output: %s %v", v.Result, err)
	}
	f = newFakeRun(t, `{"contract":"v1","task":"x","expects":[{"action":"b","as":"b"},{"action":"a","input_has":{"x":{"$output":"/x","$of":"b"}}}]}`)
	f.do("b", `{}`, evidence.StatusSuccess, nil)
	f.do("a", `{"x":1}`, evidence.StatusSuccess, nil)
	if v, err := Judge(f.run, f.claim(), "", f.payloads); err != nil || v.Result != evidence.Unsupported {
		t.Errorf("referring to an output that there is not: %s %v", v.Result, err)
	}
}

// TestJudgeClear: what stands in the clear decides without the payload.
func TestJudgeClear(t *testing.T) {
	for contract, want := range map[string]evidence.Result{
		`{"contract":"v1","task":"x","expects":[{"action":"a","input_has":{"to":"mia"}}]}`:                evidence.Supported,
		`{"contract":"v1","task":"x","expects":[{"action":"a","input_has":{"to":"eve"}}]}`:                evidence.Unsupported,
		`{"contract":"v1","task":"x","expects":[{"action":"a","input_has":{"to":"mia","n":1}}]}`:          evidence.Undisclosed,
		`{"contract":"v1","task":"x","expects":[{"action":"a","input":{"to":"mia"}}]}`:                    evidence.Undisclosed,
		`{"contract":"v1","task":"x","expects":[{"action":"a","input":{"n":1}}]}`:                         evidence.Unsupported,
		`{"contract":"v1","task":"x","expects":[{"action":"a","output_has":{"id":7}}]}`:                   evidence.Supported,
		`{"contract":"v1","task":"x","expects":[{"action":"a","output_has":{"id":8}}]}`:                   evidence.Unsupported,
		`{"contract":"v1","task":"x","expects":[{"action":"a"}],"forbids":[{"action":"a","input":{}}]}`:   evidence.Supported,
		`{"contract":"v1","task":"x","forbids":[{"action":"a","input_has":{"secret":true}}],"only":[]}`:   evidence.Undisclosed,
		`{"contract":"v1","task":"x","forbids":[{"action":"a","input_has":{"to":"mia"}}],"only":["a"]}`:   evidence.Contradicted,
		`{"contract":"v1","task":"x","expects":[{"action":"a","input_has":{"n":1}}],"only":["a"]}`:        evidence.Undisclosed,
		`{"contract":"v1","task":"x","expects":[{"action":"a","resource":"r","input_has":{"to":"mia"}}]}`: evidence.Unsupported,
	} {
		f := newFakeRun(t, contract)
		f.do("a", `{"to":"mia","n":2}`, evidence.StatusSuccess, func(a *evidence.Authorization, x *evidence.Execution) {
			out := f.commit(`{"id":7,"more":1}`)
			a.Params, x.Output, x.Refs = evidence.Object(`{"to":"mia"}`), &out, evidence.Object(`{"id":7}`)
			delete(f.payloads, out.Commit)
			delete(f.payloads, a.Input.Commit)
		})
		if v, err := Judge(f.run, f.claim(), "", f.payloads); err != nil || v.Result != want {
			t.Errorf("%s: %s, expected %s (%s) %v", contract, v.Result, want, v.Contract.Why, err)
		}
	}
}

// TestVerdictBytes: canonical by another implementation of RFC 8785, and the
// same whatever order maps are walked in.
func TestVerdictBytes(t *testing.T) {
	r, claim, payloads := judgeBench(t)
	var first []byte
	for range 3 {
		v, err := Judge(r, claim, evidence.SourceReported, payloads)
		if err != nil {
			t.Fatal(err)
		}
		b, err := v.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := jcs.Transform(b)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("jcs writes other bytes: %v", err)
		}
		if first != nil && !bytes.Equal(first, b) {
			t.Fatal("other bytes the second time")
		}
		first = b
	}
	w, err := parseVerdict(first)
	if err != nil || w.Claim != claim || len(w.Assertions) != 100 || len(w.Disclosed) != 1+100+5000 {
		t.Errorf("%v: %d assertions, %d payloads", err, len(w.Assertions), len(w.Disclosed))
	}
}

// TestNoContract: without a contract nothing is supported, and nothing blocked.
func TestNoContract(t *testing.T) {
	f := &fakeRun{t: t, run: NewRun(nil), payloads: make(PayloadMap)}
	f.add(&evidence.RunOpened{Runtime: "rt"})
	f.do("refund", `{}`, evidence.StatusSuccess, nil)
	v, err := Judge(f.run, f.claim(evidence.Assertion{Kind: evidence.AssertAction, Action: "refund"}), "", f.payloads)
	if err != nil || v.Result != evidence.NoContract || v.Assertions[0].Result != evidence.Supported {
		t.Errorf("%+v %v", v, err)
	}
	if v, err = Judge(f.run, evidence.ID{}, "", f.payloads); err != nil || v.Result != evidence.NoContract {
		t.Errorf("%+v %v", v, err)
	}
	g := newFakeRun(t, `{"contract":"v1","task":"x","expects":[{"action":"a"}]}`)
	clear(g.payloads)
	if v, err = Judge(g.run, g.claim(), "", g.payloads); err != nil || v.Result != evidence.Undisclosed || len(v.Withheld) != 1 {
		t.Errorf("%+v %v", v, err)
	}
}

// TestJudgeDoubtfulOutput: what an action in doubt gives in the end, nobody knows.
func TestJudgeDoubtfulOutput(t *testing.T) {
	for name, output := range map[string]string{"none so far": "", "another so far": `{"id":8}`, "this one so far": `{"id":7}`} {
		f := newFakeRun(t, `{"contract":"v1","task":"x","expects":[{"action":"a","output_has":{"id":7}}]}`)
		f.do("a", `{}`, evidence.StatusAccepted, func(_ *evidence.Authorization, x *evidence.Execution) {
			if output != "" {
				c := f.commit(output)
				x.Output = &c
			}
		})
		if v, err := Judge(f.run, f.claim(), "", f.payloads); err != nil || v.Result != evidence.InDoubt {
			t.Errorf("%s: %s %v", name, v.Result, err)
		}
	}
}
