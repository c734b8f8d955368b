package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/client"
	"ledgerd/internal/bench"
	"ledgerd/ledger"
)

func init() {
	register(&cli.Command{
		Name:  "bench",
		Usage: "measure a ledger",
		Description: "Writes execution records of 935 bytes from many writers, each of whom waits for an answer, and reports records a\n" +
			"second and latencies, beside the rate of parsing and verifying alone. Records are signed before they are timed.\n" +
			"With neither --data-dir nor --server it measures a ledger of its own in a temporary directory. Otherwise the runs\n" +
			"that it makes stay in that ledger for good, under the actor " + bench.Agent + ".\n\n" +
			"Examples:\n" +
			"  # A ledger of its own, for a second each with 1 and with 64 writers\n" +
			"  ledgerd bench --writers 1,64 --duration 1s",
		Flags: ledgerFlags(
			&cli.PathFlag{Name: "key", Usage: "`FILE` with the runtime's private key (default: the one in --data-dir)"},
			&cli.PathFlag{Name: "root-key", Usage: "`FILE` with the root's private key, to register " + bench.Agent + " (default: the one in --data-dir)"},
			&cli.PathFlag{Name: "scratch", Usage: "`DIR` for the ledger of its own (default: a temporary one, removed afterwards)"},
			&cli.StringFlag{Name: "writers", Value: "1,64,1024", Usage: "`N,...` writers, one load after the other"},
			&cli.StringFlag{Name: "per-request", Value: "1", Usage: "`N,...` records that a writer appends at once"},
			&cli.IntFlag{Name: "records", Value: 10_000_000, Usage: "end a load after `N` records"},
			&cli.DurationFlag{Name: "duration", Value: 10 * time.Second, Usage: "or after `TIME`, whichever comes first"},
			&cli.IntFlag{Name: "proofs", Usage: "then prove `N` random records: inclusion, and receipts"},
			&cli.IntFlag{Name: "open-runs", Usage: "first open `N` runs and leave them open"},
			&cli.PathFlag{Name: "cpu-profile", Usage: "`FILE` for a CPU profile of this process, signing included"},
			outputFlag(),
		),
		Action: runBench,
	})
}

func runBench(c *cli.Context) error {
	writers, err := numbers(c, "writers")
	if err != nil {
		return err
	}
	perRequest, err := numbers(c, "per-request")
	if err != nil {
		return err
	}
	b, err := openBench(c)
	if err != nil {
		return err
	}
	stop, err := startProfile(c.Path("cpu-profile"))
	if err != nil {
		return errors.Join(err, b.close())
	}
	return errors.Join(b.run(c, writers, perRequest), stop(), b.close())
}

