package ledger_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/ledger"
	"ledgerd/ledger/pebblestore"
)

// The benchmarks append authorizations and executions, in pairs, to runs that
// are opened and closed like any other; all records are signed before the clock
// starts, and every signature is verified while it runs. An execution is 936
// bytes: base64 leaves no way to 935. Without -benchtime=<n>x few records are appended; LEDGERD_BENCH_RECORDS
// (such as 1000000) says how large the ledger is under the benchmarks of reads.
//
//	go test -run '^$' -bench Append -benchtime 1000000x ./ledger

const executionSize = 936

// pairs is how many actions the benchmarks' runs have.
const pairs = 50

// signRun signs a whole run: 2 + 2*pairs records.
func signRun(t testing.TB, r *run) [][]byte {
	entries := [][]byte{r.open()}
	for range pairs {
		entries = append(entries, r.authorize("send_email"), r.execution())
	}
	return append(entries, r.close())
}

// execution signs an execution that makes an entry of 936 bytes.
func (r *run) execution() []byte {
	e := r.next(&evidence.Execution{
		Authorization: r.prev, Action: "send_email", Resource: resource, Tool: "email_sender", Input: commit("input"), Attempt: 1,
		Status: evidence.StatusSuccess, Source: evidence.SourceRuntime, Cost: evidence.Amounts{"usd_micro": 400, "tokens": 1},
	})
	if len(e) != executionSize {
		r.w.t.Fatalf("an execution has %d bytes, want %d", len(e), executionSize)
	}
	return e
}

// resource is as long as it takes.
const resource = "ticket:71-00042"

// perRun is how many records a run of the benchmarks has.
const perRun = 2 + 2*pairs

// work signs n whole runs, on all processors.
func (w *world) work(n int) [][][]byte {
	runs := make([]*run, n)
	for i := range runs {
		runs[i] = w.newRun()
	}
	out := make([][][]byte, n)
	var wg sync.WaitGroup
	for p := range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := p; i < n; i += runtime.GOMAXPROCS(0) {
				out[i] = signRun(w.t, runs[i])
			}
		})
	}
	wg.Wait()
	return out
}

func realStore(w *world) { w.fs = nil }

func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) { benchmarkAppend(b, writers) })
	}
}

func benchmarkAppend(b *testing.B, writers int) {
	w := newWorld(b, realStore, tuned)
	var latencies []time.Duration
	var spent time.Duration
	left, appended, bytes := b.N, 0, 0
	b.ResetTimer()
	b.StopTimer()
	for left > 0 {
		// Sign what comes next, at least a run for each writer and at most
		// about 100 MB, then append it.
		n := max(min(left, 100_000)/perRun, 1)
		if writers > 1 {
			n = max(n/writers, 1) * writers
		}
		runs := w.work(n)
		each := make([][]time.Duration, writers)
		b.StartTimer()
		begin := time.Now()
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for j := i; j < len(runs); j += writers {
					for _, e := range runs[j] {
						at := time.Now()
						if _, err := w.Append(context.Background(), e); err != nil {
							b.Error(err)
							return
						}
						each[i] = append(each[i], time.Since(at))
					}
				}
			})
		}
		wg.Wait()
		spent += time.Since(begin)
		b.StopTimer()
		for _, l := range each {
			latencies = append(latencies, l...)
		}
		for _, r := range runs {
			for _, e := range r {
				bytes += len(e)
			}
		}
		appended += n * perRun
		left -= n * perRun
	}
	slices.Sort(latencies)
	report := func(name string, q float64) {
		b.ReportMetric(float64(latencies[int(q*float64(len(latencies)-1))].Microseconds())/1000, name)
	}
	b.ReportMetric(float64(appended)/spent.Seconds(), "records/s")
	report("p50-ms", 0.5)
	report("p99-ms", 0.99)
	b.ReportMetric(float64(bytes)/float64(appended), "B/entry")
	b.ReportMetric(float64(w.Stats().Entries)/float64(w.Stats().Commits), "records/commit")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/(1<<20), "Go-MiB")
	b.ReportMetric(rss(b), "RSS-MiB")
	if err := w.store.Settle(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(w.store.Stats().DiskBytes)/float64(appended), "stored-B/entry")
	b.ReportMetric(float64(w.store.Stats().DiskBytes)/float64(bytes), "stored/entries")
	b.ReportMetric(0, "ns/op")
}

