package runtime_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

const claimContract = `{"contract":"v1","task":"complaint","weakest_source":"reported",
	"expects":[{"action":"update_crm","output_has":{"ok":true}}],"forbids":[{"action":"drop"}]}`

// withContract has the operator choose one contract for every run; "": none.
func withContract(w *runtimetest.World, document string) {
	w.Config = func(c *runtime.Config) {
		c.Contracts = func(string, []byte) (*runtime.Contract, error) {
			if document == "" {
				return nil, nil
			}
			return &runtime.Contract{Document: []byte(document), DeclaredBy: "operator"}, nil
		}
	}
}

// needContract is the operator's choice that no_contract completes nothing.
func needContract(w *runtimetest.World) {
	inner := w.Config
	w.Config = func(c *runtime.Config) {
		inner(c)
		c.NeedContract = true
	}
}

// endOf returns how a run was closed; "": it is open.
func endOf(w *runtimetest.World, run *runtime.Run) evidence.End {
	for _, p := range w.Records(run.ID()) {
		if b, ok := p.Record.Body.(*evidence.RunClosed); ok {
			return b.End
		}
	}
	return ""
}

// elsewhere asks for a step that runs elsewhere, and reports how it ended; "": it
// does not.
func elsewhere(t *testing.T, run *runtime.Run, step, action, input string, status evidence.Status) {
	t.Helper()
	granted(t, run, runtime.Ask{Step: step, Tool: "crm", Action: action, Input: []byte(input), By: "worker-1"})
	if status != "" {
		reported(t, run, runtime.Report{Step: step, Attempt: 1, Status: status, Output: []byte(`{"ok":true}`)})
	}
}

