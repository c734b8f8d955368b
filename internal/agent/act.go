package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"ledgerd/checkpoint"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/runtime"
)

// InvalidError says that a member of a request is not what it has to be.
type InvalidError struct {
	Member string
	Err    error
}

func (e *InvalidError) Error() string { return e.Member + ": " + e.Err.Error() }

func (e *InvalidError) Unwrap() error { return e.Err }

func invalid(member, format string, args ...any) error {
	return &InvalidError{member, fmt.Errorf(format, args...)}
}

func identifiers(of map[string]string) error {
	for member, id := range of {
		if id == "" {
			continue
		}
		if err := evidence.CheckIdentifier(id); err != nil {
			return &InvalidError{member, err}
		}
	}
	return nil
}

func amounts(member string, a evidence.Amounts) error {
	if err := evidence.CheckAmounts(a); err != nil {
		return &InvalidError{member, err}
	}
	return nil
}

// value reads a member that is any JSON value; nil where it is absent.
func value(member string, v []byte) ([]byte, error) {
	if len(v) == 0 {
		return nil, nil
	}
	n, err := normal(v)
	if err != nil {
		return nil, invalid(member, "want a JSON value: %w", err)
	}
	return n, nil
}

func needed(member string, v []byte) ([]byte, error) {
	n, err := value(member, v)
	if err == nil && n == nil {
		err = invalid(member, "want a JSON value, found none")
	}
	return n, err
}

// Open opens or resumes a run for an actor.
func (h *Host) Open(ctx context.Context, by, key string, o api.OpenRun) (*api.RunState, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	o.Agent = cmp.Or(o.Agent, by)
	if !h.acts(by, o.Agent) {
		return nil, ErrOtherAgent
	}
	if o.Task == "" {
		return nil, invalid("task", "want a type of task, found none")
	}
	if err := identifiers(map[string]string{"agent": o.Agent, "task": o.Task, "principal": o.Principal, "subject": o.Subject}); err != nil {
		return nil, err
	}
	if err := amounts("budget", o.Budget); err != nil {
		return nil, err
	}
	input, err := value("input", o.Input)
	if err != nil {
		return nil, err
	}
	options := []runtime.Option{
		runtime.As(o.Agent), runtime.Input(o.Task, input), runtime.For(o.Principal), runtime.Subject(o.Subject), runtime.Intent(o.Intent),
		runtime.Budget(o.Budget), h.driver(),
	}
	accepted, err := h.continues(ctx, o.Agent, key, o.Continues)
	if err != nil {
		return nil, err
	}
	options = append(options, accepted...)
	if o.Parent != "" {
		if err := CheckKey(o.Parent); err != nil {
			return nil, err
		}
		parent, free, err := h.hold(ctx, by, o.Parent)
		if err != nil {
			return nil, fmt.Errorf("the parent: %w", err)
		}
		defer free()
		options = append(options, runtime.Child(parent))
	}
	opened := false
	open := func(ctx context.Context) (run *runtime.Run, free func(), err error) {
		opened = true
		if o.Parent != "" { // the child keeps it at work
			if _, free, err = h.hold(ctx, by, o.Parent); err != nil {
				return nil, nil, fmt.Errorf("the parent: %w", err)
			}
		}
		if run, err = h.cfg.Runtime.Open(ctx, key, options...); err != nil && free != nil {
			free()
		}
		return run, free, err
	}
	var state *api.RunState
	err = h.anew(ctx, by, key, open, func(run *runtime.Run) error {
		if !opened {
			if err := run.Is(ctx, options...); err != nil {
				return err
			}
		}
		state = stateOf(run)
		return nil
	})
	return state, err
}

// State says where a run stands, by its records as they are now. Nothing is driven.
// may reports whether the state may be shown of a run of that agent.
func (h *Host) State(ctx context.Context, key string, may func(agent string) bool) (*api.RunState, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	agent, err := h.agentOf(ctx, key)
	if err != nil {
		return nil, err
	}
	if !may(agent) {
		return nil, ErrOtherAgent
	}
	run, err := h.cfg.Runtime.Look(ctx, key)
	if err != nil {
		return nil, err
	}
	return stateOf(run), nil
}

