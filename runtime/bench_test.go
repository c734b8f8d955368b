package runtime_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/bench"
	"ledgerd/runtime"
	"ledgerd/runtime/policy"
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
			spent, told := bench.CPUTime()
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
			reportCPU(b, spent, told, "step")
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

// reportCPU reports what the process has spent since, for each of b.N.
func reportCPU(b *testing.B, since time.Duration, told bool, what string) {
	if now, ok := bench.CPUTime(); ok && told {
		b.ReportMetric(float64((now-since).Microseconds())/float64(b.N), "cpu-µs/"+what)
	}
}

// BenchmarkStepParts measures what of a step is signing, verification and policy:
// its two records, and one permission check with 100 policies.
func BenchmarkStepParts(b *testing.B) {
	w := runtimetest.New(b)
	tool := runtime.NewFunc(mailSpec, func(context.Context, *runtime.Call, mail) (sent, error) { return sent{"msg"}, nil })
	run, err := w.Runtime(tool).Open(ctx, "k", runtime.As(runtimetest.Agent), runtime.Task("bench", nil))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := runtime.Do(ctx, run, "step", tool, mail{To: "mia"}); err != nil {
		b.Fatal(err)
	}
	var records []*evidence.Record
	var entries [][]byte
	var key *evidence.PrivateKey
	w.Config = func(c *runtime.Config) { key = c.Key }
	w.Runtime()
	for _, p := range w.Records(run.ID())[1:] {
		records, entries = append(records, p.Record), append(entries, p.Entry)
	}
	if len(records) != 2 {
		b.Fatalf("want two records of a step, found %d", len(records))
	}
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			for _, r := range records {
				if _, err := evidence.Sign(r, key); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			for _, e := range entries {
				u, err := evidence.Parse(e)
				if err == nil {
					_, err = u.Verify(key.Public())
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("policy", func(b *testing.B) {
		var text strings.Builder
		for i := range 50 {
			fmt.Fprintf(&text, "@id(\"permit-%d\") permit (principal == Agent::\"agent-%d\", action == Action::\"send_email\", resource);\n", i, i)
			fmt.Fprintf(&text, "@id(\"forbid-%d\") forbid (principal, action, resource) when { context.input.to like \"*@denied-%d.example\" };\n", i, i)
		}
		set, err := policy.Parse(fstest.MapFS{"bench.cedar": {Data: []byte(text.String())}})
		if err != nil {
			b.Fatal(err)
		}
		r := &runtime.PermissionRequest{
			Principal: "agent-7", Action: "send_email", Tool: "email", Step: "step", Input: []byte(`{"to":"mia@customers.example","text":"Your refund is on its way."}`),
			Run: runtime.RunFacts{ID: run.ID(), Key: "k", Task: "bench", Principal: "agent-7"},
		}
		if d := set.Decide(r); d.Effect != evidence.Allow {
			b.Fatalf("%+v", d)
		}
		for b.Loop() {
			set.Decide(r)
		}
	})
}

// unvouched is a ledger that says of no record that its signature was verified,
// as a daemon's cannot.
type unvouched struct{ runtime.Ledger }

func (l unvouched) Run(ctx context.Context, run evidence.RunID) iter.Seq2[evidence.Placed, error] {
	return func(yield func(evidence.Placed, error) bool) {
		for p, err := range l.Ledger.Run(ctx, run) {
			if !yield(evidence.Placed{Index: p.Index, ID: p.ID, Entry: p.Entry, Record: p.Record}, err) {
				return
			}
		}
	}
}

// BenchmarkResume opens a run of 10,000 records that another process left: on a
// ledger in this process, and on one whose word on signatures does not count.
func BenchmarkResume(b *testing.B) {
	s, err := bench.NewScratch(context.Background(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	tool := runtime.NewFunc(mailSpec, func(context.Context, *runtime.Call, mail) (sent, error) { return sent{"msg"}, nil })
	open := func(l runtime.Ledger) *runtime.Run {
		rt, err := runtime.New(runtime.Config{
			Ledger: l, Origin: bench.Origin, Actor: bench.Runtime, Key: s.Signer.Key, Permit: runtimetest.AllowAll, Tools: []runtime.Tool{tool},
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
	run := open(commitOnly{runtime.Embedded{Ledger: s.Ledger}})
	for i := range 5000 {
		if _, err := runtime.Do(ctx, run, fmt.Sprint("step-", i), tool, mail{To: "mia"}); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := s.Reopen(ctx); err != nil {
		b.Fatal(err)
	}
	embedded := commitOnly{runtime.Embedded{Ledger: s.Ledger}}
	for name, l := range map[string]runtime.Ledger{"embedded": embedded, "unvouched": unvouched{embedded}} {
		b.Run(name, func(b *testing.B) {
			spent, told := bench.CPUTime()
			for b.Loop() {
				open(l)
			}
			reportCPU(b, spent, told, "resume")
		})
	}
}
