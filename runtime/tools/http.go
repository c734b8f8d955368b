package tools

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
	"ledgerd/runtime"
)

// HTTPConfig says what requests an HTTP tool makes.
type HTTPConfig struct {
	// Spec is the tool's; its description is completed. Idempotent is for a
	// server that does nothing again under the same Idempotency-Key.
	Spec runtime.Spec
	// Methods are those allowed, POST if none. With more than one the input's
	// member "method" chooses.
	Methods []string
	// URL has {name} in path or query where a member of the input goes. Where it
	// is "", the input's member "url" says it.
	URL   string
	Hosts []Host // nothing else is called
	// Body names the member of the input that is sent as JSON; "": the whole
	// input, or with URL "" the member "body". GET, HEAD and DELETE send none.
	Body string
	// Headers are sent with each request, and so are Secrets: these reach no
	// input, output, error or record, also where the server repeats them.
	Headers, Secrets map[string]string
	// Keep are the headers of the answer that the output has: Content-Type and
	// Location if nil.
	Keep []string
	// MaxResponse is how much of a body is kept: 1 MiB if 0.
	MaxResponse int64
	// Accepted: the status 202 says that the work is still to be done.
	Accepted bool
	// Probe is the URL, with members of the input and {key}, the Idempotency-Key,
	// where GET says whether a request happened: 2xx that it did, 404 that it did
	// not and will not. Anything else says nothing. "": the tool has no probe.
	Probe string

	TLS *tls.Config
	// Resolve finds the addresses of a host: the system's resolver if nil.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	Now     func() time.Time // for dates in Retry-After; time.Now if nil
}

// HTTPOutput is what an HTTP tool returns, as JSON.
type HTTPOutput struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitzero"`
	// Body is the value where the answer is JSON, else a string.
	Body       jsontext.Value `json:"body,omitzero"`
	BodyBase64 string         `json:"body_base64,omitzero"` // where it is no text
	Truncated  bool           `json:"truncated,omitzero"`   // it was larger than the tool keeps
}

// httpTool makes requests. Redirects are followed for GET and HEAD, to allowed
// hosts and never from https to http; for what may have an effect they are a
// failure.
type httpTool struct {
	cfg        HTTPConfig
	spec       runtime.Spec
	hosts      hosts
	url, probe template
	client     *http.Client
	redact     *strings.Replacer
}

type probedHTTP struct{ *httpTool }

var _ runtime.Prober = probedHTTP{}

// NewHTTP returns a tool that makes HTTP requests. It is a [runtime.Prober] where
// it is configured with a probe.
func NewHTTP(cfg HTTPConfig) (runtime.Tool, error) {
	t := &httpTool{cfg: cfg, spec: cfg.Spec}
	if err := t.configure(); err != nil {
		return nil, fmt.Errorf("http tool %q: %w", cfg.Spec.Name, err)
	}
	if cfg.Probe != "" {
		return probedHTTP{t}, nil
	}
	return t, nil
}

func (t *httpTool) configure() (err error) {
	c := &t.cfg
	if len(c.Methods) == 0 {
		c.Methods = []string{http.MethodPost}
	}
	if c.MaxResponse <= 0 {
		c.MaxResponse = defaultMaxOutput
	}
	if c.Keep == nil {
		c.Keep = []string{"Content-Type", "Location"}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if t.hosts, err = newHosts(c.Hosts); err != nil {
		return err
	}
	if t.url, err = t.parseURL(c.URL); err != nil {
		return err
	}
	if t.probe, err = t.parseURL(c.Probe); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	secrets := make([]string, 0, 4*len(c.Secrets))
	for _, name := range slices.Sorted(maps.Keys(c.Secrets)) {
		value := c.Secrets[name]
		_, token, _ := strings.Cut(value, " ") // Bearer, Basic
		for _, s := range []string{value, token} {
			if s != "" {
				secrets = append(secrets, s, "[redacted]")
			}
		}
	}
	t.redact = strings.NewReplacer(secrets...)
	var names []string
	for _, h := range c.Hosts {
		names = append(names, h.Name)
	}
	describe(&t.spec, fmt.Sprintf("HTTP %s %s; hosts: %s; headers: %s; probe: %s", strings.Join(c.Methods, ", "), cmp.Or(c.URL, "{url}"),
		strings.Join(names, ", "), strings.Join(append(headerLines(c.Headers), slices.Sorted(maps.Keys(c.Secrets))...), ", "), cmp.Or(c.Probe, "none")))
	t.client = &http.Client{
		// A request that is repeated without anybody's knowing would be an attempt
		// without a record.
		Transport:     t.hosts.transport(c.Resolve, c.TLS),
		CheckRedirect: t.redirect,
	}
	return nil
}

func headerLines(h map[string]string) (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		lines = append(lines, name+"="+h[name])
	}
	return lines
}

