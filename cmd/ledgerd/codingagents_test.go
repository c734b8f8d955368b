package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
)

// TestCodingAgents: real coding agents, each with a model that follows a script. The model
// has the tests run, which fail; mends the program; writes a note by MCP, through a
// gateway; tries what policies deny, by a tool of the agent's and by MCP; and says that all
// tests pass, though none were run since. It is sent back, runs them, and says so again.
//
// Claude Code is not free software, and is not installed for this test: it is the claude in
// PATH, or LEDGERD_TEST_CLAUDE names it.
func TestCodingAgents(t *testing.T) {
	if testing.Short() {
		t.Skip("what is tested are processes of their own, which the race detector does not see")
	}
	for _, a := range codingAgents {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			argv := a.program(t)
			h := newCodingHouse(t, a)
			m := &scriptedModel{dialect: a.dialect, script: a.script(h)}
			s := httptest.NewServer(m)
			defer s.Close()
			args, env := a.configure(h, s.URL)
			h.env = append(h.env, env...)
			h.run("ledgerd", "hook", "install", "--agent", a.name, "--yes", "--command", h.ledgerd)
			said := h.run(argv[0], append(argv[1:], args...)...)
			h.run("ledgerd", "daemon", "stop")

			if len(m.asked) != len(m.script) {
				t.Fatalf("the model was asked %d times, and its script has %d turns\n%s", len(m.asked), len(m.script), said)
			}
			told := func(after int, words ...string) {
				t.Helper()
				for _, w := range words {
					if !strings.Contains(m.asked[after+1], w) || strings.Contains(m.asked[after], w) {
						t.Errorf("after turn %d the model is not told %q:\n%s", after, w, m.asked[after+1])
					}
				}
			}
			told(a.denied, "not permitted. Decided by the policy kept. Evidence: ev_")
			told(a.denied+1, "Denied: notes/delete_notes is not permitted. Decided by the policy notes-stay. Evidence: ev_")
			told(a.denied+2, "Not done, by the contract of task coding-session", "/expects/0 ("+a.shell+", input_has", "after_last "+strings.Join(a.edits, ", "), "(1 of 3)")
			for path, there := range map[string]bool{"project/kept": true, "project/moved": false, "notes/today": true} {
				if _, err := os.Stat(h.path(path)); (err == nil) != there {
					t.Errorf("%s: %v", path, err)
				}
			}
			if got := h.sound(); !slices.Equal(got, a.record) {
				t.Errorf("want the run to be\n%s\nfound\n%s", strings.Join(a.record, "\n"), strings.Join(got, "\n"))
			}
		})
	}
}

// A codingAgent is one that is tried.
type codingAgent struct {
	name    string
	dialect dialect
	program func(t *testing.T) []string
	// configure writes the agent's settings, and returns what it is started with.
	configure func(h *codingHouse, model string) (args, env []string)
	shell     string   // the tool that runs commands, as hooks know it
	edits     []string // those that change files
	script    func(h *codingHouse) []turn
	denied    int // the turn that tries what is denied; the next does by MCP, and then it says that it is done
	record    []string
}

const (
	runTests = "sh test.sh"
	moveKept = "mv kept moved"
)

