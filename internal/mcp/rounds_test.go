package mcp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// asks is what a server answers that asks for input first; complete what it answers then.
const (
	asks     = `{"resultType":"input_required","inputRequests":{"who":{"method":"elicitation/create","params":{"message":"who?"}}},"requestState":"s-1"}`
	complete = `{"resultType":"complete","content":[{"type":"text","text":"paid"}]}`
)

// payRound is a call of pay with arguments and further members of its params.
func payRound(id int, arguments, more string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"pay","arguments":%s%s}}`, id, arguments, more)
}

// TestRounds: a call that a server answers by asking for input is one call, which it
// accepted: the client is asked, the permission is that of the first round, and what the
// last one came to is recorded. What is no next round is a call of its own.
func TestRounds(t *testing.T) {
	t.Parallel()
	const (
		arguments = `{"sum":7}`
		answered  = `,"inputResponses":{"who":{"action":"accept"}},"requestState":"s-1"`
	)
	type said struct{ call, answer string } // what the client says, and the server's answer
	for name, c := range map[string]struct {
		rounds []said
		want   string // what is recorded of pay
	}{
		"answered":                {[]said{{payRound(1, arguments, ""), asks}, {payRound(2, arguments, answered), complete}}, "allow accepted success "},
		"another spelling":        {[]said{{payRound(1, `{"sum":7}`, ""), asks}, {payRound(2, ` { "sum" : 7 } `, answered), complete}}, "allow accepted success "},
		"asked twice":             {[]said{{payRound(1, arguments, ""), asks}, {payRound(2, arguments, answered), strings.Replace(asks, "s-1", "s-2", 1)}, {payRound(3, arguments, strings.Replace(answered, "s-1", "s-2", 1)), complete}}, "allow accepted success "},
		"it fails":                {[]said{{payRound(1, arguments, ""), asks}, {payRound(2, arguments, answered), `{"resultType":"complete","content":[],"isError":true}`}}, "allow accepted failure "},
		"no state":                {[]said{{payRound(1, arguments, ""), strings.Replace(asks, `,"requestState":"s-1"`, "", 1)}, {payRound(2, arguments, `,"inputResponses":{}`), complete}}, "allow accepted success "},
		"a state alone":           {[]said{{payRound(1, arguments, ""), `{"resultType":"input_required","requestState":"s-1"}`}, {payRound(2, arguments, `,"requestState":"s-1"`), complete}}, "allow accepted success "},
		"other arguments":         {[]said{{payRound(1, arguments, ""), asks}, {payRound(2, `{"sum":7000}`, answered), complete}}, "allow accepted allow success failure "},
		"another state":           {[]said{{payRound(1, arguments, ""), asks}, {payRound(2, arguments, strings.Replace(answered, "s-1", "s-9", 1)), complete}}, "allow accepted allow success failure "},
		"no answers":              {[]said{{payRound(1, arguments, ""), asks}, {payRound(2, arguments, ""), complete}}, "allow accepted allow success failure "},
		"the same round again":    {[]said{{payRound(1, arguments, ""), asks}, {payRound(2, arguments, answered), complete}, {payRound(3, arguments, answered), complete}}, "allow accepted success allow success "},
		"a round of nothing":      {[]said{{payRound(1, arguments, answered), complete}}, "allow success "},
		"come again":              {[]said{{payRound(1, arguments, ""), `{"resultType":"input_required"}`}, {payRound(2, arguments, ""), complete}}, "allow failure allow success "},
		"it asks, and has failed": {[]said{{payRound(1, arguments, ""), strings.Replace(asks, "{", `{"isError":true,`, 1)}}, "allow failure "},
		"never called again":      {[]said{{payRound(1, arguments, ""), asks}}, "allow accepted failure "},
		"two at a time":           {[]said{{payRound(1, arguments, ""), asks}, {payRound(2, arguments, ""), strings.Replace(asks, "s-1", "s-2", 1)}, {payRound(3, arguments, answered), complete}}, "allow accepted allow accepted success failure "},
	} {
		for _, over := range []string{"stdio", "HTTP"} {
			t.Run(name+"/"+over, func(t *testing.T) {
				t.Parallel()
				h := newHouse(t)
				var mu sync.Mutex
				next := 0
				answer := func(raw string) string {
					mu.Lock()
					defer mu.Unlock()
					if next >= len(c.rounds) || raw != c.rounds[next].call {
						t.Errorf("want round %d as the client sent it, found %s", next, raw)
						return `{}`
					}
					next++
					return c.rounds[next-1].answer
				}
				call, end := h.ofRounds(over, answer)
				for i, r := range c.rounds {
					got := call(r.call)
					if want := strings.TrimSuffix(strings.TrimPrefix(r.answer, "{"), "}"); !strings.Contains(got, want) || !strings.Contains(got, MetaEvidence) {
						t.Errorf("round %d: want %s and its evidence, found %s", i, want, got)
					}
				}
				end()
				h.recorded("session-1", map[string]string{"demo/pay": c.want})
			})
		}
	}
}

// ofRounds puts a gateway before a server whose answers to calls f gives; call makes one,
// end ends client, gateway and server.
func (h *house) ofRounds(over string, f func(raw string) string) (call func(string) string, end func()) {
	h.t.Helper()
	if over == "stdio" {
		r := h.front(h.config("gateway-1"), scripted([]string{"pay"}, func(m *message, say func(string)) {
			say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":` + f(string(m.raw)) + `}`)
		}))
		return func(line string) string { r.send(line); return r.next() }, func() {
			_ = r.in.Close()
			if err := <-r.ended; err != nil {
				h.t.Error(err)
			}
		}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		m, err := parse(b)
		if err != nil {
			h.t.Error(err)
			return
		}
		result := `{"tools":[{"name":"pay","inputSchema":{"type":"object"}}]}`
		if m.method == "tools/call" {
			result = f(string(b))
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+m.id+`,"result":`+result+`}`)
	}))
	h.t.Cleanup(s.Close)
	p, url := h.handle(h.config("gateway-1"), s)
	return func(line string) string { return mustPost(h.t, url, line) }, p.Close
}

