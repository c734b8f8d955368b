package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func scratch(t testing.TB) *Scratch {
	t.Helper()
	s, err := NewScratch(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestLoad: what a load says was acknowledged is in the log, every record of
// it, and the runs are whole.
func TestLoad(t *testing.T) {
	s := scratch(t)
	before := s.Head().Size
	r, err := Load{Writers: 7, PerRequest: 3, Records: 1000, Duration: time.Minute, Busy: Busy}.Run(t.Context(), s, s.Signer)
	if err != nil {
		t.Fatal(err)
	}
	if r.Records < 1000-7*3 || r.Records > 1000+7*3 {
		t.Errorf("want 1000 records, rounded to whole requests, found %d", r.Records)
	}
	if got := s.Head().Size - before; got != uint64(r.Records)+7 {
		t.Errorf("want %d records and 7 run.opened in the log, found %d", r.Records, got)
	}
	if r.P50 <= 0 || r.P50 > r.P99 || r.P99 > r.Max {
		t.Errorf("percentiles out of order: %v, %v, %v", r.P50, r.P99, r.Max)
	}
}

// TestLoadSaysWhatWentWrong: an appender that fails ends the load with its error.
func TestLoadSaysWhatWentWrong(t *testing.T) {
	s := scratch(t)
	other := *s.Signer
	other.Agent = "nobody"
	if _, err := (Load{Writers: 2, PerRequest: 1, Records: 10, Duration: time.Second}).Run(t.Context(), s, &other); err == nil {
		t.Error("records of an actor that nobody registered were appended")
	}
}

// BenchmarkAppend reports records a second and latencies with 1, 64 and 1024
// writers, each of whom waits for an answer before the next record.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := scratch(b)
			r, err := Load{Writers: writers, PerRequest: 1, Records: max(b.N, writers), Duration: time.Hour, Busy: Busy}.Run(b.Context(), s, s.Signer)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(r.PerSecond(), "records/s")
			b.ReportMetric(float64(r.P50.Microseconds()), "p50-µs")
			b.ReportMetric(float64(r.P99.Microseconds()), "p99-µs")
			b.ReportMetric(float64(r.CPUPerRecord().Microseconds()), "cpu-µs/record")
			b.ReportMetric(float64(r.Elapsed.Nanoseconds())/float64(r.Records), "ns/op")
		})
	}
}

// BenchmarkParseAndVerify is the floor of the others: on one CPU.
func BenchmarkParseAndVerify(b *testing.B) {
	f, err := MeasureFloor(testSigner(b), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(f.OneCPU, "records/s")
	b.ReportMetric(f.AllCPUs, "records/s-all-CPUs")
	b.ReportMetric(float64(f.Fsync.Microseconds()), "fsync-µs")
}

// BenchmarkProofs proves random entries of a log of 100,000.
func BenchmarkProofs(b *testing.B) {
	s := scratch(b)
	if _, err := (Load{Writers: 100, PerRequest: 100, Records: 100_000, Duration: time.Hour, Busy: Busy}).Run(b.Context(), s, s.Signer); err != nil {
		b.Fatal(err)
	}
	size := s.Head().Size
	for name, prove := range map[string]func(uint64) error{
		"inclusion": func(i uint64) error { _, err := s.Log().Inclusion(b.Context(), i, size); return err },
		"receipt":   func(i uint64) error { _, err := s.ReceiptAt(b.Context(), i); return err },
	} {
		b.Run(name, func(b *testing.B) {
			var done atomic.Int64
			b.SetParallelism(max(1, 4/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := prove(rand.Uint64N(size)); err != nil {
						b.Error(err)
						return
					}
					done.Add(1)
				}
			})
			b.ReportMetric(float64(done.Load())/b.Elapsed().Seconds(), "proofs/s")
		})
	}
}
