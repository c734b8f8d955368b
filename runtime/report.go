package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"

	"ledgerd/audit"
	"ledgerd/checkpoint"
	"ledgerd/evidence"
	"ledgerd/ledger"
)

// Report says what came of an attempt that [Run.Ask] permitted.
type Report struct {
	Step    string
	Attempt int // as the Grant says
	Status  evidence.Status
	Class   evidence.Class // of a failure; tool_failed if ""
	Error   string         // what went wrong, in words; "": nothing to say
	Media   string         // of the output; application/json if ""
	Output  []byte         // nil: none
	Refs    []string       // members of the output that stand in the record in the clear
	Cost    evidence.Amounts
	TookMS  *int64
	// Source is [evidence.SourceRuntime] where whoever reports is part of the runtime
	// and made the call itself, as a gateway does; reported if "".
	Source evidence.Source
}

// Reported is a report that stands.
type Reported struct {
	Step          string
	Attempt       int
	Authorization evidence.ID
	Execution     evidence.ID
	Settlement    evidence.ID // a later report, which ended the doubt that the first left
	Status        evidence.Status
	Class         evidence.Class
	Source        evidence.Source
	Escalation    evidence.ID // status unknown, and nothing settled it: a human was asked
	Replayed      bool        // it was recorded before
}

// ReportedError says that something else stands as the outcome of an attempt.
type ReportedError struct {
	Step    string
	Attempt int
	Stands  evidence.ID
	Status  evidence.Status
}

func (e *ReportedError) Error() string {
	return fmt.Sprintf("step %q: as attempt %d another outcome is recorded already: %s (%s)", e.Step, e.Attempt, e.Status, e.Stands)
}

// Report records what came of an attempt. The same report again is
// the same record; another one for the same attempt is a *ReportedError. But
// where unknown or accepted was reported, and later it is known, the one report
// that says so settles it.
//
// A report about what is not permitted is *Denied or *Waiting, and is not
// recorded.
func (r *Run) Report(ctx context.Context, rep Report) (done *Reported, err error) {
	if err := rep.check(); err != nil {
		return nil, err
	}
	defer r.steps.lock(rep.Step)()
	r.mu.Lock()
	p := r.state.Plan(rep.Step, max(r.last, evidence.TimeOf(r.rt.cfg.Clock.Now())))
	known, reported := r.state.Reported(rep.Step, rep.Attempt)
	r.mu.Unlock()
	if p.Next == checkpoint.Begin {
		return nil, &InvalidError{rep.Step, "outcome", errNotAsked}
	}
	s := &stepper{Run: r, action: &Action{Step: rep.Step, Resource: p.Action.Record.Resource}, reg: registeredOf(&p.Action)}
	ctx, span := s.partSpan(ctx, "report")
	defer func() { span.reported(&rep, err) }()
	_, elsewhere := askedBy(p.Ext)
	switch {
	case reported && elsewhere:
		return s.reportAgain(ctx, &p, &rep, &known)
	case rep.Attempt <= p.Attempts:
		return nil, &ReportedError{rep.Step, rep.Attempt, p.Action.Last, p.Action.Status}
	case rep.Attempt > p.Attempts+1:
		return nil, &InvalidError{rep.Step, "attempt", fmt.Errorf("want %d, which comes next, found %d", p.Attempts+1, rep.Attempt)}
	}
	switch p.Next {
	case checkpoint.Refused:
		return nil, &Denied{Step: rep.Step, Action: p.Action.Record.Action, Authorization: p.Action.Authorization, Policies: p.Action.Record.Policies, Refusal: p.Approval}
	case checkpoint.Ask, checkpoint.Use:
		return nil, s.waiting(&p)
	case checkpoint.Return, checkpoint.Await:
		return nil, &ReportedError{rep.Step, rep.Attempt, p.Action.Last, p.Action.Status}
	}
	if !elsewhere {
		return nil, &InvalidError{rep.Step, "outcome", errRunsHere}
	}
	if p.Next == checkpoint.Settle && !p.Action.Last.IsZero() {
		// No attempt follows one of which nobody knows what came.
		return nil, &ReportedError{rep.Step, p.Attempts, p.Action.Last, p.Action.Status}
	}
	return s.report(ctx, &p, &rep)
}

