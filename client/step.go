package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/runtime"
)

// Do does a step with a tool of this process. The daemon is asked first; the tool is
// called where it says so, once for each attempt that it numbers, and what came of it
// is on record before Do returns. A step that succeeded before returns what is recorded,
// and calls nothing.
//
// Anything else is an error, as that of [runtime.Run.Do]: *[runtime.Denied],
// *[runtime.Waiting], *[runtime.Failed], or *[runtime.InDoubt], which a tool that is a
// [runtime.Prober] is asked about first. A result that is no JSON, or that the daemon does
// not take, leaves the step in doubt, too: it happened, and whoever resumes the run could
// not get what it gave.
func (r *Run) Do(ctx context.Context, tool runtime.Tool, a runtime.Action) (*runtime.Output, error) {
	unlock, err := working.lock(ctx, r.place(a.Step))
	if err != nil {
		return nil, err
	}
	defer unlock()
	spec := tool.Spec()
	ask := api.AskStep{
		Action: spec.Action, Resource: a.Resource, Input: a.Input, Decision: present(a.Decision), Asker: asker,
		Description: spec.Description, Schema: spec.Schema, Params: spec.Params, Estimate: spec.Estimate, Idempotent: spec.Idempotent,
	}
	if spec.Name != spec.Action {
		ask.Tool = spec.Name
	}
	prober, _ := tool.(runtime.Prober)
	retry := retryDelay{next: 200 * time.Millisecond}
	over := time.Now().Add(r.Wait)
	for left := r.Wait; ; left = time.Until(over) {
		step, err := r.ask(ctx, a.Step, &ask, left)
		if err != nil {
			return nil, err
		}
		var done bool
		var out *runtime.Output
		switch {
		case step.RunsHere && (step.State == api.StepAllowed || step.State == api.StepInDoubt):
			return nil, fmt.Errorf("step %q: %s is a tool of the daemon's: have the step done there", a.Step, step.Tool)
		case step.State == api.StepAllowed:
			out, done, err = r.attempt(ctx, tool, &a, step, &retry)
		case step.State == api.StepInDoubt && prober != nil:
			out, done, err = r.probe(ctx, prober, &a, step)
			prober = nil // what it said is on record: it is not asked twice
		case step.State == api.StepWaiting && time.Now().Before(over):
			// The time of one request was over, and not that of the step.
		default:
			return outcomeOf(step)
		}
		if err != nil || done {
			return out, err
		}
	}
}

// RunHere has the daemon do a step with a tool of its own.
func (r *Run) RunHere(ctx context.Context, a runtime.Action) (*runtime.Output, error) {
	do := api.RunStep{Tool: a.Tool, Resource: a.Resource, Input: a.Input, Decision: present(a.Decision)}
	ask := api.AskStep{Tool: a.Tool, Resource: a.Resource, Input: a.Input, Decision: present(a.Decision), Asker: asker}
	over := time.Now().Add(r.Wait)
	for {
		step, err := again[api.Step](ctx, r, http.MethodPost, stepPath(api.PathRunStep, r.key, a.Step), do, nil)
		if err != nil {
			return nil, err
		}
		left := time.Until(over)
		if step.State != api.StepWaiting || left <= 0 {
			return outcomeOf(step)
		}
		if _, err := r.ask(ctx, a.Step, &ask, left); err != nil { // held until a human answers
			return nil, err
		}
	}
}

// maxHeld is how long one request is held for a human, so that what lies between does
// not take it for dead.
const maxHeld = time.Minute

func (r *Run) ask(ctx context.Context, name string, ask *api.AskStep, left time.Duration) (*api.Step, error) {
	var query url.Values
	if ms := min(left, maxHeld).Milliseconds(); ms > 0 {
		query = url.Values{"wait": {strconv.FormatInt(ms, 10) + "ms"}}
	}
	return again[api.Step](ctx, r, http.MethodPut, stepPath(api.PathStep, r.key, name), ask, query)
}

// place is a step's, among those of all daemons.
func (r *Run) place(step string) string {
	return r.c.Server() + " " + string(r.ID()) + " " + step
}