// TestNothingButSupportedLeaves: whatever a program calls, in whatever order it
// calls it, no run is completed, and no summary handed out, over a verdict that does
// not let it.
func TestNothingButSupportedLeaves(t *testing.T) {
	words := "The CRM knows."
	ways := map[string]func(*runtime.Run) (*runtime.Summary, error){
		"Summarize": func(r *runtime.Run) (*runtime.Summary, error) { return r.Summarize(ctx, words) },
		"Summarize twice": func(r *runtime.Run) (*runtime.Summary, error) {
			_, _ = r.Summarize(ctx, words)
			return r.Summarize(ctx, words)
		},
		"Claim and Complete": func(r *runtime.Run) (*runtime.Summary, error) {
			_, err := r.Claim(ctx, words)
			return nil, errors.Join(err, r.Complete(ctx))
		},
		"ClaimSteps and Complete": func(r *runtime.Run) (*runtime.Summary, error) {
			_, err := r.ClaimSteps(ctx, words, nil)
			return nil, errors.Join(err, r.Complete(ctx))
		},
		"Claim and Close": func(r *runtime.Run) (*runtime.Summary, error) {
			_, err := r.Claim(ctx, words)
			return nil, errors.Join(err, r.Close(ctx))
		},
		"Claim and Finish": func(r *runtime.Run) (*runtime.Summary, error) {
			_, err := r.Claim(ctx, words)
			return nil, errors.Join(err, r.Finish(ctx, nil))
		},
		"Summarize and Finish": func(r *runtime.Run) (*runtime.Summary, error) {
			s, err := r.Summarize(ctx, words)
			return s, r.Finish(ctx, err)
		},
		"Claim and End": func(r *runtime.Run) (*runtime.Summary, error) {
			_, err := r.Claim(ctx, words)
			return nil, errors.Join(err, r.End(ctx, evidence.Completed, ""))
		},
	}
	cases := []struct {
		name     string
		contract string
		need     bool
		work     func(t *testing.T, w *runtimetest.World, r *runtime.Run)
		want     evidence.Result
		leaves   bool
	}{
		{"supported", claimContract, true, func(t *testing.T, _ *runtimetest.World, r *runtime.Run) {
			elsewhere(t, r, "a", "update_crm", `1`, evidence.StatusSuccess)
		}, evidence.Supported, true},
		{"contradicted", claimContract, false, func(t *testing.T, _ *runtimetest.World, r *runtime.Run) {
			elsewhere(t, r, "a", "update_crm", `1`, evidence.StatusSuccess)
			elsewhere(t, r, "b", "drop", `1`, evidence.StatusSuccess)
		}, evidence.Contradicted, false},
		{"failed", claimContract, false, func(t *testing.T, _ *runtimetest.World, r *runtime.Run) {
			elsewhere(t, r, "a", "update_crm", `1`, evidence.StatusNotRun)
		}, evidence.Contradicted, false},
		{"unsupported", claimContract, false, func(*testing.T, *runtimetest.World, *runtime.Run) {}, evidence.Unsupported, false},
		{"in doubt", claimContract, false, func(t *testing.T, _ *runtimetest.World, r *runtime.Run) {
			elsewhere(t, r, "a", "update_crm", `1`, "")
		}, evidence.InDoubt, false},
		{"undisclosed", claimContract, false, func(t *testing.T, w *runtimetest.World, r *runtime.Run) {
			elsewhere(t, r, "a", "update_crm", `1`, evidence.StatusSuccess)
			opened := w.Records(r.ID())[0].Record.Body.(*evidence.RunOpened)
			if _, err := w.Ledger.Erase(ctx, opened.Contract.Document.Commit, "request"); err != nil {
				t.Fatal(err)
			}
		}, evidence.Undisclosed, false},
		{"no contract", "", false, func(*testing.T, *runtimetest.World, *runtime.Run) {}, evidence.NoContract, true},
		{"no contract where one is needed", "", true, func(*testing.T, *runtimetest.World, *runtime.Run) {}, evidence.NoContract, false},
		{"an empty contract", `{"contract":"v1","task":"complaint"}`, false, func(*testing.T, *runtimetest.World, *runtime.Run) {}, evidence.NoContract, true},
		{"an empty contract where one is needed", `{"contract":"v1","task":"complaint"}`, true, func(*testing.T, *runtimetest.World, *runtime.Run) {}, evidence.NoContract, false},
	}
	for _, c := range cases {
		for way, call := range ways {
			t.Run(c.name+"/"+way, func(t *testing.T) {
				w := runtimetest.New(t)
				withContract(w, c.contract)
				if c.need {
					needContract(w)
				}
				run := open(t, w.Runtime())
				c.work(t, w, run)
				s, err := call(run)
				if v := lastVerdict(w, run); v != c.want {
					t.Errorf("the verdict is %s, want %s", v, c.want)
				}
				if s != nil && !c.leaves {
					t.Errorf("a summary over %s: %+v", c.want, s)
				}
				end := endOf(w, run)
				if end == evidence.Completed && !c.leaves {
					t.Errorf("completed over %s: %v", c.want, err)
				}
				summarized, ends := strings.HasPrefix(way, "Summarize"), strings.Contains(way, " and ")
				if way == "Claim and End" && (err == nil || end != "") {
					t.Errorf("completed by a word: %v, %q", err, end)
				} else if c.leaves && way != "Claim and End" && (err != nil || summarized != (s != nil) || ends != (end == evidence.Completed)) {
					t.Errorf("it should have left: %v, %+v, %q", err, s, end)
				}
				if way == "Claim and Close" && err != nil {
					t.Errorf("it is left open for who resumes it: %v", err)
				}
				var un *runtime.Unsupported
				if summarized && !c.leaves && (!errors.As(err, &un) || un.Result != c.want) {
					t.Errorf("want *Unsupported, %s; found %v", c.want, err)
				}
				w.Sound(run.ID())
			})
		}
	}
}

func lastVerdict(w *runtimetest.World, run *runtime.Run) (last evidence.Result) {
	for _, p := range w.Records(run.ID()) {
		if b, ok := p.Record.Body.(*evidence.Verdict); ok {
			last = b.Result
		}
	}
	return last
}

