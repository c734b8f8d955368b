package server

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/ledger"
)

func (s *Server) getBundle(w http.ResponseWriter, r *http.Request, g *Grant) {
	opts, p := s.exportOptions(r, g)
	if p != nil {
		s.problem(w, r, p)
		return
	}
	if !s.takeStream(w, r) {
		return
	}
	defer s.streams.give(1)
	out := &lateHeader{w: s.stream(w), header: func() {
		w.Header().Set("Content-Type", api.MediaBundle)
		w.Header().Set("Content-Disposition", `attachment; filename="bundle.jsonl"`)
	}}
	err := s.ledger.Export(r.Context(), out, opts)
	if errors.Is(err, ledger.ErrOtherHead) {
		s.problem(w, r, badRequest("head: %v", err))
		return
	}
	if err != nil && !out.begun {
		s.problem(w, r, s.readProblem(err))
		return
	}
	if err != nil {
		// What was sent is no bundle, and a chunked answer that ends without
		// its last chunk says so.
		s.log.WarnContext(r.Context(), "a bundle was not sent whole", "error", err.Error())
		panic(http.ErrAbortHandler)
	}
}

// exportOptions reads what a bundle is to be about.
func (s *Server) exportOptions(r *http.Request, g *Grant) (ledger.ExportOptions, *api.Problem) {
	var o ledger.ExportOptions
	v := parseQuery(r, "run", "record", "offer", "from", "to", "payloads", "head")
	switch payloads := v.q.Get("payloads"); {
	case payloads == "hidden":
		o.Hide = ledger.Hidden
	case payloads == "without-handoffs" && g.May(api.RightPayloads):
		o.NoHandoffs = true
	case payloads != "":
		v.p = badRequest("payloads: want hidden, or without-handoffs and the right to payloads, found %q", payloads)
	case !g.May(api.RightPayloads):
		return o, api.NewProblem(http.StatusForbidden, api.ReasonRight,
			"want a token with the right %q, or payloads=hidden; token %s has %v", api.RightPayloads, g.ID, g.Rights)
	}
	if v.p != nil {
		return o, v.p
	}
	about := 0
	for _, is := range []bool{v.has("run"), v.has("record"), v.has("offer"), v.has("from") || v.has("to")} {
		if is {
			about++
		}
	}
	byTime := strings.Contains(v.q.Get("from")+v.q.Get("to"), "T")
	var err error
	switch {
	case about != 1:
		return o, badRequest("want one of run, record, offer, and a range by from and to")
	case v.has("run"):
		o.Run, err = evidence.ParseRunID(v.q.Get("run"))
	case v.has("record"):
		o.Record, err = evidence.ParseID(v.q.Get("record"))
	case v.has("offer"):
		o.Offer, err = evidence.ParseID(v.q.Get("offer"))
	case byTime:
		o.FromTime, o.ToTime = v.time("from"), v.time("to")
	default:
		size := s.ledger.Head().Size
		o.From, o.To, o.All = v.number("from", 0), v.number("to", size), false
		if v.p == nil && (o.From >= o.To || o.To > size || o.To-o.From > api.MaxRange) {
			return o, badRequest("want from < to ≤ %d, the durable size, at most %d entries apart; found %d and %d", size, api.MaxRange, o.From, o.To)
		}
	}
	if err != nil {
		return o, badRequest("%v", err)
	}
	if v.has("head") {
		note, err := base64.RawURLEncoding.DecodeString(v.q.Get("head"))
		if err != nil {
			return o, badRequest("head: want a signed note in base64url")
		}
		o.Heads = [][]byte{note}
	}
	return o, v.p
}

// lateHeader sends the headers with the first byte, so that an error before it
// can still be a problem.
type lateHeader struct {
	w      *streamWriter
	header func()
	begun  bool
}

func (l *lateHeader) Write(b []byte) (int, error) {
	if !l.begun {
		l.header()
		l.begun = true
	}
	return l.w.Write(b)
}
