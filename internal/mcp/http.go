package mcp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	sessionHeader = "Mcp-Session-Id"
	// maxSessions bounds the sessions that are remembered; the one that was silent for
	// longest is forgotten.
	maxSessions = 1000
	// listedFor is how long the tools of a server without sessions are taken for what they
	// were: it has no way to say that they changed.
	listedFor = 30 * time.Second
	// callFor is how long a call may take.
	callFor = time.Hour
	// resumeFor is how long a client may take to resume a stream that ended before the answer
	// to a call. From then on nobody knows what came of it.
	resumeFor = time.Minute
)

// A Handler is the gateway between clients and a server of the protocol's streamable HTTP
// transport, with sessions and without. It serves the server's one path, at whatever path
// it is asked.
type Handler struct {
	cfg      Config
	upstream *url.URL
	http     *http.Client
	origins  []string
	// resumeFor is the constant, and less in tests.
	resumeFor time.Duration

	mu       sync.Mutex
	sessions map[string]*session
}

// A session is what a server calls by the header Mcp-Session-Id; "": all requests
// without it.
type session struct {
	g    *gateway
	seen time.Time
}

// NewHandler returns the gateway of a server at a URL. A request that a web page elsewhere
// sends is refused, unless its origin is named.
func NewHandler(cfg Config, upstream *url.URL, origins []string) *Handler {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	return &Handler{
		cfg: cfg, upstream: upstream, origins: origins, sessions: make(map[string]*session), resumeFor: resumeFor,
		http: &http.Client{Transport: transport, CheckRedirect: mayFollow},
	}
}

// mayFollow has a request go where the server sends it, if that is the same server.
func mayFollow(to *http.Request, from []*http.Request) error {
	if to.URL.Scheme != from[0].URL.Scheme || to.URL.Host != from[0].URL.Host || to.Method != from[0].Method || len(from) > 5 {
		return http.ErrUseLastResponse
	}
	return nil
}

// Close waits for what is being recorded.
func (p *Handler) Close() {
	p.mu.Lock()
	all := slices.Collect(maps.Values(p.sessions))
	p.mu.Unlock()
	for _, s := range all {
		s.g.serverGone()
		s.g.work.Wait()
	}
	p.http.CloseIdleConnections()
}

// ServeHTTP passes one request on.
func (p *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !p.mayAsk(r) {
		http.Error(w, "want a request to this machine, of a page of this machine's or of an --origin that is named", http.StatusForbidden)
		return
	}
	cors(w.Header(), r.Header.Get("Origin"))
	switch r.Method {
	case http.MethodPost:
		p.post(w, r)
	case http.MethodGet, http.MethodDelete:
		g := p.gateway(r.Header.Get(sessionHeader))
		if r.Method == http.MethodGet && r.Header.Get("Last-Event-Id") != "" {
			defer g.resume()()
		}
		resp, err := p.send(r.Context(), r, nil, nil)
		if err != nil {
			http.Error(w, "the server cannot be reached: "+err.Error(), http.StatusBadGateway)
			return
		}
		if r.Method == http.MethodDelete && resp.StatusCode < 300 {
			p.forget(r.Header.Get(sessionHeader))
		}
		p.pass(w, resp, g)
	case http.MethodOptions:
		preflight(w, r)
	default:
		w.Header().Set("Allow", "GET, POST, DELETE, OPTIONS")
		http.Error(w, "want GET, POST or DELETE", http.StatusMethodNotAllowed)
	}
}

// mayAsk keeps web pages elsewhere from speaking to a server on this machine, also by a
// name of theirs that leads here.
func (p *Handler) mayAsk(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" && !slices.Contains(p.origins, origin) {
		u, err := url.Parse(origin)
		return err == nil && here(u.Hostname()) && p.hostHere(r)
	}
	return p.hostHere(r)
}

func (p *Handler) hostHere(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return here(strings.Trim(host, "[]"))
}

