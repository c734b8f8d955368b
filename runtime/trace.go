package runtime

import (
	"context"
	"errors"
	"slices"

	"github.com/go-json-experiment/json"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"ledgerd/evidence"
)

// Traces say when what happened and how long it took; the records say that it
// did. Each span names its record, and each record its span, so that one leads
// to the other.
//
// A trace goes to more people than a ledger does. So it has identifiers, numbers
// and classes in it, all of which stand in records in the clear; no payload, no
// text of an error, no resource, subject or key of a run.

// ExtTrace is the member of a record's ext that names the span it was written in.
const ExtTrace = "dev.ledgerd.trace"

const scope = "ledgerd/runtime"

// Attributes of our own; the rest are those of the semantic conventions.
const (
	attrRun      = attribute.Key("ledgerd.run.id")
	attrEvidence = attribute.Key("ledgerd.evidence.id")
	attrIndex    = attribute.Key("ledgerd.log.index")
	attrKind     = attribute.Key("ledgerd.record.kind")
	attrTask     = attribute.Key("ledgerd.task")
	attrStep     = attribute.Key("ledgerd.step")
	attrAction   = attribute.Key("ledgerd.action")
	attrOutcome  = attribute.Key("ledgerd.outcome")
	attrReplayed = attribute.Key("ledgerd.replayed")
	attrEffect   = attribute.Key("ledgerd.effect")
	attrMode     = attribute.Key("ledgerd.mode")
	attrPolicies = attribute.Key("ledgerd.policies")
	attrTeam     = attribute.Key("ledgerd.team")
	attrAttempt  = attribute.Key("ledgerd.attempt")
	attrResult   = attribute.Key("ledgerd.verdict")
	attrName     = attribute.Key("ledgerd.checkpoint.name")
	prefixCost   = "ledgerd.cost."
)

func newTracer(p trace.TracerProvider) trace.Tracer {
	if p == nil {
		return nil
	}
	return p.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
}

// span is one of ours; nil where nothing is traced.
type span struct{ trace.Span }

// span starts one, in that of ctx.
func (rt *Runtime) span(ctx context.Context, name string, kind trace.SpanKind, attrs ...attribute.KeyValue) (context.Context, *span) {
	ctx, s := rt.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attrs...))
	return ctx, &span{s}
}

// runSpan starts the span of a run in this process: it lasts until Close or Leave.
// A child's stands in its parent's.
func (r *Run) runSpan(ctx context.Context, o *openOptions) context.Context {
	if r.rt.tracer == nil {
		return ctx
	}
	r.outer = trace.SpanContextFromContext(ctx)
	if p := r.parent; p != nil && p.span != nil && (!r.outer.IsValid() || r.outer.Equal(p.outer)) {
		ctx = trace.ContextWithSpan(ctx, p.span.Span)
	}
	ctx, r.span = r.rt.span(ctx, "invoke_agent", trace.SpanKindInternal, semconv.GenAIOperationNameInvokeAgent, attrRun.String(string(r.id)))
	if !o.again {
		r.span.of(o.agent, o.task)
	}
	return ctx
}

// of names the run's agent and task, which who opens a run by its key alone learns
// from its records.
func (s *span) of(agent, task string) {
	if s == nil {
		return
	}
	s.SetName("invoke_agent " + visible(agent))
	s.SetAttributes(semconv.GenAIAgentName(visible(agent)), attrTask.String(visible(task)))
}

// off reports whether nothing is traced: not at all, or not of this run, which is
// only looked at.
func (r *Run) off() bool { return r.rt.tracer == nil || r.span == nil }

// within starts a span of the run: in that of the caller where the caller has one
// of their own since Open, else in the run's. A span of another trace is linked to
// the run's.
func (r *Run) within(ctx context.Context, name string, kind trace.SpanKind, attrs ...attribute.KeyValue) (context.Context, *span) {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() || sc.Equal(r.outer) {
		ctx = trace.ContextWithSpan(ctx, r.span.Span)
		sc = r.span.SpanContext()
	}
	ctx, s := r.rt.span(ctx, name, kind, append(attrs, attrRun.String(string(r.id)))...)
	if own := r.span.SpanContext(); own.TraceID() != sc.TraceID() {
		s.AddLink(trace.Link{SpanContext: own})
	}
	return ctx, s
}

