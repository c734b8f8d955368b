package client

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"
)

// One record a request is what a runtime sends for every step that it takes, on
// the machine that the daemon runs on. net/http hands such a request to two
// goroutines and back, which costs more than the system calls do; fasthttp sends
// it where it was called. Everything else goes through net/http.

// recordTimeout bounds a request that carries one record: the daemon answers
// within its own limits long before.
const recordTimeout = 5 * time.Minute

// recordClient returns what sends single records to a daemon without TLS: nil
// where there is TLS.
func recordClient(base *url.URL, socket string) *fasthttp.HostClient {
	if base.Scheme != "http" {
		return nil
	}
	port := base.Port()
	if port == "" {
		port = "80"
	}
	network, address := "tcp", net.JoinHostPort(base.Hostname(), port)
	if socket != "" {
		network, address = "unix", socket
	}
	return &fasthttp.HostClient{
		Addr: address, DialTimeout: func(string, time.Duration) (net.Conn, error) { return net.Dial(network, address) },
		MaxConns: 4096, MaxIdleConnDuration: 30 * time.Second, MaxResponseBodySize: 64 << 10,
		NoDefaultUserAgentHeader: true, DisableHeaderNamesNormalizing: true, DisablePathNormalizing: true,
		// The same bytes are never appended twice, so what a closed connection
		// left open may be sent once more, which finds out.
		MaxIdemponentCallAttempts: 2, RetryIfErr: func(_ *fasthttp.Request, n int, err error) (bool, bool) {
			return false, n < 2 && err == io.EOF
		},
	}
}

// sendRecord sends one record.
func (c *Client) sendRecord(ctx context.Context, r *request) (*http.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	u := *c.base
	u.Path += r.path
	req.SetRequestURI(u.String())
	req.Header.SetMethod(r.method)
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	if c.auth != "" {
		req.Header.Set("Authorization", c.auth)
	}
	req.SetBodyRaw(r.body)
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(recordTimeout)
	}
	if err := c.records.DoDeadline(req, resp, deadline); err != nil {
		return nil, err
	}
	out := &http.Response{StatusCode: resp.StatusCode(), Header: make(http.Header, 2), Body: io.NopCloser(bytes.NewReader(bytes.Clone(resp.Body())))}
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if v := resp.Header.Peek(name); len(v) > 0 {
			out.Header.Set(name, string(v))
		}
	}
	return out, nil
}
