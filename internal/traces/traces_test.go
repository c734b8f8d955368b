package traces_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/bench"
	"ledgerd/internal/importer"
	"ledgerd/internal/logsource"
	"ledgerd/internal/server"
	"ledgerd/internal/traces"
	"ledgerd/ledger"
)

// world is a daemon that takes spans, with a token of an agent that it hosts.
type world struct {
	*bench.Scratch
	t        *testing.T
	receiver *traces.Receiver
	spool    string
	url      string
	token    string // of bench.Agent, with the right to act
	tokens   *server.Tokens
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := bench.NewScratch(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{Scratch: s, t: t}
	w.spool = t.TempDir()
	w.receiver = w.newReceiver()
	t.Cleanup(w.receiver.Close)
	if w.tokens, err = server.OpenTokens(filepath.Join(t.TempDir(), "tokens.json")); err != nil {
		t.Fatal(err)
	}
	w.token = w.grant(bench.Agent, api.RightAct)
	h, err := server.New(server.Config{Ledger: s.Ledger, Tokens: w.tokens, Spans: w.receiver})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	w.url = srv.URL
	return w
}

// newReceiver returns a receiver that writes when it is closed, and not before.
func (w *world) newReceiver() *traces.Receiver {
	w.t.Helper()
	return w.open(traces.Config{Quiet: time.Hour})
}

func (w *world) open(cfg traces.Config) *traces.Receiver {
	w.t.Helper()
	e := importer.Embedded{Ledger: w.Ledger}
	cfg.Dir = w.spool
	if cfg.Importer == nil {
		cfg.Importer = &importer.Importer{
			Ledger: e, Registry: e, Origin: bench.Origin, Runtime: bench.Runtime, Key: w.Signer.Key, Now: time.Now, Random: rand.Reader,
		}
	}
	r, err := traces.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) grant(actor string, rights ...api.Right) string {
	w.t.Helper()
	issued, err := w.tokens.Add(api.NewToken{Actor: actor, Rights: rights}, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	return issued.Secret
}

// runs returns the runs that are there, in the log's order, with their lines.
func (w *world) runs() (runs []evidence.RunID, lines [][]*evidence.Record) {
	w.t.Helper()
	for p, err := range w.Find(w.t.Context(), ledger.Filter{Kind: evidence.KindRunOpened}) {
		if err != nil {
			w.t.Fatal(err)
		}
		runs = append(runs, p.Record.Run)
	}
	for _, id := range runs {
		var line []*evidence.Record
		for p, err := range w.Run(w.t.Context(), id) {
			if err != nil {
				w.t.Fatal(err)
			}
			line = append(line, p.Record)
		}
		lines = append(lines, line)
	}
	return runs, lines
}

// checkAudited: the log verifies, and no rule is broken in the bundle of any run.
func (w *world) checkAudited(runs []evidence.RunID) {
	w.t.Helper()
	trust, err := w.Trust()
	if err != nil {
		w.t.Fatal(err)
	}
	source, err := logsource.HTTP(w.url, logsource.Options{Token: w.grant(bench.Agent, api.RightRead)})
	if err != nil {
		w.t.Fatal(err)
	}
	defer source.Close()
	rep, _, err := audit.VerifyLog(w.t.Context(), source, trust, audit.Options{})
	if err != nil || rep.ExitCode() != audit.ExitVerified || rep.Scope.Records != w.Head().Size {
		w.t.Errorf("the log: %v, %+v", err, rep)
	}
	for _, run := range runs {
		var file bytes.Buffer
		if err := w.Export(w.t.Context(), &file, ledger.ExportOptions{Run: run}); err != nil {
			w.t.Fatal(err)
		}
		rep, err := audit.VerifyBundle(&file, trust, audit.Options{Run: run})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range rep.Rules {
			if r.Status == audit.Broken || r.Status == audit.Undecidable && r.Rule != audit.RuleClaim {
				w.t.Errorf("the rule %s is %s: %v", r.Rule, r.Status, r.Findings)
			}
		}
	}
}

// environment sets the variables that docs/integrations/otlp.md tells users to set.
func (w *world) environment() {
	w.t.Helper()
	page, err := os.ReadFile("../../docs/integrations/otlp.md")
	if err != nil {
		w.t.Fatal(err)
	}
	exports := regexp.MustCompile(`(?m)^export (\w+)="(.*)"$`).FindAllStringSubmatch(string(page), -1)
	if len(exports) != 4 {
		w.t.Fatalf("want the four variables of the page, found %d", len(exports))
	}
	for _, e := range exports {
		w.t.Setenv(e[1], strings.NewReplacer("$SERVER", w.url, "$TOKEN", w.token).Replace(e[2]))
	}
}

// TestExporter: what OpenTelemetry's own exporter sends becomes a run of the
// token's agent, which an auditor finds in order: what a span shows is observed,
// what stands in messages alone is imported.
func TestExporter(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.environment()
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		t.Fatal(err)
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter))
	tracer := provider.Tracer("support")
	str := attribute.String
	in, agent := tracer.Start(ctx, "invoke_agent support", trace.WithAttributes(str("gen_ai.operation.name", "invoke_agent"),
		str("gen_ai.agent.name", "somebody-else"), str("gen_ai.conversation.id", "talk-17")))
	_, chat := tracer.Start(in, "chat gpt-5", trace.WithAttributes(str("gen_ai.operation.name", "chat"), str("gen_ai.request.model", "gpt-5"),
		str("gen_ai.input.messages", `[{"role":"user","parts":[{"type":"text","content":"Refund order 7."}]}]`),
		str("gen_ai.output.messages", `[{"role":"assistant","parts":[{"type":"tool_call","id":"c1","name":"refund","arguments":{"order":7}},{"type":"tool_call","id":"c2","name":"mail","arguments":{}},{"type":"tool_call","id":"c3","name":"forget","arguments":{}}]}]`)))
	chat.End()
	_, tool := tracer.Start(in, "execute_tool refund", trace.WithAttributes(str("gen_ai.operation.name", "execute_tool"), str("gen_ai.tool.name", "refund"),
		str("gen_ai.tool.call.id", "c1"), str("gen_ai.tool.call.result", `{"ok":true}`)))
	tool.End()
	_, mail := tracer.Start(in, "execute_tool mail", trace.WithAttributes(str("gen_ai.operation.name", "execute_tool"), str("gen_ai.tool.name", "mail"), str("gen_ai.tool.call.id", "c2")))
	mail.SetStatus(codes.Error, "mailbox unknown")
	mail.End()
	_, again := tracer.Start(in, "chat gpt-5", trace.WithAttributes(str("gen_ai.operation.name", "chat"),
		str("gen_ai.input.messages", `[{"role":"tool","parts":[{"type":"tool_call_response","id":"c3","response":"gone"}]}]`),
		str("gen_ai.output.messages", `[{"role":"assistant","parts":[{"type":"text","content":"Done."}]}]`)))
	again.End()
	agent.End()
	if err := provider.Shutdown(ctx); err != nil {
		t.Fatalf("the exporter: %v", err)
	}
	if runs, _ := w.runs(); len(runs) != 0 {
		t.Error("a trace was written before it was quiet")
	}
	w.receiver.Close()

	runs, lines := w.runs()
	if len(runs) != 1 {
		t.Fatalf("want one run, found %d", len(runs))
	}
	want := map[string]string{"refund": "observed success", "mail": "observed failure", "forget": "imported success"}
	for _, r := range lines[0] {
		switch b := r.Body.(type) {
		case *evidence.RunOpened:
			if r.Actor != bench.Agent || b.Source != evidence.SourceObserved || b.Subject != "conversation:talk-17" || b.Task != "observed" {
				t.Errorf("run.opened of %s: %+v", r.Actor, b)
			}
		case *evidence.Authorization:
			if s, _, _ := strings.Cut(want[b.Action], " "); string(b.Source) != s || b.Effect != evidence.Allow || b.Mode != evidence.Observe || b.Decision.IsZero() {
				t.Errorf("authorization: %+v", b)
			}
		case *evidence.Execution:
			if got := fmt.Sprintf("%s %s", b.Source, b.Status); got != want[b.Action] {
				t.Errorf("%s: want %s, found %s", b.Action, want[b.Action], got)
			}
			delete(want, b.Action)
		}
	}
	if len(want) > 0 || lines[0][len(lines[0])-1].Kind != evidence.KindRunClosed {
		t.Errorf("left: %v", want)
	}
	w.checkAudited(runs)
}

