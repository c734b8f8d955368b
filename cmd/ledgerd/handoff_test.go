package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/api"
	"ledgerd/internal/datadir"
	"ledgerd/ledger"
	"ledgerd/runtime"
)

// handoffCommands are what a script about handoffs needs of agents and auditors.
var handoffCommands = map[string]func(*testscript.TestScript, bool, []string){
	"receiver": receiver, "work": work, "continue": continues, "both": both, "verify": verifies,
	"waits": waits, "returns": returns, "shouting": shouting,
}

// inLedger opens the ledger of a directory as a runtime that permits everything.
func inLedger(ts *testscript.TestScript, dir string, f func(l *datadir.Ledger, key *evidence.PrivateKey, rt *runtime.Runtime)) {
	d, err := datadir.Open(ts.MkAbs(dir))
	ts.Check(err)
	l, err := d.Ledger(context.Background(), datadir.Options{Logger: quiet()})
	ts.Check(err)
	defer func() { ts.Check(l.Close()) }()
	key, err := d.Key(d.Runtime)
	ts.Check(err)
	tool := func(name string) runtime.Tool {
		return runtime.NewFunc(runtime.Spec{Name: name, Action: name, Idempotent: true}, func(context.Context, *runtime.Call, map[string]string) (string, error) { return "7 rows", nil })
	}
	rt, err := runtime.New(runtime.Config{
		Ledger: runtime.Embedded{Ledger: l.Ledger}, Origin: l.Origin(), Actor: d.Runtime, Key: key, Tools: []runtime.Tool{tool("search"), tool("chart")},
		Permit: runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
			return runtime.Permission{Effect: evidence.Allow, Mode: evidence.Enforce, Policies: []string{"all"}}, nil
		}),
	})
	ts.Check(err)
	f(l, key, rt)
}

// receiver AGENT DIR sets TO to what handoff receiver prints.
func receiver(ts *testscript.TestScript, _ bool, args []string) {
	inLedger(ts, args[1], func(l *datadir.Ledger, key *evidence.PrivateKey, _ *runtime.Runtime) {
		ts.Setenv("TO", fmt.Sprintf("%s,%s,%s", l.Origin(), args[0], key.Public().Thumbprint()))
	})
}

// work DIR AGENT KEY does a step of a run, and sets EV to its execution.
func work(ts *testscript.TestScript, _ bool, args []string) {
	inLedger(ts, args[0], func(_ *datadir.Ledger, _ *evidence.PrivateKey, rt *runtime.Runtime) {
		ctx := context.Background()
		run, err := rt.Open(ctx, args[2], runtime.As(args[1]), runtime.Task("research", nil))
		ts.Check(err)
		res, err := run.Do(ctx, runtime.Action{Step: "search", Tool: "search", Resource: "db", Input: []byte(`{}`)})
		ts.Check(err)
		ts.Setenv("EV", res.Execution.String())
		ts.Setenv("GAVE", string(run.ID()))
		run.Leave(ctx)
	})
}

// continues DIR AGENT KEY TRUST opens the run that continues what was accepted, does
// a step inside its scope, and sets RUN.
func continues(ts *testscript.TestScript, _ bool, args []string) {
	inLedger(ts, args[0], func(l *datadir.Ledger, key *evidence.PrivateKey, rt *runtime.Runtime) {
		ctx := context.Background()
		party := &handoff.Party{Ledger: runtime.Embedded{Ledger: l.Ledger}, Origin: l.Origin(), Agent: args[1], Key: key, Trust: readTrust(ts, args[3])}
		var accepted *handoff.Accepted
		for p, err := range l.Find(ctx, ledger.Filter{Kind: evidence.KindHandoffAccepted}) {
			ts.Check(err)
			accepted, err = party.Load(ctx, p.ID)
			ts.Check(err)
		}
		run, err := rt.Open(ctx, args[2], runtime.As(args[1]), runtime.Task("analyse", nil), runtime.Continues(accepted))
		ts.Check(err)
		_, err = run.Do(ctx, runtime.Action{Step: "chart", Tool: "chart", Resource: "report/q3", Input: []byte(`{}`)})
		ts.Check(err)
		ts.Check(run.End(ctx, evidence.Stopped, "enough"))
		ts.Setenv("RUN", string(run.ID()))
	})
}

// waits DIR waits until an offer lies in the inbox of the daemon of a directory, and
// sets OFFER.
func waits(ts *testscript.TestScript, _ bool, args []string) {
	untilHandoffs(ts, args[0], func(all *api.Handoffs) bool {
		if len(all.Waiting) > 0 {
			ts.Setenv("OFFER", all.Waiting[0].Offer.String())
		}
		return len(all.Waiting) > 0
	})
}

// returns DIR waits until an acceptance stands in the ledger of a directory, and
// nothing has to go out any more.
func returns(ts *testscript.TestScript, _ bool, args []string) {
	untilHandoffs(ts, args[0], func(all *api.Handoffs) bool {
		found := false
		for _, h := range all.Handoffs {
			if h.Delivery != nil && h.Delivery.State == api.DeliveryPending {
				return false
			}
			found = found || h.Kind == evidence.KindHandoffAccepted
		}
		return found
	})
}

func untilHandoffs(ts *testscript.TestScript, dir string, is func(*api.Handoffs) bool) {
	d, err := datadir.Open(ts.MkAbs(dir))
	ts.Check(err)
	a, err := d.Daemon()
	ts.Check(err)
	token, err := d.AdminToken()
	ts.Check(err)
	c, err := client.New(a.URL, client.Options{Token: token})
	ts.Check(err)
	for range 600 {
		all, err := c.Handoffs(context.Background(), nil)
		ts.Check(err)
		if is(all) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("the handoffs of %s never came so far", dir)
}

// shouting NAME sets a variable to the URL of a peer that answers with text that
// drives a terminal.
func shouting(ts *testscript.TestScript, _ bool, args []string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p := api.NewProblem(http.StatusUnprocessableEntity, "handoff_\x1b[31mred", "\x1b]8;;http://evil.example\x07click\u202e")
		w.WriteHeader(p.Status)
		_ = json.NewEncoder(w).Encode(p)
	}))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}

func readTrust(ts *testscript.TestScript, name string) *bundle.Trust {
	b, err := os.ReadFile(ts.MkAbs(name))
	ts.Check(err)
	t, err := bundle.ParseTrust(b)
	ts.Check(err)
	return t
}

// both A B OUT writes a trust file that names the ledgers of two.
func both(ts *testscript.TestScript, _ bool, args []string) {
	t := readTrust(ts, args[0])
	t.Ledgers = append(t.Ledgers, readTrust(ts, args[1]).Ledgers...)
	b, err := t.Marshal()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), b, 0o600))
}

// verifies TRUST FILE EXIT PATTERN audits a bundle, and compares the exit code that
// a verifier would have, and a rule's line.
func verifies(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	r, err := audit.VerifyBundle(bytes.NewReader(b), readTrust(ts, args[0]), audit.Options{})
	ts.Check(err)
	var text bytes.Buffer
	for _, rule := range r.Rules {
		fmt.Fprintln(&text, rule.Rule, rule.Status)
		for i := range rule.Findings {
			fmt.Fprintln(&text, " ", rule.Findings[i].String())
		}
	}
	if fmt.Sprint(r.ExitCode()) != args[2] || !regexp.MustCompile(args[3]).Match(text.Bytes()) {
		ts.Fatalf("exit %d:\n%s", r.ExitCode(), text.String())
	}
}
