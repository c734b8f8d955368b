package tools_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
	"ledgerd/runtime/tools"
)

var ctx = context.Background()

func open(t *testing.T, rt *runtime.Runtime, options ...runtime.Option) *runtime.Run {
	t.Helper()
	run, err := rt.Open(ctx, "complaint-4711", append([]runtime.Option{runtime.As(runtimetest.Agent), runtime.Task("complaint", nil)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// executions returns what the records say of each attempt: "failure
// rate_limited", "success".
func executions(w *runtimetest.World, run evidence.RunID) (list []string) {
	for _, p := range w.Records(run) {
		if e, ok := p.Record.Body.(*evidence.Execution); ok {
			list = append(list, strings.TrimSpace(string(e.Status)+" "+string(e.Class)))
		}
	}
	return list
}

// recorded returns every payload of a run's records, and the records.
func recorded(t *testing.T, w *runtimetest.World, run evidence.RunID) string {
	t.Helper()
	var b strings.Builder
	for _, p := range w.Records(run) {
		b.Write(p.Entry)
		var commits []*evidence.Commitment
		switch body := p.Record.Body.(type) {
		case *evidence.Authorization:
			commits = append(commits, &body.Input, body.ToolSchema, body.Errors)
		case *evidence.Execution:
			commits = append(commits, body.Output, body.Error)
		}
		for _, c := range commits {
			if c == nil {
				continue
			}
			payload, err := runtime.Embedded{Ledger: w.Ledger}.ReadPayload(ctx, c.Commit)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(payload.Data)
		}
	}
	return b.String()
}

// service counts what it did, by key.
type service struct {
	*httptest.Server
	mu    sync.Mutex
	calls int
	did   map[string]int
	// answer writes an answer; false: the work is not done. nil: 200.
	answer func(call int, w http.ResponseWriter, r *http.Request) bool
}

func newService(t *testing.T, answer func(call int, w http.ResponseWriter, r *http.Request) bool) *service {
	s := &service{did: make(map[string]int), answer: answer}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/done/") {
		if s.did[strings.TrimPrefix(r.URL.Path, "/done/")] == 0 {
			w.WriteHeader(http.StatusNotFound)
		}
		return
	}
	s.calls++
	do := func() { s.did[r.Header.Get("Idempotency-Key")] = 1 }
	if s.answer == nil {
		do()
		w.Header().Set("Content-Type", "application/json")
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, `{"id":"t-1","path":%q,"got":%s,"auth":%q}`, r.URL.EscapedPath(), body, r.Header.Get("Authorization"))
		return
	}
	if s.answer(s.calls, w, r) {
		do()
	}
}

// called returns how many calls arrived.
func (s *service) called() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *service) host() string {
	return strings.TrimPrefix(strings.TrimPrefix(s.URL, "http://"), "https://")
}

func (s *service) tool(t *testing.T, change func(*tools.HTTPConfig)) runtime.Tool {
	t.Helper()
	cfg := tools.HTTPConfig{
		Spec:    runtime.Spec{Name: "ticket", Action: "create_ticket", Timeout: 5 * time.Second, Params: []string{"queue"}},
		URL:     s.URL + "/queues/{queue}/tickets",
		Hosts:   []tools.Host{{Name: s.host()}},
		Secrets: map[string]string{"Authorization": "Bearer s3cr3t-token"},
	}
	if change != nil {
		change(&cfg)
	}
	tool, err := tools.NewHTTP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tool
}

var ticket = runtime.Action{Step: "ticket", Tool: "ticket", Input: []byte(`{"queue":"a/b c","text":"late"}`)}

func cut(_ int, w http.ResponseWriter, _ *http.Request) bool {
	c, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = c.Close()
	}
	return true
}

func status(code int, header ...string) func(int, http.ResponseWriter, *http.Request) bool {
	return func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		return code < 300
	}
}

// first answers the first n calls in one way, and the others with 200.
func first(n int, answer func(int, http.ResponseWriter, *http.Request) bool) func(int, http.ResponseWriter, *http.Request) bool {
	return func(call int, w http.ResponseWriter, r *http.Request) bool {
		return call > n || answer(call, w, r)
	}
}