// ErrNoStep: nothing was asked under the name.
var ErrNoStep = errors.New("nothing was asked under this name")

// Step says what is recorded of a step, or fails with ErrNoStep. Nothing is driven.
func (h *Host) Step(ctx context.Context, by, key, step string) (*api.Step, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	if err := CheckName("step", step); err != nil {
		return nil, err
	}
	agent, err := h.agentOf(ctx, key)
	if err != nil {
		return nil, err
	}
	if !h.acts(by, agent) {
		return nil, ErrOtherAgent
	}
	run, err := h.cfg.Runtime.Look(ctx, key)
	if err != nil {
		return nil, err
	}
	return h.recorded(ctx, run, step)
}

// Acts reports whether an actor may act as an agent.
func (h *Host) Acts(by, agent string) bool { return h.acts(by, agent) }

// Ask asks for permission to do a step. Where a human has to answer, it waits for
// at most as long as wait.
func (h *Host) Ask(ctx context.Context, by, key, step string, a api.AskStep, wait time.Duration) (*api.Step, error) {
	if err := CheckName("step", step); err != nil {
		return nil, err
	}
	input, err := needed("input", a.Input)
	if err != nil {
		return nil, err
	}
	schema, err := value("schema", a.Schema)
	if err != nil {
		return nil, err
	}
	q := runtime.Ask{
		Step: step, Tool: cmp.Or(a.Tool, a.Action), Action: a.Action, Resource: a.Resource, Input: input, By: a.Asker,
		Description: a.Description, Schema: schema, Params: a.Params, Estimate: a.Estimate, Idempotent: a.Idempotent, Observe: a.Observe,
	}
	if q.Tool == "" {
		return nil, invalid("action", "want an action, or a registered tool, found neither")
	}
	if a.Decision != nil {
		q.Decision = *a.Decision
	}
	ask := func() (answer *api.Step, err error) {
		err = h.with(ctx, by, key, func(run *runtime.Run) error {
			g, err := run.Ask(ctx, q)
			answer, err = h.stepOf(ctx, run, step, g, nil, err)
			return err
		})
		return answer, err
	}
	return h.untilAnswered(ctx, wait, ask)
}

// Run has a registered tool do a step.
func (h *Host) Run(ctx context.Context, by, key, step string, a api.RunStep, progress func(update []byte)) (*api.Step, error) {
	if err := CheckName("step", step); err != nil {
		return nil, err
	}
	input, err := needed("input", a.Input)
	if err != nil {
		return nil, err
	}
	if err := identifiers(map[string]string{"tool": a.Tool, "resource": a.Resource}); err != nil {
		return nil, err
	}
	if !h.cfg.Runtime.Has(a.Tool) {
		return nil, fmt.Errorf("tool %q: %w", clip(a.Tool), ErrNoTool)
	}
	action := runtime.Action{Step: step, Tool: a.Tool, Resource: a.Resource, Input: input, Progress: progress}
	if a.Decision != nil {
		action.Decision = *a.Decision
	}
	// What was begun is gone through with, whoever hangs up.
	ctx, cancel := h.detached(ctx)
	defer cancel()
	var answer *api.Step
	err = h.with(ctx, by, key, func(run *runtime.Run) error {
		res, err := run.Do(ctx, action)
		answer, err = h.stepOf(ctx, run, step, nil, res, err)
		return err
	})
	return answer, err
}

// Report records what came of an attempt.
func (h *Host) Report(ctx context.Context, by, key, step string, r api.ReportStep) (*api.Outcome, error) {
	if err := CheckName("step", step); err != nil {
		return nil, err
	}
	rep := runtime.Report{
		Step: step, Attempt: r.Attempt, Status: r.Status, Class: r.Class, Error: r.Error, Refs: r.Refs, Cost: r.Cost, TookMS: r.TookMS, Source: r.Source,
	}
	var err error
	switch {
	case len(r.Output) > 0 && (len(r.OutputBase64) > 0 || r.Media != ""):
		return nil, invalid("output", "want output, or output_base64 with media, found both")
	case len(r.OutputBase64) > 0 && r.Media == "":
		return nil, invalid("media", "want the media type of output_base64, found none")
	case len(r.OutputBase64) > 0:
		rep.Output, rep.Media = r.OutputBase64, r.Media
	default:
		if rep.Output, err = value("output", r.Output); err != nil {
			return nil, err
		}
	}
	var answer *api.Outcome
	err = h.with(ctx, by, key, func(run *runtime.Run) error {
		stands, err := run.Report(ctx, rep)
		if err != nil {
			return err
		}
		answer = &api.Outcome{
			Run: run.ID(), Step: step, Attempt: stands.Attempt, Authorization: stands.Authorization, Execution: stands.Execution,
			Settlement: present(stands.Settlement), Status: stands.Status, Class: stands.Class, Source: stands.Source,
			Escalation: present(stands.Escalation),
		}
		return nil
	})
	return answer, err
}