var codingAgents = []codingAgent{
	{
		name: "claude-code", dialect: messages{}, shell: "Bash", edits: []string{"Edit", "Write"}, denied: 4,
		program: func(t *testing.T) []string {
			if path := os.Getenv("LEDGERD_TEST_CLAUDE"); path != "" {
				return []string{path}
			}
			path, err := exec.LookPath("claude")
			if err != nil {
				t.Skip("there is no claude in PATH, and LEDGERD_TEST_CLAUDE names none: it is not free software, and not installed for this test")
			}
			return []string{path}
		},
		configure: func(h *codingHouse, model string) (args, env []string) {
			h.write("mcp.json", string(written(object{"mcpServers": object{"notes": h.gateway()}})), 0o600)
			args = []string{
				"-p", "Mend sum.sh", "--mcp-config", h.path("mcp.json"), "--strict-mcp-config", "--permission-mode", "bypassPermissions",
				"--model", "claude-sonnet-5", "--output-format", "stream-json", "--verbose",
			}
			return args, []string{
				"ANTHROPIC_BASE_URL=" + model, "ANTHROPIC_API_KEY=sk-ant-none", "CLAUDE_CONFIG_DIR=" + h.path(".claude"), "IS_SANDBOX=1",
				"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_TELEMETRY=1", "DISABLE_AUTOUPDATER=1", "DISABLE_ERROR_REPORTING=1",
			}
		},
		script: func(h *codingHouse) []turn {
			return []turn{
				{tool: "Bash", input: object{"command": runTests, "description": "Run the tests"}},
				{tool: "Read", input: object{"file_path": h.path("project/sum.sh")}},
				{tool: "Edit", input: object{"file_path": h.path("project/sum.sh"), "old_string": "-", "new_string": "+"}},
				{tool: "mcp__notes__write_note", input: object{"name": "today", "text": "mended"}},
				{tool: "Bash", input: object{"command": moveKept, "description": "Tidy up"}},
				{tool: "mcp__notes__delete_notes", input: object{}},
				{says: "Done. All tests pass."},
				{tool: "Bash", input: object{"command": runTests, "description": "Run the tests"}},
				{says: "All tests pass now."},
			}
		},
		record: []string{
			"Bash: allow", "Bash: failure", "Read: allow", "Read: success", "Edit: allow", "Edit: success", "notes/write_note: allow",
			"notes/write_note: success", "Bash: deny", "notes/delete_notes: deny", "verdict: contradicted", "Bash: allow", "Bash: success",
			"verdict: supported", "run.closed: completed",
		},
	},
	{
		name: "codex", dialect: responses{}, shell: "Bash", edits: []string{"apply_patch"}, denied: 3,
		program: func(t *testing.T) []string { return []string{filepath.Join(agentModules(t), ".bin", "codex")} },
		configure: func(h *codingHouse, model string) (args, env []string) {
			g := h.gateway()
			h.write(".codex/config.toml", fmt.Sprintf(`model = "gpt-5.6-sol"
model_provider = "scripted"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.scripted]
name = "scripted"
base_url = "%s/v1"
wire_api = "responses"
env_key = "SCRIPTED_KEY"
request_max_retries = 0
stream_max_retries = 0
[mcp_servers.notes]
command = %s
args = %s
env_vars = ["LEDGERD_HOME", "XDG_STATE_HOME"]
`, model, written(g["command"]), written(g["args"])), 0o600)
			return []string{"exec", "--skip-git-repo-check", "--dangerously-bypass-hook-trust", "--json", "Mend sum.sh"},
				[]string{"CODEX_HOME=" + h.path(".codex"), "SCRIPTED_KEY=none"}
		},
		script: func(*codingHouse) []turn {
			return []turn{
				{tool: "exec_command", input: object{"cmd": runTests}},
				{tool: "apply_patch", input: "*** Begin Patch\n*** Update File: sum.sh\n@@\n-echo $(($1 - $2))\n+echo $(($1 + $2))\n*** End Patch\n"},
				{tool: "mcp__notes/write_note", input: object{"name": "today", "text": "mended"}},
				{tool: "exec_command", input: object{"cmd": moveKept}},
				{tool: "mcp__notes/delete_notes", input: object{}},
				{says: "Done. All tests pass."},
				// A tool that a program of the model's calls is called like any other.
				{tool: "exec", input: `text(JSON.stringify(await tools.exec_command({cmd: "` + runTests + `"})))`},
				{says: "All tests pass now."},
			}
		},
		record: []string{
			"Bash: allow", "Bash: failure", "apply_patch: allow", "apply_patch: success", "notes/write_note: allow", "notes/write_note: success",
			"Bash: deny", "notes/delete_notes: deny", "verdict: contradicted", "Bash: allow", "Bash: success", "verdict: supported",
			"run.closed: completed",
		},
	},
	{
		name: "gemini-cli", dialect: generateContent{}, shell: "run_shell_command", edits: []string{"replace", "write_file"}, denied: 4,
		program: func(t *testing.T) []string { return []string{filepath.Join(agentModules(t), ".bin", "gemini")} },
		configure: func(h *codingHouse, model string) (args, env []string) {
			g := h.gateway()
			g["trust"] = true
			h.write(".gemini/settings.json", string(written(object{
				"mcpServers": object{"notes": g}, "security": object{"auth": object{"selectedType": "gemini-api-key"}},
				"general": object{"enableAutoUpdate": false, "enableAutoUpdateNotification": false},
				"privacy": object{"usageStatisticsEnabled": false}, "telemetry": object{"enabled": false},
			})), 0o600)
			return []string{"-p", "Mend sum.sh", "--approval-mode", "yolo", "--skip-trust", "--model", "gemini-2.5-flash", "--output-format", "stream-json"},
				[]string{"GOOGLE_GEMINI_BASE_URL=" + model, "GEMINI_API_KEY=none", "GEMINI_CLI_NO_RELAUNCH=true"}
		},
		script: func(h *codingHouse) []turn {
			return []turn{
				{tool: "run_shell_command", input: object{"command": runTests}},
				{tool: "read_file", input: object{"file_path": h.path("project/sum.sh")}},
				{tool: "replace", input: object{"file_path": h.path("project/sum.sh"), "old_string": "-", "new_string": "+", "instruction": "add"}},
				{tool: "mcp_notes_write_note", input: object{"name": "today", "text": "mended"}},
				{tool: "run_shell_command", input: object{"command": moveKept}},
				{tool: "mcp_notes_delete_notes", input: object{}},
				{says: "Done. All tests pass."},
				{tool: "run_shell_command", input: object{"command": runTests}},
				{says: "All tests pass now."},
			}
		},
		record: []string{
			"run_shell_command: allow", "run_shell_command: failure", "read_file: allow", "read_file: success", "replace: allow",
			"replace: success", "notes/write_note: allow", "notes/write_note: success", "run_shell_command: deny", "notes/delete_notes: deny",
			"verdict: contradicted", "run_shell_command: allow", "run_shell_command: success", "verdict: supported", "run.closed: completed",
		},
	},
}

