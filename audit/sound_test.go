package audit

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ledgerd/evidence"
)

// A tale is what a small run did, before anybody signs it: enough to tell it
// with its doubts and withheld payloads, and again with all of them resolved.
type tale struct {
	acts     []taleAct
	expects  []taleExpect
	forbids  []taleExpect
	only     []string
	withheld map[int]bool // inputs, by act
}

type taleAct struct {
	action string
	input  int
	status evidence.Status
	truth  evidence.Status // where status is unknown: what became of it
	denied bool
}

type taleExpect struct {
	action string
	input  int // below zero: any
	times  int
	after  string
}

func drawTale(t *rapid.T) *tale {
	tl := &tale{withheld: make(map[int]bool)}
	actions := []string{"a", "b", "c"}
	for i := range rapid.IntRange(0, 6).Draw(t, "acts") {
		a := taleAct{
			action: rapid.SampledFrom(actions).Draw(t, "action"), input: rapid.IntRange(0, 1).Draw(t, "input"),
			status: rapid.SampledFrom([]evidence.Status{evidence.StatusSuccess, evidence.StatusSuccess, evidence.StatusFailure, evidence.StatusUnknown}).Draw(t, "status"),
			truth:  rapid.SampledFrom([]evidence.Status{evidence.StatusSuccess, evidence.StatusFailure}).Draw(t, "truth"),
			denied: rapid.IntRange(0, 9).Draw(t, "denied") == 0,
		}
		tl.acts = append(tl.acts, a)
		tl.withheld[i] = rapid.IntRange(0, 3).Draw(t, "withheld") == 0
	}
	expect := func() taleExpect {
		return taleExpect{rapid.SampledFrom(actions).Draw(t, "expected"), rapid.IntRange(-1, 1).Draw(t, "expected input"), rapid.IntRange(1, 2).Draw(t, "times"), ""}
	}
	for range rapid.IntRange(0, 3).Draw(t, "expects") {
		tl.expects = append(tl.expects, expect())
	}
	for i := range tl.expects {
		if k := rapid.IntRange(0, 5).Draw(t, "after"); k < len(tl.expects) && tl.expects[k].action < tl.expects[i].action {
			tl.expects[i].after = tl.expects[k].action // rising: no circle
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "forbids") == 0 {
		tl.forbids = append(tl.forbids, expect())
	}
	for _, a := range actions {
		if rapid.Bool().Draw(t, "only") {
			tl.only = append(tl.only, a)
		}
	}
	return tl
}

func (e *taleExpect) json(forbid bool) string {
	s := fmt.Sprintf(`{"action":%q`, e.action)
	if e.input >= 0 {
		s += fmt.Sprintf(`,"input_has":{"n":%d}`, e.input)
	}
	if !forbid {
		s += fmt.Sprintf(`,"times":%d`, e.times)
		if e.after != "" {
			s += fmt.Sprintf(`,"after":[%q]`, e.after)
		}
	}
	return s + "}"
}

func (tl *tale) contract() string {
	list := func(es []taleExpect, forbid bool) string {
		s := ""
		for i := range es {
			if i > 0 {
				s += ","
			}
			s += es[i].json(forbid)
		}
		return s
	}
	only := ""
	for i, a := range tl.only {
		if i > 0 {
			only += ","
		}
		only += fmt.Sprintf("%q", a)
	}
	return fmt.Sprintf(`{"contract":"v1","task":"x","expects":[%s],"forbids":[%s],"only":[%s]}`, list(tl.expects, false), list(tl.forbids, true), only)
}

// tell folds the tale, with doubts and withheld payloads or without.
func (tl *tale) tell(t testing.TB, resolved bool) *Verdict {
	f := newFakeRun(t, tl.contract())
	for i, a := range tl.acts {
		in := f.commit(fmt.Sprintf(`{"n":%d,"act":%d}`, a.input, i))
		if tl.withheld[i] && !resolved {
			delete(f.payloads, in.Commit)
		}
		auth := &evidence.Authorization{Step: "s", Action: a.action, Tool: "t", Input: in, IdempotencyKey: fmt.Sprint(i), Effect: evidence.Allow, Mode: evidence.Enforce, Source: evidence.SourceRuntime}
		if a.denied {
			auth.Effect = evidence.Deny
			f.add(auth)
			continue
		}
		status := a.status
		if resolved && status == evidence.StatusUnknown {
			status = a.truth
		}
		f.add(&evidence.Execution{Authorization: f.add(auth), Action: a.action, Tool: "t", Input: in, Attempt: 1, Status: status, Source: evidence.SourceRuntime})
	}
	claim := f.add(&evidence.Claim{Statements: []evidence.Statement{{Assertions: []evidence.Assertion{{Kind: evidence.AssertContract}}}}})
	v, err := Judge(f.run, claim, "", f.payloads)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// met decides a tale without doubts by trying every assignment.
func (tl *tale) met() bool {
	succeeded := func(i int) bool {
		a := tl.acts[i]
		return !a.denied && (a.status == evidence.StatusSuccess || a.status == evidence.StatusUnknown && a.truth == evidence.StatusSuccess)
	}
	alike := func(i int, e *taleExpect) bool {
		return tl.acts[i].action == e.action && (e.input < 0 || e.input == tl.acts[i].input)
	}
	for i := range tl.acts {
		if succeeded(i) && slices.ContainsFunc(tl.forbids, func(e taleExpect) bool { return alike(i, &e) }) {
			return false
		}
	}
	// Expectations that are alike are one, with their times added.
	var expects []taleExpect
	for _, e := range tl.expects {
		k := slices.IndexFunc(expects, func(x taleExpect) bool { return x.action == e.action && x.input == e.input && x.after == e.after })
		if k >= 0 {
			expects[k].times += e.times
			continue
		}
		expects = append(expects, e)
	}
	matches := func(i int, e *taleExpect) bool {
		if !succeeded(i) || !alike(i, e) {
			return false
		}
		for k := range expects {
			if e.after == "" || expects[k].action != e.after {
				continue
			}
			n := 0
			for earlier := range i {
				if succeeded(earlier) && alike(earlier, &expects[k]) {
					n++
				}
			}
			if n < expects[k].times {
				return false
			}
		}
		return true
	}
	var slots []*taleExpect
	for k := range expects {
		for range expects[k].times {
			slots = append(slots, &expects[k])
		}
	}
	used := make([]bool, len(tl.acts))
	var try func(k int) bool
	try = func(k int) bool {
		if k == len(slots) {
			for i := range tl.acts {
				if succeeded(i) && !used[i] && slices.Contains(tl.only, tl.acts[i].action) {
					return false
				}
			}
			return true
		}
		for i := range tl.acts {
			if !used[i] && matches(i, slots[k]) {
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

// TestSound: what is supported while things are in doubt or withheld stays so
// whatever comes out, and what is refuted stays refuted; once all has come out,
// the verdict is what trying every assignment says.
func TestSound(t *testing.T) {
	counts := make(map[evidence.Result]int)
	rapid.Check(t, func(rt *rapid.T) {
		tl := drawTale(rt)
		before, after := tl.tell(t, false), tl.tell(t, true)
		counts[before.Result]++
		met := tl.met()
		if (after.Result == evidence.Supported) != met || after.Result == evidence.InDoubt || after.Result == evidence.Undisclosed {
			rt.Fatalf("every assignment says %v, judged %s (%s)\n%s\n%+v", met, after.Result, after.Contract.Why, tl.contract(), tl.acts)
		}
		switch before.Result {
		case evidence.Supported:
			if !met {
				rt.Fatalf("supported, and then not\n%s\n%+v withheld %v", tl.contract(), tl.acts, tl.withheld)
			}
		case evidence.Contradicted, evidence.Unsupported:
			if met {
				rt.Fatalf("%s, and then supported\n%s\n%+v withheld %v", before.Result, tl.contract(), tl.acts, tl.withheld)
			}
		}
	})
	t.Log(counts)
}

// A fakeRun is a run whose records nobody signed.
type fakeRun struct {
	t        testing.TB
	run      *Run
	index    uint64
	prev     evidence.ID
	payloads PayloadMap
	found    []Finding
}

func newFakeRun(t testing.TB, contract string) *fakeRun {
	f := &fakeRun{t: t, run: NewRun(nil), payloads: make(PayloadMap)}
	f.add(&evidence.RunOpened{Runtime: "rt", Contract: &evidence.ContractRef{Document: f.commit(contract), DeclaredBy: "op"}})
	return f
}

func (f *fakeRun) commit(data string) evidence.Commitment {
	p := evidence.Payload{Media: "application/json", Data: []byte(data)}
	p.Salt[0], p.Salt[1] = byte(len(f.payloads)), byte(len(f.payloads)>>8)
	c := p.Commitment()
	f.payloads[c.Commit] = p.Data
	return c
}

func (f *fakeRun) add(body evidence.Body) evidence.ID {
	return f.append(&evidence.Record{Prev: f.prev, Body: body}, Signer{Name: "rt", Role: evidence.RoleRuntime})
}

func (f *fakeRun) beside(about evidence.ID, body evidence.Body, by Signer) evidence.ID {
	return f.append(&evidence.Record{About: about, Body: body}, by)
}

func (f *fakeRun) append(rec *evidence.Record, by Signer) evidence.ID {
	f.index++
	id := evidence.IDOf(fmt.Appendf(nil, "%d", f.index))
	rec.Kind, rec.Run, rec.Actor, rec.Time = rec.Body.Kind(), "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11", "a", 1
	f.found = append(f.found, f.run.Apply(f.index, id, rec, by)...)
	if rec.OnLine() {
		f.prev = id
	}
	return id
}
