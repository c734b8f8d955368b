package runtime_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/bench"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

// BenchmarkStep measures what a governed step adds to the bare tool call: two
// durable records with their payloads, on a disk. The tool does nothing.
func BenchmarkStep(b *testing.B) {
	for _, runs := range []int{1, 256} {
		b.Run(fmt.Sprintf("runs=%d", runs), func(b *testing.B) {
			s, err := bench.NewScratch(context.Background(), b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			tool := runtime.NewFunc(mailSpec, func(context.Context, *runtime.Call, mail) (sent, error) { return sent{"msg"}, nil })
			rt, err := runtime.New(runtime.Config{
				Ledger: runtime.Embedded{Ledger: s.Ledger}, Origin: bench.Origin, Actor: bench.Runtime, Key: s.Signer.Key,
				Permit: runtimetest.AllowAll, Tools: []runtime.Tool{tool},
			})
			if err != nil {
				b.Fatal(err)
			}
			open := make([]*runtime.Run, runs)
			for i := range open {
				if open[i], err = rt.Open(ctx, fmt.Sprint("run-", i), runtime.As(bench.Agent), runtime.Task("bench", nil)); err != nil {
					b.Fatal(err)
				}
			}
			took := make([][]time.Duration, runs)
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range open {
				wg.Go(func() {
					for n := i; n < b.N; n += runs {
						begun := time.Now()
						if _, err := runtime.Do(ctx, open[i], fmt.Sprint("step-", n), tool, mail{To: "mia"}); err != nil {
							b.Error(err)
							return
						}
						took[i] = append(took[i], time.Since(begun))
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			all := slices.Concat(took...)
			slices.Sort(all)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// commitOnly keeps no payloads: a run whose records alone matter is made faster.
type commitOnly struct{ runtime.Embedded }

func (commitOnly) PutPayloads(_ context.Context, payloads []evidence.Payload) ([]evidence.Commitment, error) {
	var all []evidence.Commitment
	for i := range payloads {
		all = append(all, payloads[i].Commitment())
	}
	return all, nil
}

// BenchmarkResume opens a run of 10,000 records that another process left.
func BenchmarkResume(b *testing.B) {
	s, err := bench.NewScratch(context.Background(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	tool := runtime.NewFunc(mailSpec, func(context.Context, *runtime.Call, mail) (sent, error) { return sent{"msg"}, nil })
	open := func() *runtime.Run {
		rt, err := runtime.New(runtime.Config{
			Ledger: commitOnly{runtime.Embedded{Ledger: s.Ledger}}, Origin: bench.Origin, Actor: bench.Runtime, Key: s.Signer.Key,
			Permit: runtimetest.AllowAll, Tools: []runtime.Tool{tool},
		})
		if err != nil {
			b.Fatal(err)
		}
		run, err := rt.Open(ctx, "long", runtime.As(bench.Agent), runtime.Task("bench", nil), runtime.TakeOver())
		if err != nil {
			b.Fatal(err)
		}
		return run
	}
	run := open()
	for i := range 5000 {
		if _, err := runtime.Do(ctx, run, fmt.Sprint("step-", i), tool, mail{To: "mia"}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		open()
	}
}
