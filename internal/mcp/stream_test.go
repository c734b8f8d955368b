package mcp

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ledgerd/internal/api"
)

// breaking is a server with a session that ends the stream of every call before the
// answer is in it, and goes on where that is resumed, with what comes from more. A call of
// the tool refused is answered by an error of HTTP's.
func breaking(t *testing.T, more <-chan string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(sessionHeader, "s-1")
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(w).Flush()
			for {
				select {
				case data, open := <-more:
					if !open || data == "" {
						return
					}
					_, _ = io.WriteString(w, "id: e-2\ndata: "+data+"\n\n")
					_ = http.NewResponseController(w).Flush()
				case <-r.Context().Done():
					return
				}
			}
		}
		b, _ := io.ReadAll(r.Body)
		m, err := parse(b)
		if err != nil {
			t.Error(err)
			return
		}
		switch {
		case m.method == "tools/list":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+m.id+`,"result":{"tools":[{"name":"pay","inputSchema":{}},{"name":"refused","inputSchema":{}}]}}`)
		case strings.Contains(string(b), `"refused"`):
			http.Error(w, "no", http.StatusInternalServerError)
		default:
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "id: e-1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n")
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// inSession sends a request in the session.
func inSession(t *testing.T, method, url, body, last string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(sessionHeader, "s-1")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func drain(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// until waits for the one step to have a state.
func (h *house) until(state string) {
	h.t.Helper()
	var st *api.RunState
	for range 1000 {
		if st = h.state(); len(st.Steps) == 1 && st.Steps[0].State == state {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	h.t.Fatalf("want %s, found %+v", state, st.Steps)
}

const brokenCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay"}}`

// TestStreamResumed: an answer that comes by a stream which the client resumed in time is
// recorded as it is, however long that stream lasts.
func TestStreamResumed(t *testing.T) {
	h := newHouse(t)
	more := make(chan string)
	p, url := h.handle(h.config("gateway-1"), breaking(t, more))
	p.resumeFor = 300 * time.Millisecond
	if answer := drain(t, inSession(t, "POST", url, brokenCall, "")); !strings.Contains(answer, "progress") {
		t.Fatal(answer)
	}
	resumed := inSession(t, "GET", url, "", "e-1")
	time.Sleep(3 * p.resumeFor) // it is open: nothing is missed
	if st := h.state(); len(st.InDoubt) != 1 || st.Steps[0].Execution != nil {
		t.Errorf("want it under way, found %+v", st.Steps)
	}
	more <- `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`
	close(more)
	if answer := drain(t, resumed); !strings.Contains(answer, MetaEvidence) {
		t.Error(answer)
	}
	h.until(api.StepSucceeded)
	h.sound(h.state().Run)
}

// TestStreamEnded: an answer that nobody resumed a stream for is recorded as unknown, and
// the same call is not made again. One that comes after all settles it.
func TestStreamEnded(t *testing.T) {
	h := newHouse(t)
	more := make(chan string)
	p, url := h.handle(h.config("gateway-1"), breaking(t, more))
	p.resumeFor = 50 * time.Millisecond
	drain(t, inSession(t, "POST", url, brokenCall, ""))
	resumed := inSession(t, "GET", url, "", "e-1")
	more <- "" // it ends, too, without the answer
	drain(t, resumed)
	unknown := func() bool { st := h.state(); return len(st.Steps) == 1 && st.Steps[0].Execution != nil }
	for range 1000 {
		if unknown() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if st := h.state(); !unknown() || st.Steps[0].State != api.StepInDoubt {
		t.Fatalf("%+v", st.Steps)
	}
	again := strings.Replace(brokenCall, `"id":1`, `"id":2`, 1)
	if answer := drain(t, inSession(t, "POST", url, again, "")); !strings.Contains(answer, "nobody knows whether it happened") {
		t.Error(answer)
	}
	resumed = inSession(t, "GET", url, "", "e-1")
	more <- `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`
	close(more)
	if answer := drain(t, resumed); !strings.Contains(answer, MetaEvidence) {
		t.Error(answer)
	}
	h.until(api.StepSucceeded)
	h.sound(h.state().Run)
}

// TestStreamNone: where an answer is no stream, there is nothing to resume.
func TestStreamNone(t *testing.T) {
	h := newHouse(t)
	_, url := h.handle(h.config("gateway-1"), breaking(t, nil))
	call := strings.Replace(brokenCall, "pay", "refused", 1)
	drain(t, inSession(t, "POST", url, call, ""))
	for range 1000 {
		if st := h.state(); len(st.Steps) == 1 && st.Steps[0].Execution != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if answer := drain(t, inSession(t, "POST", url, strings.Replace(call, `"id":1`, `"id":2`, 1), "")); !strings.Contains(answer, "nobody knows whether it happened") {
		t.Error(answer)
	}
}
