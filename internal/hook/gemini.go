package hook

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// gemini is Gemini CLI (https://geminicli.com/docs/hooks/reference). It gives calls no
// IDs, and goes on where a hook fails.
var gemini = Agent{Name: "gemini-cli", parse: parseGemini, answer: answerGemini}

type geminiInput struct {
	Session    string         `json:"session_id"`
	Transcript string         `json:"transcript_path"`
	Cwd        string         `json:"cwd"`
	Event      string         `json:"hook_event_name"`
	Tool       string         `json:"tool_name"`
	Input      jsontext.Value `json:"tool_input"`
	Response   jsontext.Value `json:"tool_response"`
	MCP        struct {
		Server string `json:"server_name"`
	} `json:"mcp_context"`
	Again bool   `json:"stop_hook_active"`
	Said  string `json:"prompt_response"`
}

func parseGemini(raw []byte) (*Event, error) {
	var in geminiInput
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, malformed(err)
	}
	e := &Event{
		Session: in.Session, Cwd: in.Cwd, Transcript: in.Transcript, Tool: in.Tool, Resource: file(in.Tool, in.Input), Input: in.Input,
		Server: in.MCP.Server, Again: in.Again, Text: in.Said, Grows: true,
	}
	switch in.Event {
	case "SessionStart":
		e.Kind = Start
	case "BeforeTool":
		e.Kind = Before
	case "AfterTool":
		e.Kind, e.Output = After, in.Response
		e.Status, e.Error = geminiStatus(in.Tool, in.Response)
	case "AfterAgent":
		e.Kind = Stop
	case "SessionEnd":
		e.Kind = End
	default:
		e.Kind = Other
	}
	return e, nil
}

// geminiStatus says what came of a call: it failed where the response has an error. Of a
// shell's command the response's text says the rest, in lines after what the command
// printed, of which those that say nothing out of the ordinary may be left out. The command
// may have printed lines that look the same, and can so look as if it had failed, but
// not as if it had succeeded.
func geminiStatus(tool string, response jsontext.Value) (status, why string) {
	var out struct {
		Error   jsontext.Value `json:"error"`
		Content jsontext.Value `json:"llmContent"`
	}
	if json.Unmarshal(response, &out) != nil {
		return unknown, ""
	}
	if len(out.Error) > 0 && out.Error.Kind() != 'n' {
		var e struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(out.Error, &e)
		return failure, e.Message
	}
	text := str(out.Content)
	if inner, ok := strings.CutPrefix(text, "<untrusted_context>\n"); ok { // from 0.61 on, or earlier
		text = strings.TrimSuffix(inner, "\n</untrusted_context>")
	}
	switch {
	case tool != "run_shell_command":
		return success, ""
	case strings.HasPrefix(text, "Command moved to background"):
		return accepted, ""
	case !strings.HasPrefix(text, "Output: ") && !strings.HasPrefix(text, "Command: "):
		return unknown, "" // it was cut off, or that is a summary
	}
	for _, line := range slices.Backward(strings.Split(text, "\n")) {
		name, value, _ := strings.Cut(line, ": ")
		switch value = strings.TrimSpace(value); name {
		case "Background PIDs", "Process Group PGID":
		case "Exit Code", "Signal":
			if value != "0" && value != "(none)" {
				return failure, line
			}
		default:
			return success, ""
		}
	}
	return success, ""
}

func answerGemini(k Kind, a Answer) Out {
	if a.Block && (k == Before || k == Stop) {
		return Out{Stdout: string(marshal(map[string]string{"decision": "deny", "reason": a.Why})) + "\n"}
	}
	if a.Block {
		return byExit(a)
	}
	return noted(a, "{}\n")
}
