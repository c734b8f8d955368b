package server

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"ledgerd/internal/api"
)

// Limits bounds what strangers can make the daemon hold. The zero value of a
// field stands for the default beside it.
type Limits struct {
	HeaderTimeout time.Duration // 5 s: from the first byte of a request, or a new connection, to the end of its headers
	IdleTimeout   time.Duration // 120 s: between two requests of a connection
	BodyGrace     time.Duration // 10 s: what a body may take, besides the time that its bytes are worth
	BodyRate      int64         // 16 KiB/s: what a byte is worth
	Connections   int           // 4,096, or half of the files that the process may have open
	Uploads       int           // 1,024: requests whose bodies are being read
	UploadBytes   int64         // 128 MiB: bytes of unfinished bodies of records in memory
	Streams       int           // 256: event streams and exports at a time
	HeaderBytes   int           // 16 KiB
}

// DefaultLimits are the limits of a daemon that is told no others.
func DefaultLimits() Limits { return Limits{}.withDefaults() }

func (l Limits) withDefaults() Limits {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&l.HeaderTimeout, 5*time.Second)
	set(&l.IdleTimeout, 120*time.Second)
	set(&l.BodyGrace, 10*time.Second)
	if l.BodyRate == 0 {
		l.BodyRate = 16 << 10
	}
	if l.Connections == 0 {
		l.Connections = 4096
		if files := maxFiles(); files > 0 {
			l.Connections = min(l.Connections, files/2)
		}
	}
	if l.Uploads == 0 {
		l.Uploads = 1024
	}
	if l.UploadBytes == 0 {
		l.UploadBytes = 128 << 20
	}
	if l.Streams == 0 {
		l.Streams = 256
	}
	if l.HeaderBytes == 0 {
		l.HeaderBytes = 16 << 10
	}
	return l
}

// gauge counts what is at work, up to a limit.
type gauge struct {
	n     atomic.Int64
	limit int64
}

