package importer

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
)

// Message is one message of a conversation.
type Message struct {
	Role    string // system, developer, user, assistant or tool; the other formats have more: see conversation
	At      evidence.Time
	Content *part  // nil: an assistant message that only calls tools
	Calls   []Call // role assistant
	CallID  string // role tool: the call that it answers
	Denied  string // role tool: the policy that denied the call, which then never ran
	Model   string // role assistant: the model, where it is not the transcript's
	Thread  string // which conversation of the run; "" is the one that its user sees
	TookMS  *int64 // role tool: how long the call took

	status evidence.Status // role tool: what came of the call; "": the rule of the chat format says
	more   bool            // role assistant: it holds more than Content and Calls say
	kept   bool            // it is kept, and no model saw it as far as is known
	raw    jsontext.Value
	rest   object // of chat: members that are not read, and say something
}

// Roles that no message of a file has: readers give them.
const (
	// roleAction is calls that were seen and that no message asked for.
	roleAction = "(action)"
)

// Call is one call of a tool that an assistant message asks for.
type Call struct {
	ID     string
	Tool   string
	Input  part
	Seen   bool     // it stands in a trace as something that was done, and not only in what was said
	Answer *Message // nil: the transcript has no result of it
}

// whole reports whether the words of an assistant message are all of it: of one
// that calls tools, or holds more than words, the record has the whole message.
func (m *Message) whole() bool { return len(m.Calls) == 0 && !m.more }

// part is something that goes into the vault.
type part struct {
	media string
	data  []byte
}

const (
	mediaText = "text/plain"
	mediaJSON = "application/json"
)

func textPart(s string) part { return part{mediaText, []byte(s)} }

// jsonOrText calls s JSON where it is an object or an array by the strict rules
// that an audit reads payloads with, and text otherwise. The bytes stay as they
// are: they are what the tool was given or gave.
func jsonOrText(s string) part {
	v := jsontext.Value(s)
	if k := v.Kind(); (k == '{' || k == '[') && v.IsValid() && shallow(s) {
		return part{mediaJSON, []byte(s)}
	}
	return textPart(s)
}

// shallow: at most 500 levels, which is within what an audit reads.
func shallow(s string) bool {
	d := jsontext.NewDecoder(strings.NewReader(s))
	for {
		if _, err := d.ReadToken(); err != nil || d.StackDepth() > 500 {
			return errors.Is(err, io.EOF)
		}
	}
}

// messageMembers are those of chat that are read. The name of a tool message is its call's.
var messageMembers = map[string][]string{
	"assistant": {"role", "time", "content", "tool_calls", "function_call"},
	"tool":      {"role", "time", "content", "tool_call_id", "denied", "name"},
	"":          {"role", "time", "content"},
}

// parseMessage reads a message. Members that it does not know are no error:
// exports of the chat format differ in them.
func parseMessage(raw jsontext.Value) (*Message, error) {
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	m := &Message{raw: raw}
	if m.Role, err = o.text("role"); err != nil {
		return nil, err
	}
	if m.At, err = o.time(); err != nil {
		return nil, err
	}
	if m.Content, err = parseContent(o["content"]); err != nil {
		return nil, fmt.Errorf("member content: %w", err)
	}
	read := messageMembers[m.Role]
	if read == nil {
		read = messageMembers[""]
	}
	m.rest = o.rest(read)
	maps.DeleteFunc(m.rest, func(_ string, v jsontext.Value) bool { return string(v) == "[]" || string(v) == "{}" })
	switch m.Role {
	case "assistant":
		return m, m.parseAssistant(o)
	case "tool":
		err = m.parseTool(o)
	case "system", "developer", "user":
	case "function":
		return nil, errors.New(`member role: want "tool": "function" is the older form of it, which is not read. Rewrite the message with tool_call_id`)
	default:
		return nil, fmt.Errorf("member role: want system, developer, user, assistant or tool, found %q", clip(m.Role))
	}
	if err == nil && m.Content == nil {
		err = fmt.Errorf("member content: want it in a message of role %s, found none", m.Role)
	}
	return m, err
}

