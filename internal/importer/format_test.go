package importer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"ledgerd/evidence"
)

func TestFormatIsSeenFromTheContent(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want Format // "": ambiguous
	}{
		"nothing":             {" \n", FormatChat},
		"chat":                {runLine("[" + hello + "]"), FormatChat},
		"chat with calls":     {`{"messages":[` + hello + `,` + askOne + `]}`, FormatChat},
		"chat of one system":  {`{"messages":[{"role":"system","content":"x"},` + hello + `]}`, FormatChat},
		"chat, bad line":      {`{"id":"x","actor":"a","intnet":"x","messages":[]}`, ""},
		"chat, over lines":    {"{\n\"id\":\"a\",\"actor\":\"a\",\n\"intent\":\"i\",\"messages\":[" + hello + "]}", FormatChat},
		"anthropic":           {`{"messages":[{"role":"assistant","content":[{"type":"tool_use"}]}]}`, FormatAnthropic},
		"anthropic by system": {`{"system":"x","messages":[` + hello + `]}`, FormatAnthropic},
		"anthropic's batch":   {`{"custom_id":"a","result":{"type":"succeeded","message":{"type":"message","stop_reason":"end_turn"}}}`, FormatAnthropic},
		"either of the two":   {`{"messages":[` + hello + `]}`, ""},
		"both of the two":     {`{"messages":[` + askOne + `,{"role":"user","content":[{"type":"tool_result"}]}]}`, ""},
		"responses":           {`{"input":"hello"}`, FormatResponses},
		"responses, items":    {`[{"role":"user","content":"x"},{"type":"function_call"}]`, FormatResponses},
		"responses, a batch":  {`{"custom_id":"a","response":{"body":{"object":"response"}}}`, FormatResponses},
		"claude code":         {`{"type":"summary","summary":"x","leafUuid":"y"}`, FormatClaudeCode},
		"claude code, a call": {`{"sessionId":"s","type":"assistant","message":{"content":[{"type":"tool_use"}]}}`, FormatClaudeCode},
		"otlp":                {`{"resourceSpans":[{"input":1}]}`, FormatOTLP},
		"otlp, cut short":     {`{"resourceSpans":[{"input":`, FormatOTLP},
		"no JSON":             {`hello`, ""},
		"another object":      {`{"a":1}`, ""},
	} {
		_, got, err := Open(strings.NewReader(c.in), Options{})
		var unclear *FormatError
		if got != c.want || (c.want == "") != errors.As(err, &unclear) || err != nil && !strings.Contains(err.Error(), "--format chat|openai-responses|anthropic|claude-code|otlp") {
			t.Errorf("%s: want %q, found %q and %v", name, c.want, got, err)
		}
	}
	if _, _, err := Open(strings.NewReader("{}"), Options{Format: "yaml"}); err == nil {
		t.Error("want an error for a format that there is not")
	}
	if _, _, err := Open(strings.NewReader("{}"), Options{Format: FormatAnthropic, Actor: "a b"}); err == nil {
		t.Error("want an error for an agent whose name is no identifier")
	}
}

