package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/ledger"
	"ledgerd/ledger/tlog"
)

// postRecords is the route that everything waits for: no reflection and no copy
// of the body on the way of a record that is admitted.
func (s *Server) postRecords(w http.ResponseWriter, r *http.Request, g *Grant) {
	many := false
	switch kind := r.Header.Get("Content-Type"); kind {
	case api.MediaJOSE:
	case api.MediaLines:
		many = true
	default:
		kind, _, _ = mime.ParseMediaType(kind)
		switch kind {
		case api.MediaJOSE:
		case api.MediaLines:
			many = true
		case "application/jose+json":
			s.problem(w, r, api.NewProblem(http.StatusBadRequest, api.ReasonForm,
				"JWS: want the compact serialisation as %s, found the JSON serialisation", api.MediaJOSE))
			return
		default:
			s.problem(w, r, api.NewProblem(http.StatusUnsupportedMediaType, api.ReasonMediaType,
				"want Content-Type %s for one record or %s for many, one a line, found %q", api.MediaJOSE, api.MediaLines, kind))
			return
		}
	}
	max := int64(evidence.MaxEntry)
	if many {
		max = api.MaxBatchSize
	}
	if sw, ok := w.(*statusWriter); ok && !many {
		sw.conn.unwatch()
	}
	body, release, p := s.readAll(w, r, max)
	if p != nil {
		s.problem(w, r, p)
		return
	}
	defer release()
	if many {
		s.postMany(w, r, g, body)
	} else {
		s.postOne(w, r, g, body)
	}
}

// jsonType is a value of a header that nobody changes: net/http copies it.
var jsonType = []string{api.MediaJSON}