func TestHTTPFailures(t *testing.T) {
	for _, c := range []struct {
		name       string
		idempotent bool
		probe      bool
		answer     func(int, http.ResponseWriter, *http.Request) bool
		timeout    time.Duration
		budget     evidence.Amounts
		want       []string // of the execution records
		effects    int
		waited     time.Duration // at least
		ok         bool
		class      evidence.Class // of *Failed
	}{
		{name: "success", want: []string{"success"}, effects: 1, ok: true},
		{name: "rate limited", answer: first(1, status(429, "Retry-After", "40")), want: []string{"failure rate_limited", "success"}, effects: 1, waited: 40 * time.Second, ok: true},
		{name: "unavailable", answer: first(2, status(503, "Retry-After", "7")), want: []string{"failure tool_unavailable", "failure tool_unavailable", "success"}, effects: 1, waited: 14 * time.Second, ok: true},
		{name: "failed", answer: status(500), want: []string{"failure tool_failed"}, class: evidence.ToolFailed},
		{name: "not permitted there", answer: status(403), want: []string{"failure tool_failed"}, class: evidence.ToolFailed},
		{name: "invalid", answer: status(422), want: []string{"failure invalid_tool_payload"}, class: evidence.InvalidToolPayload},
		{name: "redirect of a POST", answer: status(307, "Location", "/elsewhere"), want: []string{"failure tool_failed"}, class: evidence.ToolFailed},
		{name: "cut", answer: cut, want: []string{"unknown outcome_unknown"}, effects: 1},
		{name: "cut, idempotent", idempotent: true, answer: first(1, cut), want: []string{"failure tool_timeout", "success"}, effects: 1, ok: true},
		{name: "cut, probed", probe: true, answer: first(1, cut), want: []string{"unknown outcome_unknown"}, effects: 1, ok: true},
		{name: "timeout", timeout: 50 * time.Millisecond, answer: slow, want: []string{"unknown outcome_unknown"}},
		{name: "timeout, idempotent", idempotent: true, timeout: 50 * time.Millisecond, answer: first(1, slow), want: []string{"failure tool_timeout", "success"}, effects: 1, ok: true},
		{name: "budget", answer: status(503), budget: evidence.Amounts{"attempts": 2}, want: []string{"failure tool_unavailable", "failure tool_unavailable", "not_run"}, class: evidence.BudgetExceeded},
		{name: "not HTTP", answer: func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_, _ = io.WriteString(c, "HELO\r\n\r\n")
				_ = c.Close()
			}
			return true
		}, want: []string{"unknown outcome_unknown"}, effects: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := runtimetest.New(t)
			s := newService(t, c.answer)
			tool := s.tool(t, func(cfg *tools.HTTPConfig) {
				cfg.Spec.Idempotent, cfg.Spec.Timeout, cfg.Now = c.idempotent, c.timeout, w.Clock.Now
				if c.probe {
					cfg.URL, cfg.Probe = s.URL+"/tickets", s.URL+"/done/{key}"
				}
			})
			run := open(t, w.Runtime(tool), runtime.Budget(c.budget))
			before := w.Clock.Now()
			res, err := run.Do(ctx, ticket)
			var failed *runtime.Failed
			var doubt *runtime.InDoubt
			switch {
			case (err == nil) != c.ok:
				t.Fatalf("%+v, %v", res, err)
			case c.class != "" && (!errors.As(err, &failed) || failed.Class != c.class):
				t.Errorf("want class %s: %v", c.class, err)
			case !c.ok && c.class == "" && (!errors.As(err, &doubt) || doubt.Escalation.IsZero()):
				t.Errorf("want a doubt: %v", err)
			}
			if got := executions(w, run.ID()); strings.Join(got, ", ") != strings.Join(c.want, ", ") {
				t.Errorf("records: %q", got)
			}
			s.mu.Lock()
			if len(s.did) != c.effects {
				t.Errorf("%d effects", len(s.did))
			}
			s.mu.Unlock()
			if d := w.Clock.Now().Sub(before); d < c.waited {
				t.Errorf("it waited for %v", d)
			}
			w.Sound(run.ID())
		})
	}
}

// slow answers after the tool's time is over.
func slow(_ int, _ http.ResponseWriter, r *http.Request) bool {
	_, _ = io.ReadAll(r.Body)
	<-r.Context().Done()
	return false
}

