package mcp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
)

// observing is the configuration of a gateway that observes, and what it logs.
func (h *house) observing(asker string) (Config, *logged) {
	cfg, log := h.config(asker), new(logged)
	cfg.Observe, cfg.Log = true, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return cfg, log
}

// logged is what was written, where more may be.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) all() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}

func (l *logged) has(t *testing.T, words ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range strings.Split(l.b.String(), "\n") {
		if !strings.Contains(line, words[0]) {
			continue
		}
		for _, w := range words[1:] {
			if !strings.Contains(line, w) {
				line = ""
			}
		}
		if line != "" {
			return
		}
	}
	t.Errorf("want a line with %q, found\n%s", words, l.b.String())
}

// TestObserve: what policies deny, what they have a human asked, and tools that changed are
// called and recorded, and every record says that nothing was enforced.
func TestObserve(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	enforcing := h.connect(h.config("gateway-1"), demo(), nil)
	for _, name := range []string{"wipe", "refund"} { // both are on record as they were held back
		if r, err := enforcing.CallTool(ctx, &sdk.CallToolParams{Name: name, Arguments: map[string]any{"text": "7"}}); err != nil || !r.IsError {
			t.Fatalf("%+v %v", r, err)
		}
	}
	changed := demo()
	sdk.AddTool(changed, &sdk.Tool{Name: "echo", Description: "another"}, func(context.Context, *sdk.CallToolRequest, any) (*sdk.CallToolResult, any, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "echo 7"}}}, nil, nil
	})
	cfg, log := h.observing("gateway-2")
	cs := h.connect(cfg, changed, nil)
	if tools, err := cs.ListTools(ctx, nil); err != nil || len(tools.Tools) != 4 {
		t.Errorf("%+v %v", tools, err)
	}
	for _, name := range []string{"wipe", "refund", "echo", "wipe"} {
		r, err := cs.CallTool(ctx, &sdk.CallToolParams{Name: name, Arguments: map[string]any{"text": "7"}})
		if err != nil || r.IsError || textOf(r) != name+" 7" || r.Meta[MetaEvidence] == nil {
			t.Errorf("%s: %+v %v", name, r, err)
		}
	}
	log.has(t, "not enforced", "demo/wipe", "deny", "never")
	log.has(t, "not enforced", "demo/refund", "escalate", "large")
	log.has(t, "not enforced", "demo/echo", "not what it was")
	st := h.state()
	want := []string{ // in the order in which they began
		"demo/wipe deny enforce ", "demo/refund escalate enforce ",
		"demo/wipe deny observe success", "demo/refund escalate observe success", "demo/echo allow observe success", "demo/wipe deny observe success",
	}
	if found := h.acts(st.Run); strings.Join(found, "\n") != strings.Join(want, "\n") {
		t.Errorf("want\n%s\nfound\n%s", strings.Join(want, "\n"), strings.Join(found, "\n"))
	}
	if len(st.InDoubt) != 0 || len(st.Waiting) != 1 {
		t.Errorf("%+v", st)
	}
	h.sound(st.Run)
	if !h.audited(st.Run).Scope.NotEnforced {
		t.Error("the audit does not say that something was not enforced")
	}
	// What was observed is no permission for who enforces.
	if r, err := enforcing.CallTool(ctx, &sdk.CallToolParams{Name: "wipe", Arguments: map[string]any{"text": "7"}}); err != nil || !r.IsError {
		t.Errorf("%+v %v", r, err)
	}
}

// acts are the permission checks of a run, with what came of each.
func (h *house) acts(run evidence.RunID) (list []string) {
	h.t.Helper()
	at := make(map[evidence.ID]int)
	for p, err := range h.Client(h.Token).Run(context.Background(), run) {
		if err != nil {
			h.t.Fatal(err)
		}
		switch b := p.Record.Body.(type) {
		case *evidence.Authorization:
			at[p.ID] = len(list)
			list = append(list, b.Action+" "+string(b.Effect)+" "+string(b.Mode)+" ")
		case *evidence.Execution:
			if b.Source != evidence.SourceRuntime {
				h.t.Errorf("%s: source %s", b.Action, b.Source)
			}
			list[at[b.Authorization]] += string(b.Status)
		}
	}
	return list
}

