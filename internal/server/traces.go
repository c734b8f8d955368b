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
	if kind != api.MediaProtobuf && kind != api.MediaJSON {
		s.problem(w, r, api.NewProblem(http.StatusUnsupportedMediaType, api.ReasonMediaType,
			"want Content-Type %s or %s, found %q", api.MediaProtobuf, api.MediaJSON, kind))
		return
	}
	body, release, p := s.readAll(w, r, api.MaxBatchSize)
	if p != nil {
		s.problem(w, r, p)
		return
	}
	defer release()
	answer, p := s.cfg.Spans.Take(r.Context(), g.Actor, body, kind == api.MediaJSON)
	if p != nil {
		s.problem(w, r, p)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(answer)
}
