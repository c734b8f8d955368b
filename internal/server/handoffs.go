package server

import (
	"errors"
	"net/http"

	"github.com/go-json-experiment/json"

	"ledgerd/evidence"
	"ledgerd/internal/agent"
	"ledgerd/internal/api"
	"ledgerd/internal/exchange"
)

func (s *Server) postOffer(w http.ResponseWriter, r *http.Request, g *Grant) {
	act(s, w, r, func(h *agent.Host, in api.MakeOffer) (any, error) {
		return h.Offer(r.Context(), g.Actor, r.PathValue("run"), in)
	})
}

func (s *Server) takeUp(w http.ResponseWriter, r *http.Request, g *Grant) {
	act(s, w, r, func(h *agent.Host, in api.TakeUp) (any, error) {
		return h.TakeUp(r.Context(), g.Actor, r.PathValue("run"), in)
	})
}

func (s *Server) listHandoffs(w http.ResponseWriter, r *http.Request, _ *Grant) {
	v := parseQuery(r, "after", "limit")
	first := uint64(0)
	if v.has("after") {
		first = v.number("after", 0) + 1
	}
	limit := v.number("limit", api.DefaultPage)
	if limit < 1 || limit > api.MaxPage {
		v.p = badRequest("limit: want 1 to %d, found %d: read what follows by after", api.MaxPage, limit)
	}
	if v.p != nil {
		s.problem(w, r, v.p)
		return
	}
	s.actRead(w, r, func(h *agent.Host) (any, error) { return h.Handoffs(r.Context(), first, int(limit)) })
}

// offerOf reads the offer of a path.
func offerOf(r *http.Request) (evidence.ID, *api.Problem) {
	id, err := evidence.ParseID(r.PathValue("offer"))
	if err != nil {
		return id, notFound(err.Error())
	}
	return id, nil
}

// maySee tells what a grant may see of an offer to an agent: what it says, and what
// is handed over.
func maySee(h *agent.Host, g *Grant) func(agent string) (seen, opened bool) {
	return func(agent string) (bool, bool) {
		own := g.May(api.RightAct) && h.Acts(g.Actor, agent)
		return own || g.May(api.RightRead), own || g.May(api.RightRead) && g.May(api.RightPayloads)
	}
}

func (s *Server) getHandoff(w http.ResponseWriter, r *http.Request, g *Grant) {
	offer, p := offerOf(r)
	if p != nil {
		s.problem(w, r, p)
		return
	}
	if !s.takeStream(w, r) { // it verifies
		return
	}
	defer s.streams.give(1)
	s.actRead(w, r, func(h *agent.Host) (any, error) { return h.Handoff(r.Context(), offer, maySee(h, g)) })
}

func (s *Server) getHandoffBundle(w http.ResponseWriter, r *http.Request, g *Grant) {
	offer, p := offerOf(r)
	if p != nil {
		s.problem(w, r, p)
		return
	}
	h := s.host(w, r)
	if h == nil || !s.takeStream(w, r) {
		return
	}
	defer s.streams.give(1)
	b, err := h.HandoffBundle(r.Context(), offer, maySee(h, g))
	if err != nil {
		s.problem(w, r, s.actProblem(err))
		return
	}
	w.Header().Set("Content-Type", api.MediaBundle)
	w.Header().Set("Content-Disposition", `attachment; filename="offer.bundle.jsonl"`)
	_, _ = s.stream(w).Write(b)
}

func (s *Server) rejectHandoff(w http.ResponseWriter, r *http.Request, g *Grant) {
	offer, p := offerOf(r)
	if p != nil {
		s.problem(w, r, p)
		return
	}
	act(s, w, r, func(h *agent.Host, in api.RejectOffer) (any, error) {
		return h.RejectOffer(r.Context(), g.Actor, offer, in)
	})
}

// exchange returns what goes between ledgers, nil where nothing does, and the problem
// was sent.
func (s *Server) exchange(w http.ResponseWriter, r *http.Request) *exchange.Exchange {
	if s.cfg.Handoffs == nil {
		s.problem(w, r, s.actProblem(agent.ErrNoHandoffs))
	}
	return s.cfg.Handoffs
}

func (s *Server) sendHandoff(w http.ResponseWriter, r *http.Request, _ *Grant) {
	x := s.exchange(w, r)
	if x == nil {
		return
	}
	id, p := offerOf(r)
	if p == nil {
		if err := x.Resend(r.Context(), id); err != nil {
			p = s.readProblem(err)
		}
	}
	if p != nil {
		s.problem(w, r, p)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) listPeers(w http.ResponseWriter, r *http.Request, _ *Grant) {
	if x := s.exchange(w, r); x != nil {
		s.answer(w, r, http.StatusOK, api.Peers{Peers: append([]api.Peer{}, x.Peers()...)})
	}
}

func (s *Server) addPeer(w http.ResponseWriter, r *http.Request, g *Grant) {
	x := s.exchange(w, r)
	if x == nil {
		return
	}
	body, release, p := s.readAll(w, r, api.MaxAct)
	if p != nil {
		s.problem(w, r, p)
		return
	}
	defer release()
	var want api.Peer
	if err := json.Unmarshal(body, &want, json.RejectUnknownMembers(true)); err != nil {
		s.problem(w, r, badRequest("want an object with url and trust: %v", err))
		return
	}
	peer, err := x.AddPeer(want)
	if err != nil {
		s.problem(w, r, badRequest("%v", err))
		return
	}
	s.log.InfoContext(r.Context(), "peer added", "origin", peer.Origin, "url", peer.URL, "by", g.ID)
	s.answer(w, r, http.StatusCreated, peer)
}

func (s *Server) removePeer(w http.ResponseWriter, r *http.Request, g *Grant) {
	x := s.exchange(w, r)
	if x == nil {
		return
	}
	v := parseQuery(r, "origin")
	if v.p == nil && !v.has("origin") {
		v.p = badRequest("want the origin of a peer's ledger")
	}
	if v.p != nil {
		s.problem(w, r, v.p)
		return
	}
	if err := x.RemovePeer(v.q.Get("origin")); err != nil {
		p := s.readProblem(err)
		if errors.Is(err, exchange.ErrNoPeer) {
			p = notFound(err.Error())
		}
		s.problem(w, r, p)
		return
	}
	s.log.InfoContext(r.Context(), "peer removed", "origin", v.q.Get("origin"), "by", g.ID)
	w.WriteHeader(http.StatusNoContent)
}