// TestOthersSayWhichLine: what is wrong is said with its line, also where a run
// takes several, and what came before it was read.
func TestOthersSayWhichLine(t *testing.T) {
	good := `{"input":[{"role":"user",` + "\n" + `"content":"hello"}]}`
	other := strings.Replace(good, "hello", "hullo", 1)
	for name, c := range map[string]struct {
		format Format
		in     string
		runs   int
		line   int
		want   string
	}{
		"two":            {FormatResponses, good + "\n\n" + other, 2, 0, ""},
		"no items":       {FormatResponses, good + "\n{}", 1, 3, "input or output"},
		"not JSON":       {FormatResponses, good + "\n\n{\"input\":\n}", 1, 5, "strict JSON"},
		"cut short":      {FormatResponses, good + "\n{\"input\":", 1, 3, "strict JSON"},
		"name twice":     {FormatResponses, good + "\n" + good, 1, 3, "a name of its own"},
		"bad id":         {FormatResponses, `{"id":"a b","input":"x"}`, 0, 1, "member id: want 1 to 256 bytes"},
		"bad contract":   {FormatAnthropic, `{"messages":[],"contract":{"expect":[]}}`, 0, 1, "member contract: "},
		"a number":       {FormatAnthropic, "\n7", 0, 2, "want a JSON object, found a number"},
		"message a list": {FormatAnthropic, `{"messages":[[]]}`, 0, 1, "messages/0: want a JSON object"},
		"nothing said":   {FormatAnthropic, `{"messages":[]}`, 0, 1, "found nothing that was said or done"},
		"duplicate":      {FormatAnthropic, `{"messages":[],"messages":[]}`, 0, 1, "duplicate"},
		"no trace":       {FormatOTLP, `{"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"x"}]}]}]}`, 0, 1, ""},
		"short ID":       {FormatOTLP, `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"abcd","spanId":"0000000000000001"}]}]}]}`, 0, 1, "traceId of 16 bytes"},
		"second export":  {FormatOTLP, `{"resourceSpans":[]}` + "\n{\"resourceSpans\":7}", 0, 2, "OTLP's JSON"},
	} {
		in, _, err := Open(strings.NewReader(c.in), Options{Format: c.format})
		if err != nil {
			t.Fatal(err)
		}
		runs := 0
		for err == nil {
			if _, err = in.Next(); err == nil {
				runs++
			}
		}
		var le *LineError
		switch {
		case errors.Is(err, io.EOF) != (c.line == 0), runs != c.runs:
			t.Errorf("%s: want %d runs, found %d and %v", name, c.runs, runs, err)
		case c.line > 0 && (!errors.As(err, &le) || le.Line != c.line || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: want an error of line %d with %q, found %v", name, c.line, c.want, err)
		}
	}
}

// repeated yields the same text without end, and counts what was taken.
type repeated struct {
	text string
	n    int
}

func (r *repeated) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		n += copy(b[n:], r.text[(r.n+n)%len(r.text):])
	}
	r.n += n
	return n, nil
}

// TestFormatsAreBounded: a run, or a file of which all has to be held, that does
// not end is given up at its bound.
func TestFormatsAreBounded(t *testing.T) {
	run, held := maxRun, maxHeld
	t.Cleanup(func() { maxRun, maxHeld = run, held })
	maxRun, maxHeld = 4<<20, 16<<20
	for name, c := range map[string]struct {
		format     Format
		head, body string
		max        int
	}{
		"a run of items":    {FormatResponses, `{"input":["`, strings.Repeat("x", 4095) + " ", maxRun},
		"a run of messages": {FormatAnthropic, `{"messages":["`, strings.Repeat("x", 4095) + " ", maxRun},
		"a session":         {FormatClaudeCode, "", `{"sessionId":"s","x":"` + strings.Repeat("x", 1<<20) + `"}` + "\n", maxRun},
		"no session":        {FormatClaudeCode, "", `{"x":"` + strings.Repeat("x", 1<<20) + `"}` + "\n", maxHeld},
		"an export":         {FormatOTLP, "", strings.Repeat("x", 4096), MaxLine},
		"exports": {FormatOTLP, "", `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"0000000000000001","name":"` +
			strings.Repeat("x", 1<<20) + `"}]}]}]}` + "\n", maxHeld},
	} {
		body := &repeated{text: c.body}
		in, _, err := Open(io.MultiReader(strings.NewReader(c.head), body), Options{Format: c.format})
		if err != nil {
			t.Fatal(err)
		}
		_, err = in.Next()
		var le *LineError
		if !errors.As(err, &le) || body.n > c.max+c.max/8+(2<<20) {
			t.Errorf("%s: want a *LineError within %d MiB, found %v after %d MiB", name, c.max>>20, err, body.n>>20)
		}
	}
}

