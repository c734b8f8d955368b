package server_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/agent"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/runtime"
)

// TestAgentsDeclareNoContract: a contract comes from the operator's directory when
// a run is opened. An agent can neither bring one nor change one, and what the
// directory says later is for later runs.
func TestAgentsDeclareNoContract(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "complaint.json")
	write := func(doc string) {
		if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(agentContract)
	contracts, err := agent.OpenContracts(dir)
	if err != nil {
		t.Fatal(err)
	}
	a := newAgents(t, func(c *runtime.Config) { c.Contracts = contracts.For }, 0)
	const easy = `{"contract":"v1","task":"complaint","weakest_source":"reported","forbids":[{"action":"nothing"}]}`
	run := "/v1/runs/complaint-1"
	s := read[api.RunState](t, a.send("PUT", run, `{"task":"complaint"}`), 200)
	size := a.Ledger.Head().Size
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/v1/runs/mine", `{"task":"complaint","contract":` + easy + `}`},
		{"PUT", "/v1/runs/mine", `{"task":"complaint","contract":{"document":{"commit":"x"},"declared_by":"operator"}}`},
		{"PUT", "/v1/runs/mine", `{"task":"complaint","declared_by":"support"}`},
		{"PUT", run, `{"task":"complaint","contract":` + easy + `}`},
		{"PUT", run, `{"task":"other"}`}, // another type of task, and so another contract
		{"PUT", run, `{"task":"complaint","input":{"order":"another"}}`},
		{"PUT", run + "/contract", easy},
		{"POST", run + "/contract", easy},
		{"POST", run + "/claims", `{"text":"done","contract":` + easy + `}`},
		{"POST", run + "/close", `{"end":"completed","contract":` + easy + `}`},
		{"PUT", "/v1/contracts/complaint", easy},
	} {
		if got := a.send(c.method, c.path, c.body); got.status < 400 || got.status >= 500 {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, got.status, got.body)
		}
	}
	// Nor by a record of its own making: only a runtime's key opens a run.
	n := a.Ledger.Registry().Number()
	document := evidence.Payload{Media: api.MediaJSON, Data: []byte(easy)}
	body := &evidence.RunOpened{Principal: "mia", Task: "complaint", Runtime: "mia", Contract: &evidence.ContractRef{Document: document.Commitment(), DeclaredBy: "operator"}}
	entry, err := evidence.Sign(&evidence.Record{
		Origin: daemontest.Origin, Kind: body.Kind(), Run: "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c99", Registry: &n, Actor: "mia", Time: evidence.TimeOf(time.Now()), Body: body,
	}, a.human)
	if err != nil {
		t.Fatal(err)
	}
	if got := post(t, a.Daemon, a.Grant("mia", api.RightRecord, api.RightPayloads), entry); got.status != 403 && got.status != 422 {
		t.Errorf("a run opened by who is no runtime: %d %s", got.status, got.body)
	}
	if now := a.Ledger.Head().Size; now != size {
		t.Errorf("%d records of contracts that an agent brought", now-size)
	}
	// The operator may change the directory: this run keeps what it was opened with.
	write(easy)
	read[api.RunState](t, a.send("PUT", run, `{"task":"complaint"}`), 200)
	if got := read[api.Claim](t, a.send("POST", run+"/claims", `{"text":"all done"}`), 200); got.Verdict.Holds || got.Verdict.Result != evidence.Unsupported {
		t.Errorf("under a contract that came later: %+v", got)
	}
	a.sound(s.Run)
	read[api.RunState](t, a.send("PUT", "/v1/runs/complaint-2", `{"task":"complaint"}`), 200)
	if got := read[api.Claim](t, a.send("POST", "/v1/runs/complaint-2/claims", `{"text":"all done"}`), 200); got.Verdict.Result != evidence.Supported {
		t.Errorf("a later run: %+v", got)
	}
}

// TestAgentsWithoutContract: a run of a type of task that has no contract is shown
// as what it is, and not stopped; nothing that looks like a way out of the
// directory finds another.
func TestAgentsWithoutContract(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"outside.json", "in/complaint.json"} {
		task := strings.TrimSuffix(filepath.Base(name), ".json")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(`{"contract":"v1","task":"`+task+`","expects":[{"action":"never"}]}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	contracts, err := agent.OpenContracts(filepath.Join(dir, "in"))
	if err != nil {
		t.Fatal(err)
	}
	a := newAgents(t, func(c *runtime.Config) { c.Contracts = contracts.For }, 0)
	for _, task := range []string{"other", "../outside", "..%2foutside", "complaint.json", "Complaint", "./complaint"} {
		run := "/v1/runs/" + strings.NewReplacer("/", "_", ".", "_", "%", "_").Replace(task)
		s := read[api.RunState](t, a.send("PUT", run, `{"task":"`+task+`"}`), 200)
		read[api.Outcome](t, a.send("POST", run+"/steps/mail/run", `{"tool":"email","input":{"to":"mia"}}`), 200)
		claim := read[api.Claim](t, a.send("POST", run+"/claims", `{"text":"done","steps":["mail"]}`), 200)
		if claim.Verdict.Result != evidence.NoContract || !claim.Verdict.Holds {
			t.Errorf("%s: %+v", task, claim.Verdict)
		}
		if got := read[api.RunState](t, a.send("POST", run+"/close", ""), 200); got.End != evidence.Completed {
			t.Errorf("%s: %+v", task, got)
		}
		for p, err := range a.Ledger.Run(context.Background(), s.Run) {
			if err != nil {
				t.Fatal(err)
			}
			if b, ok := p.Record.Body.(*evidence.RunOpened); ok && b.Contract != nil {
				t.Errorf("%s: it has a contract of %s", task, b.Contract.DeclaredBy)
			}
		}
		a.sound(s.Run)
	}
}
