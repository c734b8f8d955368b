package telemetry_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"ledgerd/evidence"
	"ledgerd/internal/telemetry"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

// A receiver takes OTLP over HTTP, as a collector does.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	resource []*common.KeyValue
	spans    []*tracepb.Span
	headers  []http.Header
	answer   int // a status; 0: 200
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var in collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &in)
		}
		if err != nil || req.Method != http.MethodPost || req.URL.Path != "/v1/traces" || req.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s %v: %v", req.Method, req.URL, req.Header, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.headers = append(r.headers, req.Header)
		if r.answer != 0 {
			w.WriteHeader(r.answer)
			_, _ = io.WriteString(w, strings.Repeat("no ", 1000))
			return
		}
		for _, rs := range in.ResourceSpans {
			r.resource = rs.Resource.Attributes
			for _, ss := range rs.ScopeSpans {
				r.spans = append(r.spans, ss.Spans...)
			}
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func value(list []*common.KeyValue, key string) string {
	for _, kv := range list {
		if kv.Key == key {
			if s := kv.Value.GetStringValue(); s != "" {
				return s
			}
			return kv.Value.String()
		}
	}
	return ""
}

// clear takes what the environment says of OpenTelemetry away, and sets the rest.
func clear(t *testing.T, set ...string) {
	for _, name := range []string{
		"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL",
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_PROPAGATORS",
	} {
		t.Setenv(name, "")
	}
	for _, s := range set {
		name, v, _ := strings.Cut(s, "=")
		t.Setenv(name, v)
	}
}

func setup(t *testing.T, log io.Writer) *telemetry.Tracing {
	t.Helper()
	tracing, err := telemetry.Setup(context.Background(), "v0.0.0-test", slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return tracing
}

type in struct{ To string }

var tool = runtime.NewFunc(runtime.Spec{Name: "email", Action: "send_email"}, func(context.Context, *runtime.Call, in) (string, error) { return "sent", nil })

// play drives a small run.
func play(ctx context.Context, t *testing.T, w *runtimetest.World, tracing *telemetry.Tracing) evidence.RunID {
	t.Helper()
	w.Config = func(c *runtime.Config) { c.Tracer = tracing.Provider() }
	run, err := w.Runtime(tool).Open(ctx, "key", runtime.As(runtimetest.Agent), runtime.Task("complaint", nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runtime.Do(ctx, run, "notify", tool, in{"mia"}); err != nil {
		t.Fatal(err)
	}
	if err := run.Close(ctx); err != nil {
		t.Fatal(err)
	}
	return run.ID()
}

// TestExport: the spans of a run arrive at a collector, and each record's is among
// them, with the record's evidence ID.
func TestExport(t *testing.T) {
	r := newReceiver(t)
	clear(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+r.URL, "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20s3cr3t", "OTEL_SERVICE_NAME=support",
		"OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test")
	var log bytes.Buffer
	tracing := setup(t, &log)
	w := runtimetest.New(t)
	run := play(context.Background(), t, w, tracing)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := tracing.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	bySpan := make(map[string]*tracepb.Span)
	for _, s := range r.spans {
		bySpan[hex.EncodeToString(s.SpanId)] = s
	}
	if len(bySpan) != 4 {
		t.Errorf("%d spans arrived", len(bySpan))
	}
	for _, p := range w.Records(run) {
		var ext map[string]json.RawMessage
		var at struct{ Trace, Span string }
		if err := json.Unmarshal(p.Record.Ext, &ext); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(ext[runtime.ExtTrace], &at); err != nil {
			t.Fatal(err)
		}
		s := bySpan[at.Span]
		if s == nil || hex.EncodeToString(s.TraceId) != at.Trace || value(s.Attributes, "ledgerd.evidence.id") != p.ID.String() {
			t.Errorf("%s: %s, and the span %v", p.Record.Kind, p.Record.Ext, s)
		}
	}
	if value(r.resource, "service.name") != "support" || value(r.resource, "deployment.environment.name") != "test" || value(r.resource, "service.version") != "v0.0.0-test" {
		t.Error(r.resource)
	}
	if r.headers[0].Get("Authorization") != "Bearer s3cr3t" {
		t.Error(r.headers[0])
	}
	if log.Len() > 0 {
		t.Error(log.String())
	}
}

// TestExportFails: a collector that refuses stops nothing. It is told, in short.
func TestExportFails(t *testing.T) {
	r := newReceiver(t)
	r.answer = http.StatusForbidden
	clear(t, "OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+r.URL+"/v1/traces", "OTEL_EXPORTER_OTLP_HEADERS=authorization=s3cr3t")
	var log bytes.Buffer
	tracing := setup(t, &log)
	play(context.Background(), t, runtimetest.New(t), tracing)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := tracing.Shutdown(ctx)
	said := log.String()
	if err != nil {
		said += err.Error()
	}
	if !strings.Contains(said, "403") || strings.Contains(said, "s3cr3t") || len(log.String()) > 1000 {
		t.Errorf("%v, and the log says %q", err, log.String())
	}
}

// TestOff: nothing is made, and so nothing sent, unless the environment asks.
func TestOff(t *testing.T) {
	r := newReceiver(t)
	for _, set := range [][]string{
		{},
		{"OTEL_SERVICE_NAME=support"},
		{"OTEL_TRACES_EXPORTER=none", "OTEL_EXPORTER_OTLP_ENDPOINT=" + r.URL},
		{"OTEL_SDK_DISABLED=true", "OTEL_EXPORTER_OTLP_ENDPOINT=" + r.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"},
	} {
		t.Run(strings.Join(set, " "), func(t *testing.T) {
			clear(t, set...)
			tracing := setup(t, t.Output())
			if tracing != nil || tracing.Provider() != nil {
				t.Fatal("something was set up")
			}
			w := runtimetest.New(t)
			run := play(context.Background(), t, w, tracing)
			for _, p := range w.Records(run) {
				if strings.Contains(string(p.Record.Ext), runtime.ExtTrace) {
					t.Errorf("%s has %s", p.Record.Kind, p.Record.Ext)
				}
			}
			if err := tracing.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	if len(r.headers) > 0 {
		t.Error("something was sent")
	}
}

func TestRefused(t *testing.T) {
	const on = "OTEL_TRACES_EXPORTER=otlp"
	for _, c := range []struct {
		set  []string
		want string
	}{
		{[]string{"OTEL_TRACES_EXPORTER=zipkin"}, "OTEL_TRACES_EXPORTER: want otlp or none"},
		{[]string{on, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL: want http/protobuf or http/json, found grpc"},
		{[]string{on, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=carrier-pigeon"}, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: want http/protobuf"},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4317"}, "OTEL_EXPORTER_OTLP_ENDPOINT: want a URL"},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=https://me:s3cr3t@collector"}, "OTEL_EXPORTER_OTLP_ENDPOINT: want a URL"},
		{[]string{on, "OTEL_EXPORTER_OTLP_HEADERS=a=b,s3cr3t"}, "OTEL_EXPORTER_OTLP_HEADERS: want name=value pairs with commas between them, found none in part 2"},
		{[]string{on, "OTEL_EXPORTER_OTLP_HEADERS=a=s3cr3t%zz"}, "OTEL_EXPORTER_OTLP_HEADERS: want percent-encoded values"},
		{[]string{on, "OTEL_EXPORTER_OTLP_TIMEOUT=10s"}, "OTEL_EXPORTER_OTLP_TIMEOUT: want milliseconds"},
		{[]string{on, "OTEL_EXPORTER_OTLP_COMPRESSION=zstd"}, "OTEL_EXPORTER_OTLP_COMPRESSION: want gzip or none"},
		{[]string{on, "OTEL_EXPORTER_OTLP_CERTIFICATE=/nowhere"}, "OTEL_EXPORTER_OTLP_CERTIFICATE: "},
		{[]string{on, "OTEL_EXPORTER_OTLP_CLIENT_KEY=/nowhere"}, "OTEL_EXPORTER_OTLP_CLIENT_KEY: "},
		{[]string{on, "OTEL_PROPAGATORS=b3"}, `OTEL_PROPAGATORS: want tracecontext, baggage or none, found "b3"`},
	} {
		t.Run(strings.Join(c.set, " "), func(t *testing.T) {
			clear(t, c.set...)
			_, err := telemetry.Setup(context.Background(), "", slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("want %q, found %v", c.want, err)
			}
		})
	}
}

// TestIncoming: what a caller's request makes the runtime do belongs to the
// caller's trace.
func TestIncoming(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, c := range []struct {
		name, propagators, header string
		joins                     bool
	}{
		{"of the caller", "", parent, true},
		{"no header", "", "", false},
		{"no trace context", "", "00-00000000000000000000000000000000-b7ad6b7169203331-01", false},
		{"not heard", "none", parent, false},
		{"baggage only", "baggage", parent, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReceiver(t)
			clear(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+r.URL, "OTEL_PROPAGATORS="+c.propagators)
			tracing := setup(t, t.Output())
			w := runtimetest.New(t)
			api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				play(tracing.Incoming(req).Context(), t, w, tracing)
			}))
			defer api.Close()
			req, err := http.NewRequest(http.MethodPut, api.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.header != "" {
				req.Header.Set("Traceparent", c.header)
			}
			resp, err := api.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if err := tracing.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
			if len(r.spans) == 0 {
				t.Error("no span arrived")
			}
			for _, s := range r.spans {
				if joins := hex.EncodeToString(s.TraceId) == "0af7651916cd43dd8448eb211c80319c"; joins != c.joins {
					t.Errorf("%s is in the trace %x", s.Name, s.TraceId)
				}
				if c.joins && s.Name == "invoke_agent test-agent" && hex.EncodeToString(s.ParentSpanId) != "b7ad6b7169203331" {
					t.Errorf("the run's parent is %x", s.ParentSpanId)
				}
			}
		})
	}
	if r := httptest.NewRequest(http.MethodGet, "/", nil); (*telemetry.Tracing)(nil).Incoming(r) != r {
		t.Error("off: another request")
	}
}
