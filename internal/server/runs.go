package server

import (
	"context"
	"net/http"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/ledger"
)

func (s *Server) listRuns(w http.ResponseWriter, r *http.Request, _ *Grant) {
	v := parseQuery(r, "after", "limit")
	f := ledger.Filter{Kind: evidence.KindRunOpened}
	v.page(&f)
	if v.p != nil {
		s.problem(w, r, v.p)
		return
	}
	runs := api.Runs{Runs: []api.Run{}, Size: s.ledger.Head().Size}
	limit := f.Limit
	f.Limit++
	for p, err := range s.ledger.Find(r.Context(), f) {
		if err == nil && len(runs.Runs) == limit {
			runs.Next = &runs.Runs[limit-1].Index
			break
		}
		var run *api.Run
		if err == nil {
			run, err = Summary(r.Context(), s.ledger, p.Record.Run)
		}
		if err != nil {
			s.problem(w, r, s.readProblem(err))
			return
		}
		runs.Runs = append(runs.Runs, *run)
	}
	s.answer(w, r, http.StatusOK, runs)
}

func (s *Server) getRun(w http.ResponseWriter, r *http.Request, _ *Grant) {
	id, p := s.run(r)
	if p != nil {
		s.problem(w, r, p)
		return
	}
	run, err := Summary(r.Context(), s.ledger, id)
	if err != nil {
		s.problem(w, r, s.readProblem(err))
		return
	}
	s.answer(w, r, http.StatusOK, run)
}

// Summary reads a run's records and says in a few words what became of it, nil
// for a run that nobody opened. It judges nothing: what it calls the verdict is
// the one that was recorded.
func Summary(ctx context.Context, l *ledger.Ledger, id evidence.RunID) (*api.Run, error) {
	var run *api.Run
	for p, err := range l.Run(ctx, id) {
		if err != nil {
			return nil, err
		}
		if b, ok := p.Record.Body.(*evidence.RunOpened); ok {
			run = &api.Run{
				Run: id, Index: p.Index, Opened: p.ID, Actor: p.Record.Actor, Runtime: b.Runtime, Task: b.Task,
				Subject: b.Subject, Time: p.Record.Time.String(), Imported: b.Imported,
			}
		}
		if run == nil {
			continue // admission lets nothing stand before run.opened
		}
		run.Records++
		if !p.Record.OnLine() {
			continue
		}
		run.Tail = p.ID
		switch b := p.Record.Body.(type) {
		case *evidence.Claim:
			run.Claim = &p.ID
		case *evidence.Verdict:
			run.Verdict = b.Result
		case *evidence.RunClosed:
			run.Closed, run.End = true, b.End
		}
	}
	return run, nil
}
