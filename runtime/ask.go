package runtime

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/audit"
	"ledgerd/checkpoint"
	"ledgerd/evidence"
)

// The governed step alone, for who executes by other means than a registered
// tool: a workflow engine, an agent in another language. [Run.Ask] is everything
// of [Run.Do] that comes before the call, [Run.Report] what comes after it.
//
// What happens in between happens elsewhere, and nobody here can look. So an
// authorization that was asked for, and of which nothing was reported, is in
// doubt, for everybody but the one who asked; a report ends that. What is
// reported counts as reported, which is less than what a runtime saw.

// Ask is an action that a program wants permission for, to do it by itself or, of
// a registered tool, to have it done by [Run.Do] later.
type Ask struct {
	Step     string // its name, unique in the run
	Tool     string // a registered tool's name, or one that the program runs itself
	Action   string // what it does, in the words of policies; a registered tool's own
	Resource string // what it is done to; "": nothing in particular
	Input    []byte // JSON: exactly what is done
	Decision evidence.ID
	// By names who asks: a process, or an attempt of a workflow engine's, and no
	// other of them. The same asker gets the same permission again: its question,
	// or the answer, was lost. For others, and for all where it is "", the step is
	// then in doubt.
	By string
	// What is known of a tool that is not registered. The authorization commits to
	// it; the schema is not applied here, for who runs the tool checks its input.
	Description string
	Schema      jsontext.Value
	Params      []string // members of the input that stand in the record in the clear
	Estimate    evidence.Amounts
	Idempotent  bool
	// Observe asks without being held to the answer: where a policy denies it or has a
	// human asked, that is recorded with mode observe, and granted. It is for a tool that
	// the program runs itself, of a program that could do so anyway; what a handoff's scope
	// or the budget does not permit is not granted. Of a step that is on record it changes
	// nothing.
	Observe bool
}

// Grant is permission to make one attempt, or what the step came to already.
type Grant struct {
	Step, Action, Tool, Resource string
	Authorization                evidence.ID
	Effect                       evidence.Effect // with mode observe it may be deny or escalate
	Mode                         evidence.Mode
	Policies                     []string
	Key                          string // the idempotency key: the same for every attempt at this authorization
	Attempt                      int    // which attempt it is, counted over the step: what Report wants
	// Result is what is recorded already: nothing is to be done. nil: do it.
	Result *Result
}

// attemptAt is one attempt at an authorization, from 1.
type attemptAt struct {
	authorization evidence.ID
	attempt       int
}

// askedExt is the member of an authorization's ext that tells that somebody else
// executes, and who asked.
const askedExt = "dev.ledgerd.asked"

// Ask asks for permission to do one step, and records the outcome. It returns a
// Grant, or the errors of [Run.Do], each with its evidence: *Denied, *Waiting,
// *Failed, *InDoubt, *RunError.
//
// The same step again goes on from what is recorded: it returns the recorded
// result, or, after a failure that the rules answer with retry, permission for
// another attempt. The attempt's estimate is set aside in the budget until it is
// reported, or the run is put away.
func (r *Run) Ask(ctx context.Context, a Ask) (*Grant, error) {
	s, err := r.asker(&a)
	if err != nil {
		return nil, err
	}
	defer r.steps.lock(a.Step)()
	ctx, span := r.stepSpan(ctx, s.action, s.reg)
	g, err := s.ask(ctx, a.By)
	var res *Result
	if g != nil {
		res = g.Result
	}
	span.stepped(s, res, g != nil, err)
	return g, err
}