// parseURL reads a URL with placeholders, none of which stands where the host is.
func (t *httpTool) parseURL(s string) (template, error) {
	if s == "" {
		return template{}, nil
	}
	tmpl, err := parseTemplate(s)
	if err != nil {
		return template{}, err
	}
	u, err := url.Parse(tmpl.text[0])
	if err != nil || len(tmpl.names) > 0 && u.Path == "" && u.RawQuery == "" {
		return template{}, fmt.Errorf("want a URL whose host is fixed, found %q", s)
	}
	_, err = t.hosts.check(u)
	return tmpl, err
}

// Spec implements [runtime.Tool].
func (t *httpTool) Spec() *runtime.Spec { return &t.spec }

// fill puts values into a URL, each as one segment of a path or one value of a
// query.
func fill(t template, value func(name string) (string, error)) (*url.URL, error) {
	var b strings.Builder
	b.WriteString(t.text[0])
	for i, name := range t.names {
		v, err := value(name)
		if err != nil {
			return nil, err
		}
		escape := url.PathEscape
		if strings.Contains(b.String(), "?") {
			escape = url.QueryEscape
		} else if v == "" || v == "." || v == ".." {
			return nil, notRun(evidence.InvalidToolPayload, "%q cannot stand as %q in a path", v, name)
		}
		b.WriteString(escape(v))
		b.WriteString(t.text[i+1])
	}
	u, err := url.Parse(b.String())
	if err != nil {
		return nil, notRun(evidence.InvalidToolPayload, "the URL: %w", err)
	}
	return u, nil
}

func (t *httpTool) request(ctx context.Context, c *runtime.Call) (*http.Request, error) {
	object, err := inputMembers(c.Input)
	if err != nil {
		return nil, err
	}
	method := t.cfg.Methods[0]
	if len(t.cfg.Methods) > 1 {
		if method, err = scalar(object, "method"); err != nil {
			return nil, err
		}
		if !slices.Contains(t.cfg.Methods, method) {
			return nil, notRun(evidence.InvalidToolPayload, "want a method of %v, found %q", t.cfg.Methods, method)
		}
	}
	var u *url.URL
	if t.cfg.URL != "" {
		u, err = fill(t.url, func(name string) (string, error) { return scalar(object, name) })
	} else {
		var text string
		if text, err = scalar(object, "url"); err == nil {
			if u, err = url.Parse(text); err != nil {
				err = notRun(evidence.InvalidToolPayload, "the URL: %w", err)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	if _, err := t.hosts.check(u); err != nil {
		return nil, notRun(evidence.InvalidToolPayload, "%w", err)
	}
	body := c.Input
	if name := t.cfg.Body; name != "" || t.cfg.URL == "" {
		body = object[cmp.Or(name, "body")]
	}
	if method == http.MethodGet || method == http.MethodHead || method == http.MethodDelete {
		body = nil
	}
	return t.newRequest(ctx, method, u, body, c.Key)
}

func (t *httpTool) newRequest(ctx context.Context, method string, u *url.URL, body []byte, key string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, notRun(evidence.InvalidToolPayload, "%w", err)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("User-Agent", "ledgerd")
	for _, h := range []map[string]string{t.cfg.Headers, t.cfg.Secrets} {
		for name, value := range h {
			req.Header.Set(name, value)
		}
	}
	req.Header.Set("Idempotency-Key", key)
	return req, nil
}

// redirect decides about following one: what may have had an effect is never
// sent on, for nobody could say how much of it happened.
func (t *httpTool) redirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	if first.Method != http.MethodGet && first.Method != http.MethodHead {
		return http.ErrUseLastResponse
	}
	if len(via) >= 5 {
		return notRun(evidence.ToolFailed, "more than 5 redirects")
	}
	if _, err := t.hosts.check(req.URL); err != nil {
		return notRun(evidence.ToolFailed, "a redirect: %w", err)
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return notRun(evidence.ToolFailed, "a redirect from https to http, to %s", req.URL.Host)
	}
	if req.URL.Host != first.URL.Host || req.URL.Scheme != first.URL.Scheme {
		for name := range t.cfg.Secrets {
			req.Header.Del(name) // they are for the host that was configured
		}
	}
	return nil
}

// Call implements [runtime.Tool].
func (t *httpTool) Call(ctx context.Context, c *runtime.Call) (*runtime.Output, error) {
	req, err := t.request(ctx, c)
	if err != nil {
		return nil, err
	}
	out, err := t.do(req)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(out, json.Deterministic(true))
	if err != nil {
		return nil, &runtime.Failure{Class: evidence.ToolTimeout, Err: err}
	}
	return &runtime.Output{Data: data, Accepted: t.cfg.Accepted && out.Status == http.StatusAccepted}, nil
}

func (t *httpTool) do(req *http.Request) (*HTTPOutput, error) {
	// Nothing can have been sent before there is a connection, TLS included.
	var connected atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	resp, err := t.client.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		return nil, t.hide(t.failure(err, connected.Load()))
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, t.cfg.MaxResponse+1))
	if failed := runtime.ClassifyHTTP(resp.StatusCode, resp.Header, body, t.cfg.Now()); failed != nil {
		return nil, t.hide(failed)
	}
	if err != nil {
		return nil, t.hide(t.failure(fmt.Errorf("HTTP %d, and then: %w", resp.StatusCode, err), true))
	}
	return t.output(resp, body), nil
}