var (
	errNotAsked = errors.New("nobody asked for permission to do it: ask, and then report")
	errRunsHere = errors.New("its tool is run here, and what comes of it is seen here: run the step")
)

func (rep *Report) check() error {
	invalid := func(what, format string, args ...any) error {
		return &InvalidError{rep.Step, what, fmt.Errorf(format, args...)}
	}
	switch rep.Status {
	case evidence.StatusFailure:
		if rep.Class == "" {
			rep.Class = evidence.ToolFailed
		}
	case evidence.StatusUnknown:
		if rep.Class == "" {
			rep.Class = evidence.OutcomeUnknown
		}
	case evidence.StatusSuccess, evidence.StatusAccepted, evidence.StatusNotRun:
		if rep.Class != "" {
			return invalid("class", "want none with status %s, found %q", rep.Status, rep.Class)
		}
	default:
		return invalid("status", "want success, failure, accepted, unknown or not_run, found %q", rep.Status)
	}
	switch rep.Source {
	case "":
		rep.Source = evidence.SourceReported
	case evidence.SourceReported, evidence.SourceRuntime:
	default:
		return invalid("source", "want reported, or runtime of a gateway, found %q", rep.Source)
	}
	if err := evidence.CheckIdentifier(rep.Step); err != nil {
		return invalid("name", "%w", err)
	}
	if rep.Attempt < 1 {
		return invalid("attempt", "want a number from 1, found %d", rep.Attempt)
	}
	if rep.Media != "" {
		if err := evidence.CheckIdentifier(rep.Media); err != nil {
			return invalid("media type", "%w", err)
		}
	}
	if err := evidence.CheckAmounts(rep.Cost); err != nil {
		return invalid("cost", "%w", err)
	}
	if rep.TookMS != nil && (*rep.TookMS < 0 || *rep.TookMS > 1<<53-1) {
		return invalid("took_ms", "want milliseconds from 0 to 2^53-1, found %d", *rep.TookMS)
	}
	if rep.Output != nil && isJSON(rep.Media) {
		if err := strictJSON(rep.Output); err != nil {
			return invalid("output", "want a JSON value: %w", err)
		}
	}
	return nil
}

