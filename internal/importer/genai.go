package importer

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"ledgerd/evidence"
)

// The semantic conventions of OpenTelemetry for generative AI: a span of the
// operation chat is a question to a model, one of execute_tool a call, one of
// invoke_agent what lies around them. What was said stands in the attributes
// gen_ai.input.messages and gen_ai.output.messages, where the exporter was told to
// send it; earlier versions had an event for each message.

// genAI reads the spans of a run.
type genAI struct {
	*conversation
	heard map[[sha256.Size]byte]int // how often each message was recorded
	known map[string]bool           // resources and scopes that were kept
	spoke []func()                  // what is said at the end of spans that lie around others
}

// Transcript makes a transcript of the spans. The agent is named, or else the one
// that the spans name, or the service.
func (r *SpanRun) Transcript(named string) (*Transcript, error) {
	spans := slices.Clone(r.Spans)
	slices.SortStableFunc(spans, func(a, b Span) int {
		return cmp.Or(cmp.Compare(a.StartTimeUnixNano, b.StartTimeUnixNano), cmp.Compare(b.EndTimeUnixNano, a.EndTimeUnixNano), bytes.Compare(a.SpanId, b.SpanId))
	})
	g := &genAI{conversation: newConversation(named), heard: make(map[[sha256.Size]byte]int), known: make(map[string]bool)}
	g.t.Subject = r.Name
	for i := range spans {
		if id := spans[i].Conversation(); id != "" {
			g.t.Subject = "conversation:" + id
			break
		}
	}
	for _, export := range r.Odd {
		if len(export) > maxOdd {
			g.count("export.too-large-to-keep")
			continue
		}
		g.keep(Message{}, "export", export)
	}
	seen := make(map[[24]byte]bool)
	for i := range spans {
		s := &spans[i]
		var id [24]byte
		copy(id[:16], s.TraceId)
		copy(id[16:], s.SpanId)
		if seen[id] {
			g.count("repeated")
			continue
		}
		seen[id] = true
		g.name(s)
		g.around(s)
		g.span(s)
	}
	for _, say := range slices.Backward(g.spoke) { // the innermost first
		say()
	}
	if g.t.Actor == "" {
		g.t.Actor = "agent"
	}
	return g.finish()
}

// maxOdd bounds an export that is kept whole for what nobody knows of it.
const maxOdd = 8 << 20

// HasGenAI reports whether a span is one of an agent's.
func (r *SpanRun) HasGenAI() bool {
	return slices.ContainsFunc(r.Spans, func(s Span) bool { return s.operation() != "" })
}

// operation returns what a span says that it is, "" where it is no agent's.
func (s *Span) operation() string {
	if op := attribute(s.Attributes, "gen_ai.operation.name").GetStringValue(); op != "" {
		return op
	}
	if attribute(s.Attributes, "gen_ai.system") != nil || attribute(s.Attributes, "gen_ai.provider.name") != nil {
		return "chat" // before operations had names
	}
	return ""
}

// name takes agent and model from a span, where nothing named them yet.
func (g *genAI) name(s *Span) {
	for _, name := range []string{attribute(s.Attributes, "gen_ai.agent.name").GetStringValue(), s.service()} {
		if g.t.Actor == "" && s.operation() != "" && isIdentifier(name) {
			g.t.Actor = name
		}
	}
	if g.t.Model == unknownModel {
		g.t.Model = cmp.Or(model(s), unknownModel)
	}
}

// around keeps what a span says of the program that sent it, once.
func (g *genAI) around(s *Span) {
	o := object{"resource": attributesJSON(s.Resource.GetAttributes())}
	if s.Scope != nil {
		o["scope"] = object{"name": quoted(s.Scope.Name), "version": quoted(s.Scope.Version), "attributes": attributesJSON(s.Scope.Attributes)}.marshal()
	}
	o.number("dropped", s.Resource.GetDroppedAttributesCount()+s.Scope.GetDroppedAttributesCount())
	if s.Schema != "" {
		o["schemaUrl"] = quoted(s.Schema)
	}
	if b := string(o.marshal()); !g.known[b] {
		g.known[b] = true
		g.keep(Message{At: spanTime(s.StartTimeUnixNano)}, "resource", []byte(b))
	}
}

