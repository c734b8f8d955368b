package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/http"

	"ledgerd/audit"
	"ledgerd/internal/api"
	"ledgerd/ledger"
)

func (s *Server) getTrust(w http.ResponseWriter, r *http.Request, _ *Grant) {
	t, err := s.ledger.Trust()
	var b []byte
	if err == nil {
		b, err = t.Marshal()
	}
	if err != nil {
		s.problem(w, r, s.readProblem(err))
		return
	}
	w.Header().Set("Content-Type", api.MediaJSON)
	_, _ = w.Write(b)
}

func (s *Server) getRegistry(w http.ResponseWriter, r *http.Request, _ *Grant) {
	g := s.ledger.Registry()
	// The tag is read before what it stands for: what is tagged may be newer than
	// its tag says, and never older, so that nobody misses a revocation.
	tag := `"` + g.Tail().String() + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-cache")
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	s.answer(w, r, http.StatusOK, Registry(g))
}

// Registry writes a registry down as it stands.
func Registry(g *audit.Registry) api.Registry {
	a := api.Registry{Origin: g.Origin(), Number: g.Number(), Tip: g.Tail(), Actors: []api.Actor{}}
	for _, actor := range g.Actors() {
		one := api.Actor{Name: actor.Name, Role: actor.Role, Host: actor.Host, Teams: actor.Teams, Active: actor.Active()}
		for _, k := range actor.Keys {
			key := api.Key{Kid: k.Key.Thumbprint(), Key: k.Key.JWK(), From: k.From}
			if k.Until != math.MaxUint64 {
				key.Revoked = &k.Until
			}
			if k.Suspect != math.MaxUint64 {
				key.Suspect = &k.Suspect
			}
			one.Keys = append(one.Keys, key)
		}
		a.Actors = append(a.Actors, one)
	}
	return a
}

func (s *Server) listTokens(w http.ResponseWriter, r *http.Request, _ *Grant) {
	s.answer(w, r, http.StatusOK, api.Tokens{Tokens: s.tokens.List()})
}

// maxSmall bounds the body of an administrative request.
const maxSmall = 64 << 10

func (s *Server) addToken(w http.ResponseWriter, r *http.Request, g *Grant) {
	body, release, p := s.readAll(w, r, maxSmall)
	if p != nil {
		s.problem(w, r, p)
		return
	}
	defer release()
	var want api.NewToken
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&want); err != nil {
		s.problem(w, r, badRequest("want an object with actor and rights: %v", err))
		return
	}
	token, err := s.tokens.Add(want, s.now())
	if err != nil {
		s.problem(w, r, badRequest("%v", err))
		return
	}
	s.log.InfoContext(r.Context(), "token added", "token", token.ID, "actor", token.Actor, "rights", token.Rights, "by", g.ID)
	w.Header().Set("Cache-Control", "no-store")
	s.answer(w, r, http.StatusCreated, token)
}

func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request, g *Grant) {
	id := r.PathValue("token")
	if err := s.tokens.Revoke(id); err != nil {
		if errors.Is(err, ErrNoToken) {
			s.problem(w, r, notFound(err.Error()))
		} else {
			s.problem(w, r, s.readProblem(err))
		}
		return
	}
	s.log.InfoContext(r.Context(), "token revoked", "token", id, "by", g.ID)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) backup(w http.ResponseWriter, r *http.Request, _ *Grant) {
	if s.cfg.Backup == nil {
		s.problem(w, r, api.NewProblem(http.StatusNotImplemented, api.ReasonNotConfigured, "this daemon was started without a place for backups"))
		return
	}
	size := s.ledger.Head().Size
	dir, err := s.cfg.Backup(r.Context())
	if err != nil {
		s.problem(w, r, s.readProblem(err))
		return
	}
	s.answer(w, r, http.StatusCreated, api.Backup{Directory: dir, Size: size})
}

func (s *Server) check(w http.ResponseWriter, r *http.Request, _ *Grant) {
	if !s.takeStream(w, r) {
		return
	}
	defer s.streams.give(1)
	report, err := s.ledger.Check(r.Context(), nil)
	if err != nil {
		s.problem(w, r, s.readProblem(err))
		return
	}
	s.answer(w, r, http.StatusOK, Checked(report))
}

// Checked writes the report of a check down.
func Checked(r *ledger.CheckReport) *api.Checked {
	c := &api.Checked{
		Size: r.Log.Head.Size, Entries: r.Log.Entries, Tiles: r.Log.Tiles, Signatures: r.Signatures, Rows: r.Rows,
		Payloads: r.Payloads, Erased: r.Erased, Absent: r.Absent, Differences: []string{},
	}
	for _, d := range r.Log.Differences {
		c.Differences = append(c.Differences, d.String())
	}
	for _, d := range r.Differences {
		c.Differences = append(c.Differences, d.String())
	}
	return c
}

func (s *Server) getOpenAPI(w http.ResponseWriter, _ *http.Request, _ *Grant) {
	w.Header().Set("Content-Type", api.MediaJSON)
	_, _ = s.stream(w).Write(s.openapi)
}

func (s *Server) health(w http.ResponseWriter, r *http.Request, _ *Grant) {
	s.answer(w, r, http.StatusOK, api.Health{Status: "ok"})
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request, _ *Grant) {
	if err := s.ledger.Err(); err != nil {
		s.problem(w, r, api.NewProblem(http.StatusServiceUnavailable, api.ReasonStopping, "no records are taken: %v", err))
		return
	}
	s.answer(w, r, http.StatusOK, api.Health{Status: "ok", Size: s.ledger.Head().Size, Origin: s.ledger.Origin()})
}

func (s *Server) prometheus(w http.ResponseWriter, r *http.Request, _ *Grant) {
	s.metrics.handler().ServeHTTP(w, r)
}
