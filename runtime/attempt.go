package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"ledgerd/audit"
	"ledgerd/checkpoint"
	"ledgerd/evidence"
)

// defaultTimeout is that of a tool whose Spec names none.
const defaultTimeout = 30 * time.Second

// leaseMargin is how much longer than a call its lease is: what recording the
// outcome may take.
const leaseMargin = 10 * time.Second

// call is what a tool gets of an authorization. Its key is the run's and the
// authorization's: no other has it, in any ledger.
func (s *stepper) call(p *checkpoint.Plan) *Call {
	return &Call{
		Key: string(s.id) + "/" + p.Action.Record.IdempotencyKey, Input: s.input,
		Attempt: p.Action.Attempts + 1, Progress: s.action.Progress,
	}
}

// attempt calls the tool once, under an authorization that is durable, and
// records what came of it.
//
// If we crash before the record is durable, the authorization stands without an
// outcome, and who resumes the run finds it in doubt.
func (s *stepper) attempt(ctx context.Context, p *checkpoint.Plan) (err error) {
	auth := p.Action.Authorization
	if err := s.speaks(ctx); err != nil {
		return err
	}
	// Whatever happens from here on, the call is not still to come.
	s.mu.Lock()
	delete(s.begun, auth)
	s.mu.Unlock()
	call := s.call(p)
	ctx, span := s.toolSpan(ctx, call)
	body := &evidence.Execution{
		Authorization: auth, Action: p.Action.Record.Action, Resource: p.Action.Record.Resource, Tool: p.Action.Record.Tool,
		Input: p.Action.Record.Input, Attempt: int64(p.Action.Attempts) + 1, Source: evidence.SourceRuntime,
	}
	defer func() { span.executed(body, s.err, err) }()
	estimate := attemptEstimate(s.reg.spec.Estimate, p.Action.Attempts == 0)
	if err := s.budget.reserve(estimate, s.rt.cfg.Clock.Now()); err != nil {
		body.Status = evidence.StatusNotRun
		s.err = &Failure{Class: evidence.BudgetExceeded, Err: err, NotRun: true}
		return s.executed(ctx, body, nil, s.err.(*Failure))
	}
	timeout := s.reg.spec.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	// Nobody may take the run over while the tool is at work.
	if err := s.leaseLine(ctx, max(s.rt.cfg.Lease, timeout+leaseMargin)); err != nil {
		s.budget.book(estimate, nil)
		body.Status = evidence.StatusNotRun
		return errors.Join(err, s.executed(context.WithoutCancel(ctx), body, nil, &Failure{Class: evidence.ToolUnavailable, Err: err, NotRun: true}))
	}
	began := s.rt.cfg.Clock.Now()
	out, err := s.invoke(ctx, timeout, call)
	took := max(0, s.rt.cfg.Clock.Now().Sub(began).Milliseconds())
	body.TookMS = &took
	var failure *Failure
	if err != nil {
		failure = s.classify(err)
		body.Cost = failure.Cost
	} else {
		body.Cost = out.Cost
	}
	s.err = nil
	if failure != nil {
		s.err = failure
	}
	// The outcome is recorded even where the caller has given up.
	err = s.executed(context.WithoutCancel(ctx), body, out, failure)
	s.budget.book(estimate, audit.AttemptCost(body, p.Action.Attempts == 0))
	return err
}

// speaks refuses to act for an agent, or with a key, that was revoked since the
// authorization: before a retry that may be long ago. What is revoked after this
// look is called, and its execution refused: a doubt, and never a success.
func (s *stepper) speaks(ctx context.Context) error {
	registry, err := s.rt.cfg.Ledger.Actors(ctx)
	if err != nil {
		return fmt.Errorf("step %q: read the registry: %w", s.action.Step, err)
	}
	if err := registry.Speaks(s.rt.cfg.Key.Public().Thumbprint(), s.agent); err != nil {
		return fmt.Errorf("step %q: %s is not called: %w", s.action.Step, s.reg.spec.Name, err)
	}
	return nil
}

