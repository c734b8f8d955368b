package mcp

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"ledgerd/evidence"
)

// lister serves over HTTP a server that lists one tool, pay, and answers everything else
// by f, and batches by batch; behind a gateway, whose URL it returns.
func (h *house) lister(run string, f func(w http.ResponseWriter, r *http.Request, m *message), batch ...func(http.ResponseWriter)) string {
	h.t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		m, err := parse(b)
		switch {
		case r.Method != http.MethodPost:
			f(w, r, nil)
		case errors.Is(err, errBatch) && len(batch) == 1:
			batch[0](w)
		case err != nil:
			h.t.Errorf("the server was given %s: %v", b, err)
		case m.method == "tools/list":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"pay","inputSchema":{}}]}}`, m.id)
		default:
			f(w, r, m)
		}
	}))
	u, err := url.Parse(server.URL + "/mcp?key=1")
	if err != nil {
		h.t.Fatal(err)
	}
	cfg := h.config("gateway-1")
	cfg.Run = h.runOf(run)
	p := NewHandler(cfg, u, nil)
	gateway := httptest.NewServer(p)
	h.t.Cleanup(func() {
		gateway.CloseClientConnections()
		gateway.Close()
		p.Close()
		server.CloseClientConnections()
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return gateway.URL
}

// ask sends a request of a client's and returns what it is answered.
func (h *house) ask(method, to, session, body string, header ...string) (status int, answer string) {
	h.t.Helper()
	req, err := http.NewRequest(method, to, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if session != "" {
		req.Header.Set(sessionHeader, session)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

const (
	paid      = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"paid"}]}}`
	jsonMedia = "application/json"
	sse       = "text/event-stream"
)

// zipped is an event stream in a coding that the gateway did not ask for.
func zipped() string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, "data: "+paid+"\n\n")
	_ = z.Close()
	return b.String()
}

