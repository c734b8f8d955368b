package importer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
)

// conversation gathers the messages of one run from a format that is not the
// chat format. What such a format has and the model of this package has not is
// kept as a payload and counted: nothing that is read is lost in silence, and
// nothing that is strange ends an import.
type conversation struct {
	t     *Transcript
	open  map[string][]callAt // calls without an answer, by ID
	pairs []pair
	batch bool  // it is a line of a batch's result, which may have no answer
	first *part // the first words of the user, for the intent
}

// callAt is a call, as indexes: messages move while they are gathered.
type callAt struct{ message, call int }

func newConversation(actor string) *conversation {
	t := &Transcript{Actor: actor, Principal: "user", Task: "imported", Model: unknownModel, Kept: make(map[string]int)}
	return &conversation{t: t, open: make(map[string][]callAt)}
}

const unknownModel = "unknown"

// maxKinds bounds how many kinds are counted apart: their names come from the file.
const maxKinds = 64

// label makes of a name in the file one that may stand in a record and on a
// terminal.
func label(name string) string {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.:", r)
	}
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return !ok(r) }) {
		return "other"
	}
	return name
}

// count notes that something of a kind was kept, or was there a second time.
func (c *conversation) count(kind string) {
	kind = label(kind)
	if c.t.Kept[kind] == 0 && len(c.t.Kept) >= maxKinds {
		kind = "other"
	}
	c.t.Kept[kind]++
}

// keep makes a context record of what nobody here reads.
func (c *conversation) keep(m Message, kind string, raw []byte) {
	c.count(kind)
	content := jsonOrText(string(raw))
	m.Role, m.Content, m.kept = "kept."+label(kind), &content, true
	c.t.Messages = append(c.t.Messages, m)
}

// keepRest keeps the members of an object that were not read.
func (c *conversation) keepRest(m Message, kind string, o object, read ...string) {
	rest := o.rest(read)
	if len(rest) == 0 {
		return
	}
	for name := range rest {
		c.count(kind + "." + name)
	}
	content := jsonOrText(string(rest.marshal()))
	m.Role, m.Content, m.kept = "kept."+label(kind), &content, true
	c.t.Messages = append(c.t.Messages, m)
}

// hear adds what was laid before the model.
func (c *conversation) hear(m Message, name string, content part) {
	if name == "user" && m.Thread == "" && c.first == nil {
		c.first = &content
	}
	m.Role, m.Content = name, &content
	c.t.Messages = append(c.t.Messages, m)
}

// speak adds what the model said and asked for: its words, the calls, and all of
// it as it stands in the file.
func (c *conversation) speak(m Message, text *string, calls []Call, raw []byte) {
	m.Role, m.Calls, m.raw, m.more = "assistant", calls, raw, true
	if text != nil {
		words := textPart(*text)
		m.Content = &words
	}
	c.ask(m)
}

// act adds a call that was seen and that no message asked for.
func (c *conversation) act(m Message, call Call) {
	m.Role, m.Calls = roleAction, []Call{call}
	c.ask(m)
}

func (c *conversation) ask(m Message) {
	for j, call := range m.Calls {
		c.open[call.ID] = append(c.open[call.ID], callAt{len(c.t.Messages), j})
	}
	c.t.Messages = append(c.t.Messages, m)
}

// pending returns the first call of an ID that has no answer, nil for none.
func (c *conversation) pending(id string) *Call {
	if list := c.open[id]; len(list) > 0 {
		return &c.t.Messages[list[0].message].Calls[list[0].call]
	}
	return nil
}

// answer adds the result of the first call of that ID which has none. It
// reports false, and adds nothing, where there is no such call.
func (c *conversation) answer(m Message, id string, status evidence.Status, content *part) bool {
	list := c.open[id]
	if len(list) == 0 {
		return false
	}
	if c.open[id] = list[1:]; len(list) == 1 {
		delete(c.open, id)
	}
	m.Role, m.CallID, m.status, m.Content = "tool", id, status, content
	c.pairs = append(c.pairs, pair{list[0].message, list[0].call, len(c.t.Messages)})
	c.t.Messages = append(c.t.Messages, m)
	return true
}

