package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/internal/agent"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/internal/server"
	"ledgerd/ledger"
	"ledgerd/runtime"
)

// agents is a daemon that drives runs, and an agent that asks it.
type agents struct {
	*daemontest.Daemon
	t     *testing.T
	token string // the agent's
	host  *agent.Host
	sent  atomic.Int64  // emails
	fails atomic.Int64  // how many of the next calls of email fail
	slow  chan struct{} // the tool slow returns when it is closed
	human *evidence.PrivateKey
}

const agentContract = `{"contract":"v1","task":"complaint","weakest_source":"reported",
"expects":[{"action":"send_email"},{"action":"update_crm"}],"forbids":[{"action":"delete_all"}]}`

// permits: what is small is permitted, what is large is asked, and some is denied.
func permits(mode evidence.Mode) runtime.Permitter {
	return runtime.PermitterFunc(func(_ context.Context, r *runtime.PermissionRequest) (runtime.Permission, error) {
		p := runtime.Permission{Effect: evidence.Allow, Mode: mode, Policies: []string{"small"}, Set: &runtime.Document{Media: "text/plain", Data: []byte("all of them")}}
		switch {
		case r.Action == "delete_all":
			p.Effect, p.Policies = evidence.Deny, []string{"never"}
		case r.Action == "refund" && !r.Approved:
			p.Effect, p.Policies, p.Team = evidence.Escalate, []string{"large"}, "finance"
		}
		return p, nil
	})
}