// recordSpan starts the span of a record that is no step's.
func (r *Run) recordSpan(ctx context.Context, name string) (context.Context, *span) {
	if r.off() {
		return ctx, nil
	}
	return r.within(ctx, name, trace.SpanKindInternal)
}

func (r *Run) decisionSpan(ctx context.Context, name string, model Reasoner) (context.Context, *span) {
	if r.off() {
		return ctx, nil
	}
	m := visible(model.Model())
	ctx, s := r.within(ctx, "chat "+m, trace.SpanKindClient, semconv.GenAIOperationNameChat, semconv.GenAIRequestModel(m),
		semconv.GenAIAgentName(r.agent), attrStep.String(visible(name)))
	if p, ok := model.(interface{ Provider() string }); ok {
		s.SetAttributes(semconv.GenAIProviderNameKey.String(visible(p.Provider())))
	}
	return ctx, s
}

func (r *Run) stepSpan(ctx context.Context, a *Action, reg *registered) (context.Context, *span) {
	if r.off() {
		return ctx, nil
	}
	return r.within(ctx, "step", trace.SpanKindInternal, attrStep.String(visible(a.Step)), attrAction.String(reg.spec.Action),
		semconv.GenAIToolName(reg.spec.Name), semconv.GenAIAgentName(r.agent))
}

// partSpan starts the span of a part of a step.
func (s *stepper) partSpan(ctx context.Context, name string) (context.Context, *span) {
	if s.off() {
		return ctx, nil
	}
	return s.within(ctx, name, trace.SpanKindInternal, attrStep.String(visible(s.action.Step)), attrAction.String(s.reg.spec.Action))
}

// toolSpan starts the span of one attempt. Its call ID is what the tool gets as
// idempotency key.
func (s *stepper) toolSpan(ctx context.Context, c *Call) (context.Context, *span) {
	if s.off() {
		return ctx, nil
	}
	return s.within(ctx, "execute_tool "+s.reg.spec.Name, trace.SpanKindInternal,
		semconv.GenAIOperationNameExecuteTool, semconv.GenAIToolName(s.reg.spec.Name), semconv.GenAIToolType("function"),
		semconv.GenAIToolCallID(c.Key), semconv.GenAIAgentName(s.agent),
		attrStep.String(visible(s.action.Step)), attrAction.String(s.reg.spec.Action), attrAttempt.Int(c.Attempt))
}

// traced adds to a record's ext the span that it is written in.
func (rt *Runtime) traced(ctx context.Context, ext evidence.Object) evidence.Object {
	if rt.tracer == nil {
		return ext
	}
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return ext
	}
	member := `"` + ExtTrace + `":{"trace":"` + sc.TraceID().String() + `","span":"` + sc.SpanID().String() + `"}`
	if len(ext) == 0 {
		return evidence.Object("{" + member + "}")
	}
	return evidence.Object(string(ext[:len(ext)-1]) + "," + member + "}")
}

// TraceOf returns the trace and span that a record names under ext, as hexadecimal
// digits; "" where it names none. They are the word of who signed the record.
func TraceOf(r *evidence.Record) (traceID, spanID string) {
	var ext struct {
		At struct {
			Trace string `json:"trace"`
			Span  string `json:"span"`
		} `json:"dev.ledgerd.trace"`
	}
	if len(r.Ext) == 0 || json.Unmarshal(r.Ext, &ext) != nil {
		return "", ""
	}
	t, err := trace.TraceIDFromHex(ext.At.Trace)
	if err != nil {
		return "", ""
	}
	s, err := trace.SpanIDFromHex(ext.At.Span)
	if err != nil {
		return "", ""
	}
	return t.String(), s.String()
}

// recorded names in the span of ctx the record that was written in it.
func (rt *Runtime) recorded(ctx context.Context, p evidence.Placed) {
	if rt.tracer == nil {
		return
	}
	trace.SpanFromContext(ctx).SetAttributes(attrEvidence.String(p.ID.String()), attrIndex.Int64(int64(p.Index)), attrKind.String(string(p.Record.Kind)))
}

// done ends a span.
func (s *span) done(err error) {
	if s == nil {
		return
	}
	if class := errorType(err); class != "" {
		s.fail(class)
	}
	s.End()
}

// fail marks a span by a class. A text would tell what a tool or a model said.
func (s *span) fail(class string) {
	s.SetStatus(codes.Error, "")
	s.SetAttributes(semconv.ErrorTypeKey.String(class))
}