// agentModules is where the agents are that may be installed for the test.
func agentModules(t *testing.T) string {
	dir, err := filepath.Abs("testdata/agents/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI is set, and the packages of testdata/agents are not installed: bash .ci/install")
		}
		t.Skip("the packages of testdata/agents are not installed (bash .ci/install): the agent cannot run here")
	}
	return dir
}

// A codingHouse is the home of a user who has an agent, with a project and policies.
type codingHouse struct {
	t       *testing.T
	dir     string
	ledgerd string
	env     []string
}

func newCodingHouse(t *testing.T, a codingAgent) *codingHouse {
	t.Helper()
	dir, err := os.MkdirTemp("", "coding") // short: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	h := &codingHouse{t: t, dir: dir}
	t.Cleanup(func() {
		_ = h.command("ledgerd", "daemon", "stop").Run() // where the test ended early
		_ = os.RemoveAll(dir)
	})
	if h.ledgerd, err = exec.LookPath("ledgerd"); err != nil {
		t.Fatal(err)
	}
	// What would go beyond this machine goes to a port where nobody is.
	nobody := "http://127.0.0.1:9"
	h.env = append(os.Environ(), "HOME="+dir, "LEDGERD_HOME="+h.path("ledgerd"), "XDG_STATE_HOME="+h.path("state"), "XDG_RUNTIME_DIR=", "LEDGERD_RUN=",
		"HTTP_PROXY="+nobody, "HTTPS_PROXY="+nobody, "http_proxy="+nobody, "https_proxy="+nobody, "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")
	h.write("project/sum.sh", "echo $(($1 - $2))\n", 0o600)
	h.write("project/test.sh", "test $(sh sum.sh 1 2) = 3\n", 0o600)
	h.write("project/kept", "", 0o600)
	h.write("ledgerd/config.json", `{"policies": "policies", "contracts": "contracts"}`, 0o600)
	h.write("ledgerd/policies/test.cedar", `@id("all") permit (principal, action, resource);
@id("kept") forbid (principal, action == Action::"`+a.shell+`", resource) when { context.input.command like "mv *" };
@id("notes-stay") forbid (principal, action == Action::"notes/delete_notes", resource);
`, 0o600)
	h.write("ledgerd/contracts/coding-session.json", fmt.Sprintf(`{"contract": "v1", "task": "coding-session", "weakest_source": "reported", "expects": [
  {"action": %q, "input_has": {"command": %q}, "times": {"least": 1}, "after_last": %s}]}`, a.shell, runTests, written(a.edits)), 0o600)
	return h
}