func here(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// gateway returns that of a session.
func (p *Handler) gateway(id string) *gateway {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sessions[id]
	if s == nil {
		if len(p.sessions) >= maxSessions {
			oldest := slices.MinFunc(slices.Collect(maps.Keys(p.sessions)), func(x, y string) int { return p.sessions[x].seen.Compare(p.sessions[y].seen) })
			p.sessions[oldest].g.leave()
			delete(p.sessions, oldest)
		}
		drop := func([]byte) error { return nil }
		s = &session{g: newGateway(context.Background(), p.cfg, drop, drop)}
		s.g.resumeFor = p.resumeFor
		s.g.heard = &heard{again: make(map[string]answerer)}
		p.sessions[id] = s
	}
	s.seen = time.Now()
	return s.g
}

func (p *Handler) forget(id string) {
	p.mu.Lock()
	s := p.sessions[id]
	delete(p.sessions, id)
	p.mu.Unlock()
	if s != nil {
		s.g.serverGone()
	}
}

// alone returns the gateway of one request, where there are no sessions: it shares with
// others what the server's tools are, for a while, and nothing else.
func (g *gateway) alone() *gateway {
	one := newGateway(g.ctx, g.Config, g.toServer, g.toClient)
	one.shared = g
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listed != nil && time.Since(g.at) < listedFor {
		one.tools, one.bad, one.listed = g.tools, g.bad, g.listed
	}
	return one
}

// listBy has the gateway ask for the server's tools by f.
func (g *gateway) listBy(f func(ctx context.Context, params string) (*message, error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pages = f
}

// post passes a message on; a call, once it is permitted.
func (p *Handler) post(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	if media, err := mediaOf(r.Header); err != nil || media != "application/json" {
		// A server that reads it in another way would read another message.
		http.Error(w, "want application/json in UTF-8, as it is", http.StatusUnsupportedMediaType)
		return
	}
	m, err := parse(body)
	if errors.Is(err, errBatch) {
		p.postBatch(w, r, body)
		return
	}
	if err != nil {
		p.answer(w, http.StatusBadRequest, rpcError("null", -32600, "refused by ledgerd: "+err.Error()))
		return
	}
	session := r.Header.Get(sessionHeader)
	g := p.asking(r)
	if said := r.Header.Get("Mcp-Method"); said != "" && said != m.method {
		p.answer(w, http.StatusBadRequest, rpcError("null", -32600, "refused by ledgerd: the header Mcp-Method is not the message's method"))
		return
	}
	if said := r.Header.Get("Mcp-Name"); said != "" && m.method == "tools/call" {
		var name string
		if at, ok := member(m.raw, m.params, "name"); ok {
			name, _ = text(at.of(m.raw))
		}
		if name != said {
			p.answer(w, http.StatusBadRequest, rpcError(m.id, -32600, "refused by ledgerd: the header Mcp-Name is not the tool's name"))
			return
		}
	}
	if m.method == "tools/call" && m.id == "" {
		p.answer(w, http.StatusBadRequest, rpcError("null", -32600, "refused by ledgerd: a tools/call without an id"))
		return
	}
	if m.method != "" && m.id != "" {
		if err := g.reserve(m.id); err != nil {
			p.answer(w, http.StatusBadRequest, rpcError("null", -32600, "refused by ledgerd: "+err.Error()))
			return
		}
	}
	var resp *http.Response
	if m.method != "tools/call" {
		g.note(m)
		if resp, err = p.send(r.Context(), r, body, nil); err != nil {
			g.release(m)
			http.Error(w, "the server cannot be reached: "+err.Error(), http.StatusBadGateway)
			return
		}
		if resumes, _ := p.pass(w, resp, g); !resumes {
			g.release(m)
		}
		return
	}
	// What the server has begun goes on without the client.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), callFor)
	defer cancel()
	c, asking := g.enter(r.Context(), m)
	reply := g.begin(asking, c, m, func([]byte) (err error) {
		resp, err = p.send(ctx, r, body, nil)
		return err
	})
	if resp == nil {
		p.answer(w, http.StatusOK, reply)
		return
	}
	if resumes, wrote := p.pass(w, resp, g); resumes && session != "" {
		g.streamEnded(m.id)
	} else { // nobody can come back for it
		p.unanswered(w, resp, g, m.id, wrote)
	}
}

// asking returns the gateway of a request.
func (p *Handler) asking(r *http.Request) *gateway {
	g := p.gateway(r.Header.Get(sessionHeader))
	if r.Header.Get(sessionHeader) == "" {
		// Ids of clients that have nothing in common: each request is by itself, but for
		// what the tools are.
		g = g.alone()
	}
	g.listBy(func(ctx context.Context, params string) (*message, error) { return p.list(ctx, r, params) })
	return g
}

// unanswered ends a call whose answer will not come any more, if it did not. wrote: the
// client has got something else in its place.
func (p *Handler) unanswered(w http.ResponseWriter, resp *http.Response, g *gateway, id string, wrote bool) {
	g.mu.Lock()
	c := g.calls[id]
	delete(g.calls, id)
	g.mu.Unlock()
	if c == nil {
		return
	}
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		// Not applied (RFC 9110, 15.5.2): a client that gets other credentials asks again.
		g.notGiven(c)
		return
	}
	g.doubt(c, "the server's answer ended before it said what came of it: "+resp.Status)
	reply := toolError(id, "In doubt: the server's answer ended before it said what came of the call. Do not assume that nothing happened.", c.auth)
	switch media, _ := mediaOf(resp.Header); media {
	case "application/json":
		if !wrote { // two messages are none
			_, _ = w.Write(reply)
		}
	case "text/event-stream":
		_ = write(w, [][]byte{[]byte("event: message"), append([]byte("data: "), reply...)})
	}
}

// postBatch passes on a batch that holds no call.
func (p *Handler) postBatch(w http.ResponseWriter, r *http.Request, body []byte) {
	g := p.asking(r)
	all, err := g.reserveBatch(body)
	if err != nil {
		g.release(all...)
		p.answer(w, http.StatusBadRequest, rpcError("null", -32600, "refused by ledgerd: "+err.Error()))
		return
	}
	for _, m := range all {
		g.note(m)
	}
	resp, err := p.send(r.Context(), r, body, nil)
	if err != nil {
		g.release(all...)
		http.Error(w, "the server cannot be reached: "+err.Error(), http.StatusBadGateway)
		return
	}
	if resumes, _ := p.pass(w, resp, g); !resumes {
		g.release(all...)
	}
}

// reserveBatch takes the ids of the requests in a batch, and returns its messages: those
// before the first that is not to be passed on, which it reports.
func (g *gateway) reserveBatch(body []byte) (all []*message, err error) {
	each, err := elements(body)
	if err == nil && len(each) == 0 {
		err = errors.New("want a batch that holds a message, found none in it")
	}
	if err != nil {
		return nil, err
	}
	for _, one := range each {
		m, err := parse(one)
		switch {
		case err != nil:
			return all, err
		case m.method == "tools/call":
			return all, errors.New("over HTTP a call comes by itself, and not in a batch")
		case m.method != "" && m.id != "":
			if err := g.reserve(m.id); err != nil {
				return all, err
			}
		}
		all = append(all, m)
	}
	return all, nil
}

func (p *Handler) answer(w http.ResponseWriter, status int, message []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(message)
}

// hop are headers that are about one connection (RFC 9110, 7.6.1), and what is set anew.
var hop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Accept-Encoding"}

func copyHeader(to, from http.Header) {
	for name, values := range from {
		if !slices.Contains(hop, name) {
			to[name] = slices.Clone(values)
		}
	}
}

// send sends a client's request to the server, with headers that change, if it is not
// nil, makes of the client's.
func (p *Handler) send(ctx context.Context, r *http.Request, body []byte, change func(http.Header)) (*http.Response, error) {
	u := *p.upstream
	u.RawQuery = strings.Trim(u.RawQuery+"&"+r.URL.RawQuery, "&")
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	copyHeader(req.Header, r.Header)
	ofPage := r.Header.Get("Origin") != ""
	if ofPage {
		withoutPage(req.Header)
	}
	req.Header.Set("Accept-Encoding", "identity")
	if change != nil {
		change(req.Header)
	}
	resp, err := p.http.Do(req)
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err // without the URL: what opens the server may be in it, and is no client's, and no record's
	}
	if ofPage && err == nil {
		withoutPage(resp.Header)
	}
	return resp, err
}

