package hook

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// cursor is Cursor (https://cursor.com/docs/hooks). Of the hooks before a call it is
// installed in preToolUse alone, which is called for every tool: beforeShellExecution,
// beforeMCPExecution and beforeReadFile tell of the same calls, without an ID.
var cursor = Agent{Name: "cursor", Closed: true, parse: parseCursor, answer: answerCursor}

type cursorInput struct {
	Conversation string         `json:"conversation_id"`
	Session      string         `json:"session_id"`
	Event        string         `json:"hook_event_name"`
	Transcript   string         `json:"transcript_path"`
	Cwd          string         `json:"cwd"`
	Tool         string         `json:"tool_name"`
	Input        jsontext.Value `json:"tool_input"`
	Output       jsontext.Value `json:"tool_output"`
	Call         string         `json:"tool_use_id"`
	Took         jsontext.Value `json:"duration"`
	Error        string         `json:"error_message"`
	Failure      string         `json:"failure_type"`
	Interrupt    bool           `json:"is_interrupt"`
	Status       string         `json:"status"`
	Loop         int            `json:"loop_count"`
}

func parseCursor(raw []byte) (*Event, error) {
	var in cursorInput
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, malformed(err)
	}
	e := &Event{
		Session: in.Conversation, Cwd: in.Cwd, Transcript: in.Transcript, Tool: in.Tool, Resource: file(in.Tool, in.Input), Input: in.Input,
		Call: in.Call, Took: millis(in.Took), Again: in.Loop > 0, Aborted: in.Status == "aborted" || in.Status == "error",
	}
	if e.Session == "" {
		e.Session = in.Session // the same
	}
	// The documents have MCP:TOOL, which does not say whose it is; MCP:SERVER:TOOL was seen, too.
	if server, _, ok := strings.Cut(strings.TrimPrefix(in.Tool, "MCP:"), ":"); ok && strings.HasPrefix(in.Tool, "MCP:") {
		e.Server = server
	}
	switch in.Event {
	case "sessionStart":
		e.Kind = Start
	case "preToolUse":
		e.Kind = Before
	case "postToolUse":
		e.Kind, e.Output = After, document(in.Output)
		e.Status = cursorStatus(in.Tool, e.Output)
	case "postToolUseFailure":
		e.Kind, e.Error = After, in.Error
		switch {
		case in.Failure == "permission_denied":
			e.Status = notRun
		case in.Interrupt, in.Failure == "timeout":
			e.Status = unknown
		default:
			e.Status = failure
		}
	case "stop":
		e.Kind = Stop
	case "subagentStop":
		e.Kind, e.Transcript = SubagentStop, ""
	case "sessionEnd":
		e.Kind = End
	default:
		e.Kind = Other
	}
	return e, nil
}

// cursorStatus says what came of a call: a shell's command by its exit code.
func cursorStatus(tool string, output jsontext.Value) string {
	if tool != "Shell" {
		return success
	}
	var out struct {
		Exit *int `json:"exitCode"`
	}
	switch err := json.Unmarshal(output, &out); {
	case err != nil || out.Exit == nil:
		return unknown
	case *out.Exit != 0:
		return failure
	}
	return success
}

func answerCursor(k Kind, a Answer) Out {
	switch {
	case a.Block && k == Before:
		return Out{Stdout: string(marshal(map[string]string{"permission": "deny", "user_message": a.Why, "agent_message": a.Why})) + "\n"}
	case a.Block && (k == Stop || k == SubagentStop):
		return Out{Stdout: string(marshal(map[string]string{"followup_message": a.Why})) + "\n"}
	case a.Block:
		return byExit(a)
	case a.Note != "" && k == Before: // with another code than 0 it would be blocked (failClosed)
		return Out{Stdout: "{}\n", Stderr: "ledgerd: " + a.Note + "\n"}
	}
	return noted(a, "{}\n") // an object that decides nothing: what is no JSON counts as a failure
}
