package hook

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/internal/claudecode"
)

// claudeCode is Claude Code (https://code.claude.com/docs/en/hooks). It blocks on a
// failure of the hook before a call where the entry says onFailure "block", from
// version 2.1.295 on; older ones ignore that, and go on.
var claudeCode = Agent{Name: "claude-code", Closed: true, parse: parseClaude, answer: answerClaude, outcomes: claudeOutcomes}

type claudeInput struct {
	Session         string         `json:"session_id"`
	Transcript      string         `json:"transcript_path"`
	AgentTranscript string         `json:"agent_transcript_path"`
	Cwd             string         `json:"cwd"`
	Event           string         `json:"hook_event_name"`
	Tool            string         `json:"tool_name"`
	Input           jsontext.Value `json:"tool_input"`
	Response        jsontext.Value `json:"tool_response"`
	Call            string         `json:"tool_use_id"`
	Server          mcpServer      `json:"mcp_server"`
	Error           jsontext.Value `json:"error"`
	Interrupt       bool           `json:"is_interrupt"`
	Took            jsontext.Value `json:"duration_ms"`
	Again           bool           `json:"stop_hook_active"`
	Last            string         `json:"last_assistant_message"`
}

// mcpServer says whose a tool is. In the tool's own name the server's is written with
// other characters where some are not allowed there.
type mcpServer struct {
	Name string `json:"name"`
}

func (in *claudeInput) event() *Event {
	return &Event{
		Session: in.Session, Cwd: in.Cwd, Transcript: in.Transcript, Tool: in.Tool, Resource: file(in.Tool, in.Input), Input: in.Input, Call: in.Call,
		Server: in.Server.Name, Output: in.Response, Took: millis(in.Took), Again: in.Again, Text: in.Last,
	}
}

func parseClaude(raw []byte) (*Event, error) {
	var in claudeInput
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, malformed(err)
	}
	e := in.event()
	switch in.Event {
	case "SessionStart":
		e.Kind = Start
	case "PreToolUse":
		e.Kind = Before
	case "PostToolUse":
		e.Kind, e.Status = After, claudeStatus(in.Input, in.Response)
	case "PostToolUseFailure":
		// The first line of a shell's error is "Exit code N". An abort says nothing of
		// how far it came.
		e.Kind, e.Status, e.Error, e.Output = After, failure, str(in.Error), nil
		if in.Interrupt {
			e.Status = unknown
		}
	case "PermissionDenied":
		e.Kind, e.Status = After, notRun
	case "Stop":
		e.Kind = Stop
	case "SubagentStop":
		e.Kind, e.Transcript = SubagentStop, in.AgentTranscript
	case "SessionEnd":
		e.Kind = End
	default:
		e.Kind = Other
	}
	return e, nil
}

// claudeStatus says what came of a call that PostToolUse tells of: what goes on in the
// background is only begun, and what was interrupted is nobody knows how far.
func claudeStatus(input, response jsontext.Value) string {
	var in toolInput
	var out struct {
		Interrupted jsontext.Value `json:"interrupted"`
		Background  jsontext.Value `json:"backgroundTaskId"`
		Status      jsontext.Value `json:"status"`
	}
	_ = json.Unmarshal(input, &in)
	_ = json.Unmarshal(response, &out)
	switch {
	case in.Background.Kind() == 't', str(out.Background) != "", str(out.Status) == "async_launched":
		return accepted
	case out.Interrupted.Kind() == 't':
		return unknown
	}
	return success
}

func answerClaude(k Kind, a Answer) Out {
	switch {
	case a.Block && k == Before:
		return Out{Stdout: string(marshal(map[string]any{"hookSpecificOutput": map[string]string{
			"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": a.Why,
		}})) + "\n"}
	case a.Block && (k == Stop || k == SubagentStop):
		return Out{Stdout: string(marshal(map[string]string{"decision": "block", "reason": a.Why})) + "\n"}
	case a.Note != "" && k == Before: // with another code than 0 it would be blocked, by an entry that says onFailure
		return Out{Stdout: string(marshal(map[string]string{"systemMessage": "ledgerd: " + a.Note})) + "\n"}
	}
	// Nothing on stdout is no decision: the agent's own permissions apply. It is not
	// said to allow, for that would go past them.
	return byExit(a)
}

// claudeOutcomes reads a transcript of Claude Code: a JSON object a line, in which the
// answer to a tool_use block is a tool_result block of its ID.
func claudeOutcomes(path string) (map[string]outcome, error) {
	found := make(map[string]outcome)
	var rejected []string // results that say so, since the agent last spoke
	err := eachLine(path, func(line []byte) {
		var entry struct {
			Type    string `json:"type"`
			Message struct {
				Content jsontext.Value `json:"content"`
			} `json:"message"`
			Result jsontext.Value `json:"toolUseResult"`
		}
		if readEntry(line, &entry) != nil {
			return
		}
		if entry.Type == "assistant" {
			rejected = nil
			return
		}
		var blocks []struct {
			Type    string         `json:"type"`
			ID      string         `json:"tool_use_id"`
			IsError bool           `json:"is_error"`
			Text    string         `json:"text"`
			Content jsontext.Value `json:"content"`
		}
		if entry.Message.Content.Kind() != '[' || json.Unmarshal(entry.Message.Content, &blocks) != nil {
			return
		}
		for _, b := range blocks {
			switch {
			case b.Type == "text" && strings.HasPrefix(b.Text, "[Request interrupted by user"):
				// The same is written for a call that was cut off and for one that was
				// never begun.
				for _, id := range rejected {
					found[id] = outcome{status: unknown, err: "the user interrupted it"}
				}
			case b.Type == "tool_result" && b.ID != "":
				o := claudeResult(b.IsError, b.Content, entry.Result)
				if o.status == notRun {
					rejected = append(rejected, b.ID)
				}
				found[b.ID] = o
			}
		}
	})
	return found, err
}

func claudeResult(isError bool, content, result jsontext.Value) outcome {
	text := textOf(content)
	switch {
	case !isError:
		o := outcome{status: success, output: content}
		if result.Kind() == '{' {
			o.output = result // the same as tool_response
			o.status = claudeStatus(nil, result)
		}
		return o
	case claudecode.RefusedBy(text) != "":
		return outcome{status: notRun}
	case strings.HasPrefix(text, "Exit code "):
		return outcome{status: failure, err: text}
	}
	// It failed, or was blocked by another hook, or was cut off: nobody says which.
	return outcome{status: unknown, err: text}
}

// textOf returns the text of a result, which is a string or a list of blocks.
func textOf(content jsontext.Value) string {
	if content.Kind() == '"' {
		return str(content)
	}
	var blocks []struct {
		Text string `json:"text"`
	}
	_ = json.Unmarshal(content, &blocks)
	var b strings.Builder
	for _, block := range blocks {
		b.WriteString(block.Text)
	}
	return b.String()
}

func malformed(err error) error {
	// Not what stands there, which may be a secret: only where.
	var at *jsontext.SyntacticError
	if ok := asSyntactic(err, &at); ok {
		return fmt.Errorf("want one JSON object (I-JSON) as the agent's documentation has it, found something else at byte %d", at.ByteOffset)
	}
	return fmt.Errorf("want one JSON object as the agent's documentation has it, found a member of another type")
}
