package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
	"time"

	"ledgerd/checkpoint"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/ledger"
	"ledgerd/runtime"
)

// stateOf says where a run stands.
func stateOf(run *runtime.Run) *api.RunState {
	a := &api.RunState{Run: run.ID(), Key: run.Key(), Agent: run.Agent(), State: "open", Continues: continuedOf(run.Accepted()), TookUp: tookUp(run), InDoubt: []api.Doubt{}, Waiting: []api.Waits{}, Steps: []api.StepSummary{}}
	run.View(func(s *checkpoint.State) {
		b := s.Run().Body
		a.Task, a.Subject, a.Principal, a.Budget, a.Spent = b.Task, b.Subject, b.Principal, b.Budget, s.Run().Spent()
		if len(a.Spent) == 0 {
			a.Spent = nil
		}
		if closed := s.Closed(); closed != nil {
			tail := s.Run().Tail
			a.State, a.End, a.Reason, a.Closed = "closed", closed.End, closed.Reason, &tail
		}
		if last := s.Last(); last != nil {
			a.Checkpoint = last.Name
		}
		if claims := s.Claims(); len(claims) > 0 {
			last := claims[len(claims)-1]
			v, _ := s.Verdict(last)
			a.Claim, a.Verdict = &last, v.Result
		}
		now := evidence.TimeOf(time.Now())
		for _, name := range s.Steps() {
			p := s.Plan(name, now)
			one := summaryOf(name, &p)
			a.Steps = append(a.Steps, one)
			switch one.State {
			case api.StepInDoubt:
				a.InDoubt = append(a.InDoubt, api.Doubt{Step: name, Authorization: p.Action.Authorization, Doubt: p.Doubt, Attempt: openAttempt(&p)})
			case api.StepWaiting:
				a.Waiting = append(a.Waiting, api.Waits{Step: name, Authorization: p.Action.Authorization, Team: p.Action.Record.Team})
			}
		}
	})
	return a
}

// openAttempt is the number of the attempt whose outcome is wanted.
func openAttempt(p *checkpoint.Plan) int {
	if p.Action.Last.IsZero() {
		return p.Attempts + 1
	}
	return p.Attempts
}

func summaryOf(name string, p *checkpoint.Plan) api.StepSummary {
	b := p.Action.Record
	one := api.StepSummary{
		Step: name, Action: b.Action, Tool: b.Tool, Resource: b.Resource, Authorization: p.Action.Authorization,
		Execution: present(p.Action.Last), Attempts: p.Attempts,
	}
	switch p.Next {
	case checkpoint.Return:
		one.State = api.StepSucceeded
	case checkpoint.Refused:
		one.State, one.Refusal = api.StepDenied, present(p.Approval)
	case checkpoint.Ask, checkpoint.Use:
		one.State = api.StepWaiting
	case checkpoint.Attempt:
		one.State = api.StepFailed
	case checkpoint.Settle:
		one.State = api.StepInDoubt
	case checkpoint.Await:
		one.State = api.StepAccepted
	}
	return one
}

// stepOf answers about a step, from what asking for it or running it came to, and
// from its records, so that asking again gives the same.
func (h *Host) stepOf(ctx context.Context, run *runtime.Run, step string, g *runtime.Grant, res *runtime.Result, err error) (*api.Step, error) {
	if err != nil && !asStep(err) {
		return nil, err
	}
	var p checkpoint.Plan
	run.View(func(s *checkpoint.State) { p = s.Plan(step, evidence.TimeOf(time.Now())) })
	if p.Next == checkpoint.Begin {
		return nil, err // nothing is recorded of it
	}
	a := h.permission(run, step, &p)
	if g != nil && g.Result != nil {
		res = g.Result
	}
	if denied, ok := errors.AsType[*runtime.Denied](err); ok {
		a.State, a.Refusal, a.Errors = api.StepDenied, present(denied.Refusal), denied.Errors
		return a, nil
	}
	if waiting, ok := errors.AsType[*runtime.Waiting](err); ok {
		a.State, a.Team = api.StepWaiting, waiting.Team
		if waiting.Team == "" {
			a.State = api.StepAccepted
			return a, h.outcome(ctx, a, &p, nil)
		}
		return a, nil
	}
	if doubt, ok := errors.AsType[*runtime.InDoubt](err); ok {
		a.State, a.Doubt, a.Escalation, a.Attempt = api.StepInDoubt, present(doubt.Doubt), present(doubt.Escalation), openAttempt(&p)
		if doubt.Err != nil {
			a.Errors = []string{doubt.Err.Error()}
			return a, nil
		}
		a.Errors, err = h.errorsOf(ctx, &p)
		return a, err
	}
	if failed, ok := errors.AsType[*runtime.Failed](err); ok {
		a.State, a.Class, a.Escalation = api.StepFailed, failed.Class, present(failed.Escalation)
		if a.Errors, err = h.errorsOf(ctx, &p); err != nil {
			return nil, err
		}
		return a, h.outcome(ctx, a, &p, nil)
	}
	if res == nil {
		// As it was granted, whatever somebody may have done since.
		a.State, a.Attempt, a.Effect, a.Mode = api.StepAllowed, g.Attempt, g.Effect, g.Mode
		a.Authorization, a.IdempotencyKey = g.Authorization, g.Key
		if g.Policies != nil {
			a.Policies = g.Policies
		}
		return a, nil
	}
	a.State = api.StepSucceeded
	return a, h.outcome(ctx, a, &p, res)
}

