package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/bench"
	"ledgerd/internal/datadir"
	"ledgerd/ledger/tlog"
	"ledgerd/ledger/tlog/tlogtest"
)

// process is a daemon in a process of its own.
type process struct {
	*exec.Cmd
	url    string        // where it listens, once serving is closed
	stderr *bytes.Buffer // to be read once read is closed
	// serving is closed once it listens, read once stderr has ended.
	serving, read chan struct{}
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ledgerd-test-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "ledgerd")
	out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

// launch starts a daemon over a data directory.
func launch(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{
		Cmd:    exec.Command(bin, append([]string{"serve", "--data-dir", dir, "--listen", "127.0.0.1:0"}, args...)...),
		stderr: new(bytes.Buffer), serving: make(chan struct{}), read: make(chan struct{}),
	}
	out, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	go func() {
		defer close(p.read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			fmt.Fprintln(p.stderr, lines.Text())
			if _, after, ok := strings.Cut(lines.Text(), "url="); ok && strings.Contains(lines.Text(), "msg=serving") {
				p.url = strings.Fields(after)[0]
				close(p.serving)
			}
		}
	}()
	return p
}

// start starts a daemon over a data directory and waits until it listens.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	p := launch(t, dir, args...)
	select {
	case <-p.serving:
	case <-p.read:
		t.Fatalf("the daemon ended: %s", p.stderr)
	case <-time.After(60 * time.Second):
		t.Fatal("the daemon did not start")
	}
	return p
}

