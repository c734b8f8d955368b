package mcp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
)

// httpGatewayVar has the test binary be a gateway over HTTP: DAEMON TOKEN UPSTREAM FILE.
// It says where it is, and ends when its standard input does.
const httpGatewayVar = "LEDGERD_TEST_HTTP_GATEWAY"

func init() {
	if v := os.Getenv(httpGatewayVar); v != "" {
		beHTTPGateway(strings.Fields(v))
	}
}

func beHTTPGateway(f []string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	c, err := client.New(f[0], client.Options{Token: f[1]})
	fail(err)
	u, err := url.Parse(f[2])
	fail(err)
	run := killed{DaemonRun(c, always("session-1"), api.OpenRun{Task: "session"}), os.Getenv(killVar)}
	s := httptest.NewServer(NewHandler(Config{
		Server: "demo", Run: run, Asker: fmt.Sprintf("gateway-%d", os.Getpid()), Wait: time.Second, Pins: NewPins(f[3]), Names: new(Names), Log: slog.Default(),
	}, u, nil))
	fmt.Println(s.URL)
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// keeper is a server that keeps tasks, and answers with JSON and without sessions.
func keeper(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		m, err := parse(b)
		if err != nil {
			t.Error(err)
			return
		}
		result := map[string]string{
			"tools/list":   `{"tools":[{"name":"build","inputSchema":{"type":"object"}}]}`,
			"tools/call":   `{"task":{"taskId":"t-1","status":"working"}}`,
			"tasks/get":    `{"taskId":"t-1","status":"failed","statusMessage":"no disk"}`,
			"tasks/cancel": `{"taskId":"t-1","status":"cancelled"}`,
			"tasks/result": `{"content":[{"type":"text","text":"built"}]}`,
		}[m.method]
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+m.id+`,"result":`+result+`}`)
	}))
	t.Cleanup(s.Close)
	return s
}

const buildCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"build","arguments":{},"task":{"ttl":60000}}}`

func ofTask(method, task string) string {
	return `{"jsonrpc":"2.0","id":2,"method":"` + method + `","params":{"taskId":"` + task + `"}}`
}

// post posts a message, without a session.
func post(t testing.TB, url, message string) (string, error) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(message))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func mustPost(t testing.TB, url, message string) string {
	t.Helper()
	answer, err := post(t, url, message)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// handle serves a gateway over HTTP in front of a server.
func (h *house) handle(cfg Config, server *httptest.Server) (*Handler, string) {
	h.t.Helper()
	u, err := url.Parse(server.URL)
	if err != nil {
		h.t.Fatal(err)
	}
	p := NewHandler(cfg, u, nil)
	gateway := httptest.NewServer(p)
	h.t.Cleanup(func() {
		gateway.CloseClientConnections()
		gateway.Close()
		p.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return p, gateway.URL
}

// TestTaskOfAnother: what came of a task is recorded by a gateway that did not begin it,
// once, however its end is heard of.
func TestTaskOfAnother(t *testing.T) {
	for method, want := range map[string]string{"tasks/result": api.StepSucceeded, "tasks/get": api.StepFailed, "tasks/cancel": api.StepFailed} {
		t.Run(method, func(t *testing.T) {
			h := newHouse(t)
			server := keeper(t)
			_, first := h.handle(h.config("gateway-1"), server)
			if answer := mustPost(t, first, buildCall); !strings.Contains(answer, MetaEvidence) {
				t.Fatal(answer)
			}
			_, second := h.handle(h.config("gateway-2"), server)
			if answer := mustPost(t, second, ofTask(method, "t-2")); strings.Contains(answer, MetaEvidence) {
				t.Errorf("of a task that is nobody's: %s", answer)
			}
			if answer := mustPost(t, second, ofTask(method, "t-1")); !strings.Contains(answer, MetaEvidence) {
				t.Error(answer)
			}
			for _, url := range []string{second, first} {
				if answer := mustPost(t, url, ofTask(method, "t-1")); !strings.Contains(answer, `"result"`) || strings.Contains(answer, MetaEvidence) {
					t.Errorf("again: %s", answer)
				}
			}
			st := h.state()
			if len(st.Steps) != 1 || st.Steps[0].State != want {
				t.Errorf("%+v", st.Steps)
			}
			h.oneOutcome(st.Run)
			h.sound(st.Run)
		})
	}
}

// TestTaskStatus: of a task that has failed, or was cancelled, the client may hear by a
// notification alone, and that is recorded, once. Of another's task it passes.
func TestTaskStatus(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	status := func(task, status string) string {
		return `{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"` + task + `","status":"` + status + `"}}`
	}
	notes := []string{status("t-2", "failed"), status("t-1", "working"), status("t-1", "completed"), status("t-1", "failed"), status("t-1", "failed")}
	r := h.front(h.config("gateway-1"), scripted([]string{"build"}, func(m *message, say func(string)) {
		if m.method == "tools/call" {
			say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":{"task":{"taskId":"t-1","status":"working"}}}`)
			return
		}
		for _, note := range notes {
			say(note)
		}
	}))
	r.send(buildCall)
	r.next()
	r.send(`{"jsonrpc":"2.0","method":"notifications/go"}`)
	var heard []string
	for range notes {
		heard = append(heard, r.next())
	}
	slices.Sort(heard)
	slices.Sort(notes)
	if !slices.Equal(heard, notes) {
		t.Errorf("want %q, found %q", notes, heard)
	}
	h.recorded("session-1", map[string]string{"demo/build": "allow accepted failure "})
}

