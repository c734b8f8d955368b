package hook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
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

// permits: wiping and what is called wipe is denied, pushing is a human's to permit, all
// else is allowed.
func permits(_ context.Context, r *runtime.PermissionRequest) (runtime.Permission, error) {
	p := runtime.Permission{Effect: evidence.Allow, Mode: evidence.Enforce, Policies: []string{"rest"}, Set: &runtime.Document{Media: "text/plain", Data: []byte("all of them")}}
	switch {
	case bytes.Contains(r.Input, []byte("rm -rf")):
		p.Effect, p.Policies = evidence.Deny, []string{"never"}
	case bytes.Contains(r.Input, []byte("git push")) && !r.Approved:
		p.Effect, p.Policies, p.Team = evidence.Escalate, []string{"pushes"}, "finance"
	}
	return p, nil
}

// contract wants the tests to have passed after the last edit.
const contract = `{"contract": "v1", "task": "coding-session", "weakest_source": "reported", "expects": [
	{"action": "Bash", "input_has": {"command": "npm test"}, "times": {"least": 1}, "after_last": ["Edit"]}]}`

// house is a daemon, and a session of an agent's.
type house struct {
	*daemontest.Daemon
	t      testing.TB
	human  *evidence.PrivateKey
	call   Call
	secret string
	calls  int
}

func newHouse(t testing.TB, contract string) *house {
	t.Helper()
	h := &house{Daemon: daemontest.Init(t), t: t}
	h.human = h.Actor("mia", evidence.RoleHuman)
	cfg := runtime.Config{Permit: runtime.PermitterFunc(permits)}
	if contract != "" {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, DefaultTask+".json"), []byte(contract), 0o600))
		all, err := agent.OpenContracts(dir)
		must(t, err)
		cfg.Contracts = all.For
	}
	host := h.Host(cfg, 0)
	h.Serve(func(c *server.Config) { c.Agents = host })
	h.secret = h.Grant(daemontest.Agent, api.RightAct)
	h.call = Call{Agent: "claude-code", Server: h.URL, Token: h.secret, StateDir: t.TempDir(), SendBack: DefaultSendBack, Patience: 5 * time.Second}
	return h
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// raw gives the hook exactly these bytes.
func (h *house) raw(event string) Out {
	h.t.Helper()
	send, err := Reach(&h.call)
	var stdout, stderr bytes.Buffer
	exit := h.call.Do(context.Background(), send, err, strings.NewReader(event), &stdout, &stderr)
	if all := stdout.String() + stderr.String(); strings.Contains(all, h.secret) || strings.ContainsAny(all, "\x1b\x07") {
		h.t.Errorf("the hook says %q", all)
	}
	return Out{stdout.String(), stderr.String(), exit}
}

// event gives the hook an event of Claude Code's.
func (h *house) event(name string, members map[string]any) Out {
	h.t.Helper()
	e := map[string]any{"session_id": "s-1", "hook_event_name": name, "cwd": "/home/dev/x"}
	for k, v := range members {
		e[k] = v
	}
	b, err := json.Marshal(e)
	must(h.t, err)
	return h.raw(string(b))
}

type object = map[string]any

func (h *house) before(id, tool string, input object) Out {
	h.t.Helper()
	return h.event("PreToolUse", object{"tool_name": tool, "tool_input": input, "tool_use_id": id})
}

func (h *house) after(id, tool string, input object) Out {
	h.t.Helper()
	return h.event("PostToolUse", object{"tool_name": tool, "tool_input": input, "tool_use_id": id, "tool_response": object{"stdout": "ok", "interrupted": false}})
}

// did is a call that is permitted and succeeds.
func (h *house) did(tool string, input object) {
	h.t.Helper()
	h.calls++
	id := fmt.Sprintf("toolu_%d", h.calls)
	h.passes(h.before(id, tool, input))
	h.passes(h.after(id, tool, input))
}

// failed is a call that is permitted and fails.
func (h *house) failed(tool string, input object) {
	h.t.Helper()
	h.calls++
	id := fmt.Sprintf("toolu_%d", h.calls)
	h.passes(h.before(id, tool, input))
	h.passes(h.event("PostToolUseFailure", object{"tool_name": tool, "tool_input": input, "tool_use_id": id, "error": "Exit code 1\n2 failed"}))
}

func (h *house) passes(o Out) {
	h.t.Helper()
	if o != (Out{}) {
		h.t.Errorf("want it to pass, found %+v", o)
	}
}

func (h *house) blocks(o Out, words ...string) {
	h.t.Helper()
	for _, w := range append([]string{`"permissionDecision":"deny"`}, words...) {
		if !strings.Contains(o.Stdout, w) || o.Exit != 0 || o.Stderr != "" {
			h.t.Errorf("want it to be blocked with %q, found %+v", w, o)
		}
	}
}

func (h *house) sendsBack(o Out, words ...string) {
	h.t.Helper()
	for _, w := range append([]string{`"decision":"block"`}, words...) {
		if !strings.Contains(o.Stdout, w) || o.Exit != 0 {
			h.t.Errorf("want it to be sent back with %q, found %+v", w, o)
		}
	}
}

func (h *house) stop(again bool) Out {
	h.t.Helper()
	return h.event("Stop", object{"stop_hook_active": again, "last_assistant_message": "All tests pass."})
}

func (h *house) state(key string) *api.RunState {
	h.t.Helper()
	st, err := h.Client(h.Token).RunState(context.Background(), key)
	must(h.t, err)
	return st
}

// executions are those of a run, by its steps.
func (h *house) executions(key string) map[string]*evidence.Execution {
	h.t.Helper()
	st := h.state(key)
	all := make(map[string]*evidence.Execution)
	for _, s := range st.Steps {
		if s.Execution == nil {
			continue
		}
		p, err := h.Client(h.Token).Get(context.Background(), *s.Execution)
		must(h.t, err)
		all[s.Step] = p.Record.Body.(*evidence.Execution)
	}
	return all
}

