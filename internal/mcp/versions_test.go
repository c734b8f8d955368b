package mcp

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestVersions: in every version of the protocol that the Go SDK knows, over pipes: what
// client and server get of each other is the same with the gateway and without. Over HTTP
// TestSameOverHTTP has them.
func TestVersions(t *testing.T) {
	for _, version := range sdk.SupportedProtocolVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			cfg := h.config("gateway-1")
			cfg.Server = "full"
			plainClient, plainServer := h.piped(t, version, nil)
			toClient, toServer := h.piped(t, version, &cfg)
			if bytes.Count(toClient, []byte(MetaEvidence)) < 6 {
				t.Errorf("hardly a call was governed:\n%s", toClient)
			}
			same(t, "the client got", sorted(plainClient), sorted(ourMeta.ReplaceAll(toClient, nil)))
			same(t, "the server got", sorted(plainServer), sorted(ourLines.ReplaceAll(toServer, nil)))
			st := h.state()
			if len(st.InDoubt) > 0 || len(st.Steps) < 6 {
				t.Errorf("%+v", st)
			}
			h.sound(st.Run)
		})
	}
}

// piped has a client of the SDK's go through what full offers, over pipes, and returns
// what came to each.
func (h *house) piped(t *testing.T, version string, cfg *Config) (toClient, toServer []byte) {
	t.Helper()
	var client, server logged // the SDK's client may still be reading when its session has ended
	serverIn, in := io.Pipe()
	out, serverOut := io.Pipe()
	var all sync.WaitGroup
	all.Go(func() {
		sdkServer(full())(io.TeeReader(serverIn, &server), serverOut)
		_ = serverOut.Close()
	})
	if cfg != nil {
		clientIn, next := io.Pipe()
		last, clientOut := io.Pipe()
		toServer, fromServer := in, out
		all.Go(func() {
			_ = relay(context.Background(), *cfg, clientIn, clientOut, toServer, fromServer, func() { _ = serverOut.Close(); _ = serverIn.Close() })
			_ = clientOut.Close()
		})
		in, out = next, last
	}
	used := goSession(t, &sdk.IOTransport{Reader: io.NopCloser(io.TeeReader(out, &client)), Writer: in}, version, "/root", fullCalls)
	_ = in.Close()
	all.Wait()
	if used != version {
		t.Errorf("want the version %s, found %s", version, used)
	}
	return client.all(), server.all()
}
