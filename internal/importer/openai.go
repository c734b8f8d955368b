package importer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
)

// The Responses API of OpenAI: a conversation is a list of items. Those of the
// request stand in "input", which may be one text, those of the answer in
// "output". One object has either or both, or they stand in "request" and
// "response" (what a log of an application has), or in "response"/"body" (what a
// batch gives back).

// parseResponses reads one run.
func parseResponses(raw jsontext.Value, actor string) (*Transcript, error) {
	c, layers, err := exchanged(raw, "input", actor)
	if err != nil {
		return nil, err
	}
	r := &responses{conversation: c}
	found := false
	for i, l := range layers {
		x := l.object
		read := append(outer(i), "input", "output", "data", "object", "instructions", "created_at")
		read = append(read, c.names(l)...)
		at, err := (object{"time": x["created_at"]}).time()
		if err != nil {
			return nil, fmt.Errorf("member created_at: %w", err)
		}
		r.at = at
		c.keepRest(Message{At: at}, l.name, x, read...)
		if v := x["instructions"]; v != nil && v.Kind() != 'n' {
			c.hear(Message{At: at}, "instructions", c.words(v, "input_text", "text"))
		}
		for _, member := range []string{"input", "data", "output"} {
			v := x[member]
			if v == nil || v.Kind() == 'n' {
				continue
			}
			found = true
			if err := r.items(v, member); err != nil {
				return nil, fmt.Errorf("member %s: %w", member, err)
			}
		}
	}
	if !found && !c.batch {
		return nil, errors.New("want the items of a conversation in input or output, found neither")
	}
	return c.finish()
}

// outer are the members beside a conversation, which the outermost layer has.
func outer(i int) []string {
	if i == 0 {
		return slices.Clone(besides)
	}
	return nil
}

// names takes the model's name from a layer, and returns which members it is. What a
// request calls it is kept, too: the answer may have another name.
func (c *conversation) names(l layer) []string {
	name := modelName(l.str("model"))
	if name == "" {
		return nil
	}
	c.t.Model = name
	if l.name == "request" {
		return nil
	}
	return []string{"model"}
}

// layer is an object that a conversation stands in, and what it is called.
type layer struct {
	object
	name string
}

// exchanged begins a conversation with an API: an object, or the list alone that such
// an object has in a member, as SDKs hand it on. What has no name is named by what it says.
func exchanged(raw jsontext.Value, list, actor string) (*conversation, []layer, error) {
	if raw.Kind() == '[' {
		raw = jsontext.Value(`{"` + list + `":` + string(raw) + `}`)
	}
	o, err := parseObject(raw)
	if err != nil {
		return nil, nil, err
	}
	c := newConversation(actor)
	layers, err := c.unfold(o)
	if c.t.ID == "" {
		c.t.ID = digestName(raw)
	}
	return c, layers, err
}

// unfold finds the objects that a conversation stands in: the one given, or its
// request and its answer. Of a batch's line custom_id is the name.
func (c *conversation) unfold(o object) ([]layer, error) {
	if err := c.beside(o); err != nil {
		return nil, err
	}
	if c.batch = o.str("custom_id") != ""; isIdentifier(o.str("custom_id")) {
		c.t.ID = o.str("custom_id")
		delete(o, "custom_id")
	}
	layers := []layer{{o, "members"}}
	descend := func(from object, member, name string) error {
		if from[member] == nil || from[member].Kind() != '{' {
			return nil
		}
		x, err := parseObject(from[member])
		if err != nil {
			return fmt.Errorf("member %s: %w", member, err)
		}
		delete(from, member)
		if c.t.ID == "" && name != "request" && isIdentifier(x.str("id")) {
			c.t.ID = x.str("id")
		}
		if x["id"] != nil && c.t.ID == x.str("id") {
			delete(x, "id")
		}
		layers = append(layers, layer{x, name})
		return nil
	}
	for _, at := range []struct{ outer, inner, name string }{{"request", "", "request"}, {"response", "body", "response"}, {"result", "message", "response"}} {
		n := len(layers)
		if err := descend(o, at.outer, at.name); err != nil {
			return nil, err
		}
		if len(layers) > n && at.inner != "" {
			if err := descend(layers[n].object, at.inner, at.name); err != nil {
				return nil, err
			}
		}
	}
	return layers, nil
}

// responses is a conversation in items.
type responses struct {
	*conversation
	at   evidence.Time
	turn []jsontext.Value // items of the model since something else was there
	said []string
	asks []Call
}