// sound holds a run to an audit.
func (h *house) sound(key string) {
	h.t.Helper()
	run := h.state(key).Run
	var b bytes.Buffer
	must(h.t, h.Ledger.Export(context.Background(), &b, ledger.ExportOptions{Run: run}))
	trust, err := h.Ledger.Trust()
	must(h.t, err)
	report, err := audit.VerifyBundle(&b, trust, audit.Options{Run: run})
	must(h.t, err)
	for _, r := range report.Rules {
		for _, f := range r.Findings {
			if f.Status == audit.Broken && r.Rule != audit.RuleContract && r.Rule != audit.RuleClaim {
				h.t.Errorf("the audit of %s: %s", key, f.String())
			}
		}
	}
}

const key1 = "claude-code.s-1"

// TestSession: a session of Claude Code's, from its first call to its end.
func TestSession(t *testing.T) {
	h := newHouse(t, "")
	h.passes(h.event("SessionStart", object{"source": "startup"})) // nothing is there yet
	h.did("Bash", object{"command": "npm test"})
	h.did("Edit", object{"file_path": "/home/dev/x/a.go", "old_string": "a", "new_string": "b"})
	h.failed("Bash", object{"command": "npm test"})
	h.blocks(h.before("toolu_d", "Bash", object{"command": "rm -rf /"}), "Denied: Bash is not permitted. Decided by the policy never.", "Evidence: ev_")
	h.passes(h.before("toolu_p", "Bash", object{"command": "make"}))
	h.passes(h.event("PermissionDenied", object{"tool_name": "Bash", "tool_input": object{"command": "make"}, "tool_use_id": "toolu_p"}))
	h.passes(h.before("toolu_b", "Bash", object{"command": "make serve", "run_in_background": true}))
	h.passes(h.event("PostToolUse", object{"tool_name": "Bash", "tool_input": object{"command": "make serve", "run_in_background": true}, "tool_use_id": "toolu_b", "tool_response": object{"stdout": ""}}))
	h.passes(h.stop(false))
	h.passes(h.event("SessionEnd", object{"reason": "other"}))
	want := map[string]evidence.Status{
		"toolu_1": evidence.StatusSuccess, "toolu_2": evidence.StatusSuccess, "toolu_3": evidence.StatusFailure, "toolu_p": evidence.StatusNotRun, "toolu_b": evidence.StatusAccepted,
	}
	got := make(map[string]evidence.Status)
	for step, x := range h.executions(key1) {
		got[step] = x.Status
		if x.Source != evidence.SourceReported {
			t.Errorf("%s is %s", step, x.Source)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("want %v\nfound %v", want, got)
	}
	st := h.state(key1)
	if st.State != "closed" || st.End != evidence.Completed || st.Task != DefaultTask {
		t.Errorf("%+v", st)
	}
	for _, s := range st.Steps {
		if s.Action == "Edit" && s.Resource != "/home/dev/x/a.go" || s.Action == "Bash" && s.Resource != "" {
			t.Errorf("%+v", s)
		}
	}
	h.sound(key1)
	// The session goes on after its end: another run.
	h.did("Bash", object{"command": "npm test"})
	if st := h.state(key1 + ".2"); len(st.Steps) != 1 || st.State != "open" {
		t.Errorf("%+v", st)
	}
}

// TestStop: "all tests pass" without a passing test run after the last edit is sent
// back, a bounded number of times.
func TestStop(t *testing.T) {
	h := newHouse(t, contract)
	test, edit := object{"command": "npm test", "description": "Run the tests"}, object{"file_path": "/home/dev/x/a.go"}
	h.did("Bash", test)
	h.did("Edit", edit)
	h.sendsBack(h.stop(false), "Not done, by the contract of task coding-session", "Evidence: ev_", "(1 of 3)",
		`/expects/0 (Bash, input_has {\"command\":\"npm test\"}, at least 1, after_last Edit): it was done, and Edit was done after it`)
	h.failed("Bash", test)
	h.sendsBack(h.stop(true), "(2 of 3)", "it was done, and Edit was done after it")
	h.did("Bash", object{"command": "echo npm test"})
	h.sendsBack(h.stop(true), "(3 of 3)")
	if o := h.stop(true); o.Exit != 1 || o.Stdout != "" || !strings.Contains(o.Stderr, "its work is not done") {
		t.Errorf("it is sent back for ever: %+v", o)
	}
	h.sendsBack(h.stop(false), "(1 of 3)") // the user has said something since
	h.did("Bash", test)
	h.passes(h.stop(true))
	h.did("Edit", edit)
	h.sendsBack(h.stop(false), "(1 of 3)")
	h.did("Bash", test)
	h.passes(h.stop(true))
	h.did("Edit", edit)
	h.sendsBack(h.stop(true), "(1 of 3)") // another hook has sent it on, though it was done
	h.did("Bash", test)
	h.passes(h.stop(true))
	h.passes(h.event("SessionEnd", nil))
	if st := h.state(key1); st.End != evidence.Completed {
		t.Errorf("%+v", st)
	}
	h.sound(key1)

	// One that is not done to the end is not completed.
	h = newHouse(t, contract)
	h.did("Edit", edit)
	h.sendsBack(h.stop(false))
	h.passes(h.event("SessionEnd", nil))
	if st := h.state(key1); st.End != evidence.Failed || st.Reason != reasonClaim {
		t.Errorf("%+v", st)
	}
	h.sound(key1)

	// Nor is one that was never said to be.
	h = newHouse(t, contract)
	h.did("Bash", test)
	h.passes(h.event("SessionEnd", nil))
	if st := h.state(key1); st.End != evidence.Stopped {
		t.Errorf("%+v", st)
	}
	h.sound(key1)
}

// TestHuman: a call that waits is the same question when it is made again, under
// another ID.
func TestHuman(t *testing.T) {
	h := newHouse(t, "")
	push := object{"command": "git push"}
	for _, id := range []string{"toolu_a", "toolu_b"} {
		h.blocks(h.before(id, "Bash", push), "Pending: Bash waits for the approval of team finance.")
	}
	st := h.state(key1)
	if len(st.Waiting) != 1 {
		t.Fatalf("%+v", st.Waiting)
	}
	h.approve(st.Run, st.Waiting[0].Authorization)
	h.passes(h.before("toolu_c", "Bash", push))
	h.passes(h.after("toolu_c", "Bash", push))
	if x := h.executions(key1)["toolu_a"]; x == nil || x.Status != evidence.StatusSuccess {
		t.Errorf("%+v", x)
	}
	h.blocks(h.before("toolu_e", "Bash", push), "Pending:") // the approval was for one
	h.call.Wait = time.Hour                                 // no more than the daemon's
	var all sync.WaitGroup
	all.Go(func() { h.passes(h.before("toolu_f", "Bash", push)) })
	h.approve(st.Run, h.state(key1).Waiting[0].Authorization)
	all.Wait()
	h.passes(h.after("toolu_f", "Bash", push))
	h.passes(h.event("SessionEnd", nil))
	h.sound(key1)
}

func (h *house) approve(run evidence.RunID, about evidence.ID) {
	h.t.Helper()
	b := &evidence.Approval{Answer: evidence.Approve, Until: evidence.TimeOf(time.Now().Add(time.Hour))}
	n := h.Ledger.Registry().Number()
	entry, err := evidence.Sign(&evidence.Record{
		Origin: daemontest.Origin, Kind: b.Kind(), Run: run, About: about, Registry: &n, Actor: "mia", Time: evidence.TimeOf(time.Now()), Body: b,
	}, h.human)
	must(h.t, err)
	_, err = h.Client(h.Grant("mia", api.RightApprove)).Append(context.Background(), entry)
	must(h.t, err)
}

// TestOutOfReach: what cannot be asked for is blocked, and an agent that cannot be
// judged is held up once.
func TestOutOfReach(t *testing.T) {
	h := newHouse(t, "")
	h.did("Bash", object{"command": "ls"})
	ok := h.call
	for name, call := range map[string]Call{
		"no daemon":    {Server: "http://127.0.0.1:1", Token: h.secret},
		"no socket":    {Server: "unix:" + filepath.Join(t.TempDir(), "none"), Token: h.secret},
		"wrong token":  {Server: h.URL, Token: "secret-of-nobody"},
		"no token":     {Server: h.URL},
		"no such file": {Server: h.URL, TokenFile: filepath.Join(t.TempDir(), "none")},
		"no TLS":       {Server: "http://ledger.example", Token: h.secret},
	} {
		call.Agent, call.SendBack, call.Patience = ok.Agent, ok.SendBack, 50*time.Millisecond
		h.call = call
		h.blocks(h.before("toolu_x", "Bash", object{"command": "ls"}), "Not run: permission to use Bash could not be asked for")
		if o := h.after("toolu_1", "Bash", object{"command": "ls"}); o.Exit != 1 || o.Stderr == "" {
			t.Errorf("%s: %+v", name, o)
		}
		h.sendsBack(h.stop(false), "could not be checked")
		if o := h.stop(true); o.Exit != 1 || o.Stdout != "" {
			t.Errorf("%s: %+v", name, o)
		}
		h.call.Mode = "observe"
		if o := h.before("toolu_x", "Bash", object{"command": "ls"}); o.Exit != 0 || !strings.Contains(o.Stdout, `{"systemMessage":"ledgerd: not enforced`) {
			t.Errorf("%s: %+v", name, o)
		}
	}
	h.call = ok
	h.call.Mode = "observe"
	if o := h.before("toolu_y", "Bash", object{"command": "rm -rf /"}); o.Exit != 0 || !strings.Contains(o.Stdout, "not enforced") {
		t.Errorf("%+v", o)
	}
	h.passes(h.after("toolu_y", "Bash", object{"command": "rm -rf /"})) // it is on record that it was denied
}

// TestNoRun: a session of which no run can be told is as a daemon out of reach: said in the
// agent's own words, and no agent is held up by it without end.
func TestNoRun(t *testing.T) {
	h := newHouse(t, contract)
	h.call.RunOf = func(context.Context, string, bool) (string, error) {
		return "", errors.New("a page of the book is torn")
	}
	h.blocks(h.before("toolu_1", "Bash", object{"command": "ls"}), "a page of the book is torn")
	if o := h.after("toolu_1", "Bash", object{"command": "ls"}); o.Exit != 1 || strings.Contains(o.Stderr, "Not run") {
		t.Errorf("%+v", o)
	}
	h.sendsBack(h.stop(false), "could not be checked")
	if o := h.stop(true); o.Exit != 1 || o.Stdout != "" {
		t.Errorf("it is held up again: %+v", o)
	}
}

// TestCutText: an agent that shortens a text may cut a character in two. What came of a call
// is recorded all the same, and an agent that stops is judged; a call is not asked for, since
// two readers would read two things in it.
func TestCutText(t *testing.T) {
	h := newHouse(t, contract)
	input := object{"command": "npm test"}
	half := func(name, id, member string) string {
		return `{"session_id":"s-1","hook_event_name":"` + name + `","tool_name":"Bash","tool_use_id":"` + id + `","tool_input":{"command":"npm test"},"stop_hook_active":true,` +
			member + `}`
	}
	h.did("Edit", object{"file_path": "/a"})
	h.passes(h.before("toolu_a", "Bash", input))
	h.passes(h.raw(half("PostToolUse", "toolu_a", `"tool_response":{"stdout":"all passed \ud83d","n":12345678901234567890}`)))
	h.passes(h.before("toolu_b", "Bash", input))
	h.passes(h.raw(half("PostToolUseFailure", "toolu_b", "\"error\":\"Exit code 1\xf0\x9f\"")))
	if o := h.raw(half("PreToolUse", "toolu_c", `"x":"\ud83d"`)); o.Exit != ExitBlock {
		t.Errorf("%+v", o)
	}
	got := h.executions(key1)
	if a, b := got["toolu_a"], got["toolu_b"]; a == nil || a.Status != evidence.StatusSuccess || b == nil || b.Status != evidence.StatusFailure {
		t.Fatalf("%+v", got)
	}
	p, err := (runtime.Embedded{Ledger: h.Ledger.Ledger}).ReadPayload(context.Background(), got["toolu_a"].Output.Commit)
	if err != nil || string(p.Data) != "{\"n\":12345678901234567890,\"stdout\":\"all passed \ufffd\"}" {
		t.Errorf("found %+v %v", p, err)
	}
	h.passes(h.raw(half("Stop", "", `"last_assistant_message":"All tests pass \ud83d"`)))

	// So are lines of a transcript.
	h.passes(h.before("toolu_ok", "Bash", input))
	transcript := filepath.Join(t.TempDir(), "t.jsonl")
	must(t, os.WriteFile(transcript, []byte(`{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"toolu_ok","content":"ok"}]},"toolUseResult":{"stdout":"\ud83d"}}`), 0o600))
	h.passes(h.event("Stop", object{"transcript_path": transcript}))
	if x := h.executions(key1)["toolu_ok"]; x == nil || x.Status != evidence.StatusSuccess {
		t.Errorf("%+v", x)
	}
}

// TestReconcile: what came of calls that were never reported is read from the
// transcript, and is not guessed where that does not say.
func TestReconcile(t *testing.T) {
	h := newHouse(t, "")
	transcript := "testdata/claude-code/transcript.jsonl"
	for _, id := range []string{"ok", "failed", "rejected", "cut", "lost"} {
		h.passes(h.before("toolu_"+id, "Bash", object{"command": id})) // and the process is killed
	}
	h.passes(h.event("Stop", object{"transcript_path": transcript}))
	got := func() map[string]evidence.Status {
		all := make(map[string]evidence.Status)
		for step, x := range h.executions(key1) {
			all[step] = x.Status
		}
		return all
	}
	want := map[string]evidence.Status{"toolu_ok": evidence.StatusSuccess, "toolu_failed": evidence.StatusFailure, "toolu_rejected": evidence.StatusNotRun}
	if got := got(); !reflect.DeepEqual(got, want) {
		t.Errorf("at the stop: want %v\nfound %v", want, got)
	}
	h.passes(h.event("SessionStart", object{"transcript_path": transcript, "source": "resume"}))
	if o := h.event("SessionEnd", object{"transcript_path": transcript}); o.Exit != 1 || !strings.Contains(o.Stderr, "settle it, then end the run") {
		t.Errorf("a run of which nobody knows all is ended: %+v", o)
	}
	want["toolu_cut"], want["toolu_lost"] = evidence.StatusUnknown, evidence.StatusUnknown
	if got := got(); !reflect.DeepEqual(got, want) {
		t.Errorf("at the end: want %v\nfound %v", want, got)
	}
	h.sound(key1)
	// A report that comes late changes nothing, but for what nobody knew.
	h.passes(h.after("toolu_ok", "Bash", object{"command": "ok"}))
	h.passes(h.event("PostToolUseFailure", object{"tool_name": "Bash", "tool_input": object{"command": "ok"}, "tool_use_id": "toolu_ok", "error": "x"}))
	if got := got()["toolu_ok"]; got != evidence.StatusSuccess {
		t.Errorf("found %s", got)
	}
	// What was never asked for is not recorded, and said.
	if o := h.after("toolu_unasked", "Bash", object{"command": "ok"}); o.Exit != 1 || !strings.Contains(o.Stderr, "nobody asked for permission") {
		t.Errorf("%+v", o)
	}

	// Without anybody to ask (claude -p, a subagent), what needs permission is not made.
	for _, said := range []string{"Claude requested permissions to write to /home/dev/x/a.go, but you haven't granted it yet.", "Permission for this tool use was denied. It was not run."} {
		if o := claudeResult(true, fmt.Appendf(nil, "%q", said), nil); o.status != notRun {
			t.Errorf("%s: %+v", said, o)
		}
	}
	if _, err := claudeOutcomes(t.TempDir()); err == nil {
		t.Error("a directory is read as a transcript")
	}
}

// TestTwoAtOnce: hooks run at once, and of one call again in another process.
func TestTwoAtOnce(t *testing.T) {
	h := newHouse(t, "")
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			id := fmt.Sprintf("toolu_%d", i)
			h.passes(h.before(id, "Bash", object{"command": "ls"}))
			h.passes(h.after(id, "Bash", object{"command": "ls"}))
		})
	}
	all.Wait()
	if got := h.executions(key1); len(got) != 16 {
		t.Errorf("found %d", len(got))
	}
	h.passes(h.before("toolu_a", "Bash", object{"command": "ls"}))
	h.passes(h.before("toolu_a", "Bash", object{"command": "ls"})) // the answer was lost
	if o := h.before("toolu_a", "Bash", object{"command": "ls -a"}); !strings.Contains(o.Stdout, `"deny"`) {
		t.Errorf("another call under the same ID: %+v", o)
	}
	h.passes(h.after("toolu_a", "Bash", object{"command": "ls"}))
	h.blocks(h.before("toolu_a", "Bash", object{"command": "ls"}), "ran already under this call's ID")

	// An agent without IDs of calls.
	h.call.Agent = "gemini-cli"
	event := func(name string) string {
		return `{"session_id":"g","hook_event_name":"` + name + `","tool_name":"read_file","tool_input":{"file_path":"/a"},"tool_response":{"llmContent":"x"}}`
	}
	for range 8 {
		all.Go(func() {
			if o := h.raw(event("BeforeTool")); o.Stdout != "{}\n" || o.Exit != 0 {
				t.Errorf("%+v", o)
			}
		})
	}
	all.Wait()
	for range 8 {
		if o := h.raw(event("AfterTool")); o.Stdout != "{}\n" || o.Exit != 0 {
			t.Errorf("%+v", o)
		}
	}
	if got := h.executions("gemini-cli.g"); len(got) != 8 {
		t.Errorf("found %d", len(got))
	}
	// One that was never made, and then the same again: what came of that is that one's.
	for _, name := range []string{"BeforeTool", "BeforeTool", "AfterTool"} {
		h.raw(event(name))
	}
	if doubt := h.state("gemini-cli.g").InDoubt; len(doubt) != 1 || !strings.HasSuffix(doubt[0].Step, ":9") {
		t.Errorf("%+v", doubt)
	}
	h.raw(event("AfterTool"))
	// A session that goes on after its end is another run, and its calls are that one's.
	h.raw(`{"session_id":"g","hook_event_name":"SessionEnd"}`)
	for _, name := range []string{"BeforeTool", "AfterTool"} {
		if o := h.raw(event(name)); o.Stdout != "{}\n" || o.Exit != 0 {
			t.Errorf("%+v", o)
		}
	}
	if got := h.executions("gemini-cli.g.2"); len(got) != 1 {
		t.Errorf("found %d", len(got))
	}
	h.sound(key1)
	h.sound("gemini-cli.g")
}

