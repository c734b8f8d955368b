package importer

import (
	"errors"
	"io"
	"strings"
	"testing"

	"ledgerd/evidence"
)

// runLine is a line of the form with one message list of the caller's.
func runLine(messages string) string {
	return `{"id":"t1","actor":"agent","intent":"i","contract":{"expects":[],"only":["x"]},"messages":` + messages + `}`
}

const (
	hello   = `{"role":"user","content":"hello"}`
	askOne  = `{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"refund","arguments":"{\"a\":1}"}}]}`
	askTwo  = `{"role":"assistant","content":null,"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}},{"id":"c","function":{"name":"g","arguments":"{}"}}]}`
	answer1 = `{"role":"tool","tool_call_id":"c1","name":"refund","content":"{\"ok\":true}"}`
)

func TestParseAccepts(t *testing.T) {
	for name, line := range map[string]string{
		"one call":                 runLine("[" + hello + "," + askOne + "," + answer1 + "]"),
		"no contract":              `{"id":"t1","actor":"a","intent":"","messages":[` + hello + `]}`,
		"null contract":            `{"id":"t1","actor":"a","intent":"","contract":null,"messages":[` + hello + `]}`,
		"content in parts":         runLine(`[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]`),
		"an image":                 runLine(`[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]`),
		"a refusal":                runLine(`[{"role":"assistant","content":null,"refusal":"no"}]`),
		"members of other writers": runLine(`[{"role":"assistant","content":"x","annotations":[],"audio":null}]`),
		"custom tool":              runLine(`[{"role":"assistant","tool_calls":[{"id":"c","type":"custom","custom":{"name":"f","input":"x y"}}]}]`),
		"arguments as an object":   runLine(`[{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f","arguments":{"a":1}}}]}]`),
		"arguments that are wrong": runLine(`[{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f","arguments":"{\"a\":"}}]}]`),
	} {
		if _, err := Parse([]byte(line)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseRefusesAndSaysWhy(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"not JSON":              {`{"id":"t1",`, "strict JSON"},
		"not an object":         {`[1]`, "want a JSON object, found a list"},
		"duplicate member":      {`{"id":"t1","id":"t2"}`, "duplicate"},
		"lone surrogate":        {`{"id":"\ud800"}`, "surrogate"},
		"trailing value":        {runLine("["+hello+"]") + ` {}`, "strict JSON"},
		"misspelt member":       {`{"id":"t1","actor":"a","intnet":"x","messages":[]}`, `"intnet" is unknown: want id, actor, intent`},
		"no id":                 {`{"actor":"a","intent":"x","messages":[` + hello + `]}`, "member id: want a string, found none"},
		"id with a space":       {`{"id":"a b","actor":"a","intent":"x","messages":[` + hello + `]}`, "member id: want 1 to 256 bytes of printable ASCII"},
		"intent a number":       {`{"id":"a","actor":"a","intent":3,"messages":[` + hello + `]}`, "member intent: want a string, found a number"},
		"contract a list":       {`{"id":"a","actor":"a","intent":"x","contract":[],"messages":[` + hello + `]}`, "member contract: want a JSON object"},
		"contract nobody reads": {`{"id":"a","actor":"a","intent":"x","contract":{"expect":[]},"messages":[` + hello + `]}`, "member contract: "},
		"no messages":           {runLine("[]"), "at least one message"},
		"role unknown":          {runLine(`[{"role":"robot","content":"x"}]`), `messages/0: member role: want system, developer, user, assistant or tool, found "robot"`},
		"role function":         {runLine(`[{"role":"function","content":"x"}]`), `want "tool"`},
		"function_call":         {runLine(`[{"role":"assistant","function_call":{}}]`), "member function_call"},
		"empty assistant":       {runLine(`[{"role":"assistant","content":null}]`), "want content or tool_calls"},
		"user says nothing":     {runLine(`[{"role":"user"}]`), "member content: want it"},
		"answer to nothing":     {runLine("[" + answer1 + "]"), "there is none"},
		"answer twice":          {runLine("[" + askOne + "," + answer1 + "," + answer1 + "]"), "messages/2: member tool_call_id"},
		"answer to another":     {runLine(`[` + askOne + `,{"role":"tool","tool_call_id":"c9","content":"x"}]`), `(\"c1\"), found \"c9\"`},
		"tool with a space":     {runLine(`[{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"a b","arguments":"{}"}}]}]`), "tool_calls/0: function: member name"},
		"call without id":       {runLine(`[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}]`), "tool_calls/0: member id"},
		"time in words":         {runLine(`[{"role":"user","content":"x","time":"noon"}]`), "member time: want RFC 3339"},
		"time before 1970":      {runLine(`[{"role":"user","content":"x","time":-5}]`), "want a year from 1970"},
		"bidi in a role":        {runLine("[{\"role\":\"\u202eresu\",\"content\":\"x\"}]"), `\u202e`},
	} {
		_, err := Parse([]byte(c.line))
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if want := strings.ReplaceAll(c.want, `\"`, `"`); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want an error with %q, found %q", name, want, err)
		}
	}
}

func TestCallsArePairedByPosition(t *testing.T) {
	tool := func(id, content string) string {
		return `{"role":"tool","tool_call_id":"` + id + `","content":"` + content + `"}`
	}
	// Two calls of one id, and the same id again in a later message.
	line := runLine("[" + askTwo + "," + tool("c", "first") + "," + tool("c", "second") + "," + askTwo + "," + tool("c", "third") + "]")
	x, err := Parse([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range x.Messages {
		for _, c := range m.Calls {
			if c.Answer == nil {
				got = append(got, c.Tool+" –")
			} else {
				got = append(got, c.Tool+" "+string(c.Answer.Content.data))
			}
		}
	}
	if s := strings.Join(got, ", "); s != "f first, g second, f third, g –" {
		t.Errorf("paired %s", s)
	}
}

func TestWhatIsCalledJSON(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":1}`:          mediaJSON,
		` [1, 2]`:          mediaJSON,
		`{"a":1} {}`:       mediaText,
		`{"a":1,"a":2}`:    mediaText,
		`{"a":`:            mediaText,
		`17`:               mediaText,
		`Error: no {}`:     mediaText,
		"{\"a\":\"\xff\"}": mediaText,
		strings.Repeat("[", 501) + strings.Repeat("]", 501): mediaText,
	} {
		if p := jsonOrText(in); p.media != want || string(p.data) != in {
			t.Errorf("%.40q: want %s, found %s", in, want, p.media)
		}
	}
}

func TestTimes(t *testing.T) {
	const want = evidence.Time(1780065130120)
	for _, s := range []string{`"2026-05-29T14:32:10.120Z"`, `"2026-05-29T16:32:10.1209+02:00"`, `1780065130.12`} {
		x, err := Parse([]byte(runLine(`[{"role":"user","content":"x","time":` + s + `}]`)))
		if err != nil {
			t.Errorf("%s: %v", s, err)
		} else if x.Messages[0].At != want {
			t.Errorf("%s: want %s, found %s", s, want, x.Messages[0].At)
		}
	}
}

func TestContractKeepsWhatItSays(t *testing.T) {
	for in, want := range map[string]string{
		`{"only":["x"],"expects":[{"action":"a","input":{"n":1.50}}]}`: `{"contract":"v1","expects":[{"action":"a","input":{"n":1.50}}],"only":["x"],"task":"imported","weakest_source":"imported"}`,
		`{"contract":"v1","weakest_source":"runtime","task":"t"}`:      `{"contract":"v1","task":"t","weakest_source":"runtime"}`,
	} {
		x, err := Parse([]byte(`{"id":"a","actor":"a","intent":"x","contract":` + in + `,"messages":[` + hello + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		if string(x.Contract) != want {
			t.Errorf("want %s\nfound %s", want, x.Contract)
		}
	}
}

func TestReaderSaysWhichLine(t *testing.T) {
	good := runLine("[" + hello + "]")
	other := strings.Replace(good, `"t1"`, `"t2"`, 1)
	for name, c := range map[string]struct {
		in   string
		runs int
		line int // of the error; 0 for none
	}{
		"all good":          {good + "\n\n" + other + "\r\n", 2, 0},
		"no final newline":  {good + "\n" + other, 2, 0},
		"second is wrong":   {good + "\n{}\n" + other, 1, 2},
		"blank lines count": {"\n\n" + good + "\n{", 1, 4},
		"a name twice":      {good + "\n" + good, 1, 2},
	} {
		r := NewReader(strings.NewReader(c.in))
		runs, line := 0, 0
		for {
			_, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			var le *LineError
			if errors.As(err, &le) {
				line = le.Line
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			runs++
		}
		if runs != c.runs || line != c.line {
			t.Errorf("%s: want %d runs and an error at line %d, found %d and %d", name, c.runs, c.line, runs, line)
		}
	}
}

// endless yields one line that does not end.
type endless struct{ n int }

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	e.n += len(b)
	return len(b), nil
}

func TestReaderBoundsALine(t *testing.T) {
	e := &endless{}
	_, err := NewReader(e).Next()
	var le *LineError
	if !errors.As(err, &le) || le.Line != 1 {
		t.Errorf("want a *LineError for line 1, found %v", err)
	}
	if e.n > MaxLine+(1<<20) {
		t.Errorf("read %d bytes before giving up", e.n)
	}
}

// FuzzParse: no line makes the parser panic, and what it accepts can be laid out.
func FuzzParse(f *testing.F) {
	f.Add([]byte(runLine("[" + hello + "," + askOne + "," + answer1 + "]")))
	f.Add([]byte(runLine("[" + askTwo + "]")))
	f.Fuzz(func(t *testing.T, line []byte) {
		x, err := Parse(line)
		if err != nil {
			return
		}
		plan(x, "runtime", "operator")
	})
}

// TestNothingOfAMessageIsLost: members of chat that nobody here reads are kept and counted,
// but for those that say nothing and those of a message that is recorded whole.
func TestNothingOfAMessageIsLost(t *testing.T) {
	x, err := Parse([]byte(runLine(`[{"role":"user","name":"ada","content":"x"},` +
		`{"role":"assistant","reasoning_content":"the reasons","content":null,"tool_calls":[{"id":"c1","function":{"name":"refund","arguments":"{}"}}]},` + answer1 + `,` +
		`{"role":"assistant","reasoning_content":"more reasons","refusal":"no","audio":null,"annotations":[],"content":"Done."}]`)))
	if err != nil {
		t.Fatal(err)
	}
	if x.Kept["message.name"] != 1 || x.Kept["message.reasoning_content"] != 2 || x.Kept["message.refusal"] != 1 || len(x.Kept) != 3 {
		t.Errorf("kept %v", x.Kept)
	}
	var all []byte
	decisions := 0
	for _, d := range plan(x, "runtime", "operator") {
		for _, p := range d.parts {
			all = append(append(all, p.data...), '\n')
		}
		if d.kind == evidence.KindDecision {
			decisions++
		}
	}
	for _, want := range []string{`"ada"`, "the reasons", "more reasons", `"no"`} {
		if !strings.Contains(string(all), want) {
			t.Errorf("%s is lost in\n%s", want, all)
		}
	}
	if a := x.Messages[2].Calls[0].Answer; decisions != 2 || a == nil || a.CallID != "c1" {
		t.Errorf("%d decisions, and the call's answer is %+v", decisions, a)
	}
}