// TestWorkSinceTheClaim: a claim that was right completes nothing after what the
// contract forbids, whoever asks, and however.
func TestWorkSinceTheClaim(t *testing.T) {
	for name, call := range map[string]func(*runtime.Run) error{
		"Close":    func(r *runtime.Run) error { return r.Close(ctx) },
		"Complete": func(r *runtime.Run) error { return r.Complete(ctx) },
		"Finish":   func(r *runtime.Run) error { return r.Finish(ctx, nil) },
	} {
		w := runtimetest.New(t)
		withContract(w, claimContract)
		run := open(t, w.Runtime())
		elsewhere(t, run, "a", "update_crm", `1`, evidence.StatusSuccess)
		if _, err := run.Summarize(ctx, "done"); err != nil {
			t.Fatal(err)
		}
		elsewhere(t, run, "b", "drop", `1`, evidence.StatusSuccess)
		var un *runtime.Unsupported
		if err := call(run); !errors.As(err, &un) || un.Result != evidence.Contradicted || !slices.Contains(un.Why, "something was done since the claim: claim again") {
			t.Errorf("%s: %v", name, err)
		}
		run.Leave(ctx)
		// The same program, run again from the top, says the same words.
		again := open(t, w.Runtime())
		if s, err := again.Summarize(ctx, "done"); s != nil || !errors.As(err, &un) || un.Result != evidence.Contradicted {
			t.Errorf("%s: a summary that is not true any more: %+v, %v", name, s, err)
		}
		if end := endOf(w, run); end != "" {
			t.Errorf("%s: closed as %s", name, end)
		}
		w.Sound(run.ID())
	}
}

// TestForgedVerdict: whoever has the runtime's key can write that a claim is
// supported. No runtime completes a run on that word.
func TestForgedVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		contract string
		forged   evidence.Result
	}{"with a contract": {claimContract, evidence.Supported}, "without": {"", evidence.NoContract}} {
		w := runtimetest.New(t)
		withContract(w, c.contract)
		var key *evidence.PrivateKey
		inner := w.Config
		w.Config = func(c *runtime.Config) { inner(c); key = c.Key }
		run := open(t, w.Runtime())
		never := &runtime.Result{Step: "notify", Action: "send_email"}
		lie, err := run.Claim(ctx, "done", never)
		if err != nil || lie.Verdict.Result != evidence.Unsupported {
			t.Fatalf("%s: %+v, %v", name, lie, err)
		}
		document := evidence.Payload{Media: "application/json", Data: []byte(strings.ReplaceAll(string(lie.Verdict.Document), "unsupported", string(c.forged)))}
		if _, err := w.Ledger.PutPayloadsAhead(ctx, []evidence.Payload{document}); err != nil {
			t.Fatal(err)
		}
		all := w.Records(run.ID())
		put(w, key, &evidence.Record{
			Run: run.ID(), Prev: all[len(all)-1].ID, Actor: runtimetest.Runtime,
			Body: &evidence.Verdict{Claim: lie.ID, Result: c.forged, Document: document.Commitment()},
		})
		run.Leave(ctx)
		run = open(t, w.Runtime())
		var un *runtime.Unsupported
		if s, err := run.Summarize(ctx, "done", never); s != nil || !errors.As(err, &un) || un.Result != evidence.Unsupported {
			t.Errorf("%s: a summary over a forged verdict: %+v, %v", name, s, err)
		}
		if err := run.Complete(ctx); !errors.As(err, &un) {
			t.Errorf("%s: completed over a forged verdict: %v", name, err)
		}
		if err := run.Close(ctx); !errors.As(err, &un) || endOf(w, run) != "" {
			t.Errorf("%s: closed over a forged verdict: %v, %q", name, err, endOf(w, run))
		}
	}
}

