package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/ledger/tlog"
)

// closed at the end of an answer closes the connection behind it.
const closed = "\x00closed"

// answerer listens, and answers the nth request, from 0, with what answer
// returns as it stands; "" closes the connection instead.
func answerer(t *testing.T, network string, answer func(n int, r *http.Request, body []byte) string) (server string, connections *atomic.Int64) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	connections = new(atomic.Int64)
	var n atomic.Int64
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() {
				defer c.Close()
				for br := bufio.NewReader(c); ; {
					r, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					body, err := io.ReadAll(r.Body)
					if err != nil {
						return
					}
					text, last := strings.CutSuffix(answer(int(n.Add(1)-1), r, body), closed)
					if text == "" {
						return
					}
					if _, err := io.WriteString(c, text); err != nil || last {
						return
					}
				}
			}()
		}
	}()
	if network == "unix" {
		return "unix:" + address, connections
	}
	return "http://" + ln.Addr().String(), connections
}

// placedAnswer is the daemon's answer about an entry.
func placedAnswer(entry []byte, more string) string {
	body := fmt.Sprintf("{\"status\":201,\"index\":7,\"id\":%q}\n", evidence.IDOf(entry))
	return fmt.Sprintf("HTTP/1.1 201 Created\r\n%sContent-Length: %d\r\n\r\n%s", more, len(body), body)
}

func dialed(t *testing.T, server string) *Client {
	t.Helper()
	c, err := New(server, Options{Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	return c.Unparsed()
}

// One connection serves many records, and says what it has to.
func TestRecordsOverOneConnection(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		server, connections := answerer(t, network, func(_ int, r *http.Request, body []byte) string {
			if r.Method != "POST" || r.URL.Path != api.PathRecords || r.Header.Get("Authorization") != "Bearer secret" ||
				r.Header.Get("Content-Type") != api.MediaJOSE || r.Host == "" {
				t.Errorf("%s: found %s %s %s %v", network, r.Method, r.URL, r.Host, r.Header)
			}
			return placedAnswer(body, "")
		})
		c := dialed(t, server)
		for i := range 3 {
			entry := bytes.Repeat([]byte{'a' + byte(i)}, 1+i*30_000)
			outs, err := c.SubmitEach(entry)(t.Context())
			if err != nil || outs[0].Index != 7 || outs[0].ID != evidence.IDOf(entry) || outs[0].Record != nil || !bytes.Equal(outs[0].Entry, entry) {
				t.Errorf("%s, %d bytes: %+v, %v", network, len(entry), outs, err)
			}
		}
		if n := connections.Load(); n != 1 {
			t.Errorf("%s: want one connection, found %d", network, n)
		}
	}
}

// Requests that are under way together keep their records and answers apart.
func TestRecordsAtTheSameTime(t *testing.T) {
	server, _ := answerer(t, "tcp", func(n int, _ *http.Request, body []byte) string {
		if n%5 == 4 { // and what is no success
			return "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
		}
		return placedAnswer(body, "")
	})
	c, err := New(server, Options{Token: "secret", BusyRetries: 100})
	if err != nil {
		t.Fatal(err)
	}
	c = c.Unparsed()
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 50 {
				entry := bytes.Repeat(fmt.Appendf(nil, "%d/%d ", w, i), 1+100*(i%7))
				outs, err := c.SubmitEach(entry)(t.Context())
				if err != nil || outs[0].ID != evidence.IDOf(entry) || !bytes.Equal(outs[0].Entry, entry) {
					t.Errorf("writer %d, record %d: %+v, %v", w, i, outs, err)
				}
			}
		})
	}
	wg.Wait()
}

// What a daemon, or something between, says otherwise than usual: nothing but its
// own answer places a record, and none of it answers the next request.
func TestAnswersToARecord(t *testing.T) {
	entry, other := []byte("a"), []byte("b")
	for name, c := range map[string]struct {
		answer string
		want   error // nil: placed
	}{
		"as usual":            {placedAnswer(entry, ""), nil},
		"to be closed":        {placedAnswer(entry, "Connection: close\r\n"), nil},
		"about another":       {placedAnswer(other, ""), tlog.ErrUnknown},
		"no answer":           {"", tlog.ErrUnknown},
		"half of it":          {placedAnswer(entry, "")[:60] + closed, tlog.ErrUnknown},
		"no HTTP":             {"hello\r\n\r\n" + closed, tlog.ErrUnknown},
		"too long":            {"HTTP/1.1 201 Created\r\nContent-Length: 1000000\r\n\r\n" + closed, tlog.ErrUnknown},
		"two of them":         {placedAnswer(entry, "") + placedAnswer(other, ""), nil},
		"two different sizes": {placedAnswer(entry, "Content-Length: 4\r\n"), tlog.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			server, _ := answerer(t, "tcp", func(n int, _ *http.Request, body []byte) string {
				if bytes.Equal(body, entry) {
					return c.answer
				}
				return placedAnswer(body, "")
			})
			cl := dialed(t, server)
			outs, err := cl.SubmitEach(entry)(t.Context())
			if err == nil {
				err = outs[0].Err
			}
			if !errors.Is(err, c.want) {
				t.Errorf("want %v, found %v", c.want, err)
			}
			next := []byte("next")
			outs, err = cl.SubmitEach(next)(t.Context())
			// What answers another record is never taken for this one's.
			if err == nil && outs[0].ID != evidence.IDOf(next) || err != nil && !errors.Is(err, tlog.ErrUnknown) {
				t.Errorf("the next: %+v, %v", outs, err)
			}
		})
	}
}

// A connection that the daemon closed while it was idle is no reason to fail; one
// that is closed again and again leaves it unknown; none at all is certain.
func TestConnectionsThatClose(t *testing.T) {
	server, _ := answerer(t, "tcp", func(n int, _ *http.Request, body []byte) string {
		if n == 1 {
			return ""
		}
		return placedAnswer(body, "")
	})
	c := dialed(t, server)
	for _, entry := range []string{"a", "b", "c"} {
		if _, err := c.Append(t.Context(), []byte(entry)); err != nil {
			t.Errorf("%s: %v", entry, err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + ln.Addr().String()
	_ = ln.Close()
	if _, err := dialed(t, gone).Append(t.Context(), []byte("a")); !errors.Is(err, tlog.ErrNotAppended) {
		t.Errorf("nobody listens: %v", err)
	}
}
