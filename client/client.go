// Package client talks to a daemon: the ledger of package ledger over HTTP, with
// the same methods, so that a program that was written for one works with the
// other.
//
//	c, err := client.New("http://127.0.0.1:8420", client.Options{Token: token})
//	placed, err := c.Append(ctx, entry)
//
// # What it believes
//
// It does not check proofs: [ledgerd/audit] does, given a receipt or a bundle
// and a trust file. It does compare what the daemon hands out with the evidence
// ID that was asked for, so that a record is at least the one that was named.
//
// # Runs
//
// [Client.Open] opens a run that the daemon governs for this process: [Run] asks before
// a tool of the process is called, and reports what came of it. docs/clients.md says
// what holds.
//
// # Errors
//
// They are those of package ledger, so that errors.As and errors.Is find the
// same things: a *ledger.Refusal or *ledger.ConflictError for a record that was
// refused, tlog.ErrBusy, tlog.ErrDiskFull, tlog.ErrNotAppended, tlog.ErrUnknown.
// A connection that broke while an answer was awaited gives tlog.ErrUnknown as
// well: submitting the same bytes again finds out, and never appends them twice.
// All else that the daemon says is a *[Problem].
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ledgerd/internal/api"
)

// DefaultServer is where a daemon listens unless it is told otherwise.
const DefaultServer = "http://127.0.0.1:8420"

// Problem is what the daemon says where it does not do what it was asked
// (RFC 9457).
type Problem = api.Problem

// Options says how to reach a daemon.
type Options struct {
	// Token is the secret of a token.
	Token string
	// HTTP sends the requests. nil: a client of its own, which keeps up to 256
	// connections and has no time limit but the caller's context.
	HTTP *http.Client
	// BusyRetries is how often a request that the daemon certainly did not
	// act on (503) is sent again, after as long as it asks for. 0: never.
	BusyRetries int
}

// A Client is a daemon's ledger. Its methods may be called from any goroutine.
type Client struct {
	base *url.URL
	auth string
	http *http.Client
	// records sends single records; nil: http does.
	records *recordSender
	retry   int
	bare    bool // see Unparsed
}

// New returns the client of a daemon at http://host:port, https://host:port or
// unix:/path/to/socket. It does not connect yet.
func New(server string, o Options) (*Client, error) {
	c := &Client{http: o.HTTP, retry: o.BusyRetries}
	transport := &http.Transport{
		MaxIdleConns: 256, MaxIdleConnsPerHost: 256, IdleConnTimeout: 60 * time.Second, DisableCompression: true,
		TLSHandshakeTimeout: 10 * time.Second,
	}
	socket := ""
	if path, ok := strings.CutPrefix(server, "unix:"); ok {
		socket, server = path, "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
	}
	u, err := url.Parse(strings.TrimSuffix(server, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("server: want http://host:port, https://host:port or unix:/path, found %q", server)
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) && o.HTTP == nil {
		return nil, fmt.Errorf("server: want https for %s: a token sent in the clear is everybody's", u.Host)
	}
	c.base = u
	if o.Token != "" {
		c.auth = "Bearer " + o.Token
	}
	if c.http == nil {
		c.records = newRecordSender(u, socket, c.auth)
		c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return c, nil
}

// Unparsed returns a client that shares this one's connections, and leaves
// Placed.Record nil in what Append, Submit and SubmitEach return: who has just
// signed a record seldom needs it parsed again. Reading is the same.
func (c *Client) Unparsed() *Client {
	bare := *c
	bare.bare = true
	return &bare
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Server returns the daemon's address.
func (c *Client) Server() string { return c.base.String() }

// request is one request that may be sent again.
type request struct {
	method, path string
	query        url.Values
	header       map[string]string
	body         []byte
	stream       io.Reader // instead of body; sent once
	size         int64     // of stream
	record       bool      // body is one record, to append
}

// do sends a request and returns its answer, whose status is below 300, or 304
// where the request asked for it. The caller closes the body.
func (c *Client) do(ctx context.Context, r *request) (*http.Response, error) {
	for try := 0; ; try++ {
		resp, err := c.send(ctx, r)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode < 300 || resp.StatusCode == http.StatusNotModified && r.header["If-None-Match"] != "" {
			return resp, nil
		}
		p := problemOf(resp)
		if resp.StatusCode != http.StatusServiceUnavailable || p.Reason == api.ReasonUnknown || try >= c.retry || r.stream != nil {
			return nil, p
		}
		select {
		case <-time.After(retryAfter(resp)):
		case <-ctx.Done():
			return nil, errors.Join(p, ctx.Err())
		}
	}
}

func retryAfter(resp *http.Response) time.Duration {
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s >= 0 && s < 3600 {
		return time.Duration(s) * time.Second
	}
	return time.Second
}

func (c *Client) send(ctx context.Context, r *request) (*http.Response, error) {
	if r.record && c.records != nil {
		return c.records.send(ctx, r.body)
	}
	u := *c.base
	u.Path += r.path
	if len(r.query) > 0 {
		u.RawQuery = r.query.Encode()
	}
	req := (&http.Request{
		Method: r.method, URL: &u, Host: u.Host, Header: make(http.Header, 4),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	switch {
	case r.stream != nil:
		req.Body, req.ContentLength = io.NopCloser(r.stream), r.size
		if r.size == 0 {
			req.Body = http.NoBody
		}
	case r.body != nil:
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(r.body)), int64(len(r.body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.body)), nil }
	}
	if c.auth != "" {
		req.Header["Authorization"] = []string{c.auth}
	}
	for name, value := range r.header {
		req.Header[name] = []string{value}
	}
	return c.http.Do(req)
}

// problemOf reads the problem of an answer and closes it.
func problemOf(resp *http.Response) *Problem {
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	p := new(Problem)
	if err != nil || json.Unmarshal(b, p) != nil || p.Status != resp.StatusCode {
		// Something between us and the daemon, or no daemon at all.
		p = api.NewProblem(resp.StatusCode, "no_problem", "want a problem as %s, found %q", api.MediaProblem, resp.Header.Get("Content-Type"))
	}
	return p
}

// getJSON gets a value.
func (c *Client) getJSON(ctx context.Context, path string, query url.Values, v any) error {
	return c.callJSON(ctx, &request{method: http.MethodGet, path: path, query: query}, v)
}

// sendJSON sends a value, and wants no answer but that it was taken.
func (c *Client) sendJSON(ctx context.Context, method, path string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.callJSON(ctx, &request{method: method, path: path, body: body, header: map[string]string{"Content-Type": api.MediaJSON}}, nil)
}

func (c *Client) callJSON(ctx context.Context, r *request, v any) error {
	resp, err := c.do(ctx, r)
	if err != nil {
		return asLedger(err)
	}
	defer resp.Body.Close()
	if v == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("%s %s: the answer: %w", r.method, r.path, err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10)) // so that the connection is used again
	return nil
}

func isProblem(err error, status int) bool {
	var p *Problem
	return errors.As(err, &p) && p.Status == status
}
