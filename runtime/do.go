package runtime

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"ledgerd/checkpoint"
	"ledgerd/evidence"
	"ledgerd/ledger"
)

// Action is an action that a program wants done as a step of its run.
type Action struct {
	Step     string // its name, unique in the run
	Tool     string // a registered tool's name
	Input    []byte // JSON: what is checked, and what the tool gets
	Resource string // what it is done to, where the tool's Spec does not say where that stands
	// Decision is the decision that it rests on; zero: none.
	Decision evidence.ID
	// Repair is asked for another payload after invalid_tool_payload: what it
	// returns is authorized anew. nil: nobody is.
	Repair func(ctx context.Context, input []byte, failed *Failed) ([]byte, error)
	// Progress is handed what a long call has to tell meanwhile; nil: nobody is.
	Progress func(update []byte)
}

// Result is what a step came to.
type Result struct {
	Step          string
	Action        string
	Resource      string
	Authorization evidence.ID
	Execution     evidence.ID // the attempt that succeeded; zero: a settlement found that it happened
	Source        evidence.Source
	Media         string
	Output        []byte
	Replayed      bool // it was recorded before; nothing was called
}

// Do does a step: permission check, durable authorization, execution of the
// registered tool with exactly the bytes that were checked, durable execution
// record, result.
//
// The same step with the same input returns its recorded result, and calls
// nothing; with another input it is a *RunError with reason step. A step that did
// not come to a result returns *Denied, *Waiting, *Failed or *InDoubt, each with
// its evidence. The same step again goes on from there: a human may have
// answered, the tool may have finished.
func (r *Run) Do(ctx context.Context, a Action) (*Result, error) {
	reg := r.rt.tools[a.Tool]
	if reg == nil {
		return nil, fmt.Errorf("step %q: no tool %q is registered", a.Step, a.Tool)
	}
	if a.Resource == "" {
		a.Resource = reg.resourceOf(a.Input)
	}
	defer r.steps.lock(a.Step)()
	ctx, span := r.stepSpan(ctx, &a, reg)
	s := &stepper{Run: r, action: &a, reg: reg, input: a.Input}
	res, err := s.run(ctx)
	span.stepped(s, res, false, err)
	return res, err
}

// stepper takes one step from what is recorded of it to what it comes to. The
// step's lock is held.
type stepper struct {
	*Run
	action *Action
	reg    *registered
	input  []byte            // of the next authorization: the action's, or a repaired one
	tries  int               // of repair, by this driver
	err    error             // of the last attempt, where this driver made it
	output *evidence.Payload // of the last attempt, where this driver made it
	asked  bool              // what stands beside the line was read since this step began
	ext    evidence.Object   // of its authorizations
	// observe: who asks is not held to what policies say.
	observe bool
}

func (s *stepper) plan() checkpoint.Plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	// As the next record would have it.
	return s.state.Plan(s.action.Step, max(s.last, evidence.TimeOf(s.rt.cfg.Clock.Now())))
}

