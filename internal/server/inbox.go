package server

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"

	"ledgerd/handoff"
	"ledgerd/internal/api"
	"ledgerd/internal/exchange"
)

// NewInbox returns the server of a listener that is open to peers: it takes what they
// hand over, answers the probe, and serves nothing else. It asks for no token: what
// is handed over is signed. It has the limits of any other listener, and counts by
// itself.
func NewInbox(cfg Config) (*Server, error) {
	if cfg.Ledger == nil || cfg.Handoffs == nil {
		return nil, errors.New("server: a ledger and an exchange are needed")
	}
	cfg.Tokens = nil
	s := newServer(cfg)
	s.serve([]route{s.inboxRoute(), {method: "GET", path: api.PathHealth, handle: s.health, ok: http.StatusOK}})
	return s, nil
}

// inboxRoute is what a peer calls.
func (s *Server) inboxRoute() route {
	return route{
		method: "POST", path: api.PathHandoffs, handle: s.receiveHandoff,
		summary: "The inbox, on a listener of its own (serve --handoffs): takes a bundle about an offer, or about an acceptance, that the ledger of a peer signed",
		body:    []media{{api.MediaBundle, nil}}, ok: http.StatusAccepted, answer: []media{{api.MediaJSON, api.Received{}}},
		problems: []int{400, 403, 408, 409, 413, 415, 422, 429, 500, 503, 507},
	}
}

func (s *Server) receiveHandoff(w http.ResponseWriter, r *http.Request, _ *Grant) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != api.MediaBundle {
		s.problem(w, r, api.NewProblem(http.StatusUnsupportedMediaType, api.ReasonMediaType, "want a bundle as %s", api.MediaBundle))
		return
	}
	if r.ContentLength > handoff.MaxBundle {
		s.problem(w, r, tooLarge(handoff.MaxBundle))
		return
	}
	u := s.upload(w, r)
	if u == nil {
		return
	}
	defer u.Close()
	body := &countedBody{upload: u}
	defer body.release()
	var from netip.Addr
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		from = a.Addr()
	}
	got, err := s.cfg.Handoffs.Receive(r.Context(), from, body)
	if err != nil {
		s.problem(w, r, s.receiveProblem(w, err))
		return
	}
	if u.writer != nil && !u.writer.bodyRead && r.ContentLength != 0 {
		abandonBody(w) // it was known by its first lines
	}
	status := http.StatusAccepted
	if got.State == api.StateRecorded {
		status = http.StatusOK
	}
	s.answer(w, r, status, got)
}

func (s *Server) receiveProblem(w http.ResponseWriter, err error) *api.Problem {
	if later, ok := errors.AsType[*exchange.Later](err); ok {
		w.Header().Set("Retry-After", later.RetryAfter())
	}
	if p, ok := errors.AsType[*api.Problem](err); ok {
		return p
	}
	if body, ok := errors.AsType[*bodyError](err); ok {
		return s.bodyProblem(body.error)
	}
	return s.readProblem(err)
}

// countedBody is the body of an upload that is kept in memory as it comes, and counts
// for as long as it is. Its errors are a *bodyError, or a problem.
type countedBody struct {
	*upload
	taken int64
}

// bodyError is why a body could not be read.
type bodyError struct{ error }

func (e *bodyError) Unwrap() error { return e.error }

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.upload.Read(p)
	if !b.s.uploadBytes.take(int64(n)) {
		return 0, b.s.uploadsFull()
	}
	b.taken += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &bodyError{err}
	}
	return n, err
}

func (b *countedBody) release() { b.s.uploadBytes.give(b.taken) }