// TestGateway: a call that a gateway governs is left to it, as long as it does.
func TestGateway(t *testing.T) {
	h := newHouse(t, "")
	end, err := Announce(h.call.StateDir, key1, "files")
	must(t, err)
	h.passes(h.before("toolu_1", "mcp__files__read", object{"path": "/a"}))
	h.passes(h.after("toolu_1", "mcp__files__read", object{"path": "/a"}))
	h.did("mcp__other__read", object{"path": "/a"})
	end()
	// What a gateway left that was killed.
	must(t, os.WriteFile(filepath.Join(gatewaysOf(h.call.StateDir, key1, "files"), "left"), nil, 0o600))
	h.did("mcp__files__read", object{"path": "/b"})
	var actions []string
	for _, s := range h.state(key1).Steps {
		actions = append(actions, s.Action)
	}
	if want := []string{"mcp__other__read", "mcp__files__read"}; !slices.Equal(actions, want) {
		t.Errorf("want %v, found %v", want, actions)
	}
}

// TestGatewayOfTheProcess: a gateway that the agent goes on with in a new session has not
// said yet that it works for that one's run. Its calls are left to it all the same, and
// those of another process's gateway are not.
func TestGatewayOfTheProcess(t *testing.T) {
	h := newHouse(t, "")
	mine, err := AnnounceIn(h.call.StateDir, "1 2 here", "files")
	must(t, err)
	other, err := AnnounceIn(h.call.StateDir, "3 4 here", "notes")
	must(t, err)
	defer other()
	h.did("mcp__files__read", object{"path": "/a"}) // nobody knows whose process it is
	h.call.Process = "1 2 here"
	h.passes(h.before("toolu_2", "mcp__files__read", object{"path": "/b"}))
	h.passes(h.after("toolu_2", "mcp__files__read", object{"path": "/b"}))
	h.did("mcp__notes__read", object{"path": "/c"})
	mine()
	h.did("mcp__files__read", object{"path": "/d"})
	var actions []string
	for _, s := range h.state(key1).Steps {
		actions = append(actions, s.Action)
	}
	if want := []string{"mcp__files__read", "mcp__notes__read", "mcp__files__read"}; !slices.Equal(actions, want) {
		t.Errorf("want %v, found %v", want, actions)
	}
}

