package hook

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ledgerd/evidence"
)

// recorded are the events that a real agent gave in one session, a line each.
func recorded(t testing.TB, agent string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", agent, "recorded.jsonl"))
	must(t, err)
	return bytes.Split(bytes.TrimSpace(b), []byte("\n"))
}

// TestRecorded: what real agents gave is read as what happened.
func TestRecorded(t *testing.T) {
	for name, want := range map[string][]string{
		"claude-code": {
			"session-start", "before Bash", "after Bash failure", "before Read", "after Read success", "before Edit", "after Edit success",
			"before mcp__notes__write_note of notes", "after mcp__notes__write_note success of notes", "before Bash",
			"before mcp__notes__delete_notes of notes", "after mcp__notes__delete_notes failure of notes", "stop", "before Bash", "after Bash success", "stop again", "session-end",
		},
		"codex": {
			"session-start", "before Bash", "after Bash", "before apply_patch", "after apply_patch success",
			"before mcp__notes__write_note of notes", "after mcp__notes__write_note success of notes", "before Bash",
			"before mcp__notes__delete_notes of notes", "stop", "before Bash", "after Bash", "stop again", "session-end",
		},
		"gemini-cli": {
			"session-start", "before run_shell_command", "after run_shell_command failure", "before read_file", "after read_file success", "before replace", "after replace success",
			"before mcp_notes_write_note of notes", "after mcp_notes_write_note success of notes", "before run_shell_command",
			"before mcp_notes_delete_notes of notes", "after mcp_notes_delete_notes failure of notes", "stop", "before run_shell_command", "after run_shell_command success", "stop", "session-end",
		},
	} {
		agent, err := For(name)
		must(t, err)
		var got []string
		for _, raw := range recorded(t, name) {
			e, err := agent.Parse(raw)
			must(t, err)
			words := []string{string(e.Kind)}
			for _, w := range []string{e.Tool, e.Status} {
				if w != "" {
					words = append(words, w)
				}
			}
			if e.Server != "" {
				words = append(words, "of", e.Server)
			}
			if e.Again {
				words = append(words, "again")
			}
			got = append(got, strings.Join(words, " "))
			if e.Session == "" || e.Cwd != "/home/dev/x" || e.Kind == Stop && e.Text == "" || e.Kind == Before && e.Call == "" && name != "gemini-cli" {
				t.Errorf("%s: %+v", name, e)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: want\n%s\nfound\n%s", name, strings.Join(want, "\n"), strings.Join(got, "\n"))
		}
	}
}

// TestCodexOutcomes: what came of commands is read from the transcript: at once where it is
// there already, else when the agent stops.
func TestCodexOutcomes(t *testing.T) {
	h := newHouse(t, "")
	h.call.Agent = "codex"
	give := func(transcript string, of func(event string) bool) {
		t.Helper()
		for _, raw := range recorded(t, "codex") {
			var e object
			must(t, json.Unmarshal(raw, &e))
			if !of(e["hook_event_name"].(string)) || e["tool_use_id"] == "call_3" { // which was denied
				continue
			}
			e["transcript_path"] = transcript
			b, err := json.Marshal(e)
			must(t, err)
			h.passes(h.raw(string(b)))
		}
	}
	key := RunKey("codex", "")
	for _, raw := range recorded(t, "codex")[:1] {
		e, err := codex.Parse(raw)
		must(t, err)
		key = RunKey("codex", e.Session)
	}
	statuses := func() map[string]evidence.Status {
		all := make(map[string]evidence.Status)
		for step, x := range h.executions(key) {
			all[step] = x.Status
		}
		return all
	}
	// It is not written yet.
	give("testdata/none", func(event string) bool { return event != "Stop" && event != "SessionEnd" })
	want := map[string]evidence.Status{"call_1": evidence.StatusSuccess, "call_2": evidence.StatusSuccess}
	if got := statuses(); !reflect.DeepEqual(got, want) {
		t.Errorf("want %v\nfound %v", want, got)
	}
	give("testdata/codex/transcript.jsonl", func(event string) bool { return event == "Stop" })
	want["call_0"], want["call_4"], want["call_6"] = evidence.StatusFailure, evidence.StatusFailure, evidence.StatusSuccess
	if got := statuses(); !reflect.DeepEqual(got, want) {
		t.Errorf("at the stop: want %v\nfound %v", want, got)
	}
	give("testdata/codex/transcript.jsonl", func(event string) bool { return event == "SessionEnd" })
	if st := h.state(key); st.End != evidence.Completed {
		t.Errorf("%+v", st)
	}
	h.sound(key)

	// It is there.
	h.call.StateDir, h.call.Run = t.TempDir(), "another"
	give("testdata/codex/transcript.jsonl", func(event string) bool { return strings.HasSuffix(event, "ToolUse") })
	key = "another"
	delete(want, "call_4") // nothing was reported of it
	if got := statuses(); !reflect.DeepEqual(got, want) {
		t.Errorf("want %v\nfound %v", want, got)
	}

	for item, want := range map[string]string{
		`{"type":"CommandExecution","status":"completed","exit_code":0}`: success,
		`{"type":"CommandExecution","status":"completed","exit_code":1}`: failure,
		`{"type":"CommandExecution","status":"failed"}`:                  failure,
		`{"type":"CommandExecution","status":"completed"}`:               unknown,
		`{"type":"CommandExecution","status":"declined"}`:                notRun,
		`{"type":"FileChange","status":"completed"}`:                     success,
		`{"type":"McpToolCall","status":"in_progress"}`:                  unknown,
		`{"type":"AgentMessage","status":"completed"}`:                   "",
	} {
		var i codexItem
		must(t, json.Unmarshal([]byte(item), &i))
		if o, ok := i.outcome(); ok != (want != "") || ok && o.status != want {
			t.Errorf("%s: %+v", item, o)
		}
	}
}

// TestSentBackGemini: Gemini CLI, which tells all that it said since the user spoke, and not
// that it was sent back where it used a tool since, is sent back a bounded number of times.
func TestSentBackGemini(t *testing.T) {
	h := newHouse(t, strings.NewReplacer(`"Bash"`, `"run_shell_command"`, `"Edit"`, `"replace"`).Replace(contract))
	h.call.Agent = "gemini-cli"
	event := func(name string, members object) Out {
		t.Helper()
		e := object{"session_id": "g", "hook_event_name": name}
		for k, v := range members {
			e[k] = v
		}
		b, err := json.Marshal(e)
		must(t, err)
		return h.raw(string(b))
	}
	use := func() {
		t.Helper()
		edit := object{"tool_name": "replace", "tool_input": object{"file_path": "/a"}, "tool_response": object{"llmContent": "ok"}}
		for _, name := range []string{"BeforeTool", "AfterTool"} {
			if o := event(name, edit); o.Stdout != "{}\n" || o.Exit != 0 {
				t.Fatalf("%+v", o)
			}
		}
	}
	use()
	said := ""
	for _, want := range []string{"(1 of 3)", "(2 of 3)", "(3 of 3)", ""} {
		said += "Done.\n"
		o := event("AfterAgent", object{"prompt": "Go on.", "prompt_response": strings.TrimSpace(said), "stop_hook_active": false})
		if !strings.Contains(o.Stdout, want) || want == "" && o.Stdout != "{}\n" {
			t.Errorf("want %q, found %+v", want, o)
		}
		use()
	}
	if o := event("AfterAgent", object{"prompt": "Go on.", "prompt_response": "Done now.", "stop_hook_active": false}); !strings.Contains(o.Stdout, "(1 of 3)") {
		t.Errorf("the user has spoken since: %+v", o)
	}
}