// TestServerLiesOverHTTP: what a server answers to a call that breaks off, could be read
// in two ways, is not the answer to it, or goes past the gateway. A client that hears what
// came of it hears what is recorded.
func TestServerLiesOverHTTP(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const success, unknown = "allow success ", "allow unknown "
	for name, c := range map[string]struct {
		media, answer string
		header        []string
		status        int
		heard         string // of the client's answer
		recorded      string
	}{
		"half":                 {media: jsonMedia, answer: paid[:40] + "ABORT", status: 200, heard: "In doubt", recorded: unknown},
		"half an event":        {media: sse, answer: "data: " + paid[:40] + "ABORT", status: 200, heard: "In doubt", recorded: unknown},
		"an event without end": {media: sse, answer: "data: " + paid + "\n", status: 200, heard: "In doubt", recorded: unknown},
		"nothing":              {media: jsonMedia, answer: "", status: 200, heard: "In doubt", recorded: unknown},
		"no UTF-8":             {media: jsonMedia, answer: strings.Replace(paid, "paid", "paid\xff", 1), status: 200, heard: "In doubt", recorded: unknown},
		"no UTF-8, event":      {media: sse, answer: "data: " + strings.Replace(paid, "paid", "paid\xff", 1) + "\n\n", status: 200, heard: "In doubt", recorded: unknown},
		"another's id":         {media: jsonMedia, answer: strings.Replace(paid, `"id":1`, `"id":2`, 1), status: 200, heard: "In doubt", recorded: unknown},
		"another's id, event":  {media: sse, answer: "data: " + strings.Replace(paid, `"id":1`, `"id":2`, 1) + "\n\n", status: 200, heard: "In doubt", recorded: unknown},
		"twice":                {media: sse, answer: "data: " + paid + "\n\ndata: " + strings.Replace(paid, "paid", "a lie", 1) + "\n\n", status: 200, heard: MetaEvidence, recorded: success},
		"a batch":              {media: jsonMedia, answer: "[" + paid + "," + strings.Replace(paid, "paid", "a lie", 1) + "]", status: 200, heard: MetaEvidence, recorded: success},
		"an error":             {media: "text/plain", answer: "no", status: 500, heard: "no", recorded: unknown},
		// A line ends at a CR, too; and a first mark of the order of bytes is none of the line.
		"CR":       {media: sse, answer: ": x\rdata: " + paid + "\r\r\n", status: 200, heard: MetaEvidence, recorded: success},
		"CR alone": {media: sse, answer: "data: " + paid + "\r\r", status: 200, heard: MetaEvidence, recorded: success},
		"CRLF":     {media: sse, answer: "data: " + paid + "\r\n\r\n", status: 200, heard: MetaEvidence, recorded: success},
		"a BOM":    {media: sse, answer: "\xEF\xBB\xBFdata: " + paid + "\n\n", status: 200, heard: MetaEvidence, recorded: success},
		"U 2028":   {media: sse, answer: ": x\u2028data: " + paid + "\u2028\u2028\n\n", status: 200, heard: "In doubt", recorded: unknown},
		// What is no data by its name is not to become it.
		"U 2028 in a name": {media: sse, answer: "data\u2028data: " + paid + "\u2028\u2028\n\n", status: 200, heard: "In doubt", recorded: unknown},
		"a batch of lies":  {media: jsonMedia, answer: "[" + strings.Replace(paid, `"id":1`, `"id":2`, 1) + "]", status: 200, heard: "In doubt", recorded: unknown},
		"no session":       {media: jsonMedia, answer: `{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}`, status: 404, heard: "Session not found", recorded: unknown},
		"zipped":           {media: sse, answer: zipped(), header: []string{"Content-Encoding", "gzip"}, status: 502, heard: "Content-Encoding", recorded: unknown},
		"no type":          {media: sse + ";;", answer: "data: " + paid + "\n\n", status: 502, heard: "Content-Type", recorded: unknown},
		"like one":         {media: "x-" + sse, answer: "data: " + paid + "\n\n", status: 502, heard: "found", recorded: unknown},
		"two types":        {media: "text/plain", answer: "data: " + paid + "\n\n", header: []string{"Content-Type", sse}, status: 502, heard: "Content-Type", recorded: unknown},
		"another":          {media: "text/plain", answer: "go", header: []string{"Location", "http://127.0.0.1:1/mcp"}, status: 502, heard: "past this gateway", recorded: unknown},
		"elsewhere":        {media: jsonMedia, answer: paid, header: []string{"Location", "/elsewhere"}, status: 200, heard: MetaEvidence, recorded: success},
		"many lines":       {media: sse, answer: "event: message\n: a comment\nid: 7\nretry: 5\ndata: " + paid[:17] + "\ndata: " + paid[17:] + "\n\n", status: 200, heard: "event: message\n: a comment\nid: 7\nretry: 5\ndata: ", recorded: success},
	} {
		for _, session := range []string{"", "s-1"} {
			t.Run(name+"/"+session, func(t *testing.T) {
				run := regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(name+"-run"+session, "-")
				gateway := h.lister(run, func(w http.ResponseWriter, r *http.Request, _ *message) {
					if r.URL.Query().Get("key") != "1" && r.URL.Path != "/elsewhere" {
						t.Errorf("asked at %s", r.URL)
					}
					w.Header().Set("Content-Type", c.media)
					for i := 0; i < len(c.header); i += 2 {
						w.Header().Add(c.header[i], c.header[i+1])
					}
					status := c.status
					switch {
					case status == 502:
						status = 200
					case w.Header().Get("Location") != "" && r.URL.Path != "/elsewhere":
						status = http.StatusTemporaryRedirect
					}
					if name == "another" {
						status = http.StatusTemporaryRedirect
					}
					answer, broken := strings.CutSuffix(c.answer, "ABORT")
					if broken {
						w.Header().Set("Content-Length", "1000")
					}
					w.WriteHeader(status)
					_, _ = io.WriteString(w, answer)
					if broken {
						_ = http.NewResponseController(w).Flush()
						panic(http.ErrAbortHandler)
					}
				})
				status, answer := h.ask("POST", gateway, session, payCall)
				if status != c.status || !strings.Contains(answer, c.heard) || strings.Contains(answer, "a lie") {
					t.Errorf("want %d, …%s…, found %d:\n%s", c.status, c.heard, status, answer)
				}
				if c.media == jsonMedia && c.status < 500 && !json.Valid([]byte(answer)) {
					t.Errorf("the client heard what is no JSON: %s", answer)
				}
				if strings.Contains(answer, "paid") != (c.recorded == success) {
					t.Errorf("the client heard %s", answer)
				}
				h.recorded(run, map[string]string{"demo/pay": c.recorded})
			})
		}
	}
}

