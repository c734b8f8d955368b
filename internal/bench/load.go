package bench

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"ledgerd/evidence"
)

// Appender is what is measured: an embedded ledger or a daemon's client. Append
// returns once the entries are durable and provable.
type Appender interface {
	Append(ctx context.Context, entries ...[]byte) ([]evidence.Placed, error)
}

// Load says who writes how much.
type Load struct {
	Writers    int // each has a run of its own, and waits for each answer
	PerRequest int // records that a writer appends at once
	// Records ends the load once so many were written, Duration once so much
	// time was spent in timed phases; the first to come.
	Records  int
	Duration time.Duration
	// Busy tells whether an error means that the line was full: then the
	// request is made again after a millisecond, and the wait counts as its
	// latency. nil: every error ends the load.
	Busy func(error) bool
	// Progress, if set, is called after each phase.
	Progress func(Rate)
}

// Rate is what a load came to.
type Rate struct {
	Records int           // acknowledged
	Bytes   int64         // of their entries
	Elapsed time.Duration // of the timed phases
	CPU     time.Duration // that this process used in them, 0 where it cannot be told
	Busy    int           // requests that were made again
	P50     time.Duration // of a request, from call to answer
	P99     time.Duration
	Max     time.Duration

	latencies []time.Duration
}

// PerSecond returns records a second.
func (r *Rate) PerSecond() float64 { return float64(r.Records) / max(r.Elapsed.Seconds(), 1e-9) }

// CPUPerRecord returns the CPU time that a record cost this process: where other
// programs want the CPUs too, it says more than the rate does.
func (r *Rate) CPUPerRecord() time.Duration { return r.CPU / time.Duration(max(1, r.Records)) }

// phaseRecords bounds what is signed ahead: 50 MB of entries.
const phaseRecords = 50_000

// Run opens a run for each writer and puts the load on the appender.
func (l Load) Run(ctx context.Context, to Appender, s *Signer) (Rate, error) {
	lines := make([]*Line, l.Writers)
	for i := range lines {
		var err error
		if lines[i], err = NewLine(s); err != nil {
			return Rate{}, err
		}
	}
	if err := l.open(ctx, to, lines); err != nil {
		return Rate{}, fmt.Errorf("opening %d runs: %w", len(lines), err)
	}
	var total Rate
	for total.Records < l.Records && total.Elapsed < l.Duration {
		left := min(phaseRecords, l.Records-total.Records)
		if total.Records == 0 {
			left = min(left, max(1000, 4*l.Writers*l.PerRequest)) // to learn how fast it is
		} else {
			left = min(left, int(total.PerSecond()*(l.Duration-total.Elapsed).Seconds()))
		}
		requests := max(1, left/(l.Writers*l.PerRequest))
		work, err := sign(lines, requests, l.PerRequest)
		if err != nil {
			return total, err
		}
		if err := l.phase(ctx, to, work, &total); err != nil {
			return total, err
		}
		if l.Progress != nil {
			l.Progress(total)
		}
	}
	total.summarize()
	return total, nil
}

// open appends the run.opened of each line, a hundred at a time.
func (l Load) open(ctx context.Context, to Appender, lines []*Line) error {
	work, err := sign(lines, 1, 1)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(work, 100) {
		var entries [][]byte
		for _, w := range chunk {
			entries = append(entries, w[0]...)
		}
		if _, err := to.Append(ctx, entries...); err != nil {
			return err
		}
	}
	return nil
}

// sign makes the next requests of each line, on all CPUs. The result is, for
// each writer, its requests; each the entries of one append.
func sign(lines []*Line, requests, perRequest int) ([][][][]byte, error) {
	work := make([][][][]byte, len(lines))
	now := time.Now()
	err := parallel(len(lines), func(i int) error {
		for range requests {
			request := make([][]byte, perRequest)
			for j := range request {
				var err error
				if request[j], err = lines[i].Next(now); err != nil {
					return err
				}
			}
			work[i] = append(work[i], request)
		}
		return nil
	})
	return work, err
}

// parallel calls f for 0 to n-1 on all CPUs, and returns the first error.
func parallel(n int, f func(int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for w := range errs {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				errs[w] = f(i)
			}
		})
	}
	wg.Wait()
	return cmp.Or(errs...)
}

// phase is the timed part: every writer appends its requests one after another.
func (l Load) phase(ctx context.Context, to Appender, work [][][][]byte, total *Rate) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]Rate, len(work))
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range work {
		wg.Go(func() {
			<-start
			if err := l.write(ctx, to, work[i], &results[i]); err != nil {
				cancel(err)
			}
		})
	}
	cpu, told := CPUTime()
	begun := time.Now()
	close(start)
	wg.Wait()
	total.Elapsed += time.Since(begun)
	if now, ok := CPUTime(); ok && told {
		total.CPU += now - cpu
	}
	for i := range results {
		r := &results[i]
		total.Records += r.Records
		total.Bytes += r.Bytes
		total.Busy += r.Busy
		total.latencies = append(total.latencies, r.latencies...)
	}
	return context.Cause(ctx)
}

func (l Load) write(ctx context.Context, to Appender, requests [][][]byte, r *Rate) error {
	for _, entries := range requests {
		begun := time.Now()
		for {
			_, err := to.Append(ctx, entries...)
			if err == nil {
				break
			}
			if l.Busy == nil || !l.Busy(err) {
				return err
			}
			r.Busy++
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		r.latencies = append(r.latencies, time.Since(begun))
		r.Records += len(entries)
		for _, e := range entries {
			r.Bytes += int64(len(e))
		}
	}
	return nil
}

// summarize fills in the percentiles.
func (r *Rate) summarize() {
	slices.Sort(r.latencies)
	if n := len(r.latencies); n > 0 {
		r.P50, r.P99, r.Max = r.latencies[n/2], r.latencies[min(n-1, n*99/100)], r.latencies[n-1]
	}
	r.latencies = nil
}
