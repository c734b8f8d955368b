// Package telemetry sets OpenTelemetry traces up from the environment: where they
// go, by the standard variables, and off where none of these asks for it.
//
//	tracing, err := telemetry.Setup(ctx, version, log)
//	...
//	runtime.Config{Tracer: tracing.Provider(), ...}
//	r = tracing.Incoming(r) // of each request
//	...
//	tracing.Shutdown(ctx) // sends what is still here
//
// Spans are made by package runtime. This package is all that imports the SDK and
// the exporter: a program that embeds the runtime brings its own provider.
//
// Traces are sent by OTLP over HTTP (http/protobuf or http/json). The gRPC
// exporter is not built in.
package telemetry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
)

// Tracing sends spans. A nil one is fine: nothing is traced.
type Tracing struct {
	provider *sdk.TracerProvider
	incoming propagation.TextMapPropagator // nil: what callers say of traces is not heard
}

// Setup makes what the environment asks for; nil where it asks for nothing. It
// refuses what it cannot do, and what the exporter would pass over with a line in
// a log that quotes it: a header's value is a secret.
//
// The exporter's errors go to log. They are process-wide, as the SDK has them.
func Setup(ctx context.Context, version string, log *slog.Logger) (*Tracing, error) {
	on, err := wanted()
	if !on || err != nil {
		return nil, err
	}
	if err := check(); err != nil {
		return nil, err
	}
	t := &Tracing{}
	if t.incoming, err = propagator(); err != nil {
		return nil, err
	}
	// Later ones win: the environment names the service otherwise.
	res, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName("ledgerd"), semconv.ServiceVersion(version)), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("the exporter of traces: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces", "error", clip(err.Error())) }))
	t.provider = sdk.NewTracerProvider(sdk.WithResource(res), sdk.WithBatcher(exporter))
	return t, nil
}

// maxError is how much of what a collector answers goes to the log.
const maxError = 300

func clip(s string) string {
	if len(s) > maxError {
		return s[:maxError] + "…"
	}
	return s
}

// Provider is what [ledgerd/runtime.Config] wants; nil where nothing is traced.
func (t *Tracing) Provider() trace.TracerProvider {
	if t == nil {
		return nil
	}
	return t.provider
}

// Incoming returns the request with the trace in its context that it names by its
// traceparent (W3C Trace Context), so that what it makes the runtime do belongs
// there. Baggage is not taken.
func (t *Tracing) Incoming(r *http.Request) *http.Request {
	if t == nil || t.incoming == nil {
		return r
	}
	return r.WithContext(t.incoming.Extract(r.Context(), propagation.HeaderCarrier(r.Header)))
}

// Shutdown sends the spans that have ended and are still here, and stops. What
// cannot be sent until ctx ends is lost: it is no evidence.
func (t *Tracing) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// env is a variable's value: an empty one is as good as none, as the
// specification has it.
func env(name string) string { return strings.TrimSpace(os.Getenv(name)) }

// signal is a variable of the exporter: that for traces goes before the general
// one. name is the one that is set.
func signal(what string) (name, value string) {
	for _, prefix := range []string{"OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"} {
		if v := env(prefix + what); v != "" {
			return prefix + what, v
		}
	}
	return "", ""
}

// wanted reports whether traces are to be sent. The specification would have them
// sent to localhost where nothing is said; here that means off.
func wanted() (bool, error) {
	if strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	switch v := env("OTEL_TRACES_EXPORTER"); v {
	case "none":
		return false, nil
	case "otlp":
		return true, nil
	case "":
		_, endpoint := signal("ENDPOINT")
		return endpoint != "", nil
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER: want otlp or none, found %q", v)
	}
}

// check refuses settings of the exporter that it does not know or cannot read.
func check() error {
	switch name, v := signal("PROTOCOL"); v {
	case "", "http/protobuf", "http/json":
	case "grpc":
		return fmt.Errorf("%s: want http/protobuf or http/json, found grpc: ledgerd has no gRPC exporter. Collectors take OTLP over HTTP too, on port 4318 by default", name)
	default:
		return fmt.Errorf("%s: want http/protobuf or http/json, found %q", name, v)
	}
	if name, v := signal("ENDPOINT"); v != "" {
		u, err := url.Parse(v)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			return fmt.Errorf("%s: want a URL such as http://127.0.0.1:4318, without a user", name) // it may hold a password
		}
	}
	for _, prefix := range []string{"OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"} {
		if err := checkHeaders(prefix+"HEADERS", env(prefix+"HEADERS")); err != nil {
			return err
		}
	}
	if name, v := signal("TIMEOUT"); v != "" {
		if n, err := strconv.Atoi(v); err != nil || n < 0 {
			return fmt.Errorf("%s: want milliseconds, found %q", name, v)
		}
	}
	if name, v := signal("COMPRESSION"); v != "" && v != "gzip" && v != "none" {
		return fmt.Errorf("%s: want gzip or none, found %q", name, v)
	}
	if name, v := signal("CERTIFICATE"); v != "" {
		if _, err := os.Stat(v); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	cert, certFile := signal("CLIENT_CERTIFICATE")
	key, keyFile := signal("CLIENT_KEY")
	if certFile != "" || keyFile != "" {
		if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
			return fmt.Errorf("%s, %s: %w", cert, key, err)
		}
	}
	return nil
}

// checkHeaders looks at name=value pairs, and says nothing of values.
func checkHeaders(name, list string) error {
	if list == "" {
		return nil
	}
	for i, pair := range strings.Split(list, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || strings.TrimSpace(key) == "" {
			return fmt.Errorf("%s: want name=value pairs with commas between them, found none in part %d", name, i+1)
		}
		if _, err := url.PathUnescape(value); err != nil {
			return fmt.Errorf("%s: want percent-encoded values, found a %% that encodes nothing in part %d", name, i+1)
		}
	}
	return nil
}

// propagator is what callers may say of their traces. Baggage is listed in the
// default of the specification, and is not taken all the same: nothing here reads
// it, and it would be handed on.
func propagator() (propagation.TextMapPropagator, error) {
	list := env("OTEL_PROPAGATORS")
	if list == "" {
		return propagation.TraceContext{}, nil
	}
	var p propagation.TextMapPropagator
	for name := range strings.SplitSeq(list, ",") {
		switch name = strings.TrimSpace(name); name {
		case "tracecontext":
			p = propagation.TraceContext{}
		case "baggage":
		case "none":
			return nil, nil
		default:
			return nil, errors.New("OTEL_PROPAGATORS: want tracecontext, baggage or none, found " + strconv.Quote(name))
		}
	}
	return p, nil
}
