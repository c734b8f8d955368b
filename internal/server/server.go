package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"ledgerd/internal/agent"
	"ledgerd/internal/api"
	"ledgerd/internal/exchange"
	"ledgerd/ledger"
)

// Config is what a server serves, and how.
type Config struct {
	Ledger *ledger.Ledger
	Tokens *Tokens
	// PublicLog opens the tree heads and tiles, which hold every record and no
	// payload, to readers without a token.
	PublicLog bool
	// Hosts are names that requests may be addressed to besides loopback ones.
	Hosts []string
	// Backup writes a backup on the daemon's machine and returns its
	// directory. nil: the route answers 501.
	Backup func(ctx context.Context) (directory string, err error)
	// Agents drives the runs of agents. nil: their routes answer 501.
	Agents *agent.Host
	// Handoffs is where the inbox of NewInbox puts what it takes, and whose peers
	// are administered. nil: their routes answer 501.
	Handoffs *exchange.Exchange
	// Spans takes the traces that agents send. nil: the route answers 501.
	Spans Spans
	// Trace puts the trace that a request names into its context. nil: none is heard.
	Trace func(*http.Request) *http.Request
	// Metrics is what the ledger's hooks feed. nil: a new one.
	Metrics *Metrics
	Logger  *slog.Logger // slog.Default if nil
	Limits  Limits
	Clock   func() time.Time // time.Now if nil
	Version string
}

// Server is the daemon's HTTP side.
type Server struct {
	cfg         Config
	ledger      *ledger.Ledger
	tokens      *Tokens
	log         *slog.Logger
	limits      Limits
	now         func() time.Time
	metrics     *Metrics
	mux         *http.ServeMux
	appends     http.Handler // of the route that nearly every request is for
	routes      []route
	openapi     []byte
	hosts       map[string]bool
	crossOrigin *http.CrossOriginProtection
	uploads     gauge
	uploadBytes gauge
	streams     gauge
	conns       connections
	work        work
	stopping    context.Context // ends when Serve begins to stop: streams end
	stop        context.CancelFunc
}

// New returns the server of a ledger.
func New(cfg Config) (*Server, error) {
	if cfg.Ledger == nil || cfg.Tokens == nil {
		return nil, errors.New("server: a ledger and tokens are needed")
	}
	s := newServer(cfg)
	s.metrics.observe(s)
	s.serve(s.table())
	var err error
	if s.openapi, err = s.document(append(slices.Clone(s.routes), s.inboxRoute())); err != nil {
		return nil, err
	}
	return s, nil
}

// newServer returns a server that serves nothing yet.
func newServer(cfg Config) *Server {
	s := &Server{
		cfg: cfg, ledger: cfg.Ledger, tokens: cfg.Tokens, log: cfg.Logger, limits: cfg.Limits.withDefaults(),
		now: cfg.Clock, metrics: cfg.Metrics, crossOrigin: http.NewCrossOriginProtection(),
		hosts: map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true},
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.metrics == nil {
		s.metrics = NewMetrics()
	}
	for _, h := range cfg.Hosts {
		s.hosts[strings.ToLower(h)] = true
	}
	s.uploads.limit, s.uploadBytes.limit, s.streams.limit = int64(s.limits.Uploads), s.limits.UploadBytes, int64(s.limits.Streams)
	s.conns.limit = s.limits.Connections
	s.stopping, s.stop = context.WithCancel(context.Background())
	return s
}

// serve has the routes served, and nothing else.
func (s *Server) serve(routes []route) {
	s.routes = routes
	s.mux = http.NewServeMux()
	for _, r := range s.routes {
		h := s.handler(r)
		s.mux.Handle(r.method+" "+r.path, h)
		if r.method == http.MethodPost && r.path == api.PathRecords {
			s.appends = h
		}
	}
	s.mux.HandleFunc("/", s.noRoute)
}

// Routes lists what is served: method, space, pattern.
func (s *Server) Routes() []string {
	var all []string
	for _, r := range s.routes {
		all = append(all, r.method+" "+r.path)
	}
	return all
}

// handler checks the token and its right, then hands over.
func (s *Server) handler(r route) http.Handler {
	served := s.metrics.served(r.method + " " + r.path)
	open := r.right == "" || r.log && s.cfg.PublicLog
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		sw, ok := w.(*statusWriter)
		if !ok { // a test's recorder
			sw = &statusWriter{ResponseWriter: w}
		}
		defer served.count(sw)
		if req.ContentLength != 0 && len(r.body) == 0 {
			abandonBody(sw) // no handler of this route reads one
		}
		grant := s.grant(req)
		if !open {
			if grant == nil {
				sw.Header().Set("WWW-Authenticate", `Bearer realm="ledgerd"`)
				s.problem(sw, req, api.NewProblem(http.StatusUnauthorized, api.ReasonNoToken,
					"want a token in the header Authorization: Bearer …, found none that is known"))
				return
			}
			if r.right != rightAny && !grant.May(r.right) {
				s.problem(sw, req, grant.lacks(r.right))
				return
			}
		}
		if s.cfg.Trace != nil {
			req = s.cfg.Trace(req)
		}
		r.handle(sw, req, grant)
	})
}