// permitted tells the span of a permission check what came of it.
func (s *span) permitted(b *evidence.Authorization, err error) {
	if s == nil {
		return
	}
	if b != nil {
		s.SetAttributes(attrEffect.String(string(b.Effect)), attrMode.String(string(b.Mode)))
		if len(b.Policies) > 0 {
			s.SetAttributes(attrPolicies.StringSlice(slices.Clone(b.Policies)))
		}
		if b.Team != "" {
			s.SetAttributes(attrTeam.String(b.Team))
		}
	}
	s.done(err)
}

// executed ends the span of an attempt with what stands in its record.
func (s *span) executed(b *evidence.Execution, attempt, err error) {
	if s == nil {
		return
	}
	s.SetAttributes(attrOutcome.String(string(b.Status)))
	s.cost(b.Cost)
	if f, ok := errors.AsType[*Failure](attempt); ok && err == nil {
		s.fail(string(f.Class))
	}
	s.done(err)
}

// decided ends the span of a decision.
func (s *span) decided(d *Decision, t *Thought, err error) {
	if s == nil {
		return
	}
	if t != nil {
		s.cost(t.Cost)
		if t.Usage.InputTokens > 0 {
			s.SetAttributes(semconv.GenAIUsageInputTokens(t.Usage.InputTokens))
		}
		if t.Usage.OutputTokens > 0 {
			s.SetAttributes(semconv.GenAIUsageOutputTokens(t.Usage.OutputTokens))
		}
	}
	if d != nil {
		s.SetAttributes(attrReplayed.Bool(d.Replayed))
		if d.Replayed {
			s.SetAttributes(attrEvidence.String(d.ID.String()))
		}
	}
	s.done(err)
}

// stepped ends the span of a step. It names the step's authorization, recorded
// now or long ago.
func (s *span) stepped(st *stepper, res *Result, granted bool, err error) {
	if s == nil {
		return
	}
	if p := st.plan(); !p.Action.Authorization.IsZero() {
		s.SetAttributes(attrEvidence.String(p.Action.Authorization.String()), attrIndex.Int64(int64(p.Action.Index)))
	}
	outcome := "error"
	switch {
	case res != nil:
		outcome = "result"
		s.SetAttributes(attrReplayed.Bool(res.Replayed))
	case granted:
		outcome = "allowed"
	case is[*Denied](err):
		outcome = "denied"
	case is[*Waiting](err):
		outcome = "waiting"
	case is[*Failed](err):
		outcome = "failed"
	case is[*InDoubt](err):
		outcome = "in_doubt"
	}
	s.SetAttributes(attrOutcome.String(outcome))
	s.done(err)
}

// reported ends the span of a report.
func (s *span) reported(rep *Report, err error) {
	if s == nil {
		return
	}
	s.SetAttributes(attrOutcome.String(visible(string(rep.Status))), attrAttempt.Int(rep.Attempt))
	s.cost(rep.Cost)
	if rep.Class != "" && err == nil {
		s.fail(visible(string(rep.Class)))
	}
	s.done(err)
}

// judged ends the span of a verdict.
func (s *span) judged(v *Verdict, err error) {
	if s == nil {
		return
	}
	if v != nil {
		s.SetAttributes(attrResult.String(string(v.Result)))
		err = v.Err()
	}
	s.done(err)
}

// cost tells what something cost, as its record does. The conventions have no
// name for tokens in one sum.
func (s *span) cost(a evidence.Amounts) {
	for unit, n := range a {
		s.SetAttributes(attribute.Int64(prefixCost+visible(unit), n))
	}
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// errorType is the class of an error; "" for nil.
func errorType(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Failed](err); ok {
		return string(e.Class)
	}
	if e, ok := errors.AsType[*RunError](err); ok {
		return "run_" + string(e.Reason)
	}
	switch {
	case is[*Waiting](err):
		return "" // it is as it should be
	case is[*Denied](err):
		return string(evidence.PermissionDenied)
	case is[*InDoubt](err):
		return string(evidence.OutcomeUnknown)
	case is[*Unsupported](err):
		return string(evidence.ClaimUnsupported)
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "_OTHER" // as the conventions call what has no name
}

// visible is a name as a span may have it. A name that no record takes may be
// anything.
func visible(name string) string {
	if evidence.CheckIdentifier(name) != nil {
		return "invalid"
	}
	return name
}