// export is an export with one span in OTLP's JSON.
func export(trace, span int, attributes string) string {
	return fmt.Sprintf(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%032x","spanId":"%016x","name":"chat","startTimeUnixNano":"%d","endTimeUnixNano":"%d","attributes":[%s]}]}]}]}`,
		trace, span, 1780065130000000000+span, 1780065130000000000+span+5, attributes)
}

// spanOf cuts the one span out of an export.
func spanOf(export string) string {
	_, rest, _ := strings.Cut(export, `"spans":[`)
	return strings.TrimSuffix(rest, `]}]}]}`)
}

const chat = `{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}}`

func (w *world) post(token, kind, body string, header ...string) (int, string) {
	w.t.Helper()
	return w.send(http.MethodPost, api.PathTraces, token, kind, body, header...)
}

func (w *world) send(method, path, token, kind, body string, header ...string) (int, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if method == http.MethodPost && resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Type") != kind {
		w.t.Errorf("%s is answered by %s", kind, resp.Header.Get("Content-Type"))
	}
	return resp.StatusCode, string(b)
}

// TestSpanWithoutEnd: a call whose end no span tells is not called observed, and
// breaks no rule.
func TestSpanWithoutEnd(t *testing.T) {
	w := newWorld(t)
	open := strings.Replace(export(1, 1, `{"key":"gen_ai.operation.name","value":{"stringValue":"execute_tool"}},{"key":"gen_ai.tool.name","value":{"stringValue":"refund"}}`),
		`"endTimeUnixNano":"1780065130000000006"`, `"endTimeUnixNano":"0"`, 1)
	if _, p := w.receiver.Take(t.Context(), bench.Agent, []byte(open), true); p != nil {
		t.Fatal(p)
	}
	w.receiver.Close()
	runs, lines := w.runs()
	if len(runs) != 1 {
		t.Fatalf("want one run, found %d", len(runs))
	}
	found := false
	for _, r := range lines[0] {
		if b, ok := r.Body.(*evidence.Execution); ok {
			found = true
			if b.Status != evidence.StatusUnknown || b.Source != evidence.SourceImported {
				t.Errorf("execution: %+v", b)
			}
		}
	}
	if !found {
		t.Error("want the call recorded")
	}
	w.checkAudited(runs)
}