// finish returns the transcript.
func (c *conversation) finish() (*Transcript, error) {
	if len(c.t.Messages) == 0 {
		return nil, errors.New("want a conversation, found nothing that was said or done")
	}
	(&pairing{pairs: c.pairs}).settle(c.t.Messages)
	if c.t.Intent == "" && c.first != nil {
		c.t.Intent = string(c.first.data)
	}
	if c.t.At == 0 {
		for _, m := range c.t.Messages {
			c.t.At = cmp.Or(c.t.At, m.At)
		}
	}
	return c.t, nil
}

// rest returns the members that were not read. What is null says nothing.
func (o object) rest(read []string) object {
	rest := make(object)
	for name, v := range o {
		if v.Kind() != 'n' && !slices.Contains(read, name) {
			rest[name] = v
		}
	}
	return rest
}

// marshal writes the object with its members sorted, their values as they are.
func (o object) marshal() []byte {
	names := make([]string, 0, len(o))
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	b := []byte{'{'}
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b, _ = jsontext.AppendQuote(b, name) // it was a JSON string
		b = append(append(b, ':'), o[name]...)
	}
	return append(b, '}')
}

// list writes a JSON list of values, or the one value alone.
func list(values []jsontext.Value) []byte {
	if len(values) == 1 {
		return values[0]
	}
	return array(values)
}

func array(values []jsontext.Value) jsontext.Value {
	b := []byte{'['}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v...)
	}
	return append(b, ']')
}

// str returns a member where it is a string, else "".
func (o object) str(member string) string {
	if v := o[member]; v != nil && v.Kind() == '"' {
		s, _ := unquote(v)
		return s
	}
	return ""
}

// is reports whether a member is true.
func (o object) is(member string) bool { return o[member] != nil && o[member].Kind() == 't' }

// words reads blocks of content, of which those of the kinds text are words:
// objects with a member text and no other that says something. It returns the
// words where all blocks are such, else the JSON as it is; and counts what is more.
func (c *conversation) words(v jsontext.Value, text ...string) part {
	if v == nil || v.Kind() == 'n' {
		return textPart("")
	}
	if v.Kind() == '"' {
		s, _ := unquote(v)
		return textPart(s)
	}
	blocks, err := parseArray(v)
	if err != nil {
		c.count("content")
		return jsonOrText(string(v))
	}
	var all []byte
	plain := true
	for _, raw := range blocks {
		o, err := parseObject(raw)
		kind := o.str("type")
		switch {
		case err != nil:
			c.count("content")
		case !slices.Contains(text, kind) || o["text"] == nil || o["text"].Kind() != '"':
			c.count(kind)
		case len(o.rest([]string{"type", "text"})) > 0 && !emptyOnly(o):
			c.count(kind + ".members")
		default:
			all = append(all, o.str("text")...)
			continue
		}
		plain = false
	}
	if !plain {
		return jsonOrText(string(v))
	}
	return part{mediaText, all}
}

// emptyOnly reports whether what a block of words has besides is empty: lists
// without annotations say nothing.
func emptyOnly(o object) bool {
	for _, v := range o.rest([]string{"type", "text"}) {
		if s := string(v); s != "[]" && s != "{}" {
			return false
		}
	}
	return true
}

// besides are the members that stand beside a conversation in every format: they
// are the ledger's, and not the format's.
var besides = []string{"id", "actor", "intent", "contract", "principal", "subject", "task", "time"}

// beside reads them. All may be absent.
func (c *conversation) beside(o object) error {
	t := c.t
	for _, f := range []struct {
		member string
		to     *string
	}{{"id", &t.ID}, {"actor", &t.Actor}, {"principal", &t.Principal}, {"subject", &t.Subject}, {"task", &t.Task}} {
		if err := o.identifier(f.member, f.to, false); err != nil {
			return err
		}
	}
	var err error
	if o["intent"] != nil {
		if t.Intent, err = o.text("intent"); err != nil {
			return err
		}
	}
	if t.At, err = o.time(); err != nil {
		return err
	}
	if err := t.parseContract(o["contract"]); err != nil {
		return fmt.Errorf("member contract: %w", err)
	}
	return nil
}

// modelName is the name of a model, where it can stand in a record.
func modelName(name string) string {
	if isIdentifier(name) {
		return name
	}
	return ""
}
