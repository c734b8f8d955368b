package mcp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"ledgerd/internal/api"
	"ledgerd/internal/browsertest"
)

// behind serves a server of the SDK's over HTTP, behind a gateway.
func (h *house) behind(s *sdk.Server, o *sdk.StreamableHTTPOptions) (gateway *httptest.Server) {
	h.t.Helper()
	server := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, o))
	u, err := url.Parse(server.URL)
	if err != nil {
		h.t.Fatal(err)
	}
	p := NewHandler(h.config("gateway-1"), u, nil)
	gateway = httptest.NewServer(p)
	h.t.Cleanup(func() {
		gateway.CloseClientConnections()
		gateway.Close()
		p.Close()
		server.CloseClientConnections()
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return gateway
}

// TestHTTP: a client and a server of the SDK's over HTTP, with sessions and without,
// answered by event streams and by JSON.
func TestHTTP(t *testing.T) {
	for name, o := range map[string]*sdk.StreamableHTTPOptions{
		"sessions": {}, "sessions, JSON": {JSONResponse: true}, "stateless": {Stateless: true}, "stateless, JSON": {Stateless: true, JSONResponse: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			gateway := h.behind(demo(), o)
			ctx := context.Background()
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			cs, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(ctx, &sdk.StreamableClientTransport{Endpoint: gateway.URL, HTTPClient: client, MaxRetries: -1}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer cs.Close()
			if tools, err := cs.ListTools(ctx, nil); err != nil || len(tools.Tools) != 4 {
				t.Fatalf("%+v %v", tools, err)
			}
			call := func(name, arg string) *sdk.CallToolResult {
				t.Helper()
				r, err := cs.CallTool(ctx, &sdk.CallToolParams{Name: name, Arguments: map[string]any{"text": arg}})
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			for _, arg := range []string{"hello", "hello", "again"} {
				if r := call("echo", arg); r.IsError || textOf(r) != "echo "+arg || r.Meta[MetaEvidence] == nil {
					t.Errorf("%+v", r)
				}
			}
			if r := call("wipe", "all"); !r.IsError || !strings.Contains(textOf(r), "Denied") {
				t.Errorf("%s", textOf(r))
			}
			if r := call("fails", ""); !r.IsError || r.Meta[MetaEvidence] == nil {
				t.Errorf("%+v", r)
			}
			first := call("refund", "7")
			if second := call("refund", "7"); !strings.HasPrefix(textOf(first), "Pending:") || first.Meta[MetaEvidence] != second.Meta[MetaEvidence] {
				t.Errorf("%s\n%s", textOf(first), textOf(second))
			}
			st := h.state()
			if len(st.InDoubt) != 0 || len(st.Steps) != 6 {
				t.Errorf("%+v", st.Steps)
			}
			h.approve(st.Run, st.Waiting[0].Authorization)
			if r := call("refund", "7"); r.IsError || textOf(r) != "refund 7" {
				t.Errorf("%s", textOf(r))
			}
			h.sound(st.Run)
		})
	}
}

// TestHTTPHostile: what a web page elsewhere sends, and what says one thing in a header
// and another in the body.
func TestHTTPHostile(t *testing.T) {
	h := newHouse(t)
	gateway := h.behind(demo(), &sdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{}}}`
	for name, c := range map[string]struct {
		body   string
		header []string
		status int
	}{
		"elsewhere":         {call, []string{"Origin", "https://attacker.example"}, 403},
		"no origin":         {call, []string{"Origin", "null"}, 403},
		"here":              {call, []string{"Origin", "http://localhost:3000"}, 200},
		"another method":    {call, []string{"Mcp-Method", "ping"}, 400},
		"another tool":      {call, []string{"Mcp-Method", "tools/call", "Mcp-Name", "wipe"}, 400},
		"the tool, escaped": {strings.Replace(call, "echo", `ech\u006f`, 1), []string{"Mcp-Method", "tools/call", "Mcp-Name", "echo"}, 200},
		"a batch":           {"[" + call + "]", nil, 400},
		"UTF-7":             {call, []string{"Content-Type", "application/json; charset=utf-7"}, 415},
		"another type":      {call, []string{"Content-Type", "text/plain"}, 415},
		"two parameters":    {call, []string{"Content-Type", `application/json; charset=utf-8; x="; charset=utf-7"`}, 415},
		"compressed":        {call, []string{"Content-Encoding", "br"}, 415},
		"our id":            {strings.Replace(call, `"id":1`, `"id":"ledgerd:1"`, 1), nil, 400},
		"twice":             {strings.Replace(call, `"id":1`, `"id":1,"id":2`, 1), nil, 400},
		"nonsense":          {"nonsense", nil, 400},
		"without an answer": {strings.Replace(call, `"id":1,`, ``, 1), nil, 400},
	} {
		req, err := http.NewRequest("POST", gateway.URL, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		for i := 0; i < len(c.header); i += 2 {
			req.Header.Set(c.header[i], c.header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.status {
			t.Errorf("%s: want %d, found %d: %s", name, c.status, resp.StatusCode, b)
		}
	}
	req, _ := http.NewRequest("POST", gateway.URL, strings.NewReader(call))
	req.Host = "attacker.example" // a name of somebody else's that leads here
	if resp, err := http.DefaultClient.Do(req); err != nil || resp.StatusCode != 403 {
		t.Errorf("%v %v", resp, err)
	} else {
		resp.Body.Close()
	}
	if st := h.state(); len(st.Steps) != 2 {
		t.Errorf("%+v", st.Steps)
	}
}

// TestHTTPNotRecorded: without sessions, too, a call of which it could not be recorded
// what came is not made again.
func TestHTTPNotRecorded(t *testing.T) {
	h := newHouse(t)
	var calls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		m, err := parse(b)
		if err != nil {
			t.Error(err)
			return
		}
		result := `{"tools":[{"name":"pay","inputSchema":{}}]}`
		if m.method == "tools/call" {
			calls.Add(1)
			result = `{"content":[{"type":"text","text":"paid"}]}`
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+m.id+`,"result":`+result+`}`)
	}))
	defer server.Close()
	u, _ := url.Parse(server.URL)
	cfg := h.config("gateway-1")
	cfg.Run = &refusing{Run: cfg.Run}
	p := NewHandler(cfg, u, nil)
	gateway := httptest.NewServer(p)
	defer http.DefaultClient.CloseIdleConnections()
	defer p.Close()
	defer gateway.Close()
	for range 2 {
		resp, err := http.Post(gateway.URL, "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay"}}`))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if answer := string(b); strings.Contains(answer, `"paid"`) || !strings.Contains(answer, "In doubt:") {
			t.Error(answer)
		}
	}
	if calls.Load() != 1 {
		t.Errorf("called %d times", calls.Load())
	}
}

