package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// One record a request is what a runtime sends for every step that it takes, on
// the machine that the daemon runs on. http.Transport hands such a request to
// two goroutines of its own and back, which costs more than the system calls; a
// wire writes it and reads the answer where it was called. It does what that
// takes and no more: HTTP/1.1 without TLS, a body that fits into one write, an
// answer that fits into memory. Everything else goes through http.Client.

const (
	maxWired   = 64 << 10 // bytes of a body: one record
	maxAnswer  = 64 << 10 // bytes of an answer, with its headers
	maxIdle    = 256      // connections that are kept
	idleTime   = 60 * time.Second
	answerSize = 4 << 10 // of a connection's reader
)

// A wire sends POST requests to one path of one server.
type wire struct {
	dial func(context.Context) (net.Conn, error)
	head []byte // of every request, up to the value of Content-Type

	mu    sync.Mutex
	idle  []*wireConn // guarded by mu; the one used last at the end
	timed bool        // guarded by mu; expire will be called
}

// wireConn is used by one request at a time.
type wireConn struct {
	net.Conn
	in   io.LimitedReader // what may still come
	r    *bufio.Reader    // of in
	out  []byte           // the last request: its room is used again
	used time.Time        // when it became idle
}

// newWire returns nil where a request needs more than a wire does.
func newWire(base *url.URL, path, auth, socket string) *wire {
	if base.Scheme != "http" || strings.ContainsFunc(base.Host+auth, func(c rune) bool { return c < ' ' || c > '~' }) {
		return nil // what is no header, http.Client refuses with a better error
	}
	network, address := "unix", socket
	if socket == "" {
		port := base.Port()
		if port == "" {
			port = "80"
		}
		network, address = "tcp", net.JoinHostPort(base.Hostname(), port)
	}
	u := url.URL{Path: base.Path + path}
	head := "POST " + u.RequestURI() + " HTTP/1.1\r\nHost: " + base.Host + "\r\n"
	if auth != "" {
		head += "Authorization: " + auth + "\r\n"
	}
	return &wire{
		dial: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, network, address) },
		head: []byte(head + "Content-Type: "),
	}
}

// post sends a body and returns its answer, whose body is in memory.
func (w *wire) post(ctx context.Context, media string, body []byte) (*http.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := w.conn(ctx)
	if err != nil {
		return nil, err
	}
	uncancel := func() bool { return true }
	if ctx.Done() != nil {
		// A deadline in the past ends what is being written or read.
		uncancel = context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	}
	resp, err := c.exchange(w.head, media, body)
	if !uncancel() || err != nil || resp.Close {
		_ = c.Close()
	} else {
		w.keep(c)
	}
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return resp, err
}

func (c *wireConn) exchange(head []byte, media string, body []byte) (*http.Response, error) {
	out := append(append(c.out[:0], head...), media...)
	out = strconv.AppendInt(append(out, "\r\nContent-Length: "...), int64(len(body)), 10)
	out = append(append(out, "\r\n\r\n"...), body...)
	c.out = out
	_, sent := c.Write(out)
	// A daemon that refuses a request before it has read it all may have
	// answered, and closed the connection, while this was being written.
	c.in.N = maxAnswer
	resp, text := c.usual()
	var err error
	if resp == nil {
		if resp, err = http.ReadResponse(c.r, nil); err == nil {
			text, err = io.ReadAll(resp.Body)
		}
	}
	switch {
	case c.in.N == 0:
		return nil, fmt.Errorf("want an answer of less than %d bytes", maxAnswer)
	case err != nil && sent != nil:
		return nil, sent
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	// An interim answer has another behind it, and one that is there already
	// is one that nobody asked for: neither may answer the next request.
	resp.Close = resp.Close || sent != nil || resp.StatusCode < 200 || c.r.Buffered() > 0
	return resp, nil
}

// usual reads the answer that a record which was taken has: 200 or 201, with
// the headers that the daemon writes and no others, in one piece. It leaves any
// other answer where it is, for http.ReadResponse.
func (c *wireConn) usual() (*http.Response, []byte) {
	_, _ = c.r.Peek(1) // waits; an error comes again from the next read
	all, _ := c.r.Peek(c.r.Buffered())
	head, body, whole := bytes.Cut(all, []byte("\r\n\r\n"))
	line, head, _ := bytes.Cut(head, []byte("\r\n"))
	status := 0
	switch string(line) {
	case "HTTP/1.1 201 Created":
		status = http.StatusCreated
	case "HTTP/1.1 200 OK":
		status = http.StatusOK
	}
	if !whole || status == 0 {
		return nil, nil
	}
	length := -1
	for len(head) > 0 {
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "Content-Type", "Date", "Location", "X-Content-Type-Options":
		case "Content-Length":
			n, err := strconv.ParseUint(string(value), 10, 16)
			if err != nil || length >= 0 {
				return nil, nil
			}
			length = int(n)
		default:
			return nil, nil
		}
	}
	if length < 0 || length > len(body) {
		return nil, nil
	}
	text := bytes.Clone(body[:length])
	_, _ = c.r.Discard(len(all) - len(body) + length)
	return &http.Response{StatusCode: status}, text
}

// conn returns a connection that nobody uses.
func (w *wire) conn(ctx context.Context) (*wireConn, error) {
	for {
		w.mu.Lock()
		n := len(w.idle)
		if n == 0 {
			w.mu.Unlock()
			break
		}
		c := w.idle[n-1]
		w.idle[n-1], w.idle = nil, w.idle[:n-1]
		w.mu.Unlock()
		if quiet(c.Conn) {
			return c, nil
		}
		_ = c.Close()
	}
	nc, err := w.dial(ctx)
	if err != nil {
		return nil, err
	}
	c := &wireConn{Conn: nc, in: io.LimitedReader{R: nc}}
	c.r = bufio.NewReaderSize(&c.in, answerSize)
	return c, nil
}

// keep makes a connection one that nobody uses.
func (w *wire) keep(c *wireConn) {
	c.used = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.idle) == maxIdle {
		_ = c.Close()
		return
	}
	w.idle = append(w.idle, c)
	if !w.timed {
		w.timed = true
		time.AfterFunc(idleTime, w.expire)
	}
}

// expire closes what nobody has used for idleTime.
func (w *wire) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := 0
	for old < len(w.idle) && time.Since(w.idle[old].used) >= idleTime {
		_ = w.idle[old].Close()
		old++
	}
	kept := copy(w.idle, w.idle[old:])
	clear(w.idle[kept:])
	w.idle = w.idle[:kept]
	if w.timed = kept > 0; w.timed {
		time.AfterFunc(idleTime-time.Since(w.idle[0].used), w.expire)
	}
}