// startProfile samples where this process spends its CPU time until stop is
// called; "" is no file, and no profile.
func startProfile(file string) (stop func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("--cpu-profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// numbers reads a list of positive numbers.
func numbers(c *cli.Context, name string) ([]int, error) {
	var list []int
	for text := range strings.SplitSeq(c.String(name), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 || n > 100_000 {
			return nil, usage("--%s: want numbers from 1 to 100000 with commas between them, found %q", name, c.String(name))
		}
		list = append(list, n)
	}
	return list, nil
}

// benched is what is measured.
type benched struct {
	to     bench.Appender
	signer *bench.Signer
	dir    string // a directory on the disk that counts
	local  bool
	size   func(context.Context) (uint64, error)
	daemon func(context.Context) (time.Duration, error) // CPU time that it has used; nil: there is none
	proofs []prover                                     // none: not to be measured
	close  func() error
}

// prover is one kind of proof.
type prover struct {
	what, says string
	prove      func(ctx context.Context, index uint64) error
}

// proversOf returns the proofs of a ledger in this process.
func proversOf(l *ledger.Ledger) []prover {
	return []prover{
		{"inclusion", "inclusion proofs", func(ctx context.Context, i uint64) error {
			_, err := l.Log().Inclusion(ctx, i, l.Head().Size)
			return err
		}},
		{"receipts", "receipts, each checked before it leaves", func(ctx context.Context, i uint64) error {
			_, err := l.ReceiptAt(ctx, i)
			return err
		}},
	}
}

func openBench(c *cli.Context) (*benched, error) {
	if c.Path("data-dir") == "" && c.String("server") == "" {
		return scratchBench(c)
	}
	t, err := openTarget(c)
	if err != nil {
		return nil, err
	}
	im, err := newImporter(c, t)
	if err == nil {
		err = im.Registry.Host(c.Context, bench.Agent, im.Runtime)
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	number, err := im.Registry.Number(c.Context)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	b := &benched{
		signer: &bench.Signer{Origin: im.Origin, Runtime: im.Runtime, Agent: bench.Agent, Registry: number, Key: im.Key},
		dir:    os.TempDir(), close: t.Close,
	}
	if t.remote != nil {
		b.to = t.remote.Unparsed()
		b.daemon = func(ctx context.Context) (time.Duration, error) { return daemonCPU(ctx, t.remote) }
		return b, nil
	}
	b.to, b.local, b.dir = t.local, true, t.local.Dir.Path
	b.proofs = proversOf(t.local.Ledger)
	b.size = func(context.Context) (uint64, error) { return t.local.Head().Size, nil }
	return b, nil
}

// daemonCPU returns the CPU time that a daemon has used, as it tells Prometheus.
func daemonCPU(ctx context.Context, c *client.Client) (time.Duration, error) {
	const name = "process_cpu_seconds_total"
	text, err := c.Metrics(ctx)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			s, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return time.Duration(s * float64(time.Second)), err
		}
	}
	return 0, nil // not every system tells
}

func scratchBench(c *cli.Context) (*benched, error) {
	dir := c.Path("scratch")
	remove := func() error { return nil }
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "ledgerd-bench-"); err != nil {
			return nil, err
		}
		remove = func() error { return os.RemoveAll(dir) }
	} else if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, usage("--scratch: want a directory that is not there yet: %v", err)
	}
	s, err := bench.NewScratch(c.Context, dir)
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	return &benched{
		to: s, signer: s.Signer, dir: dir, local: true,
		size:   func(context.Context) (uint64, error) { return s.Head().Size, nil },
		proofs: proversOf(s.Ledger),
		close:  func() error { return errors.Join(s.Close(), remove()) },
	}, nil
}

