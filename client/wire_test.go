package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/ledger/tlog"
)

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
					text := answer(int(n.Add(1)-1), r, body)
					if text == "" {
						return
					}
					if _, err := io.WriteString(c, text); err != nil {
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

func TestWire(t *testing.T) {
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
			outs, err := c.SubmitEach(entry)(context.Background())
			if err != nil || outs[0].Index != 7 || outs[0].ID != evidence.IDOf(entry) || outs[0].Record != nil || !bytes.Equal(outs[0].Entry, entry) {
				t.Errorf("%s, %d bytes: %+v, %v", network, len(entry), outs, err)
			}
		}
		if n := connections.Load(); n != 1 {
			t.Errorf("%s: want one connection, found %d", network, n)
		}
	}
}

func dialed(t *testing.T, server string) *Client {
	t.Helper()
	c, err := New(server, Options{Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if c.wire == nil {
		t.Fatal("want a wire")
	}
	return c.Unparsed()
}

// TestWireAnswers: what a daemon, or something between, says otherwise than
// usual, and that nothing of it answers the next request.
func TestWireAnswers(t *testing.T) {
	entry, other := []byte("a"), []byte("b")
	busy := "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: 60\r\n\r\n" +
		fmt.Sprintf("%-60s", `{"status":503,"reason":"busy","detail":"later"}`)
	for name, c := range map[string]struct {
		answer string
		want   error // nil: placed
		kept   bool  // the connection
	}{
		"as usual":            {placedAnswer(entry, ""), nil, true},
		"chunked":             {chunked(placedAnswer(entry, "")), nil, true},
		"two lengths":         {placedAnswer(entry, "Content-Length: 4\r\n"), tlog.ErrUnknown, false},
		"length and chunks":   {placedAnswer(entry, "Transfer-Encoding: chunked\r\n"), tlog.ErrUnknown, false},
		"to be closed":        {placedAnswer(entry, "Connection: close\r\n"), nil, false},
		"two at once":         {placedAnswer(entry, "") + placedAnswer(other, ""), nil, false},
		"of another record":   {placedAnswer(other, ""), tlog.ErrUnknown, true},
		"interim":             {"HTTP/1.1 103 Early Hints\r\n\r\n" + placedAnswer(other, ""), tlog.ErrUnknown, false},
		"none":                {"", tlog.ErrUnknown, false},
		"no HTTP":             {"SSH-2.0-x\r\n\r\n", tlog.ErrUnknown, false},
		"late":                {"HTTP/1.1 201 Created\r\nContent-Le", context.DeadlineExceeded, false},
		"no JSON":             {"HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx", tlog.ErrUnknown, true},
		"without end":         {"HTTP/1.1 201 Created\r\nContent-Length: 99999999\r\n\r\n" + strings.Repeat("x", maxAnswer), tlog.ErrUnknown, false},
		"busy":                {busy, tlog.ErrBusy, true},
		"headers without end": {"HTTP/1.1 201 Created\r\n" + strings.Repeat("X: y\r\n", 1<<20), tlog.ErrUnknown, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, connections := answerer(t, "tcp", func(n int, _ *http.Request, body []byte) string {
				if n > 0 {
					return placedAnswer(body, "")
				}
				return c.answer
			})
			cl := dialed(t, server)
			limit := time.Minute
			if c.want == context.DeadlineExceeded {
				limit = 50 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if _, err := cl.Append(ctx, entry); !errors.Is(err, c.want) {
				t.Fatalf("want %v, found %v", c.want, err)
			}
			time.Sleep(10 * time.Millisecond) // for what else comes
			if p, err := cl.Append(t.Context(), other); err != nil || p[0].ID != evidence.IDOf(other) {
				t.Fatalf("the next: %v", err)
			}
			if n := connections.Load(); n == 1 != c.kept {
				t.Errorf("want the connection used again: %v, found %d connections", c.kept, n)
			}
		})
	}
}

func chunked(answer string) string {
	_, body, _ := strings.Cut(answer, "\r\n\r\n")
	return fmt.Sprintf("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
}

// TestWireThatWasClosed: a connection that the daemon closed while it was idle
// is not used again.
func TestWireThatWasClosed(t *testing.T) {
	server, connections := answerer(t, "tcp", func(_ int, _ *http.Request, body []byte) string { return placedAnswer(body, "") })
	c := dialed(t, server)
	if _, err := c.Append(t.Context(), []byte("a")); err != nil {
		t.Fatal(err)
	}
	// The daemon reads the end of the connection, and closes its side.
	if err := c.wire.idle[0].Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for quiet(c.wire.idle[0].Conn) {
		time.Sleep(time.Millisecond)
	}
	if _, err := c.Append(t.Context(), []byte("b")); err != nil {
		t.Fatal(err)
	}
	if n := connections.Load(); n != 2 {
		t.Errorf("want 2 connections, found %d", n)
	}
}

// TestWireExpires: connections that nobody uses are closed, those last used stay.
func TestWireExpires(t *testing.T) {
	server, _ := answerer(t, "tcp", func(_ int, _ *http.Request, body []byte) string { return placedAnswer(body, "") })
	w := dialed(t, server).wire
	for i := range 5 {
		nc, err := w.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.keep(&wireConn{Conn: nc})
		if i < 3 {
			w.idle[i].used = time.Now().Add(-idleTime)
		}
	}
	old, young := w.idle[0], w.idle[3]
	w.expire()
	if len(w.idle) != 2 || w.idle[0] != young || !w.timed {
		t.Errorf("want 2 connections and another look, found %d, %v", len(w.idle), w.timed)
	}
	if _, err := old.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("want it closed, found %v", err)
	}
}

// TestNoWire: what a wire cannot do goes through http.Client.
func TestNoWire(t *testing.T) {
	for server, o := range map[string]Options{
		"https://localhost":   {Token: "x"},
		"http://localhost":    {Token: "x\r\nX-Evil: y"},
		"http://127.0.0.1:80": {HTTP: http.DefaultClient},
	} {
		if c, err := New(server, o); err != nil || c.wire != nil {
			t.Errorf("%s: want a client without a wire, found %v", server, err)
		}
	}
}

// FuzzPlaced: what is read without encoding/json is what that reads.
func FuzzPlaced(f *testing.F) {
	id := evidence.IDOf([]byte("a")).String()
	for _, line := range []string{
		`{"status":201,"index":7,"id":"` + id + `"}`, `{"status":200,"index":0,"id":"` + id + `"}`,
		`{"status":200,"index":07,"id":"` + id + `"}`, `{"status":201,"index":-1,"id":"` + id + `"}`,
		`{"status":201,"index":18446744073709551616,"id":"` + id + `"}`, `{"status":201,"index":7,"id":"` + id[:45] + `_"}`,
		`{"status":207,"index":7,"id":"` + id + `"}`, `{"status":201,"index":7,"id":"` + id + `"} x`,
	} {
		f.Add([]byte(line + "\n"))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		status, index, got, ok := parsePlaced(line)
		if !ok {
			return
		}
		var want api.Placed
		if err := json.Unmarshal(line, &want); err != nil || want != (api.Placed{Status: status, Index: index, ID: got}) {
			t.Errorf("%q: found %d %d %s, encoding/json %+v, %v", line, status, index, got, want, err)
		}
	})
}
