package hook

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ledgerd/internal/userdaemon/place"
)

// TestQuick: where the user's daemon runs, knows the agent and has a run for the session,
// a call is served early; where anything of that is missing it is left to the command,
// which still gets to read the event.
func TestQuick(t *testing.T) {
	dir, err := os.MkdirTemp("", "quick") // short: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	home := filepath.Join(dir, "h")
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"LEDGERD_HOME": home, "HOME": dir}[name]
		return v, ok
	}
	socket, err := place.Socket(home, "")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked []string
	status := http.StatusOK
	serve := func() func() {
		ln, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, r.Header.Get("Authorization")+" "+r.URL.Path)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"state":"allowed","attempt":1}`)
		})}
		go func() { _ = s.Serve(ln) }()
		return func() { _ = s.Close() }
	}
	token := place.Token(home, "claude-code", false)
	session := place.Session(home, "id", "claude-code", "s")
	page := func(agent, id string) string {
		b, _ := json.Marshal(map[string]string{"run": "session-1", "agent": agent, "id": id})
		return string(b)
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const event = `{"session_id":"s","hook_event_name":"PreToolUse","tool_name":"Edit","tool_input":{"file_path":"/a"},"tool_use_id":"t1"}`
	early := func(event string) bool {
		t.Helper()
		mu.Lock()
		asked = nil
		mu.Unlock()
		var out, errs bytes.Buffer
		in := strings.NewReader(event)
		given = nil
		exit, done := Early([]string{"ledgerd", "hook", "--agent", "claude-code"}, env, in, &out, &errs)
		mu.Lock()
		defer mu.Unlock()
		if done && (exit != 0 || len(asked) != 1 || asked[0] != "Bearer secret /v1/runs/session-1/steps/t1") {
			t.Errorf("exit code %d, asked %q\n%s%s", exit, asked, &out, &errs)
		}
		if !done {
			if out.Len()+errs.Len() > 0 {
				t.Errorf("the agent is told %s%s", &out, &errs)
			}
			if left, err := io.ReadAll(Input(in)); err != nil || string(left) != event {
				t.Errorf("the command reads %q, %v", left, err)
			}
		}
		return done
	}
	if early(event) {
		t.Error("there is nothing")
	}
	write(token, "secret\n")
	write(session, page("claude-code", "s"))
	if early(event) {
		t.Error("no daemon runs")
	}
	stop := serve()
	if !early(event) {
		t.Error("all is there")
	}
	mu.Lock()
	status = http.StatusUnauthorized
	mu.Unlock()
	if early(event) {
		t.Error("the token was revoked: the command has another made")
	}
	mu.Lock()
	status = http.StatusOK
	mu.Unlock()
	for _, name := range []string{"SessionStart", "SessionEnd"} {
		if early(strings.Replace(event, "PreToolUse", name, 1)) {
			t.Errorf("%s is the command's, which knows the process", name)
		}
	}
	tool := strings.Replace(event, "Edit", "mcp__notes__write", 1)
	if !early(tool) {
		t.Error("no gateway is before that server")
	}
	end, err := AnnounceIn(filepath.Join(dir, ".local", "state", "ledgerd", "hook"), "1 2 here", "notes")
	if err != nil {
		t.Fatal(err)
	}
	if early(tool) {
		t.Error("whether the gateway is this agent's is the command's to see")
	}
	end()
	if !early(tool) {
		t.Error("the gateway has ended")
	}
	for _, wrong := range []string{page("codex", "s"), page("claude-code", "other"), "{", `{"agent":"claude-code","id":"s"}`} {
		write(session, wrong)
		if early(event) {
			t.Errorf("%s is no run of this session", wrong)
		}
	}
	write(session, page("claude-code", "s"))
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if early(event) {
		t.Error("others may have written there")
	}
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(token); err != nil {
		t.Fatal(err)
	}
	if early(event) {
		t.Error("there is no token")
	}
	stop()
}