func model(s *Span) string {
	for _, key := range []string{"gen_ai.response.model", "gen_ai.request.model"} {
		if name := modelName(attribute(s.Attributes, key).GetStringValue()); name != "" {
			return name
		}
	}
	return ""
}

func (g *genAI) span(s *Span) {
	m := Message{At: spanTime(s.StartTimeUnixNano), Model: model(s)}
	read := &readings{s: s, named: make(map[string]bool), events: make(map[int]bool)}
	read.take("gen_ai.operation.name")
	op := s.operation()
	switch op {
	case "":
		g.keep(m, "span", read.rest())
	case "execute_tool":
		g.tool(m, s, read)
	case "chat", "text_completion", "generate_content", "invoke_agent", "invoke_workflow", "create_agent":
		g.talk(m, s, read, op)
	default:
		g.keep(m, "span."+op, read.rest())
	}
}

// talk reads what was laid before a model, and what it said.
func (g *genAI) talk(m Message, s *Span, read *readings, op string) {
	system, input, output := read.messages()
	if system != nil {
		if sum := sha256.Sum256(system); g.heard[sum] == 0 {
			g.heard[sum]++
			g.hear(m, "system", g.parts(system))
		}
	}
	// The history comes with each question: of what was said n times, and was
	// recorded m times, the last n-m are new.
	said := make(map[[sha256.Size]byte]int)
	for _, raw := range input {
		sum := messageSum(raw)
		if said[sum]++; said[sum] > g.heard[sum] {
			g.heard[sum] = said[sum]
			g.input(m, raw)
		}
	}
	answer := m
	answer.At = cmp.Or(spanTime(s.EndTimeUnixNano), m.At)
	inner := op != "invoke_agent" && op != "invoke_workflow" && op != "create_agent"
	say := func() {
		var fresh []jsontext.Value
		for _, raw := range output {
			if sum := messageSum(raw); inner || g.heard[sum] == 0 {
				g.heard[sum]++
				fresh = append(fresh, raw)
			}
		}
		rest := read.rest()
		if len(fresh) == 0 && !inner {
			g.keep(answer, "span."+op, rest)
			return
		}
		if len(fresh) == 0 {
			// Exporters send what was said only when they are told to: the span is
			// what there is of the decision.
			g.count("answer.absent")
			g.speak(answer, nil, nil, rest)
			return
		}
		text, calls := g.output(fresh)
		g.speak(answer, text, calls, list(fresh))
		g.keep(answer, "span."+op, rest)
	}
	if inner {
		say()
	} else {
		g.spoke = append(g.spoke, say)
	}
}

// messageSum names a message by its role and what it says. One that says nothing in
// parts says it elsewhere, and is all of it.
func messageSum(raw jsontext.Value) [sha256.Size]byte {
	o, err := parseObject(raw)
	if parts, _ := parseArray(o["parts"]); err != nil || len(parts) == 0 {
		return sha256.Sum256(raw)
	}
	parts := jsontext.Value(bytes.Clone(o["parts"]))
	if parts.Canonicalize() != nil {
		parts = o["parts"]
	}
	return sha256.Sum256(append([]byte(o.str("role")+"\n"), parts...))
}

// input records one message that was laid before the model.
func (g *genAI) input(m Message, raw jsontext.Value) {
	o, err := parseObject(raw)
	if err != nil {
		g.keep(m, "message", raw)
		return
	}
	role := o.str("role")
	switch role {
	case "system", "developer", "user", "assistant":
		name := role
		if role == "assistant" {
			name = "history" // said before the first span that is here
		}
		g.hear(m, name, g.parts(o["parts"]))
		g.keepRest(m, "message", o, "role", "parts", "finish_reason")
	case "tool":
		g.results(m, o, raw)
	default:
		g.keep(m, "message."+role, raw)
	}
}

// results reads a message with results of calls. Where a span showed how a call
// ended, that is the outcome, and this is what the model was told of it.
func (g *genAI) results(m Message, o object, raw jsontext.Value) {
	parts, err := parseArray(o["parts"])
	if err != nil {
		g.keep(m, "message.tool", raw)
		return
	}
	for _, p := range parts {
		x, err := parseObject(p)
		if err != nil || x.str("type") != "tool_call_response" {
			g.keep(m, "tool."+x.str("type"), p)
			continue
		}
		v := x["response"]
		if v == nil {
			v = x["result"]
		}
		content := argument(v)
		if !g.answer(m, x.str("id"), "", &content) {
			g.hear(m, "told", jsonOrText(string(p)))
			continue
		}
		g.keepRest(m, "tool_call_response", x, "type", "id", "response", "result")
	}
	g.keepRest(m, "message", o, "role", "parts")
}