// TestKindsAreBounded: a file cannot make an import count without end, nor put
// its own words on a terminal.
func TestKindsAreBounded(t *testing.T) {
	var items []string
	for i := range 1000 {
		items = append(items, `{"type":"kind`+strings.Repeat("x", i%40)+string(rune('a'+i%26))+`_call"}`)
	}
	x, err := parseResponses(jsontext.Value(`{"input":[`+strings.Join(items, ",")+`]}`), "agent")
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, n := range x.Kept {
		sum += n
	}
	if len(x.Kept) > maxKinds+1 || sum != 1000 || x.Kept["other"] == 0 {
		t.Errorf("%d kinds of %d things", len(x.Kept), sum)
	}
	for _, name := range []string{"", "a b", "\x1b[31m", "\u202e", "<script>", strings.Repeat("x", 65)} {
		if got := label(name); got != "other" {
			t.Errorf("%q is shown as %q", name, got)
		}
	}
}

// TestHostileNesting: what is nested deeper than an audit reads is text, and a
// trace deeper than maxSpanDepth is refused.
func TestHostileNesting(t *testing.T) {
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	x, err := parseResponses(jsontext.Value(`{"input":[{"type":"odd","x":`+deep+`},{"type":"function_call","call_id":"c","name":"f","arguments":`+deep+`}]}`), "agent")
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range x.Messages {
		if m.Content != nil && m.Content.media != mediaText {
			t.Errorf("message %d is called %s", i, m.Content.media)
		}
	}
	for _, d := range plan(x, "runtime", "operator") {
		for _, p := range d.parts {
			if p.media == mediaJSON && !shallow(string(p.data)) {
				t.Errorf("a %s commits to JSON that no audit reads", d.kind)
			}
		}
	}
	if _, _, err := ParseSpans([]byte(`{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":`+
		strings.Repeat(`{"arrayValue":{"values":[`, 200)+`{"intValue":"1"}`+strings.Repeat(`]}}`, 200)+`}]}}]}`), true); err == nil {
		t.Error("a deep trace is read")
	}
}

// fuzz has whole files read, and what is read laid out.
func fuzz(f *testing.F, format Format, samples ...string) {
	for _, name := range samples {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		in, _, err := Open(strings.NewReader(string(file)), Options{Format: format})
		if err != nil {
			t.Fatal(err)
		}
		for {
			x, err := in.Next()
			if err != nil {
				return
			}
			if !isIdentifier(x.ID) || !isIdentifier(x.Actor) || !isIdentifier(x.Model) {
				t.Errorf("%q %q %q cannot stand in a record", x.ID, x.Actor, x.Model)
			}
			for _, d := range plan(x, "runtime", "operator") {
				for _, p := range d.parts {
					if p.media == mediaJSON && (!jsontext.Value(p.data).IsValid() || !shallow(string(p.data))) {
						t.Errorf("a %s commits to what it calls JSON: %.200q", d.kind, p.data)
					}
				}
			}
		}
	})
}

// No file makes a reader panic, and what it reads can be laid out.

func FuzzResponses(f *testing.F) {
	fuzz(f, FormatResponses, "openai-responses.jsonl", "unknown-openai-responses.json")
}

func FuzzAnthropic(f *testing.F) {
	fuzz(f, FormatAnthropic, "anthropic.jsonl", "unknown-anthropic.json")
}

func FuzzClaudeCode(f *testing.F) {
	fuzz(f, FormatClaudeCode, "claude-code.jsonl", "unknown-claude-code.jsonl")
}

func FuzzOTLP(f *testing.F) { fuzz(f, FormatOTLP, "otlp.jsonl", "unknown-otlp.json") }

