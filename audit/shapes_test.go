package audit_test

import (
	"bytes"
	"slices"
	"testing"

	"ledgerd/audit"
	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
)

func all(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// TestRangeBundle: every run of a range is judged.
func TestRangeBundle(t *testing.T) {
	s := play(t, nil)
	n := len(s.Placed)
	b := audittest.Bundling{Header: bundle.RangeHeader(s.Origin, 0, uint64(n)), Indexes: all(n)}
	r := verify(t, s.Bundle(b), s.Trust(), audit.Options{Run: s.run.ID, Subject: "ticket-1"})
	if r.ExitCode() != 0 || r.Scope.Runs != 2 {
		dump(t, r)
		t.Errorf("exit %d, %d runs", r.ExitCode(), r.Scope.Runs)
	}
	if r = verify(t, s.Bundle(b), s.Trust(), audit.Options{Run: "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c99"}); r.ExitCode() != 1 {
		t.Errorf("about another run: exit %d", r.ExitCode())
	}
}

// TestOfferBundle: the giver's run up to the offer, whole, with the parent's
// offer beside it, whose own run is not there.
func TestOfferBundle(t *testing.T) {
	write := func(scope ...evidence.ScopeEntry) (*audittest.World, []byte) {
		w := audittest.New(t)
		to := evidence.Recipient{Origin: w.Origin, Actor: audittest.Agent, Key: w.Key(audittest.Runtime).Public().Thumbprint()}
		parent := w.Open(nil)
		parent.Do("lookup", `{}`)
		first := parent.Line(&evidence.HandoffOffered{To: to, Task: "x", Scope: []evidence.ScopeEntry{{Action: "refund", Resource: "order/*"}}, Expires: w.Clock + 3_600_000, HeadMaxAge: 60})
		id := evidence.RunID("run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11")
		accepted := w.Append(&evidence.Record{Actor: audittest.Agent, Body: &evidence.HandoffAccepted{Offer: first.ID, Origin: w.Origin, Opens: id, Head: evidence.HeadRef{Size: 9, Root: evidence.Digest{1}}, Bundle: withheldBundle}}, audittest.Runtime)
		r := w.Open(func(rec *evidence.Record, b *evidence.RunOpened) { rec.Run, b.Acceptance = id, accepted.ID })
		to.Origin = "ledger.example/next"
		offer := r.Line(&evidence.HandoffOffered{To: to, Task: "y", Scope: scope, Expires: w.Clock + 3_600_000, HeadMaxAge: 60, Parent: accepted.ID})
		at := w.RunIndexes(id)
		at = append(at, int(first.Index))
		slices.Sort(at)
		return w, w.Bundle(audittest.Bundling{Header: bundle.OfferHeader(w.Origin, offer.ID), Indexes: at})
	}
	w, b := write(evidence.ScopeEntry{Action: "refund", Resource: "order/7"})
	if r := verify(t, b, w.Trust(), audit.Options{}); r.ExitCode() != 0 || r.Rule(audit.RuleHandoff).Status != audit.Held || r.Rule(audit.RuleChain).Status != audit.Held {
		dump(t, r)
		t.Errorf("exit %d", r.ExitCode())
	}
	// attack 49
	for _, wider := range []evidence.ScopeEntry{{Action: "refund", Resource: "*"}, {Action: "delete", Resource: "order/7"}, {Action: "refund", Resource: "orde*"}} {
		w, b = write(wider)
		if rules, reasons := broken(verify(t, b, w.Trust(), audit.Options{})); !slices.Equal(rules, []audit.Rule{audit.RuleHandoff}) || reasons[0] != audit.ReasonWidened {
			t.Errorf("%+v: %v %v", wider, rules, reasons)
		}
	}
}

// TestAttack50: the giver's run cut short, or without its failures; a valid
// proof of another record.
func TestAttack50(t *testing.T) {
	w := audittest.New(t)
	r := w.Open(nil)
	a := r.Authorize("refund", `{}`, nil)
	failed := r.Execute(a, evidence.StatusFailure, nil)
	offer := r.Line(&evidence.HandoffOffered{
		To: evidence.Recipient{Origin: w.Origin, Actor: audittest.Agent, Key: evidence.Digest{1}}, Task: "x",
		Scope: []evidence.ScopeEntry{{Action: "refund", Resource: "*"}}, Expires: w.Clock + 3_600_000, HeadMaxAge: 60,
	})
	good := w.RunIndexes(r.ID)
	about := bundle.OfferHeader(w.Origin, offer.ID)
	for name, tt := range map[string]struct {
		header  bundle.Header
		indexes []int
		exit    int
	}{
		"whole":             {about, good, 0},
		"without failure":   {about, without(good, int(failed.Index)), 1},
		"without opening":   {about, without(good, int(r.Opened.Index)), 1},
		"without the offer": {about, without(good, int(offer.Index)), 1},
		"another record":    {bundle.OfferHeader(w.Origin, failed.ID), good, 1},
	} {
		got := verify(t, w.Bundle(audittest.Bundling{Header: tt.header, Indexes: tt.indexes}), w.Trust(), audit.Options{})
		if got.ExitCode() != tt.exit {
			dump(t, got)
			t.Errorf("%s: exit %d", name, got.ExitCode())
		}
	}
}

// TestQuorum: a head that too few cosigned is made up for by one that all did,
// and not by itself.
func TestQuorum(t *testing.T) {
	w := audittest.New(t)
	r := w.Open(nil)
	r.Close(evidence.Completed)
	vkey, s := witness(t, "w1.example")
	policy, err := bundle.ParsePolicy("log " + w.VKey() + "\nwitness one " + vkey + "\nquorum one\n")
	if err != nil {
		t.Fatal(err)
	}
	trust := w.Trust()
	trust.Ledgers[0].Policy = policy
	n := len(w.Placed)
	old, newest := w.Head(n-1), w.Head(n)
	for name, tt := range map[string]struct {
		heads [][]byte
		exit  int
	}{
		"the newest cosigned":  {[][]byte{old, cosign(t, newest, w, s)}, 0},
		"only the old":         {[][]byte{cosign(t, old, w, s), newest}, 2},
		"the same, both forms": {[][]byte{newest, cosign(t, newest, w, s)}, 0},
	} {
		got := verify(t, w.Bundle(audittest.Bundling{Header: bundle.RunHeader(w.Origin, r.ID), Indexes: w.RunIndexes(r.ID), Heads: tt.heads}), trust, audit.Options{})
		if got.ExitCode() != tt.exit {
			dump(t, got)
			t.Errorf("%s: exit %d", name, got.ExitCode())
		}
	}
}

// TestRunInput: a contract that refers to the run's input is decided by a bundle
// that discloses it, and not by one that does not.
func TestRunInput(t *testing.T) {
	for withhold, want := range map[bool]audit.Status{false: audit.Held, true: audit.Undecidable} {
		w := audittest.New(t)
		r := w.Open(func(_ *evidence.Record, b *evidence.RunOpened) {
			in := w.Commit(`{"order":"A-7"}`)
			b.Input = &in
			b.Contract = &evidence.ContractRef{Document: w.Commit(`{"contract":"v1","task":"x","expects":[{"action":"refund","input":{"order":{"$input":"/order"}}}]}`), DeclaredBy: "operator"}
		})
		r.Do("refund", `{"order": "A-7"}`)
		r.ClaimContract()
		r.Close(evidence.Completed)
		if withhold {
			b, ok := r.Opened.Record.Body.(*evidence.RunOpened)
			if !ok {
				t.Fatal("no run.opened")
			}
			delete(w.Payloads, b.Input.Commit)
		}
		got := verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{})
		if got.Rule(audit.RuleContract).Status != want || got.Rule(audit.RuleClaim).Status != want {
			dump(t, got)
			t.Errorf("withheld %v: %s", withhold, got.Rule(audit.RuleContract).Status)
		}
	}
}

