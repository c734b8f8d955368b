package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"ledgerd/internal/api"
)

// reserve is how many connections there may be beyond Limits.Connections, for
// probes alone: where every other one has a request at work, an orchestrator
// still hears that the daemon lives.
const reserve = 64

// connections bounds the connections that are open.
//
// A connection waits, or has a request at work. At the limit, a new one takes
// the place of the one that has waited longest: who holds connections open and
// asks nothing, or never comes to the end of his headers, loses them first. The
// requests at work have limits of their own, and end.
type connections struct {
	limit int

	mu      sync.Mutex // guards what follows, and place of every connection
	open    int
	waiting list.List // of *conn, the longest first
}

// A conn is a connection that is counted, that remembers its last bytes
// (framedTwice), and that nobody watches while it waits for a commit.
type conn struct {
	net.Conn
	tail []byte // of what was read, recent bytes or more

	unwatched atomic.Bool // see unwatch; only while a request is at work

	deadline deadline

	in     *connections
	place  *list.Element // in waiting; nil: a request is at work, or it is closed
	closed bool
	probes bool // beyond the limit: answers probes, once
}

type limitedListener struct {
	net.Listener
	in *connections
}

func (l limitedListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: nc, in: l.in}
		victim, ok := l.in.admit(c)
		if victim != nil {
			victim.cut()
		}
		if ok {
			return c, nil
		}
		c.cut()
	}
}

// admit counts a connection in, and returns the one that has to go for it.
// false: there is no place.
func (s *connections) admit(c *conn) (victim *conn, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= s.limit {
		if oldest := s.waiting.Front(); oldest != nil {
			victim = oldest.Value.(*conn)
			s.drop(victim)
		} else if s.open >= s.limit+reserve {
			c.closed = true
			return nil, false
		}
	}
	c.probes = s.open >= s.limit
	s.open++
	c.place = s.waiting.PushBack(c)
	return victim, true
}

// drop counts a connection out, once. The caller has the lock.
func (s *connections) drop(c *conn) {
	if c.closed {
		return
	}
	c.closed = true
	s.open--
	s.rest(c)
}

// rest takes a connection out of those that wait.
func (s *connections) rest(c *conn) {
	if c.place != nil {
		s.waiting.Remove(c.place)
		c.place = nil
	}
}

// count returns how many are open.
func (s *connections) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// begin notes that a request is at work, until end.
func (c *conn) begin() {
	c.in.mu.Lock()
	c.in.rest(c)
	c.in.mu.Unlock()
}

func (c *conn) end() {
	c.unwatched.Store(false)
	c.in.mu.Lock()
	if !c.closed {
		c.place = c.in.waiting.PushBack(c)
	}
	c.in.mu.Unlock()
}

// unwatch makes the request at work one that goes on if its client leaves: it
// waits for a commit, which is milliseconds, and which nothing takes it out of.
// net/http, once it has the body, has a goroutine wait for the next byte or the
// end of the client, and stops it before the answer: for a single record that is
// a twentieth of what the daemon does. It is called before the body is read.
func (c *conn) unwatch() {
	if c != nil {
		c.unwatched.Store(true)
	}
}

// A deadline of reading reaches the connection when something waits for a read.
// net/http and upload set five for a request that came in one piece, and one of
// them matters.
type deadline struct {
	mu      sync.Mutex // guards what follows
	due     time.Time  // as it was set last
	set     time.Time  // that the connection has
	reading bool
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	d := &c.deadline
	d.mu.Lock()
	defer d.mu.Unlock()
	d.due = t
	if !d.reading {
		return nil
	}
	return c.meet()
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// meet gives the connection the deadline that is due. The caller has the lock.
func (c *conn) meet() error {
	d := &c.deadline
	if d.set == d.due {
		return nil
	}
	d.set = d.due
	return c.Conn.SetReadDeadline(d.due)
}

func (c *conn) startReading() error {
	c.deadline.mu.Lock()
	defer c.deadline.mu.Unlock()
	c.deadline.reading = true
	return c.meet()
}

func (c *conn) stopReading() {
	c.deadline.mu.Lock()
	c.deadline.reading = false
	c.deadline.mu.Unlock()
}

// Close closes the connection and gives its place to another.
func (c *conn) Close() error {
	c.in.mu.Lock()
	c.in.drop(c)
	c.in.mu.Unlock()
	return c.Conn.Close()
}

// cut closes a connection that was counted out, without a last word, which a
// stranger could let us wait to say.
func (c *conn) cut() {
	if t, ok := c.Conn.(*tls.Conn); ok {
		_ = t.NetConn().Close()
		return
	}
	_ = c.Conn.Close()
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf returns the connection of a request, nil where a test has none.
func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// probe refuses what is no probe on a connection that is for probes alone.
func (s *Server) probe(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Connection", "close")
	if r.URL.Path == api.PathHealth || r.URL.Path == api.PathReady {
		return true
	}
	s.problem(w, r, api.NewProblem(http.StatusServiceUnavailable, api.ReasonBusy,
		"%d connections are open and at work, as many as are taken at a time: try again later", s.limits.Connections))
	return false
}