// report writes what was reported.
func (s *stepper) report(ctx context.Context, p *checkpoint.Plan, rep *Report) (*Reported, error) {
	b := p.Action.Record
	body := &evidence.Execution{
		Authorization: p.Action.Authorization, Action: b.Action, Resource: b.Resource, Tool: b.Tool, Input: b.Input,
		Attempt: int64(p.Action.Attempts) + 1, Status: rep.Status, Class: rep.Class, Source: rep.Source,
		TookMS: rep.TookMS, Cost: rep.Cost,
	}
	var payloads []evidence.Payload
	seal := s.rt.sealInto(&payloads)
	var err error
	if rep.Error != "" {
		if body.Error, err = seal(mediaText, []byte(rep.Error)); err != nil {
			return nil, err
		}
	}
	if rep.Output != nil {
		if body.Output, err = seal(rep.Media, rep.Output); err != nil {
			return nil, err
		}
		body.Refs = rep.refs()
	}
	var failure *Failure
	if rep.Class != "" {
		failure = &Failure{Class: rep.Class}
	}
	s.mu.Lock()
	placed, err := s.write(ctx, draft{body: body, actor: s.agent, payloads: payloads, ext: s.answerExt(body, failure)})
	if err == nil {
		at := attemptAt{p.Action.Authorization, p.Action.Attempts + 1}
		s.budget.answered(at, audit.AttemptCost(body, p.Action.Attempts == 0))
		delete(s.begun, p.Action.Authorization)
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return s.stands(ctx, p, rep, &checkpoint.Reported{ID: placed.ID, Execution: body}, false)
}

func (rep *Report) refs() evidence.Object {
	if !isJSON(rep.Media) {
		return nil
	}
	return members(rep.Output, rep.Refs)
}

// reportAgain answers a report about an attempt that was reported before.
func (s *stepper) reportAgain(ctx context.Context, p *checkpoint.Plan, rep *Report, known *checkpoint.Reported) (*Reported, error) {
	same, err := s.sameReport(ctx, rep, known.Execution)
	if err != nil {
		return nil, err
	}
	if same {
		return s.stands(ctx, p, rep, known, true)
	}
	other := &ReportedError{rep.Step, rep.Attempt, known.ID, known.Execution.Status}
	definite := rep.Status == evidence.StatusSuccess || rep.Status == evidence.StatusFailure || rep.Status == evidence.StatusNotRun
	switch {
	case known.Settled != nil:
		other.Stands, other.Status = known.Settlement, known.Settled.Finding
		if rep.Status != other.Status {
			return nil, other
		}
		same, err := s.samePayload(ctx, known.Settled.Output, rep.Media, rep.Output)
		if err != nil {
			return nil, err
		}
		if !same {
			return nil, other
		}
		return s.stands(ctx, p, rep, known, true)
	case !definite || p.Doubt != known.ID:
		return nil, other
	}
	finding := &Finding{Status: rep.Status}
	if rep.Output != nil {
		finding.Output = &Output{Media: rep.Media, Data: rep.Output}
	}
	s.reg.spec.Refs = rep.Refs
	by := evidence.ByReport
	if rep.Source == evidence.SourceRuntime {
		by = evidence.ByProbe
	}
	if err := s.settled(ctx, p, by, finding, evidence.ID{}); err != nil {
		return nil, err
	}
	s.mu.Lock()
	settled, _ := s.state.Reported(rep.Step, rep.Attempt)
	s.mu.Unlock()
	return s.stands(ctx, p, rep, &settled, false)
}

// stands returns the report that stands, having asked a human about it where it
// is that nobody knows.
func (s *stepper) stands(ctx context.Context, p *checkpoint.Plan, rep *Report, known *checkpoint.Reported, replayed bool) (*Reported, error) {
	b := known.Execution
	out := &Reported{
		Step: rep.Step, Attempt: rep.Attempt, Authorization: b.Authorization, Execution: known.ID, Settlement: known.Settlement,
		Status: b.Status, Class: b.Class, Source: b.Source, Replayed: replayed,
	}
	if known.Settled != nil {
		out.Status, out.Class, out.Source = known.Settled.Finding, "", evidence.SourceReported
		if known.Settled.By == evidence.ByProbe {
			out.Source = evidence.SourceRuntime
		}
		return out, nil
	}
	if b.Status != evidence.StatusUnknown {
		return out, nil
	}
	input, err := s.rt.cfg.Ledger.ReadPayload(ctx, b.Input.Commit) // for the notice
	if err == nil {
		s.input = input.Data
	}
	out.Escalation, err = s.escalate(ctx, string(evidence.OutcomeUnknown), known.ID)
	return out, err
}

// sameReport compares a report with the execution that stands.
func (s *stepper) sameReport(ctx context.Context, rep *Report, b *evidence.Execution) (bool, error) {
	took := rep.TookMS == b.TookMS || rep.TookMS != nil && b.TookMS != nil && *rep.TookMS == *b.TookMS
	if rep.Status != b.Status || rep.Source != b.Source || rep.Class != b.Class || !took || !maps.Equal(rep.Cost, b.Cost) {
		return false, nil
	}
	var text []byte
	if rep.Error != "" {
		text = []byte(rep.Error)
	}
	same, err := s.samePayload(ctx, b.Error, mediaText, text)
	if !same || err != nil {
		return false, err
	}
	same, err = s.samePayload(ctx, b.Output, rep.Media, rep.Output)
	return same && (rep.Output == nil || bytes.Equal(rep.refs(), b.Refs)), err
}

// samePayload compares what a record commits to with bytes, nil being none. Of
// what was erased only the size can be compared.
func (s *stepper) samePayload(ctx context.Context, c *evidence.Commitment, media string, data []byte) (bool, error) {
	if c == nil || data == nil {
		return c == nil && data == nil, nil
	}
	if media == "" {
		media = mediaJSON
	}
	if c.Media != media || c.Size != int64(len(data)) {
		return false, nil
	}
	p, err := s.rt.cfg.Ledger.ReadPayload(ctx, c.Commit)
	switch {
	case errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNoPayload):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("run %q: read a payload: %w", s.key, err)
	}
	return bytes.Equal(p.Data, data), nil
}