// TestCursorServer: whose a tool is, where Cursor says so.
func TestCursorServer(t *testing.T) {
	for tool, want := range map[string]string{"MCP:files:read": "files", "MCP:read": "", "Shell": "", "a:b": ""} {
		e, err := cursor.Parse([]byte(`{"conversation_id":"c","hook_event_name":"preToolUse","tool_name":"` + tool + `","tool_input":{},"tool_use_id":"1"}`))
		if err != nil || e.Server != want {
			t.Errorf("%s: %+v %v", tool, e, err)
		}
	}
}

// TestHostile: what an agent could be made to say that two readers understand in two
// ways, or that does something to who reads it.
func TestHostile(t *testing.T) {
	h := newHouse(t, "")
	const head = `{"session_id":"s-1","hook_event_name":"PreToolUse","tool_use_id":"toolu_1",`
	for name, event := range map[string]string{
		"nothing":         ``,
		"no object":       `[]`,
		"half":            head + `"tool_name":"Bash","tool_input":{"command":"ls"`,
		"more":            head + `"tool_name":"Bash","tool_input":{}} {}`,
		"twice":           head + `"tool_name":"Bash","tool_name":"Read","tool_input":{}}`,
		"twice inside":    head + `"tool_name":"Bash","tool_input":{"command":"ls","command":"rm"}}`,
		"no UTF-8":        head + "\"tool_name\":\"Bash\",\"tool_input\":{\"command\":\"\xff\"}}",
		"half a pair":     head + `"tool_name":"Bash","tool_input":{"command":"\ud800"}}`,
		"number for text": head + `"tool_name":7,"tool_input":{}}`,
		"no tool":         head + `"tool_input":{}}`,
		"a space":         head + `"tool_name":"Bash ls","tool_input":{}}`,
		"escape":          head + `"tool_name":"\u001b[2JBash","tool_input":{}}`,
		"no session":      `{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{}}`,
		"deep":            head + `"tool_name":"Bash","tool_input":` + strings.Repeat(`{"a":`, 20000) + `1` + strings.Repeat(`}`, 20000) + `}`,
		"huge":            head + `"tool_name":"Write","tool_input":{"content":"` + strings.Repeat("a", 3<<20) + `"}}`,
	} {
		o := h.raw(event)
		if blocked := o.Exit == ExitBlock && o.Stderr != "" || strings.Contains(o.Stdout, `"permissionDecision":"deny"`); !blocked {
			t.Errorf("%s: %+v", name, o)
		}
	}
	// Inert: it is an ID, and names a file or a step nowhere.
	for _, id := range []string{"../../../etc/passwd", "..", ".", "a/b?c#d", strings.Repeat("x", 5000), "\x1b]0;x\x07", "ü"} {
		e := object{"session_id": "s" + id, "tool_name": "Bash", "tool_input": object{"command": "ls"}, "tool_use_id": id}
		h.passes(h.event("PreToolUse", e))
		e["tool_response"] = "\x1b[2J"
		h.passes(h.event("PostToolUse", e))
		if x := h.executions(RunKey("claude-code", "s"+id)); len(x) != 1 {
			t.Errorf("%q: %d", id, len(x))
		}
	}
	// A big output is recorded by its digest.
	h.passes(h.before("toolu_big", "Bash", object{"command": "yes"}))
	h.passes(h.event("PostToolUse", object{"tool_name": "Bash", "tool_input": object{"command": "yes"}, "tool_use_id": "toolu_big", "tool_response": strings.Repeat("y", 3<<20)}))
	sum := sha256.Sum256([]byte(`"` + strings.Repeat("y", 3<<20) + `"`))
	want := fmt.Sprintf(`{"dev.ledgerd/too_large":{"sha256":%q,"size":%d}}`, base64.RawURLEncoding.EncodeToString(sum[:]), 3<<20+2)
	if x := h.executions(key1)["toolu_big"]; x == nil {
		t.Error("it is not recorded")
	} else if p, err := (runtime.Embedded{Ledger: h.Ledger.Ledger}).ReadPayload(context.Background(), x.Output.Commit); err != nil || string(p.Data) != want {
		t.Errorf("want %s, found %v %v", want, p, err)
	}
	// An agent that there is no adapter for, and a mode that there is not.
	h.call.Agent = "other"
	if o := h.raw(`{}`); o.Exit != ExitBlock {
		t.Errorf("%+v", o)
	}
	h.call.Agent, h.call.Mode = "claude-code", "watch"
	if o := h.raw(`{}`); o.Exit != ExitBlock {
		t.Errorf("%+v", o)
	}
}

