package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

// traced has a world's runtimes make spans, and returns where they go.
func traced(w *runtimetest.World) (*tracetest.InMemoryExporter, trace.TracerProvider) {
	spans := tracetest.NewInMemoryExporter()
	p := sdk.NewTracerProvider(sdk.WithSyncer(spans))
	w.Config = func(c *runtime.Config) { c.Tracer = p }
	return spans, p
}

func attr(s tracetest.SpanStub, key attribute.Key) string {
	for _, kv := range s.Attributes {
		if kv.Key == key {
			return kv.Value.String()
		}
	}
	return ""
}

func named(t *testing.T, spans tracetest.SpanStubs, name string) tracetest.SpanStub {
	t.Helper()
	for _, s := range spans {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no span is called %q in\n%s", name, tree(spans))
	return tracetest.SpanStub{}
}

// tree draws spans by parent, each with the kind of its record, and its error.
func tree(spans tracetest.SpanStubs) string {
	known := make(map[trace.SpanID]bool)
	for _, s := range spans {
		known[s.SpanContext.SpanID()] = true
	}
	slices.SortStableFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	var b strings.Builder
	var draw func(parent trace.SpanID, depth int)
	draw = func(parent trace.SpanID, depth int) {
		for _, s := range spans {
			if s.Parent.SpanID() != parent && (depth > 0 || known[s.Parent.SpanID()]) {
				continue
			}
			fmt.Fprintf(&b, "%s%s", strings.Repeat("  ", depth), s.Name)
			if kind := attr(s, "ledgerd.record.kind"); kind != "" {
				fmt.Fprintf(&b, " [%s]", kind)
			}
			if s.Status.Code == codes.Error {
				fmt.Fprintf(&b, " !%s", attr(s, "error.type"))
			}
			b.WriteString("\n")
			draw(s.SpanContext.SpanID(), depth+1)
		}
	}
	draw(trace.SpanID{}, 0)
	return b.String()
}

// tied fails the test unless each record of the runtime names a span, and that
// span the record, and no two the same.
func tied(w *runtimetest.World, run evidence.RunID, spans tracetest.SpanStubs) {
	w.Helper()
	bySpan := make(map[string]tracetest.SpanStub)
	for _, s := range spans {
		bySpan[s.SpanContext.SpanID().String()] = s
	}
	used := 0
	for _, p := range w.Records(run) {
		if !p.Record.OnLine() {
			continue
		}
		inTrace, inSpan := runtime.TraceOf(p.Record)
		s, ok := bySpan[inSpan]
		switch {
		case !ok:
			w.Errorf("%s %d names no span that was made: %s", p.Record.Kind, p.Index, p.Record.Ext)
		case s.SpanContext.TraceID().String() != inTrace, attr(s, "ledgerd.evidence.id") != p.ID.String(),
			attr(s, "ledgerd.log.index") != fmt.Sprint(p.Index), attr(s, "ledgerd.run.id") != string(run),
			attr(s, "ledgerd.record.kind") != string(p.Record.Kind):
			w.Errorf("%s %d (%s) names the span %q %v, of another record", p.Record.Kind, p.Index, p.ID, s.Name, s.Attributes)
		}
		delete(bySpan, inSpan)
		used++
	}
	for _, s := range bySpan {
		if attr(s, "ledgerd.record.kind") != "" {
			w.Errorf("the span %q names a record that does not name it", s.Name)
		}
	}
	if used == 0 {
		w.Error("no record was looked at")
	}
}

// secret stands in everything that must not get into a trace.
const secret = "xyzzy"

type triageModel struct{}

func (triageModel) Model() string    { return "small-1" }
func (triageModel) Provider() string { return "example.models" }
func (triageModel) Reason(context.Context, *runtime.Question) (*runtime.Thought, error) {
	return &runtime.Thought{
		Choice: []byte(`"` + secret + `"`), Rationale: secret,
		Cost: evidence.Amounts{"tokens": 47}, Usage: runtime.Usage{InputTokens: 40, OutputTokens: 7},
	}, nil
}

// TestTraceOfARun has every kind of span in it, through to an error and a retry.
func TestTraceOfARun(t *testing.T) {
	w := runtimetest.New(t)
	spans, _ := traced(w)
	ask := asks(nil)
	w.Permit = runtime.PermitterFunc(func(ctx context.Context, r *runtime.PermissionRequest) (runtime.Permission, error) {
		if r.Step == "asked" {
			return ask.Permit(ctx, r)
		}
		return runtimetest.AllowAll(ctx, r)
	})
	var server mailServer
	server.fail = func(call int) error {
		if call == 1 {
			return &runtime.Failure{Class: evidence.ToolUnavailable, Err: errors.New("503 " + secret), NotRun: true}
		}
		return nil
	}
	var inTool trace.SpanContext
	tool := runtime.NewFunc(mailSpec, func(ctx context.Context, c *runtime.Call, in mail) (sent, error) {
		inTool = trace.SpanContextFromContext(ctx)
		s, err := server.send(true)(ctx, c, in)
		s.MessageID += secret
		return s, err
	})
	rt := w.Runtime(tool)
	run, err := rt.Open(ctx, "key-"+secret, runtime.As(runtimetest.Agent), runtime.Task("complaint", secret),
		runtime.Subject(secret), runtime.Intent(secret), runtime.For("customer-"+secret))
	if err != nil {
		t.Fatal(err)
	}
	seen, err := run.Context(ctx, runtime.Source{Name: "complaint", Data: []byte(secret)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.Decide(ctx, "triage", triageModel{}, []byte(`"`+secret+`"`), seen); err != nil {
		t.Fatal(err)
	}
	res, err := runtime.Do(ctx, run, "notify", tool, mail{To: "mia", Text: secret}, runtime.On("mailbox/"+secret))
	if err != nil {
		t.Fatal(err)
	}
	execution := inTool
	_, err = runtime.Do(ctx, run, "asked", tool, mail{To: secret})
	waiting, ok := errors.AsType[*runtime.Waiting](err)
	if !ok {
		t.Fatal(err)
	}
	w.Approve(run.ID(), waiting.Authorization)
	if _, err := runtime.Do(ctx, run, "asked", tool, mail{To: secret}); err != nil {
		t.Fatal(err)
	}
	if err := run.Checkpoint(ctx, "notified", secret); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Claim(ctx, secret, res); err != nil {
		t.Fatal(err)
	}
	if err := run.Close(ctx); err != nil {
		t.Fatal(err)
	}
	const want = `invoke_agent test-agent [run.opened]
  context [context]
  chat small-1 [decision]
  step
    permission [authorization]
    execute_tool email [execution] !tool_unavailable
    execute_tool email [execution]
  step
    permission [authorization]
  step
    permission [authorization]
    execute_tool email [execution]
  checkpoint [checkpoint]
  claim [claim]
    verdict [verdict]
  close [run.closed]
`
	got := spans.GetSpans()
	if found := tree(got); found != want {
		t.Errorf("want\n%s\nfound\n%s", want, found)
	}
	tied(w, run.ID(), got)
	w.Sound(run.ID())
	kept := 0 // what records have under ext otherwise
	for _, p := range w.Records(run.ID()) {
		b, failed := p.Record.Body.(*evidence.Execution)
		switch {
		case p.Record.Kind == evidence.KindRunOpened && strings.Contains(string(p.Record.Ext), `"dev.ledgerd.driver":`),
			failed && b.Class != "" && strings.Contains(string(p.Record.Ext), `"dev.ledgerd.answer":`):
			kept++
		}
	}
	if kept != 2 {
		t.Errorf("%d of 2 records kept what else they have under ext", kept)
	}
	for _, s := range got {
		if text := fmt.Sprintf("%+v", s); strings.Contains(text, secret) {
			t.Errorf("what only payloads may hold is in the span %s", text)
		}
		if len(s.Events) > 0 || s.Status.Description != "" {
			t.Errorf("%s tells more than its class: %v %q", s.Name, s.Events, s.Status.Description)
		}
	}

	chat := named(t, got, "chat small-1")
	for key, value := range map[attribute.Key]string{
		"gen_ai.operation.name": "chat", "gen_ai.request.model": "small-1", "gen_ai.provider.name": "example.models",
		"gen_ai.usage.input_tokens": "40", "gen_ai.usage.output_tokens": "7", "ledgerd.cost.tokens": "47",
		"gen_ai.agent.name": runtimetest.Agent, "ledgerd.step": "triage",
	} {
		if attr(chat, key) != value {
			t.Errorf("chat: want %s=%s, found %q", key, value, attr(chat, key))
		}
	}
	if chat.SpanKind != trace.SpanKindClient {
		t.Errorf("chat is of kind %s", chat.SpanKind)
	}
	agent := named(t, got, "invoke_agent test-agent")
	if attr(agent, "gen_ai.operation.name") != "invoke_agent" || attr(agent, "gen_ai.agent.name") != runtimetest.Agent || attr(agent, "ledgerd.task") != "complaint" {
		t.Error(agent.Attributes)
	}
	if agent.InstrumentationScope.SchemaURL != semconv.SchemaURL {
		t.Error(agent.InstrumentationScope)
	}
	var last tracetest.SpanStub
	for _, s := range got {
		if s.SpanContext.SpanID() == execution.SpanID() {
			last = s
		}
	}
	for key, value := range map[attribute.Key]string{
		"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "email", "gen_ai.tool.type": "function",
		"gen_ai.tool.call.id": string(run.ID()) + "/notify", "ledgerd.attempt": "2", "ledgerd.outcome": "success", "ledgerd.action": "send_email",
	} {
		if attr(last, key) != value {
			t.Errorf("execute_tool, as the tool saw it: want %s=%s, found %q", key, value, attr(last, key))
		}
	}
	var outcomes []string
	for _, s := range got {
		if s.Name == "step" {
			outcomes = append(outcomes, attr(s, "ledgerd.outcome"))
			if attr(s, "ledgerd.evidence.id") == "" || attr(s, "ledgerd.log.index") == "" {
				t.Errorf("a step names no authorization: %v", s.Attributes)
			}
		}
	}
	if !slices.Equal(outcomes, []string{"result", "waiting", "result"}) {
		t.Error(outcomes)
	}

	// Another process opens it: what was recorded is replayed, and nothing written.
	spans.Reset()
	run, err = w.Runtime(tool).Open(ctx, "key-"+secret, runtime.As(runtimetest.Agent), runtime.Task("complaint", secret),
		runtime.Subject(secret), runtime.For("customer-"+secret))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runtime.Do(ctx, run, "notify", tool, mail{To: "mia", Text: secret}, runtime.On("mailbox/"+secret)); err != nil {
		t.Fatal(err)
	}
	if err := run.Close(ctx); err != nil {
		t.Fatal(err)
	}
	step := named(t, spans.GetSpans(), "step")
	if attr(step, "ledgerd.replayed") != "true" || attr(step, "ledgerd.evidence.id") != res.Authorization.String() {
		t.Errorf("replayed: %v", step.Attributes)
	}
	if tree(spans.GetSpans()) != "invoke_agent test-agent\n  step\n" {
		t.Error(tree(spans.GetSpans()))
	}
}

// TestTraceOfErrors: each way in which a step can fail has its class.
func TestTraceOfErrors(t *testing.T) {
	w := runtimetest.New(t)
	spans, _ := traced(w)
	spec := mailSpec
	spec.Idempotent, spec.Timeout = false, time.Millisecond
	tool := runtime.NewFunc(spec, func(ctx context.Context, _ *runtime.Call, in mail) (sent, error) {
		switch in.To {
		case "slow":
			<-ctx.Done()
			return sent{}, ctx.Err()
		case "no":
			return sent{}, errors.New("550 no such mailbox")
		}
		panic("boom")
	})
	w.Permit = runtime.PermitterFunc(func(ctx context.Context, r *runtime.PermissionRequest) (runtime.Permission, error) {
		if r.Step == "denied" {
			return runtime.Permission{Effect: evidence.Deny, Policies: []string{"no-mail"}}, nil
		}
		return runtimetest.AllowAll(ctx, r)
	})
	run := open(t, w.Runtime(tool))
	do := func(step, to string) {
		t.Helper()
		if _, err := runtime.Do(ctx, run, step, tool, mail{To: to}); err == nil {
			t.Errorf("%s came to a result", step)
		}
	}
	do("denied", "mia")
	do("refused", "no")
	do("doubt", "slow")
	do("invalid", "")
	no := runtime.NewModel("confused", func(context.Context, string) (runtime.ThoughtOf[string], error) {
		return runtime.ThoughtOf[string]{}, errors.New("I cannot")
	})
	if _, err := runtime.Decide(ctx, run, "triage", no, "?"); err == nil {
		t.Error("it decided")
	}
	if err := run.Settle(ctx, "doubt", runtime.Finding{Status: evidence.StatusNotRun}); err != nil {
		t.Error(err)
	}
	if err := run.End(ctx, evidence.Failed, "test"); err != nil {
		t.Error(err)
	}
	if _, err := run.Decide(ctx, "late", triageModel{}, []byte(`1`)); err == nil {
		t.Error("a closed run took a decision")
	}
	if err := run.Close(ctx); err != nil {
		t.Error(err)
	}
	const want = `invoke_agent test-agent [run.opened]
  step !permission_denied
    permission [authorization]
    escalate [escalation]
  step !tool_failed
    permission [authorization]
    execute_tool email [execution] !tool_failed
  step !outcome_unknown
    permission [authorization]
    execute_tool email [execution] !outcome_unknown
    settle !outcome_unknown
      escalate [escalation]
  step !invalid_tool_payload
    permission [authorization]
  chat confused [escalation] !bad_reasoning
  settle [settlement]
  close [run.closed]
  chat small-1 !run_ended
`
	if found := tree(spans.GetSpans()); found != want {
		t.Errorf("want\n%s\nfound\n%s", want, found)
	}
	tied(w, run.ID(), spans.GetSpans())
	denied := named(t, spans.GetSpans(), "permission")
	if attr(denied, "ledgerd.effect") != "deny" || attr(denied, "ledgerd.policies") != `["no-mail"]` {
		t.Error(denied.Attributes)
	}

	// A run that cannot be opened.
	spans.Reset()
	if _, err := w.Runtime(tool).Open(ctx, "complaint-4711", runtime.As(runtimetest.Agent), runtime.Task("another", nil)); err == nil {
		t.Error("it opened")
	}
	if found := tree(spans.GetSpans()); found != "invoke_agent test-agent !run_changed\n" {
		t.Error(found)
	}
}

// TestTraceInTheCallers: spans stand in those that the caller has; those of
// another trace are linked to the run's.
func TestTraceInTheCallers(t *testing.T) {
	w := runtimetest.New(t)
	spans, provider := traced(w)
	tool := runtime.NewFunc(mailSpec, new(mailServer).send(true))
	tracer := provider.Tracer("caller")
	outer, request := tracer.Start(ctx, "request")
	run, err := w.Runtime(tool).Open(outer, "key", runtime.As(runtimetest.Agent), runtime.Task("complaint", nil))
	if err != nil {
		t.Fatal(err)
	}
	do := func(ctx context.Context, step string) {
		t.Helper()
		if _, err := runtime.Do(ctx, run, step, tool, mail{To: "mia"}); err != nil {
			t.Fatal(err)
		}
	}
	do(outer, "plain") // the context that Open had: in the run
	inner, own := tracer.Start(outer, "own")
	do(inner, "inner")
	own.End()
	other, foreign := tracer.Start(ctx, "foreign") // another trace
	do(other, "other")
	foreign.End()
	if err := run.Close(outer); err != nil {
		t.Fatal(err)
	}
	request.End()
	got := spans.GetSpans()
	parents := make(map[string]string)
	for _, s := range got {
		if s.Name != "step" {
			continue
		}
		for _, p := range got {
			if p.SpanContext.SpanID() == s.Parent.SpanID() {
				parents[attr(s, "ledgerd.step")] = p.Name
			}
		}
		linked := len(s.Links) == 1 && s.Links[0].SpanContext.TraceID() == request.SpanContext().TraceID()
		if linked != (attr(s, "ledgerd.step") == "other") || len(s.Links) > 1 {
			t.Errorf("links of step %s: %v", attr(s, "ledgerd.step"), s.Links)
		}
	}
	if fmt.Sprint(parents) != "map[inner:own other:foreign plain:invoke_agent test-agent]" {
		t.Error(parents)
	}
	tied(w, run.ID(), got)
}

// TestTraceOff: without a provider nothing of traces gets into a record, even
// where the caller has a span.
func TestTraceOff(t *testing.T) {
	caller, span := sdk.NewTracerProvider().Tracer("caller").Start(ctx, "request")
	play := func(w *runtimetest.World) []evidence.Placed {
		tool := runtime.NewFunc(mailSpec, new(mailServer).send(true))
		run, err := w.Runtime(tool).Open(caller, "key", runtime.As(runtimetest.Agent), runtime.Task("complaint", nil))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := runtime.Do(caller, run, "notify", tool, mail{To: "mia"}); err != nil {
			t.Fatal(err)
		}
		if err := run.Close(caller); err != nil {
			t.Fatal(err)
		}
		return w.Records(run.ID())
	}
	for _, p := range play(runtimetest.New(t)) {
		if strings.Contains(string(p.Record.Ext), "trace") {
			t.Errorf("off: %s has %s", p.Record.Kind, p.Record.Ext)
		}
	}

	// A provider that makes none: the records name the caller's span.
	w := runtimetest.New(t)
	w.Config = func(c *runtime.Config) { c.Tracer = noop.NewTracerProvider() }
	for _, p := range play(w) {
		if !strings.Contains(string(p.Record.Ext), `"span":"`+span.SpanContext().SpanID().String()+`"`) {
			t.Errorf("noop: %s has %s", p.Record.Kind, p.Record.Ext)
		}
	}
}

// TestTraceHidesWhatIsNoName: a name that no record takes gets into no span.
func TestTraceHidesWhatIsNoName(t *testing.T) {
	w := runtimetest.New(t)
	spans, _ := traced(w)
	tool := runtime.NewFunc(mailSpec, new(mailServer).send(true))
	run := open(t, w.Runtime(tool))
	if _, err := runtime.Do(ctx, run, "a whole prompt, "+secret, tool, mail{To: "mia"}); err == nil {
		t.Error("the step was recorded")
	}
	if err := run.Close(ctx); err != nil {
		t.Error(err)
	}
	step := named(t, spans.GetSpans(), "step")
	if attr(step, "ledgerd.step") != "invalid" || step.Status.Code != codes.Error || strings.Contains(fmt.Sprintf("%+v", spans.GetSpans()), secret) {
		t.Errorf("%+v", step)
	}
}

func TestTraceOf(t *testing.T) {
	const good = `{"dev.ledgerd.trace":{"trace":"0af7651916cd43dd8448eb211c80319c","span":"b7ad6b7169203331"},"com.example.x":1}`
	for ext, want := range map[string]string{
		good: "0af7651916cd43dd8448eb211c80319c/b7ad6b7169203331",
		"":   "/", "{}": "/", `{"dev.ledgerd.trace":7}`: "/",
		`{"dev.ledgerd.trace":{"trace":"\u001b[31m","span":"b7ad6b7169203331"}}`:                       "/",
		`{"dev.ledgerd.trace":{"trace":"00000000000000000000000000000000","span":"b7ad6b7169203331"}}`: "/",
		`{"dev.ledgerd.trace":{"trace":"0af7651916cd43dd8448eb211c80319c","span":"b7"}}`:               "/",
	} {
		a, b := runtime.TraceOf(&evidence.Record{Ext: evidence.Object(ext)})
		if a+"/"+b != want {
			t.Errorf("%s: want %s, found %s/%s", ext, want, a, b)
		}
	}
}

// TestTraceOfWhatIsDoneElsewhere: runs that are driven for others, whose steps
// others execute.
func TestTraceOfWhatIsDoneElsewhere(t *testing.T) {
	w := runtimetest.New(t)
	spans, _ := traced(w)
	rt := w.Runtime()
	options := []runtime.Option{runtime.As(runtimetest.Agent), runtime.Task("complaint", nil), runtime.Driver("d-1", nil), runtime.Budget(evidence.Amounts{"attempts": 2})}
	run, err := rt.Open(ctx, "key", options...)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(step string) (*runtime.Grant, error) {
		return run.Ask(ctx, runtime.Ask{Step: step, Tool: "mailer", Action: "send_email", Input: []byte(`{"to":"` + secret + `"}`), By: "worker-1"})
	}
	report := func(step string, attempt int, status evidence.Status) {
		t.Helper()
		if _, err := run.Report(ctx, runtime.Report{Step: step, Attempt: attempt, Status: status, Output: []byte(`"` + secret + `"`)}); err != nil {
			t.Fatal(err)
		}
	}
	g, err := ask("notify")
	if err != nil {
		t.Fatal(err)
	}
	report("notify", g.Attempt, evidence.StatusUnknown)
	report("notify", g.Attempt, evidence.StatusSuccess) // which settles it
	if g, err = ask("again"); err != nil {
		t.Fatal(err)
	}
	report("again", g.Attempt, evidence.StatusFailure)
	if _, err = ask("more"); err == nil {
		t.Error("the budget was not held")
	}
	if _, err := run.Save(ctx, "notified", []byte(`1`)); err != nil {
		t.Fatal(err)
	}
	if _, err := rt.Look(ctx, "key"); err != nil {
		t.Fatal(err)
	}
	if err := run.End(ctx, evidence.Failed, "test"); err != nil {
		t.Fatal(err)
	}
	run.Leave(ctx)
	const want = `invoke_agent test-agent [run.opened]
  step
    permission [authorization]
  report [execution] !outcome_unknown
    escalate [escalation]
  report [settlement]
  step
    permission [authorization]
  report [execution] !tool_failed
  step !cost_budget_exceeded
    permission [authorization]
    execute_tool mailer [execution] !cost_budget_exceeded
  checkpoint [checkpoint]
  close [run.closed]
`
	if found := tree(spans.GetSpans()); found != want {
		t.Errorf("want\n%s\nfound\n%s", want, found)
	}
	tied(w, run.ID(), spans.GetSpans())
	if strings.Contains(fmt.Sprintf("%+v", spans.GetSpans()), secret) {
		t.Error("what only payloads may hold is in a span")
	}
	if step := named(t, spans.GetSpans(), "step"); attr(step, "ledgerd.outcome") != "allowed" {
		t.Error(step.Attributes)
	}

	// By its key alone, by the same driver: nothing is recorded, and its agent known.
	spans.Reset()
	run, err = rt.Open(ctx, "key", runtime.Reopen(), runtime.Driver("d-1", nil))
	if err != nil {
		t.Fatal(err)
	}
	run.Leave(ctx)
	if found := tree(spans.GetSpans()); found != "invoke_agent test-agent\n" || attr(spans.GetSpans()[0], "ledgerd.task") != "complaint" {
		t.Error(found, spans.GetSpans()[0].Attributes)
	}

	// A run that is looked at is not traced, whatever is asked of it.
	spans.Reset()
	look, err := rt.Look(ctx, "key")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := look.Ask(ctx, runtime.Ask{Step: "notify", Tool: "mailer", Action: "send_email", Input: []byte(`{"to":"` + secret + `"}`)}); err != nil {
		t.Error(err)
	}
	look.Leave(ctx)
	if len(spans.GetSpans()) > 0 {
		t.Error(tree(spans.GetSpans()))
	}
}

// TestTraceOfChildren: a child's span stands in its parent's.
func TestTraceOfChildren(t *testing.T) {
	w := runtimetest.New(t)
	spans, _ := traced(w)
	rt := w.Runtime()
	parent, err := rt.Open(ctx, "parent", runtime.As(runtimetest.Agent), runtime.Task("complaint", nil))
	if err != nil {
		t.Fatal(err)
	}
	child, err := rt.Open(ctx, "child", runtime.As(runtimetest.Agent), runtime.Task("part", nil), runtime.Child(parent))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*runtime.Run{child, parent} {
		if err := r.Checkpoint(ctx, "here", 1); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	const want = `invoke_agent test-agent [run.opened]
  invoke_agent test-agent [run.opened]
    checkpoint [checkpoint]
  checkpoint [checkpoint]
`
	if found := tree(spans.GetSpans()); found != want {
		t.Errorf("want\n%s\nfound\n%s", want, found)
	}
}

// A run that is finished, however that came about, ends its span.
func TestTraceOfFinish(t *testing.T) {
	w := runtimetest.New(t)
	spans, _ := traced(w)
	rt := w.Runtime()
	for i, why := range []error{nil, errors.New("the network is down"), &runtime.Denied{}} {
		run, err := rt.Open(ctx, fmt.Sprint("run-", i), runtime.As(runtimetest.Agent), runtime.Task("complaint", nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := run.Finish(ctx, why); !errors.Is(err, why) {
			t.Error(err)
		}
		ended := 0
		for _, s := range spans.GetSpans() {
			if strings.HasPrefix(s.Name, "invoke_agent") {
				ended++
			}
		}
		if ended != i+1 {
			t.Errorf("after %v: %d of %d spans of runs have ended", why, ended, i+1)
		}
	}
}