// killAtStart kills a daemon at some moment of its start, at the latest after d,
// and reports whether that was before it listened. It must not have ended by
// itself: what the kill before left is no reason.
func killAtStart(t *testing.T, dir string, d time.Duration) bool {
	t.Helper()
	p := launch(t, dir)
	time.Sleep(rand.N(d))
	select {
	case <-p.read:
		t.Fatalf("the daemon ended: %s", p.stderr)
	default:
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.read
	_ = p.Wait()
	select {
	case <-p.serving:
		return false
	default:
		return true
	}
}

func newDir(t *testing.T) (*datadir.Dir, *bench.Signer, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger")
	d, err := datadir.Init(context.Background(), path, datadir.InitOptions{Origin: "ledger.example/kill", Runtime: "runtime", Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	key, err := d.Key("runtime")
	if err != nil {
		t.Fatal(err)
	}
	token, err := d.AdminToken()
	if err != nil {
		t.Fatal(err)
	}
	return d, &bench.Signer{Origin: d.Origin, Runtime: "runtime", Agent: "runtime", Registry: 1, Key: key}, token
}

// A writer extends one run, whatever happens to the daemon: what it got no
// answer for it submits again, byte for byte.
type writer struct {
	line    *bench.Line
	pending [][]byte
	acked   int
}

func (w *writer) write(ctx context.Context, c *client.Client, j *tlogtest.Journal) error {
	for ctx.Err() == nil {
		for len(w.pending) == 0 || len(w.pending) < 3 && rand.IntN(2) == 0 {
			e, err := w.line.Next(time.Now())
			if err != nil {
				return err
			}
			w.pending = append(w.pending, e)
		}
		outs, err := c.SubmitEach(w.pending...)(ctx)
		if err != nil {
			return err
		}
		for i, o := range outs {
			if o.Err != nil {
				w.pending = w.pending[i:]
				return o.Err
			}
			j.Acked(o.Index, w.pending[i])
			w.acked++
		}
		w.pending = nil
	}
	return nil
}

// TestKill kills the daemon, again and again: under load, and every third time
// while it starts over what the kill before left. This process keeps a journal of
// what it was told. LEDGERD_TEST_KILLS says how often: 6 if it is not set.
func TestKill(t *testing.T) {
	kills := 6
	if s := os.Getenv("LEDGERD_TEST_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	dir, signer, token := newDir(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	j := tlogtest.NewJournal(file)
	var writers []*writer
	for range 8 {
		line, err := bench.NewLine(signer)
		if err != nil {
			t.Fatal(err)
		}
		writers = append(writers, &writer{line: line})
	}
	atStart, starting := 0, time.Second
	for i := range kills {
		if i%3 == 2 {
			if killAtStart(t, dir.Path, starting) {
				atStart++
			}
			continue
		}
		since := time.Now()
		p := start(t, dir.Path)
		starting = time.Since(since)
		load(t, p, token, writers, j, rand.N(250*time.Millisecond), func() {
			if err := p.Process.Kill(); err != nil {
				t.Error(err)
			}
		})
		<-p.read
		_ = p.Wait()
		if t.Failed() {
			t.Fatalf("after kill %d: %s", i+1, p.stderr)
		}
	}
	// One more time in peace: everybody's pending records find their place.
	p := start(t, dir.Path)
	load(t, p, token, writers, j, 200*time.Millisecond, func() {})
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.read
	if err := p.Wait(); err != nil {
		t.Fatalf("SIGTERM: %v: %s", err, p.stderr)
	}
	checkDir(t, dir, j)
	total := 0
	for _, w := range writers {
		total += w.acked
	}
	t.Logf("%d kills, %d of them before the daemon listened; %d records acknowledged", kills, atStart, total)
	if total == 0 {
		t.Error("nothing was acknowledged: the test tests nothing")
	}
	if kills >= 100 && atStart == 0 {
		t.Error("no kill hit the start of a daemon")
	}
}

// load lets the writers write, and somebody look at tree heads, for a while. The
// daemon is killed while they do: what they hear then is of no interest unless
// it is a refusal, which would mean that a record got lost.
func load(t *testing.T, p *process, token string, writers []*writer, j *tlogtest.Journal, d time.Duration, end func()) {
	t.Helper()
	c, err := client.New(p.url, client.Options{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for _, w := range writers {
		all.Go(func() {
			err := w.write(ctx, c, j)
			if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, tlog.ErrUnknown) && !errors.Is(err, tlog.ErrNotAppended) {
				t.Errorf("a writer: %v", err)
			}
		})
	}
	all.Go(func() {
		for ctx.Err() == nil {
			seen := j.Look()
			if head, err := c.Head(ctx); err == nil {
				seen(head)
			}
			time.Sleep(time.Millisecond)
		}
	})
	time.Sleep(d)
	end() // while requests are under way
	cancel()
	all.Wait()
}

// checkDir opens the store that is left behind and asks the oracle.
func checkDir(t *testing.T, dir *datadir.Dir, j *tlogtest.Journal) {
	t.Helper()
	ctx := context.Background()
	l, err := dir.Ledger(ctx, datadir.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	v, err := tlog.NewVerifier(dir.Log)
	if err != nil {
		t.Fatal(err)
	}
	head := l.Head()
	if err := tlogtest.CheckLog(v, head.Note, l.Log().Entries(ctx, 0, head.Size), j); err != nil {
		t.Error(err)
	}
	report, err := l.Check(ctx, nil)
	if err != nil || !report.Sound() {
		t.Errorf("check: %v %+v", err, report)
	}
	if err := lines(l.Records(ctx, 0, head.Size)); err != nil {
		t.Error(err)
	}
}

// lines holds the runs to their lines with nothing but prev.
func lines(records iter.Seq2[evidence.Placed, error]) error {
	tails := make(map[evidence.RunID]evidence.ID)
	for p, err := range records {
		if err != nil {
			return err
		}
		if r := p.Record; r.Run != "" {
			if r.Prev != tails[r.Run] {
				return fmt.Errorf("record %d: want prev %s, found %s", p.Index, tails[r.Run], r.Prev)
			}
			tails[r.Run] = p.ID
		}
	}
	return nil
}

// TestTerm: a daemon that is told to stop answers what it was asked, and exits 0.
func TestTerm(t *testing.T) {
	dir, signer, token := newDir(t)
	p := start(t, dir.Path)
	c, err := client.New(p.url, client.Options{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	j := tlogtest.NewJournal(nil)
	var stopping atomic.Bool
	var all sync.WaitGroup
	for range 16 {
		line, err := bench.NewLine(signer)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			w := &writer{line: line}
			// Between answers a connection may be closed before it is used
			// again: an error is no answer, but must come after the signal.
			if err := w.write(context.Background(), c, j); !stopping.Load() {
				t.Errorf("before the signal: %v", err)
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	stopping.Store(true)
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	<-p.read
	if err := p.Wait(); err != nil {
		t.Errorf("want exit 0, found %v: %s", err, p.stderr)
	}
	if strings.Contains(p.stderr.String(), token) || strings.Contains(p.stderr.String(), "ledgerd_") {
		t.Errorf("a secret in what the daemon says: %s", p.stderr)
	}
	checkDir(t, dir, j)
}