func TestWhoMaySendWhat(t *testing.T) {
	w := newWorld(t)
	good := export(1, 1, chat)
	for name, c := range map[string]struct {
		token, kind, body string
		header            []string
		status            int
		says              string
	}{
		"JSON":                 {w.token, api.MediaJSON, good, nil, 200, "{}"},
		"protobuf":             {w.token, api.MediaProtobuf, "", nil, 200, ""},
		"no token":             {"", api.MediaJSON, good, nil, 401, "no_token"},
		"another right":        {w.grant(bench.Agent, api.RightRecord, api.RightRead), api.MediaJSON, good, nil, 403, "right"},
		"the runtime":          {w.grant(bench.Runtime, api.RightAct), api.MediaJSON, good, nil, 403, "other_actor"},
		"an agent not here":    {w.grant("nobody", api.RightAct), api.MediaJSON, good, nil, 403, "other_actor"},
		"another type":         {w.token, "text/plain", good, nil, 415, "media_type"},
		"compressed":           {w.token, api.MediaJSON, good, []string{"Content-Encoding", "gzip"}, 415, "media_type"},
		"no OTLP":              {w.token, api.MediaJSON, "[]", nil, 400, "malformed"},
		"protobuf that is not": {w.token, api.MediaProtobuf, "\xff\xff", nil, 400, "malformed"},
		"a short trace ID":     {w.token, api.MediaJSON, strings.Replace(good, `"traceId":"0000`, `"traceId":"`, 1), nil, 400, "16 bytes"},
		"too much":             {w.token, api.MediaJSON, strings.Repeat(" ", api.MaxBatchSize+1), nil, 413, "too_large"},
	} {
		status, body := w.post(c.token, c.kind, c.body, c.header...)
		if status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: want %d and %q, found %d and %s", name, c.status, c.says, status, body)
		}
	}
	w.receiver.Close()
	if status, body := w.post(w.token, api.MediaJSON, good); status != 503 || !strings.Contains(body, "stopping") {
		t.Errorf("after the end: %d %s", status, body)
	}
	if runs, _ := w.runs(); len(runs) != 1 {
		t.Errorf("want one run, of the one trace that was taken, found %d", len(runs))
	}
}