// measured is one line of the result.
type measured struct {
	What       string  `json:"what"`
	Writers    int     `json:"writers,omitempty"`
	PerRequest int     `json:"per_request,omitempty"`
	Records    int     `json:"records,omitempty"`
	Bytes      int64   `json:"bytes,omitempty"`
	Seconds    float64 `json:"seconds,omitempty"`
	PerSecond  float64 `json:"per_second,omitempty"`
	CPU        float64 `json:"cpu_us_per_record,omitempty"`        // of this process
	DaemonCPU  float64 `json:"daemon_cpu_us_per_record,omitempty"` // of the daemon, what it does between requests included
	P50        float64 `json:"p50_ms,omitempty"`
	P99        float64 `json:"p99_ms,omitempty"`
	Max        float64 `json:"max_ms,omitempty"`
	Busy       int     `json:"busy,omitempty"`
	Machine    string  `json:"machine,omitempty"`
	AllCPUs    float64 `json:"per_second_all_cpus,omitempty"`
	Fsync      float64 `json:"fsync_ms,omitempty"`
	Size       uint64  `json:"size,omitempty"` // of the log, before
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (b *benched) run(c *cli.Context, writers, perRequest []int) error {
	if err := show(c, measured{What: "machine", Machine: bench.Machine()}, "machine   "+bench.Machine()); err != nil {
		return err
	}
	f, err := bench.MeasureFloor(b.signer, b.dir)
	if err != nil {
		return err
	}
	err = show(c, measured{What: "floor", PerSecond: f.OneCPU, AllCPUs: f.AllCPUs, Fsync: ms(f.Fsync)},
		fmt.Sprintf("floor     parse and verify alone: %.0f/s on one CPU, %.0f/s on all; fsync of 4 KiB: %.2f ms (median)", f.OneCPU, f.AllCPUs, ms(f.Fsync)))
	if err != nil {
		return err
	}
	if n := c.Int("open-runs"); n > 0 {
		if err := b.openRuns(c, n); err != nil {
			return err
		}
	}
	for _, w := range writers {
		for _, k := range perRequest {
			if err := b.load(c, w, k); err != nil {
				return err
			}
		}
	}
	n := c.Int("proofs")
	if n > 0 && len(b.proofs) == 0 {
		return usage("--proofs: want --data-dir of a ledger that no daemon holds, or a ledger of its own")
	}
	for _, p := range b.proofs {
		if n > 0 {
			if err := b.prove(c, p, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *benched) load(c *cli.Context, writers, perRequest int) error {
	l := bench.Load{Writers: writers, PerRequest: perRequest, Records: c.Int("records"), Duration: c.Duration("duration"), Busy: bench.Busy}
	m := measured{What: "append", Writers: writers, PerRequest: perRequest}
	if b.size != nil {
		var err error
		if m.Size, err = b.size(c.Context); err != nil {
			return err
		}
	}
	before, err := b.daemonTime(c.Context)
	if err != nil {
		return err
	}
	r, err := l.Run(c.Context, b.to, b.signer)
	if err != nil {
		return fmt.Errorf("%d writers, %d records a request: %w", writers, perRequest, err)
	}
	after, err := b.daemonTime(c.Context)
	if err != nil {
		return err
	}
	m.Records, m.Bytes, m.Seconds, m.PerSecond = r.Records, r.Bytes, r.Elapsed.Seconds(), r.PerSecond()
	m.CPU = float64(r.CPUPerRecord().Nanoseconds()) / 1000
	m.P50, m.P99, m.Max, m.Busy = ms(r.P50), ms(r.P99), ms(r.Max), r.Busy
	cpu := fmt.Sprintf("%4.0f µs", m.CPU)
	if after > before {
		m.DaemonCPU = float64((after - before).Nanoseconds()) / 1000 / float64(max(1, r.Records))
		cpu += fmt.Sprintf(" + daemon %4.0f µs", m.DaemonCPU)
	}
	return show(c, m, fmt.Sprintf("append    %5d writers, %3d a request: %8.0f/s  p50 %8.2f ms  p99 %8.2f ms  max %8.2f ms  CPU %s  (%d records of %d bytes in %.1f s)",
		writers, perRequest, m.PerSecond, m.P50, m.P99, m.Max, cpu, r.Records, r.Bytes/int64(max(1, r.Records)), m.Seconds))
}

func (b *benched) daemonTime(ctx context.Context) (time.Duration, error) {
	if b.daemon == nil {
		return 0, nil
	}
	return b.daemon(ctx)
}

// openRuns opens runs, a hundred in a request, from a few writers at once.
func (b *benched) openRuns(c *cli.Context, n int) error {
	const chunk, writers = 100, 8
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	var left atomic.Int64
	left.Store(int64(n))
	begun := time.Now()
	for range writers {
		wg.Go(func() {
			for failed.Load() == nil {
				size := min(chunk, left.Add(-chunk)+chunk)
				if size <= 0 {
					return
				}
				if err := b.openSome(c.Context, int(size)); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return fmt.Errorf("opening runs: %w", *err)
	}
	took := time.Since(begun).Seconds()
	return show(c, measured{What: "open-runs", Records: n, Seconds: took},
		fmt.Sprintf("open runs %d in %.1f s, signing included", n, took))
}

func (b *benched) openSome(ctx context.Context, n int) error {
	entries := make([][]byte, n)
	for i := range entries {
		line, err := bench.NewLine(b.signer)
		if err != nil {
			return err
		}
		if entries[i], err = line.Next(time.Now()); err != nil {
			return err
		}
	}
	_, err := b.to.Append(ctx, entries...)
	return err
}

// prove makes proofs of random records, on as many goroutines as there are CPUs.
func (b *benched) prove(c *cli.Context, p prover, n int) error {
	size, err := b.size(c.Context)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	var left atomic.Int64
	left.Store(int64(n))
	begun := time.Now()
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for left.Add(-1) >= 0 && failed.Load() == nil {
				if err := p.prove(c.Context, rand.Uint64N(size)); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	took := time.Since(begun).Seconds()
	return show(c, measured{What: p.what, Records: n, Seconds: took, PerSecond: float64(n) / took, Size: size},
		fmt.Sprintf("proofs    %8.0f/s %s (%d random records in a log of %d)", float64(n)/took, p.says, n, size))
}
