package server

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/agent"
	"ledgerd/internal/api"
	"ledgerd/internal/exchange"
	"ledgerd/ledger"
	"ledgerd/runtime"
)

// agentRoute completes a route by which an agent acts: as the token's actor, with
// the right to.
func (s *Server) agentRoute(r route) route {
	r.right, r.ok = api.RightAct, http.StatusOK
	r.problems = []int{400, 409, 422, 500, 501, 503, 507}
	if len(r.body) > 0 {
		r.problems = append(r.problems, 408, 413, 415)
	}
	return r
}

// maxWait is how long a request is held for a human at most.
const maxWait = 5 * time.Minute

// host returns what drives runs, nil where nothing does, and the problem was sent.
func (s *Server) host(w http.ResponseWriter, r *http.Request) *agent.Host {
	if s.cfg.Agents == nil {
		s.problem(w, r, api.NewProblem(http.StatusNotImplemented, api.ReasonNotConfigured,
			"this daemon drives no runs: it is a restored copy, or has no runtime's key in its directory"))
	}
	return s.cfg.Agents
}

// act reads a request of an agent, has it served, and answers.
func act[In any](s *Server, w http.ResponseWriter, r *http.Request, f func(h *agent.Host, in In) (any, error)) {
	h := s.host(w, r)
	if h == nil {
		return
	}
	readAct(s, w, r, func(in In) {
		answer, err := f(h, in)
		s.answerAct(w, r, answer, err)
	})
}

// readAct reads a request of an agent. What cannot be read is answered with a problem.
func readAct[In any](s *Server, w http.ResponseWriter, r *http.Request, f func(in In)) {
	var in In
	body, release, p := s.readAll(w, r, api.MaxAct)
	if p != nil {
		s.problem(w, r, p)
		return
	}
	defer release()
	if len(body) > 0 { // what needs nothing may send nothing
		if err := json.Unmarshal(body, &in, json.RejectUnknownMembers(true)); err != nil {
			s.problem(w, r, badRequest("want a JSON object with the members that /openapi.json lists: %v", err))
			return
		}
	}
	f(in)
}

// actRead serves a request without a body.
func (s *Server) actRead(w http.ResponseWriter, r *http.Request, f func(h *agent.Host) (any, error)) {
	if h := s.host(w, r); h != nil {
		answer, err := f(h)
		s.answerAct(w, r, answer, err)
	}
}

func (s *Server) answerAct(w http.ResponseWriter, r *http.Request, answer any, err error) {
	if err != nil {
		s.problem(w, r, s.actProblem(err))
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	s.answer(w, r, http.StatusOK, answer)
}

func (s *Server) openRun(w http.ResponseWriter, r *http.Request, g *Grant) {
	act(s, w, r, func(h *agent.Host, in api.OpenRun) (any, error) {
		return h.Open(r.Context(), g.Actor, r.PathValue("run"), in)
	})
}

func (s *Server) askStep(w http.ResponseWriter, r *http.Request, g *Grant) {
	v := parseQuery(r, "wait")
	var wait time.Duration
	if v.has("wait") {
		var err error
		if wait, err = time.ParseDuration(v.q.Get("wait")); err != nil || wait < 0 || wait > maxWait {
			v.p = badRequest("wait: want how long, such as 30s, at most %s, found %q", maxWait, v.q.Get("wait"))
		}
	}
	if v.p != nil {
		s.problem(w, r, v.p)
		return
	}
	ctx := r.Context()
	if wait > 0 {
		if !s.takeStream(w, r) {
			return
		}
		defer s.streams.give(1)
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.stopping, cancel)()
	}
	h := s.host(w, r)
	if h == nil {
		return
	}
	readAct(s, w, r, func(in api.AskStep) {
		if in.Observe && !g.May(api.RightGateway) {
			s.problem(w, r, g.lacks(api.RightGateway))
			return
		}
		answer, err := h.Ask(ctx, g.Actor, r.PathValue("run"), r.PathValue("step"), in, wait)
		s.answerAct(w, r, answer, err)
	})
}

func (s *Server) getStep(w http.ResponseWriter, r *http.Request, g *Grant) {
	s.actRead(w, r, func(h *agent.Host) (any, error) {
		return h.Step(r.Context(), g.Actor, r.PathValue("run"), r.PathValue("step"))
	})
}

func (s *Server) reportStep(w http.ResponseWriter, r *http.Request, g *Grant) {
	h := s.host(w, r)
	if h == nil {
		return
	}
	readAct(s, w, r, func(in api.ReportStep) {
		if in.Source == evidence.SourceRuntime && !g.May(api.RightGateway) {
			s.problem(w, r, g.lacks(api.RightGateway))
			return
		}
		answer, err := h.Report(r.Context(), g.Actor, r.PathValue("run"), r.PathValue("step"), in)
		s.answerAct(w, r, answer, err)
	})
}

func (s *Server) runStep(w http.ResponseWriter, r *http.Request, g *Grant) {
	if strings.Contains(r.Header.Get("Accept"), api.MediaEvents) {
		s.runStepTold(w, r, g)
		return
	}
	act(s, w, r, func(h *agent.Host, in api.RunStep) (any, error) {
		return h.Run(r.Context(), g.Actor, r.PathValue("run"), r.PathValue("step"), in, nil)
	})
}

