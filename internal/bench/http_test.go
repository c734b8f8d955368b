package bench

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"ledgerd/client"
	"ledgerd/internal/api"
	"ledgerd/internal/server"
)

// BenchmarkAppendHTTP is BenchmarkAppend through a daemon's HTTP side and the Go
// client, both in this process: one record a request, and a hundred.
func BenchmarkAppendHTTP(b *testing.B) {
	for _, per := range []int{1, 100} {
		b.Run(fmt.Sprintf("per-request=%d", per), func(b *testing.B) {
			s := scratch(b)
			c := dial(b, s)
			const writers = 64
			r, err := Load{Writers: writers, PerRequest: per, Records: max(b.N, writers*per), Duration: time.Hour, Busy: Busy}.Run(b.Context(), c, s.Signer)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(r.PerSecond(), "records/s")
			b.ReportMetric(float64(r.P50.Microseconds()), "p50-µs")
			b.ReportMetric(float64(r.P99.Microseconds()), "p99-µs")
			b.ReportMetric(float64(r.Elapsed.Nanoseconds())/float64(r.Records), "ns/op")
		})
	}
}

// dial serves a scratch ledger on a port of this machine.
func dial(b *testing.B, s *Scratch) *client.Client {
	b.Helper()
	tokens, err := server.OpenTokens(filepath.Join(b.TempDir(), "tokens.json"))
	if err != nil {
		b.Fatal(err)
	}
	issued, err := tokens.Add(api.NewToken{Actor: Runtime, Rights: api.Rights()}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	h, err := server.New(server.Config{Ledger: s.Ledger, Tokens: tokens})
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx, ln, nil, 5*time.Second) }()
	b.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	c, err := client.New("http://"+ln.Addr().String(), client.Options{Token: issued.Secret, BusyRetries: 10})
	if err != nil {
		b.Fatal(err)
	}
	return c
}