// TestOpenRun: what an open run owes is in doubt, and its contract undecided.
func TestOpenRun(t *testing.T) {
	w := audittest.New(t)
	r := w.OpenWith(`{"contract":"v1","task":"x","expects":[{"action":"refund"}]}`)
	r.Authorize("refund", `{}`, nil)
	got := verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{})
	if got.Rule(audit.RuleOutcome).Status != audit.Undecidable || got.Rule(audit.RuleContract).Status != audit.Undecidable || got.ExitCode() != 2 || got.Scope.InDoubt != 1 {
		dump(t, got)
		t.Errorf("exit %d", got.ExitCode())
	}
	r.Close(evidence.Completed)
	got = verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{})
	if rules, _ := broken(got); !slices.Equal(rules, []audit.Rule{audit.RuleOutcome}) {
		dump(t, got)
	}
}

// TestRunState: what a runtime reads off a run.
func TestRunState(t *testing.T) {
	s := play(t, nil)
	run := s.fold()
	acts := run.Actions()
	if len(acts) != 4 || acts[1].Executable || !acts[2].Executable || acts[2].Attempts != 2 || acts[2].Status != evidence.StatusSuccess ||
		acts[3].Status != evidence.StatusSuccess || acts[3].Source != evidence.SourceConfirmed {
		t.Errorf("%+v", acts)
	}
	if spent := run.Spent(); spent["usd_micro"] != 900 || spent["tool_calls"] != 3 || spent["attempts"] != 4 {
		t.Errorf("spent %v", spent)
	}
	c, since := run.LastCheckpoint()
	if c == nil || c.Name != "refunded" || len(since) != 2 || len(run.InDoubt()) != 0 || !run.Closed || run.End != evidence.Completed {
		t.Errorf("%+v %v %v", c, since, run.InDoubt())
	}
}