// list has the server list its tools to the client whose request r is.
func (p *Handler) list(ctx context.Context, r *http.Request, params string) (*message, error) {
	const id = `"` + ownID + `list"`
	resp, err := p.send(ctx, r, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"method":"tools/list","params":%s}`, id, params), func(h http.Header) {
		for name := range h {
			if name == "Mcp-Name" || name == "Last-Event-Id" || strings.HasPrefix(name, "Mcp-Param-") {
				delete(h, name)
			}
		}
		if h.Get("Mcp-Method") != "" {
			h.Set("Mcp-Method", "tools/list")
		}
		h.Set("Content-Type", "application/json")
		h.Set("Accept", "application/json, text/event-stream")
	})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var found *message
	_, err = eachMessage(resp, func(raw []byte) ([]byte, error) {
		if m, err := parse(raw); err == nil && m.id == id && m.method == "" {
			found = m
			return nil, io.EOF
		}
		return nil, nil
	}, io.Discard)
	switch {
	case found != nil:
		return found, nil
	case err == nil:
		err = fmt.Errorf("want the tools, found %s", resp.Status)
	}
	return nil, err
}

// pass passes an answer of the server's on: each message in it as the gateway has it. It
// says whether a client can come back for what is not in it, and whether it got anything.
func (p *Handler) pass(w http.ResponseWriter, resp *http.Response, g *gateway) (resumes, wrote bool) {
	defer resp.Body.Close()
	_, err := mediaOf(resp.Header)
	if err == nil && resp.StatusCode/100 == 3 && resp.Header.Get("Location") != "" {
		err = errors.New("it sends clients to another server, past this gateway")
	}
	if err == nil && resp.StatusCode < 200 {
		err = fmt.Errorf("want a status from 200 on, found %s", resp.Status)
	}
	if err != nil {
		g.Log.Warn("an answer of the server's is dropped", "error", err)
		http.Error(w, "an answer of the server's is dropped: "+err.Error(), http.StatusBadGateway)
		resp.Header = nil // nothing of it is the client's
		return false, true
	}
	copyHeader(w.Header(), resp.Header)
	if resp.Header["Content-Type"] == nil {
		w.Header()["Content-Type"] = nil // or it would be guessed
	}
	w.WriteHeader(resp.StatusCode)
	out := &flusher{w: w}
	out.flush()
	resumes, err = eachMessage(resp, func(raw []byte) ([]byte, error) {
		m, err := parse(raw)
		if errors.Is(err, errBatch) {
			return p.passBatch(raw, g)
		}
		if err != nil {
			g.Log.Warn("a message of the server's is dropped", "error", err)
			return nil, nil
		}
		f := g.answered(m)
		if f == nil {
			return raw, nil
		}
		return f(m), nil
	}, out)
	if err != nil {
		g.Log.Warn("the server's answer broke off", "error", err)
	}
	return resumes, out.wrote
}

func (p *Handler) passBatch(raw []byte, g *gateway) ([]byte, error) {
	all, err := elements(raw)
	if err != nil {
		g.Log.Warn("a batch of the server's is dropped", "error", err)
		return nil, nil
	}
	var kept [][]byte
	for _, one := range all {
		m, err := parse(one)
		if err != nil {
			continue
		}
		if f := g.answered(m); f != nil {
			one = f(m)
		}
		if one != nil {
			kept = append(kept, one)
		}
	}
	if len(kept) == 0 {
		return nil, nil
	}
	return append(append([]byte{'['}, bytes.Join(kept, []byte{','})...), ']'), nil
}

// flusher sends what is written at once. That a client is gone is no reason not to read
// to the end what came of its call.
type flusher struct {
	w     http.ResponseWriter
	wrote bool // it was given something to send
}

func (f *flusher) Write(b []byte) (int, error) {
	f.wrote = true
	if _, err := f.w.Write(b); err == nil {
		f.flush()
	}
	return len(b), nil
}

func (f *flusher) flush() { _ = http.NewResponseController(f.w).Flush() }

// eachMessage copies an answer, with what f makes of each message in it: of JSON, which
// is one; of an event stream, where each event's data is one. Anything else is copied. It
// says whether a client can come back for what is not in it.
func eachMessage(resp *http.Response, f func([]byte) ([]byte, error), out io.Writer) (resumes bool, err error) {
	media, err := mediaOf(resp.Header)
	if err != nil {
		return false, err
	}
	switch media {
	case "application/json":
		raw, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage+1))
		if err == nil && len(raw) > maxMessage {
			err = fmt.Errorf("want messages of at most %d MiB", maxMessage>>20)
		}
		if err != nil {
			return false, err
		}
		if len(bytes.TrimSpace(raw)) == 0 {
			return false, nil
		}
		if raw, err = f(raw); err == nil && raw != nil {
			_, err = out.Write(raw)
		}
		return false, err
	case "text/event-stream":
		stream := &eventStream{b: bufio.NewReaderSize(resp.Body, 64<<10)}
		err := stream.copy(f, out)
		return stream.resumes, err
	}
	_, err = io.Copy(out, resp.Body)
	return false, err
}

// mediaOf returns the one media type that a body has to every reader; "": none.
func mediaOf(h http.Header) (string, error) {
	if coding := h.Values("Content-Encoding"); len(coding) > 0 && !slices.Equal(coding, []string{"identity"}) {
		return "", fmt.Errorf("want a body as it is, found the Content-Encoding %q", coding)
	}
	types := h.Values("Content-Type")
	if len(types) == 0 {
		return "", nil
	}
	media, params, err := mime.ParseMediaType(types[0])
	if len(types) > 1 || err != nil {
		return "", fmt.Errorf("want one Content-Type, found %q", types)
	}
	switch media {
	case "application/json", "text/event-stream":
		for name, value := range params {
			if name != "charset" || !strings.EqualFold(value, "utf-8") {
				return "", fmt.Errorf("want %s in UTF-8, found %q", media, types)
			}
		}
		return media, nil
	}
	if strings.Contains(media, "application/json") || strings.Contains(media, "text/event-stream") {
		return "", fmt.Errorf("want application/json or text/event-stream, found %q", types)
	}
	return media, nil
}