func TestHTTPRefusedConnection(t *testing.T) {
	w := runtimetest.New(t)
	s := newService(t, nil)
	tool := s.tool(t, nil)
	s.Close()
	run := open(t, w.Runtime(tool))
	_, err := run.Do(ctx, ticket)
	var failed *runtime.Failed
	if !errors.As(err, &failed) || failed.Class != evidence.ToolUnavailable || failed.Attempts != 5 {
		t.Errorf("%v", err)
	}
	w.Sound(run.ID())
}

func TestHTTPUntrustedServerIsNotReached(t *testing.T) {
	w := runtimetest.New(t)
	s := &service{did: map[string]int{}}
	s.Server = httptest.NewTLSServer(s)
	defer s.Close()
	run := open(t, w.Runtime(s.tool(t, nil)))
	_, err := run.Do(ctx, ticket)
	var failed *runtime.Failed
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &failed) || failed.Class != evidence.ToolUnavailable || !errors.As(err, &unknown) || s.called() != 0 {
		t.Errorf("%v, %d calls", err, s.called())
	}
}

func TestHTTPSecretsStayOut(t *testing.T) {
	w := runtimetest.New(t)
	s := newService(t, nil)
	tool := s.tool(t, nil)
	run := open(t, w.Runtime(tool))
	res, err := run.Do(ctx, ticket)
	if err != nil {
		t.Fatal(err)
	}
	var out tools.HTTPOutput
	if err := json.Unmarshal(res.Output, &out); err != nil || out.Status != 200 {
		t.Fatal(err, string(res.Output))
	}
	want := `{"id":"t-1","path":"/queues/a%2Fb%20c/tickets","got":{"queue":"a/b c","text":"late"},"auth":"[redacted]"}`
	if string(out.Body) != want {
		t.Errorf("%s", out.Body)
	}
	s.answer = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, "do not know "+r.Header.Get("Authorization"), 500)
		return false
	}
	_, err = run.Do(ctx, runtime.Action{Step: "again", Tool: "ticket", Input: ticket.Input})
	if err == nil || !strings.Contains(err.Error(), "do not know [redacted]") {
		t.Error(err)
	}
	if text := recorded(t, w, run.ID()); strings.Contains(text, "s3cr3t") || !strings.Contains(text, "[redacted]") || !strings.Contains(text, s.host()) {
		t.Error("the secret is in a record or payload, or the host is in none")
	}
}

func TestHTTPHosts(t *testing.T) {
	w := runtimetest.New(t)
	elsewhere := newService(t, nil)
	s := newService(t, nil)
	loop := netip.MustParseAddr("127.0.0.1")
	_, port, _ := net.SplitHostPort(s.host())
	for _, c := range []struct {
		name  string
		hosts []tools.Host
		url   string
		addrs []string
		ok    bool
		class evidence.Class
	}{
		{name: "allowed", hosts: []tools.Host{{Name: s.host()}}, url: s.URL, ok: true},
		{name: "another port", hosts: []tools.Host{{Name: s.host()}}, url: elsewhere.URL, class: evidence.InvalidToolPayload},
		{name: "a user in it", hosts: []tools.Host{{Name: s.host()}}, url: "http://" + s.host() + "@evil.example/", class: evidence.InvalidToolPayload},
		{name: "a file", hosts: []tools.Host{{Name: s.host()}}, url: "file:///etc/passwd", class: evidence.InvalidToolPayload},
		{name: "plain http", hosts: []tools.Host{{Name: "t.example:" + port}}, url: "http://t.example:" + port, class: evidence.InvalidToolPayload},
		{name: "loopback by name", hosts: []tools.Host{{Name: "t.example:" + port, Plain: true}}, url: "http://t.example:" + port, addrs: []string{"127.0.0.1"}, class: evidence.ToolFailed},
		{name: "metadata by name", hosts: []tools.Host{{Name: "t.example:" + port, Plain: true}}, url: "http://t.example:" + port, addrs: []string{"169.254.169.254", "::ffff:169.254.169.254", "fd00::1", "10.0.0.1", "64:ff9b::7f00:1", "::1", "0.0.0.0"}, class: evidence.ToolFailed},
		{name: "loopback by name, allowed", hosts: []tools.Host{{Name: "t.example:" + port, Plain: true, Addresses: []netip.Prefix{netip.PrefixFrom(loop, 32)}}}, url: "http://T.example:" + port, addrs: []string{"::1", "127.0.0.1"}, ok: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := s.called() + elsewhere.called()
			resolved := 0
			tool := s.tool(t, func(cfg *tools.HTTPConfig) {
				cfg.URL, cfg.Hosts, cfg.Spec.Params = "", c.hosts, nil
				cfg.Resolve = func(context.Context, string) (list []netip.Addr, err error) {
					resolved++
					if resolved > 1 { // rebound
						return []netip.Addr{loop}, nil
					}
					for _, a := range c.addrs {
						list = append(list, netip.MustParseAddr(a))
					}
					return list, nil
				}
			})
			input, _ := json.Marshal(map[string]any{"url": c.url + "/x", "body": map[string]int{"a": 1}})
			rt := w.Runtime(tool)
			run, err := rt.Open(ctx, c.name, runtime.As(runtimetest.Agent), runtime.Task("complaint", nil))
			if err != nil {
				t.Fatal(err)
			}
			_, err = run.Do(ctx, runtime.Action{Step: "x", Tool: "ticket", Input: input})
			var failed *runtime.Failed
			if (err == nil) != c.ok || !c.ok && (!errors.As(err, &failed) || failed.Class != c.class) {
				t.Errorf("%v", err)
			}
			if called := s.called()+elsewhere.called() > before; called != c.ok {
				t.Errorf("called: %v", called)
			}
			w.Sound(run.ID())
		})
	}
}