// TestDocumented: what each agent's documentation shows is read as it says.
func TestDocumented(t *testing.T) {
	for _, c := range []struct {
		file string
		want Event
	}{
		{"claude-code/SessionStart", Event{Kind: Start}},
		{"claude-code/PreToolUse", Event{Kind: Before, Tool: "Bash", Call: "toolu_01ABC123"}},
		{"claude-code/PostToolUse", Event{Kind: After, Tool: "Write", Call: "toolu_01ABC123", Status: success, Resource: "/path/to/file.txt"}},
		{"claude-code/PostToolUseFailure", Event{Kind: After, Tool: "Bash", Call: "toolu_01ABC123", Status: failure, Error: "Exit code 1\nError: Cannot find module 'express'"}},
		{"claude-code/PermissionDenied", Event{Kind: After, Tool: "Bash", Call: "toolu_01ABC123", Status: notRun}},
		{"claude-code/Stop", Event{Kind: Stop, Again: true, Text: "I've completed the refactoring. Here's a summary..."}},
		{"claude-code/SubagentStop", Event{Kind: SubagentStop, Text: "Analysis complete. Found 3 potential issues..."}},
		{"claude-code/SessionEnd", Event{Kind: End}},
		{"codex/SessionStart", Event{Kind: Start}},
		{"codex/PreToolUse", Event{Kind: Before, Tool: "Bash", Call: "call_1"}},
		{"codex/PostToolUse", Event{Kind: After, Tool: "Bash", Call: "call_1"}},
		{"codex/Stop", Event{Kind: Stop, Text: "Done."}},
		{"cursor/sessionStart", Event{Kind: Start}},
		{"cursor/preToolUse", Event{Kind: Before, Tool: "Shell", Call: "abc123"}},
		{"cursor/postToolUse", Event{Kind: After, Tool: "Shell", Call: "abc123", Status: success}},
		{"cursor/postToolUseFailure", Event{Kind: After, Tool: "Shell", Call: "abc123", Status: unknown, Error: "Command timed out after 30s"}},
		{"cursor/stop", Event{Kind: Stop}},
		{"cursor/sessionEnd", Event{Kind: End}},
		{"gemini-cli/SessionStart", Event{Kind: Start}},
		{"gemini-cli/BeforeTool", Event{Kind: Before, Tool: "run_shell_command"}},
		{"gemini-cli/AfterTool", Event{Kind: After, Tool: "run_shell_command", Status: success}},
		{"gemini-cli/AfterAgent", Event{Kind: Stop, Text: "Done."}},
		{"gemini-cli/SessionEnd", Event{Kind: End}},
	} {
		agent, err := For(filepath.Dir(c.file))
		must(t, err)
		raw, err := os.ReadFile(filepath.Join("testdata", c.file+".json"))
		must(t, err)
		e, err := agent.Parse(raw)
		must(t, err)
		if e.Session == "" {
			t.Errorf("%s has no session", c.file)
		}
		got := Event{Kind: e.Kind, Tool: e.Tool, Resource: e.Resource, Call: e.Call, Status: e.Status, Error: e.Error, Again: e.Again, Text: e.Text}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: want %+v\nfound %+v", c.file, c.want, got)
		}
	}
	files, err := filepath.Glob("testdata/*/*.json")
	must(t, err)
	if len(files) != 23 {
		t.Errorf("%d files, and not all are read here", len(files))
	}
}

