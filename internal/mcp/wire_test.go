package mcp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A wire stands between two that speak HTTP, and records what goes over it: every request
// with its answer, as they came.
type wire struct {
	mu   sync.Mutex
	all  []*exchange
	open int
}

// An exchange is a request and its answer.
type exchange struct {
	request, status string
	asked, answered bytes.Buffer // the bodies
}

// before starts a wire before a server, and returns the URL of the other end.
func (w *wire) before(t testing.TB, target string) string {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.serve(t, rw, r, to, transport) }))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		transport.CloseIdleConnections()
	})
	return s.URL
}

func (w *wire) serve(t testing.TB, rw http.ResponseWriter, r *http.Request, to *url.URL, transport *http.Transport) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	x := &exchange{request: r.Method + " " + r.URL.RequestURI() + "\n" + headers(r.Header)}
	x.asked.Write(body)
	w.mu.Lock()
	w.all = append(w.all, x)
	w.open++
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.open--
	}()
	// What was asked is answered to the end, also if the client does not wait for it; but
	// for a stream, which has none.
	out := r.Clone(context.WithoutCancel(r.Context()))
	out.RequestURI, out.URL.Scheme, out.URL.Host, out.Host = "", to.Scheme, to.Host, to.Host
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp, err := transport.RoundTrip(out)
	if err != nil {
		t.Errorf("the wire: %v", err)
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	w.mu.Lock()
	x.status = resp.Status + "\n" + headers(resp.Header)
	w.mu.Unlock()
	maps.Copy(rw.Header(), resp.Header)
	if resp.Header["Content-Type"] == nil {
		rw.Header()["Content-Type"] = nil // or it would be guessed
	}
	rw.WriteHeader(resp.StatusCode)
	flush := http.NewResponseController(rw)
	_ = flush.Flush()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		defer context.AfterFunc(r.Context(), func() { _ = resp.Body.Close() })()
	}
	b := make([]byte, 64<<10)
	for {
		n, err := resp.Body.Read(b)
		w.mu.Lock()
		x.answered.Write(b[:n])
		w.mu.Unlock()
		_, _ = rw.Write(b[:n])
		_ = flush.Flush()
		if err != nil {
			return
		}
	}
}

// headers are those that are about more than one connection, but for the time.
func headers(h http.Header) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if !slices.Contains(hop, name) && name != "Date" {
			fmt.Fprintf(&b, "%s: %q\n", name, h[name])
		}
	}
	return b.String()
}

var (
	// What is drawn at random: sessions and events of the TypeScript SDK's, sessions and
	// events of the Go SDK's; and addresses of the test's own, and what time it is.
	uuids     = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	goIDs     = regexp.MustCompile(`\b[A-Z2-7]{26}\b`)
	instants  = regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z`)
	addresses = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)
	// The end of a subscription, which a client that ends may hear or not.
	unheard = regexp.MustCompile(`(event: message\ndata: )?\{"jsonrpc":"2\.0","id":[0-9]+,"result":\{"resultType":"complete","_meta":\{[^\n]*subscriptionId[^\n]*\n\n?`)
	// What the gateway asks itself, and adds.
	ourRequest = regexp.MustCompile(`^\{"jsonrpc":"2\.0","id":"ledgerd:`)
)

// written returns what was recorded, each exchange by itself and in order of what they
// say: two that run at a time begin in either order.
func (w *wire) written() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, x := range w.all {
		if ourRequest.Match(x.asked.Bytes()) {
			continue
		}
		s := fmt.Sprintf("%s\n%s\n-- %s\n%s", x.request, x.asked.Bytes(), x.status, unheard.ReplaceAll(ourMeta.ReplaceAll(x.answered.Bytes(), nil), nil))
		for what, by := range map[*regexp.Regexp]string{uuids: "UUID", goIDs: "ID", instants: "INSTANT", clock: "TIME", addresses: "ADDRESS"} {
			s = what.ReplaceAllString(s, by)
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

// settled waits until no request is under way.
func (w *wire) settled(t testing.TB) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		w.mu.Lock()
		open := w.open
		w.mu.Unlock()
		if open == 0 {
			return
		}
		if time.Now().After(until) {
			t.Fatal("a request has no end")
		}
	}
}

// evidence counts the answers in which the gateway names a record.
func (w *wire) evidence() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, x := range w.all {
		n += bytes.Count(x.answered.Bytes(), []byte(MetaEvidence))
	}
	return n
}

// same compares what was recorded, exchange by exchange.
func same(t testing.TB, what string, want, got []string) {
	t.Helper()
	for len(want) > 0 || len(got) > 0 {
		switch {
		case len(got) == 0 || len(want) > 0 && want[0] < got[0]:
			t.Errorf("%s, without the gateway alone:\n%s", what, want[0])
			want = want[1:]
		case len(want) == 0 || got[0] < want[0]:
			t.Errorf("%s, with the gateway alone:\n%s", what, got[0])
			got = got[1:]
		default:
			want, got = want[1:], got[1:]
		}
	}
}
