package client

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"ledgerd/internal/api"
)

// One record a request is what a runtime sends for every step that it takes, on
// the machine that the daemon runs on. net/http hands such a request to two
// goroutines and back, which costs more than the system calls do; fasthttp sends
// it where it was called. Everything else goes through net/http.

// recordTimeout bounds a request that carries one record: the daemon answers
// within its own limits long before.
const recordTimeout = 5 * time.Minute

// A recordSender sends single records to a daemon without TLS.
type recordSender struct {
	client *fasthttp.HostClient
	// exchanges are *exchange whose requests are complete but for the body: what
	// is the same for every record is written once.
	exchanges sync.Pool
}

// An exchange is a request and its answer, and the body of the *http.Response
// that the answer becomes: whoever closes that gives the exchange back.
type exchange struct {
	request  fasthttp.Request
	response fasthttp.Response
	unread   []byte // of the answer's body; it belongs to response
	from     *recordSender
}

// newRecordSender returns nil where there is TLS.
func newRecordSender(base *url.URL, socket, auth string) *recordSender {
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
	s := &recordSender{client: &fasthttp.HostClient{
		Addr: address, DialTimeout: func(string, time.Duration) (net.Conn, error) { return net.Dial(network, address) },
		MaxConns: 4096, MaxIdleConnDuration: 30 * time.Second, MaxResponseBodySize: 64 << 10,
		NoDefaultUserAgentHeader: true, DisableHeaderNamesNormalizing: true, DisablePathNormalizing: true,
		// The same bytes are never appended twice, so what a closed connection
		// left open may be sent once more, which finds out.
		MaxIdemponentCallAttempts: 2, RetryIfErr: func(_ *fasthttp.Request, n int, err error) (bool, bool) {
			return false, n < 2 && err == io.EOF
		},
	}}
	to := *base
	to.Path += api.PathRecords
	s.exchanges.New = func() any {
		x := &exchange{from: s}
		x.request.SetRequestURI(to.String())
		x.request.Header.SetMethod(http.MethodPost)
		x.request.Header.SetContentType(api.MediaJOSE)
		if auth != "" {
			x.request.Header.Set("Authorization", auth)
		}
		return x
	}
	return s
}

// send sends one record.
func (s *recordSender) send(ctx context.Context, entry []byte) (*http.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(recordTimeout)
	}
	x := s.exchanges.Get().(*exchange)
	x.request.SetBodyRaw(entry)
	if err := s.client.DoDeadline(&x.request, &x.response, deadline); err != nil {
		_ = x.Close()
		return nil, err
	}
	x.unread = x.response.Body()
	out := &http.Response{StatusCode: x.response.StatusCode(), Body: x}
	if out.StatusCode >= 300 {
		out.Header = make(http.Header, 2)
		for _, name := range []string{"Content-Type", "Retry-After"} {
			if v := x.response.Header.Peek(name); len(v) > 0 {
				out.Header.Set(name, string(v))
			}
		}
	}
	return out, nil
}

func (x *exchange) Read(p []byte) (int, error) {
	n := copy(p, x.unread)
	x.unread = x.unread[n:]
	if len(x.unread) == 0 {
		return n, io.EOF
	}
	return n, nil
}

// Close gives the exchange back. It is called once, and what was read of it is a
// copy.
func (x *exchange) Close() error {
	x.unread = nil
	x.request.ResetBody() // the entry is its caller's
	x.response.Reset()
	x.from.exchanges.Put(x)
	return nil
}