func (m *Message) parseAssistant(o object) error {
	if o["function_call"] != nil && o["function_call"].Kind() != 'n' {
		return errors.New("member function_call: it is the older form of tool_calls, which is not read. Rewrite the message with tool_calls")
	}
	if v := o["tool_calls"]; v != nil && v.Kind() != 'n' {
		calls, err := parseArray(v)
		if err != nil {
			return fmt.Errorf("member tool_calls: %w", err)
		}
		for i, c := range calls {
			call, err := parseCall(c)
			if err != nil {
				return fmt.Errorf("tool_calls/%d: %w", i, err)
			}
			m.Calls = append(m.Calls, *call)
		}
	}
	if m.Content == nil && o["refusal"] != nil && o["refusal"].Kind() == '"' {
		text, err := o.text("refusal")
		if err != nil {
			return err
		}
		p := textPart(text)
		m.Content = &p
		delete(m.rest, "refusal")
	}
	if m.Content == nil && len(m.Calls) == 0 {
		return errors.New("want content or tool_calls in an assistant message, found neither")
	}
	return nil
}

func (m *Message) parseTool(o object) error {
	var err error
	if m.CallID, err = o.text("tool_call_id"); err != nil {
		return err
	}
	return o.identifier("denied", &m.Denied, false)
}

// outcome is what came of the call that m answers. The rule of the chat format
// is that a result which begins with "Error" is a call that failed.
func (m *Message) outcome() evidence.Status {
	if m.status != "" {
		return m.status
	}
	const mark = "Error"
	if d := m.Content.data; m.Content.media == mediaText && len(d) >= len(mark) && string(d[:len(mark)]) == mark {
		return evidence.StatusFailure
	}
	return evidence.StatusSuccess
}

func parseCall(raw jsontext.Value) (*Call, error) {
	o, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	c := &Call{}
	if c.ID, err = o.text("id"); err != nil {
		return nil, err
	}
	kind := "function"
	if o["type"] != nil {
		if kind, err = o.text("type"); err != nil {
			return nil, err
		}
	}
	argument := map[string]string{"function": "arguments", "custom": "input"}[kind]
	if argument == "" {
		return nil, fmt.Errorf("member type: want function or custom, found %q", clip(kind))
	}
	f, err := parseObject(o[kind])
	if err != nil {
		return nil, fmt.Errorf("member %s: %w", kind, err)
	}
	if err := f.identifier("name", &c.Tool, true); err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	// Some exporters write arguments as an object instead of as its text.
	if v := f[argument]; v != nil && v.Kind() == '{' {
		c.Input = part{mediaJSON, v}
		return c, nil
	}
	text, err := f.text(argument)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	c.Input = jsonOrText(text)
	return c, nil
}

// parseContent reads a text, or a list of parts: texts become one text, and
// what is more than text stays the JSON that it is.
func parseContent(v jsontext.Value) (*part, error) {
	if v == nil {
		return nil, nil
	}
	switch v.Kind() {
	case 'n':
		return nil, nil
	case '"':
		s, err := unquote(v)
		if err != nil {
			return nil, err
		}
		p := textPart(s)
		return &p, nil
	case '[':
		list, err := parseArray(v)
		if err != nil {
			return nil, err
		}
		var all []byte
		for i, raw := range list {
			o, err := parseObject(raw)
			if err != nil {
				return nil, fmt.Errorf("part %d: %w", i, err)
			}
			kind, err := o.text("type")
			if err != nil {
				return nil, fmt.Errorf("part %d: %w", i, err)
			}
			if kind != "text" {
				return &part{mediaJSON, v}, nil
			}
			s, err := o.text("text")
			if err != nil {
				return nil, fmt.Errorf("part %d: %w", i, err)
			}
			all = append(all, s...)
		}
		return &part{mediaText, all}, nil
	default:
		return nil, fmt.Errorf("want a string, a list of parts or null, found %s", kindName(v))
	}
}