// TestStreamsRepeatThemselves: what a message's lines say twice is there once, as
// one decision, and its calls are made once.
func TestStreamsRepeatThemselves(t *testing.T) {
	line := func(blocks string) string {
		return `{"sessionId":"s","type":"assistant","message":{"id":"m","role":"assistant","content":[` + blocks + `]}}` + "\n"
	}
	text, use := `{"type":"text","text":"I look."}`, `{"type":"tool_use","id":"t","name":"f","input":{}}`
	in, _, err := Open(strings.NewReader(line(text)+line(text+","+use)+line(use)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	x, err := in.Next()
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Messages) != 1 || len(x.Messages[0].Calls) != 1 || string(x.Messages[0].Content.data) != "I look." || x.Kept["repeated"] != 1 {
		t.Errorf("%d messages, the first with %d calls and %q; kept %v", len(x.Messages), len(x.Messages[0].Calls), x.Messages[0].Content.data, x.Kept)
	}
}

// next reads the first run of a file.
func next(t *testing.T, format Format, file string) *Transcript {
	t.Helper()
	in, _, err := Open(strings.NewReader(file), Options{Format: format})
	if err != nil {
		t.Fatal(err)
	}
	x, err := in.Next()
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestSubagentAlone: in a file of a subagent alone its task is the intent, and its last
// words are the claim.
func TestSubagentAlone(t *testing.T) {
	line := func(kind, content string) string {
		return `{"sessionId":"s","agentId":"a1","isSidechain":true,"type":"` + kind + `","message":{"role":"` + kind + `","content":"` + content + `"}}` + "\n"
	}
	x := next(t, FormatClaudeCode, line("user", "Look at a.js.")+line("assistant", "It is in line 1."))
	all := plan(x, "runtime", "operator")
	if claim := string(all[len(all)-1].parts[0].data); x.ID != "s/a1" || x.Intent != "Look at a.js." || claim != "It is in line 1." {
		t.Errorf("run %s, intent %q, claim %q", x.ID, x.Intent, claim)
	}
}

// TestClaudeRefusals: by what the program says a call was not made, the call was denied.
func TestClaudeRefusals(t *testing.T) {
	for says, by := range map[string]string{
		"The user doesn't want to proceed with this tool use. The tool use was rejected (eg. if it was a file edit, the new_string was NOT written to the file).": "user",
		"The user doesn't want to take this action right now. STOP what you are doing and wait for the user to tell you how to proceed.":                          "user",
		"Permission to use Bash with command rm has been denied.":                                                                                                 "permissions",
		"Permission for this tool use was denied. The tool use was rejected (eg. if it was a file edit, the new_string was NOT written to the file).":             "permissions",
		"Permission for this action has been denied. Reason: it deletes files.":                                                                                   "permissions",
		"Claude requested permissions to use Bash, but you haven't granted it yet.":                                                                               "permissions",
		"Claude requested permissions to write to /home/ada/x, but you haven't granted it yet.":                                                                   "permissions",
		"Exit code 1\nPermission denied": "",
	} {
		result, err := jsontext.AppendQuote(nil, says)
		if err != nil {
			t.Fatal(err)
		}
		x := next(t, FormatClaudeCode, `{"sessionId":"s","type":"assistant","message":{"id":"m","role":"assistant","content":[{"type":"tool_use","id":"t","name":"Bash","input":{}}]}}`+"\n"+
			`{"sessionId":"s","type":"user","message":{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","is_error":true,"content":`+string(result)+`}]}}`+"\n")
		if a := x.Messages[0].Calls[0].Answer; a == nil || a.Denied != by {
			t.Errorf("%q: want it denied by %q, found %+v", says, by, a)
		}
	}
}

// spansOf is an export of chat spans, each with what stands beside its operation.
func spansOf(more ...string) string {
	var all []string
	for i, m := range more {
		all = append(all, fmt.Sprintf(`{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"%016x","name":"x","startTimeUnixNano":"%d","endTimeUnixNano":"%d",%s}`,
			i+1, 1780065130000000000+i, 1780065130000000005+i, m))
	}
	return `{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Join(all, ",") + `]}]}]}`
}

// attributesOf are the attributes of a span, in OTLP's JSON.
func attributesOf(operation string, more ...string) string {
	all := []string{`{"key":"gen_ai.operation.name","value":{"stringValue":"` + operation + `"}}`}
	for i := 0; i < len(more); i += 2 {
		value, _ := jsontext.AppendQuote(nil, more[i+1])
		all = append(all, `{"key":"`+more[i]+`","value":{"stringValue":`+string(value)+`}}`)
	}
	return `"attributes":[` + strings.Join(all, ",") + `]`
}

// TestNothingOfASpanIsLost: what no reader knows is in some payload of the run.
func TestNothingOfASpanIsLost(t *testing.T) {
	const in, out = "gen_ai.input.messages", "gen_ai.output.messages"
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"messages in another form": {spansOf(
			attributesOf("chat", in, `[{"role":"user","content":"the first"}]`),
			attributesOf("chat", in, `[{"role":"user","content":"the second"}]`),
			attributesOf("chat", in, `[{"role":"user","parts":[],"content":"the third"}]`),
		), []string{"the first", "the second", "the third"}},
		"a result with more": {spansOf(
			attributesOf("chat", out, `[{"role":"assistant","parts":[{"type":"tool_call","id":"c","name":"f","arguments":{}}]}]`),
			attributesOf("chat", in, `[{"role":"tool","name":"the-name","parts":[{"type":"tool_call_response","id":"c","response":"r","note":"the note"}]}]`),
		), []string{"the-name", "the note"}},
		"what went wrong": {spansOf(
			attributesOf("execute_tool", "gen_ai.tool.name", "f", "error.type", "the-type") + `,"status":{"code":2,"message":"the message"}`,
		), []string{"the-type", "the message"}},
		"flags and states": {spansOf(attributesOf("chat") + `,"flags":769,"links":[{"traceId":"5b8efff798038103d269b633813fc60d","spanId":"0000000000000009","traceState":"the=state","flags":257,"droppedAttributesCount":77}],` +
			`"events":[{"name":"e","timeUnixNano":"5","droppedAttributesCount":88}]`), []string{"769", "the=state", "257", "77", "88"}},
	} {
		var all []byte
		for _, d := range plan(next(t, FormatOTLP, c.file), "runtime", "operator") {
			for _, p := range d.parts {
				all = append(append(all, p.data...), '\n')
			}
		}
		for _, want := range c.want {
			if !strings.Contains(string(all), want) {
				t.Errorf("%s: %q is lost in\n%s", name, want, all)
			}
		}
	}
}

// TestLaterProtobuf: what a later protocol has anywhere in an export, in protobuf as in
// JSON, makes the export be kept as it came.
func TestLaterProtobuf(t *testing.T) {
	later := protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 7)
	for name, put := range map[string]func(*collector.ExportTraceServiceRequest) proto.Message{
		"nowhere":   func(*collector.ExportTraceServiceRequest) proto.Message { return nil },
		"the whole": func(r *collector.ExportTraceServiceRequest) proto.Message { return r },
		"resource":  func(r *collector.ExportTraceServiceRequest) proto.Message { return r.ResourceSpans[0] },
		"attribute": func(r *collector.ExportTraceServiceRequest) proto.Message {
			return r.ResourceSpans[0].ScopeSpans[0].Spans[0].Attributes[0].Value
		},
		"link": func(r *collector.ExportTraceServiceRequest) proto.Message {
			return r.ResourceSpans[0].ScopeSpans[0].Spans[0].Links[0]
		},
	} {
		r := &collector.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{ScopeSpans: []*trace.ScopeSpans{{Spans: []*trace.Span{{
			TraceId: make([]byte, 16), SpanId: make([]byte, 8), Links: []*trace.Span_Link{{}},
			Attributes: []*common.KeyValue{{Key: "k", Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: 1}}}},
		}}}}}}}
		m := put(r)
		if m != nil {
			m.ProtoReflect().SetUnknown(later)
		}
		body, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, odd, err := ParseSpans(body, false); err != nil || (odd != nil) != (m != nil) {
			t.Errorf("%s: %x, %v", name, odd, err)
		}
	}
}

// TestResultsOfResponses: each result is its call's, wherever the API has it and in whatever
// order, and fails where it says so.
func TestResultsOfResponses(t *testing.T) {
	const call, text = `{"type":"shell_call","call_id":"c","action":{"commands":["ls"]}}`, `{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Done."}]}`
	result := func(outcome string) string {
		return `{"type":"shell_call_output","call_id":"c","output":[{"stdout":"","stderr":"","outcome":{"type":"exit","exit_code":0}},{"stdout":"","stderr":"","outcome":` + outcome + `}]}`
	}
	const local = `{"type":"local_shell_call","id":"l","call_id":"c","action":{"type":"exec","command":["ls"]}}`
	const byID = `{"type":"local_shell_call_output","id":"c","output":"a.go"}`
	for name, c := range map[string]struct {
		file string
		want evidence.Status
	}{
		"a shell of OpenAI's own":     {`{"output":[` + call + `,` + result(`{"type":"exit","exit_code":0}`) + `,` + text + `]}`, evidence.StatusSuccess},
		"a shell of the client's":     {`{"input":[` + call + `,` + result(`{"type":"exit","exit_code":0}`) + `],"output":[` + text + `]}`, evidence.StatusSuccess},
		"an exit code":                {`{"input":[` + call + `,` + result(`{"type":"exit","exit_code":2}`) + `]}`, evidence.StatusFailure},
		"a time that ran out":         {`{"input":[` + call + `,` + result(`{"type":"timeout"}`) + `]}`, evidence.StatusUnknown},
		"a result that id names":      {`{"input":[` + local + `,` + byID + `]}`, evidence.StatusSuccess},
		"a list, the oldest first":    {`{"object":"list","data":[` + call + `,` + result(`{"type":"exit","exit_code":0}`) + `,` + text + `]}`, evidence.StatusSuccess},
		"a list, the newest first":    {`{"object":"list","data":[` + text + `,` + result(`{"type":"exit","exit_code":0}`) + `,` + call + `]}`, evidence.StatusSuccess},
		"a result of somebody else's": {`{"input":[` + call + `],"output":[{"type":"shell_call_output","call_id":"d","output":[]}]}`, ""},
	} {
		x := next(t, FormatResponses, c.file)
		var got evidence.Status
		said := ""
		for i := range x.Messages {
			for _, asked := range x.Messages[i].Calls {
				if asked.Answer != nil {
					got = asked.Answer.outcome()
				}
			}
			if m := x.Messages[i].Content; m != nil && x.Messages[i].Role == "assistant" {
				said = string(m.data)
			}
		}
		if got != c.want || strings.Contains(c.file, "Done.") != (said == "Done.") {
			t.Errorf("%s: want %q, found %q; said %q", name, c.want, got, said)
		}
	}
}