func (s *Server) postOne(w http.ResponseWriter, r *http.Request, g *Grant, entry []byte) {
	if p := s.mayWrite(g, entry); p != nil {
		s.problem(w, r, p)
		return
	}
	outs, err := s.ledger.SubmitEach(entry)(r.Context())
	if err == nil {
		err = outs[0].Err
	}
	if err != nil {
		s.problem(w, r, s.refusal(err))
		return
	}
	var line [160]byte
	b, status := appendPlaced(line[:0], &outs[0])
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Location"] = []string{location(outs[0].ID)}
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// location is the path of a record.
func location(id evidence.ID) string {
	var path [len(api.PathRecords) + len("/ev_") + 43]byte
	b := append(append(path[:0], api.PathRecords...), "/ev_"...)
	return string(base64.RawURLEncoding.AppendEncode(b, id[:]))
}

// postMany submits the lines that this token may write, next to each other, and
// answers each.
func (s *Server) postMany(w http.ResponseWriter, r *http.Request, g *Grant, body []byte) {
	n := bytes.Count(body, []byte{'\n'})
	if len(body) == 0 || body[len(body)-1] != '\n' || n > api.MaxLines {
		s.problem(w, r, api.NewProblem(http.StatusBadRequest, api.ReasonMalformed,
			"want 1 to %d records, one a line, each line ended by LF; found %d lines and %d bytes", api.MaxLines, n, len(body)))
		return
	}
	entries := make([][]byte, 0, n)
	refused := make([]*api.Problem, n)
	for i := range n {
		var line []byte
		line, body, _ = bytes.Cut(body, []byte{'\n'})
		if refused[i] = s.mayWrite(g, line); refused[i] == nil {
			entries = append(entries, line)
		}
	}
	var outs []ledger.Outcome
	if len(entries) > 0 {
		var err error
		if outs, err = s.ledger.SubmitEach(entries...)(r.Context()); err != nil {
			s.problem(w, r, s.refusal(err))
			return
		}
	}
	status := http.StatusOK
	answer := make([]byte, 0, 128*n)
	for i := range n {
		p := refused[i]
		if p == nil {
			out := &outs[0]
			outs = outs[1:]
			if out.Err == nil {
				var one int
				if answer, one = appendPlaced(answer, out); one == http.StatusCreated && status == http.StatusOK {
					status = http.StatusCreated
				}
				continue
			}
			p = s.refusal(out.Err)
		}
		status = http.StatusMultiStatus
		p.Line = i + 1
		s.metrics.problems.WithLabelValues(p.Reason).Inc()
		b, err := json.Marshal(api.Line{Status: p.Status, Problem: p})
		if err != nil {
			panic(err) // strings and numbers
		}
		answer = append(append(answer, b...), '\n')
	}
	w.Header().Set("Content-Type", api.MediaJSONLines)
	w.WriteHeader(status)
	_, _ = s.stream(w).Write(answer)
}

// appendPlaced writes an api.Placed and a line's end.
func appendPlaced(b []byte, o *ledger.Outcome) ([]byte, int) {
	status := http.StatusCreated
	if o.Duplicate {
		status = http.StatusOK
	}
	b = append(b, `{"status":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, `,"index":`...)
	b = strconv.AppendUint(b, o.Index, 10)
	b = append(b, `,"id":"ev_`...)
	b = base64.RawURLEncoding.AppendEncode(b, o.ID[:])
	return append(b, "\"}\n"...), status
}

// Where the kid stands in the one header that there is:
// {"alg":"EdDSA","kid":"…43 characters…","typ":"evidence+jws"}.
const (
	headerText = 118 // its base64url
	headerKid  = 22  // bytes before the kid
)

// signer returns the kid that an entry names, if it has the one header. What
// it does not find, admission refuses for what it is.
func signer(entry []byte) (kid evidence.Digest, ok bool) {
	var header [90]byte
	if len(entry) <= headerText || entry[headerText] != '.' {
		return kid, false
	}
	if n, err := base64.RawURLEncoding.Decode(header[:], entry[:headerText]); err != nil || n < headerKid+43 {
		return kid, false
	}
	n, err := base64.RawURLEncoding.Decode(kid[:], header[headerKid:headerKid+43])
	return kid, err == nil && n == len(kid)
}

// mayWrite holds a token to its actor: the key that signs belongs to it. What
// the root signs needs the right to administer, and what a human signs, which
// is approvals, the right to approve.
func (s *Server) mayWrite(g *Grant, entry []byte) *api.Problem {
	need := api.RightRecord
	kid, ok := signer(entry)
	if ok {
		actor, role, known := s.ledger.Registry().Holder(kid)
		switch {
		case !known:
			return api.NewProblem(http.StatusForbidden, "unknown_key", "want a key that the registry knows, found %s", kid)
		case role == evidence.RoleRoot:
			need = api.RightAdminister
		case actor != g.Actor:
			return api.NewProblem(http.StatusForbidden, api.ReasonOtherActor,
				"token %s belongs to %s, the key that signed to %s: every actor submits with a token of its own", g.ID, g.Actor, actor)
		case role == evidence.RoleHuman:
			need = api.RightApprove
		}
	}
	if !g.May(need) {
		return g.lacks(need)
	}
	return nil
}

// refusal turns what the ledger says into a problem.
func (s *Server) refusal(err error) *api.Problem {
	if r := ledger.AsRefusal(err); r != nil {
		s.metrics.refusals.WithLabelValues(string(r.Reason)).Inc()
		p := api.NewProblem(int(r.Class), string(r.Reason), "%v", r.Err)
		if c := (*ledger.ConflictError)(nil); errors.As(err, &c) {
			p.Stands, p.Index = &c.Stands, &c.Index
		}
		return p
	}
	switch {
	case errors.Is(err, tlog.ErrBusy):
		return api.NewProblem(http.StatusServiceUnavailable, api.ReasonBusy, "%v", err)
	case errors.Is(err, tlog.ErrDiskFull):
		return api.NewProblem(http.StatusInsufficientStorage, api.ReasonDiskFull, "%v: reads go on, and appends as soon as there is room", err)
	case errors.Is(err, tlog.ErrReadOnly):
		return api.NewProblem(http.StatusForbidden, api.ReasonReadOnly, "%v", err)
	case errors.Is(err, tlog.ErrEntrySize):
		return api.NewProblem(http.StatusBadRequest, "size", "%v", err)
	case errors.Is(err, tlog.ErrUnknown):
		s.metrics.lost.Inc()
		return api.NewProblem(http.StatusInternalServerError, api.ReasonUnknown,
			"%v: submit the same bytes again once the daemon is back, and it says where they stand", err)
	case errors.Is(err, tlog.ErrNotAppended), errors.Is(err, tlog.ErrClosed):
		return api.NewProblem(http.StatusServiceUnavailable, api.ReasonStopping, "%v", err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return api.NewProblem(http.StatusServiceUnavailable, api.ReasonUnknown, "gave up waiting: submit the same bytes again to learn where they stand")
	}
	return api.NewProblem(http.StatusInternalServerError, api.ReasonInternal, "%v", err)
}
