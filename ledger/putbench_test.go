//go:build unix

package ledger_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ledgerd/evidence"
)

// BenchmarkPutEach stores payloads of 400 bytes, one a call, as a runtime
// does for each record of a step.
func BenchmarkPutEach(b *testing.B) {
	for _, callers := range []int{1, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			w := newWorld(b, realStore, tuned)
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			spent := cpuTime(b)
			for range callers {
				wg.Go(func() {
					for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
						p := payload(fmt.Sprintf("%400d", i))
						if _, err := w.PutPayloads(context.Background(), []evidence.Payload{p}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "payloads/s")
			b.ReportMetric(float64((cpuTime(b)-spent).Microseconds())/float64(b.N), "cpu-µs/payload")
		})
	}
}

// cpuTime is what this process has used, in user and in system mode.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
