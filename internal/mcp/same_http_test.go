package mcp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// wired puts a gateway, with a wire on each side, before a server: to is what came over
// the wire of the client's, from what came over that of the server's.
func (h *house) wired(name, server string) (endpoint string, client, before *wire) {
	h.t.Helper()
	before, client = new(wire), new(wire)
	path := server[strings.LastIndex(server, "/"):]
	u, err := url.Parse(before.before(h.t, strings.TrimSuffix(server, path)) + path)
	if err != nil {
		h.t.Fatal(err)
	}
	cfg := h.config("gateway-" + name)
	cfg.Server, cfg.Run = name, h.runOf(name)
	p := NewHandler(cfg, u, nil)
	s := httptest.NewServer(p)
	h.t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		p.Close()
	})
	return client.before(h.t, s.URL) + path, client, before
}

// sameOverHTTP has a client talk to a server with the gateway between and without, and
// compares all that went over the wires.
func (h *house) sameOverHTTP(t *testing.T, name, server string, calls int, talk func(endpoint string)) {
	t.Helper()
	path := server[strings.LastIndex(server, "/"):]
	plain := new(wire)
	talk(plain.before(t, strings.TrimSuffix(server, path)) + path)
	plain.settled(t)
	endpoint, client, before := h.wired(name, server)
	talk(endpoint)
	client.settled(t)
	before.settled(t)
	if n := client.evidence(); n < calls {
		t.Errorf("%d calls were governed, want %d", n, calls)
	}
	if len(plain.written()) < 10 {
		t.Errorf("hardly anything was said:\n%s", strings.Join(plain.written(), "\n\n"))
	}
	same(t, "between client and server", plain.written(), client.written())
	same(t, "what came to the server", plain.written(), before.written())
	st, err := h.Client(h.Token).RunState(context.Background(), name)
	if err != nil || len(st.InDoubt) > 0 || len(st.Steps) < calls {
		t.Fatalf("%+v %v", st, err)
	}
	h.sound(st.Run)
}

// overHTTP are the ways in which a server of the Go SDK's answers.
var overHTTP = map[string]sdk.StreamableHTTPOptions{
	"sessions": {}, "sessions-json": {JSONResponse: true}, "stateless": {Stateless: true}, "stateless-json": {Stateless: true, JSONResponse: true},
}

// serve serves a server of the Go SDK's over HTTP.
func serve(t *testing.T, o sdk.StreamableHTTPOptions) string {
	t.Helper()
	s := full()
	server := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, &o))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL + "/mcp"
}

// TestSameOverHTTP: a client of the Go SDK goes through everything that a server of the
// Go SDK offers, in each version of the protocol that it knows and each way to answer,
// with the gateway and without: what goes over the wires is the same.
func TestSameOverHTTP(t *testing.T) {
	for how, o := range overHTTP {
		for _, version := range sdk.SupportedProtocolVersions() {
			t.Run(how+"/"+version, func(t *testing.T) {
				t.Parallel()
				h := newHouse(t)
				h.sameOverHTTP(t, "full", serve(t, o), 6, func(endpoint string) {
					client := &http.Client{Transport: &http.Transport{}}
					defer client.CloseIdleConnections()
					want := version
					if !o.Stateless && version >= "2026" {
						want = "2025-11-25" // it has no sessions, and the SDK's client settles for the one before
					}
					if got := goSession(t, &sdk.StreamableClientTransport{Endpoint: endpoint, HTTPClient: client, MaxRetries: -1}, version, "/root", fullCalls); got != want {
						t.Errorf("want the version %s, found %s", want, got)
					}
				})
			})
		}
	}
}

// TestSameOverHTTPNode: the same with a client of the TypeScript SDK, and with
// server-everything, of the npm registry.
func TestSameOverHTTPNode(t *testing.T) {
	modules := nodeModules(t)
	for how, o := range overHTTP {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.sameOverHTTP(t, "full", serve(t, o), 6, func(endpoint string) {
				nodeSession(t, []string{endpoint}, t.TempDir(), "/root", fullCalls, os.Environ())
			})
		})
	}
	t.Run("everything", func(t *testing.T) {
		t.Parallel()
		h := newHouse(t)
		for client, talk := range map[string]func(endpoint string){
			"node": func(endpoint string) {
				nodeSession(t, []string{endpoint}, t.TempDir(), "/root", everythingCalls, os.Environ())
			},
			"go": func(endpoint string) {
				client := &http.Client{Transport: &http.Transport{}}
				defer client.CloseIdleConnections()
				goSession(t, &sdk.StreamableClientTransport{Endpoint: endpoint, HTTPClient: client, MaxRetries: -1}, "", "/root", everythingCalls)
			},
		} {
			h.sameOverHTTP(t, client, everything(t, modules)+"/mcp", 9, talk)
		}
	})
}

// everything starts server-everything on this machine's loopback, and returns where.
func everything(t *testing.T, modules string) string {
	t.Helper()
	preload, err := filepath.Abs("testdata/node/loopback.mjs")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "--import", preload, filepath.Join(modules, "@modelcontextprotocol", "server-everything", "dist", "index.js"), "streamableHttp")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	b := bufio.NewReader(out)
	for {
		line, err := b.ReadString('\n')
		if at, ok := strings.CutPrefix(strings.TrimSpace(line), "LISTENING "); ok {
			go func() { _, _ = io.Copy(io.Discard, b) }() // what it says is not to hold it up
			return at
		}
		if err != nil {
			t.Fatal(fmt.Errorf("server-everything does not listen: %w", err))
		}
	}
}