// TestStatus: what a call came to, where the event leaves it to its output.
func TestStatus(t *testing.T) {
	shell := func(text string) string {
		b, _ := json.Marshal(object{"llmContent": text})
		return string(b)
	}
	for name, c := range map[string]struct{ got, want string }{
		"cursor failed":         {cursorStatus("Shell", []byte(`{"exitCode":1}`)), failure},
		"cursor does not say":   {cursorStatus("Shell", []byte(`{}`)), unknown},
		"cursor other tool":     {cursorStatus("Write", []byte(`{}`)), success},
		"codex MCP":             {codexStatus("mcp__notes__read", []byte(`{"isError":false,"content":[]}`)), success},
		"codex MCP failed":      {codexStatus("mcp__notes__read", []byte(`{"isError":true,"content":[]}`)), failure},
		"codex MCP, by default": {codexStatus("mcp__notes__read", []byte(`{"content":[{"type":"text","text":"x"}]}`)), success},
		"codex MCP, no result":  {codexStatus("mcp__notes__read", []byte(`"x"`)), ""},
		"codex command":         {codexStatus("Bash", []byte(`"Exit code: 0\n"`)), ""},
		"codex patch":           {codexStatus("apply_patch", []byte(`"Exit code: 0\nWall time: 0 seconds\nOutput:\nSuccess."`)), success},
		"codex patch failed":    {codexStatus("apply_patch", []byte(`"Exit code: 1\nWall time: 0 seconds\nOutput:\nExit code: 0"`)), failure},
		"codex patch, no code":  {codexStatus("apply_patch", []byte(`"Success."`)), ""},
		"claude interrupted":    {claudeStatus(nil, []byte(`{"interrupted":true}`)), unknown},
		"claude background":     {claudeStatus(nil, []byte(`{"stdout":"","backgroundTaskId":"b1"}`)), accepted},
		"claude subagent":       {claudeStatus(nil, []byte(`{"status":"async_launched"}`)), accepted},
		"gemini failed":         {first(geminiStatus("run_shell_command", []byte(shell("Output: x\nExit Code: 1\nSignal: (none)")))), failure},
		"gemini killed":         {first(geminiStatus("run_shell_command", []byte(shell("Output: x\nExit Code: (none)\nSignal: SIGKILL")))), failure},
		"gemini prints success": {first(geminiStatus("run_shell_command", []byte(shell("Output: Exit Code: 0\nExit Code: 0\nExit Code: 2")))), failure},
		"gemini says nothing":   {first(geminiStatus("run_shell_command", []byte(shell("Output: Signal: SIGTERM\nok\nProcess Group PGID: 7")))), success},
		"gemini in a wrap":      {first(geminiStatus("run_shell_command", []byte(shell("<untrusted_context>\nOutput: (empty)\nProcess Group PGID: 7\n</untrusted_context>")))), success},
		"gemini failed in one":  {first(geminiStatus("run_shell_command", []byte(shell("<untrusted_context>\nOutput: (empty)\nExit Code: 1\nProcess Group PGID: 7\n</untrusted_context>")))), failure},
		"gemini summary":        {first(geminiStatus("run_shell_command", []byte(shell("The tests pass.")))), unknown},
		"gemini cut off":        {first(geminiStatus("run_shell_command", []byte(shell("Command was cancelled by user before it could complete. Below is the output before it was cancelled:\nok")))), unknown},
		"gemini background":     {first(geminiStatus("run_shell_command", []byte(shell("Command moved to background (PID: 7). Output hidden.")))), accepted},
		"gemini parts":          {first(geminiStatus("run_shell_command", []byte(`{"llmContent":[{"text":"Output: x"}]}`))), unknown},
		"gemini error":          {first(geminiStatus("read_file", []byte(`{"llmContent":"x","error":{"message":"no such file"}}`))), failure},
		"gemini no response":    {first(geminiStatus("read_file", nil)), unknown},
	} {
		if c.got != c.want {
			t.Errorf("%s: want %s, found %s", name, c.want, c.got)
		}
	}
}