func (h *codingHouse) path(name string) string { return filepath.Join(h.dir, name) }

func (h *codingHouse) write(name, text string, mode os.FileMode) {
	h.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(h.path(name)), 0o700), os.WriteFile(h.path(name), []byte(text), mode)); err != nil {
		h.t.Fatal(err)
	}
}

// gateway is how the agent starts its MCP server.
func (h *codingHouse) gateway() object {
	return object{"command": h.ledgerd, "args": []string{"mcp", "--agent", filepath.Base(h.t.Name()), "--name", "notes", "--", "notes-server", "--dir", h.path("notes")}}
}

func (h *codingHouse) command(name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // it hangs
	h.t.Cleanup(cancel)
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env, c.WaitDelay = h.path("project"), h.env, time.Second
	return c
}

func (h *codingHouse) run(name string, args ...string) []byte {
	h.t.Helper()
	c := h.command(name, args...)
	out := new(bytes.Buffer)
	c.Stdout, c.Stderr = out, out
	if err := c.Run(); err != nil {
		h.t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return out.Bytes()
}

func (h *codingHouse) ledger(args ...string) []byte {
	h.t.Helper()
	return h.run("ledgerd", append(args, "--data-dir", h.path("ledgerd/ledger"))...)
}

// sound holds the only run to an audit of its bundle, and returns what is in it.
func (h *codingHouse) sound() (what []string) {
	h.t.Helper()
	list := h.ledger("run", "list", "--output", "json")
	var one struct {
		Run evidence.RunID `json:"run"`
	}
	if err := json.Unmarshal(list, &one); err != nil { // or there are several
		h.t.Fatalf("%v\n%s", err, list)
	}
	trust, err := bundle.ParseTrust(h.ledger("trust"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.ledger("export", "--run", string(one.Run), "-o", h.path("run.bundle"))
	file, err := os.Open(h.path("run.bundle"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer file.Close()
	report, err := audit.VerifyBundle(file, trust, audit.Options{Run: one.Run})
	if err != nil {
		h.t.Fatal(err)
	}
	lie := 0 // that all tests pass stays on record, and contradicted
	for _, r := range report.Rules {
		switch {
		case r.Rule == audit.RuleClaim && len(r.Findings) == 1:
			lie++
		case r.Status != audit.Held && r.Status != audit.NotApplicable:
			h.t.Errorf("the audit of the run: %s is %s: %v", r.Rule, r.Status, r.Findings)
		}
	}
	if lie != 1 {
		h.t.Error("want the audit to find that one claim is contradicted")
	}
	for _, line := range bytes.Split(bytes.TrimSpace(h.ledger("run", "show", string(one.Run), "--output", "json")), []byte("\n")) {
		if one := h.record(line); one != "" {
			what = append(what, one)
		}
	}
	return what
}

// record says what is in a record, if it is about an action, a verdict or the end; else "".
func (h *codingHouse) record(line []byte) string {
	h.t.Helper()
	var placed struct {
		Record struct {
			Kind          string
			Authorization struct{ Action, Effect string }
			Execution     struct{ Action, Status string }
			Verdict       struct{ Result string }
			Closed        struct{ End string } `json:"run.closed"`
		}
	}
	if err := json.Unmarshal(line, &placed); err != nil {
		h.t.Fatalf("%v\n%s", err, line)
	}
	r := &placed.Record
	switch r.Kind {
	case "authorization":
		return r.Authorization.Action + ": " + r.Authorization.Effect
	case "execution":
		return r.Execution.Action + ": " + r.Execution.Status
	case "verdict", "run.closed":
		return r.Kind + ": " + r.Verdict.Result + r.Closed.End
	}
	return ""
}
