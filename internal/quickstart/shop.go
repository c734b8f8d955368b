package quickstart

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// localServer is an HTTP server on a free port of this machine.
type localServer struct {
	url    string
	server *http.Server
	served chan error
}

func startHTTP(h http.Handler) (*localServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &localServer{
		url: "http://" + l.Addr().String(), served: make(chan error, 1),
		server: &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }},
	}
	s.server.RegisterOnShutdown(cancel)
	go func() { s.served <- s.server.Serve(l) }()
	return s, nil
}

// close ends the server, and with it the context of requests that are under way.
func (s *localServer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// shop is the system behind the tools: POST /tickets opens a ticket, POST
// /refunds pays back. Under an Idempotency-Key that it had it does nothing again,
// and gives the answer that it gave.
type shop struct {
	*localServer

	mu       sync.Mutex
	answers  map[string]string // by path and key
	bodies   map[string][32]byte
	requests map[string]int // by path
	made     map[string]int // by path
	troubles []trouble      // of the next requests for tickets
}

// trouble is what goes wrong with a request.
type trouble int

const (
	silent trouble = iota // it does the work, and never answers
	busy                  // it does nothing, and says so: 503
)

func startShop() (*shop, error) {
	s := &shop{
		answers: make(map[string]string), bodies: make(map[string][32]byte),
		requests: make(map[string]int), made: make(map[string]int),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /tickets", s.handle)
	mux.HandleFunc("POST /refunds", s.handle)
	var err error
	s.localServer, err = startHTTP(mux)
	return s, err
}

// plague has the next requests for tickets go wrong, one after the other.
func (s *shop) plague(t ...trouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.troubles = t
}

// count returns how many were made of what a path makes, and by how many requests.
func (s *shop) count(path string) (made, requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made[path], s.requests[path]
}

func (s *shop) handle(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the client is gone
	}
	status, answer, never := s.serve(r.URL.Path, r.Header.Get("Idempotency-Key"), body)
	if never {
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer)
}

// serve does what is asked, once a key; never: it keeps the answer to itself.
func (s *shop) serve(path, key string, body []byte) (status int, answer string, never bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[path]++
	if key == "" {
		return http.StatusBadRequest, `{"error":"want an Idempotency-Key"}`, false
	}
	if len(s.troubles) > 0 && path == "/tickets" {
		t := s.troubles[0]
		s.troubles = s.troubles[1:]
		if t == busy {
			return http.StatusServiceUnavailable, `{"error":"busy"}`, false
		}
		never = true
	}
	id, sum := path+" "+key, sha256.Sum256(body)
	if answer, ok := s.answers[id]; ok {
		if s.bodies[id] != sum {
			return http.StatusUnprocessableEntity, `{"error":"this key came with another body"}`, never
		}
		return http.StatusOK, answer, never
	}
	s.made[path]++
	answer = fmt.Sprintf(`{"id":"%s-%d"}`, path[1:len(path)-1], s.made[path])
	s.answers[id], s.bodies[id] = answer, sum
	return http.StatusCreated, answer, never
}
