package hook

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// codex is Codex (https://developers.openai.com/codex/hooks, and the JSON Schemas in its
// repository). Its input is that of Claude Code but for what it leaves out: whether a
// command succeeded, which its transcript says. It goes on where a hook fails
// (openai/codex#41979).
var codex = Agent{Name: "codex", parse: parseCodex, answer: answerClaude, outcomes: codexOutcomes}

func parseCodex(raw []byte) (*Event, error) {
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
		e.Kind, e.Status = After, codexStatus(in.Tool, in.Response)
	case "Stop":
		e.Kind = Stop
	case "SubagentStop":
		e.Kind, e.Transcript = SubagentStop, ""
	case "SessionEnd":
		e.Kind = End
	default:
		e.Kind = Other
	}
	return e, nil
}

// codexStatus says what came of a call, "" where only the transcript says so. PostToolUse
// is called for commands that failed, too, and the response to a command is what it
// printed. The results of MCP say isError where it is so; a patch's first line is the exit
// code of what applies it.
func codexStatus(tool string, response jsontext.Value) string {
	if _, _, ok := mcpTool(tool); ok {
		var out struct {
			IsError bool           `json:"isError"`
			Content jsontext.Value `json:"content"`
		}
		switch err := json.Unmarshal(response, &out); {
		case err != nil || out.Content.Kind() != '[':
			return ""
		case out.IsError:
			return failure
		}
		return success
	}
	if tool != "apply_patch" {
		return ""
	}
	first, _, _ := strings.Cut(str(response), "\n")
	switch code, ok := strings.CutPrefix(first, "Exit code: "); {
	case !ok:
		return ""
	case code != "0":
		return failure
	}
	return success
}

// codexOutcomes reads a transcript of Codex: a JSON object a line, among which are the
// items that were completed, a call by its own ID.
func codexOutcomes(path string) (map[string]outcome, error) {
	found := make(map[string]outcome)
	err := eachLine(path, func(line []byte) {
		if !bytes.Contains(line, []byte(`"item_completed"`)) { // most lines are none
			return
		}
		var entry struct {
			Type    string `json:"type"`
			Payload struct {
				Type string    `json:"type"`
				Item codexItem `json:"item"`
			} `json:"payload"`
		}
		if readEntry(line, &entry) != nil || entry.Type != "event_msg" || entry.Payload.Type != "item_completed" {
			return
		}
		if o, ok := entry.Payload.Item.outcome(); ok {
			found[entry.Payload.Item.ID] = o
		}
	})
	return found, err
}

type codexItem struct {
	Type   string         `json:"type"`
	ID     string         `json:"id"`
	Status string         `json:"status"`
	Exit   *int           `json:"exit_code"`
	Output jsontext.Value `json:"aggregated_output"`
	Result jsontext.Value `json:"result"`
}

// outcome says what came of the call that an item is, if it is one.
func (i *codexItem) outcome() (outcome, bool) {
	o := outcome{status: unknown}
	switch i.Type {
	case "CommandExecution":
		o.output = i.Output
	case "FileChange":
	case "McpToolCall":
		o.output = i.Result
	default:
		return o, false
	}
	switch {
	case i.Status == "declined":
		return outcome{status: notRun}, true
	case i.Exit != nil && *i.Exit != 0, i.Status == "failed":
		o.status = failure
	case i.Status == "completed" && (i.Exit != nil || i.Type != "CommandExecution"):
		o.status = success
	}
	return o, true
}
