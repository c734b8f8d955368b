package main

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"ledgerd/evidence"
	"ledgerd/internal/datadir"
	"ledgerd/runtime"
)

// TestTraces: a daemon that the environment tells where traces go sends the spans
// of the runs that it drives, in the trace of whoever asked; each record of the run
// names its span, and the span the record. What is left at SIGTERM is sent.
func TestTraces(t *testing.T) {
	var mu sync.Mutex
	spans := make(map[string]*tracepb.Span)
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var in collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &in)
		}
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range in.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					spans[hex.EncodeToString(s.SpanId)] = s
				}
			}
		}
	}))
	defer sink.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "600000") // nothing is sent before the stop

	dir, flags, token := agentDir(t, newTicketServer(t))
	p := start(t, dir.Path, flags...)
	const theirs = "0af7651916cd43dd8448eb211c80319c"
	send := func(path, body string) string {
		t.Helper()
		req, err := http.NewRequest(http.MethodPut, p.url+"/v1/runs/"+path, strings.NewReader(body))
		if strings.HasSuffix(path, "/run") {
			req, err = http.NewRequest(http.MethodPost, p.url+"/v1/runs/"+path, strings.NewReader(body))
		}
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Traceparent", "00-"+theirs+"-b7ad6b7169203331-01")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s %v", path, resp.Status, b, err)
		}
		return string(b)
	}
	send("complaint-1", `{"task":"x"}`)
	send("complaint-1/steps/ticket", `{"tool":"ticket","input":{"text":"xyzzy"}}`)
	send("complaint-1/steps/ticket/run", `{"tool":"ticket","input":{"text":"xyzzy"}}`)
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.read
	if err := p.Wait(); err != nil {
		t.Errorf("SIGTERM: %v: %s", err, p.stderr)
	}

	l, err := dir.Ledger(t.Context(), datadir.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	key, err := dir.Key(dir.Runtime)
	if err != nil {
		t.Fatal(err)
	}
	rt, err := runtime.New(runtime.Config{
		Ledger: runtime.Embedded{Ledger: l.Ledger}, Origin: l.Origin(), Actor: dir.Runtime, Key: key, Permit: runtime.PermitterFunc(nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []evidence.Kind
	for r, err := range l.Run(t.Context(), rt.RunID("complaint-1")) {
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, r.Record.Kind)
		inTrace, inSpan := runtime.TraceOf(r.Record)
		s := spans[inSpan]
		if s == nil || inTrace != theirs || hex.EncodeToString(s.TraceId) != theirs || !strings.Contains(s.String(), r.ID.String()) {
			t.Errorf("%s: %s, and the span %v", r.Record.Kind, r.Record.Ext, s)
		}
		if strings.Contains(s.String(), "xyzzy") || strings.Contains(s.String(), "complaint-1") {
			t.Errorf("an input, or the run's key, is in the span %v", s)
		}
	}
	if len(kinds) != 3 {
		t.Errorf("records: %v; spans: %v", kinds, spans)
	}
}