func first(a, _ string) string { return a }

// TestAnswers: each agent is told in its own words.
func TestAnswers(t *testing.T) {
	no := Answer{Block: true, Why: "no\x1b[2J\nnever"}
	for _, c := range []struct {
		agent string
		kind  Kind
		a     Answer
		want  Out
	}{
		{"claude-code", Before, no, Out{Stdout: `{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"deny","permissionDecisionReason":"no\\u{1b}[2J never"}}` + "\n"}},
		{"claude-code", Stop, no, Out{Stdout: `{"decision":"block","reason":"no\\u{1b}[2J never"}` + "\n"}},
		{"claude-code", Before, Answer{}, Out{}},
		// A failure before a call would block it.
		{"claude-code", Before, Answer{Note: "not enforced"}, Out{Stdout: `{"systemMessage":"ledgerd: not enforced"}` + "\n"}},
		{"claude-code", After, Answer{Note: "lost"}, Out{Stderr: "ledgerd: lost\n", Exit: 1}},
		{"codex", Before, no, Out{Stdout: `{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"deny","permissionDecisionReason":"no\\u{1b}[2J never"}}` + "\n"}},
		{"cursor", Before, no, Out{Stdout: `{"agent_message":"no\\u{1b}[2J never","permission":"deny","user_message":"no\\u{1b}[2J never"}` + "\n"}},
		{"cursor", Stop, no, Out{Stdout: `{"followup_message":"no\\u{1b}[2J never"}` + "\n"}},
		{"cursor", Before, Answer{}, Out{Stdout: "{}\n"}},
		{"cursor", Before, Answer{Note: "not enforced"}, Out{Stdout: "{}\n", Stderr: "ledgerd: not enforced\n"}},
		{"gemini-cli", Before, no, Out{Stdout: `{"decision":"deny","reason":"no\\u{1b}[2J never"}` + "\n"}},
		{"gemini-cli", Stop, no, Out{Stdout: `{"decision":"deny","reason":"no\\u{1b}[2J never"}` + "\n"}},
		{"gemini-cli", After, Answer{Note: "lost"}, Out{Stdout: "{}\n", Stderr: "ledgerd: lost\n", Exit: 1}},
	} {
		agent, err := For(c.agent)
		must(t, err)
		if got := agent.Answer(c.kind, c.a); got != c.want {
			t.Errorf("%s: want %+v\nfound %+v", c.agent, c.want, got)
		}
	}
}

// TestDial: a token goes to this machine without TLS, and nowhere else.
func TestDial(t *testing.T) {
	for server, ok := range map[string]bool{
		"http://127.0.0.1:8420": true, "http://localhost": true, "http://[::1]:8420/": true, "http://[::1]": true, "unix:/run/x": true,
		"http://192.0.2.1:8420": false, "http://ledger.example": false, "https://127.0.0.1:8420": false, "http://127.0.0.1@ledger.example": false,
		"http://127.0.0.1:1@ledger.example:80": false, "http://": false, "127.0.0.1:8420": false, "": false,
	} {
		if _, err := Dial(server, "x"); (err == nil) != ok || err != nil && !IsElsewhere(err) {
			t.Errorf("%q: %v", server, err)
		}
	}
	if _, err := Dial("http://127.0.0.1", "x\r\nHost: y"); err == nil {
		t.Error("a token of two lines")
	}
}

