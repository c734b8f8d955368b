package importer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
)

// The Messages API of Anthropic: "messages" of the roles user and assistant, whose
// content is a text or a list of blocks. The model's answer is a message of its
// own, at the top, in "response", or in "result"/"message" (what a batch gives back).

// parseAnthropic reads one run.
func parseAnthropic(raw jsontext.Value, actor string) (*Transcript, error) {
	c, layers, err := exchanged(raw, "messages", actor)
	if err != nil {
		return nil, err
	}
	found := false
	for i, l := range layers {
		x := l.object
		read := append(outer(i), "messages", "system")
		read = append(read, c.names(l)...)
		isMessage := x.str("type") == "message" && x["content"] != nil
		if isMessage {
			read = append(read, "type", "role", "content")
		}
		c.keepRest(Message{}, l.name, x, read...)
		if v := x["system"]; v != nil && v.Kind() != 'n' {
			c.hear(Message{}, "system", c.words(v, "text"))
		}
		if v := x["messages"]; v != nil {
			found = true
			messages, err := parseArray(v)
			if err != nil {
				return nil, fmt.Errorf("member messages: %w", err)
			}
			for i, m := range messages {
				x, err := parseObject(m)
				if err != nil {
					return nil, fmt.Errorf("messages/%d: %w", i, err)
				}
				c.anthropicMessage(Message{}, x, m)
			}
		}
		if isMessage {
			found = true
			c.anthropicMessage(Message{}, x, x.marshal())
		}
	}
	if !found && !c.batch {
		return nil, errors.New("want messages, or a message of the model, found neither")
	}
	return c.finish()
}

// anthropicMessage adds a message. Its blocks are the same in a session of Claude Code.
func (c *conversation) anthropicMessage(m Message, o object, raw jsontext.Value) {
	switch role := o.str("role"); role {
	case "assistant":
		text, calls := c.blocksSaid(o["content"])
		c.speak(m, text, calls, raw)
	case "user":
		c.blocksHeard(m, "user", o["content"], nil)
		c.keepRest(m, "message", o, "role", "content")
	default:
		c.keep(m, "message."+role, raw)
	}
}

// blocksSaid reads what the model answered: its words, and the calls it asks for.
// All else (thinking, what the API's own tools did, what is unknown) is counted:
// it stands in the message, which is kept whole.
func (c *conversation) blocksSaid(content jsontext.Value) (*string, []Call) {
	if content == nil || content.Kind() != '[' {
		if content != nil && content.Kind() == '"' {
			s, _ := unquote(content)
			return &s, nil
		}
		c.count("content")
		return nil, nil
	}
	blocks, err := parseArray(content)
	if err != nil {
		c.count("content")
		return nil, nil
	}
	var said []string
	var calls []Call
	for _, raw := range blocks {
		o, err := parseObject(raw)
		kind := o.str("type")
		switch {
		case err != nil:
			c.count("content")
		case kind == "text":
			said = append(said, o.str("text"))
		case kind == "tool_use" && o.str("id") != "" && isIdentifier(o.str("name")):
			calls = append(calls, Call{ID: o.str("id"), Tool: o.str("name"), Input: argument(o["input"])})
		default:
			c.count(kind)
		}
	}
	return joined(said), calls
}

// joined puts words together, nil for none.
func joined(said []string) *string {
	if said == nil {
		return nil
	}
	text := strings.Join(said, "")
	return &text
}

// blocksHeard reads what was laid before the model: results of calls, each of them
// a record of its own, and the user's words. judge, where it is not nil, says what
// came of a call from more than its block.
func (c *conversation) blocksHeard(m Message, name string, content jsontext.Value, judge func(o object, content part) (evidence.Status, string)) {
	blocks, err := parseArray(content)
	if content == nil || content.Kind() != '[' || err != nil {
		c.hear(m, name, c.words(content, "text"))
		return
	}
	var rest []jsontext.Value
	for _, raw := range blocks {
		o, err := parseObject(raw)
		if err != nil || o.str("type") != "tool_result" {
			rest = append(rest, raw)
			continue
		}
		result := c.words(o["content"], "text")
		status, denied := evidence.StatusSuccess, ""
		if o.is("is_error") {
			status = evidence.StatusFailure
		}
		if judge != nil {
			status, denied = judge(o, result)
		}
		answer := m
		answer.Denied = denied
		if !c.answer(answer, o.str("tool_use_id"), status, &result) {
			c.keep(m, "tool_result.without-call", raw)
			continue
		}
		c.keepRest(m, "tool_result", o, "type", "tool_use_id", "content", "is_error")
	}
	if len(rest) > 0 {
		c.hear(m, name, c.words(array(rest), "text"))
	}
}
