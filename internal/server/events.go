package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"ledgerd/internal/api"
)

// heartbeat is how often a stream without news says that it is still there.
const heartbeat = 15 * time.Second

// stream takes a place among the long answers; false: there is none left, and
// the problem has been sent.
func (s *Server) takeStream(w http.ResponseWriter, r *http.Request) bool {
	if s.streams.take(1) {
		return true
	}
	w.Header().Set("Retry-After", "5")
	s.problem(w, r, api.NewProblem(http.StatusServiceUnavailable, api.ReasonBusy,
		"%d streams are under way, as many as are served at a time", s.limits.Streams))
	return false
}

// events sends every record once, in order, from where the reader was: the
// records themselves are the buffer, so that a slow reader costs nothing.
func (s *Server) events(w http.ResponseWriter, r *http.Request, _ *Grant) {
	v := parseQuery(r, "after")
	next := s.ledger.Head().Size
	last := r.Header.Get("Last-Event-ID")
	if last == "" && v.has("after") {
		last = v.q.Get("after")
	}
	if last != "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < -1 || n >= int64(next) {
			v.p = badRequest("want the index of a record that is there, -1 to %d, found %q", int64(next)-1, last)
		}
		next = uint64(n + 1)
	}
	if v.p != nil {
		s.problem(w, r, v.p)
		return
	}
	if !s.takeStream(w, r) {
		return
	}
	defer s.streams.give(1)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)()

	w.Header().Set("Content-Type", api.MediaEvents)
	w.Header().Set("Cache-Control", "no-store")
	out := s.stream(w)
	if _, err := out.Write([]byte(": the id of an event is the index of its record\n\n")); err != nil {
		return
	}
	for {
		if out.conn.Flush() != nil {
			return
		}
		wait, done := context.WithTimeout(ctx, heartbeat)
		err := s.ledger.Log().Wait(wait, next+1)
		done()
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, context.DeadlineExceeded):
			if _, err := out.Write([]byte(": nothing new\n\n")); err != nil {
				return
			}
			continue
		case err != nil:
			return // the log has ended; the reader comes again
		}
		if next, err = s.sendEvents(ctx, out, next); err != nil {
			return
		}
	}
}

func (s *Server) sendEvents(ctx context.Context, out *streamWriter, next uint64) (uint64, error) {
	var b bytes.Buffer
	for p, err := range s.ledger.Records(ctx, next, s.ledger.Head().Size) {
		if err != nil {
			return next, err
		}
		data, err := json.Marshal(Record(&p))
		if err != nil {
			return next, err
		}
		b.Reset()
		b.WriteString("id: " + strconv.FormatUint(p.Index, 10) + "\nevent: record\ndata: ")
		b.Write(data) // JSON has no line ends
		b.WriteString("\n\n")
		if _, err := out.Write(b.Bytes()); err != nil {
			return next, err
		}
		next = p.Index + 1
	}
	return next, nil
}