// runStepTold is runStep for who wants to hear what a long call has to tell: a stream
// of events, of which the last is what would have been answered. What cannot even be
// begun is a problem, as ever.
func (s *Server) runStepTold(w http.ResponseWriter, r *http.Request, g *Grant) {
	h := s.host(w, r)
	if h == nil || !s.takeStream(w, r) {
		return
	}
	defer s.streams.give(1)
	out := &told{w: s.stream(w), begin: func() {
		w.Header().Set("Content-Type", api.MediaEvents)
		w.Header().Set("Cache-Control", "no-store")
	}}
	readAct(s, w, r, func(in api.RunStep) {
		answer, err := h.Run(r.Context(), g.Actor, r.PathValue("run"), r.PathValue("step"), in, out.progress)
		switch {
		case err == nil:
			out.event("step", answer)
		case !out.begun():
			s.problem(w, r, s.actProblem(err))
		default:
			out.event("problem", s.actProblem(err))
		}
	})
}

// told is a stream of events about one call.
type told struct {
	begin func()
	w     *streamWriter

	mu    sync.Mutex
	sent  bool
	ended bool // nobody listens any more
}

// progress is handed on as it comes. It is no evidence.
func (t *told) progress(update []byte) {
	var e api.Progress
	if utf8.Valid(update) {
		e.Text = string(update)
	} else {
		e.Base64 = update
	}
	t.event("progress", &e)
}

func (t *told) begun() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sent
}

func (t *told) event(name string, v any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	data, err := json.Marshal(v)
	if err == nil {
		if !t.sent {
			t.sent = true
			t.begin()
		}
		_, err = t.w.Write([]byte("event: " + name + "\ndata: " + string(data) + "\n\n")) // JSON has no line ends
	}
	if err == nil {
		err = t.w.conn.Flush()
	}
	t.ended = err != nil
}

func (s *Server) putDecision(w http.ResponseWriter, r *http.Request, g *Grant) {
	act(s, w, r, func(h *agent.Host, in api.Decide) (any, error) {
		return h.Decide(r.Context(), g.Actor, r.PathValue("run"), r.PathValue("name"), in)
	})
}

func (s *Server) getDecision(w http.ResponseWriter, r *http.Request, g *Grant) {
	s.actRead(w, r, func(h *agent.Host) (any, error) {
		return h.Decision(r.Context(), g.Actor, r.PathValue("run"), r.PathValue("name"))
	})
}

func (s *Server) postContext(w http.ResponseWriter, r *http.Request, g *Grant) {
	act(s, w, r, func(h *agent.Host, in api.LayContext) (any, error) {
		return h.Lay(r.Context(), g.Actor, r.PathValue("run"), in)
	})
}

func (s *Server) putCheckpoint(w http.ResponseWriter, r *http.Request, g *Grant) {
	h := s.host(w, r)
	if h == nil {
		return
	}
	body, release, p := s.readAll(w, r, api.MaxAct)
	if p != nil {
		s.problem(w, r, p)
		return
	}
	defer release()
	answer, err := h.Save(r.Context(), g.Actor, r.PathValue("run"), r.PathValue("name"), body)
	s.answerAct(w, r, answer, err)
}

func (s *Server) getCheckpoint(w http.ResponseWriter, r *http.Request, g *Grant) {
	s.actRead(w, r, func(h *agent.Host) (any, error) { return h.Last(r.Context(), g.Actor, r.PathValue("run")) })
}

func (s *Server) postClaim(w http.ResponseWriter, r *http.Request, g *Grant) {
	act(s, w, r, func(h *agent.Host, in api.MakeClaim) (any, error) {
		return h.Claim(r.Context(), g.Actor, r.PathValue("run"), in)
	})
}

func (s *Server) closeRun(w http.ResponseWriter, r *http.Request, g *Grant) {
	act(s, w, r, func(h *agent.Host, in api.CloseRun) (any, error) {
		return h.CloseRun(r.Context(), g.Actor, r.PathValue("run"), in)
	})
}

func (s *Server) getState(w http.ResponseWriter, r *http.Request, g *Grant) {
	s.actRead(w, r, func(h *agent.Host) (any, error) {
		return h.State(r.Context(), r.PathValue("run"), func(agent string) bool {
			return g.May(api.RightRead) || g.May(api.RightAct) && h.Acts(g.Actor, agent)
		})
	})
}

func (s *Server) listApprovals(w http.ResponseWriter, r *http.Request, _ *Grant) {
	if !s.takeStream(w, r) { // it reads every open run
		return
	}
	defer s.streams.give(1)
	s.actRead(w, r, func(h *agent.Host) (any, error) { return h.Approvals(r.Context()) })
}