// TestLateAndTwice: spans that are sent again are there once; those that come after
// their trace was written are a run of their own; and nobody adds to another
// agent's trace.
func TestLateAndTwice(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Register(t.Context(), w.Root, &evidence.ActorRegistered{Name: "other", Role: evidence.RoleAgent, Host: bench.Runtime}); err != nil {
		t.Fatal(err)
	}
	take := func(r *traces.Receiver, actor, body string) {
		t.Helper()
		if _, p := r.Take(t.Context(), actor, []byte(body), true); p != nil {
			t.Fatal(p)
		}
	}
	want := func(runs int, when string) {
		t.Helper()
		if all, _ := w.runs(); len(all) != runs {
			t.Fatalf("%s: want %d runs, found %d", when, runs, len(all))
		}
	}
	first, second := export(1, 1, chat), export(1, 2, chat)
	take(w.receiver, bench.Agent, first)
	take(w.receiver, bench.Agent, first)
	take(w.receiver, "other", second)
	take(w.receiver, bench.Agent, export(2, 3, `{"key":"http.request.method","value":{"stringValue":"GET"}}`))
	w.receiver.Close()
	want(2, "one trace, of which two agents speak, and one of no agent's work")
	size := w.Head().Size

	again := w.newReceiver() // the daemon after a restart
	take(again, bench.Agent, first)
	again.Close()
	want(2, "sent again")
	if w.Head().Size != size {
		t.Error("spans that were sent again are recorded twice")
	}
	again = w.newReceiver()
	take(again, bench.Agent, second)
	again.Close()
	want(3, "a span that came late")
	runs, lines := w.runs()
	for _, line := range lines {
		decisions := 0
		for _, r := range line {
			if r.Kind == evidence.KindDecision {
				decisions++
			}
		}
		if decisions != 1 {
			t.Errorf("want the one span in the run of %s, found %d", line[0].Actor, decisions)
		}
	}
	w.checkAudited(runs)
}

// TestWrittenWhenQuiet: a trace is written without anybody's word, and what an
// exporter sends again after that is known.
func TestWrittenWhenQuiet(t *testing.T) {
	w := newWorld(t)
	r := w.open(traces.Config{Quiet: time.Millisecond})
	defer r.Close()
	closed := func() int {
		n := 0
		for _, err := range w.Find(t.Context(), ledger.Filter{Kind: evidence.KindRunClosed}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	for i := 1; i <= 2; i++ {
		// Two spans in one export; the test sends one of them again.
		two := strings.Replace(export(i, i, chat), `"spans":[`, `"spans":[`+spanOf(export(i, 10+i, chat))+`,`, 1)
		if _, p := r.Take(t.Context(), bench.Agent, []byte(two), true); p != nil {
			t.Fatal(p)
		}
		for deadline := time.Now().Add(30 * time.Second); closed() < i; time.Sleep(2 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the trace is not written")
			}
		}
		if _, p := r.Take(t.Context(), bench.Agent, []byte(export(1, 1, chat)), true); p != nil {
			t.Fatal(p)
		}
	}
	r.Close()
	if n := closed(); n != 2 {
		t.Errorf("want two runs, found %d", n)
	}
}

// TestBounds: of a trace that is too large the rest is rejected, and said to be;
// an agent that sends more than is held is told to come again, and another is not.
func TestBounds(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Register(t.Context(), w.Root, &evidence.ActorRegistered{Name: "other", Role: evidence.RoleAgent, Host: bench.Runtime}); err != nil {
		t.Fatal(err)
	}
	big := `{"key":"x","value":{"stringValue":"` + strings.Repeat("x", 6<<20) + `"}}`
	rejected, busy := int64(0), false
	for i := range 9 {
		answer, p := w.receiver.Take(t.Context(), bench.Agent, []byte(export(1+i/3, i+1, big)), true)
		if p != nil {
			busy = busy || p.Status == 503 && p.Reason == api.ReasonBusy
			continue
		}
		if strings.Contains(string(answer), `"rejectedSpans":"1"`) || strings.Contains(string(answer), `"rejectedSpans": "1"`) {
			rejected++
		}
	}
	if rejected == 0 || !busy {
		t.Errorf("%d spans were rejected, busy: %v", rejected, busy)
	}
	body, err := proto.Marshal(&collector.ExportTraceServiceRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, p := w.receiver.Take(context.Background(), "other", body, false); p != nil {
		t.Errorf("another agent: %v", p)
	}
	if _, p := w.receiver.Take(context.Background(), "other", []byte(export(1, 1, big)), true); p != nil {
		t.Errorf("another agent: %v", p)
	}
}

// TestLargeBesideItsSpans: each span is held with what surrounds it, and lies on disk with
// what came beside it. Neither takes more room than what is held at a time: what never fits
// is refused for good, what does not fit now is to come again.
func TestLargeBesideItsSpans(t *testing.T) {
	w := newWorld(t)
	var many []string
	for i := range 1000 {
		many = append(many, export(1, i+1, chat))
	}
	wide := strings.Replace(together(many...), `{"scopeSpans"`, `{"resource":{"attributes":[{"key":"x","value":{"stringValue":"`+strings.Repeat("x", 1<<20)+`"}}]},"scopeSpans"`, 1)
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	_, p := w.receiver.Take(t.Context(), bench.Agent, []byte(wide), true)
	goruntime.ReadMemStats(&after)
	if p == nil || p.Status != http.StatusRequestEntityTooLarge || p.Reason != api.ReasonTooLarge {
		t.Errorf("1000 spans with 1 MiB around each: %v", p)
	}
	if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 200 {
		t.Errorf("%d MiB were taken to refuse an export of %d MiB", n, len(wide)>>20)
	}
	// Nor does an export of empty spans, whose objects are many times as large as what came.
	empty := bytes.Repeat([]byte{0x12, 0}, 4<<20-20)
	for _, number := range []protowire.Number{2, 1} {
		empty = protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), empty)
	}
	for _, c := range []struct {
		body   []byte
		isJSON bool
	}{{empty, false}, {[]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Repeat("{},", 2700000) + `{}]}]}]}`), true}} {
		goruntime.ReadMemStats(&before)
		_, p := w.receiver.Take(t.Context(), bench.Agent, c.body, c.isJSON)
		goruntime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) >> 20; p == nil || p.Reason != api.ReasonTooLarge || n > 64 {
			t.Errorf("empty spans, JSON %v: %v after %d MiB", c.isJSON, p, n)
		}
	}
	blank := strings.Repeat(" ", api.MaxBatchSize-1<<10)
	taken := 0
	for i := range 40 {
		if _, p = w.receiver.Take(t.Context(), bench.Agent, []byte(export(2, i+1, chat)+blank), true); p != nil {
			break
		}
		taken++
	}
	if p == nil || p.Reason != api.ReasonBusy || taken == 0 {
		t.Errorf("%d exports of 8 MiB lie on disk: %v", taken, p)
	}
	w.receiver.Close()
	again := w.newReceiver()
	if _, p := again.Take(t.Context(), bench.Agent, []byte(export(3, 1, chat)+blank), true); p != nil {
		t.Errorf("after they were written: %v", p)
	}
	again.Close()
}