func TestHTTPRedirects(t *testing.T) {
	w := runtimetest.New(t)
	other := newService(t, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.WriteString(w, "here, with "+r.Header.Get("Authorization"))
		return true
	})
	s := newService(t, func(_ int, w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, other.URL+"/there", http.StatusFound)
		return true
	})
	for i, hosts := range [][]tools.Host{{{Name: s.host()}}, {{Name: s.host()}, {Name: other.host()}}} {
		tool := s.tool(t, func(cfg *tools.HTTPConfig) { cfg.Methods, cfg.Hosts = []string{"GET"}, hosts })
		run, err := w.Runtime(tool).Open(ctx, fmt.Sprint(i), runtime.As(runtimetest.Agent), runtime.Task("complaint", nil))
		if err != nil {
			t.Fatal(err)
		}
		res, err := run.Do(ctx, ticket)
		if other.calls != i || (err == nil) != (i == 1) {
			t.Errorf("%d: %v, %d calls", i, err, other.calls)
		}
		if i == 1 && err == nil && !strings.Contains(string(res.Output), `"here, with "`) {
			t.Errorf("a secret went to another host: %s", res.Output)
		}
	}
}

func TestHTTPOutput(t *testing.T) {
	for name, c := range map[string]struct{ media, body, want string }{
		"text":             {"text/plain", "hello", `{"status":200,"headers":{"Content-Type":"text/plain"},"body":"hello"}`},
		"JSON":             {"application/json", `{"a":1}`, `{"status":200,"headers":{"Content-Type":"application/json"},"body":{"a":1}}`},
		"a member twice":   {"application/json", `{"a":1,"a":2}`, `{"status":200,"headers":{"Content-Type":"application/json"},"body":"{\"a\":1,\"a\":2}"}`},
		"bytes":            {"image/png", "\xff\x00", `{"status":200,"headers":{"Content-Type":"image/png"},"body_base64":"/wA="}`},
		"nothing":          {"text/plain", "", `{"status":200,"headers":{"Content-Type":"text/plain"}}`},
		"more than it can": {"text/plain", strings.Repeat("x", 100), `{"status":200,"headers":{"Content-Type":"text/plain"},"body":"` + strings.Repeat("x", 64) + `","truncated":true}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, func(_ int, w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Type", c.media)
				_, _ = io.WriteString(w, c.body)
				return true
			})
			out, err := s.tool(t, func(cfg *tools.HTTPConfig) { cfg.MaxResponse = 64 }).Call(ctx, &runtime.Call{Key: "k", Input: ticket.Input})
			if err != nil || string(out.Data) != c.want {
				t.Errorf("%s, %v", out.Data, err)
			}
		})
	}
}

func TestHTTPAccepted(t *testing.T) {
	w := runtimetest.New(t)
	s := newService(t, status(202))
	run := open(t, w.Runtime(s.tool(t, func(cfg *tools.HTTPConfig) { cfg.Accepted = true })))
	var waiting *runtime.Waiting
	if _, err := run.Do(ctx, ticket); !errors.As(err, &waiting) {
		t.Error(err)
	}
	if got := executions(w, run.ID()); len(got) != 1 || got[0] != "accepted" {
		t.Errorf("%q", got)
	}
}

func TestHTTPConfigRefused(t *testing.T) {
	hosts := []tools.Host{{Name: "t.example"}}
	for name, cfg := range map[string]tools.HTTPConfig{
		"a host from the input":      {URL: "https://{host}/", Hosts: hosts},
		"a port from the input":      {URL: "https://t.example:{port}/", Hosts: hosts},
		"a part of the host":         {URL: "https://t.example{rest}", Hosts: hosts},
		"a host that is not allowed": {URL: "https://u.example/", Hosts: hosts},
		"no TLS":                     {URL: "http://t.example/", Hosts: hosts},
		"a probe elsewhere":          {URL: "https://t.example/", Probe: "https://u.example/{key}", Hosts: hosts},
		"a wildcard":                 {Hosts: []tools.Host{{Name: "*.example"}}},
	} {
		if _, err := tools.NewHTTP(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	s := newService(t, nil)
	for _, queue := range []string{"..", ".", ""} {
		_, err := s.tool(t, nil).Call(ctx, &runtime.Call{Key: "k", Input: fmt.Appendf(nil, `{"queue":%q}`, queue)})
		if f := runtime.Classify(err); f.Class != evidence.InvalidToolPayload || s.called() != 0 {
			t.Errorf("%q in a path: %v", queue, err)
		}
	}
}

// TestDenied: a tool of this package is not called without permission.
func TestDenied(t *testing.T) {
	w := runtimetest.New(t)
	w.Permit = runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
		return runtime.Permission{Effect: evidence.Deny, Policies: []string{"no"}}, nil
	})
	s := newService(t, nil)
	run := open(t, w.Runtime(s.tool(t, nil)))
	var denied *runtime.Denied
	if _, err := run.Do(ctx, ticket); !errors.As(err, &denied) || s.called() != 0 {
		t.Error(err)
	}
	w.Sound(run.ID())
}

// TestHTTPNothingRepeatsByItself: net/http sends a request with an
// Idempotency-Key again when a connection that it kept breaks. That would be an
// attempt without a record.
func TestHTTPNothingRepeatsByItself(t *testing.T) {
	w := runtimetest.New(t)
	s := newService(t, func(call int, w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.ReadAll(r.Body)
		return call == 1 || cut(call, w, r)
	})
	run := open(t, w.Runtime(s.tool(t, nil)))
	if _, err := run.Do(ctx, ticket); err != nil {
		t.Fatal(err)
	}
	var doubt *runtime.InDoubt
	if _, err := run.Do(ctx, runtime.Action{Step: "again", Tool: "ticket", Input: ticket.Input}); !errors.As(err, &doubt) || s.called() != 2 {
		t.Errorf("%v, %d calls", err, s.called())
	}
	w.Sound(run.ID())
}

func TestHTTPRedirectToPlain(t *testing.T) {
	plain := newService(t, nil)
	s := &service{did: map[string]int{}, answer: func(_ int, w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, plain.URL+"/there", http.StatusFound)
		return true
	}}
	s.Server = httptest.NewTLSServer(s)
	defer s.Close()
	tool := s.tool(t, func(cfg *tools.HTTPConfig) {
		cfg.Methods, cfg.Hosts = []string{"GET"}, append(cfg.Hosts, tools.Host{Name: plain.host(), Plain: true})
		cfg.TLS = s.Client().Transport.(*http.Transport).TLSClientConfig
	})
	_, err := tool.Call(ctx, &runtime.Call{Key: "k", Input: ticket.Input})
	if f := runtime.Classify(err); f.Class != evidence.ToolFailed || s.called() != 1 || plain.called() != 0 {
		t.Errorf("%v, %d and %d calls", err, s.called(), plain.called())
	}
}
