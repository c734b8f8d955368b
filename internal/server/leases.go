package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/ledger"
)

// putLease takes, renews or gives back a run's lease. Whoever may record may
// have it: it is liveness, and what keeps others from writing is the run's line.
func (s *Server) putLease(w http.ResponseWriter, r *http.Request, _ *Grant) {
	run, err := evidence.ParseRunID(r.PathValue("run"))
	if err != nil {
		s.problem(w, r, notFound(err.Error()))
		return
	}
	body, release, p := s.readAll(w, r, maxSmall)
	if p != nil {
		s.problem(w, r, p)
		return
	}
	defer release()
	var want api.Lease
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&want); err != nil {
		s.problem(w, r, badRequest("want an object with holder and ttl_ms: %v", err))
		return
	}
	if max := ledger.MaxLease.Milliseconds(); want.TTL < 0 || want.TTL > max {
		s.problem(w, r, badRequest("want a ttl_ms of 0 to %d, found %d", max, want.TTL))
		return
	}
	if err := evidence.CheckIdentifier(want.Holder); err != nil {
		s.problem(w, r, badRequest("holder: %v", err))
		return
	}
	err = s.ledger.Lease(r.Context(), run, want.Holder, time.Duration(want.TTL)*time.Millisecond, want.TakeOver)
	if held, ok := errors.AsType[*ledger.LeaseError](err); ok {
		p := api.NewProblem(http.StatusConflict, api.ReasonLeased, "%v", err)
		p.Until = &held.Until
		s.problem(w, r, p)
		return
	}
	if err != nil {
		s.problem(w, r, s.readProblem(err))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