// take never counts what it does not give, not for a moment: others are refused, and
// told, by what is in use.
func (g *gauge) take(n int64) bool {
	for {
		used := g.n.Load()
		if used+n > g.limit {
			return false
		}
		if g.n.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (g *gauge) give(n int64) { g.n.Add(-n) }

// upload is the body of a request: as slow as Limits allow and no slower, and
// counted while it lasts. Whoever opened one closes it.
type upload struct {
	s    *Server
	body io.Reader
	conn *http.ResponseController
	// writer is told that the body was read to its end.
	writer *statusWriter
	start  time.Time
	read   int64
	due    time.Time // the deadline that the connection has
}

// upload takes a place among the uploads. nil: there is none left, and the
// problem has been sent.
func (s *Server) upload(w http.ResponseWriter, r *http.Request) *upload {
	if !s.uploads.take(1) {
		s.problem(w, r, api.NewProblem(http.StatusServiceUnavailable, api.ReasonBusy,
			"%d uploads are under way, as many as are taken at a time: try again later", s.limits.Uploads))
		return nil
	}
	u := &upload{s: s, body: r.Body, conn: http.NewResponseController(w), start: s.now()}
	u.writer, _ = w.(*statusWriter)
	return u
}

// Read extends the deadline by what was read so far. The first read has only
// the grace: a small body costs one deadline.
func (u *upload) Read(p []byte) (int, error) {
	worth := time.Duration(u.read) * time.Second / time.Duration(u.s.limits.BodyRate)
	// A deadline a little too early would be unfair, one set for every read a
	// waste: it is moved in steps of a second.
	if due := u.start.Add(u.s.limits.BodyGrace + worth); due.Sub(u.due) >= time.Second {
		if err := u.conn.SetReadDeadline(due); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, err
		}
		u.due = due
	}
	n, err := u.body.Read(p)
	u.read += int64(n)
	if errors.Is(err, io.EOF) && u.writer != nil {
		u.writer.bodyRead = true
	}
	return n, err
}

func (u *upload) Close() {
	u.s.uploads.give(1)
	if u.writer == nil || u.writer.bodyRead {
		// Without a deadline again: the server watches the connection for the
		// end of its client while the handler waits for a commit.
		_ = u.conn.SetReadDeadline(time.Time{})
	}
}

// tooSlow reports whether a read failed because its deadline passed.
func tooSlow(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// bodyProblem says what a body that could not be read means.
func (s *Server) bodyProblem(err error) *api.Problem {
	if tooSlow(err) {
		return api.NewProblem(http.StatusRequestTimeout, api.ReasonSlow,
			"want a body at %d bytes a second or faster", s.limits.BodyRate)
	}
	return api.NewProblem(http.StatusBadRequest, api.ReasonMalformed, "the body could not be read: %v", err)
}

// readAll reads a body of at most max bytes into memory that is counted. The
// caller gives the bytes back by release.
func (s *Server) readAll(w http.ResponseWriter, r *http.Request, max int64) (body []byte, release func(), p *api.Problem) {
	if r.ContentLength > max {
		return nil, nil, tooLarge(max)
	}
	u := s.upload(w, r)
	if u == nil {
		return nil, nil, errSent
	}
	defer u.Close()
	size := r.ContentLength
	if size < 0 {
		size = 4 << 10
	}
	// No more is allocated at once than a stranger has to send first.
	size = min(size, 64<<10)
	taken := int64(0)
	release = func() { s.uploadBytes.give(taken) }
	buf := make([]byte, 0, size+1)
	grow := func(n int64) bool {
		if !s.uploadBytes.take(n) {
			return false
		}
		taken += n
		return true
	}
	if !grow(int64(cap(buf))) {
		return nil, nil, s.uploadsFull()
	}
	for {
		if len(buf) == cap(buf) {
			more := int64(cap(buf))
			if left := r.ContentLength + 1 - more; left > 0 {
				more = min(more, left) // one byte beyond the body, to see its end
			}
			if !grow(more) {
				release()
				return nil, nil, s.uploadsFull()
			}
			bigger := make([]byte, len(buf), int64(cap(buf))+more)
			copy(bigger, buf)
			buf = bigger
		}
		n, err := u.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > max {
			release()
			// A JWS has two dots. A body of millions of them is refused for
			// what it is, not for its length.
			if max <= 64<<10 && bytes.Count(buf, []byte{'.'}) > 2 {
				return nil, nil, api.NewProblem(http.StatusBadRequest, api.ReasonForm,
					"JWS: want three parts with a dot between them: a compact JWS")
			}
			return nil, nil, tooLarge(max)
		}
		if errors.Is(err, io.EOF) {
			return buf, release, nil
		}
		if err != nil {
			release()
			return nil, nil, s.bodyProblem(err)
		}
	}
}

// errSent stands for a problem that was sent already.
var errSent = new(api.Problem)

func (s *Server) uploadsFull() *api.Problem {
	return api.NewProblem(http.StatusServiceUnavailable, api.ReasonBusy,
		"unfinished uploads fill the %d bytes set aside for them: try again later", s.limits.UploadBytes)
}

func tooLarge(max int64) *api.Problem {
	return api.NewProblem(http.StatusRequestEntityTooLarge, api.ReasonTooLarge, "want a body of at most %d bytes", max)
}

// guard refuses what a browser was tricked into, and what smuggles: before any
// handler, and before the token is looked at.
func (s *Server) guard(w http.ResponseWriter, r *http.Request) bool {
	if !s.ourHost(r) {
		// DNS rebinding: a page elsewhere, whose name now resolves to us.
		s.problem(w, r, api.NewProblem(http.StatusMisdirectedRequest, api.ReasonHost,
			"this daemon is not called %q: say --host for other names than its address", r.Host))
		return false
	}
	if err := s.crossOrigin.Check(r); err != nil {
		s.problem(w, r, api.NewProblem(http.StatusForbidden, api.ReasonCrossOrigin, "%v", err))
		return false
	}
	if ce := r.Header.Get("Content-Encoding"); ce != "" && !strings.EqualFold(ce, "identity") {
		s.problem(w, r, api.NewProblem(http.StatusUnsupportedMediaType, api.ReasonMediaType,
			"want a body that is not compressed, found Content-Encoding %q", ce))
		return false
	}
	if len(r.TransferEncoding) > 0 && framedTwice(r) {
		s.problem(w, r, api.NewProblem(http.StatusBadRequest, api.ReasonMalformed,
			"want Content-Length or Transfer-Encoding, found both"))
		return false
	}
	return true
}

// ourHost reports whether the Host of a request is a name of this daemon: its
// address, a loopback name, or one that it was told.
func (s *Server) ourHost(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	return s.hosts[strings.ToLower(host)]
}
