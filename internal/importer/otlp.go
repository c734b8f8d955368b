package importer

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxSpanDepth bounds how deep the messages of a trace are nested.
const maxSpanDepth = 100

// Span is one span of a trace, with what surrounds it.
type Span struct {
	*trace.Span
	Resource *resource.Resource
	Scope    *common.InstrumentationScope
	Schema   string // URL of the conventions
	Size     int    // in bytes, about
}

// service returns the service.name of its resource.
func (s *Span) service() string {
	return attribute(s.Resource.GetAttributes(), "service.name").GetStringValue()
}

// Marshal returns the span as an export of its own, for ParseSpans: decoded spans
// take many times the room.
func (s *Span) Marshal() ([]byte, error) {
	return proto.Marshal(&collector.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{
		Resource: s.Resource, SchemaUrl: s.Schema,
		ScopeSpans: []*trace.ScopeSpans{{Scope: s.Scope, Spans: []*trace.Span{s.Span}}},
	}}})
}

// Conversation returns the ID of the conversation that a span says it is of, ""
// for none.
func (s *Span) Conversation() string {
	id := attribute(s.Attributes, "gen_ai.conversation.id").GetStringValue()
	if !isIdentifier(id) || len(id) > maxName {
		return ""
	}
	return id
}

// Trace returns the ID of its trace.
func (s *Span) Trace() string { return hex.EncodeToString(s.TraceId) }

// maxName leaves room around the name of a conversation, in an identifier.
const maxName = 128

// ParseSpans reads an ExportTraceServiceRequest in the binary form of protobuf, or
// in the protocol's own JSON, which a file has on a line. Where something stands there
// that this version of the protocol does not have, odd is the export as it came.
func ParseSpans(body []byte, isJSON bool) (spans []Span, odd []byte, err error) {
	var request collector.ExportTraceServiceRequest
	if isJSON {
		o := protojson.UnmarshalOptions{RecursionLimit: maxSpanDepth}
		if err = o.Unmarshal(body, &request); err != nil {
			// A later version may have more members; a receiver passes them over.
			o.DiscardUnknown = true
			request.Reset()
			if err = o.Unmarshal(body, &request); err != nil {
				return nil, nil, fmt.Errorf("want traces in OTLP's JSON: %w", err)
			}
			odd = body
		}
	} else if err = (proto.UnmarshalOptions{RecursionLimit: maxSpanDepth}).Unmarshal(body, &request); err != nil {
		return nil, nil, fmt.Errorf("want an ExportTraceServiceRequest in protobuf: %w", err)
	} else if hasUnknown(request.ProtoReflect()) {
		odd = body
	}
	for _, r := range request.ResourceSpans {
		for _, scope := range r.ScopeSpans {
			for _, s := range scope.Spans {
				if isJSON {
					s.TraceId, s.SpanId, s.ParentSpanId = unhex(s.TraceId), unhex(s.SpanId), unhex(s.ParentSpanId)
					for _, l := range s.Links {
						l.TraceId, l.SpanId = unhex(l.TraceId), unhex(l.SpanId)
					}
				}
				if len(s.TraceId) != 16 || len(s.SpanId) != 8 {
					return nil, nil, errors.New("want spans with a traceId of 16 bytes and a spanId of 8, in hexadecimal in JSON")
				}
				spans = append(spans, Span{s, r.Resource, scope.Scope, cmp.Or(scope.SchemaUrl, r.SchemaUrl), proto.Size(s)})
			}
		}
	}
	return spans, odd, nil
}

// Objects counts the objects that ParseSpans would make of an export, without making
// them: each takes about 300 bytes, of what may be two. What is no export is counted as
// far as it is one.
func Objects(body []byte, isJSON bool) int {
	if !isJSON {
		return messages(body, (*collector.ExportTraceServiceRequest)(nil).ProtoReflect().Descriptor(), maxSpanDepth)
	}
	n, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '{' && !quoted:
			n++
		}
	}
	return n
}

func messages(b []byte, kind protoreflect.MessageDescriptor, depth int) int {
	n := 1
	for len(b) > 0 && depth > 0 {
		number, wire, tag := protowire.ConsumeTag(b)
		size := protowire.ConsumeFieldValue(number, wire, b[max(tag, 0):])
		if tag < 0 || size < 0 {
			break
		}
		if f := kind.Fields().ByNumber(number); f != nil && f.Message() != nil && wire == protowire.BytesType {
			inner, _ := protowire.ConsumeBytes(b[tag:])
			n += messages(inner, f.Message(), depth-1)
		}
		b = b[tag+size:]
	}
	return n
}

// hasUnknown reports whether a message, or one within it, has fields of a later protocol.
func hasUnknown(m protoreflect.Message) (found bool) {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil: // the protocol has no maps
		case f.IsList():
			for i := range v.List().Len() {
				found = found || hasUnknown(v.List().Get(i).Message())
			}
		default:
			found = hasUnknown(v.Message())
		}
		return !found
	})
	return found
}

// unhex undoes what a decoder of JSON makes of an ID: it takes the hexadecimal
// digits, which this protocol has there, for base64, as protobuf's JSON has it.
func unhex(id []byte) []byte {
	b, err := hex.DecodeString(base64.StdEncoding.EncodeToString(id))
	if err != nil {
		return nil
	}
	return b
}

