package mcp

import (
	"context"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
	"ledgerd/internal/api"
)

// taskOf returns the ID of the task that a request is about; "": of none.
func taskOf(m *message) string {
	at, ok := member(m.raw, m.params, "taskId")
	if !ok {
		return ""
	}
	id, err := text(at.of(m.raw))
	if err != nil {
		return ""
	}
	return id
}

// taskAnswer records what came of a task, once its result was fetched or it is said to
// have ended otherwise, and passes the answer on.
func (g *gateway) taskAnswer(task, method string, m *message) []byte {
	if m == nil {
		return nil
	}
	r, over := g.taskOutcome(method, m)
	if !over {
		return m.raw
	}
	id, err := g.recordTask(task, r)
	switch {
	case reasonOf(err) == api.ReasonReported: // it was recorded before, and stands
		return m.raw
	case err != nil && g.Observe:
		g.Log.Warn("what came of a task is not recorded", "error", err)
		return m.raw
	case err != nil:
		return rpcError(m.id, -32603, "ledgerd could not record what came of the task: ask again")
	case m.failed || id.IsZero():
		return m.raw
	}
	return m.withMeta(MetaEvidence, id.String())
}

// recordTask records what came of a task; zero: it is not known, or over.
func (g *gateway) recordTask(task string, r api.ReportStep) (evidence.ID, error) {
	g.mu.Lock()
	c := g.tasks[task]
	delete(g.tasks, task)
	g.mu.Unlock()
	if c == nil {
		var err error
		if c, err = g.accepted(task); c == nil {
			return evidence.ID{}, err
		}
	}
	id, err := g.report(c, r)
	if err != nil && reasonOf(err) != api.ReasonReported {
		g.mu.Lock()
		g.tasks[task] = c
		g.mu.Unlock()
	}
	return id, err
}

// accepted finds a task that another gateway began, one before this that was killed for
// instance: what the server gave when it accepted it is on record. nil: the run has none.
func (g *gateway) accepted(task string) (*call, error) {
	ctx, cancel := context.WithTimeout(g.ctx, observeFor)
	defer cancel()
	state, err := g.Run.RunState(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range slices.Backward(state.Steps) {
		if _, _, ours := parseStepName(g.Server, s.Step); !ours || s.State != api.StepAccepted {
			continue
		}
		step, err := g.Run.Step(ctx, s.Step)
		if err != nil {
			return nil, err
		}
		var gave struct {
			Task struct {
				ID string `json:"taskId"`
			} `json:"task"`
		}
		if step.Outcome != nil && json.Unmarshal(step.Outcome.Output, &gave) == nil && gave.Task.ID == g.Redact.text(task) {
			return &call{step: s.Step, auth: s.Authorization, attempt: step.Attempt, taskID: task}, nil
		}
	}
	return nil, nil
}

func (g *gateway) taskOutcome(method string, m *message) (r api.ReportStep, over bool) {
	if m.failed {
		return r, false // the request failed, which says nothing of the task
	}
	if method == "tasks/result" {
		return g.outcome(new(call), m), true
	}
	return g.taskEnd(m.result.of(m.raw))
}

// taskEnd is what came of a task that stands so; over: no result will say it.
func (g *gateway) taskEnd(stands jsontext.Value) (r api.ReportStep, over bool) {
	var said struct {
		Status  string `json:"status"`
		Message string `json:"statusMessage"`
	}
	if err := json.Unmarshal(stands, &said); err != nil {
		return r, false
	}
	// Of a completed task the result says what came of it: it is fetched by tasks/result.
	if said.Status != "failed" && said.Status != "cancelled" {
		return r, false
	}
	return api.ReportStep{Status: evidence.StatusFailure, Class: evidence.ToolFailed, Error: said.Message, Output: g.output(stands)}, true
}

// taskStatus returns what takes a notification of how a task stands: where it has ended
// without a result, that is recorded before the client hears of it. nil: it passes.
func (g *gateway) taskStatus(m *message) answerer {
	task := taskOf(m)
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.tasks[task]
	if c == nil {
		return nil
	}
	r, over := g.taskEnd(m.params.of(m.raw))
	if !over {
		return nil
	}
	delete(g.tasks, task)
	return func(m *message) []byte {
		_, err := g.report(c, r)
		if err == nil || reasonOf(err) == api.ReasonReported || g.Observe {
			return m.raw
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.tasks[task] = c
		return nil // the client asks how it stands
	}
}

// cancelled takes the client's word that it does not wait for a call any more. It says
// whether the server need not hear of it.
func (g *gateway) cancelled(m *message) bool {
	at, ok := member(m.raw, m.params, "requestId")
	if !ok {
		return false
	}
	id, err := parseID(at.of(m.raw))
	if err != nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.calls[id]
	if c == nil {
		return false
	}
	c.cancelled = true
	if !c.forwarded {
		c.cancel()
		return true
	}
	time.AfterFunc(cancelledFor, func() { g.doubt(c, "it was cancelled, and the server did not say whether it had been done") })
	return false
}

// doubt records that nobody knows what came of a call.
func (g *gateway) doubt(c *call, why string) {
	g.mu.Lock()
	if c.ended {
		g.mu.Unlock()
		return
	}
	c.ended = true
	g.mu.Unlock()
	g.stands(c, api.StepInDoubt)
	_, _ = g.report(c, api.ReportStep{Status: evidence.StatusUnknown, Error: why})
}

// serverGone ends what waits for the server: nobody knows what came of it.
func (g *gateway) serverGone() {
	g.mu.Lock()
	g.gone = true
	var waiting []*call
	for id, c := range g.calls {
		if c.forwarded && !c.ended {
			waiting = append(waiting, c)
			delete(g.calls, id)
		}
	}
	asked := g.asked
	g.asked = make(map[string]answerer)
	g.mu.Unlock()
	for _, f := range asked {
		if f != nil {
			g.work.Go(func() { f(nil) })
		}
	}
	g.leave()
	for _, c := range waiting {
		g.work.Go(func() {
			g.doubt(c, "the server ended before it answered")
			if !c.cancelled {
				_ = g.toClient(toolError(c.id, "In doubt: the server ended before it answered. Do not assume that nothing happened.", c.auth))
			}
		})
	}
}