// TestServerFloodsOverHTTP: what is too much for a message, and what is just not; and a
// client that goes away in the middle.
func TestServerFloodsOverHTTP(t *testing.T) {
	t.Parallel()
	size, many := 100<<20, 20_000
	if testing.Short() {
		size, many = 2<<20, 2_000
	}
	h := newHouse(t)
	gone := make(chan struct{})
	gateway := h.lister("session-1", func(w http.ResponseWriter, _ *http.Request, m *message) {
		args := string(m.params.of(m.raw))
		large := `{"jsonrpc":"2.0","id":1,"result":{"content":[],"large":"` + strings.Repeat("x", size) + `"}}`
		switch {
		case strings.Contains(args, `"large"`):
			w.Header().Set("Content-Type", jsonMedia)
			_, _ = io.WriteString(w, large)
		case strings.Contains(args, `"event"`):
			w.Header().Set("Content-Type", sse)
			_, _ = io.WriteString(w, "data: "+large+"\n\n")
		case strings.Contains(args, `"endless"`):
			w.Header().Set("Content-Type", sse)
			line := []byte("data: " + strings.Repeat("x", 1<<20) + "\n")
			for i := 0; i < 1000; i++ {
				if _, err := w.Write(line); err != nil {
					return
				}
			}
			t.Error("an event of 1 GiB was read")
		default:
			w.Header().Set("Content-Type", sse)
			for i := range many {
				fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\",\"params\":{\"n\":%d}}\n\n", i)
				if i == 100 {
					_ = http.NewResponseController(w).Flush()
					<-gone
				}
			}
			_, _ = io.WriteString(w, "data: "+paid+"\n\n")
		}
	})
	call := func(what string) string { return strings.Replace(payCall, `"n":1`, `"n":"`+what+`"`, 1) }
	for _, what := range []string{"large", "event"} {
		if _, answer := h.ask("POST", gateway, "", call(what)); len(answer) < size || !strings.Contains(answer[:200], MetaEvidence) {
			t.Errorf("%s: %d bytes: %.200s", what, len(answer), answer)
		}
	}
	if _, answer := h.ask("POST", gateway, "", call("endless")); !strings.Contains(answer, "In doubt") {
		t.Errorf("%.200s", answer)
	}
	req, _ := http.NewRequest("POST", gateway, strings.NewReader(call("flood")))
	req.Header.Set("Content-Type", jsonMedia)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(resp.Body, make([]byte, 100))
	resp.Body.Close()
	close(gone)
	want := "allow success allow success allow unknown allow success "
	for until := time.Now().Add(20 * time.Second); h.outcomes("session-1")["demo/pay"] != want; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%v", h.outcomes("session-1"))
		}
	}
}

// TestComesBack: a client that lost a stream comes back to its session, and hears what
// came of its call then. The same answer again is the same, and another one is none. What
// no client comes back for is in doubt once the session ends.
func TestComesBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var times atomic.Int64
	gateway := h.lister("session-1", func(w http.ResponseWriter, r *http.Request, m *message) {
		if r.Method == http.MethodDelete {
			return
		}
		w.Header().Set("Content-Type", sse)
		if m != nil { // a call: the stream ends after an event by which it can be taken up
			_, _ = io.WriteString(w, "id: 1\ndata: \n\n")
			return
		}
		answer := paid
		if times.Add(1) == 3 {
			answer = strings.Replace(paid, "paid", "a lie", 1)
		}
		_, _ = io.WriteString(w, "id: 2\ndata: "+answer+"\n\nid: 3\ndata: {}\n\n")
	})
	if _, answer := h.ask("POST", gateway, "s-1", payCall); answer != "id: 1\ndata: \n\n" {
		t.Error(answer)
	}
	_, first := h.ask("GET", gateway, "s-1", "", "Last-Event-Id", "1")
	_, second := h.ask("GET", gateway, "s-1", "", "Last-Event-Id", "1")
	_, third := h.ask("GET", gateway, "s-1", "", "Last-Event-Id", "1")
	if !strings.Contains(first, "paid") || !strings.Contains(first, MetaEvidence) || first != second {
		t.Errorf("%s\n%s", first, second)
	}
	if third != "id: 2\ndata: \n\nid: 3\ndata: \n\n" { // by which it comes back after them
		t.Error(third)
	}
	if _, other := h.ask("GET", gateway, "s-2", ""); strings.Contains(other, "paid") {
		t.Errorf("another session heard %s", other)
	}
	_, _ = h.ask("POST", gateway, "s-1", strings.Replace(payCall, `"id":1`, `"id":9`, 1))
	if _, answer := h.ask("DELETE", gateway, "s-1", ""); answer != "" {
		t.Error(answer)
	}
	want := "allow success allow unknown "
	for until := time.Now().Add(20 * time.Second); h.outcomes("session-1")["demo/pay"] != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%v", h.outcomes("session-1"))
		}
	}
}