// invoke calls the tool under its timeout. A tool that panics has failed, and
// nobody knows how far it came.
func (s *stepper) invoke(ctx context.Context, timeout time.Duration, c *Call) (out *Output, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, &Failure{Class: evidence.OutcomeUnknown, Err: fmt.Errorf("the tool panicked: %v", p)}
		}
	}()
	out, err = s.reg.tool.Call(ctx, c)
	if err == nil && out == nil {
		out = &Output{}
	}
	return out, err
}

// classify gives a failed attempt its class. A timeout of a tool that is not
// idempotent says nothing about whether it happened.
func (s *stepper) classify(err error) *Failure {
	f := Classify(err)
	unsure := f.Class == evidence.ToolTimeout && !f.NotRun && !s.reg.spec.Idempotent
	if unsure {
		g := *f
		g.Class = evidence.OutcomeUnknown
		f = &g
	}
	return f
}

// executed writes the outcome of an attempt, and what is done about it.
func (s *stepper) executed(ctx context.Context, body *evidence.Execution, out *Output, failure *Failure) error {
	var payloads []evidence.Payload
	seal := s.rt.sealInto(&payloads)
	var err error
	switch {
	case failure != nil:
		if body.Status == "" {
			body.Status, body.Class = evidence.StatusFailure, failure.Class
			if failure.Class == evidence.OutcomeUnknown {
				body.Status = evidence.StatusUnknown
			}
		}
		if body.Error, err = seal(mediaText, []byte(failure.Error())); err != nil {
			return err
		}
	default:
		body.Status = evidence.StatusSuccess
		if out.Accepted {
			body.Status = evidence.StatusAccepted
		}
		if len(out.Data) > 0 {
			if body.Output, err = seal(out.Media, out.Data); err != nil {
				return err
			}
			s.output = &payloads[0]
			if isJSON(out.Media) {
				body.Refs = members(out.Data, s.reg.spec.Refs)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err = s.write(ctx, draft{body: body, actor: s.agent, payloads: payloads, ext: s.answerExt(body, failure)})
	return err
}

// again decides about another attempt, after one that failed or did not run.
func (s *stepper) again(ctx context.Context, p *checkpoint.Plan) error {
	class := s.failedClass(p)
	rule := s.rt.rule(s.reg.spec.Name, class)
	failed := &Failed{
		Step: s.action.Step, Action: p.Action.Record.Action, Class: class, Authorization: p.Action.Authorization,
		Execution: p.Action.Last, Attempts: p.Attempts, Err: s.err,
	}
	switch {
	case class == "" || rule.Answer == AnswerRetry && p.Attempts < rule.Attempts:
	case rule.Answer == AnswerRepair:
		return s.repair(ctx, p, failed)
	case rule.Answer == AnswerEscalate:
		var err error
		if failed.Escalation, err = s.escalate(ctx, string(class), failed.Execution); err != nil {
			return err
		}
		return failed
	default:
		return failed
	}
	if class == "" {
		// It did not run, and where that was for the budget, no record more is needed
		// to say so again.
		estimate := attemptEstimate(s.reg.spec.Estimate, false)
		if err := s.budget.reserve(estimate, s.rt.cfg.Clock.Now()); err != nil {
			failed.Class, failed.Err = evidence.BudgetExceeded, err
			return failed
		}
		s.budget.book(estimate, nil)
	}
	if class != "" {
		if err := s.rt.cfg.Clock.Sleep(ctx, s.delay(rule, p.Attempts)); err != nil {
			return err
		}
	}
	if s.reg.spec.Idempotent {
		same, err := s.sameTool(ctx, p.Action.Record)
		switch {
		case err != nil:
			return err
		case same:
			return s.attempt(ctx, p)
		case class == evidence.ToolTimeout:
			// It may have happened, and the key that would keep it from happening
			// twice was given to another tool.
			failed.Err = errors.Join(s.err, errToolChanged)
			if failed.Escalation, err = s.escalate(ctx, string(class), failed.Execution); err != nil {
				return err
			}
			return failed
		}
	}
	// Whether a second attempt happened could not be told from the first one's
	// failure if we crashed in the middle of it. With an authorization of its own
	// it can.
	return s.authorize(ctx, p)
}

// failedClass is the class of the last failure: "" where the last attempt did not
// run, as far as anybody knows without a failure of its own.
func (s *stepper) failedClass(p *checkpoint.Plan) evidence.Class {
	if p.Failure != nil {
		return p.Failure.Class
	}
	if f, ok := errors.AsType[*Failure](s.err); ok {
		return f.Class
	}
	if p.Action.Status == evidence.StatusFailure {
		return evidence.ToolFailed // as a probe, the tool or a human found
	}
	return ""
}

// delay is how long to wait before the next attempt: twice as long each time,
// drawn between half of it and all of it, so that many who failed together do
// not come back together; and not before the tool wants to be asked again.
func (s *stepper) delay(rule Rule, attempts int) time.Duration {
	d := rule.Delay
	for range attempts - 1 {
		if d *= 2; d >= rule.MaxDelay {
			break
		}
	}
	d = min(d, rule.MaxDelay)
	var b [8]byte
	if _, err := io.ReadFull(s.rt.cfg.Random, b[:]); err == nil && d > 1 {
		d = d/2 + time.Duration(binary.BigEndian.Uint64(b[:])%uint64(d/2+1))
	}
	if f, ok := errors.AsType[*Failure](s.err); ok {
		d = max(d, f.RetryAfter)
	}
	return d
}

// errToolChanged: what was permitted, and maybe approved, is not what would run.
var errToolChanged = errors.New("the tool's description is not the one that was authorized: it is not called again under that authorization")

// settle finds out about a doubt: by the tool's probe, else by the same call
// under the same key where the tool is idempotent and no attempt is recorded,
// else a human is asked.
func (s *stepper) settle(ctx context.Context, p *checkpoint.Plan) (err error) {
	ctx, span := s.partSpan(ctx, "settle")
	defer func() { span.done(err) }()
	var cause error
	if prober, ok := s.reg.tool.(Prober); ok {
		f, err := s.probe(ctx, prober, p)
		if err == nil {
			return s.settled(ctx, p, evidence.ByProbe, f, evidence.ID{})
		}
		cause = fmt.Errorf("the probe does not know either: %w", err)
	} else if s.reg.spec.Idempotent && p.Action.Last.IsZero() {
		switch same, err := s.sameTool(ctx, p.Action.Record); {
		case err != nil:
			return err
		case same:
			return s.attempt(ctx, p)
		}
		cause = errToolChanged
	}
	escalation, err := s.escalate(ctx, string(evidence.OutcomeUnknown), p.Doubt)
	if err != nil {
		return err
	}
	return &InDoubt{s.action.Step, p.Action.Record.Action, p.Action.Authorization, p.Doubt, escalation, errors.Join(s.err, cause)}
}

func (s *stepper) probe(ctx context.Context, t Prober, p *checkpoint.Plan) (*Finding, error) {
	timeout := s.reg.spec.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	f, err := t.Probe(ctx, s.call(p))
	switch {
	case err != nil:
		return nil, err
	case f == nil:
		return nil, errors.New("it answered nothing")
	}
	switch f.Status {
	case evidence.StatusSuccess, evidence.StatusFailure, evidence.StatusNotRun:
		return f, nil
	}
	return nil, fmt.Errorf("it answered %q: expected success, failure or not_run", f.Status)
}

// await asks a tool that accepted a call whether it has finished.
func (s *stepper) await(ctx context.Context, p *checkpoint.Plan) (err error) {
	ctx, span := s.partSpan(ctx, "settle")
	defer func() { span.done(err) }()
	if prober, ok := s.reg.tool.(Prober); ok {
		if f, err := s.probe(ctx, prober, p); err == nil {
			return s.settled(ctx, p, evidence.ByProbe, f, evidence.ID{})
		}
	}
	return &Waiting{Step: s.action.Step, Action: p.Action.Record.Action, Authorization: p.Action.Authorization, Execution: p.Doubt}
}