// permission is what an answer says of a step's permission check.
func (h *Host) permission(run *runtime.Run, step string, p *checkpoint.Plan) *api.Step {
	b := p.Action.Record
	a := &api.Step{
		Run: run.ID(), Step: step, Effect: b.Effect, Mode: b.Mode, Action: b.Action, Tool: b.Tool, Resource: b.Resource,
		Authorization: p.Action.Authorization, Policies: b.Policies, IdempotencyKey: string(run.ID()) + "/" + b.IdempotencyKey,
		Attempt: p.Attempts, RunsHere: h.cfg.Runtime.Has(b.Tool),
	}
	if a.Policies == nil {
		a.Policies = []string{}
	}
	return a
}

// recorded answers about a step from its records alone.
func (h *Host) recorded(ctx context.Context, run *runtime.Run, step string) (a *api.Step, err error) {
	var p checkpoint.Plan
	run.View(func(s *checkpoint.State) { p = s.Plan(step, evidence.TimeOf(time.Now())) })
	if p.Next == checkpoint.Begin {
		return nil, fmt.Errorf("step %q: %w", step, ErrNoStep)
	}
	a = h.permission(run, step, &p)
	one := summaryOf(step, &p)
	a.State, a.Refusal = one.State, one.Refusal
	switch a.State {
	case api.StepWaiting:
		a.Team = p.Action.Record.Team
	case api.StepInDoubt:
		a.Doubt, a.Attempt = present(p.Doubt), openAttempt(&p)
		if a.Errors, err = h.errorsOf(ctx, &p); err != nil {
			return nil, err
		}
	case api.StepFailed, api.StepDenied:
		if a.Errors, err = h.errorsOf(ctx, &p); err != nil {
			return nil, err
		}
	}
	var res *runtime.Result
	if c := p.Action.Output; c != nil {
		out, err := h.payload(ctx, c.Commit)
		switch {
		case errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNoPayload):
		case err != nil:
			return nil, err
		default:
			res = &runtime.Result{Media: out.Media, Output: out.Data}
		}
	}
	return a, h.outcome(ctx, a, &p, res)
}

// outcome adds the recorded outcome.
func (h *Host) outcome(_ context.Context, a *api.Step, p *checkpoint.Plan, res *runtime.Result) error {
	if p.Action.Status == "" {
		return nil
	}
	o := &api.Result{Status: p.Action.Status, Source: p.Action.Source, Execution: present(p.Action.Last)}
	if res != nil && len(res.Output) > 0 {
		o.Media = res.Media
		if isJSON(res.Media) && json.Valid(res.Output) {
			o.Output = res.Output
		} else {
			o.OutputBase64 = res.Output
		}
	}
	a.Outcome = o
	return nil
}

// errorsOf reads what went wrong: of the last execution, or of the authorization
// where the input did not fit the tool.
func (h *Host) errorsOf(ctx context.Context, p *checkpoint.Plan) ([]string, error) {
	commit := p.Action.Record.Errors
	if p.Failure != nil {
		commit = p.Failure.Error
	}
	if commit == nil {
		return nil, nil
	}
	said, err := h.payload(ctx, commit.Commit)
	switch {
	case errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNoPayload):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if p.Failure == nil {
		var all []string
		return all, json.Unmarshal(said.Data, &all)
	}
	return []string{string(said.Data)}, nil
}

func verdictOf(claim evidence.ID, v *runtime.Verdict) *api.Verdict {
	why := v.Why()
	if why == nil {
		why = []string{}
	}
	return &api.Verdict{Claim: claim, ID: v.ID, Result: v.Result, Holds: v.Err() == nil, Why: why, Unmet: v.Unmet(), Notes: v.Notes(), Document: v.Document}
}

func isJSON(media string) bool {
	t, _, err := mime.ParseMediaType(media)
	return media == "" || err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}