func (r *Run) asker(a *Ask) (*stepper, error) {
	s := &stepper{
		Run: r, action: &Action{Step: a.Step, Tool: a.Tool, Input: a.Input, Resource: a.Resource, Decision: a.Decision}, input: a.Input, observe: a.Observe,
	}
	for what, id := range map[string]string{"step": a.Step, "tool": a.Tool, "resource": a.Resource, "asker": a.By, "action": a.Action} {
		if id == "" && (what == "resource" || what == "asker" || what == "action" && r.rt.tools[a.Tool] != nil) {
			continue
		}
		if err := evidence.CheckIdentifier(id); err != nil {
			return nil, &InvalidError{a.Step, what, err}
		}
	}
	if s.reg = r.rt.tools[a.Tool]; s.reg != nil {
		if a.Observe {
			return nil, &InvalidError{a.Step, "observe", fmt.Errorf("want it of a tool that the asker runs itself, and %s is run here", a.Tool)}
		}
		if a.Action != "" && a.Action != s.reg.spec.Action {
			return nil, r.fail(RunStepUsed, "step %q: %s is a registered tool that does %s, and not %s", a.Step, a.Tool, s.reg.spec.Action, a.Action)
		}
		if a.Resource == "" {
			s.action.Resource = s.reg.resourceOf(a.Input)
		}
		return s, nil
	}
	spec := &Spec{
		Name: a.Tool, Action: a.Action, Description: a.Description, Estimate: a.Estimate, Idempotent: a.Idempotent, Params: a.Params,
	}
	if err := evidence.CheckAmounts(a.Estimate); err != nil {
		return nil, &InvalidError{a.Step, "estimate", err}
	}
	if a.Schema != nil && !a.Schema.IsValid() {
		return nil, &InvalidError{a.Step, "schema", errors.New("it is no JSON value")}
	}
	doc, err := describe(spec, a.Schema)
	if err != nil {
		return nil, &InvalidError{a.Step, "tool", err}
	}
	s.reg = &registered{spec: spec, doc: doc}
	ext, err := json.Marshal(map[string]map[string]string{askedExt: {"by": a.By}})
	if err != nil {
		return nil, err
	}
	s.ext = ext
	return s, nil
}

// InvalidError says that a question or a report is not one.
type InvalidError struct {
	Step string
	What string // step, tool, action, …
	Err  error
}

func (e *InvalidError) Error() string {
	return "step " + strconv.Quote(e.Step) + ": its " + e.What + ": " + e.Err.Error()
}

func (e *InvalidError) Unwrap() error { return e.Err }

// askedBy reads who asked for an authorization; ok is false where it is not one
// that somebody else executes.
func askedBy(ext evidence.Object) (by string, ok bool) {
	var asked struct {
		Asked *struct {
			By string `json:"by"`
		} `json:"dev.ledgerd.asked"`
	}
	if len(ext) == 0 || json.Unmarshal(ext, &asked) != nil || asked.Asked == nil {
		return "", false
	}
	return asked.Asked.By, true
}

// ask does what the records say comes next, until that is the end or somebody
// else's to do.
func (s *stepper) ask(ctx context.Context, by string) (*Grant, error) {
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
			res, err := s.result(ctx, &p, true)
			if err != nil {
				return nil, err
			}
			g := s.grant(&p, p.Attempts)
			g.Result = res
			return g, nil
		case checkpoint.Attempt:
			var g *Grant
			if g, err = s.askAgain(ctx, &p); g != nil {
				return g, err
			}
		case checkpoint.Settle:
			g, err := s.doubted(ctx, &p, by)
			if g != nil || err != nil {
				return g, err
			}
		case checkpoint.Await:
			return nil, &Waiting{Step: s.action.Step, Action: p.Action.Record.Action, Authorization: p.Action.Authorization, Execution: p.Doubt}
		default:
			_, err = s.permission(ctx, &p)
		}
		if err != nil {
			return nil, err
		}
	}
}

// doubted answers about an authorization of which nobody knows what came: to who
// asked for it that it is permitted, to others that it is in doubt. nil and no
// error: the budget did not permit it, and that is recorded.
func (s *stepper) doubted(ctx context.Context, p *checkpoint.Plan, by string) (*Grant, error) {
	doubt := &InDoubt{Step: s.action.Step, Action: p.Action.Record.Action, Authorization: p.Action.Authorization, Doubt: p.Doubt}
	asker, elsewhere := askedBy(p.Ext)
	fresh := s.fresh(p.Action.Authorization)
	switch {
	case s.reg.tool != nil: // Do runs it, and settles its doubts
		if fresh {
			return s.grant(p, p.Attempts+1), nil
		}
		doubt.Err = errors.New("the tool is run here: run the step, and what came of it is found out or asked")
		return nil, doubt
	case !p.Action.Last.IsZero(): // it was reported that nobody knows
		var err error
		if doubt.Escalation, err = s.escalate(ctx, string(evidence.OutcomeUnknown), p.Doubt); err != nil {
			return nil, err
		}
		return nil, doubt
	case fresh || elsewhere && by != "" && asker == by:
		return s.permitAttempt(ctx, p)
	case s.reg.spec.Idempotent && elsewhere:
		same, err := s.sameTool(ctx, p.Action.Record)
		if err != nil {
			return nil, err
		}
		if same {
			return s.permitAttempt(ctx, p)
		}
		doubt.Err = errToolChanged
		return nil, doubt
	case !elsewhere:
		doubt.Err = errors.New("it was a registered tool's, which is not here any more")
		return nil, doubt
	}
	doubt.Err = errors.New("it was permitted to somebody who has not reported: report what happened, or that it did not run")
	return nil, doubt
}