// TestHTTPServerGone: a server that cannot be reached was not called; one that breaks
// off in the middle leaves a doubt, whether the client waits or not.
func TestHTTPServerGone(t *testing.T) {
	h := newHouse(t)
	var calls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		m, err := parse(b)
		if err != nil {
			t.Error(err)
			return
		}
		if m.method == "tools/list" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+m.id+`,"result":{"tools":[{"name":"pay","inputSchema":{}}]}}`)
			return
		}
		calls.Add(1)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "event: message\nda")
		if strings.Contains(string(b), `"n":3`) { // an answer that has begun
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}))
	u, _ := url.Parse(server.URL)
	p := NewHandler(h.config("gateway-1"), u, nil)
	gateway := httptest.NewServer(p)
	defer http.DefaultClient.CloseIdleConnections()
	defer p.Close()
	defer gateway.Close()
	post := func(n string) string {
		t.Helper()
		resp, err := http.Post(gateway.URL, "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"n":`+n+`}}}`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	_ = post("1")
	if st := h.state(); len(st.InDoubt) != 1 || calls.Load() != 1 {
		t.Errorf("%+v, %d calls", st, calls.Load())
	}
	if answer := post("1"); !strings.Contains(answer, "nobody knows whether it happened") || calls.Load() != 1 {
		t.Errorf("%s, %d calls", answer, calls.Load())
	}
	calls.Store(0)
	_ = post("3")
	if answer := post("3"); !strings.Contains(answer, "nobody knows whether it happened") || calls.Load() != 1 {
		t.Errorf("%s, %d calls", answer, calls.Load())
	}
	server.Close()
	if answer := post("2"); !strings.Contains(answer, "Not called: the server cannot be reached") {
		t.Error(answer)
	}
	for _, s := range h.state().Steps {
		if s.State != api.StepInDoubt && s.State != api.StepFailed {
			t.Errorf("%+v", s)
		}
	}
	h.sound(h.state().Run)
}

// TestPage: a page of another origin that may ask speaks to a server through the gateway, as
// its browser has it; the browser keeps the answers from one that may not.
func TestPage(t *testing.T) {
	if testing.Short() {
		t.Skip("what is tested is a browser's")
	}
	browser := browsertest.Start(t)
	h := newHouse(t)
	gateway := h.behind(demo(), nil)
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<title>a client</title>")
	}))
	t.Cleanup(pages.Close)
	const client = `(async () => {
		let session;
		const post = async (message) => {
			const headers = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', 'MCP-Protocol-Version': '2025-06-18' };
			if (session) headers['Mcp-Session-Id'] = session;
			const answer = await fetch(%[1]q, { method: 'POST', headers, body: JSON.stringify({ jsonrpc: '2.0', ...message }) });
			session ??= answer.headers.get('Mcp-Session-Id');
			return answer.status + ' ' + (await answer.text());
		};
		await post({ id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'page', version: '1' } } });
		await post({ method: 'notifications/initialized' });
		const answer = await post({ id: 2, method: 'tools/call', params: { name: 'echo', arguments: { text: 'hello' } } });
		await fetch(%[1]q, { method: 'DELETE', headers: { 'Mcp-Session-Id': session } });
		return answer;
	})().catch((e) => String(e))`
	script := fmt.Sprintf(client, gateway.URL)
	page := browser.Open(pages.URL)
	page.Wait(`document.title === 'a client'`)
	if answer := page.Text(script); !strings.HasPrefix(answer, "200 ") || !strings.Contains(answer, "echo hello") || !strings.Contains(answer, MetaEvidence) {
		t.Errorf("a page of this machine's: %s", answer)
	}
	stranger := browser.Open("data:text/html,<title>a stranger</title>") // whose origin is null
	stranger.Wait(`document.title === 'a stranger'`)
	if answer := stranger.Text(script); answer != "TypeError: Failed to fetch" {
		t.Errorf("a page of nobody's: %s", answer)
	}
	if st := h.state(); len(st.Steps) != 1 {
		t.Errorf("%+v", st.Steps)
	}
}