// parts are the words of a message, or its JSON where it has more than words.
func (g *genAI) parts(v jsontext.Value) part {
	parts, err := parseArray(v)
	if err != nil {
		if v != nil && v.Kind() == '"' {
			s, _ := unquote(v)
			return textPart(s)
		}
		g.count("content")
		return jsonOrText(string(v))
	}
	var words []byte
	plain := true
	for _, p := range parts {
		o, err := parseObject(p)
		if kind := o.str("type"); err != nil || kind != "text" || len(o.rest([]string{"type", "content"})) > 0 {
			g.count("part." + kind)
			plain = false
			continue
		}
		words = append(words, o.str("content")...)
	}
	if !plain {
		return jsonOrText(string(v))
	}
	return part{mediaText, words}
}

// output reads what the model said, and the calls that it asks for.
func (g *genAI) output(messages []jsontext.Value) (*string, []Call) {
	var said []string
	var calls []Call
	for _, raw := range messages {
		o, _ := parseObject(raw)
		parts, err := parseArray(o["parts"])
		if err != nil {
			g.count("content")
			continue
		}
		for _, p := range parts {
			x, _ := parseObject(p)
			switch kind := x.str("type"); {
			case kind == "text":
				said = append(said, x.str("content"))
			case kind == "tool_call" && isIdentifier(x.str("name")):
				calls = append(calls, Call{ID: x.str("id"), Tool: x.str("name"), Input: argument(x["arguments"])})
			default:
				g.count("part." + kind)
			}
		}
	}
	return joined(said), calls
}

// tool records a call: under the decision that asked for it, where one did.
func (g *genAI) tool(m Message, s *Span, read *readings) {
	name := read.take("gen_ai.tool.name").GetStringValue()
	if !isIdentifier(name) {
		g.keep(m, "span.execute_tool", read.rest())
		return
	}
	id := read.take("gen_ai.tool.call.id").GetStringValue()
	input, result := read.take("gen_ai.tool.call.arguments"), read.take("gen_ai.tool.call.result")
	if call := g.pending(id); id == "" || call == nil || call.Tool != name {
		if id == "" {
			id = "span/" + hex.EncodeToString(s.SpanId)
		} else if call != nil {
			id += "/" + hex.EncodeToString(s.SpanId) // another tool than was asked for
		}
		call := Call{ID: id, Tool: name, Input: textPart(""), Seen: true}
		if input != nil {
			call.Input = argument(valueJSON(input))
		}
		g.act(m, call)
	} else {
		call.Seen = true
		if input != nil {
			call.Input = argument(valueJSON(input)) // what ran, and not what was asked for
		}
	}
	end := m
	end.At = cmp.Or(spanTime(s.EndTimeUnixNano), m.At)
	if s.EndTimeUnixNano >= s.StartTimeUnixNano && s.EndTimeUnixNano-s.StartTimeUnixNano < math.MaxInt32*uint64(time.Millisecond) {
		ms := int64((s.EndTimeUnixNano - s.StartTimeUnixNano) / uint64(time.Millisecond))
		end.TookMS = &ms
	}
	fault := attribute(s.Attributes, "error.type").GetStringValue()
	status := evidence.StatusSuccess
	var content *part
	switch {
	case s.EndTimeUnixNano == 0:
		status, end.TookMS = evidence.StatusUnknown, nil
	case fault != "" || s.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR:
		status = evidence.StatusFailure
		p := textPart(cmp.Or(s.GetStatus().GetMessage(), fault, "error"))
		content = &p
	}
	if result != nil {
		p := argument(valueJSON(result))
		content = &p
	}
	g.answer(end, id, status, content)
	g.keep(m, "span.execute_tool", read.rest())
}

// spanTime is a span's time, 0 where there is none that a record can hold.
func spanTime(ns uint64) evidence.Time {
	if ns == 0 || ns > math.MaxInt64 {
		return 0
	}
	t := evidence.TimeOf(time.Unix(0, int64(ns)))
	if _, err := t.MarshalText(); err != nil {
		return 0
	}
	return t
}