// permitAttempt sets the attempt's estimate aside and grants it; nil where the
// budget does not permit it, which is recorded then.
func (s *stepper) permitAttempt(ctx context.Context, p *checkpoint.Plan) (*Grant, error) {
	if err := s.speaks(ctx); err != nil {
		return nil, err
	}
	if err := s.leaseLine(ctx, s.rt.cfg.Lease); err != nil {
		return nil, err
	}
	err := s.hold(p)
	s.mu.Lock()
	delete(s.begun, p.Action.Authorization)
	s.mu.Unlock()
	if err == nil {
		return s.grant(p, p.Attempts+1), nil
	}
	s.err = &Failure{Class: evidence.BudgetExceeded, Err: err, NotRun: true}
	b := p.Action.Record
	ctx, span := s.toolSpan(ctx, s.call(p))
	body := &evidence.Execution{
		Authorization: p.Action.Authorization, Action: b.Action, Resource: b.Resource, Tool: b.Tool, Input: b.Input,
		Attempt: int64(p.Action.Attempts) + 1, Source: evidence.SourceRuntime, Status: evidence.StatusNotRun,
	}
	err = s.executed(ctx, body, nil, s.err.(*Failure))
	span.executed(body, s.err, err)
	return nil, err
}

// hold sets an attempt's estimate aside, once.
func (s *stepper) hold(p *checkpoint.Plan) error {
	at := attemptAt{p.Action.Authorization, p.Action.Attempts + 1}
	return s.budget.ask(at, attemptEstimate(p.Action.Record.Estimate, p.Action.Attempts == 0), s.rt.cfg.Clock.Now())
}

// asked returns what attempts may cost that others may be making since before this
// driver. r.mu is held.
func (r *Run) asked() map[attemptAt]evidence.Amounts {
	asked := make(map[attemptAt]evidence.Amounts)
	for _, name := range r.state.Steps() {
		p := r.state.Plan(name, r.last)
		if _, elsewhere := askedBy(p.Ext); !elsewhere || p.Next != checkpoint.Settle || !p.Action.Last.IsZero() {
			continue
		}
		asked[attemptAt{p.Action.Authorization, 1}] = attemptEstimate(p.Action.Record.Estimate, true)
	}
	return asked
}

// askAgain decides about another attempt, after one that failed or did not run:
// permission for it, or nil where a new authorization was asked for.
func (s *stepper) askAgain(ctx context.Context, p *checkpoint.Plan) (*Grant, error) {
	class := s.failedClass(p)
	rule := s.rt.rule(s.reg.spec.Name, class)
	failed := &Failed{
		Step: s.action.Step, Action: p.Action.Record.Action, Class: class, Authorization: p.Action.Authorization,
		Execution: p.Action.Last, Attempts: p.Attempts, Err: s.err,
	}
	s.mu.Lock()
	closed := s.state.Run().Closed
	s.mu.Unlock()
	if closed || class != "" && (rule.Answer != AnswerRetry || p.Attempts >= rule.Attempts) {
		if rule.Answer == AnswerEscalate {
			var err error
			if failed.Escalation, err = s.escalate(ctx, string(class), failed.Execution); err != nil {
				return nil, err
			}
		}
		return nil, failed
	}
	// What the budget does not permit is told, and not recorded again.
	estimate := attemptEstimate(s.reg.spec.Estimate, false)
	if err := s.budget.reserve(estimate, s.rt.cfg.Clock.Now()); err != nil {
		failed.Class, failed.Err = evidence.BudgetExceeded, err
		return nil, failed
	}
	s.budget.book(estimate, nil)
	if _, elsewhere := askedBy(p.Ext); elsewhere && s.reg.tool == nil && s.reg.spec.Idempotent {
		same, err := s.sameTool(ctx, p.Action.Record)
		if err != nil {
			return nil, err
		}
		if same {
			return s.permitAttempt(ctx, p)
		}
	}
	return nil, s.authorize(ctx, p)
}

func (s *stepper) grant(p *checkpoint.Plan, attempt int) *Grant {
	b := p.Action.Record
	return &Grant{
		Step: s.action.Step, Action: b.Action, Tool: b.Tool, Resource: b.Resource, Authorization: p.Action.Authorization,
		Effect: b.Effect, Mode: b.Mode, Policies: b.Policies, Key: s.call(p).Key, Attempt: attempt,
	}
}

// registeredOf is a stand-in for the tool of an authorization, where only its
// names matter.
func registeredOf(a *audit.Action) *registered {
	return &registered{spec: &Spec{Name: a.Record.Tool, Action: a.Record.Action}}
}