// attempt calls the tool, and reports. done is false where the daemon has to be asked
// what comes next.
func (r *Run) attempt(ctx context.Context, tool runtime.Tool, a *runtime.Action, step *api.Step, retry *retryDelay) (out *runtime.Output, done bool, err error) {
	place := r.place(a.Step) + " " + strconv.Itoa(step.Attempt)
	known, _ := unreported.Load(place)
	did, ok := known.(*made)
	if !ok {
		did = try(ctx, tool, a, step)
		unreported.Store(place, did)
	}
	// What happened is reported even where the caller has given up.
	told := context.WithoutCancel(ctx)
	err = r.report(told, a.Step, did.report)
	if p, ok := errors.AsType[*Problem](err); ok && did.failure == nil && slices.Contains(notTaken, p.Status) {
		did = unkept(&did.report, fmt.Errorf("its result cannot be recorded: %s", p.Reason))
		unreported.Store(place, did)
		err = r.report(told, a.Step, did.report)
	}
	if err != nil {
		return nil, false, err
	}
	unreported.Delete(place)
	if did.report.Status == evidence.StatusSuccess {
		return did.out, true, nil
	}
	if did.failure != nil {
		err = retry.after(ctx, did.failure)
	}
	return nil, false, err
}

// notTaken are the answers to a report that no other time will change.
var notTaken = []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}

// unkept is an attempt that gave something which whoever resumes the run could not get:
// not what is recorded as success.
func unkept(rep *api.ReportStep, why error) *made {
	return &made{
		report:  api.ReportStep{Attempt: rep.Attempt, Status: evidence.StatusUnknown, Error: why.Error(), TookMS: rep.TookMS},
		failure: &runtime.Failure{Class: evidence.OutcomeUnknown, Err: why},
	}
}

// try makes an attempt.
func try(ctx context.Context, tool runtime.Tool, a *runtime.Action, step *api.Step) *made {
	began := time.Now()
	did := new(made)
	did.out, did.failure = call(ctx, tool, &runtime.Call{Key: step.IdempotencyKey, Input: a.Input, Attempt: step.Attempt, Progress: a.Progress})
	took := time.Since(began).Milliseconds()
	rep := api.ReportStep{Attempt: step.Attempt, Status: evidence.StatusSuccess, TookMS: &took}
	if f := did.failure; f != nil {
		rep.Status, rep.Class, rep.Cost, rep.Error = evidence.StatusFailure, f.Class, f.Cost, f.Error()
		if f.Err != nil {
			rep.Error = f.Err.Error()
		}
		if f.Class == evidence.OutcomeUnknown {
			rep.Status, rep.Class = evidence.StatusUnknown, ""
		}
	} else {
		output(&rep, did.out)
		rep.Refs, rep.Cost = tool.Spec().Refs, did.out.Cost
		if did.out.Accepted {
			rep.Status = evidence.StatusAccepted
		}
		if len(rep.Output) > 0 && !json.Valid(rep.Output) {
			return unkept(&rep, errors.New("its result is no JSON"))
		}
	}
	did.report = rep
	return did
}

// call calls the tool under its timeout. Where it panics, nobody knows how far it came.
func call(ctx context.Context, tool runtime.Tool, c *runtime.Call) (out *runtime.Output, failure *runtime.Failure) {
	if t := tool.Spec().Timeout; t > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t)
		defer cancel()
	}
	defer func() {
		if p := recover(); p != nil {
			out, failure = nil, &runtime.Failure{Class: evidence.OutcomeUnknown, Err: fmt.Errorf("the tool panicked: %v", p)}
		}
	}()
	out, err := tool.Call(ctx, c)
	if err != nil {
		f := *runtime.Classify(err)
		if f.Class == evidence.ToolTimeout && !f.NotRun && !tool.Spec().Idempotent {
			f.Class = evidence.OutcomeUnknown
		}
		return nil, &f
	}
	if out == nil {
		out = &runtime.Output{}
	}
	return out, nil
}

