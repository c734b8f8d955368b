package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/ledger"
)

// errBody marks an error as the sender's and not the vault's.
type errBody struct{ error }

func (e errBody) Unwrap() error { return e.error }

type bodyReader struct{ io.Reader }

func (b bodyReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = errBody{err}
	}
	return n, err
}

func (s *Server) putPayload(w http.ResponseWriter, r *http.Request, _ *Grant) {
	commit, err := evidence.ParseDigest(r.PathValue("commit"))
	if err != nil {
		s.problem(w, r, notFound("commitment: "+err.Error()))
		return
	}
	salt, err := evidence.ParseDigest(r.Header.Get(api.HeaderSalt))
	if err != nil {
		s.problem(w, r, badRequest("header %s: %v", api.HeaderSalt, err))
		return
	}
	media := r.Header.Get("Content-Type")
	if media == "" {
		s.problem(w, r, badRequest("want the commitment's media type as Content-Type"))
		return
	}
	if r.ContentLength < 0 {
		s.problem(w, r, api.NewProblem(http.StatusLengthRequired, api.ReasonMalformed, "want a Content-Length: the commitment names the size"))
		return
	}
	if max := s.ledger.Vault().MaxPayload(); r.ContentLength > max {
		s.problem(w, r, tooLarge(max))
		return
	}
	u := s.upload(w, r)
	if u == nil {
		return
	}
	defer u.Close()
	want := evidence.Commitment{Commit: commit, Size: r.ContentLength, Media: media}
	if err := s.ledger.PutCommitted(r.Context(), want, salt, bodyReader{u}); err != nil {
		s.problem(w, r, s.payloadProblem(err))
		return
	}
	s.answer(w, r, http.StatusOK, want)
}

// payloadProblem says why a payload was not stored.
func (s *Server) payloadProblem(err error) *api.Problem {
	var body errBody
	switch {
	case errors.As(err, &body):
		return s.bodyProblem(body.error)
	case errors.Is(err, ledger.ErrErased):
		return api.NewProblem(http.StatusGone, api.ReasonErased, "%v", err)
	case errors.Is(err, ledger.ErrPayloadSize):
		return tooLarge(s.ledger.Vault().MaxPayload())
	case errors.Is(err, ledger.ErrCommitment):
		return api.NewProblem(http.StatusUnprocessableEntity, api.ReasonCommitment, "%v: the commitment is SHA-256(salt || payload)", err)
	case isDiskFull(err):
		return api.NewProblem(http.StatusInsufficientStorage, api.ReasonDiskFull, "%v: reads go on", err)
	}
	return s.refusal(err)
}

func (s *Server) postPayloads(w http.ResponseWriter, r *http.Request, _ *Grant) {
	if kind := r.Header.Get("Content-Type"); kind != api.MediaJSONLines {
		s.problem(w, r, api.NewProblem(http.StatusUnsupportedMediaType, api.ReasonMediaType, "want Content-Type %s, found %q", api.MediaJSONLines, kind))
		return
	}
	body, release, p := s.readAll(w, r, api.MaxBatchSize)
	if p != nil {
		s.problem(w, r, p)
		return
	}
	defer release()
	payloads, err := parsePayloads(body)
	if err != nil {
		s.problem(w, r, badRequest("%v", err))
		return
	}
	stored, err := s.ledger.PutPayloads(r.Context(), payloads)
	if err != nil {
		s.problem(w, r, s.payloadProblem(err))
		return
	}
	s.answer(w, r, http.StatusOK, stored)
}

func parsePayloads(body []byte) ([]evidence.Payload, error) {
	var all []evidence.Payload
	for line := range bytes.Lines(body) {
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		var p api.PayloadLine
		err := d.Decode(&p)
		if err == nil && (p.Salt.IsZero() || p.Media == "") {
			err = errors.New("want members salt, media and data")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", len(all)+1, err)
		}
		if len(all) == api.MaxLines {
			return nil, fmt.Errorf("want at most %d payloads", api.MaxLines)
		}
		all = append(all, evidence.Payload{Salt: p.Salt, Media: p.Media, Data: p.Data})
	}
	if len(all) == 0 {
		return nil, errors.New("want one payload a line, found none")
	}
	return all, nil
}

// getPayload tells somebody without the right nothing, not even whether there
// is anything to tell: one answer, from before the vault is asked.
func (s *Server) getPayload(w http.ResponseWriter, r *http.Request, g *Grant) {
	absent := notFound("no such payload, or no right to it")
	commit, err := evidence.ParseDigest(r.PathValue("commit"))
	if err != nil || !g.May(api.RightPayloads) {
		s.problem(w, r, absent)
		return
	}
	p, err := s.ledger.Payload(r.Context(), commit)
	switch {
	case errors.Is(err, ledger.ErrNoPayload):
		s.problem(w, r, absent)
		return
	case errors.Is(err, ledger.ErrErased):
		s.problem(w, r, api.NewProblem(http.StatusGone, api.ReasonErased, "%v", err))
		return
	}
	if err != nil {
		s.problem(w, r, s.refusal(err))
		return
	}
	defer p.Close()
	// Whatever a payload holds, a browser saves it and runs nothing of it.
	h := w.Header()
	h.Set("Content-Type", api.MediaBytes)
	h.Set("Content-Disposition", `attachment; filename="`+commit.String()+`"`)
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.FormatInt(p.Size, 10))
	h.Set(api.HeaderSalt, evidence.Digest(p.Salt).String())
	h.Set(api.HeaderMedia, p.Media)
	if r.Method == http.MethodHead {
		return
	}
	if _, err := io.Copy(s.stream(w), p); err != nil {
		// The length was promised: the reader sees that it is cut short.
		s.log.WarnContext(r.Context(), "a payload was not sent whole", "commit", commit.String(), "error", err.Error())
		panic(http.ErrAbortHandler)
	}
}

func (s *Server) erasePayload(w http.ResponseWriter, r *http.Request, g *Grant) {
	v := parseQuery(r, "reason")
	commit, err := evidence.ParseDigest(r.PathValue("commit"))
	if err != nil {
		s.problem(w, r, notFound("commitment: "+err.Error()))
		return
	}
	reason := v.q.Get("reason")
	if v.p == nil && (reason == "" || len(reason) > 256) {
		v.p = badRequest("want reason, an identifier that says why, as it will stand in the log for good")
	}
	if v.p != nil {
		s.problem(w, r, v.p)
		return
	}
	p, err := s.ledger.Erase(r.Context(), commit, reason)
	if err != nil {
		s.problem(w, r, s.refusal(err))
		return
	}
	s.log.InfoContext(r.Context(), "payload erased", "commit", commit.String(), "record", p.ID.String(), "token", g.ID)
	s.answer(w, r, http.StatusOK, api.Placed{Status: http.StatusOK, Index: p.Index, ID: p.ID})
}