// put appends a record that no runtime wrote.
func put(w *runtimetest.World, key *evidence.PrivateKey, rec *evidence.Record) evidence.ID {
	w.Helper()
	rec.Origin, rec.Kind, rec.Time = runtimetest.Origin, rec.Body.Kind(), evidence.TimeOf(w.Clock.Now())
	if rec.Kind.NamesRegistry() {
		n := w.Ledger.Registry().Number()
		rec.Registry = &n
	}
	entry, err := evidence.Sign(rec, key)
	if err != nil {
		w.Fatal(err)
	}
	placed, err := w.Ledger.Append(ctx, entry)
	if err != nil {
		w.Fatal(err)
	}
	return placed[0].ID
}

// TestClaimBesideTheLine: an agent that signs its own claims is held to the
// contract, too, whatever its claim leaves out.
func TestClaimBesideTheLine(t *testing.T) {
	for name, c := range map[string]struct {
		contract  string
		need      bool
		completes bool
	}{
		"the contract is met":                          {`{"contract":"v1","task":"complaint","weakest_source":"reported","expects":[{"action":"update_crm"}]}`, true, true},
		"the contract is not met":                      {`{"contract":"v1","task":"complaint","weakest_source":"reported","expects":[{"action":"update_crm","times":2}]}`, false, false},
		"the contract asks for nothing":                {`{"contract":"v1","task":"complaint","weakest_source":"reported"}`, false, true},
		"the contract asks for nothing, and is needed": {`{"contract":"v1","task":"complaint","weakest_source":"reported"}`, true, false},
	} {
		w := runtimetest.New(t)
		withContract(w, c.contract)
		if c.need {
			needContract(w)
		}
		key := w.Actor("loner", evidence.RoleAgent)
		run := open(t, w.Runtime())
		elsewhere(t, run, "a", "update_crm", `1`, evidence.StatusSuccess)
		words := evidence.Payload{Media: "text/plain", Data: []byte("done")}
		if _, err := w.Ledger.PutPayloadsAhead(ctx, []evidence.Payload{words}); err != nil {
			t.Fatal(err)
		}
		put(w, key, &evidence.Record{
			Run: run.ID(), About: w.Records(run.ID())[0].ID, Actor: "loner",
			Body: &evidence.Claim{Statements: []evidence.Statement{{
				Text: words.Commitment(), Assertions: []evidence.Assertion{{Kind: evidence.AssertAction, Action: "update_crm"}},
			}}},
		})
		run.Leave(ctx)
		run = open(t, w.Runtime())
		err := run.Complete(ctx)
		if got := endOf(w, run) == evidence.Completed; got != c.completes || got != (err == nil) {
			t.Errorf("%s: completed %v, %v", name, got, err)
		}
		w.Sound(run.ID())
	}
}

// TestSummaryIsShownWithWhatItIs: text and verdict leave together, with what a
// reader has to know of them.
func TestSummaryIsShownWithWhatItIs(t *testing.T) {
	w := runtimetest.New(t)
	var server mailServer
	tool := runtime.NewFunc(mailSpec, server.send(true))
	run := open(t, w.Runtime(tool))
	res, err := runtime.Do(ctx, run, "notify", tool, mail{To: "mia"})
	if err != nil {
		t.Fatal(err)
	}
	words, err := run.Summarize(ctx, "All is well.")
	if err != nil || words.Verdict.Result != evidence.NoContract || len(words.Verdict.Document) == 0 {
		t.Fatalf("%+v, %v", words, err)
	}
	none := "the run has no contract: nobody said what had to happen"
	if got := words.Verdict.Notes(); !slices.Equal(got, []string{none, "statement 0 asserts nothing and cites nothing"}) {
		t.Errorf("words alone: %q", got)
	}
	told, err := run.Summarize(ctx, "Mia was told.", res)
	if err != nil || !slices.Equal(told.Verdict.Notes(), []string{none}) {
		t.Errorf("%q, %v", told.Verdict.Notes(), err)
	}
}