// TestNoDaemon: what is no answer of a daemon's permits nothing.
func TestNoDaemon(t *testing.T) {
	answers := make(chan string, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 64<<10))
			_, _ = io.WriteString(conn, <-answers)
			_ = conn.Close()
		}
	}()
	const allowed, head = `{"state":"allowed","attempt":1}`, "HTTP/1.1 200 OK\r\n"
	whole := func(body string) string { return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body) }
	h := &house{t: t, call: Call{Agent: "claude-code", Server: "http://" + l.Addr().String(), Token: "x", Patience: time.Nanosecond}, secret: "nothing"}
	for name, c := range map[string]struct {
		answer string
		passes bool
	}{
		"whole":       {whole(allowed), true},
		"in chunks":   {head + "Transfer-Encoding: chunked\r\n\r\n8\r\n" + allowed[:8] + "\r\n17;x=y\r\n" + allowed[8:] + "\r\n0\r\n\r\n", true},
		"cut":         {strings.TrimSuffix(whole(allowed), `1}`), false},
		"cut chunk":   {head + "Transfer-Encoding: chunked\r\n\r\n20\r\n" + allowed, false},
		"no end":      {head + "\r\n" + allowed, false},
		"too long":    {head + "Content-Length: 99999999999\r\n\r\n" + allowed, false},
		"negative":    {head + "Content-Length: -1\r\n\r\n" + allowed, false},
		"no HTTP":     {"SSH-2.0-x\r\n", false},
		"long head":   {head + "X: " + strings.Repeat("x", 1<<20), false},
		"nothing":     {"", false},
		"two answers": {whole(`{"state":"denied","state":"allowed"}`), false},
		"no state":    {whole(`{}`), false},
		"no object":   {whole(`"allowed"`), false},
		"redirect":    {"HTTP/1.1 302 Found\r\nLocation: http://x\r\nContent-Length: 0\r\n\r\n", false},
		"error":       {"HTTP/1.1 500 x\r\nContent-Length: 31\r\n\r\n" + allowed, false},
	} {
		answers <- c.answer
		if o := h.before("toolu_1", "Bash", object{"command": "ls"}); strings.Contains(o.Stdout, `"deny"`) == c.passes {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

// TestWire: the bodies here are those of internal/api.
func TestWire(t *testing.T) {
	for _, pair := range [][2]any{
		{openRun{}, api.OpenRun{}},
		{askStep{}, api.AskStep{}},
		{step{}, api.Step{}},
		{reportStep{}, api.ReportStep{}},
		{runState{}, api.RunState{}},
		{makeClaim{}, api.MakeClaim{}},
		{claim{}.Verdict, api.Verdict{}},
		{claim{}, api.Claim{}},
		{closeRun{}, api.CloseRun{}},
		{problem{}, api.Problem{}},
		{runState{}.InDoubt, []api.Doubt{}},
		{runState{}.Steps, []api.StepSummary{}},
	} {
		here, there := members(reflect.TypeOf(pair[0])), members(reflect.TypeOf(pair[1]))
		for name := range here {
			if !there[name] {
				t.Errorf("%T has no member %q", pair[1], name)
			}
		}
	}
	for here, there := range map[string]string{
		stateAllowed: api.StepAllowed, stateSucceeded: api.StepSucceeded, stateDenied: api.StepDenied, stateWaiting: api.StepWaiting, stateInDoubt: api.StepInDoubt,
		reasonNotFound: api.ReasonNotFound, reasonEnded: api.ReasonEnded, reasonChanged: api.ReasonChanged, reasonReported: api.ReasonReported,
		reasonDenied: api.ReasonNotPermitted, reasonClaim: api.ReasonUnsupported, reasonNoClaim: api.ReasonNoClaim, reasonInvalid: api.ReasonInvalid,
		supported: string(evidence.Supported), success: string(evidence.StatusSuccess), failure: string(evidence.StatusFailure), accepted: string(evidence.StatusAccepted),
		unknown: string(evidence.StatusUnknown), notRun: string(evidence.StatusNotRun),
	} {
		if here != there {
			t.Errorf("want %q, found %q", there, here)
		}
	}
	for _, name := range []string{"", ".", "..", "a", "a/b", "a b", "é", strings.Repeat("a", 200), strings.Repeat("a", 201), "a:1", "run_1"} {
		if here, there := fits(name), agent.CheckName("step", name) == nil; here != there && name != "." && name != ".." {
			t.Errorf("%q: %v, and the daemon says %v", name, here, there)
		}
		if here, there := identifier(name), evidence.CheckIdentifier(name) == nil; here != there {
			t.Errorf("%q: %v, and a record says %v", name, here, there)
		}
	}
}

func members(t reflect.Type) map[string]bool {
	for t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	all := make(map[string]bool)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		all[name] = true
	}
	return all
}

// TestEarly: package early is there before what takes its time, for it imports little.
func TestEarly(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./early").Output()
	must(t, err)
	for _, dep := range strings.Fields(string(out)) {
		host, _, _ := strings.Cut(dep, "/")
		switch {
		case dep == "ledgerd/internal/hook", dep == "ledgerd/internal/hook/early", dep == "ledgerd/internal/filelock", dep == "ledgerd/internal/userdaemon/place", dep == "ledgerd/internal/claudecode":
		case strings.HasPrefix(dep, "github.com/go-json-experiment/json"), dep == "golang.org/x/sys/unix", host == "vendor":
		case strings.Contains(host, "."), host == "ledgerd", dep == "net/http", dep == "net/url", dep == "net/textproto", dep == "regexp":
			t.Errorf("package early needs %s, which is initialised late, or takes its time", dep)
		}
	}
}

// TestEarlyCall: what Early serves, and what it leaves to the command.
func TestEarlyCall(t *testing.T) {
	h := newHouse(t, "")
	env := func(of map[string]string) func(string) (string, bool) {
		return func(name string) (string, bool) { v, ok := of[name]; return v, ok }
	}
	token := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(token, []byte(h.secret+"\n"), 0o600))
	event := `{"session_id":"e","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"ls"},"tool_use_id":"t-1"}`
	for name, c := range map[string]struct {
		args string
		env  map[string]string
		done bool
	}{
		"flags":          {"hook --agent claude-code --server " + h.URL + " --token-file " + token, nil, true},
		"inline":         {"hook --agent=claude-code --server=" + h.URL + " --token-file=" + token, nil, true},
		"environment":    {"hook --agent claude-code", map[string]string{"LEDGERD_SERVER": h.URL, "LEDGERD_TOKEN_FILE": token}, true},
		"token":          {"hook --agent claude-code", map[string]string{"LEDGERD_SERVER": h.URL, "LEDGERD_TOKEN": h.secret}, true},
		"settings":       {"hook --agent claude-code", map[string]string{"LEDGERD_SERVER": h.URL, "LEDGERD_TOKEN_FILE": token, "LEDGERD_CONFIG": "x"}, false},
		"help":           {"hook --help", nil, false},
		"another":        {"hook install --agent claude-code", nil, false},
		"unknown flag":   {"hook --agent claude-code --colour red", nil, false},
		"twice":          {"hook --agent claude-code --agent cursor", nil, false},
		"elsewhere":      {"hook --agent claude-code --server https://ledger.example --token x", nil, false},
		"other command":  {"serve --agent", nil, false},
		"malformed wait": {"hook --agent claude-code --wait long", nil, false},
	} {
		var stdout, stderr bytes.Buffer
		exit, done := Early(append([]string{"ledgerd"}, strings.Fields(c.args)...), env(c.env), strings.NewReader(event), &stdout, &stderr)
		if done != c.done || exit != 0 || stdout.Len()+stderr.Len() > 0 {
			t.Errorf("%s: %v %d %s%s", name, done, exit, &stdout, &stderr)
		}
	}
	if st := h.state("claude-code.e"); len(st.Steps) != 1 {
		t.Errorf("%+v", st)
	}
}