// anyTool is a server that lists one tool and answers to every call.
func anyTool(called chan<- string) func(io.Reader, io.WriteCloser) {
	return scripted([]string{"pay"}, func(m *message, say func(string)) {
		called <- string(m.params.of(m.raw))
		say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":{"content":[]}}`)
	})
}

// TestObserveUnlisted: a tool that the server does not list is called and recorded; one
// with a name that no record can have is called.
func TestObserveUnlisted(t *testing.T) {
	h := newHouse(t)
	called := make(chan string, 10)
	cfg, log := h.observing("gateway-1")
	r := h.front(cfg, anyTool(called))
	r.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hidden"}}`)
	if answer := r.next(); !strings.Contains(answer, MetaEvidence) || len(called) != 1 {
		t.Errorf("%d calls: %s", len(called), answer)
	}
	r.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"no name"}}`)
	if answer := r.next(); answer != `{"jsonrpc":"2.0","id":2,"result":{"content":[]}}` || len(called) != 2 {
		t.Errorf("%d calls: %s", len(called), answer)
	}
	// Two readings of one message are no question of policies.
	r.send(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"pay","Name":"hidden"}}`)
	if answer := r.next(); !strings.Contains(answer, `"error"`) || len(called) != 2 {
		t.Errorf("%d calls: %s", len(called), answer)
	}
	log.has(t, "not enforced", "demo/hidden", "lists no tool")
	log.has(t, "not recorded", "no name")
	if st := h.state(); len(st.Steps) != 1 || st.Steps[0].Action != "demo/hidden" || st.Steps[0].State != api.StepSucceeded {
		t.Errorf("%+v", st.Steps)
	}
}

// TestObserveOutOfReach: where the ledger is out of reach, a call passes as it is, and its
// answer, and it is said that neither is on record.
func TestObserveOutOfReach(t *testing.T) {
	h := newHouse(t)
	called := make(chan string, 10)
	cfg, log := h.observing("gateway-1")
	reached := cfg.Run
	there := false
	cfg.Run = LateRun(func(context.Context) (*client.Client, error) {
		if !there {
			return nil, errors.New("there is no daemon")
		}
		return reached.(*daemonRun).c, nil
	}, always("session-1"), api.OpenRun{Task: "session"})
	r := h.front(cfg, anyTool(called))
	call := func(id string) string {
		t.Helper()
		r.send(`{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"pay"}}`)
		answer := r.next()
		<-called
		return answer
	}
	bare := func(id string) string { return `{"jsonrpc":"2.0","id":` + id + `,"result":{"content":[]}}` }
	if answer := call("1"); answer != bare("1") {
		t.Error(answer)
	}
	log.has(t, "not recorded", "there is no daemon")
	there = true
	if answer := call("2"); !strings.Contains(answer, MetaEvidence) {
		t.Error(answer)
	}
	h.Stop()
	if answer := call("3"); answer != bare("3") {
		t.Error(answer)
	}
	log.has(t, "not recorded", "out of reach")
}

// TestObserveNotRecorded: an answer that cannot be recorded passes, and it is said.
func TestObserveNotRecorded(t *testing.T) {
	h := newHouse(t)
	called := make(chan string, 10)
	cfg, log := h.observing("gateway-1")
	cfg.Run = &refusing{Run: cfg.Run}
	r := h.front(cfg, anyTool(called))
	r.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay"}}`)
	if answer := r.next(); answer != `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}` {
		t.Error(answer)
	}
	log.has(t, "what came of a call is not recorded")
}

// TestObserveNotPermitted: whether a gateway may observe is the daemon's to say, by its
// token. Where it may not, nothing is called, rather than past the ledger.
func TestObserveNotPermitted(t *testing.T) {
	h := newHouse(t)
	for _, token := range []string{h.Grant(daemontest.Agent, api.RightAct, api.RightRead), "ledgerd_unknown"} {
		called := make(chan string, 10)
		cfg, _ := h.observing("gateway-1")
		cfg.Run = DaemonRun(h.Client(token), always("session-1"), api.OpenRun{Task: "session"})
		r := h.front(cfg, anyTool(called))
		r.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay"}}`)
		if answer := r.next(); !strings.Contains(answer, "Not called:") || len(called) != 0 {
			t.Errorf("%d calls: %s", len(called), answer)
		}
	}
	if st := h.state(); len(st.Steps) != 0 {
		t.Errorf("%+v", st.Steps)
	}
}