// TestMetrics: Prometheus is told what was taken, refused and rejected, what waits, and what
// could not be written.
func TestMetrics(t *testing.T) {
	w := newWorld(t)
	w.receiver.Close()
	now := time.Now()
	im := w.importer(refusing{importer.Embedded{Ledger: w.Ledger}})
	im.Now = func() time.Time { return now }
	r := w.open(traces.Config{Quiet: time.Hour, Importer: im})
	h, err := server.New(server.Config{Ledger: w.Ledger, Tokens: w.tokens, Spans: r})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	w.url = srv.URL
	reader := w.grant(bench.Agent, api.RightRead)
	told := func(when string, want ...string) {
		t.Helper()
		_, text := w.send(http.MethodGet, api.PathMetrics, reader, "", "")
		for _, line := range want {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("%s: no %s", when, line)
			}
		}
	}
	told("at first", "ledgerd_span_exports_total 0", "ledgerd_traces_waiting 0")
	big := `{"key":"x","value":{"stringValue":"` + strings.Repeat("x", 6<<20) + `"}}`
	for i := range 3 {
		w.post(w.token, api.MediaJSON, export(1, i+1, big))
	}
	w.post(w.token, api.MediaJSON, together(used(2, 1), used(2, 2)))
	w.post(w.token, api.MediaJSON, "[]")
	w.post(w.token, "text/plain", "")
	w.post(w.grant(bench.Runtime, api.RightAct), api.MediaJSON, used(1, 1))
	told("while they wait", "ledgerd_span_exports_total 4", "ledgerd_spans_total 4", "ledgerd_spans_rejected_total 1", "ledgerd_traces_waiting 2",
		`ledgerd_span_exports_refused_total{reason="malformed"} 1`, `ledgerd_span_exports_refused_total{reason="media_type"} 1`,
		`ledgerd_span_exports_refused_total{reason="other_actor"} 1`, "ledgerd_traces_failed_total 0")
	if c := r.Counts(); c.Bytes < 12<<20 || c.Bytes > 13<<20 || c.OnDisk < 12<<20 || c.OnDisk > 13<<20 {
		t.Errorf("want the bytes of two large spans and two small ones, found %+v", c)
	}
	now = now.Add(time.Hour)
	r.Close()
	// None of the first trace is an agent's: it becomes no run, and has not failed.
	told("at the end", "ledgerd_traces_failed_total 1", "ledgerd_traces_waiting 0", "ledgerd_traces_waiting_bytes 0", "ledgerd_traces_disk_bytes 0")
}