// TestOrigins: what a browser asks for a page is answered for those that are named, whatever
// the server behind says of that.
func TestOrigins(t *testing.T) {
	h := newHouse(t)
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := NewHandler(h.config("gateway-1"), u, []string{"https://app.example"})
	t.Cleanup(p.Close)
	for _, c := range []struct {
		method, origin string
		status         int
	}{
		{"OPTIONS", "https://app.example", 204},
		{"OPTIONS", "https://other.example", 403},
		{"OPTIONS", "https://app.example.attacker.example", 403},
		{"POST", "https://app.example", 202},
		{"POST", "https://other.example", 403},
	} {
		r := httptest.NewRequest(c.method, "http://127.0.0.1/", strings.NewReader(`{"jsonrpc":"2.0","method":"notifications/x"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", c.origin)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if c.method == "OPTIONS" {
			r.Header.Set("Access-Control-Request-Method", "POST")
			r.Header.Set("Access-Control-Request-Headers", "content-type,mcp-session-id")
		}
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		a := w.Header()
		may := c.origin
		if c.status == 403 {
			may = ""
		}
		if w.Code != c.status || a.Get("Access-Control-Allow-Origin") != may || a.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s of %s: %d %v", c.method, c.origin, w.Code, a)
		}
		if c.status == 204 && (a.Get("Access-Control-Allow-Headers") != "content-type,mcp-session-id" || !strings.Contains(a.Get("Access-Control-Allow-Methods"), "POST")) {
			t.Errorf("%s of %s: %v", c.method, c.origin, a)
		}
	}
	if got == nil || got.Get("Origin") != "" || got.Get("Sec-Fetch-Site") != "" {
		t.Errorf("to the server: %v", got)
	}
}
