package server

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/agent"
	"ledgerd/internal/api"
	"ledgerd/ledger"
	"ledgerd/ledger/tlog"
)

// maxPageBytes ends a page early: entries may be 64 KiB each.
const maxPageBytes = 8 << 20

// badRequest says what a parameter should have been.
func badRequest(format string, args ...any) *api.Problem {
	return api.NewProblem(http.StatusBadRequest, api.ReasonMalformed, format, args...)
}

// values reads query parameters: none twice, none that the route does not know.
type values struct {
	q url.Values
	p *api.Problem
}

func parseQuery(r *http.Request, known ...string) *values {
	v := &values{}
	if r.URL.RawQuery == "" {
		return v
	}
	var err error
	if v.q, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		v.p = badRequest("want a query of name=value pairs: %v", err)
	}
	for name, all := range v.q {
		if len(all) > 1 {
			v.p = badRequest("want %s once, found it %d times", name, len(all))
		}
		if !contains(known, name) {
			v.p = badRequest("want parameters among %v, found %q", known, name)
		}
	}
	return v
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

func (v *values) has(name string) bool { return v.q.Has(name) }

func (v *values) number(name string, absent uint64) uint64 {
	if !v.has(name) {
		return absent
	}
	n, err := strconv.ParseUint(v.q.Get(name), 10, 63)
	if err != nil {
		v.p = badRequest("%s: want a number from 0 to 2^63-1, found %q", name, v.q.Get(name))
	}
	return n
}

// id reads an evidence ID, the zero ID where it is absent.
func (v *values) id(name string) (id evidence.ID) {
	if v.has(name) {
		var err error
		if id, err = evidence.ParseID(v.q.Get(name)); err != nil {
			v.p = badRequest("%s: %v", name, err)
		}
	}
	return id
}

func (v *values) time(name string) evidence.Time {
	if !v.has(name) {
		return 0
	}
	t, err := time.Parse(time.RFC3339Nano, v.q.Get(name))
	if err != nil || t.UnixMilli() <= 0 {
		v.p = badRequest("%s: want a time in RFC 3339, such as 2026-05-29T14:32:10Z, found %q", name, v.q.Get(name))
		return 0
	}
	return evidence.TimeOf(t)
}

// page reads after and limit into a filter.
func (v *values) page(f *ledger.Filter) {
	if v.has("after") {
		after := v.number("after", 0)
		f.After = &after
	}
	limit := v.number("limit", api.DefaultPage)
	if limit < 1 || limit > api.MaxPage {
		v.p = badRequest("limit: want 1 to %d, found %d: read what follows by after", api.MaxPage, limit)
	}
	f.Limit = int(limit)
}

func (s *Server) findRecords(w http.ResponseWriter, r *http.Request, _ *Grant) {
	v := parseQuery(r, "actor", "action", "kind", "parent", "offer", "known", "from", "to", "after", "limit")
	f := ledger.Filter{
		Actor: v.q.Get("actor"), Action: v.q.Get("action"), Kind: evidence.Kind(v.q.Get("kind")),
		Known: v.q.Get("known"), From: v.time("from"), To: v.time("to"),
	}
	if f.Kind != "" && !f.Kind.Valid() {
		v.p = badRequest("kind: want one of %v, found %q", evidence.Kinds(), f.Kind)
	}
	if f.Known != "" {
		if err := evidence.CheckIdentifier(f.Known); err != nil {
			v.p = badRequest("known: %v", err)
		}
	}
	f.Parent, f.Offer = v.id("parent"), v.id("offer")
	v.page(&f)
	s.sendPage(w, r, v, f)
}

func (s *Server) runRecords(w http.ResponseWriter, r *http.Request, _ *Grant) {
	run, p := s.run(r)
	if p != nil {
		s.problem(w, r, p)
		return
	}
	v := parseQuery(r, "after", "limit")
	f := ledger.Filter{Run: run}
	v.page(&f)
	s.sendPage(w, r, v, f)
}

// runID reads the run of a path: its ID, or the key under which an agent opened it.
func (s *Server) runID(r *http.Request) (evidence.RunID, *api.Problem) {
	text := r.PathValue("run")
	if s.cfg.Agents != nil && agent.CheckKey(text) == nil {
		return s.cfg.Agents.RunID(text), nil
	}
	run, err := evidence.ParseRunID(text)
	if err != nil {
		return "", notFound(err.Error())
	}
	return run, nil
}