// TestAsksAgain: a client whose credentials are refused gets others, and sends the same
// message again, under the same id.
func TestAsksAgain(t *testing.T) {
	t.Parallel()
	for _, session := range []string{"", "s-1"} {
		h := newHouse(t)
		var times atomic.Int64
		gateway := h.lister("session-1", func(w http.ResponseWriter, _ *http.Request, m *message) {
			if times.Add(1)%2 == 1 {
				w.Header().Set("WWW-Authenticate", "Bearer")
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
			w.Header().Set("Content-Type", jsonMedia)
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, m.id)
		})
		for _, body := range []string{`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`, payCall} {
			for _, want := range []int{401, 200} {
				if status, answer := h.ask("POST", gateway, session, body); status != want {
					t.Errorf("want %d, found %d: %s", want, status, answer)
				}
			}
		}
		h.recorded("session-1", map[string]string{"demo/pay": "allow not_run allow success "})
	}
}

// TestNoStatus: what is no status to HTTP is none to pass on.
func TestNoStatus(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	gateway := h.lister("session-1", func(w http.ResponseWriter, _ *http.Request, _ *message) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 099 what\r\nContent-Length: 0\r\n\r\n")
	})
	if status, answer := h.ask("POST", gateway, "s-1", payCall); status != 502 || !strings.Contains(answer, "099 what") {
		t.Errorf("%d %s", status, answer)
	}
	h.recorded("session-1", map[string]string{"demo/pay": "allow unknown "})
}

// TestBothAsk: a client's answer to a request of the server's is no answer to the request
// of its own that has the same id.
func TestBothAsk(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	answered := make(chan struct{})
	gateway := h.lister("session-1", func(w http.ResponseWriter, _ *http.Request, m *message) {
		if m.method == "" {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", sse)
		_, _ = io.WriteString(w, "data: "+`{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{}}`+"\n\n")
		_ = http.NewResponseController(w).Flush()
		<-answered
		_, _ = io.WriteString(w, "data: "+`{"jsonrpc":"2.0","id":1,"result":{"contents":[]}}`+"\n\n")
	})
	req, _ := http.NewRequest("POST", gateway, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"a:b"}}`))
	req.Header.Set("Content-Type", jsonMedia)
	req.Header.Set(sessionHeader, "s-1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	asked := make([]byte, 40)
	_, _ = io.ReadFull(resp.Body, asked)
	if status, answer := h.ask("POST", gateway, "s-1", `{"jsonrpc":"2.0","id":1,"result":{"action":"decline"}}`); status != http.StatusAccepted {
		t.Errorf("%d %s", status, answer)
	}
	close(answered)
	if rest, _ := io.ReadAll(resp.Body); !strings.Contains(string(rest), `"contents"`) {
		t.Errorf("the client heard %s%s", asked, rest)
	}
}

// TestUpstreamIsKept: what opens the server, in its URL, is the operator's: neither the
// client hears it, nor does it get into a record or a log.
func TestUpstreamIsKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var silent atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if m, err := parse(b); err == nil && m.method == "tools/list" && !silent.Load() {
			w.Header().Set("Content-Type", jsonMedia)
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"pay","inputSchema":{}}]}}`, m.id)
			return
		}
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	u, err := url.Parse(server.URL + "/mcp?key=s3cr3t")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cfg := h.config("gateway-1")
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	gateway := httptest.NewServer(NewHandler(cfg, u, nil))
	defer gateway.Close()
	_, call := h.ask("POST", gateway.URL, "", payCall)
	_, ping := h.ask("POST", gateway.URL, "s-1", `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	silent.Store(true)
	_, unlisted := h.ask("POST", gateway.URL, "s-2", payCall)
	gateway.Close()
	said := call + ping + unlisted
	c := h.Client(h.Token)
	for p, err := range c.Run(t.Context(), h.state().Run) {
		if err != nil {
			t.Fatal(err)
		}
		if x, ok := p.Record.Body.(*evidence.Execution); ok {
			payload, err := c.Payload(t.Context(), x.Error.Commit)
			if err != nil {
				t.Fatal(err)
			}
			said += string(payload.Data)
		}
	}
	if said += log.String(); strings.Contains(said, "s3cr3t") || strings.Count(said, "EOF") < 3 {
		t.Error(said)
	}
}

// TestBatchOverHTTP: what is asked in a batch is answered as by itself: a tool that is
// held back is not in the list.
func TestBatchOverHTTP(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if _, err := h.pins.meet("demo", map[string]*tool{"wipe": {name: "wipe", digest: "another"}}); err != nil {
		t.Fatal(err)
	}
	gateway := h.behind(demo(), &sdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true}).URL
	status, answer := h.ask("POST", gateway, "", `[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"tools/list"}]`, "Mcp-Protocol-Version", "2025-03-26")
	if status != 200 || !strings.Contains(answer, `"echo"`) || strings.Contains(answer, `"wipe"`) || !strings.Contains(answer, `"id":1,"result":{}`) {
		t.Errorf("%d %s", status, answer)
	}
	if status, answer = h.ask("POST", gateway, "", `[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":1,"method":"tools/list"}]`); status != 400 {
		t.Errorf("%d %s", status, answer)
	}
	many := "[" + strings.Repeat("1,", 50_000) + "1]" // of which one is enough to say so
	if status, answer = h.ask("POST", gateway, "", many); status != 400 || len(answer) > 1000 {
		t.Errorf("%d, %d bytes", status, len(answer))
	}
}