// tuned gives the store a daemon's options.
func tuned(w *world) { w.daemon = true }

// rss returns the resident memory of the process in MiB, 0 where /proc does not
// say.
func rss(t testing.TB) float64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return float64(resident*os.Getpagesize()) / (1 << 20)
}

// BenchmarkParseVerify is what cannot be saved: the form and the signature of
// each record, on all processors, without any ledger.
func BenchmarkParseVerify(b *testing.B) {
	w := newWorld(b)
	r := w.newRun()
	r.open()
	r.authorize("send_email")
	entry := r.execution()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			u, err := evidence.Parse(entry)
			if err == nil {
				_, err = u.Verify(runtimeKey.Public())
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// benchSize is how many records stand in the ledger that reads are measured on.
func benchSize(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("LEDGERD_BENCH_RECORDS"))
	if err != nil {
		return 20_000
	}
	return n
}

// filled is a ledger of benchSize records, in runs that 64 writers appended.
func filled(b *testing.B) *world {
	w := newWorld(b, realStore, tuned)
	for left := benchSize(b); left > 0; {
		runs := w.work(max(min(left, 50_000)/perRun, 1))
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				for j := i; j < len(runs); j += 64 {
					if _, err := w.Append(context.Background(), runs[j]...); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		left -= len(runs) * perRun
	}
	return w
}

func BenchmarkReceipt(b *testing.B) {
	w := filled(b)
	size := w.Head().Size
	b.ResetTimer()
	var seed sync.Mutex
	next := uint64(1)
	b.RunParallel(func(pb *testing.PB) {
		seed.Lock()
		x := next
		next++
		seed.Unlock()
		for pb.Next() {
			x = x*6364136223846793005 + 1442695040888963407
			if _, err := w.ReceiptAt(context.Background(), (x>>20)%size); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "receipts/s")
}

// BenchmarkOpen is a start with a store that was left without being closed.
func BenchmarkOpen(b *testing.B) {
	w := filled(b)
	w.stop()
	b.ResetTimer()
	for range b.N {
		s, err := pebblestore.Open(filepath.Join(w.dir, "store"), pebblestore.Options{Logger: quiet()})
		if err != nil {
			b.Fatal(err)
		}
		l, err := ledger.Open(context.Background(), s, w.vault, w.cfg)
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRunsOpened opens runs that stay open, and shows what they cost in
// memory.
func BenchmarkRunsOpened(b *testing.B) {
	w := newWorld(b, realStore, tuned)
	b.ResetTimer()
	for left := b.N; left > 0; {
		b.StopTimer()
		n := min(left, 20_000)
		entries := make([][]byte, n)
		runs := make([]*run, n)
		for i := range runs {
			runs[i] = w.newRun()
		}
		var wg sync.WaitGroup
		for p := range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for i := p; i < n; i += runtime.GOMAXPROCS(0) {
					entries[i] = runs[i].open()
				}
			})
		}
		wg.Wait()
		b.StartTimer()
		for part := range slices.Chunk(entries, 1000) {
			if _, err := w.Append(context.Background(), part...); err != nil {
				b.Fatal(err)
			}
		}
		left -= n
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "runs/s")
	b.ReportMetric(rss(b), "RSS-MiB")
}

// BenchmarkPutPayloads stores small payloads, a thousand at a time.
func BenchmarkPutPayloads(b *testing.B) {
	w := newWorld(b, realStore)
	payloads := make([]evidence.Payload, b.N)
	for i := range payloads {
		payloads[i] = payload(fmt.Sprintf("a message of some length, number %d", i))
	}
	b.ResetTimer()
	for part := range slices.Chunk(payloads, 1000) {
		if _, err := w.PutPayloads(context.Background(), part); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "payloads/s")
}