// TestSeveralActions: what a call of a computer does may be several actions.
func TestSeveralActions(t *testing.T) {
	x := next(t, FormatResponses, `{"output":[{"type":"computer_call","call_id":"c","actions":[{"type":"click","x":1,"y":2},{"type":"screenshot"}]}]}`)
	if in := x.Messages[0].Calls[0].Input; !strings.Contains(string(in.data), "click") {
		t.Errorf("want the actions as the input, found %q", in.data)
	}
}

// TestBatchWithErrors: a request of a batch that had no answer ends no import, and why it
// had none is kept.
func TestBatchWithErrors(t *testing.T) {
	for format, lines := range map[Format][]string{
		FormatAnthropic: {
			`{"custom_id":"a","result":{"type":"errored","error":{"type":"error","error":{"type":"overloaded_error","message":"the reason"}}}}`,
			`{"custom_id":"b","result":{"type":"expired"}}`,
			`{"custom_id":"c","result":{"type":"succeeded","message":{"type":"message","role":"assistant","content":[{"type":"text","text":"Hello."}]}}}`,
		},
		FormatResponses: {
			`{"id":"1","custom_id":"a","response":{"status_code":400,"body":{"error":{"message":"the reason"}}},"error":null}`,
			`{"id":"2","custom_id":"b","response":null,"error":{"code":"batch_expired"}}`,
			`{"id":"3","custom_id":"c","response":{"status_code":200,"body":{"object":"response","output":[]}},"error":null}`,
		},
	} {
		in, _, err := Open(strings.NewReader(strings.Join(lines, "\n")), Options{Format: format})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"a", "b", "c"} {
			x, err := in.Next()
			if err != nil {
				t.Fatalf("%s, %s: %v", format, id, err)
			}
			if x.ID != id || id == "a" && !strings.Contains(string(x.Messages[len(x.Messages)-1].Content.data), "the reason") {
				t.Errorf("%s, %s: %+v", format, x.ID, x)
			}
		}
	}
	if _, f, err := Open(strings.NewReader(`{"custom_id":"b","result":{"type":"expired"}}`), Options{}); f != FormatAnthropic {
		t.Errorf("%q, %v", f, err)
	}
}