// probe asks the tool what became of the attempt that is in doubt, and reports that.
func (r *Run) probe(ctx context.Context, tool runtime.Prober, a *runtime.Action, step *api.Step) (*runtime.Output, bool, error) {
	found, err := tool.Probe(ctx, &runtime.Call{Key: step.IdempotencyKey, Input: a.Input, Attempt: step.Attempt})
	if err != nil {
		_, doubt := outcomeOf(step)
		doubt.(*runtime.InDoubt).Err = err
		return nil, false, doubt
	}
	rep := api.ReportStep{Attempt: step.Attempt, Status: found.Status}
	out := found.Output
	if found.Status == evidence.StatusSuccess {
		if out == nil {
			out = &runtime.Output{}
		}
		output(&rep, out)
		rep.Refs = tool.Spec().Refs
	}
	if err := r.report(ctx, a.Step, rep); err != nil {
		return nil, false, err
	}
	return out, found.Status == evidence.StatusSuccess, nil
}

func (r *Run) report(ctx context.Context, step string, rep api.ReportStep) error {
	_, err := again[api.Outcome](ctx, r, http.MethodPut, stepPath(api.PathOutcome, r.key, step), rep, nil)
	return err
}

// output puts what a tool gave into a report.
func output(rep *api.ReportStep, out *runtime.Output) {
	if out.Media == "" {
		rep.Output = out.Data
		return
	}
	rep.OutputBase64, rep.Media = out.Data, out.Media
}

// outcomeOf is what a step came to, of which nothing is to be done.
func outcomeOf(s *api.Step) (*runtime.Output, error) {
	said := errors.New(strings.Join(s.Errors, "; "))
	if len(s.Errors) == 0 {
		said = nil
	}
	switch s.State {
	case api.StepSucceeded:
		out := &runtime.Output{}
		if o := s.Outcome; o != nil {
			out.Media, out.Data = o.Media, o.OutputBase64
			if o.Output != nil {
				out.Data = o.Output
			}
		}
		return out, nil
	case api.StepDenied:
		return nil, &runtime.Denied{Step: s.Step, Action: s.Action, Authorization: s.Authorization, Policies: s.Policies, Errors: s.Errors, Refusal: id(s.Refusal), Escalation: id(s.Escalation)}
	case api.StepWaiting, api.StepAccepted:
		w := &runtime.Waiting{Step: s.Step, Action: s.Action, Authorization: s.Authorization, Team: s.Team, Policies: s.Policies}
		if s.Outcome != nil {
			w.Execution = id(s.Outcome.Execution)
		}
		return nil, w
	case api.StepFailed:
		f := &runtime.Failed{Step: s.Step, Action: s.Action, Class: s.Class, Authorization: s.Authorization, Escalation: id(s.Escalation), Attempts: s.Attempt, Err: said}
		if s.Outcome != nil {
			f.Execution = id(s.Outcome.Execution)
		}
		return nil, f
	case api.StepInDoubt:
		return nil, &runtime.InDoubt{Step: s.Step, Action: s.Action, Authorization: s.Authorization, Doubt: id(s.Doubt), Escalation: id(s.Escalation), Err: said}
	}
	return nil, fmt.Errorf("step %q: want a state that docs/http-api.md lists, found %q", s.Step, s.State)
}

// retryDelay is how long is waited before a tool is called again: doubled each time, and
// drawn between half and all of it.
type retryDelay struct{ next time.Duration }

func (d *retryDelay) after(ctx context.Context, f *runtime.Failure) error {
	switch f.Class {
	case evidence.ToolTimeout, evidence.ToolUnavailable, evidence.RateLimited:
	default:
		return nil
	}
	wait := max(d.next/2+rand.N(d.next/2), f.RetryAfter)
	d.next = min(2*d.next, 10*time.Second)
	return sleep(ctx, wait)
}

func present(id evidence.ID) *evidence.ID {
	if id.IsZero() {
		return nil
	}
	return &id
}

func id(of *evidence.ID) evidence.ID {
	if of == nil {
		return evidence.ID{}
	}
	return *of
}