// attribute returns the value of an attribute, nil for none.
func attribute(all []*common.KeyValue, key string) *common.AnyValue {
	for _, kv := range all {
		if kv.Key == key {
			return kv.Value
		}
	}
	return nil
}

// traces reads a file of traces, each line an export (what the collector's file
// exporter writes), or the whole of it one.
type traces struct {
	in      *Reader
	named   string // the agent, where the caller says it
	runs    []*SpanRun
	read    bool
	skipped int
}

// SpanRun is the spans of one run: of a conversation, or else of a trace.
type SpanRun struct {
	Name  string // trace:… or conversation:…
	Spans []Span
	Odd   [][]byte // exports that hold more than is known, see ParseSpans
	line  int
	size  int
}

// Next implements [Transcripts].
func (t *traces) Next() (*Transcript, error) {
	if !t.read {
		if err := t.gather(); err != nil {
			return nil, err
		}
		t.read = true
	}
	var run *SpanRun
	for run == nil || !run.HasGenAI() {
		if run != nil {
			t.skipped += len(run.Spans)
		}
		if len(t.runs) == 0 {
			return nil, io.EOF
		}
		run = t.runs[0]
		t.runs[0], t.runs = nil, t.runs[1:]
	}
	x, err := run.Transcript(t.named)
	if err != nil {
		return nil, &LineError{run.line, err}
	}
	x.ID, x.Line = run.Name, run.line
	return x, nil
}

// Skipped returns how many spans became no run, because no span of their trace is
// an agent's.
func (t *traces) Skipped() int { return t.skipped }

func (t *traces) gather() error {
	var g Grouping
	head, err := t.in.in.Peek(peeked)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if first := bytes.TrimSpace(head); len(first) > 0 && first[0] != '{' {
		// No JSON: one export in protobuf, as a daemon leaves it that could not write it.
		body, err := io.ReadAll(io.LimitReader(t.in.in, MaxLine+1))
		if err != nil {
			return err
		}
		if len(body) > MaxLine {
			return &LineError{1, fmt.Errorf("want at most %d MiB in an export, found more", MaxLine>>20)}
		}
		spans, odd, err := ParseSpans(body, false)
		if err != nil {
			return &LineError{1, fmt.Errorf("want traces in OTLP's JSON, or one export in protobuf: %w", err)}
		}
		g.Add(spans, odd, 1)
	}
	for {
		line, err := t.in.readLine()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		first := t.in.line
		spans, odd, err := ParseSpans(line, true)
		if err != nil && g.size == 0 {
			// Not a line of its own: one export, written over many.
			rest, readErr := io.ReadAll(io.LimitReader(t.in.in, MaxLine+1-int64(len(line))))
			if readErr != nil {
				return readErr
			}
			if len(line)+len(rest) > MaxLine {
				return &LineError{first, fmt.Errorf("want at most %d MiB in an export, found more", MaxLine>>20)}
			}
			whole, n, err2 := ParseSpans(append(append(line, '\n'), rest...), true)
			if err2 == nil {
				spans, odd, err = whole, n, nil
			}
		}
		if err != nil {
			return &LineError{first, err}
		}
		g.Add(spans, odd, first)
		if g.size > maxHeld {
			return &LineError{first, fmt.Errorf("want at most %d MiB of spans in a file, found more: split it by traces", maxHeld>>20)}
		}
	}
	t.runs = g.Runs()
	for _, run := range t.runs {
		if run.size > maxRun {
			return &LineError{run.line, fmt.Errorf("%s: want at most %d MiB of spans in a run, found more", run.Name, MaxLine>>20)}
		}
	}
	return nil
}

// Grouping puts spans to their runs. All spans of a trace that says of one
// conversation are that conversation's; what says of none is the trace's own.
type Grouping struct {
	traces []*traceSpans
	byID   map[string]*traceSpans
	size   int
}

type traceSpans struct {
	id    string
	talk  string // the first conversation that a span names
	spans []Span
	odd   [][]byte
	line  int
}

// Add adds what one export holds, which stands on a line.
func (g *Grouping) Add(spans []Span, odd []byte, line int) {
	if g.byID == nil {
		g.byID = make(map[string]*traceSpans)
	}
	for _, s := range spans {
		id := s.Trace()
		t := g.byID[id]
		if t == nil {
			t = &traceSpans{id: id, line: line}
			g.byID[id] = t
			g.traces = append(g.traces, t)
		}
		if t.talk == "" {
			t.talk = s.Conversation()
		}
		t.spans = append(t.spans, s)
		if odd != nil {
			t.odd, odd = append(t.odd, odd), nil // once
		}
		g.size += s.Size
	}
}

// Runs returns the runs, in the order of their first spans.
func (g *Grouping) Runs() []*SpanRun {
	byName := make(map[string]*SpanRun)
	var all []*SpanRun
	run := func(name string, line int) *SpanRun {
		r := byName[name]
		if r == nil {
			r = &SpanRun{Name: name, line: line}
			byName[name] = r
			all = append(all, r)
		}
		return r
	}
	for _, t := range g.traces {
		name := "trace:" + t.id
		if t.talk != "" {
			name = "conversation:" + t.talk
		}
		for _, s := range t.spans {
			own := name
			if id := s.Conversation(); id != "" {
				own = "conversation:" + id
			}
			r := run(own, t.line)
			r.Spans = append(r.Spans, s)
			r.size += s.Size
		}
		last := run(name, t.line)
		last.Odd = append(last.Odd, t.odd...)
	}
	return all
}