// TestClaimIsOfItsSteps: the same words about other steps are another claim; and
// what one step did stands for no other, nor once for two.
func TestClaimIsOfItsSteps(t *testing.T) {
	w := runtimetest.New(t)
	server := mailServer{fail: func(call int) error {
		if call == 2 || call == 4 {
			return errors.New("no such mailbox")
		}
		return nil
	}}
	tool := runtime.NewFunc(mailSpec, server.send(true))
	rt := w.Runtime(tool)
	run := open(t, rt)
	one, err := runtime.Do(ctx, run, "first", tool, mail{To: "mia", Text: "a"}, runtime.On("mailbox"))
	if err != nil {
		t.Fatal(err)
	}
	claim, err := run.Claim(ctx, "told", one)
	if err != nil || claim.Verdict.Err() != nil {
		t.Fatal(claim, err)
	}
	if again, err := run.Claim(ctx, "told and told", one, one); err != nil || again.Verdict.Err() != nil {
		t.Errorf("one step, named twice: %+v, %v", again, err)
	}
	if _, err := runtime.Do(ctx, run, "second", tool, mail{To: "mia", Text: "b"}, runtime.On("mailbox")); err == nil {
		t.Fatal("it did not fail")
	}
	other := &runtime.Result{Step: "second", Action: "send_email", Resource: "mailbox"}
	var un *runtime.Unsupported
	if _, err := run.Summarize(ctx, "told", one, other); !errors.As(err, &un) || un.Result != evidence.Contradicted {
		t.Errorf("one email sent, and claimed to be two: %v", err)
	}
	if c, err := run.ClaimSteps(ctx, "told", nil, "second"); err != nil || c.Verdict.Result != evidence.Contradicted {
		t.Errorf("the one that failed: %+v, %v", c, err)
	}
	if c, err := run.ClaimSteps(ctx, "told", nil, "first"); err != nil || c.Verdict.Err() != nil {
		t.Errorf("the one that did not: %+v, %v", c, err)
	}
	// The same input in several steps: one success is one.
	for i := range 3 {
		_, err := runtime.Do(ctx, run, fmt.Sprint("same-", i), tool, mail{To: "mia", Text: "c"}, runtime.On("mailbox"))
		if (err == nil) != (i != 1) {
			t.Fatal(i, err)
		}
		if i == 1 {
			if c, err := run.ClaimSteps(ctx, "told twice", nil, "same-0", "same-1"); err != nil || c.Verdict.Result != evidence.Contradicted {
				t.Errorf("one success for two: %+v, %v", c, err)
			}
		}
	}
	both, err := run.ClaimSteps(ctx, "told twice", nil, "same-0", "same-2")
	if err != nil || both.Verdict.Err() != nil {
		t.Errorf("both: %+v, %v", both, err)
	}
	// An auditor who counts less of it than the runtime does counts to two as well.
	for _, p := range w.Records(run.ID()) {
		if p.ID != both.ID {
			continue
		}
		for _, a := range p.Record.Body.(*evidence.Claim).Statements[0].Assertions {
			expects, err := runtime.Embedded{Ledger: w.Ledger}.ReadPayload(ctx, a.Expect.Commit)
			if err != nil || string(expects.Data) != `{"action":"send_email","resource":"mailbox","times":2}` {
				t.Errorf("it asserts %s, %v", expects.Data, err)
			}
		}
	}
	w.Sound(run.ID())
	// In another process, from the top: words alone are not the claim that rests on
	// the first step.
	run.Leave(ctx)
	run = open(t, rt)
	bare, err := run.Claim(ctx, "told")
	if err != nil || bare.Replayed || bare.ID == claim.ID {
		t.Errorf("the same words about nothing: %+v, %v", bare, err)
	}
	w.Sound(run.ID())
}