// run reads the run of a path, which somebody opened.
func (s *Server) run(r *http.Request) (evidence.RunID, *api.Problem) {
	run, p := s.runID(r)
	if p != nil {
		return "", p
	}
	opened, err := s.ledger.RunOpened(r.Context(), run)
	if err != nil {
		return "", s.readProblem(err)
	}
	if !opened {
		return "", notFound("no run of this ID was opened")
	}
	return run, nil
}

func (s *Server) sendPage(w http.ResponseWriter, r *http.Request, v *values, f ledger.Filter) {
	if v.p != nil {
		s.problem(w, r, v.p)
		return
	}
	page := api.Page{Records: []api.Record{}, Size: s.ledger.Head().Size}
	limit, bytes := f.Limit, 0
	f.Limit++ // to learn whether there is a next page
	for p, err := range s.ledger.Find(r.Context(), f) {
		if err != nil {
			s.problem(w, r, s.readProblem(err))
			return
		}
		if len(page.Records) == limit || bytes >= maxPageBytes {
			page.Next = &page.Records[len(page.Records)-1].Index
			break
		}
		page.Records = append(page.Records, Record(&p))
		bytes += len(p.Entry)
	}
	s.answer(w, r, http.StatusOK, page)
}

// readProblem turns the error of a read into a problem.
func (s *Server) readProblem(err error) *api.Problem {
	switch {
	case errors.Is(err, ledger.ErrNoRecord), errors.Is(err, ledger.ErrNoPayload):
		return notFound(err.Error())
	case errors.Is(err, tlog.ErrBeyond):
		return badRequest("%v", err)
	}
	return s.refusal(err)
}

// Record is a record as it is read.
func Record(p *evidence.Placed) api.Record {
	r := api.Record{Index: p.Index, ID: p.ID, Entry: string(p.Entry), View: view(p)}
	parts := strings.SplitN(r.Entry, ".", 3)
	if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
		r.Record = payload
	}
	return r
}

func (s *Server) getRecord(w http.ResponseWriter, r *http.Request, _ *Grant) {
	p, problem := s.placed(r)
	if problem != nil {
		s.problem(w, r, problem)
		return
	}
	w.Header().Set("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), api.MediaJOSE) {
		w.Header().Set("Content-Type", api.MediaJOSE)
		_, _ = w.Write(p.Entry)
		return
	}
	s.answer(w, r, http.StatusOK, Record(&p))
}

// placed returns the record whose ID stands in the path.
func (s *Server) placed(r *http.Request) (evidence.Placed, *api.Problem) {
	id, err := evidence.ParseID(r.PathValue("id"))
	if err != nil {
		return evidence.Placed{}, notFound(err.Error())
	}
	p, err := s.ledger.Get(r.Context(), id)
	if err != nil {
		return p, s.readProblem(err)
	}
	return p, nil
}

func (s *Server) getReceipt(w http.ResponseWriter, r *http.Request, _ *Grant) {
	id, err := evidence.ParseID(r.PathValue("id"))
	if err != nil {
		s.problem(w, r, notFound(err.Error()))
		return
	}
	receipt, err := s.ledger.Receipt(r.Context(), id)
	if err != nil {
		s.problem(w, r, s.readProblem(err))
		return
	}
	w.Header().Set("Content-Type", api.MediaText)
	_, _ = s.stream(w).Write(receipt.Marshal())
}

func (s *Server) getConsistency(w http.ResponseWriter, r *http.Request, _ *Grant) {
	v := parseQuery(r, "from", "to")
	size := s.ledger.Head().Size
	from, to := v.number("from", 0), v.number("to", size)
	if v.p == nil && (!v.has("from") || from > to || to > size) {
		v.p = badRequest("want from ≤ to ≤ %d, the durable size; found from=%q to=%q", size, v.q.Get("from"), v.q.Get("to"))
	}
	if v.p != nil {
		s.problem(w, r, v.p)
		return
	}
	proof, err := s.ledger.Log().Consistency(r.Context(), from, to)
	if err != nil {
		s.problem(w, r, s.readProblem(err))
		return
	}
	a := api.Consistency{From: from, To: to, Hashes: []string{}}
	for _, h := range proof.Hashes {
		a.Hashes = append(a.Hashes, h.String())
	}
	s.answer(w, r, http.StatusOK, a)
}