// maxList is how many of anything a record names at most.
const maxList = 100

// Decide records what a model answered.
func (h *Host) Decide(ctx context.Context, by, key, name string, d api.Decide) (*api.Decision, error) {
	if err := CheckName("decision", name); err != nil {
		return nil, err
	}
	choice, err := needed("choice", d.Choice)
	if err != nil {
		return nil, err
	}
	question, err := value("question", d.Question)
	if err != nil {
		return nil, err
	}
	if question == nil {
		question = []byte("null")
	}
	seen := make(map[evidence.ID]bool)
	for _, id := range d.Context {
		seen[id] = true
	}
	if len(seen) != len(d.Context) || len(seen) > maxList {
		return nil, invalid("context", "want at most %d records, each once, found %d", maxList, len(d.Context))
	}
	var answer *api.Decision
	err = h.with(ctx, by, key, func(run *runtime.Run) error {
		got, err := run.Decided(ctx, name, d.Model, question, runtime.Thought{Choice: choice, Rationale: d.Rationale, Cost: d.Cost}, d.Context...)
		if err != nil {
			return err
		}
		answer = &api.Decision{Run: run.ID(), Name: name, ID: got.ID, Choice: got.Choice}
		return nil
	})
	return answer, err
}

// ErrNoDecision: nothing was decided under the name.
var ErrNoDecision = errors.New("nothing was decided under this name")

// Decision reads what was decided under a name, or fails with ErrNoDecision.
func (h *Host) Decision(ctx context.Context, by, key, name string) (*api.Decision, error) {
	if err := CheckName("decision", name); err != nil {
		return nil, err
	}
	var answer *api.Decision
	err := h.with(ctx, by, key, func(run *runtime.Run) error {
		got, err := run.Decision(ctx, name)
		if err != nil {
			return err
		}
		if got == nil {
			return fmt.Errorf("decision %q: %w", name, ErrNoDecision)
		}
		answer = &api.Decision{Run: run.ID(), Name: name, ID: got.ID, Choice: got.Choice}
		return nil
	})
	return answer, err
}

// Lay records what was laid before a model.
func (h *Host) Lay(ctx context.Context, by, key string, c api.LayContext) (*api.Laid, error) {
	if len(c.Sources) == 0 || len(c.Sources) > maxList {
		return nil, invalid("sources", "want 1 to %d, found %d", maxList, len(c.Sources))
	}
	var sources []runtime.Source
	for i, s := range c.Sources {
		one := runtime.Source{Name: s.Name, Media: s.Media, Data: []byte(s.Text)}
		if s.Data != nil {
			if s.Text != "" {
				return nil, invalid("sources", "want text or data of source %d, found both", i)
			}
			one.Data = s.Data
		}
		if s.Evidence != nil {
			one.Evidence = *s.Evidence
		}
		sources = append(sources, one)
	}
	var answer *api.Laid
	err := h.with(ctx, by, key, func(run *runtime.Run) error {
		id, err := run.Lay(ctx, sources...)
		answer = &api.Laid{Run: run.ID(), ID: id}
		return err
	})
	return answer, err
}