// failure classifies what was no answer.
func (t *httpTool) failure(err error, connected bool) *runtime.Failure {
	// The URL that net/http names may have been filled in; the record has it.
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	f := *runtime.Classify(err)
	if !connected {
		f.NotRun = true
		if _, own := errors.AsType[*runtime.Failure](err); !own && f.Class != evidence.ToolTimeout {
			f.Class = evidence.ToolUnavailable
		}
	} else if f.Class != evidence.ToolTimeout && !f.NotRun {
		// It was sent, and no answer can be read: a protocol error.
		f.Class = evidence.ToolTimeout
	}
	return &f
}

// hide takes secrets out of a failure's text.
func (t *httpTool) hide(f *runtime.Failure) *runtime.Failure {
	if f.Err == nil {
		return f
	}
	if text := f.Err.Error(); t.redact.Replace(text) != text {
		g := *f
		g.Err = errors.New(t.redact.Replace(text))
		if status, ok := errors.AsType[*runtime.HTTPError](f.Err); ok {
			g.Err = &runtime.HTTPError{Status: status.Status, Body: t.redact.Replace(status.Body)}
		}
		return &g
	}
	return f
}

func (t *httpTool) output(resp *http.Response, body []byte) *HTTPOutput {
	out := &HTTPOutput{Status: resp.StatusCode}
	for _, name := range t.cfg.Keep {
		if v := resp.Header.Get(name); v != "" {
			if out.Headers == nil {
				out.Headers = make(map[string]string)
			}
			out.Headers[http.CanonicalHeaderKey(name)] = strings.ToValidUTF8(t.redact.Replace(v), "?")
		}
	}
	if int64(len(body)) > t.cfg.MaxResponse {
		body, out.Truncated = body[:t.cfg.MaxResponse], true
	}
	body = []byte(t.redact.Replace(string(body)))
	if len(body) == 0 {
		return out
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if v := jsontext.Value(body); (media == "application/json" || strings.HasSuffix(media, "+json")) && v.IsValid() {
		out.Body = v
		return out
	}
	var text string
	if text, out.BodyBase64 = keep(body); out.BodyBase64 == "" {
		out.Body, _ = jsontext.AppendQuote(nil, text)
	}
	return out
}

// Probe implements [runtime.Prober].
func (p probedHTTP) Probe(ctx context.Context, c *runtime.Call) (*runtime.Finding, error) {
	object, err := inputMembers(c.Input)
	if err != nil {
		return nil, err
	}
	u, err := fill(p.probe, func(name string) (string, error) {
		if name == "key" {
			return c.Key, nil
		}
		return scalar(object, name)
	})
	if err != nil {
		return nil, err
	}
	req, err := p.newRequest(ctx, http.MethodGet, u, nil, c.Key)
	if err != nil {
		return nil, err
	}
	out, err := p.do(req)
	var status *runtime.HTTPError
	switch {
	case errors.As(err, &status) && status.Status == http.StatusNotFound:
		return &runtime.Finding{Status: evidence.StatusNotRun}, nil
	case err != nil:
		return nil, err
	case out.Status == http.StatusAccepted:
		return nil, errors.New("it is not finished")
	}
	data, err := json.Marshal(out, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	return &runtime.Finding{Status: evidence.StatusSuccess, Output: &runtime.Output{Data: data}}, nil
}
