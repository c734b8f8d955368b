package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/datadir"
	"ledgerd/ledger"
)

// ticketServer is a server of tickets, which counts effects: what it did, by key.
type ticketServer struct {
	*httptest.Server
	mu      sync.Mutex
	tickets map[string]int
	calls   int
	hold    chan struct{} // not nil: a ticket is made, and nobody hears of it before this is closed
	holding chan string   // told of each that is held
}

func newTicketServer(t *testing.T) *ticketServer {
	s := &ticketServer{tickets: make(map[string]int), holding: make(chan string, 16)}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *ticketServer) serve(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	s.mu.Lock()
	if r.Method == http.MethodGet { // the probe
		n := s.tickets[strings.TrimPrefix(r.URL.Path, "/done/")]
		s.mu.Unlock()
		if n == 0 {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, `{"made":%d}`, n)
		return
	}
	s.calls++
	if r.URL.Path == "/probed" || s.tickets[key] == 0 { // the other one drops what it had
		s.tickets[key]++
	}
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		s.holding <- key
		<-hold
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"id":"T-1"}`)
}

const killPolicies = `
@id("everything") permit (principal == Agent::"support", action, resource);
@id("but-this") forbid (principal, action == Action::"delete", resource);
`

// agentDir makes a ledger with an agent, and what a daemon needs to drive runs. It
// returns the flags, and the agent's token.
func agentDir(t *testing.T, s *ticketServer) (dir *datadir.Dir, flags []string, token string) {
	t.Helper()
	dir, _, _ = newDir(t)
	l, err := dir.Ledger(t.Context(), datadir.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	root, err := dir.Root()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Register(t.Context(), root, &evidence.ActorRegistered{Name: "support", Role: evidence.RoleAgent, Host: dir.Runtime}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	tokens, err := dir.Tokens()
	if err != nil {
		t.Fatal(err)
	}
	issued, err := tokens.Add(api.NewToken{Actor: "support", Rights: []api.Right{api.RightAct}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	etc := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(etc, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	host := strings.TrimPrefix(s.URL, "http://")
	tools := write("tools.json", fmt.Sprintf(`{"tools":[
		{"name":"ticket","idempotent":true,"timeout":"1s","http":{"url":"%[1]s/idempotent","hosts":[{"name":%[2]q,"plain":true}]}},
		{"name":"probed","timeout":"1s","http":{"url":"%[1]s/probed","hosts":[{"name":%[2]q,"plain":true}],"probe":"%[1]s/done/{key}"}}]}`, s.URL, host))
	policies := write("policies/all.cedar", killPolicies)
	contracts := write("contracts/tickets.json", `{"contract":"v1","task":"tickets","weakest_source":"reported","expects":[{"action":"ticket"},{"action":"probed"},{"action":"own"}]}`)
	return dir, []string{"--tools", tools, "--policies", filepath.Dir(policies), "--contracts", filepath.Dir(contracts)}, issued.Secret
}

// agentClient is an agent that does not give up: what it got no answer for, and what
// somebody else has for the moment, it sends again.
type agentClient struct {
	t     *testing.T
	url   func() string
	token string
}

func (a *agentClient) send(method, path, body string) (int, []byte) {
	a.t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	for {
		req, err := http.NewRequest(method, a.url()+"/v1/runs/"+path, strings.NewReader(body))
		if err != nil {
			a.t.Error(err)
			return 0, nil
		}
		req.Header.Set("Authorization", "Bearer "+a.token)
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			b, readErr := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err = readErr; err == nil && resp.StatusCode < 500 && !bytes.Contains(b, []byte(`"reason":"leased"`)) {
				return resp.StatusCode, b
			}
		}
		if time.Now().After(deadline) {
			a.t.Errorf("%s %s: no answer: %v", method, path, err)
			return 0, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (a *agentClient) ok(method, path, body string, into any) {
	a.t.Helper()
	status, b := a.send(method, path, body)
	if status != 200 {
		a.t.Errorf("%s %s: %d %s", method, path, status, b)
		return
	}
	if err := json.Unmarshal(b, into); err != nil {
		a.t.Errorf("%s %s: %v", method, path, err)
	}
}

// TestAgentsKilled kills the daemon while its tools are at work and after it gave
// permission, and goes on with the same requests: every effect happened once, as
// the server that had them counts.
func TestAgentsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits until a call of a dead daemon has certainly ended")
	}
	server := newTicketServer(t)
	dir, flags, token := agentDir(t, server)
	p := start(t, dir.Path, flags...)
	var mu sync.Mutex
	url := p.url
	a := &agentClient{t, func() string { mu.Lock(); defer mu.Unlock(); return url }, token}
	var s api.RunState
	a.ok("PUT", "k", `{"task":"tickets","input":{"n":1}}`, &s)
	var own api.Step
	a.ok("PUT", "k/steps/own", `{"action":"own","input":1,"asker":"p-1"}`, &own)

	server.mu.Lock()
	server.hold = make(chan struct{})
	server.mu.Unlock()
	var both sync.WaitGroup
	var ticket, probed api.Step
	both.Go(func() { a.ok("POST", "k/steps/ticket/run", `{"tool":"ticket","input":{"a":1}}`, &ticket) })
	both.Go(func() { a.ok("POST", "k/steps/probed/run", `{"tool":"probed","input":{"a":1}}`, &probed) })
	<-server.holding
	<-server.holding // both have had their effect, and nobody knows
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.read
	_ = p.Wait()
	server.mu.Lock()
	close(server.hold)
	server.hold = nil
	server.mu.Unlock()
	p = start(t, dir.Path, flags...)
	mu.Lock()
	url = p.url
	mu.Unlock()

	// The agent lives, and was permitted: its permission is the same, at once.
	since := time.Now()
	var again api.Step
	a.ok("PUT", "k/steps/own", `{"action":"own","input":1,"asker":"p-1"}`, &again)
	if again.State != api.StepAllowed || again.Authorization != own.Authorization || time.Since(since) > 5*time.Second {
		t.Errorf("the same asker, after %v: %+v", time.Since(since), again)
	}
	var out api.Outcome
	a.ok("PUT", "k/steps/own/outcome", `{"attempt":1,"status":"success"}`, &out)
	both.Wait()
	if ticket.State != api.StepSucceeded || probed.State != api.StepSucceeded {
		t.Errorf("%+v\n%+v", ticket, probed)
	}
	var state api.RunState
	a.ok("PUT", "k", `{"task":"tickets","input":{"n":1}}`, &state)
	if len(state.InDoubt) != 0 || state.Run != s.Run {
		t.Errorf("%+v", state)
	}
	var claim api.Claim
	a.ok("POST", "k/claims", `{"text":"done","steps":["own","ticket","probed"]}`, &claim)
	a.ok("POST", "k/close", ``, &state)
	if state.End != evidence.Completed || !claim.Verdict.Holds {
		t.Errorf("%+v\n%+v", claim, state)
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.read
	if err := p.Wait(); err != nil {
		t.Errorf("SIGTERM: %v: %s", err, p.stderr)
	}
	server.mu.Lock()
	for key, n := range server.tickets {
		if n != 1 {
			t.Errorf("%s happened %d times", key, n)
		}
	}
	if len(server.tickets) != 2 || server.calls != 3 {
		t.Errorf("%d effects in %d calls, want 2 in 3: the idempotent one again, the other probed", len(server.tickets), server.calls)
	}
	server.mu.Unlock()
	auditRun(t, dir, s.Run, map[evidence.Kind]int{evidence.KindRunResumed: 1, evidence.KindExecution: 2, evidence.KindSettlement: 1, evidence.KindAuthorization: 3})
	if strings.Contains(p.stderr.String(), token) {
		t.Error("a secret in what the daemon says")
	}
}

// auditRun audits a run, and counts its records of some kinds.
func auditRun(t *testing.T, dir *datadir.Dir, run evidence.RunID, want map[evidence.Kind]int) {
	t.Helper()
	l, err := dir.Ledger(t.Context(), datadir.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(map[evidence.Kind]int)
	for p, err := range l.Run(t.Context(), run) {
		if err != nil {
			t.Fatal(err)
		}
		got[p.Record.Kind]++
	}
	for kind, n := range want {
		if got[kind] != n {
			t.Errorf("%d of %s, want %d", got[kind], kind, n)
		}
	}
	var b bytes.Buffer
	if err := l.Export(t.Context(), &b, ledger.ExportOptions{Run: run}); err != nil {
		t.Fatal(err)
	}
	trust, err := l.Trust()
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.VerifyBundle(&b, trust, audit.Options{Run: run})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Rules {
		if r.Status == audit.Broken {
			for _, f := range r.Findings {
				t.Errorf("the audit: %s", f.String())
			}
		}
	}
}

// TestAgentsPolicies: without policies nothing is permitted, and the daemon says so;
// with them, a change is taken over without a restart, and a broken file leaves the
// old set in force and is complained about; observed, nothing is enforced.
func TestAgentsPolicies(t *testing.T) {
	server := newTicketServer(t)
	dir, flags, token := agentDir(t, server)
	policies := flags[3]
	stop := func(p *process) string {
		t.Helper()
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-p.read
		if err := p.Wait(); err != nil {
			t.Errorf("SIGTERM: %v: %s", err, p.stderr)
		}
		return p.stderr.String()
	}
	n := 0
	ask := func(p *process, action string) api.Step {
		t.Helper()
		n++
		a := &agentClient{t, func() string { return p.url }, token}
		var run api.RunState
		a.ok("PUT", "p", `{"task":"x"}`, &run)
		var step api.Step
		a.ok("PUT", fmt.Sprintf("p/steps/s-%d", n), fmt.Sprintf(`{"action":%q,"input":1}`, action), &step)
		return step
	}
	p := start(t, dir.Path)
	if got := ask(p, "own"); got.State != api.StepDenied {
		t.Errorf("without policies: %+v", got)
	}
	if said := stop(p); !strings.Contains(said, "agents may do nothing") {
		t.Errorf("without policies: %s", said)
	}

	p = start(t, dir.Path, flags...)
	if got := ask(p, "own"); got.State != api.StepAllowed || got.Policies[0] != "everything" {
		t.Errorf("permitted: %+v", got)
	}
	if got := ask(p, "delete"); got.State != api.StepDenied || got.Policies[0] != "but-this" {
		t.Errorf("forbidden: %+v", got)
	}
	change := func(text string, want string, until func(api.Step) bool) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(policies, "all.cedar"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if until(ask(p, "own")) {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("%s was never taken over", want)
	}
	change(strings.Replace(killPolicies, `"everything"`, `"renamed"`, 1), "a change", func(s api.Step) bool { return s.State == api.StepAllowed && s.Policies[0] == "renamed" })
	if err := os.WriteFile(filepath.Join(policies, "all.cedar"), []byte(`permit (principal`), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2500 * time.Millisecond) // it is read twice in that time
	if got := ask(p, "own"); got.State != api.StepAllowed || got.Policies[0] != "renamed" {
		t.Errorf("with a broken file: %+v", got)
	}
	change(killPolicies, "its repair", func(s api.Step) bool { return s.State == api.StepAllowed && s.Policies[0] == "everything" })
	if said := stop(p); !strings.Contains(said, "policies not reloaded") {
		t.Errorf("a broken file: %s", said)
	}

	p = start(t, dir.Path, append(flags, "--mode", "observe")...)
	got := ask(p, "delete")
	if got.State != api.StepAllowed || got.Effect != evidence.Deny || got.Mode != evidence.Observe {
		t.Errorf("observed: %+v", got)
	}
	c, err := client.New(p.url, client.Options{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(context.Background(), got.Authorization); err == nil {
		t.Error("a token with the right to act alone read a record")
	}
	if said := stop(p); !strings.Contains(said, "observed and not enforced") {
		t.Errorf("observed: %s", said)
	}
}