// Save saves a checkpoint.
func (h *Host) Save(ctx context.Context, by, key, name string, state []byte) (*api.Checkpoint, error) {
	if err := CheckName("checkpoint", name); err != nil {
		return nil, err
	}
	state, err := needed("state", state)
	if err != nil {
		return nil, err
	}
	var answer *api.Checkpoint
	err = h.with(ctx, by, key, func(run *runtime.Run) error {
		saved, err := run.Save(ctx, name, state)
		if err != nil {
			return err
		}
		answer = &api.Checkpoint{Run: run.ID(), Name: saved.Name, Sequence: saved.Sequence, ID: saved.ID}
		return nil
	})
	return answer, err
}

// Last reads the last checkpoint, or fails with runtime.ErrNoCheckpoint.
func (h *Host) Last(ctx context.Context, by, key string) (*api.Checkpoint, error) {
	var answer *api.Checkpoint
	err := h.with(ctx, by, key, func(run *runtime.Run) error {
		var last *checkpoint.Saved
		run.View(func(s *checkpoint.State) { last = s.Last() })
		if last == nil {
			return runtime.ErrNoCheckpoint
		}
		p, err := h.payload(ctx, last.State.Commit)
		if err != nil {
			return fmt.Errorf("checkpoint %q: %w", last.Name, err)
		}
		answer = &api.Checkpoint{Run: run.ID(), Name: last.Name, Sequence: last.Sequence, ID: last.ID, State: p.Data}
		return nil
	})
	return answer, err
}

func (h *Host) payload(ctx context.Context, commit evidence.Digest) (*evidence.Payload, error) {
	return runtime.Embedded{Ledger: h.cfg.Ledger}.ReadPayload(ctx, commit)
}

// Claim records a claim, and the verdict on it.
func (h *Host) Claim(ctx context.Context, by, key string, c api.MakeClaim) (*api.Claim, error) {
	if len(c.Steps) > maxList || len(c.Given) > maxList {
		return nil, invalid("steps", "want at most %d, and as many of given, found %d and %d", maxList, len(c.Steps), len(c.Given))
	}
	if c.Text == "" {
		return nil, invalid("text", "want what is said to be done, found nothing")
	}
	given := make([]runtime.Given, 0, len(c.Given))
	for _, g := range c.Given {
		if g.Action == "" {
			return nil, invalid("given", "want an action in each, found none")
		}
		if err := identifiers(map[string]string{"given.action": g.Action, "given.resource": g.Resource}); err != nil {
			return nil, err
		}
		given = append(given, runtime.Given{Action: g.Action, Resource: g.Resource})
	}
	var answer *api.Claim
	err := h.with(ctx, by, key, func(run *runtime.Run) error {
		claim, err := run.ClaimSteps(ctx, c.Text, given, c.Steps...)
		if err != nil {
			return err
		}
		answer = &api.Claim{Run: run.ID(), ID: claim.ID, Verdict: *verdictOf(claim.ID, &claim.Verdict)}
		return nil
	})
	return answer, err
}

// CloseRun ends a run, and puts it away.
func (h *Host) CloseRun(ctx context.Context, by, key string, c api.CloseRun) (*api.RunState, error) {
	end := cmp.Or(c.End, evidence.Completed)
	switch end {
	case evidence.Completed:
		if c.Reason != "" {
			return nil, invalid("reason", "want none where the run is completed, found %q", clip(c.Reason))
		}
	case evidence.Failed, evidence.Stopped:
		if err := identifiers(map[string]string{"reason": c.Reason}); err != nil {
			return nil, err
		}
	default:
		return nil, invalid("end", "want completed, failed or stopped, found %q", clip(string(end)))
	}
	var state *api.RunState
	err := h.with(ctx, by, key, func(run *runtime.Run) error {
		var err error
		if end == evidence.Completed {
			err = run.Complete(ctx)
		} else {
			err = run.End(ctx, end, c.Reason)
		}
		if err == nil {
			state = stateOf(run)
		}
		return err
	})
	return state, err
}

func present(id evidence.ID) *evidence.ID {
	if id.IsZero() {
		return nil
	}
	return &id
}

// asStep reports whether an error is what a step came to, and not a reason why the
// request cannot be served.
func asStep(err error) bool {
	var denied *runtime.Denied
	var waiting *runtime.Waiting
	var failed *runtime.Failed
	var doubt *runtime.InDoubt
	return errors.As(err, &denied) || errors.As(err, &waiting) || errors.As(err, &failed) || errors.As(err, &doubt)
}
