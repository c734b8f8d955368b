package logsource

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Options tell how a log is read over HTTP.
type Options struct {
	// Token, if not empty, is sent as a bearer token; in the clear only to
	// this machine.
	Token string
	// Backoff is the wait before the first retry, 200 ms if 0; it doubles
	// with each.
	Backoff time.Duration
}

const (
	attempts       = 5
	requestTimeout = 60 * time.Second
	maxRetryAfter  = 15 * time.Second
	maxRedirects   = 3
)

// HTTP reads a log below a URL. Only GET requests are made, so that a failed one
// can be made again.
func HTTP(base string, o Options) (*Source, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("log: expected a URL with http or https, found %q", base)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("log: expected a URL without user, query and fragment: put a token into a file")
	}
	if o.Token != "" && u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, fmt.Errorf("log: a token is sent in the clear to this machine only, not to %s: use https", u.Hostname())
	}
	if strings.ContainsAny(o.Token, "\r\n ") {
		return nil, errors.New("log: expected a token without spaces")
	}
	if o.Backoff == 0 {
		o.Backoff = 200 * time.Millisecond
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // what is compressed is decompressed here, within bounds
	transport.MaxIdleConnsPerHost = 64
	transport.ResponseHeaderTimeout = 30 * time.Second
	transport.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	h := &httpLog{
		base: strings.TrimSuffix(u.String(), "/"), o: o,
		client: &http.Client{Transport: transport, Timeout: requestTimeout, CheckRedirect: sameHost},
	}
	done := func() error { transport.CloseIdleConnections(); return nil }
	return &Source{get: h.get, name: base, done: done}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// sameHost keeps the token, and what is read, with the host that was named.
func sameHost(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if first := via[0].URL; next.URL.Host != first.Host || next.URL.Scheme != first.Scheme {
		return fmt.Errorf("redirected from %s to %s: name that log instead if you mean it", first.Host, next.URL.Host)
	}
	return nil
}

type httpLog struct {
	base   string
	o      Options
	client *http.Client
}

// retry is an error after which the same request may succeed.
type retry struct {
	error
	after time.Duration // 0: not said
}

func (h *httpLog) get(ctx context.Context, path string, limit int64) ([]byte, error) {
	wait := h.o.Backoff
	for attempt := 1; ; attempt++ {
		b, err := h.once(ctx, path, limit)
		var again *retry
		if err == nil || !errors.As(err, &again) || attempt == attempts || ctx.Err() != nil {
			return b, err
		}
		pause := wait/2 + rand.N(wait) // jitter: not everybody at once
		if again.after > 0 {
			pause = again.after
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
		wait *= 2
	}
}

func (h *httpLog) once(ctx context.Context, path string, limit int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.base+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "ledgerd-verify")
	req.Header.Set("Accept-Encoding", "identity")
	if h.o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+h.o.Token)
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, &retry{error: err}
	}
	defer resp.Body.Close()
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
	case code == http.StatusNotFound, code == http.StatusGone:
		return nil, ErrNotThere
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return nil, fmt.Errorf("the log answered %s: reading it needs a token, from --token-file or LEDGERD_TOKEN", resp.Status)
	case code == http.StatusTooManyRequests, code >= 500:
		return nil, &retry{fmt.Errorf("the log answered %s", resp.Status), retryAfter(resp)}
	default:
		return nil, fmt.Errorf("the log answered %s", resp.Status)
	}
	body := io.Reader(resp.Body)
	switch enc := resp.Header.Get("Content-Encoding"); enc {
	case "", "identity":
	case "gzip":
		if body, err = gzip.NewReader(resp.Body); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("content encoding %q, expected none or gzip", enc)
	}
	b, err := readAll(body, limit, resp.ContentLength)
	if err != nil && resp.ContentLength <= limit && errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, &retry{error: err}
	}
	return b, err
}

func retryAfter(resp *http.Response) time.Duration {
	n, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, maxRetryAfter)
}