// actProblem says why a request of an agent cannot be served.
func (s *Server) actProblem(err error) *api.Problem {
	problem := func(status int, reason string, evidence ...evidence.ID) *api.Problem {
		p := api.NewProblem(status, reason, "%v", err)
		for _, id := range evidence {
			if !id.IsZero() {
				p.Evidence = append(p.Evidence, id)
			}
		}
		return p
	}
	if run, ok := errors.AsType[*runtime.RunError](err); ok {
		return s.runProblem(run, problem)
	}
	if e, ok := errors.AsType[*runtime.ReportedError](err); ok {
		p := problem(http.StatusConflict, api.ReasonReported, e.Stands)
		p.Stands = &e.Stands
		return p
	}
	if e, ok := errors.AsType[*runtime.NameTakenError](err); ok {
		p := problem(http.StatusConflict, api.ReasonName, e.Stands)
		p.Stands = &e.Stands
		return p
	}
	if e, ok := errors.AsType[*runtime.Unsupported](err); ok {
		p := problem(http.StatusConflict, api.ReasonUnsupported, e.Claim, e.Verdict)
		p.Verdict = &api.Verdict{Claim: e.Claim, ID: e.Verdict, Result: e.Result, Why: append([]string{}, e.Why...)}
		return p
	}
	if e, ok := errors.AsType[*runtime.Denied](err); ok {
		return problem(http.StatusConflict, api.ReasonNotPermitted, e.Authorization, e.Refusal)
	}
	if e, ok := errors.AsType[*runtime.Waiting](err); ok {
		return problem(http.StatusConflict, api.ReasonNotPermitted, e.Authorization)
	}
	if e, ok := errors.AsType[*runtime.InDoubt](err); ok {
		return problem(http.StatusConflict, api.ReasonInDoubt, e.Authorization, e.Doubt, e.Escalation)
	}
	if e, ok := errors.AsType[*runtime.Failed](err); ok && e.Class == evidence.BudgetExceeded {
		return problem(http.StatusConflict, api.ReasonBudget, e.Execution)
	}
	if r := handoff.AsRefused(err); r != nil {
		return exchange.Refusal(r)
	}
	var invalid *agent.InvalidError
	var unusable *runtime.InvalidError
	switch {
	case errors.Is(err, agent.ErrName):
		return problem(http.StatusBadRequest, api.ReasonMalformed)
	case errors.As(err, &invalid), errors.As(err, &unusable):
		return problem(http.StatusUnprocessableEntity, api.ReasonInvalid)
	case errors.Is(err, evidence.ErrSize):
		return problem(http.StatusRequestEntityTooLarge, api.ReasonTooLarge)
	case errors.Is(err, agent.ErrParent):
		return problem(http.StatusConflict, api.ReasonParent)
	case errors.Is(err, agent.ErrNoHandoffs):
		return problem(http.StatusNotImplemented, api.ReasonNotConfigured)
	case errors.Is(err, exchange.ErrNoOffer):
		return problem(http.StatusNotFound, api.ReasonNotFound)
	case errors.Is(err, runtime.ErrNoRun), errors.Is(err, runtime.ErrNoCheckpoint), errors.Is(err, agent.ErrNoDecision), errors.Is(err, agent.ErrNoStep):
		return problem(http.StatusNotFound, api.ReasonNotFound)
	case errors.Is(err, runtime.ErrNoStep):
		return problem(http.StatusUnprocessableEntity, api.ReasonNoStep)
	case errors.Is(err, runtime.ErrNoClaim):
		return problem(http.StatusConflict, api.ReasonNoClaim)
	case errors.Is(err, agent.ErrNoTool):
		return problem(http.StatusUnprocessableEntity, api.ReasonNoTool)
	case errors.Is(err, agent.ErrOtherAgent):
		return problem(http.StatusForbidden, api.ReasonOtherActor)
	case errors.Is(err, agent.ErrBusy):
		return problem(http.StatusServiceUnavailable, api.ReasonBusy)
	case errors.Is(err, agent.ErrStopping):
		return problem(http.StatusServiceUnavailable, api.ReasonStopping)
	case errors.Is(err, ledger.ErrErased):
		return problem(http.StatusGone, api.ReasonErased)
	}
	return s.readProblem(err)
}

// runProblem says why a run cannot be opened or go on.
func (s *Server) runProblem(e *runtime.RunError, problem func(int, string, ...evidence.ID) *api.Problem) *api.Problem {
	switch e.Reason {
	case runtime.RunHeld, runtime.RunTaken:
		p := problem(http.StatusConflict, api.ReasonLeased)
		if held, ok := errors.AsType[*ledger.LeaseError](e); ok {
			p.Until = &held.Until
		}
		return p
	case runtime.RunChanged:
		return problem(http.StatusConflict, api.ReasonChanged)
	case runtime.RunEnded:
		return problem(http.StatusConflict, api.ReasonEnded, e.Evidence...)
	case runtime.RunUnsound:
		return problem(http.StatusConflict, api.ReasonUnsound)
	case runtime.RunStepUsed:
		return problem(http.StatusConflict, api.ReasonStep, e.Evidence...)
	case runtime.RunInDoubt:
		return problem(http.StatusConflict, api.ReasonInDoubt, e.Evidence...)
	}
	// Whether a record stands is not known: the same request, once the daemon is
	// back, finds out.
	return s.refusal(e.Err)
}
