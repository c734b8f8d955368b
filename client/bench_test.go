package client_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"ledgerd/internal/bench"
	"ledgerd/internal/daemontest"
)

// BenchmarkAppend puts load on a daemon in the same process, over a real
// connection: client and server share the machine, and here the heap too.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct{ writers, perRequest int }{{1, 1}, {64, 1}, {256, 1}, {16, 100}, {32, 100}} {
		b.Run(fmt.Sprintf("writers=%d/records=%d", c.writers, c.perRequest), func(b *testing.B) {
			d := daemontest.New(b, nil)
			load := bench.Load{
				Writers: c.writers, PerRequest: c.perRequest, Records: max(b.N, c.writers*c.perRequest),
				Duration: time.Minute, Busy: bench.Busy,
			}
			b.ResetTimer()
			r, err := load.Run(context.Background(), d.Client(d.Token), d.Signer())
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(r.PerSecond(), "records/s")
			b.ReportMetric(float64(r.P50.Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(r.P99.Microseconds())/1000, "p99-ms")
		})
	}
}
