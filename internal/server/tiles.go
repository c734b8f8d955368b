package server

import (
	"errors"
	"net/http"
	"strconv"

	"ledgerd/internal/api"
	"ledgerd/ledger/tlog"
)

// What never changes may be kept for ever, but not by a cache that others
// share where the log is not public.
func (s *Server) immutable(w http.ResponseWriter) {
	scope := "private"
	if s.cfg.PublicLog {
		scope = "public"
	}
	w.Header().Set("Cache-Control", scope+", max-age=31536000, immutable")
}

func (s *Server) getHead(w http.ResponseWriter, _ *http.Request, _ *Grant) {
	head := s.ledger.Head()
	h := w.Header()
	h.Set("Content-Type", api.MediaText)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(head.Note)))
	_, _ = w.Write(head.Note)
}

func (s *Server) getTile(w http.ResponseWriter, r *http.Request, _ *Grant) {
	tile, entries, err := tlog.ParseTilePath("tile/" + r.PathValue("path"))
	if err != nil {
		s.problem(w, r, notFound(err.Error()))
		return
	}
	var b []byte
	if entries {
		b, err = s.ledger.Log().EntryTile(r.Context(), tile.N, tile.Width)
	} else {
		b, err = s.ledger.Log().Tile(r.Context(), tile)
	}
	if errors.Is(err, tlog.ErrBeyond) {
		s.problem(w, r, notFound(err.Error()))
		return
	}
	if err != nil {
		s.problem(w, r, s.readProblem(err))
		return
	}
	s.immutable(w)
	h := w.Header()
	h.Set("Content-Type", api.MediaBytes)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = s.stream(w).Write(b)
}
