package conformance

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"ledgerd/internal/api"
)

// exchange is a request that an operation comes to, and what becomes of it.
type exchange struct {
	Send   string `json:"send"`
	Body   any    `json:"body"`
	Answer int    `json:"answer"`
	Fault  string `json:"fault"`
}

// arrived is a request as it came to the proxy.
type arrived struct {
	send   string
	body   []byte
	answer int // 0: it got none
}

// proxy stands between a driver and the daemon, and does what the script says to the
// requests that come. Drivers send one after the other, so the n-th is the script's.
type proxy struct {
	t      *testing.T
	daemon string
	token  string
	human  func(approve bool) // answers what waits

	mu   sync.Mutex
	plan []exchange
	came []arrived
}

func (p *proxy) serve() *httptest.Server {
	s := httptest.NewServer(p)
	p.t.Cleanup(s.Close)
	return s
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Errorf("%s %s: %v", r.Method, r.URL, err)
		return
	}
	p.mu.Lock()
	n := len(p.came)
	p.came = append(p.came, arrived{send: r.Method + " " + r.URL.RequestURI(), body: body})
	fault := ""
	if n < len(p.plan) {
		fault = p.plan[n].Fault
	}
	p.mu.Unlock()
	p.header(r, len(body) > 0)
	switch fault {
	case "cut":
		p.cut(w)
		return
	case "busy", "full":
		w.Header().Set("Retry-After", map[string]string{"busy": "1", "full": "0"}[fault])
		p.problem(w, n, http.StatusServiceUnavailable, api.ReasonBusy)
		return
	case "large":
		p.problem(w, n, http.StatusRequestEntityTooLarge, api.ReasonTooLarge)
		return
	case "unknown":
		p.forward(r, body)
		p.problem(w, n, http.StatusInternalServerError, api.ReasonUnknown)
		return
	case "approve", "refuse":
		go p.human(fault == "approve")
	}
	resp, answer := p.forward(r, body)
	if fault == "lost" {
		p.cut(w)
		return
	}
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if v := resp.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = w.Write(answer)
	p.answered(n, resp.StatusCode)
}

// header holds what README.md says of every request.
func (p *proxy) header(r *http.Request, body bool) {
	if got := r.Header.Get("Authorization"); got != "Bearer "+p.token {
		p.t.Errorf("%s %s: want the token, found %q", r.Method, r.URL, strings.Repeat("x", len(got)))
	}
	want := ""
	if body {
		want = api.MediaJSON
	}
	if got := r.Header.Get("Content-Type"); got != want {
		p.t.Errorf("%s %s: want Content-Type %q, found %q", r.Method, r.URL, want, got)
	}
}

func (p *proxy) forward(r *http.Request, body []byte) (*http.Response, []byte) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, p.daemon+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		p.t.Error(err)
		panic(http.ErrAbortHandler)
	}
	req.Header = r.Header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Error(err)
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Error(err)
		panic(http.ErrAbortHandler)
	}
	return resp, answer
}

// cut ends the connection without an answer.
func (p *proxy) cut(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		p.t.Error(err)
		return
	}
	_ = conn.Close()
}

func (p *proxy) problem(w http.ResponseWriter, n, status int, reason string) {
	b, err := json.Marshal(api.NewProblem(status, reason, "the proxy says so"))
	if err != nil {
		p.t.Error(err)
	}
	w.Header().Set("Content-Type", api.MediaProblem)
	w.WriteHeader(status)
	_, _ = w.Write(b)
	p.answered(n, status)
}

func (p *proxy) answered(n, status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.came[n].answer = status
}

// next begins the exchanges of another process, and returns those of the one before.
func (p *proxy) next(plan []exchange) []arrived {
	p.mu.Lock()
	defer p.mu.Unlock()
	came := p.came
	p.plan, p.came = plan, nil
	return came
}