// run does what the records say comes next, until that is the end. Each round
// writes a record, or returns.
func (s *stepper) run(ctx context.Context) (*Result, error) {
	replayed := true
	p := s.plan()
	if p.Next != checkpoint.Begin {
		if err := s.same(ctx, &p); err != nil {
			return nil, err
		}
	}
	for ; ; p = s.plan() {
		var err error
		switch p.Next {
		case checkpoint.Return:
			return s.result(ctx, &p, replayed)
		case checkpoint.Attempt:
			err = s.again(ctx, &p)
		case checkpoint.Settle:
			if s.fresh(p.Action.Authorization) {
				err = s.attempt(ctx, &p)
			} else if err = s.overBy(); err == nil {
				err = s.settle(ctx, &p)
			}
		case checkpoint.Await:
			err = s.await(ctx, &p)
		default:
			var wrote bool
			if wrote, err = s.permission(ctx, &p); err == nil && !wrote {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		replayed = false
	}
}

// permission does what comes next of a step that is not permitted yet: to ask, to
// hear that it is refused, to wait for a human, to use an approval. It reports
// whether that was recorded.
func (s *stepper) permission(ctx context.Context, p *checkpoint.Plan) (wrote bool, err error) {
	switch p.Next {
	case checkpoint.Begin:
		return true, s.authorize(ctx, p)
	case checkpoint.Refused:
		return true, s.refused(ctx, p)
	case checkpoint.Use:
		return true, s.useApproval(ctx, p)
	}
	if s.asked {
		return false, s.waiting(p)
	}
	s.asked = true
	s.mu.Lock()
	defer s.mu.Unlock()
	return false, s.refresh(ctx)
}

// same compares the action with what the step was first authorized for.
func (s *stepper) same(ctx context.Context, p *checkpoint.Plan) error {
	b := p.First.Record
	if b.Action != s.reg.spec.Action || b.Tool != s.reg.spec.Name || b.Resource != s.action.Resource {
		return s.fail(RunStepUsed, "step %q is recorded as %s by %s on %q, and not as %s by %s on %q: give another action another name",
			s.action.Step, b.Action, b.Tool, b.Resource, s.reg.spec.Action, s.reg.spec.Name, s.action.Resource).by(p.First.Authorization)
	}
	input, err := s.rt.cfg.Ledger.ReadPayload(ctx, b.Input.Commit)
	if err != nil {
		return s.gone(ctx, p, "its input", err)
	}
	if !bytes.Equal(input.Data, s.action.Input) {
		return s.fail(RunStepUsed, "step %q is recorded with another input: give another action another name", s.action.Step).by(p.First.Authorization)
	}
	// A payload that was repaired is what goes on.
	if p.Action.Record.Input.Commit != b.Input.Commit {
		if input, err = s.rt.cfg.Ledger.ReadPayload(ctx, p.Action.Record.Input.Commit); err != nil {
			return s.gone(ctx, p, "its repaired input", err)
		}
		s.input = input.Data
	}
	return nil
}

// gone: what is recorded cannot be read any more, so nobody can tell what the
// program is to go on with. A human is asked.
func (s *stepper) gone(ctx context.Context, p *checkpoint.Plan, what string, err error) error {
	if !errors.Is(err, ledger.ErrErased) && !errors.Is(err, ledger.ErrNoPayload) {
		return fmt.Errorf("step %q: read %s: %w", s.action.Step, what, err)
	}
	id := p.Action.Authorization
	if !p.Action.Last.IsZero() {
		id = p.Action.Last
	}
	escalation, escErr := s.escalate(ctx, "result_erased", id)
	if escErr != nil {
		return escErr
	}
	return &InDoubt{s.action.Step, p.Action.Record.Action, p.Action.Authorization, id, escalation, fmt.Errorf("%s is not in the ledger any more: %w", what, err)}
}

// authorize asks for permission, and records the outcome.
func (s *stepper) authorize(ctx context.Context, p *checkpoint.Plan) (err error) {
	var body *evidence.Authorization
	ctx, span := s.partSpan(ctx, "permission")
	defer func() { span.permitted(body, err) }()
	body, err = s.draftAuthorization(ctx, p)
	if err != nil {
		return err
	}
	input, err := s.rt.seal(mediaJSON, s.input)
	if err != nil {
		return err
	}
	body.Input = input.Commitment()
	payloads := []evidence.Payload{*input}
	if invalid := s.reg.validate(s.input); invalid != nil {
		// Nobody is asked for permission to do what cannot be done.
		body.Effect, body.Mode = evidence.Deny, evidence.Enforce
		return s.record(ctx, draft{body: body, payloads: payloads}, []string{invalid.Error()})
	}
	body.Params = members(s.input, s.reg.spec.Params)
	permission := s.permit(ctx, false)
	return s.permitted(ctx, draft{body: body, payloads: payloads}, permission)
}

// draftAuthorization has all of an authorization but the input and the outcome.
func (s *stepper) draftAuthorization(ctx context.Context, p *checkpoint.Plan) (*evidence.Authorization, error) {
	schema, err := s.rt.document(ctx, s.reg.doc)
	if err != nil {
		return nil, err
	}
	key := s.action.Step
	if p.Count > 0 {
		key += "#" + strconv.Itoa(p.Count+1)
	}
	return &evidence.Authorization{
		Step: s.action.Step, Action: s.reg.spec.Action, Resource: s.action.Resource, Tool: s.reg.spec.Name, ToolSchema: schema,
		IdempotencyKey: key, Decision: s.action.Decision, Estimate: s.reg.spec.Estimate, Source: evidence.SourceRuntime,
	}, nil
}

// permit asks the permitter. What it cannot decide, it denies.
func (s *stepper) permit(ctx context.Context, approved bool) Permission {
	if s.outOfScope(s.reg.spec.Action, s.action.Resource) != nil {
		return Permission{Effect: evidence.Deny, Mode: evidence.Enforce, Policies: []string{ScopePolicy}}
	}
	b := s.body
	p, err := s.rt.cfg.Permit.Permit(ctx, &PermissionRequest{
		Principal: s.agent, Action: s.reg.spec.Action, Resource: s.action.Resource, Tool: s.reg.spec.Name, Step: s.action.Step, Input: s.input,
		Run:   RunFacts{ID: s.id, Key: s.key, Task: b.Task, Subject: b.Subject, Principal: b.Principal, Budget: b.Budget},
		Spent: s.budget.total(), Estimate: s.reg.spec.Estimate, Approved: approved,
	})
	if err != nil {
		p.Errors = append(p.Errors, err.Error())
	}
	switch {
	case s.observe && !approved: // what a human was asked was enforced, and stays so
		p.Mode = evidence.Observe
	case p.Mode == "":
		p.Mode = evidence.Enforce
	}
	switch p.Effect {
	case evidence.Allow, evidence.Deny:
		p.Team = ""
	case evidence.Escalate:
		if p.Team == "" {
			p.Team = s.rt.cfg.Team
		}
	default:
		p.Errors = append(p.Errors, fmt.Sprintf("the permitter answered %q: expected allow, deny or escalate", p.Effect))
	}
	if len(p.Errors) > 0 {
		p.Effect, p.Team = evidence.Deny, ""
	}
	return p
}

// permitted records the outcome of a permission check.
func (s *stepper) permitted(ctx context.Context, d draft, p Permission) error {
	body := d.body.(*evidence.Authorization)
	set, err := s.rt.document(ctx, p.Set)
	if err != nil {
		return err
	}
	body.Effect, body.Mode, body.Policies, body.PolicySet, body.Team = p.Effect, p.Mode, p.Policies, set, p.Team
	return s.record(ctx, d, p.Errors)
}

// record writes an authorization.
func (s *stepper) record(ctx context.Context, d draft, errs []string) error {
	body := d.body.(*evidence.Authorization)
	if len(errs) > 0 {
		data, err := marshal(errs)
		if err != nil {
			return err
		}
		e, err := s.rt.seal(mediaJSON, data)
		if err != nil {
			return err
		}
		c := e.Commitment()
		body.Errors = &c
		d.payloads = append(d.payloads, *e)
	}
	d.actor, d.ext = s.agent, s.ext
	s.mu.Lock()
	placed, err := s.write(ctx, d)
	if err == nil {
		s.begun[placed.ID] = true
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if body.Effect == evidence.Escalate && body.Mode == evidence.Enforce {
		s.notify(placed.ID, body.Team, "approval", s.input)
	}
	return nil
}

// fresh reports whether this driver authorized it and has not called the tool
// yet: then it is not in doubt.
func (s *stepper) fresh(authorization evidence.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun[authorization]
}

// useApproval repeats the authorization that a human approved. The permission is
// checked again, for policies may have changed meanwhile. An approval of a tool
// that is another one by now is worth nothing: it is asked for again.
func (s *stepper) useApproval(ctx context.Context, p *checkpoint.Plan) (err error) {
	asked := p.Action.Record
	if same, err := s.sameTool(ctx, asked); err != nil {
		return err
	} else if !same {
		return s.authorize(ctx, p)
	}
	ctx, span := s.partSpan(ctx, "permission")
	body := *asked
	defer func() { span.permitted(&body, err) }()
	body.Escalated, body.Approval, body.Decision = p.Action.Authorization, p.Approval, evidence.ID{}
	body.Team, body.Policies, body.PolicySet, body.Errors = "", nil, nil, nil
	permission := s.permit(ctx, true)
	if permission.Effect == evidence.Escalate {
		permission.Effect, permission.Team = evidence.Allow, ""
	}
	err = s.permitted(ctx, draft{body: &body, until: p.Answered.Until}, permission)
	if errors.Is(err, errExpired) {
		return nil // while the permission was checked: a human has to be asked again
	}
	return err
}

// sameTool reports whether the registered tool is described as the one that an
// authorization was given for. Where nobody can tell any more, it is another one.
func (s *stepper) sameTool(ctx context.Context, b *evidence.Authorization) (bool, error) {
	if b.ToolSchema == nil {
		return false, nil
	}
	doc, err := s.rt.cfg.Ledger.ReadPayload(ctx, b.ToolSchema.Commit)
	switch {
	case errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNoPayload):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("step %q: read the tool's description: %w", s.action.Step, err)
	}
	return doc.Media == s.reg.doc.Media && bytes.Equal(doc.Data, s.reg.doc.Data), nil
}

// refused is the end of a step, but for a payload that can be repaired.
func (s *stepper) refused(ctx context.Context, p *checkpoint.Plan) error {
	b := p.Action.Record
	denied := &Denied{Step: s.action.Step, Action: b.Action, Authorization: p.Action.Authorization, Policies: b.Policies, Refusal: p.Approval}
	if b.Errors == nil {
		return s.denied(ctx, denied)
	}
	errs, err := s.rt.cfg.Ledger.ReadPayload(ctx, b.Errors.Commit)
	if err != nil {
		return s.gone(ctx, p, "why it was denied", err)
	}
	if err := json.Unmarshal(errs.Data, &denied.Errors); err != nil {
		return fmt.Errorf("step %q: the recorded errors: %w", s.action.Step, err)
	}
	invalid := s.reg.validate(s.input)
	if invalid == nil {
		return s.denied(ctx, denied)
	}
	failed := &Failed{Step: s.action.Step, Action: b.Action, Class: evidence.InvalidToolPayload, Authorization: p.Action.Authorization, Attempts: p.Attempts, Err: invalid}
	return s.repair(ctx, p, failed)
}

// denied tells a human that policies denied an action, if the rules say so. What
// a human refused needs no telling.
func (s *stepper) denied(ctx context.Context, d *Denied) error {
	if !d.Refusal.IsZero() || s.rt.rule(s.reg.spec.Name, evidence.PermissionDenied).Answer != AnswerEscalate {
		return d
	}
	var err error
	if d.Escalation, err = s.escalate(ctx, string(evidence.PermissionDenied), d.Authorization); err != nil {
		return err
	}
	return d
}

// repair asks for another payload and authorizes it, or gives up with what
// failed.
func (s *stepper) repair(ctx context.Context, p *checkpoint.Plan, failed *Failed) error {
	rule := s.rt.rule(s.reg.spec.Name, failed.Class)
	if s.action.Repair == nil || rule.Answer != AnswerRepair || s.tries >= rule.Attempts {
		return failed
	}
	s.tries++
	input, err := s.action.Repair(ctx, s.input, failed)
	if err != nil {
		failed.Err = errors.Join(failed.Err, fmt.Errorf("repair: %w", err))
		return failed
	}
	s.input = input
	s.action.Resource = cmpOr(s.reg.resourceOf(input), s.action.Resource)
	return s.authorize(ctx, p)
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (s *stepper) waiting(p *checkpoint.Plan) *Waiting {
	b := p.Action.Record
	return &Waiting{Step: s.action.Step, Action: b.Action, Authorization: p.Action.Authorization, Team: b.Team, Policies: b.Policies}
}

// result returns the recorded outcome.
func (s *stepper) result(ctx context.Context, p *checkpoint.Plan, replayed bool) (*Result, error) {
	a := &p.Action
	res := &Result{
		Step: s.action.Step, Action: a.Record.Action, Resource: a.Record.Resource,
		Authorization: a.Authorization, Execution: a.Last, Source: a.Source, Replayed: replayed,
	}
	if a.Output == nil {
		return res, nil
	}
	if s.output != nil && s.output.Opens(*a.Output) {
		res.Media, res.Output = s.output.Media, s.output.Data // it was stored just now
		return res, nil
	}
	out, err := s.rt.cfg.Ledger.ReadPayload(ctx, a.Output.Commit)
	if err != nil {
		return nil, s.gone(ctx, p, "its result", err)
	}
	res.Media, res.Output = out.Media, out.Data
	return res, nil
}

// escalate records that a human is asked about a record, once.
func (s *stepper) escalate(ctx context.Context, reason string, about evidence.ID) (evidence.ID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := s.state.Escalation(about); ok {
		return id, nil
	}
	ctx, span := s.partSpan(ctx, "escalate")
	id, told, err := s.escalated(ctx, reason, about)
	span.done(err)
	if told {
		s.notify(about, s.rt.cfg.Team, reason, s.input)
	}
	return id, err
}

// escalated records that a human is asked about a record, unless that is recorded,
// or the run is closed. r.mu is held.
func (r *Run) escalated(ctx context.Context, reason string, about evidence.ID) (id evidence.ID, told bool, err error) {
	if id, ok := r.state.Escalation(about); ok || r.state.Run().Closed {
		return id, false, nil
	}
	placed, err := r.write(ctx, draft{body: &evidence.Escalation{Reason: reason, To: r.rt.cfg.Team, Concerns: []evidence.ID{about}}})
	return placed.ID, err == nil, err
}

func (s *stepper) notify(about evidence.ID, team, reason string, input []byte) {
	if s.rt.cfg.Notify != nil {
		s.rt.cfg.Notify(Notice{
			Run: s.id, Key: s.key, Step: s.action.Step, Authorization: about, Team: team, Reason: reason,
			Action: s.reg.spec.Action, Resource: s.action.Resource, Input: bytes.Clone(input),
		})
	}
}

// settled writes what was found out about a doubt.
func (s *stepper) settled(ctx context.Context, p *checkpoint.Plan, by evidence.Settler, f *Finding, answer evidence.ID) error {
	body := &evidence.Settlement{Settles: p.Doubt, By: by, Answer: answer, Finding: f.Status}
	var payloads []evidence.Payload
	if f.Output != nil {
		out, err := s.rt.seal(f.Output.Media, f.Output.Data)
		if err != nil {
			return err
		}
		c := out.Commitment()
		body.Output, body.Refs = &c, members(f.Output.Data, s.reg.spec.Refs)
		payloads = append(payloads, *out)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.write(ctx, draft{body: body, actor: s.agent, payloads: payloads})
	return err
}