// TestTaskRecordedElsewhere: what another gateway recorded of a task stands, and the answer
// that came here passes as the server has it.
func TestTaskRecordedElsewhere(t *testing.T) {
	h := newHouse(t)
	r := h.front(h.config("gateway-1"), scripted([]string{"build"}, func(m *message, say func(string)) {
		answer := map[string]string{
			"tools/call":   `{"task":{"taskId":"t-1","status":"working"}}`,
			"tasks/result": `{"content":[{"type":"text","text":"built here"}]}`,
		}[m.method]
		say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":` + answer + `}`)
	}))
	r.send(buildCall)
	r.next()
	_, other := h.handle(h.config("gateway-2"), keeper(t))
	if answer := mustPost(t, other, ofTask("tasks/result", "t-1")); !strings.Contains(answer, MetaEvidence) {
		t.Error(answer)
	}
	r.send(ofTask("tasks/result", "t-1"))
	if answer := r.next(); !strings.Contains(answer, "built here") {
		t.Error(answer)
	}
	h.oneOutcome(h.state().Run)
}

// oneOutcome wants an acceptance and one settlement of it.
func (h *house) oneOutcome(run evidence.RunID) {
	h.t.Helper()
	kinds := make(map[evidence.Kind]int)
	for p, err := range h.Client(h.Token).Run(context.Background(), run) {
		if err != nil {
			h.t.Fatal(err)
		}
		kinds[p.Record.Kind]++
	}
	if kinds[evidence.KindExecution] != 1 || kinds[evidence.KindSettlement] != 1 {
		h.t.Errorf("want one acceptance, and one outcome: %v", kinds)
	}
}

// TestTaskNotRecorded: what came of a task is not heard before it is on record.
func TestTaskNotRecorded(t *testing.T) {
	h := newHouse(t)
	server := keeper(t)
	_, first := h.handle(h.config("gateway-1"), server)
	mustPost(t, first, buildCall)
	cfg := h.config("gateway-2")
	cfg.Run = &deaf{cfg.Run}
	_, second := h.handle(cfg, server)
	if answer := mustPost(t, second, ofTask("tasks/result", "t-1")); strings.Contains(answer, "built") || !strings.Contains(answer, "ask again") {
		t.Error(answer)
	}
	cfg.Observe = true
	_, observing := h.handle(cfg, server)
	if answer := mustPost(t, observing, ofTask("tasks/result", "t-1")); !strings.Contains(answer, "built") {
		t.Error(answer)
	}
}

// deaf is a run whose steps cannot be read.
type deaf struct{ Run }

func (*deaf) Step(context.Context, string) (*api.Step, error) {
	return nil, api.NewProblem(http.StatusServiceUnavailable, api.ReasonStopping, "the daemon is being stopped")
}

// TestTaskGatewayKilled: a gateway is killed once a task is accepted, and the next one
// records what came of it.
func TestTaskGatewayKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("what is tested are processes of their own, which the race detector does not see")
	}
	h := newHouse(t)
	server := keeper(t)
	token := h.Grant(daemontest.Agent, api.RightAct, api.RightRead, api.RightGateway)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	gateway := func(kill string) (url string, end func() error) {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %s", httpGatewayVar, h.URL, token, server.URL, h.pins.path), killVar+"="+kill)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(line), func() error { _ = in.Close(); return cmd.Wait() }
	}
	first, end := gateway("once it is recorded")
	if answer, err := post(t, first, buildCall); err == nil {
		t.Errorf("want it killed, found %s", answer)
	}
	if err := end(); err == nil {
		t.Error("it was not killed")
	}
	if st := h.state(); len(st.Steps) != 1 || st.Steps[0].State != api.StepAccepted {
		t.Fatalf("%+v", st.Steps)
	}
	next, end := gateway("")
	for range 2 {
		if answer := mustPost(t, next, ofTask("tasks/result", "t-1")); !strings.Contains(answer, "built") {
			t.Error(answer)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := end(); err != nil {
		t.Error(err)
	}
	st := h.state()
	if len(st.Steps) != 1 || st.Steps[0].State != api.StepSucceeded {
		t.Errorf("%+v", st.Steps)
	}
	h.oneOutcome(st.Run)
	h.sound(st.Run)
}