func (r *responses) items(v jsontext.Value, member string) error {
	if v.Kind() == '"' {
		s, err := unquote(v)
		if err != nil {
			return err
		}
		r.hear(Message{At: r.at}, "user", textPart(s))
		return nil
	}
	list, err := parseArray(v)
	if err != nil {
		return err
	}
	items := make([]object, len(list))
	for i, raw := range list {
		if items[i], err = parseObject(raw); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	if member == "data" && newestFirst(items) {
		slices.Reverse(list)
		slices.Reverse(items)
	}
	for i, o := range items {
		r.item(o, list[i], member == "output")
	}
	r.flush()
	return nil
}

// newestFirst reports whether a result stands before its call: so the API lists items,
// where it is not asked for the other order.
func newestFirst(items []object) bool {
	calls, results := make(map[string]bool), make(map[string]bool)
	for _, o := range items {
		switch id := callID(o); {
		case id == "":
		case !strings.HasSuffix(o.str("type"), "_output"):
			if results[id] {
				return true
			}
			calls[id] = true
		case !calls[id]:
			results[id] = true
		}
	}
	return false
}

// callID is the ID of the call that an item is, or is the result of.
func callID(o object) string {
	if o.str("type") == "local_shell_call_output" && o["call_id"] == nil {
		return o.str("id")
	}
	return o.str("call_id")
}

// clientCalls are the items, besides functions, with which the model asks the
// client to do something, and where they say what.
var clientCalls = map[string]string{
	"local_shell_call": "action", "shell_call": "action", "computer_call": "action", "apply_patch_call": "operation",
}

func (r *responses) item(o object, raw jsontext.Value, output bool) {
	m := Message{At: r.at}
	kind := o.str("type")
	if kind == "" && o["role"] != nil {
		kind = "message" // the short form of an input message
	}
	call := Call{ID: callID(o)}
	switch {
	case kind == "message":
		r.message(m, o, raw)
	case kind == "function_call" && call.ID != "" && isIdentifier(o.str("name")) && o["arguments"] != nil:
		call.Tool, call.Input = o.str("name"), argument(o["arguments"])
		r.think(raw, &call)
	case kind == "custom_tool_call" && call.ID != "" && isIdentifier(o.str("name")) && o["input"] != nil:
		call.Tool, call.Input = o.str("name"), argument(o["input"])
		r.think(raw, &call)
	case clientCalls[kind] != "" && call.ID != "":
		what := o[clientCalls[kind]]
		if what == nil {
			what = o[clientCalls[kind]+"s"] // several at a time
		}
		call.Tool, call.Input = strings.TrimSuffix(kind, "_call"), argument(what)
		r.think(raw, &call)
	case strings.HasSuffix(kind, "_output") && call.ID != "" && (!output || r.asked(call.ID)):
		r.flush()
		r.result(m, o, raw, call.ID)
	case output, kind == "reasoning", strings.HasSuffix(kind, "_call"), kind == "mcp_list_tools", kind == "mcp_approval_request":
		// Of the model, or done on the model's side: part of what it answered.
		r.count(kind)
		r.think(raw, nil)
	default:
		r.flush()
		r.keep(m, kind, raw)
	}
}

// asked reports whether a call of that ID has no result yet.
func (r *responses) asked(id string) bool {
	return r.pending(id) != nil || slices.ContainsFunc(r.asks, func(c Call) bool { return c.ID == id })
}

// argument is the input of a call: a text, as the API has it, or a JSON value.
func argument(v jsontext.Value) part {
	if v == nil {
		return textPart("")
	}
	if v.Kind() == '"' {
		s, _ := unquote(v)
		return jsonOrText(s)
	}
	return jsonOrText(string(v))
}

func (r *responses) message(m Message, o object, raw jsontext.Value) {
	role := o.str("role")
	content := r.words(o["content"], "input_text", "output_text", "text")
	switch {
	case role == "assistant":
		if text := spoken(content, o["content"]); text != "" {
			r.said = append(r.said, text)
		}
		r.think(raw, nil)
	case slices.Contains([]string{"user", "system", "developer"}, role):
		r.flush()
		r.hear(m, role, content)
		r.keepRest(m, "message", o, "type", "role", "content", "id", "status")
	default:
		r.flush()
		r.keep(m, "message."+role, raw)
	}
}

// spoken is what is words in a message of the model, also where it is more than
// words. A refusal is a block of its own.
func spoken(read part, content jsontext.Value) string {
	if read.media == mediaText {
		return string(read.data)
	}
	var text strings.Builder
	blocks, _ := parseArray(content)
	for _, raw := range blocks {
		o, _ := parseObject(raw)
		switch o.str("type") {
		case "output_text", "text":
			text.WriteString(o.str("text"))
		case "refusal":
			text.WriteString(o.str("refusal"))
		}
	}
	return text.String()
}

// think adds an item to what the model answers.
func (r *responses) think(raw jsontext.Value, call *Call) {
	r.turn = append(r.turn, raw)
	if call != nil {
		r.asks = append(r.asks, *call)
	}
}

// flush ends what the model answered.
func (r *responses) flush() {
	if len(r.turn) == 0 {
		return
	}
	var text *string
	if r.said != nil {
		s := strings.Join(r.said, "\n")
		text = &s
	}
	r.speak(Message{At: r.at}, text, r.asks, list(r.turn))
	r.turn, r.said, r.asks = nil, nil, nil
}

func (r *responses) result(m Message, o object, raw jsontext.Value, id string) {
	content := argument(o["output"])
	if v := o["output"]; v != nil && v.Kind() == '[' {
		content = r.words(v, "input_text", "output_text", "text")
	}
	status := evidence.Status("") // the rule of the chat format, which this API has no better one than
	switch o.str("status") {
	case "failed":
		status = evidence.StatusFailure
	case "incomplete", "in_progress":
		status = evidence.StatusUnknown
	default:
		if o.str("type") == "shell_call_output" {
			status = shellStatus(o["output"])
		}
	}
	if !r.answer(m, id, status, &content) {
		r.keep(m, o.str("type")+".without-call", raw)
		return
	}
	r.keepRest(m, o.str("type"), o, "type", "call_id", "output", "id", "status")
}

// shellStatus is what came of the commands of a shell_call: one whose time ran out may
// have done anything, and one that exits with another code than 0 has failed.
func shellStatus(v jsontext.Value) evidence.Status {
	outputs, _ := parseArray(v)
	var status evidence.Status
	for _, raw := range outputs {
		o, _ := parseObject(raw)
		outcome, _ := parseObject(o["outcome"])
		switch code := outcome["exit_code"]; {
		case outcome.str("type") == "timeout":
			return evidence.StatusUnknown
		case code != nil && code.Kind() == '0' && string(code) != "0":
			status = evidence.StatusFailure
		}
	}
	return status
}
