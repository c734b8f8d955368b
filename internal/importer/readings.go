package importer

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	common "go.opentelemetry.io/proto/otlp/common/v1"
)

// readings are what was read of a span: the rest is kept.
type readings struct {
	s      *Span
	named  map[string]bool
	events map[int]bool
}

func (r *readings) take(key string) *common.AnyValue {
	v := attribute(r.s.Attributes, key)
	if v != nil {
		r.named[key] = true
	}
	return v
}

// messages returns what the model was told, was asked, and said, as lists of
// messages in the form of gen_ai.input.messages.
func (r *readings) messages() (system jsontext.Value, input, output []jsontext.Value) {
	if v := r.take("gen_ai.system_instructions"); v != nil {
		system = valueJSON(v)
	}
	read := func(v *common.AnyValue) []jsontext.Value {
		list, err := parseArray(valueJSON(v))
		if err != nil {
			return []jsontext.Value{valueJSON(v)}
		}
		return list
	}
	if v := r.take("gen_ai.input.messages"); v != nil {
		input = read(v)
	}
	if v := r.take("gen_ai.output.messages"); v != nil {
		output = read(v)
	}
	for i, e := range r.s.Events {
		r.events[i] = true
		role := strings.TrimSuffix(strings.TrimPrefix(e.Name, "gen_ai."), ".message")
		switch e.Name {
		case "gen_ai.client.inference.operation.details":
			if v := attribute(e.Attributes, "gen_ai.input.messages"); v != nil && input == nil {
				input = read(v)
			}
			if v := attribute(e.Attributes, "gen_ai.output.messages"); v != nil && output == nil {
				output = read(v)
			}
			r.events[i] = false // it may hold more
		case "gen_ai.system.message", "gen_ai.user.message", "gen_ai.assistant.message", "gen_ai.tool.message":
			input = append(input, messageOfEvent(role, e.Attributes))
		case "gen_ai.choice":
			output = append(output, messageOfEvent("assistant", e.Attributes))
		default:
			r.events[i] = false
		}
	}
	return system, input, output
}

// messageOfEvent writes an event of the earlier conventions as a message of the
// present ones.
func messageOfEvent(role string, attributes []*common.KeyValue) jsontext.Value {
	o := make(object)
	for _, kv := range attributes {
		o[kv.Key] = valueJSON(kv.Value)
	}
	if inner, err := parseObject(o["message"]); err == nil { // gen_ai.choice
		for name, v := range inner {
			o[name] = v
		}
		delete(o, "message")
	}
	var parts []jsontext.Value
	content := o["content"]
	switch {
	case role == "tool":
		parts = append(parts, object{"type": quoted("tool_call_response"), "id": orNull(o["id"]), "response": orNull(content)}.marshal())
	case content != nil && content.Kind() == '"':
		parts = append(parts, object{"type": quoted("text"), "content": content}.marshal())
	case content != nil:
		parts = append(parts, object{"type": quoted("content"), "content": content}.marshal())
	}
	calls, _ := parseArray(o["tool_calls"])
	for _, raw := range calls {
		c, _ := parseObject(raw)
		f, _ := parseObject(c["function"])
		parts = append(parts, object{"type": quoted("tool_call"), "id": orNull(c["id"]), "name": orNull(f["name"]), "arguments": orNull(f["arguments"])}.marshal())
	}
	message := object{"role": quoted(role), "parts": array(parts)}
	for name, v := range o.rest([]string{"content", "tool_calls", "role", "id", "gen_ai.system"}) {
		message[name] = v
	}
	return message.marshal()
}

func quoted(s string) jsontext.Value {
	b, _ := jsontext.AppendQuote(nil, strings.ToValidUTF8(s, "\uFFFD"))
	return b
}

func orNull(v jsontext.Value) jsontext.Value {
	if v == nil {
		return jsontext.Value("null")
	}
	return v
}

// valueJSON is an attribute as JSON. A string that holds a list or an object is
// that: attributes of spans have no other form of one in most languages.
func valueJSON(v *common.AnyValue) jsontext.Value {
	if s, ok := v.GetValue().(*common.AnyValue_StringValue); ok {
		if p := jsonOrText(s.StringValue); p.media == mediaJSON {
			return p.data
		}
	}
	return anyJSON(v)
}