// grant returns what the request's token gives, nil for nothing.
func (s *Server) grant(r *http.Request) *Grant {
	const scheme = "bearer "
	a := r.Header.Get("Authorization")
	if s.tokens == nil || len(a) <= len(scheme) || !strings.EqualFold(a[:len(scheme)], scheme) {
		return nil
	}
	return s.tokens.Lookup(a[len(scheme):], s.now())
}

// nosniff is a value of a header that nobody changes: net/http copies it.
var nosniff = []string{"nosniff"}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	s.work.begin()
	defer s.work.end()
	rw.Header()["X-Content-Type-Options"] = nosniff
	w := &statusWriter{ResponseWriter: rw, conn: connOf(r)}
	if c := w.conn; c != nil {
		c.begin()
		defer c.end()
		if c.probes && !s.probe(w, r) {
			return
		}
	}
	if !s.guard(w, r) {
		return
	}
	// No path here has an escape, a dot segment or an empty one: what has is
	// not found, rather than redirected to what it might have meant.
	raw, _, _ := strings.Cut(r.RequestURI, "?")
	if strings.ContainsAny(raw, "%\\") || path.Clean(r.URL.Path) != r.URL.Path {
		s.problem(w, r, notFound("want a path without escapes, dot segments and empty ones: none is served that has any"))
		return
	}
	if s.appends != nil && r.Method == http.MethodPost && r.URL.Path == api.PathRecords {
		s.appends.ServeHTTP(w, r) // the mux would find the same
		return
	}
	s.mux.ServeHTTP(w, r)
}

// noRoute answers 404, or 405 where the path has other methods.
func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
		probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := s.mux.Handler(probe); pattern != "" && pattern != "/" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		s.problem(w, r, api.NewProblem(http.StatusMethodNotAllowed, api.ReasonMethod, "want one of %v here, found %s", allowed, r.Method))
		return
	}
	s.problem(w, r, notFound("nothing is served under this path: /openapi.json lists what is"))
}

func notFound(detail string) *api.Problem {
	return api.NewProblem(http.StatusNotFound, api.ReasonNotFound, "%s", detail)
}

// problem sends a problem, unless it was sent already.
func (s *Server) problem(w http.ResponseWriter, r *http.Request, p *api.Problem) {
	if p == errSent {
		return
	}
	if p.Status >= 500 {
		s.log.LogAttrs(r.Context(), slog.LevelWarn, "request failed", slog.String("method", r.Method),
			slog.String("path", r.URL.Path), slog.Int("status", p.Status), slog.String("reason", p.Reason), slog.String("detail", p.Detail))
	}
	if p.Status == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "1")
	}
	s.metrics.problems.WithLabelValues(p.Reason).Inc()
	if sw, ok := w.(*statusWriter); r.ContentLength != 0 && (!ok || !sw.bodyRead) {
		abandonBody(w)
	}
	w.Header().Set("Content-Type", api.MediaProblem)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(p)
	}
}

// linger is how long a connection stays open for the rest of a body that nobody
// wants, so that its sender can read the answer before it is cut off.
const linger = 500 * time.Millisecond

// abandonBody ends the connection after the answer. net/http would read what is
// left of the body first, for as long as its sender likes.
func abandonBody(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(linger)) // a recorder has none
}

// answer sends a value as JSON.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		s.problem(w, r, api.NewProblem(http.StatusInternalServerError, api.ReasonInternal, "the answer could not be written: %v", err))
		return
	}
	w.Header().Set("Content-Type", api.MediaJSON)
	w.WriteHeader(status)
	_, _ = s.stream(w).Write(append(b, '\n'))
}

// statusWriter remembers the status for the metrics, whether the request's body
// was read to its end, and the connection.
type statusWriter struct {
	http.ResponseWriter
	conn     *conn // nil where a test has none
	status   int
	bodyRead bool
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// streamWriter gives each write of a long answer its own time: a reader that
// stops reading is cut off, one that is merely slow is not.
type streamWriter struct {
	w    http.ResponseWriter
	conn *http.ResponseController
}

const writeTimeout = 30 * time.Second

func (s *Server) stream(w http.ResponseWriter) *streamWriter {
	return &streamWriter{w, http.NewResponseController(w)}
}

func (w *streamWriter) Write(b []byte) (int, error) {
	if err := w.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := w.w.Write(b)
	_ = w.conn.SetWriteDeadline(time.Time{})
	return n, err
}

// Serve answers requests on ln until ctx ends, then lets those under way finish
// for at most grace, and returns. TLS is used where it is given.
func (s *Server) Serve(ctx context.Context, ln net.Listener, tlsConfig *tls.Config, grace time.Duration) error {
	if tlsConfig != nil {
		ln = tls.NewListener(ln, tlsConfig)
	}
	// HTTP/1.1 alone: one framing to check, and no streams to flood.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	h := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.limits.HeaderTimeout,
		IdleTimeout:       s.limits.IdleTimeout,
		MaxHeaderBytes:    s.limits.HeaderBytes,
		ConnContext:       withConn,
		Protocols:         protocols,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- h.Serve(limitedListener{ln, &s.conns}) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	s.stop()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := h.Shutdown(last)
	if errors.Is(err, context.DeadlineExceeded) {
		err = h.Close()
	}
	return err
}