// TestRoundsAreAskedForOnce: a human who approved a call is not asked about its further
// rounds, of which the SDK's client makes what its server asks for.
func TestRoundsAreAskedForOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := sdk.NewServer(&sdk.Implementation{Name: "asking", Version: "1"}, nil)
	type in struct {
		Sum int `json:"sum"`
	}
	sdk.AddTool(s, &sdk.Tool{Name: "refund"}, func(_ context.Context, r *sdk.CallToolRequest, a in) (*sdk.CallToolResult, any, error) {
		if len(r.Params.InputResponses) == 0 {
			return &sdk.CallToolResult{RequestState: "of the server's", InputRequests: sdk.InputRequestMap{"who": &sdk.ElicitParams{
				Message: "To whom?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}},
			}}}, nil, nil
		}
		who := r.Params.InputResponses["who"].(*sdk.ElicitResult).Content["name"]
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: fmt.Sprintf("%d to %s", a.Sum, who)}}}, nil, nil
	})
	cs := h.connect(h.config("gateway-1"), s, &sdk.ClientOptions{ElicitationHandler: func(context.Context, *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
		return &sdk.ElicitResult{Action: "accept", Content: map[string]any{"name": "Mia"}}, nil
	}})
	if v := cs.InitializeResult().ProtocolVersion; v < "2026-07-28" {
		t.Fatalf("the SDK speaks %s: these rounds are of 2026-07-28", v)
	}
	call := func() string {
		r, err := cs.CallTool(context.Background(), &sdk.CallToolParams{Name: "refund", Arguments: map[string]any{"sum": 5}})
		if err != nil {
			t.Fatal(err)
		}
		return textOf(r)
	}
	if said := call(); !strings.HasPrefix(said, "Pending:") {
		t.Fatal(said)
	}
	st := h.state()
	h.approve(st.Run, st.Waiting[0].Authorization)
	if said := call(); said != "5 to Mia" {
		t.Error(said)
	}
	h.recorded("session-1", map[string]string{"demo/refund": "escalate allow accepted success "})
}

// TestRoundWithoutCredentials: a further round that the server does not take, for want of
// credentials, can come again, and is still of the call that was permitted.
func TestRoundWithoutCredentials(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var times atomic.Int64
	gateway := h.lister("session-1", func(w http.ResponseWriter, _ *http.Request, m *message) {
		n := times.Add(1)
		if n == 2 {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+m.id+`,"result":`+map[int64]string{1: asks, 3: complete}[n]+`}`)
	})
	const answered = `,"inputResponses":{"who":{"action":"accept"}},"requestState":"s-1"`
	for i, c := range []struct {
		more string
		want int
	}{{"", 200}, {answered, 401}, {answered, 200}} {
		if status, answer := h.ask("POST", gateway, "", payRound(i+1, `{"sum":7}`, c.more)); status != c.want {
			t.Errorf("%d: want %d, found %d: %s", i, c.want, status, answer)
		}
	}
	h.recorded("session-1", map[string]string{"demo/pay": "allow accepted success "})
}

// TestRoundsAreBounded: what waits is bounded, and what comes then has failed at once.
func TestRoundsAreBounded(t *testing.T) {
	n := new(Names)
	for range maxRounds {
		if !n.wait(new(call)) {
			t.Fatal("want more calls that wait")
		}
	}
	if n.wait(new(call)) {
		t.Error("want no more calls that wait")
	}
	h := newHouse(t)
	cfg := h.config("gateway-1")
	cfg.Names = n
	r := h.front(cfg, scripted([]string{"pay"}, func(m *message, say func(string)) {
		say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":` + asks + `}`)
	}))
	r.send(payCall)
	if got := r.next(); !strings.Contains(got, inputRequired) || !strings.Contains(got, MetaEvidence) {
		t.Error(got)
	}
	h.recorded("session-1", map[string]string{"demo/pay": "allow accepted failure "})
}