// TestBatchAgain: the ids of a batch that is refused, or that the server does not answer,
// are free for the next try.
func TestBatchAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var times atomic.Int64
	gateway := h.lister("session-1", func(w http.ResponseWriter, _ *http.Request, m *message) {
		w.Header().Set("Content-Type", jsonMedia)
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{}}`, m.id)
	}, func(w http.ResponseWriter) {
		switch times.Add(1) {
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			http.Error(w, "no", http.StatusServiceUnavailable)
		default:
			w.Header().Set("Content-Type", jsonMedia)
			_, _ = io.WriteString(w, `[{"jsonrpc":"2.0","id":1,"result":{}}]`)
		}
	})
	const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	for i, c := range []struct {
		body string
		want int
	}{{"[" + ping + "," + payCall + "]", 400}, {"[" + ping + "," + ping + "]", 400}, {"[" + ping + "]", 502}, {"[" + ping + "]", 503}, {"[" + ping + "]", 200}, {ping, 200}} {
		if status, answer := h.ask("POST", gateway, "s-1", c.body); status != c.want {
			t.Errorf("%d: want %d, found %d: %s", i, c.want, status, answer)
		}
	}
}

// TestBatchCancels: a call is cancelled by a notification in a batch, too.
func TestBatchCancels(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		switch m, err := parse(b); {
		case errors.Is(err, errBatch):
			w.WriteHeader(http.StatusAccepted)
		case err != nil || m.method != "tools/list":
			t.Errorf("the server was given %s", b)
		default:
			w.Header().Set("Content-Type", jsonMedia)
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"refund","inputSchema":{}}]}}`, m.id)
		}
	}))
	t.Cleanup(server.Close)
	cfg := h.config("gateway-1")
	cfg.Wait = 10 * time.Second
	_, gateway := h.handle(cfg, server)
	called := make(chan string)
	go func() {
		_, answer := h.ask("POST", gateway, "s-1", strings.Replace(payCall, "pay", "refund", 1))
		called <- answer
	}()
	for {
		if st, err := h.Client(h.Token).RunState(t.Context(), "session-1"); err == nil && len(st.Waiting) == 1 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if status, answer := h.ask("POST", gateway, "s-1", `[{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}]`); status != http.StatusAccepted {
		t.Errorf("%d %s", status, answer)
	}
	if answer := <-called; answer != "" {
		t.Errorf("who has cancelled hears %s", answer)
	}
}