func anyJSON(v *common.AnyValue) jsontext.Value {
	switch x := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return quoted(x.StringValue)
	case *common.AnyValue_BoolValue:
		return jsontext.Value(strconv.FormatBool(x.BoolValue))
	case *common.AnyValue_IntValue:
		if x.IntValue > 1<<53 || x.IntValue < -1<<53 {
			return quoted(strconv.FormatInt(x.IntValue, 10)) // as the protocol's JSON has it
		}
		return jsontext.Value(strconv.FormatInt(x.IntValue, 10))
	case *common.AnyValue_DoubleValue:
		if math.IsNaN(x.DoubleValue) || math.IsInf(x.DoubleValue, 0) {
			return quoted(strconv.FormatFloat(x.DoubleValue, 'g', -1, 64))
		}
		return jsontext.Value(strconv.FormatFloat(x.DoubleValue, 'g', -1, 64))
	case *common.AnyValue_BytesValue:
		return quoted(hex.EncodeToString(x.BytesValue))
	case *common.AnyValue_ArrayValue:
		var all []jsontext.Value
		for _, y := range x.ArrayValue.GetValues() {
			all = append(all, anyJSON(y))
		}
		return array(all)
	case *common.AnyValue_KvlistValue:
		return attributesJSON(x.KvlistValue.GetValues())
	}
	return jsontext.Value("null")
}

// attributesJSON writes attributes as an object. A key that stands twice, which
// the protocol forbids, has its first value under its name, as readers take it, and
// the others in a list at the end.
func attributesJSON(all []*common.KeyValue) jsontext.Value {
	o := make(object)
	var more []jsontext.Value
	for _, kv := range all {
		key := strings.ToValidUTF8(kv.Key, "\uFFFD")
		if o[key] != nil {
			more = append(more, object{"key": quoted(key), "value": anyJSON(kv.Value)}.marshal())
			continue
		}
		o[key] = anyJSON(kv.Value)
	}
	if more != nil {
		o["(again)"] = array(append(more, orNull(o["(again)"])))
	}
	return o.marshal()
}

// number adds a member, where it is more than nothing.
func (o object) number(member string, n uint32) {
	if n > 0 {
		o[member] = jsontext.Value(strconv.FormatUint(uint64(n), 10))
	}
}

// rest writes the span as it was, without what was read of it.
func (r *readings) rest() []byte {
	s := r.s
	o := object{
		"name": quoted(s.Name), "traceId": quoted(s.Trace()), "spanId": quoted(hex.EncodeToString(s.SpanId)),
		"startTimeUnixNano": quoted(strconv.FormatUint(s.StartTimeUnixNano, 10)), "endTimeUnixNano": quoted(strconv.FormatUint(s.EndTimeUnixNano, 10)),
	}
	if len(s.ParentSpanId) > 0 {
		o["parentSpanId"] = quoted(hex.EncodeToString(s.ParentSpanId))
	}
	if s.Kind != 0 {
		o["kind"] = jsontext.Value(strconv.Itoa(int(s.Kind)))
	}
	if s.TraceState != "" {
		o["traceState"] = quoted(s.TraceState)
	}
	o.number("flags", s.Flags)
	if b := s.ProtoReflect().GetUnknown(); len(b) > 0 {
		o["unknown"] = quoted(hex.EncodeToString(b)) // fields of a later protocol
	}
	o.number("dropped", s.DroppedAttributesCount+s.DroppedEventsCount+s.DroppedLinksCount)
	var left []*common.KeyValue
	taken := make(map[string]bool)
	for _, kv := range s.Attributes {
		if r.named[kv.Key] && !taken[kv.Key] {
			taken[kv.Key] = true // a second one of the name was not read
			continue
		}
		left = append(left, kv)
	}
	if len(left) > 0 {
		o["attributes"] = attributesJSON(left)
	}
	if st := s.Status; st != nil && (st.Code != 0 || st.Message != "") {
		o["status"] = object{"code": jsontext.Value(strconv.Itoa(int(st.Code))), "message": quoted(st.Message)}.marshal()
	}
	var events, links []jsontext.Value
	for i, e := range s.Events {
		if !r.events[i] {
			x := object{"name": quoted(e.Name), "timeUnixNano": quoted(strconv.FormatUint(e.TimeUnixNano, 10)), "attributes": attributesJSON(e.Attributes)}
			x.number("dropped", e.DroppedAttributesCount)
			events = append(events, x.marshal())
		}
	}
	for _, l := range s.Links {
		x := object{"traceId": quoted(hex.EncodeToString(l.TraceId)), "spanId": quoted(hex.EncodeToString(l.SpanId)), "attributes": attributesJSON(l.Attributes)}
		if l.TraceState != "" {
			x["traceState"] = quoted(l.TraceState)
		}
		x.number("flags", l.Flags)
		x.number("dropped", l.DroppedAttributesCount)
		links = append(links, x.marshal())
	}
	if events != nil {
		o["events"] = array(events)
	}
	if links != nil {
		o["links"] = array(links)
	}
	return o.marshal()
}