// TestAfterClosed: a run that is closed is closed, on its line and beside it.
func TestAfterClosed(t *testing.T) {
	for name, write := range map[string]func(r *audittest.Run){
		"on the line": func(r *audittest.Run) { r.Do("lookup", `{}`) },
		"beside it": func(r *audittest.Run) {
			r.Beside(audittest.Tool, r.Opened.ID, &evidence.Confirmation{Status: evidence.StatusSuccess})
		},
	} {
		w := audittest.New(t)
		r := w.Open(nil)
		r.Close(evidence.Completed)
		write(r)
		got := verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{})
		if rules, reasons := broken(got); !slices.Equal(rules, []audit.Rule{audit.RuleChain}) || reasons[0] != audit.ReasonClosed {
			dump(t, got)
			t.Errorf("%s: %v %v", name, rules, reasons)
		}
	}
}

// TestConfirmation: an execution that names a confirmation names its own tool's,
// about its own authorization.
func TestConfirmation(t *testing.T) {
	for name, tt := range map[string]struct {
		by    string
		about bool
		want  audit.Status
	}{
		"its own tool's":       {audittest.Tool, true, audit.Held},
		"another tool's":       {"shadow", true, audit.Broken},
		"about something else": {audittest.Tool, false, audit.Broken},
	} {
		w := audittest.New(t)
		w.Register("shadow", evidence.RoleTool)
		r := w.Open(nil)
		a := r.Authorize("send_email", `{}`, nil)
		about := a.ID
		if !tt.about {
			about = r.Opened.ID
		}
		c := r.Beside(tt.by, about, &evidence.Confirmation{Status: evidence.StatusSuccess})
		r.Execute(a, evidence.StatusSuccess, func(b *evidence.Execution) { b.Confirmation = c.ID })
		r.Close(evidence.Completed)
		if got := verify(t, w.RunBundle(r.ID), w.Trust(), audit.Options{}); got.Rule(audit.RuleChain).Status != tt.want {
			dump(t, got)
			t.Errorf("%s: %s", name, got.Rule(audit.RuleChain).Status)
		}
	}
}

// TestVerdictToTheByte: a recorded verdict that says the same in other bytes, or
// rests on something else, is not the one recomputed.
func TestVerdictToTheByte(t *testing.T) {
	for name, tt := range map[string]struct {
		old, new string
		want     audit.Status
	}{
		"the same":        {"", "", audit.Held},
		"another source":  {`"source":"runtime"`, `"source":"confirmed"`, audit.Broken},
		"white space":     {`"result":`, `"result": `, audit.Broken},
		"other rules":     {`"rules":1`, `"rules":0`, audit.Broken},
		"rules to come":   {`"rules":1`, `"rules":2`, audit.Undecidable},
		"unknown member":  {`"rules":1`, `"rules":1,"zeal":1`, audit.Broken},
		"a payload fewer": {`"disclosed":[`, `"dismissed":[`, audit.Broken},
	} {
		s := &scene{World: audittest.New(t)}
		s.run = s.OpenWith(`{"contract":"v1","task":"x","expects":[{"action":"refund","input":{}}]}`)
		s.run.Do("refund", `{}`)
		claim := s.run.ClaimContract()
		v, err := audit.Judge(s.fold(), claim.ID, "", s)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := v.Bytes()
		if err != nil || !bytes.Contains(doc, []byte(tt.old)) {
			t.Fatalf("%s %v", doc, err)
		}
		s.run.Verdict(claim.ID, v.Result, bytes.Replace(doc, []byte(tt.old), []byte(tt.new), 1))
		s.run.Close(evidence.Completed)
		if got := verify(t, s.RunBundle(s.run.ID), s.Trust(), audit.Options{}); got.Rule(audit.RuleVerdict).Status != tt.want {
			dump(t, got)
			t.Errorf("%s: %s", name, got.Rule(audit.RuleVerdict).Status)
		}
	}
}