// TestObjects: what is counted is what would be made.
func TestObjects(t *testing.T) {
	export := spansOf(attributesOf("chat", "x", `{"not\"\\":{"an object"}}`), attributesOf("chat"))
	var r collector.ExportTraceServiceRequest
	_, odd, err := ParseSpans([]byte(export), true)
	if err != nil || odd != nil || protojson.Unmarshal([]byte(export), &r) != nil {
		t.Fatal(err)
	}
	body, err := proto.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	const want = 1 + 2 + 2 + 3*2 // the export, resource and scope spans, spans, attributes and their values
	if j, p := Objects([]byte(export), true), Objects(body, false); j != want || p != want {
		t.Errorf("want %d objects, counted %d in JSON and %d in protobuf", want, j, p)
	}
	if n := Objects([]byte{0x0a, 0xff, 0xff}, false); n != 1 {
		t.Errorf("counted %d in what is no export", n)
	}
}

// TestFileOfProtobuf: what a receiver was sent in protobuf, and could not write, can be
// imported.
func TestFileOfProtobuf(t *testing.T) {
	var r collector.ExportTraceServiceRequest
	if err := protojson.Unmarshal([]byte(spansOf(attributesOf("chat", "gen_ai.output.messages", `[{"role":"assistant","parts":[{"type":"text","content":"Done."}]}]`))), &r); err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 16)
	r.ResourceSpans[0].ScopeSpans[0].Spans[0].TraceId, r.ResourceSpans[0].ScopeSpans[0].Spans[0].SpanId = id, id[:8]
	body, err := proto.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	if x := next(t, FormatOTLP, string(body)); x.ID != "trace:"+strings.Repeat("0", 32) || string(x.Messages[1].Content.data) != "Done." {
		t.Errorf("%+v", x)
	}
}

// TestNamesThatAreNotTaken: a name that no record can hold, or that another one stands for,
// is kept.
func TestNamesThatAreNotTaken(t *testing.T) {
	for format, file := range map[Format]string{
		FormatResponses: `{"custom_id":"ticket 88","request":{"model":"the-alias","input":"x"},"response":{"model":"the model","output":[]}}`,
		FormatAnthropic: `{"custom_id":"ticket 88","request":{"model":"the-alias","messages":[{"role":"user","content":"x"}]},"response":{"model":"the model","type":"message","role":"assistant","content":[]}}`,
	} {
		x := next(t, format, file)
		var all []byte
		for _, m := range x.Messages {
			if m.kept {
				all = append(append(all, m.Content.data...), '\n')
			}
		}
		for _, want := range []string{"ticket 88", "the-alias", "the model"} {
			if !strings.Contains(string(all), want) {
				t.Errorf("%s: %q is lost in\n%s", format, want, all)
			}
		}
	}
}