func newAgents(t *testing.T, change func(*runtime.Config), idle time.Duration) *agents {
	t.Helper()
	a := &agents{Daemon: daemontest.Init(t), t: t, slow: make(chan struct{})}
	a.human = a.Actor("mia", evidence.RoleHuman)
	cfg := runtime.Config{
		Permit: permits(evidence.Enforce),
		Tools:  a.tools(),
		Contracts: func(task string, _ []byte) (*runtime.Contract, error) {
			if task != "complaint" {
				return nil, nil
			}
			return &runtime.Contract{Document: []byte(agentContract), DeclaredBy: "operator"}, nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	a.host = a.Host(cfg, idle)
	a.Serve(func(c *server.Config) { c.Agents = a.host })
	a.token = a.Grant(daemontest.Agent, api.RightAct)
	return a
}

func (a *agents) tools() []runtime.Tool {
	type mail struct {
		To string `json:"to"`
	}
	type sent struct {
		ID string `json:"messageId"`
	}
	return []runtime.Tool{
		runtime.NewFunc(runtime.Spec{
			Name: "email", Action: "send_email", Resource: "/to", Refs: []string{"messageId"}, Estimate: evidence.Amounts{"usd_micro": 5},
			Schema: []byte(`{"type":"object","required":["to"],"properties":{"to":{"type":"string"}},"additionalProperties":false}`),
		}, func(_ context.Context, c *runtime.Call, in mail) (sent, error) {
			if a.fails.Add(-1) >= 0 {
				return sent{}, errors.New("no such mailbox")
			}
			a.sent.Add(1)
			return sent{"msg_" + in.To}, nil
		}),
		runtime.NewFunc(runtime.Spec{Name: "slow", Action: "send_email", Timeout: 20 * time.Second}, func(ctx context.Context, c *runtime.Call, in any) (string, error) {
			a.sent.Add(1)
			if c.Progress != nil {
				c.Progress([]byte("half\nway"))
				c.Progress([]byte{0xff})
			}
			select {
			case <-a.slow:
				return "done", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}),
	}
}

// send sends a request as the agent.
func (a *agents) send(method, path, body string) answer {
	a.t.Helper()
	return a.as(a.token, method, path, body)
}

func (a *agents) as(token, method, path, body string) answer {
	a.t.Helper()
	return request(a.t, method, a.URL+path, strings.NewReader(body), "Authorization", "Bearer "+token, "Content-Type", api.MediaJSON)
}

func read[T any](t *testing.T, a answer, status int) T {
	t.Helper()
	var v T
	if a.status != status {
		t.Fatalf("want %d, found %d: %s", status, a.status, a.body)
	}
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

// twice sends a request, and again: the answer is the same, and there is no second
// record.
func twice[T any](a *agents, status int, method, path, body string) T {
	a.t.Helper()
	first := a.send(method, path, body)
	size := a.Ledger.Head().Size
	again := a.send(method, path, body)
	if again.status != first.status || !bytes.Equal(first.body, again.body) {
		a.t.Errorf("%s %s: %d %s\nand again: %d %s", method, path, first.status, first.body, again.status, again.body)
	}
	if now := a.Ledger.Head().Size; now != size {
		a.t.Errorf("%s %s: the second time made %d records", method, path, now-size)
	}
	return read[T](a.t, first, status)
}

// sound has the run audited as anyone outside would.
func (a *agents) sound(run evidence.RunID) {
	a.t.Helper()
	var b bytes.Buffer
	if err := a.Ledger.Export(context.Background(), &b, ledger.ExportOptions{Run: run}); err != nil {
		a.t.Fatal(err)
	}
	trust, err := a.Ledger.Trust()
	if err != nil {
		a.t.Fatal(err)
	}
	report, err := audit.VerifyBundle(&b, trust, audit.Options{Run: run})
	if err != nil {
		a.t.Fatal(err)
	}
	for _, r := range report.Rules {
		if r.Status == audit.Broken && r.Rule != audit.RuleClaim && r.Rule != audit.RuleContract {
			for _, f := range r.Findings {
				a.t.Errorf("the audit of %s: %s", run, f.String())
			}
		}
	}
}

func (a *agents) count(run evidence.RunID, kind evidence.Kind) int {
	a.t.Helper()
	n := 0
	for p, err := range a.Ledger.Run(context.Background(), run) {
		if err != nil {
			a.t.Fatal(err)
		}
		if p.Record.Kind == kind {
			n++
		}
	}
	return n
}

// approve has the human answer over HTTP, with a key and token of her own.
func (a *agents) approve(run evidence.RunID, about evidence.ID, answer evidence.Answer) {
	a.t.Helper()
	b := &evidence.Approval{Answer: answer}
	if answer == evidence.Approve {
		b.Until = evidence.TimeOf(time.Now().Add(time.Hour))
	}
	n := a.Ledger.Registry().Number()
	entry, err := evidence.Sign(&evidence.Record{
		Origin: daemontest.Origin, Kind: b.Kind(), Run: run, About: about, Registry: &n, Actor: "mia", Time: evidence.TimeOf(time.Now()), Body: b,
	}, a.human)
	if err != nil {
		a.t.Fatal(err)
	}
	if got := post(a.t, a.Daemon, a.Grant("mia", api.RightApprove), entry); got.status != http.StatusCreated {
		a.t.Fatalf("approve: %d %s", got.status, got.body)
	}
}

// TestAgentsWholeRun goes through a run, and sends everything twice.
func TestAgentsWholeRun(t *testing.T) {
	a := newAgents(t, nil, 0)
	open := `{"task":"complaint","input":{"id":4711,"text":"late"},"subject":"ticket-4711","intent":"it came late","budget":{"usd_micro":100}}`
	s := twice[api.RunState](a, 200, "PUT", "/v1/runs/complaint-4711", open)
	if s.State != "open" || s.Agent != daemontest.Agent || s.Run != a.host.RunID("complaint-4711") || s.Principal != daemontest.Agent {
		t.Errorf("opened: %+v", s)
	}
	run := "/v1/runs/complaint-4711"
	laid := twice[api.Laid](a, 200, "POST", run+"/context", `{"sources":[{"name":"customer","text":"it came late"}]}`)
	if got := a.send("GET", run+"/decisions/triage", ""); got.status != 404 {
		t.Errorf("before it is decided: %d", got.status)
	}
	d := twice[api.Decision](a, 200, "PUT", run+"/decisions/triage",
		fmt.Sprintf(`{"model":"model-1","question":{"q":1},"choice":{"team":"care","refund":false},"rationale":"late","context":[%q],"cost":{"tokens":12}}`, laid.ID))
	if got := twice[api.Decision](a, 200, "GET", run+"/decisions/triage", ""); got.ID != d.ID || string(got.Choice) != `{"refund":false,"team":"care"}` {
		t.Errorf("decided: %s", got.Choice)
	}
	if got := a.send("PUT", run+"/decisions/triage", `{"model":"model-1","choice":{"team":"other"}}`); got.status != 409 || got.problem.Reason != api.ReasonName || *got.problem.Stands != d.ID {
		t.Errorf("decided otherwise: %d %s", got.status, got.body)
	}

	// A tool of the agent's own.
	crm := fmt.Sprintf(`{"action":"update_crm","tool":"crm","resource":"customer/7","input":{"status":"late"},"decision":%q,"asker":"p-1",
		"schema":{"type":"object"},"estimate":{"usd_micro":3},"params":["status"]}`, d.ID)
	step := twice[api.Step](a, 200, "PUT", run+"/steps/crm", crm)
	if step.State != api.StepAllowed || step.Effect != evidence.Allow || step.Attempt != 1 || step.IdempotencyKey != string(s.Run)+"/crm" || step.RunsHere || step.Policies[0] != "small" {
		t.Errorf("allowed: %+v", step)
	}
	if got := a.send("PUT", run+"/steps/crm", strings.Replace(crm, "late", "lost", 1)); got.status != 409 || got.problem.Reason != api.ReasonStep || got.problem.Evidence[0] != step.Authorization {
		t.Errorf("another input: %d %s", got.status, got.body)
	}
	// The same value, written in another way.
	if got := read[api.Step](t, a.send("PUT", run+"/steps/crm", strings.Replace(crm, `{"status":"late"}`, `{ "status" : "\u006cate" }`, 1)), 200); got.Authorization != step.Authorization {
		t.Errorf("the same input: %+v", got)
	}
	if got := read[api.Step](t, a.send("PUT", run+"/steps/crm", strings.Replace(crm, "p-1", "p-2", 1)), 200); got.State != api.StepInDoubt || *got.Doubt != step.Authorization || got.Attempt != 1 {
		t.Errorf("another asker: %+v", got)
	}
	rep := `{"attempt":1,"status":"success","output":{"crm":"c-7"},"refs":["crm"],"cost":{"usd_micro":2},"took_ms":31}`
	out := twice[api.Outcome](a, 200, "PUT", run+"/steps/crm/outcome", rep)
	if out.Source != evidence.SourceReported || out.Authorization != step.Authorization {
		t.Errorf("reported: %+v", out)
	}
	if got := a.send("PUT", run+"/steps/crm/outcome", strings.Replace(rep, "success", "failure", 1)); got.status != 409 || got.problem.Reason != api.ReasonReported || *got.problem.Stands != out.Execution {
		t.Errorf("another report: %d %s", got.status, got.body)
	}
	if got := twice[api.Step](a, 200, "PUT", run+"/steps/crm", crm); got.State != api.StepSucceeded || string(got.Outcome.Output) != `{"crm":"c-7"}` || *got.Outcome.Execution != out.Execution || got.Outcome.Source != evidence.SourceReported {
		t.Errorf("replayed: %+v", got)
	}

	// A tool of the daemon's.
	mail := twice[api.Step](a, 200, "POST", run+"/steps/notify/run", `{"tool":"email","input":{"to":"mia"}}`)
	if mail.State != api.StepSucceeded || mail.Outcome.Source != evidence.SourceRuntime || string(mail.Outcome.Output) != `{"messageId":"msg_mia"}` || !mail.RunsHere || mail.Resource != "mia" || a.sent.Load() != 1 {
		t.Errorf("run: %+v, %d sent", mail, a.sent.Load())
	}
	if got := a.send("POST", run+"/steps/other/run", `{"tool":"nothing","input":{}}`); got.status != 422 || got.problem.Reason != api.ReasonNoTool {
		t.Errorf("no tool: %d %s", got.status, got.body)
	}
	if got := read[api.Step](t, a.send("POST", run+"/steps/bad/run", `{"tool":"email","input":{"too":"mia"}}`), 200); got.State != api.StepFailed || got.Class != evidence.InvalidToolPayload || len(got.Errors) == 0 {
		t.Errorf("an input that the tool does not take: %+v", got)
	}
	a.fails.Store(1)
	failed := twice[api.Step](a, 200, "POST", run+"/steps/again/run", `{"tool":"email","input":{"to":"eve"}}`)
	if failed.State != api.StepFailed || failed.Class != evidence.ToolFailed || !strings.Contains(strings.Join(failed.Errors, " "), "no such mailbox") || failed.Outcome.Execution == nil {
		t.Errorf("failed: %+v", failed)
	}
	denied := twice[api.Step](a, 200, "PUT", run+"/steps/wipe", `{"action":"delete_all","input":{}}`)
	if denied.State != api.StepDenied || denied.Effect != evidence.Deny || denied.Policies[0] != "never" {
		t.Errorf("denied: %+v", denied)
	}
	if got := a.send("PUT", run+"/steps/wipe/outcome", `{"attempt":1,"status":"success"}`); got.status != 409 || got.problem.Reason != api.ReasonNotPermitted || got.problem.Evidence[0] != denied.Authorization {
		t.Errorf("a report of what is denied: %d %s", got.status, got.body)
	}

	saved := twice[api.Checkpoint](a, 200, "PUT", run+"/checkpoints/half", `{"n":1}`)
	if got := a.send("PUT", run+"/checkpoints/half", `{"n":2}`); got.status != 409 || got.problem.Reason != api.ReasonName || *got.problem.Stands != saved.ID {
		t.Errorf("another state: %d %s", got.status, got.body)
	}
	if got := read[api.Checkpoint](t, a.send("GET", run+"/checkpoints", ""), 200); got.Name != "half" || got.Sequence != 1 || string(got.State) != `{"n":1}` {
		t.Errorf("restored: %+v", got)
	}
	if got := a.send("POST", run+"/close", ""); got.status != 409 || got.problem.Reason != api.ReasonNoClaim {
		t.Errorf("closed without a claim: %d %s", got.status, got.body)
	}
	claim := twice[api.Claim](a, 200, "POST", run+"/claims", `{"text":"Mia was told","steps":["notify","crm"]}`)
	if !claim.Verdict.Holds || claim.Verdict.Result != evidence.Supported {
		t.Errorf("claimed: %+v", claim)
	}
	closed := twice[api.RunState](a, 200, "POST", run+"/close", "")
	if closed.State != "closed" || closed.End != evidence.Completed || closed.Closed == nil {
		t.Errorf("closed: %+v", closed)
	}
	// A run that is closed answers what it came to, and takes nothing.
	if got := twice[api.RunState](a, 200, "PUT", run, open); got.State != "closed" || got.Checkpoint != "half" || len(got.Steps) != 5 {
		t.Errorf("opened again: %+v", got)
	}
	if got := twice[api.Step](a, 200, "PUT", run+"/steps/crm", crm); got.State != api.StepSucceeded {
		t.Errorf("replayed: %+v", got)
	}
	if got := a.send("PUT", run+"/steps/new", crm); got.status != 409 || got.problem.Reason != api.ReasonEnded || got.problem.Evidence[0] != *closed.Closed {
		t.Errorf("a new step: %d %s", got.status, got.body)
	}
	if got := a.send("POST", run+"/close", `{"end":"failed"}`); got.status != 409 || got.problem.Reason != api.ReasonEnded {
		t.Errorf("ended otherwise: %d %s", got.status, got.body)
	}
	if got := read[api.RunState](t, a.send("GET", run+"/state", ""), 200); got.Verdict != evidence.Supported || got.Spent["usd_micro"] != 2 || got.Spent["tokens"] != 12 {
		t.Errorf("state: %+v", got)
	}
	// What was read by the run's ID is read by its key too.
	if got := read[api.Run](t, a.as(a.Token, "GET", run, ""), 200); got.Run != s.Run || !got.Closed {
		t.Errorf("by key: %+v", got)
	}
	a.sound(s.Run)
}

// TestAgentsApproval: a step that a human is asked about is held until she answers.
func TestAgentsApproval(t *testing.T) {
	a := newAgents(t, nil, 0)
	run := "/v1/runs/refund-1"
	s := read[api.RunState](t, a.send("PUT", run, `{"task":"refund"}`), 200)
	body := `{"action":"refund","resource":"order/7","input":{"amount":500},"asker":"p-1"}`
	step := twice[api.Step](a, 200, "PUT", run+"/steps/refund", body)
	if step.State != api.StepWaiting || step.Effect != evidence.Escalate || step.Team != "finance" {
		t.Fatalf("asked: %+v", step)
	}
	if got := a.send("PUT", run+"/steps/refund/outcome", `{"attempt":1,"status":"success"}`); got.status != 409 || got.problem.Reason != api.ReasonNotPermitted {
		t.Errorf("a report of what waits: %d %s", got.status, got.body)
	}
	list := read[api.Approvals](t, a.as(a.Token, "GET", "/v1/approvals", ""), 200)
	if len(list.Approvals) != 1 || list.Approvals[0].Authorization != step.Authorization || list.Approvals[0].Team != "finance" || list.Approvals[0].Resource != "order/7" {
		t.Errorf("what waits: %+v", list)
	}
	if got := a.send("GET", "/v1/approvals", ""); got.status != 403 {
		t.Errorf("without the right to read: %d", got.status)
	}
	// Not in time.
	since := time.Now()
	if got := read[api.Step](t, a.send("PUT", run+"/steps/refund?wait=50ms", body), 200); got.State != api.StepWaiting || time.Since(since) < 50*time.Millisecond {
		t.Errorf("not answered: %+v after %v", got, time.Since(since))
	}
	held := make(chan api.Step, 2)
	var asked sync.WaitGroup
	for range 2 {
		asked.Go(func() { held <- read[api.Step](t, a.send("PUT", run+"/steps/refund?wait=60s", body), 200) })
	}
	time.Sleep(100 * time.Millisecond)
	a.approve(s.Run, step.Authorization, evidence.Approve)
	asked.Wait()
	one, other := <-held, <-held
	if one.State != api.StepAllowed || one.Authorization == step.Authorization || one.Authorization != other.Authorization {
		t.Errorf("approved: %+v\n%+v", one, other)
	}
	if n := a.count(s.Run, evidence.KindAuthorization); n != 2 {
		t.Errorf("%d authorizations: want the question, and one use of the answer", n)
	}
	twice[api.Outcome](a, 200, "PUT", run+"/steps/refund/outcome", `{"attempt":1,"status":"success"}`)
	// And one that she refuses.
	step = read[api.Step](t, a.send("PUT", run+"/steps/second", body), 200)
	a.approve(s.Run, step.Authorization, evidence.Refuse)
	if got := twice[api.Step](a, 200, "PUT", run+"/steps/second", body); got.State != api.StepDenied || got.Refusal == nil {
		t.Errorf("refused: %+v", got)
	}
	for _, wait := range []string{"6m", "-1s", "soon", "1"} {
		if got := a.send("PUT", run+"/steps/refund?wait="+wait, body); got.status != 400 {
			t.Errorf("wait=%s: %d", wait, got.status)
		}
	}
	a.sound(s.Run)
}

// TestAgentsLie: a claim that the evidence does not support does not complete a run.
func TestAgentsLie(t *testing.T) {
	a := newAgents(t, nil, 0)
	run := "/v1/runs/complaint-1"
	s := read[api.RunState](t, a.send("PUT", run, `{"task":"complaint"}`), 200)
	if got := a.send("POST", run+"/claims", `{"text":"all done","steps":["notify"]}`); got.status != 422 || got.problem.Reason != api.ReasonNoStep {
		t.Errorf("a claim about a step that is not: %d %s", got.status, got.body)
	}
	claim := twice[api.Claim](a, 200, "POST", run+"/claims", `{"text":"all done"}`)
	if claim.Verdict.Holds || claim.Verdict.Result != evidence.Unsupported || len(claim.Verdict.Why) == 0 {
		t.Errorf("a lie: %+v", claim)
	}
	got := a.send("POST", run+"/close", `{"end":"completed"}`)
	if got.status != 409 || got.problem.Reason != api.ReasonUnsupported || got.problem.Verdict.ID != claim.Verdict.ID || got.problem.Verdict.Result != evidence.Unsupported ||
		len(got.problem.Evidence) != 2 || got.problem.Evidence[0] != claim.ID {
		t.Errorf("completed on a lie: %d %s", got.status, got.body)
	}
	// In doubt, nobody ends it; reported, it can be said to have failed.
	read[api.Step](t, a.send("PUT", run+"/steps/crm", `{"action":"update_crm","input":1,"asker":"p"}`), 200)
	if got := a.send("POST", run+"/close", `{"end":"failed","reason":"tool_failed"}`); got.status != 409 || got.problem.Reason != api.ReasonInDoubt || len(got.problem.Evidence) != 1 {
		t.Errorf("ended in doubt: %d %s", got.status, got.body)
	}
	read[api.Outcome](t, a.send("PUT", run+"/steps/crm/outcome", `{"attempt":1,"status":"not_run"}`), 200)
	if got := twice[api.RunState](a, 200, "POST", run+"/close", `{"end":"failed","reason":"tool_failed"}`); got.End != evidence.Failed || got.Reason != "tool_failed" {
		t.Errorf("failed: %+v", got)
	}
	a.sound(s.Run)
}

// TestAgentsGateway: that a call was made by whoever reports it, is said by those alone
// who hold the right to.
func TestAgentsGateway(t *testing.T) {
	a := newAgents(t, nil, 0)
	gateway := a.Grant(daemontest.Agent, api.RightAct, api.RightGateway)
	run := "/v1/runs/complaint-1"
	s := read[api.RunState](t, a.send("PUT", run, `{"task":"complaint"}`), 200)
	for _, step := range []string{"crm", "later"} {
		read[api.Step](t, a.send("PUT", run+"/steps/"+step, `{"action":"update_crm","input":1,"asker":"p"}`), 200)
	}
	made := `{"attempt":1,"status":"success","output":1,"source":"runtime"}`
	if got := a.send("PUT", run+"/steps/crm/outcome", made); got.status != 403 || got.problem.Reason != api.ReasonRight {
		t.Errorf("an agent's word for the runtime's: %d %s", got.status, got.body)
	}
	if got := a.as(gateway, "PUT", run+"/steps/crm/outcome", `{"attempt":1,"status":"success","output":1,"source":"confirmed"}`); got.status != 422 {
		t.Errorf("the tool's own word: %d %s", got.status, got.body)
	}
	if got := read[api.Outcome](t, a.as(gateway, "PUT", run+"/steps/crm/outcome", made), 200); got.Source != evidence.SourceRuntime {
		t.Errorf("%+v", got)
	}
	if got := a.send("PUT", run+"/steps/crm/outcome", `{"attempt":1,"status":"success","output":1}`); got.status != 409 {
		t.Errorf("a report beside what the runtime saw: %d %s", got.status, got.body)
	}
	// Finished later: what the gateway was told then counts as the runtime's, too.
	read[api.Outcome](t, a.as(gateway, "PUT", run+"/steps/later/outcome", `{"attempt":1,"status":"accepted","source":"runtime"}`), 200)
	if got := read[api.Outcome](t, a.as(gateway, "PUT", run+"/steps/later/outcome", made), 200); got.Source != evidence.SourceRuntime || got.Settlement == nil {
		t.Errorf("%+v", got)
	}
	a.sound(s.Run)
}

// TestAgentsNothingButSupportedCompletes: over HTTP, too, no run is completed over a
// verdict that does not let it; and no_contract is shown, and completes a run where
// the operator did not ask for more.
func TestAgentsNothingButSupportedCompletes(t *testing.T) {
	crm := func(outcome string) func(*agents, string) {
		return func(a *agents, run string) {
			read[api.Step](t, a.send("PUT", run+"/steps/crm", `{"action":"update_crm","input":1,"asker":"p"}`), 200)
			if outcome != "" {
				read[api.Outcome](t, a.send("PUT", run+"/steps/crm/outcome", `{"attempt":1,"status":"`+outcome+`"}`), 200)
			}
		}
	}
	mail := func(a *agents, run string) {
		read[api.Step](t, a.send("POST", run+"/steps/mail/run", `{"tool":"email","input":{"to":"mia"}}`), 200)
	}
	wipe := func(a *agents, run string) {
		read[api.Step](t, a.send("PUT", run+"/steps/wipe", `{"action":"delete_all","input":{},"asker":"p"}`), 200)
		read[api.Outcome](t, a.send("PUT", run+"/steps/wipe/outcome", `{"attempt":1,"status":"success"}`), 200)
	}
	erase := func(a *agents, run string) {
		for p, err := range a.Ledger.Run(t.Context(), a.host.RunID(strings.TrimPrefix(run, "/v1/runs/"))) {
			if err != nil {
				t.Fatal(err)
			}
			if b, ok := p.Record.Body.(*evidence.RunOpened); ok {
				if _, err := a.Ledger.Erase(t.Context(), b.Contract.Document.Commit, "request"); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
	}
	type does = []func(*agents, string)
	for _, c := range []struct {
		name, task  string
		need        bool
		before      does // the claim
		since       does
		want, close evidence.Result // of the claim, and what the close is refused for; "": it is not
		reason      string
	}{
		{"supported", "complaint", true, does{crm("success"), mail}, nil, evidence.Supported, "", ""},
		{"unsupported", "complaint", false, does{mail}, nil, evidence.Unsupported, evidence.Unsupported, api.ReasonUnsupported},
		{"failed", "complaint", false, does{mail, crm("failure")}, nil, evidence.Contradicted, evidence.Contradicted, api.ReasonUnsupported},
		{"forbidden", "complaint", false, does{crm("success"), mail, wipe}, nil, evidence.Contradicted, evidence.Contradicted, api.ReasonUnsupported},
		{"forbidden-since", "complaint", false, does{crm("success"), mail}, does{wipe}, evidence.Supported, evidence.Contradicted, api.ReasonUnsupported},
		{"in-doubt", "complaint", false, does{mail, crm("")}, nil, evidence.InDoubt, "", api.ReasonInDoubt},
		{"accepted", "complaint", false, does{mail, crm("accepted")}, nil, evidence.InDoubt, evidence.InDoubt, api.ReasonUnsupported},
		{"undisclosed", "complaint", false, does{crm("success"), mail, erase}, nil, evidence.Undisclosed, evidence.Undisclosed, api.ReasonUnsupported},
		{"no-contract", "other", false, does{mail}, nil, evidence.NoContract, "", ""},
		{"no-contract-and-needed", "other", true, does{mail}, nil, evidence.NoContract, evidence.NoContract, api.ReasonUnsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAgents(t, func(cfg *runtime.Config) {
				cfg.NeedContract, cfg.Permit = c.need, permits(evidence.Observe)
			}, 0)
			run := "/v1/runs/" + c.name
			s := read[api.RunState](t, a.send("PUT", run, `{"task":"`+c.task+`"}`), 200)
			for _, f := range c.before {
				f(a, run)
			}
			claim := twice[api.Claim](a, 200, "POST", run+"/claims", `{"text":"all done"}`)
			for _, f := range c.since {
				f(a, run)
			}
			completes := c.close == "" && c.reason == ""
			if claim.Verdict.Result != c.want || claim.Verdict.Holds != (completes || len(c.since) > 0) {
				t.Errorf("claimed: %+v", claim)
			}
			notes := strings.Join(claim.Verdict.Notes, "; ")
			if (c.task == "other") != strings.Contains(notes, "statement 0 asserts nothing and cites nothing") || (c.task == "other") != strings.Contains(notes, "the run has no contract") {
				t.Errorf("shown: %q", notes)
			}
			for _, body := range []string{"", `{"end":"completed"}`} {
				got := a.send("POST", run+"/close", body)
				switch {
				case completes:
					if got.status != 200 {
						t.Errorf("not completed: %d %s", got.status, got.body)
					}
				case got.status != 409 || got.problem.Reason != c.reason || c.close != "" && got.problem.Verdict.Result != c.close:
					t.Errorf("closed: %d %s", got.status, got.body)
				}
			}
			state := read[api.RunState](t, a.send("GET", run+"/state", ""), 200)
			if (state.End == evidence.Completed) != completes || state.Verdict != c.want {
				t.Errorf("state: %+v", state)
			}
			a.sound(s.Run)
		})
	}
}

// TestAgentsTokens: a token acts as its own actor, and only with the right to.
func TestAgentsTokens(t *testing.T) {
	a := newAgents(t, nil, 0)
	if _, err := a.Ledger.Register(context.Background(), a.Root, &evidence.ActorRegistered{Name: "other", Role: evidence.RoleAgent, Host: a.Dir.Runtime}); err != nil {
		t.Fatal(err)
	}
	run := "/v1/runs/mine"
	s := read[api.RunState](t, a.send("PUT", run, `{"task":"x"}`), 200)
	read[api.Step](t, a.send("PUT", run+"/steps/a", `{"action":"update_crm","input":1,"asker":"p"}`), 200)
	size := a.Ledger.Head().Size
	other := a.Grant("other", api.RightAct, api.RightRecord, api.RightRead)
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/v1/runs/theirs", `{"task":"x","agent":"support"}`},
		{"PUT", run + "/steps/a", `{"action":"update_crm","input":1,"asker":"p"}`},
		{"PUT", run + "/steps/b", `{"action":"update_crm","input":1}`},
		{"PUT", run + "/steps/a/outcome", `{"attempt":1,"status":"success"}`},
		{"POST", run + "/steps/m/run", `{"tool":"email","input":{"to":"mia"}}`},
		{"PUT", run + "/decisions/d", `{"model":"m","choice":1}`},
		{"GET", run + "/decisions/d", ""},
		{"POST", run + "/context", `{"sources":[{"name":"a","text":"b"}]}`},
		{"PUT", run + "/checkpoints/c", `1`},
		{"GET", run + "/checkpoints", ""},
		{"POST", run + "/claims", `{"text":"done"}`},
		{"POST", run + "/close", `{"end":"stopped"}`},
	} {
		if got := a.as(other, c.method, c.path, c.body); got.status != 403 || got.problem.Reason != api.ReasonOtherActor {
			t.Errorf("%s %s by another: %d %s", c.method, c.path, got.status, got.body)
		}
		if got := a.as(a.Grant("support", api.RightRecord, api.RightRead, api.RightPayloads, api.RightApprove, api.RightAdminister), c.method, c.path, c.body); got.status != 403 || got.problem.Reason != api.ReasonRight {
			t.Errorf("%s %s without the right: %d %s", c.method, c.path, got.status, got.body)
		}
	}
	// Nor does another agent have a run resumed that is not in memory.
	away, err := a.elsewhere().Open(t.Context(), "away", runtime.As(daemontest.Agent), runtime.Task("x", nil))
	if err != nil {
		t.Fatal(err)
	}
	away.Leave(t.Context())
	size++ // its run.opened
	if got := a.as(other, "PUT", "/v1/runs/away/steps/b", `{"action":"update_crm","input":1}`); got.status != 403 || got.problem.Reason != api.ReasonOtherActor {
		t.Errorf("another's run that is not in memory: %d %s", got.status, got.body)
	}
	// The key of a run is one run's: another agent cannot have it.
	if got := a.as(other, "PUT", run, `{"task":"x"}`); got.status != 409 && got.status != 403 {
		t.Errorf("another's key: %d %s", got.status, got.body)
	}
	if got := a.as(a.Grant("other", api.RightAct), "GET", run+"/state", ""); got.status != 403 {
		t.Errorf("another's state: %d", got.status)
	}
	if now := a.Ledger.Head().Size; now != size || a.sent.Load() != 0 {
		t.Errorf("%d records and %d emails by another agent", now-size, a.sent.Load())
	}
	// The runtime's own token acts for those that it hosts, and an agent as an
	// instance of itself.
	if got := read[api.RunState](t, a.as(a.Token, "PUT", "/v1/runs/hosted", `{"task":"x","agent":"other"}`), 200); got.Agent != "other" {
		t.Errorf("by the runtime: %+v", got)
	}
	if got := read[api.RunState](t, a.send("PUT", "/v1/runs/instance", `{"task":"x","agent":"support/7"}`), 200); got.Agent != "support/7" {
		t.Errorf("an instance: %+v", got)
	}
	read[api.Step](t, a.send("PUT", "/v1/runs/instance/steps/a", `{"action":"update_crm","input":1}`), 200)
	if got := a.send("PUT", "/v1/runs/unregistered", `{"task":"x","agent":"support/x"}`); got.status != 403 {
		t.Errorf("no instance: %d %s", got.status, got.body)
	}
	if got := a.as(a.Token, "PUT", "/v1/runs/unregistered", `{"task":"x","agent":"nobody"}`); got.status != 403 {
		t.Errorf("an agent that is not: %d %s", got.status, got.body)
	}
	a.sound(s.Run)
}

// TestAgentsHostile: keys, names and bodies that are none are refused, and leave
// nothing.
func TestAgentsHostile(t *testing.T) {
	a := newAgents(t, nil, 0)
	read[api.RunState](t, a.send("PUT", "/v1/runs/key", `{"task":"x"}`), 200)
	size := a.Ledger.Head().Size
	long := strings.Repeat("k", 201)
	for _, path := range []string{
		"/v1/runs/run_x", "/v1/runs/run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11", "/v1/runs/a%2Fb", "/v1/runs/a%00b", "/v1/runs/a%0Ab", "/v1/runs/%2e%2e",
		"/v1/runs/" + long, "/v1/runs/a%20b", "/v1/runs/a%C3%A9", `/v1/runs/a"b`, "/v1/runs/a<b", "/v1/runs/a|b", "/v1/runs/a\\b", "/v1/runs/a[b", "/v1/runs/a^b",
	} {
		for _, more := range []string{"", "/steps/s"} {
			body := `{"task":"x"}`
			if more != "" {
				body = `{"action":"update_crm","input":1}`
			}
			if got := a.raw("PUT", path+more, body); got != 400 && got != 404 {
				t.Errorf("PUT %q: %d", path+more, got)
			}
		}
	}
	for _, path := range []string{"/steps/" + long, "/steps/a%2Fb", "/steps/a%1Bb", "/steps/a%E2%80%AEb", `/steps/a"b`, "/decisions/" + long, "/checkpoints/" + long, "/steps/..", "/steps/"} {
		if got := a.raw("PUT", "/v1/runs/key"+path, `{"action":"update_crm","input":1}`); got != 400 && got != 404 && got != 405 {
			t.Errorf("PUT %q: %d", path, got)
		}
	}
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{"/v1/runs/other", ``, 422},
		{"/v1/runs/other", `{"task":""}`, 422},
		{"/v1/runs/other", `{"task":"a b"}`, 422},
		{"/v1/runs/other", `{"task":"x","task":"y"}`, 400},
		{"/v1/runs/other", `{"task":"x","tsk":"y"}`, 400},
		{"/v1/runs/other", "{\"task\":\"\xff\"}", 400},
		{"/v1/runs/other", `{"task":"x"} {}`, 400},
		{"/v1/runs/other", `[]`, 400},
		{"/v1/runs/other", `{"task":"x","budget":{"euros":1}}`, 422},
		{"/v1/runs/other", `{"task":"x","budget":{"tokens":-1}}`, 422},
		{"/v1/runs/other", `{"task":"x","input":{"a":1,"a":2}}`, 400},
		{"/v1/runs/key/steps/s", `{"input":1}`, 422},
		{"/v1/runs/key/steps/s", `{"action":"a"}`, 422},
		{"/v1/runs/key/steps/s", `{"action":"a\nb","input":1}`, 422},
		{"/v1/runs/key/steps/s", `{"action":"a","input":1,"resource":"a b"}`, 422},
		{"/v1/runs/key/steps/s", `{"action":"a","input":1,"asker":"\u0000"}`, 422},
		{"/v1/runs/key/steps/s", `{"action":"a","input":1,"decision":"ev_x"}`, 400},
		{"/v1/runs/key/steps/s", `{"action":"a","tool":"email","input":{"to":"mia"}}`, 409},
		{"/v1/runs/key/steps/s", `{"action":"a","input":1,"estimate":{"tokens":1e99}}`, 400},
		{"/v1/runs/key/steps/s/outcome", `{"attempt":1,"status":"success"}`, 422}, // never asked
		{"/v1/runs/key/steps/s/outcome", `{"attempt":0,"status":"success"}`, 422},
		{"/v1/runs/key/steps/s/outcome", `{"attempt":1,"status":"done"}`, 422},
		{"/v1/runs/key/steps/s/outcome", `{"attempt":1,"status":"success","class":"tool_failed"}`, 422},
		{"/v1/runs/key/steps/s/outcome", `{"attempt":1,"status":"success","cost":{"x":1}}`, 422},
		{"/v1/runs/key/steps/s/outcome", `{"attempt":1,"status":"success","took_ms":-1}`, 422},
		{"/v1/runs/key/steps/s/outcome", `{"attempt":1,"status":"success","output_base64":"AA=="}`, 422},
		{"/v1/runs/key/decisions/d", `{"choice":1}`, 422},
		{"/v1/runs/key/decisions/d", `{"model":"m"}`, 422},
		{"/v1/runs/key/checkpoints/c", `{`, 422},
		{"/v1/runs/key/checkpoints/c", ``, 422},
		{"/v1/runs/key/checkpoints/c", `"` + strings.Repeat("x", 1<<20) + `"`, 422},
		{"/v1/runs/key/checkpoints/c", `"` + strings.Repeat("x", 3<<20) + `"`, 413},
		{"/v1/runs/key/steps/s", `{"action":"a","input":"` + strings.Repeat("x", 3<<20) + `"}`, 413},
		{"/v1/runs/nobody/steps/s", `{"action":"a","input":1}`, 404},
	} {
		if got := a.send("PUT", c.path, c.body); got.status != c.status {
			t.Errorf("PUT %s %.60s: want %d, found %d %s", c.path, c.body, c.status, got.status, got.body)
		}
	}
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{"/context", `{}`, 422},
		{"/context", `{"sources":[{"name":"a b","text":"x"}]}`, 422},
		{"/context", `{"sources":[` + strings.Repeat(`{"name":"a","text":"x"},`, 100) + `{"name":"a","text":"x"}]}`, 422},
		{"/claims", `{}`, 422},
		{"/close", `{"end":"perfect"}`, 422},
		{"/close", `{"end":"failed","reason":"a b"}`, 422},
		{"/close", `{"end":"completed","reason":"a"}`, 422},
		{"/steps/s/run", `{"tool":"email"}`, 422},
	} {
		if got := a.send("POST", "/v1/runs/key"+c.path, c.body); got.status != c.status {
			t.Errorf("POST %s %.60s: want %d, found %d %s", c.path, c.body, c.status, got.status, got.body)
		}
	}
	if now := a.Ledger.Head().Size; now != size {
		t.Errorf("%d records of what was refused", now-size)
	}
	// What is deep and legal, and what is large and public, is no reason to fall over.
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	if got := a.send("PUT", "/v1/runs/key/steps/deep", `{"action":"a","input":`+deep+`,"asker":"p"}`); got.status != 200 {
		t.Errorf("deep: %d %.200s", got.status, got.body)
	}
	if got := a.send("PUT", "/v1/runs/key/steps/public", `{"action":"a","input":{"a":"`+strings.Repeat("x", 100<<10)+`"},"params":["a"]}`); got.status != 200 {
		t.Errorf("public: %d %.200s", got.status, got.body)
	}
}

// raw sends a request whose path no client would, and returns the status.
func (a *agents) raw(method, path, body string) int {
	a.t.Helper()
	return say(a.t, dial(a.t, a.Daemon), method+" "+path+" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+a.token+
		fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
}

// TestAgentsTwoClients: two of them go through the same run at once, and everything
// is done once.
func TestAgentsTwoClients(t *testing.T) {
	a := newAgents(t, nil, 0)
	run := "/v1/runs/shared"
	const steps = 12
	var both sync.WaitGroup
	var allowed, succeeded [2]atomic.Int64
	for client := range 2 {
		both.Go(func() {
			asker := fmt.Sprintf("p-%d", client)
			read[api.RunState](t, a.send("PUT", run, `{"task":"x","input":{"a":1}}`), 200)
			for i := range steps {
				mail := read[api.Step](t, a.send("POST", fmt.Sprintf("%s/steps/mail-%d/run", run, i), `{"tool":"email","input":{"to":"mia"}}`), 200)
				if mail.State == api.StepSucceeded {
					succeeded[client].Add(1)
				}
				path := fmt.Sprintf("%s/steps/own-%d", run, i)
				got := read[api.Step](t, a.send("PUT", path, fmt.Sprintf(`{"action":"update_crm","input":%d,"asker":%q}`, i, asker)), 200)
				if got.State == api.StepAllowed {
					allowed[client].Add(1)
					read[api.Outcome](t, a.send("PUT", path+"/outcome", `{"attempt":1,"status":"success","output":1}`), 200)
				}
			}
		})
	}
	both.Wait()
	if got := a.sent.Load(); got != steps || succeeded[0].Load() != steps || succeeded[1].Load() != steps {
		t.Errorf("%d emails, %d and %d times told", got, succeeded[0].Load(), succeeded[1].Load())
	}
	if n := allowed[0].Load() + allowed[1].Load(); n != steps {
		t.Errorf("%d times permitted, want %d", n, steps)
	}
	s := read[api.RunState](t, a.send("GET", run+"/state", ""), 200)
	if len(s.InDoubt) != 0 || a.count(s.Run, evidence.KindExecution) != 2*steps || a.count(s.Run, evidence.KindRunResumed) != 0 {
		t.Errorf("%+v", s)
	}
	a.sound(s.Run)
}

// elsewhere is the same runtime in another process.
func (a *agents) elsewhere() *runtime.Runtime {
	a.t.Helper()
	rt, err := runtime.New(runtime.Config{Ledger: runtime.Embedded{Ledger: a.Ledger.Ledger}, Origin: daemontest.Origin, Actor: a.Dir.Runtime, Key: a.Key, Permit: permits(evidence.Enforce)})
	if err != nil {
		a.t.Fatal(err)
	}
	return rt
}

// TestAgentsPutAway: a run that nobody asks for is put away, its lease given back,
// and nothing is recorded when somebody asks again; another driver may have it
// meanwhile.
func TestAgentsPutAway(t *testing.T) {
	a := newAgents(t, nil, 20*time.Millisecond)
	run := "/v1/runs/idle"
	s := read[api.RunState](t, a.send("PUT", run, `{"task":"x"}`), 200)
	body := `{"action":"update_crm","input":1,"asker":"p-1"}`
	first := read[api.Step](t, a.send("PUT", run+"/steps/a", body), 200)
	free := func() {
		t.Helper()
		for range 500 {
			if err := a.Ledger.Lease(t.Context(), s.Run, "somebody", time.Minute, false); err == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal("the lease was never given back")
	}
	free()
	got := a.send("PUT", run+"/steps/a", body)
	if got.status != 409 || got.problem.Reason != api.ReasonLeased || got.problem.Until == nil {
		t.Errorf("while another has it: %d %s", got.status, got.body)
	}
	if err := a.Ledger.Lease(t.Context(), s.Run, "somebody", 0, false); err != nil {
		t.Fatal(err)
	}
	if again := read[api.Step](t, a.send("PUT", run+"/steps/a", body), 200); again.State != api.StepAllowed || again.Authorization != first.Authorization {
		t.Errorf("the same asker: %+v", again)
	}
	if n := a.count(s.Run, evidence.KindRunResumed); n != 0 {
		t.Errorf("%d times resumed, by the driver that had it", n)
	}
	// Somebody takes it over by force: the run goes on after him.
	other, err := a.elsewhere().Open(t.Context(), "idle", runtime.Reopen(), runtime.TakeOver())
	if err != nil {
		t.Fatal(err)
	}
	if got := a.send("PUT", run+"/steps/b", body); got.status != 409 || got.problem.Reason != api.ReasonLeased {
		t.Errorf("taken over: %d %s", got.status, got.body)
	}
	other.Leave(t.Context())
	if got := read[api.Step](t, a.send("PUT", run+"/steps/b", body), 200); got.State != api.StepAllowed {
		t.Errorf("after him: %+v", got)
	}
	if n := a.count(s.Run, evidence.KindRunResumed); n != 2 {
		t.Errorf("%d times resumed, want once by him and once after him", n)
	}
	a.sound(s.Run)
}

// TestAgentsHungUp: who hangs up in the middle of a call finds its outcome later.
func TestAgentsHungUp(t *testing.T) {
	a := newAgents(t, nil, 0)
	run := "/v1/runs/slow"
	s := read[api.RunState](t, a.send("PUT", run, `{"task":"x"}`), 200)
	ctx, hangUp := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", a.URL+run+"/steps/s/run", strings.NewReader(`{"tool":"slow","input":1}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	done := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		done <- err
	}()
	for a.sent.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	hangUp()
	if err := <-done; err == nil {
		t.Error("nobody hung up")
	}
	time.Sleep(50 * time.Millisecond)
	close(a.slow)
	got := read[api.Step](t, a.send("POST", run+"/steps/s/run", `{"tool":"slow","input":1}`), 200)
	if got.State != api.StepSucceeded || a.sent.Load() != 1 {
		t.Errorf("%+v, %d calls", got, a.sent.Load())
	}
	a.sound(s.Run)
}

// TestAgentsHearProgress: what a long call has to tell is told while it lasts; the
// last event is what would have been answered.
func TestAgentsHearProgress(t *testing.T) {
	a := newAgents(t, nil, 0)
	run := "/v1/runs/told"
	s := read[api.RunState](t, a.send("PUT", run, `{"task":"x"}`), 200)
	events := func(path, body string) (*http.Response, *bufio.Scanner) {
		req, err := http.NewRequestWithContext(t.Context(), "POST", a.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+a.token)
		req.Header.Set("Accept", api.MediaEvents)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp, bufio.NewScanner(resp.Body)
	}
	resp, lines := events(run+"/steps/s/run", `{"tool":"slow","input":1}`)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != api.MediaEvents {
		t.Fatalf("%s %s", resp.Status, resp.Header)
	}
	want := func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !lines.Scan() || !strings.HasPrefix(lines.Text(), text) {
				t.Fatalf("want %q, found %q, %v", text, lines.Text(), lines.Err())
			}
		}
	}
	want("event: progress", `data: {"text":"half\nway"}`, "", "event: progress", `data: {"base64":"/w=="}`, "")
	if n := a.count(s.Run, evidence.KindExecution); n != 0 {
		t.Errorf("%d executions while it lasts", n)
	}
	close(a.slow)
	want("event: step", `data: {`)
	if !strings.Contains(lines.Text(), `"state":"succeeded"`) {
		t.Errorf("%s", lines.Text())
	}
	// What is recorded is told at once; what cannot be begun is a problem.
	resp, lines = events(run+"/steps/s/run", `{"tool":"slow","input":1}`)
	if resp.StatusCode != 200 {
		t.Errorf("again: %s", resp.Status)
	}
	want("event: step", `data: {`)
	if resp, _ := events(run+"/steps/t/run", `{"tool":"nothing","input":1}`); resp.StatusCode != 422 || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("no such tool: %s %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	a.sound(s.Run)
}

// TestAgentsObserve: what would be denied is done, and said to be.
func TestAgentsObserve(t *testing.T) {
	a := newAgents(t, func(c *runtime.Config) { c.Permit = permits(evidence.Observe) }, 0)
	run := "/v1/runs/observed"
	s := read[api.RunState](t, a.send("PUT", run, `{"task":"x"}`), 200)
	for step, action := range map[string]string{"wipe": "delete_all", "refund": "refund"} {
		body := fmt.Sprintf(`{"action":%q,"input":1,"asker":"p"}`, action)
		got := twice[api.Step](a, 200, "PUT", run+"/steps/"+step, body)
		if got.State != api.StepAllowed || got.Mode != evidence.Observe || got.Effect == evidence.Allow {
			t.Errorf("%s: %+v", action, got)
		}
		twice[api.Outcome](a, 200, "PUT", run+"/steps/"+step+"/outcome", `{"attempt":1,"status":"success"}`)
		if got := twice[api.Step](a, 200, "PUT", run+"/steps/"+step, body); got.State != api.StepSucceeded || got.Mode != evidence.Observe {
			t.Errorf("%s: %+v", action, got)
		}
	}
	a.sound(s.Run)
}

// TestAgentsBudget: what the budget does not permit is recorded once, however often
// it is asked for.
func TestAgentsBudget(t *testing.T) {
	a := newAgents(t, nil, 0)
	run := "/v1/runs/poor"
	s := read[api.RunState](t, a.send("PUT", run, `{"task":"x","budget":{"usd_micro":4}}`), 200)
	got := twice[api.Step](a, 200, "POST", run+"/steps/mail/run", `{"tool":"email","input":{"to":"mia"}}`)
	if got.State != api.StepFailed || got.Class != evidence.BudgetExceeded || a.sent.Load() != 0 || got.Outcome.Status != evidence.StatusNotRun {
		t.Errorf("%+v", got)
	}
	own := twice[api.Step](a, 200, "PUT", run+"/steps/own", `{"action":"update_crm","input":1,"asker":"p","estimate":{"usd_micro":5}}`)
	if own.State != api.StepFailed || own.Class != evidence.BudgetExceeded {
		t.Errorf("%+v", own)
	}
	a.sound(s.Run)
}

// TestAgentsNotConfigured: a daemon without a runtime's key says so.
func TestAgentsNotConfigured(t *testing.T) {
	d := daemontest.New(t, nil)
	for _, path := range []string{"/v1/runs/key", "/v1/runs/key/steps/s", "/v1/runs/key/checkpoints/c"} {
		if got := request(t, "PUT", d.URL+path, strings.NewReader(`{}`), "Authorization", "Bearer "+d.Token); got.status != 501 || got.problem.Reason != api.ReasonNotConfigured {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}
