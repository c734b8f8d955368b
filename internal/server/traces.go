package server

import (
	"context"
	"mime"
	"net/http"

	"ledgerd/internal/api"
)

// Spans takes what exporters of traces send.
type Spans interface {
	// Take takes an ExportTraceServiceRequest of an actor, in protobuf or in OTLP's
	// JSON, and returns the response in the same encoding.
	Take(ctx context.Context, actor string, body []byte, isJSON bool) ([]byte, *api.Problem)
	Counts() SpanCounts
}

// SpanCounts says what became of spans since the daemon started, and what waits.
type SpanCounts struct {
	Exports, Spans uint64 // taken: durable; what was sent again counts again
	Rejected       uint64 // spans of these, of traces that are too large
	Failed         uint64 // traces that could not be written, and are left on disk
	Waiting        int    // traces that are not written yet
	Bytes, OnDisk  int    // of their spans; of the exports that these came in
}

// postTraces is OTLP over HTTP. What is wrong is answered by a problem, as
// everywhere here, and not by the Status message of the protocol: exporters go by
// the code.
func (s *Server) postTraces(w http.ResponseWriter, r *http.Request, g *Grant) {
	if s.cfg.Spans == nil {
		s.problem(w, r, api.NewProblem(http.StatusNotImplemented, api.ReasonNotConfigured,
			"this daemon records no spans: it is a restored copy, or has no runtime's key in its directory"))
		return
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	answer, p := s.takeSpans(w, r, g, kind)
	if p != nil {
		s.metrics.exports.WithLabelValues(p.Reason).Inc()
		s.problem(w, r, p)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(answer)
}

func (s *Server) takeSpans(w http.ResponseWriter, r *http.Request, g *Grant, kind string) ([]byte, *api.Problem) {
	if kind != api.MediaProtobuf && kind != api.MediaJSON {
		return nil, api.NewProblem(http.StatusUnsupportedMediaType, api.ReasonMediaType,
			"want Content-Type %s or %s, found %q", api.MediaProtobuf, api.MediaJSON, kind)
	}
	body, release, p := s.readAll(w, r, api.MaxBatchSize)
	if p != nil {
		return nil, p
	}
	defer release()
	return s.cfg.Spans.Take(r.Context(), g.Actor, body, kind == api.MediaJSON)
}
