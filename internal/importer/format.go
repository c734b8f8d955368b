package importer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Format is a form in which transcripts come.
type Format string

// The formats that are read.
const (
	FormatChat       Format = "chat"             // one run a line: OpenAI's chat format with the run's name, agent and intent beside it
	FormatResponses  Format = "openai-responses" // items of OpenAI's Responses API
	FormatAnthropic  Format = "anthropic"        // messages of Anthropic's Messages API
	FormatClaudeCode Format = "claude-code"      // session files of Claude Code
	FormatOTLP       Format = "otlp"             // traces, in the JSON of the OpenTelemetry protocol
)

// Formats lists them.
func Formats() []Format {
	return []Format{FormatChat, FormatResponses, FormatAnthropic, FormatClaudeCode, FormatOTLP}
}

// Options say how a file is read.
type Options struct {
	Format Format // "": as the content has it
	Actor  string // the agent, where a transcript names none; "": one for the format
}

// peeked is how much of a file is looked at to see its format.
const peeked = 256 << 10

// Open reads the transcripts of r, and says in which format they are.
func Open(r io.Reader, o Options) (Transcripts, Format, error) {
	in := bufio.NewReaderSize(r, peeked)
	f := o.Format
	if f == "" {
		head, err := in.Peek(peeked)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, "", err
		}
		if f, err = sniff(head); err != nil {
			return nil, "", err
		}
	}
	actor := o.Actor
	if actor == "" {
		actor = map[Format]string{FormatClaudeCode: "claude-code"}[f]
	}
	if actor == "" {
		actor = "agent"
	}
	if !isIdentifier(actor) {
		return nil, f, fmt.Errorf("the agent's name: want 1 to 256 bytes of printable ASCII without spaces, found %q", clip(actor))
	}
	switch f {
	case FormatChat:
		return NewReader(in), f, nil
	case FormatResponses:
		return newValues(in, func(raw jsontext.Value) (*Transcript, error) { return parseResponses(raw, actor) }), f, nil
	case FormatAnthropic:
		return newValues(in, func(raw jsontext.Value) (*Transcript, error) { return parseAnthropic(raw, actor) }), f, nil
	case FormatClaudeCode:
		return &sessions{in: NewReader(in), actor: actor}, f, nil
	case FormatOTLP:
		return &traces{in: NewReader(in), named: o.Actor}, f, nil
	}
	return nil, f, fmt.Errorf("want a format among %v, found %q", Formats(), clip(string(f)))
}

// sniff tells a format from the first JSON value of a file, as far as head has it.
func sniff(head []byte) (Format, error) {
	if len(bytes.TrimSpace(head)) == 0 {
		return FormatChat, nil // no run at all
	}
	s := look(head)
	var found []Format
	for _, f := range Formats() {
		if s.is(f) {
			found = append(found, f)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if s.top["messages"] {
			return "", &FormatError{"the content may be chat or anthropic, which differ in what these messages do not have"}
		}
		return "", &FormatError{fmt.Sprintf("the content has the marks of none of %s", listed(Formats()))}
	}
	return "", &FormatError{"the content may be " + strings.ReplaceAll(listed(found), ", ", " or ")}
}

func listed(all []Format) string {
	var names []string
	for _, f := range all {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// FormatError says that a file's content does not tell its format.
type FormatError struct{ why string }

func (e *FormatError) Error() string {
	return e.why + ": say which it is by --format " + strings.ReplaceAll(listed(Formats()), ", ", "|")
}

// marks are what a format is told by: names of members at the top, anywhere, and
// the values of the members type, role and object.
type marks struct {
	top, any, types, roles, objects map[string]bool
}

func look(head []byte) *marks {
	s := &marks{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
	d := jsontext.NewDecoder(bytes.NewReader(head))
	last := ""
	for {
		t, err := d.ReadToken()
		if err != nil {
			return s // cut short, or no JSON: what was seen counts
		}
		depth := d.StackDepth()
		if depth == 0 {
			return s
		}
		in, n := d.StackIndex(depth)
		switch {
		case t.Kind() != '"':
			last = ""
		case in == '{' && n%2 == 1:
			last = t.String()
			s.any[last] = true
			if depth == 1 {
				s.top[last] = true
			}
		default:
			switch last {
			case "type":
				s.types[t.String()] = true
			case "role":
				s.roles[t.String()] = true
			case "object":
				s.objects[t.String()] = true
			}
			last = ""
		}
	}
}

func (s *marks) is(f Format) bool {
	anyOf := func(m map[string]bool, names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return m[n] })
	}
	switch f {
	case FormatOTLP:
		return anyOf(s.top, "resourceSpans", "resource_spans")
	case FormatClaudeCode:
		return anyOf(s.top, "parentUuid", "sessionId", "leafUuid", "isSidechain", "isSnapshotUpdate")
	}
	if s.is(FormatOTLP) || s.is(FormatClaudeCode) {
		return false // what lies within a line of these may look like any other
	}
	switch f {
	case FormatResponses:
		return anyOf(s.top, "input", "output", "data") || s.objects["response"] || s.any["input"] && s.any["output"] && s.any["request"] ||
			anyOf(s.types, "function_call", "function_call_output", "input_text", "output_text", "reasoning")
	case FormatAnthropic:
		return anyOf(s.types, "tool_use", "tool_result", "thinking", "redacted_thinking", "server_tool_use") ||
			anyOf(s.top, "system", "anthropic_version", "stop_sequences") && s.top["messages"] ||
			s.any["stop_reason"] && s.types["message"] || s.top["custom_id"] && s.top["result"]
	case FormatChat:
		return s.top["messages"] && (anyOf(s.any, "tool_calls", "tool_call_id") || anyOf(s.roles, "system", "developer", "tool", "function") ||
			s.top["intent"] && !s.is(FormatAnthropic)) || s.top["intent"] && !s.top["messages"] && !s.is(FormatResponses)
	}
	return false
}
