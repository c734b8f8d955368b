package pebblestore_test

import (
	"math/rand/v2"
	"testing"

	"ledgerd/ledger/tlog"
)

// BenchmarkInclusion proves random entries of 200,000 with a cache that holds a
// quarter of the tiles, as the default cache does for a million entries.
func BenchmarkInclusion(b *testing.B) {
	const size = 200_000
	s, _ := benchStore(b)
	defer s.Close()
	c := config(b)
	c.CacheBytes = 16 << 20 / 5
	l, err := tlog.Open(ctx, s, c)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	fill(b, l, 0, size)
	if err := s.Settle(ctx); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := l.Inclusion(ctx, rand.Uint64N(size), size); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "proofs/s")
}
