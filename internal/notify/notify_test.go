package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ledgerd/evidence"
	"ledgerd/internal/notify"
	"ledgerd/runtime"
)

// TestMain is also the command that the tests run: ledgerd hands no environment on,
// so it is known by its first argument.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "as-command" {
		os.Exit(asCommand(os.Args[2:]))
	}
	goleak.VerifyTestMain(m)
}

// saw is what the command had.
type saw struct {
	Args, Env []string
	Dir       string
	Stdin     string
}

func asCommand(args []string) int {
	switch args[0] {
	case "fail":
		fmt.Fprintln(os.Stderr, "it said xyzzy")
		return 3
	case "hang":
		child := exec.Command("sleep", "60")
		if err := child.Start(); err != nil {
			return 1
		}
		if err := os.WriteFile(args[1], fmt.Append(nil, child.Process.Pid), 0o600); err != nil {
			return 1
		}
		time.Sleep(time.Minute)
	}
	var in bytes.Buffer
	_, _ = in.ReadFrom(os.Stdin)
	dir, _ := os.Getwd()
	b, _ := json.Marshal(saw{args, os.Environ(), dir, in.String()})
	if os.WriteFile(args[0], b, 0o600) != nil {
		return 1
	}
	return 0
}

func TestCommand(t *testing.T) {
	t.Setenv("LEDGERD_TOKEN", "s3cr3t")
	file := filepath.Join(t.TempDir(), "saw")
	const hostile = `$(touch /tmp/x); "a b" * ` + "`id`"
	c, err := notify.NewCommand([]string{os.Args[0], "as-command", file, hostile}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), "id", []byte(`{"input":"\"1\""}`)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got saw
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Args, []string{file, hostile}) || got.Stdin != `{"input":"\"1\""}`+"\n" || got.Dir != "/" {
		t.Errorf("%+v", got)
	}
	if len(got.Env) != 1 || !strings.HasPrefix(got.Env[0], "PATH=") {
		t.Errorf("its environment: %v", got.Env)
	}
	if strings.Contains(c.String(), hostile) {
		t.Error("an argument, which may be a secret, is in its name")
	}
}

func TestCommandFails(t *testing.T) {
	for _, argv := range [][]string{nil, {""}, {"/nowhere/at/all"}, {t.TempDir()}} {
		if _, err := notify.NewCommand(argv, 0); err == nil {
			t.Errorf("%q is a command", argv)
		}
	}
	c, err := notify.NewCommand([]string{os.Args[0], "as-command", "fail", "x"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), "id", nil); err == nil || !strings.Contains(err.Error(), "exit status 3") || strings.Contains(err.Error(), "xyzzy") {
		t.Errorf("want its exit code and nothing that it said, found %v", err)
	}
	file := filepath.Join(t.TempDir(), "pid")
	if c, err = notify.NewCommand([]string{os.Args[0], "as-command", "hang", file}, 2*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), "id", bytes.Repeat([]byte("x"), 1<<20)); err == nil || !strings.Contains(err.Error(), "killed after 2s") {
		t.Errorf("want it to be killed, found %v", err)
	}
	pid, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		stat, err := os.ReadFile("/proc/" + string(pid) + "/stat")
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("a child of the command, %s, lives on", pid)
}

func started(cfg notify.Config) *notify.Notifier {
	n := notify.New(cfg)
	n.Start()
	return n
}

// A receiver takes messages, one by one where it is held.
type receiver struct {
	mu    sync.Mutex
	got   map[string]int
	body  map[string]notify.Message
	most  int // at a time
	now   int
	block chan struct{} // not nil: nothing is taken before it is closed
	err   error
}

func newReceiver() *receiver {
	return &receiver{got: make(map[string]int), body: make(map[string]notify.Message)}
}

func (r *receiver) String() string { return "receiver" }

func (r *receiver) Send(ctx context.Context, id string, body []byte) error {
	r.mu.Lock()
	r.now++
	r.most = max(r.most, r.now)
	block := r.block
	r.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now--
	var m notify.Message
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	r.got[id]++
	r.body[id] = m
	return r.err
}

func (r *receiver) count() (all, twice int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.got {
		all += n
		if n > 1 {
			twice++
		}
	}
	return all, twice
}

func idN(n int) evidence.ID {
	var id evidence.ID
	id[0], id[1], id[31] = byte(n>>8), byte(n), 1
	return id
}

func noticeN(n int) runtime.Notice {
	return runtime.Notice{Run: "run_1", Key: "k", Step: "s", Authorization: idN(n), Team: "ops", Reason: "approval", Action: "pay", Resource: "r", Input: []byte(`{ "n":1e2 }`)}
}

func waiting(ns ...int) func(context.Context) iter.Seq2[runtime.Notice, error] {
	return func(context.Context) iter.Seq2[runtime.Notice, error] {
		return func(yield func(runtime.Notice, error) bool) {
			for _, n := range ns {
				if !yield(noticeN(n), nil) {
					return
				}
			}
		}
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s: not in 5 s", what)
}

func TestMessages(t *testing.T) {
	r := newReceiver()
	idle := notify.New(notify.Config{Senders: []notify.Sender{r}, Waiting: waiting(1)})
	idle.Notify(noticeN(2))
	idle.Close(t.Context())
	if all, _ := r.count(); all != 0 {
		t.Error("told before the start")
	}
	now := time.Date(2026, 5, 29, 14, 0, 0, 0, time.UTC)
	n := started(notify.Config{Senders: []notify.Sender{r}, Origin: "ledger.example/x", Now: func() time.Time { return now }})
	n.Notify(noticeN(1))
	doubt := noticeN(2)
	doubt.Reason, doubt.Input = "outcome_unknown", []byte{0xff, 0}
	n.Notify(doubt)
	other := noticeN(1) // about the same, for another reason
	other.Reason = "result.erased"
	n.Notify(other)
	n.Notify(noticeN(1)) // the same
	until(t, "three messages", func() bool { all, _ := r.count(); return all >= 3 })
	n.Close(t.Context())
	want := notify.Data{Origin: "ledger.example/x", Run: "run_1", Key: "k", Step: "s", About: idN(1), Team: "ops", Reason: "approval", Action: "pay", Resource: "r", Input: `{ "n":1e2 }`}
	m := r.body[idN(1).String()+"-approval"]
	if m.Type != notify.Waiting || fmt.Sprint(m.Data) != fmt.Sprint(want) || !m.Timestamp.Equal(now) {
		t.Errorf("%+v", m)
	}
	m = r.body[idN(2).String()+"-outcome_unknown"]
	if m.Type != notify.Escalated || m.Data.Input != "" || !bytes.Equal(m.Data.InputBase64, []byte{0xff, 0}) {
		t.Errorf("%+v", m)
	}
	if all, twice := r.count(); all != 3 || twice != 0 || r.got[idN(1).String()+"-result-erased"] != 1 {
		t.Error(r.got)
	}
}

// TestToldAtEachStartOnce: what waits is told at each start, and in one life of the
// process once, also where the runtime tells of it as well.
func TestToldAtEachStartOnce(t *testing.T) {
	r := newReceiver()
	for start := 1; start <= 2; start++ {
		n := started(notify.Config{Senders: []notify.Sender{r}, Waiting: waiting(1, 2, 3)})
		for range 10 {
			n.Notify(noticeN(2))
			n.Notify(noticeN(4))
		}
		until(t, "four messages", func() bool { all, _ := r.count(); return all >= 4*start })
		n.Close(t.Context())
		for id, times := range r.got {
			if times != start {
				t.Errorf("at start %d %s was told %d times in all", start, id, times)
			}
		}
	}
}

// TestNeverBlocksNeverLoses: a receiver that hangs holds nobody up, neither the
// runtime nor another receiver, and what was too much for the queue is told when
// there is room, as the ledger has it.
func TestNeverBlocksNeverLoses(t *testing.T) {
	const all = 1000
	ns := make([]int, all)
	for i := range ns {
		ns[i] = i
	}
	slow, quick := newReceiver(), newReceiver()
	slow.block = make(chan struct{})
	var log bytes.Buffer
	begun := make(chan struct{})
	known := waiting(ns...)
	n := started(notify.Config{
		Senders: []notify.Sender{slow, quick}, Queue: 8, Workers: 3, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		Waiting: func(ctx context.Context) iter.Seq2[runtime.Notice, error] {
			select {
			case <-begun: // the ledger has them by now
				return known(ctx)
			default:
				return waiting()(ctx)
			}
		},
	})
	time.Sleep(50 * time.Millisecond) // the scan of the start is through, and found nothing
	close(begun)
	took := time.Now()
	for i := range all {
		n.Notify(noticeN(i))
	}
	if d := time.Since(took); d > 2*time.Second {
		t.Errorf("the runtime was held up for %s", d)
	}
	until(t, "all at the quick one", func() bool { got, _ := quick.count(); return got == all })
	if got, _ := slow.count(); got != 0 {
		t.Errorf("%d messages at the slow one", got)
	}
	close(slow.block)
	until(t, "all at the slow one", func() bool { got, _ := slow.count(); return got == all })
	n.Close(t.Context())
	for _, r := range []*receiver{slow, quick} {
		if got, twice := r.count(); got != all || twice != 0 {
			t.Errorf("%d messages, %d twice", got, twice)
		}
	}
	if slow.most > 3 {
		t.Errorf("%d at a time", slow.most)
	}
	if !strings.Contains(log.String(), "too much to tell") {
		t.Error(log.String())
	}
}

// TestQueueIsBoundedInBytes: large inputs do not gather in memory.
func TestQueueIsBoundedInBytes(t *testing.T) {
	r := newReceiver()
	r.block = make(chan struct{})
	n := started(notify.Config{Senders: []notify.Sender{r}, Workers: 1, Bytes: 1 << 20, Logger: slog.New(slog.DiscardHandler)})
	for i := range 20 {
		one := noticeN(i)
		one.Input = bytes.Repeat([]byte(" "), 300<<10)
		n.Notify(one)
	}
	close(r.block)
	time.Sleep(200 * time.Millisecond)
	n.Close(t.Context())
	if got, _ := r.count(); got < 1 || got > 5 {
		t.Errorf("%d messages of 300 KiB were kept in 1 MiB", got)
	}
}

// TestClose: it ends in time, whatever a receiver does, and nothing is told after.
func TestClose(t *testing.T) {
	r := newReceiver()
	r.block = make(chan struct{})
	n := started(notify.Config{Senders: []notify.Sender{r}, Workers: 1, Queue: 2, Waiting: waiting(1, 2, 3, 4, 5, 6), Logger: slog.New(slog.DiscardHandler)})
	until(t, "one is under way", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.now == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	n.Close(ctx)
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("it took %s", d)
	}
	n.Notify(noticeN(9))
	if got, _ := r.count(); got != 1 {
		t.Errorf("%d messages", got)
	}
	var none *notify.Notifier
	none.Start()
	none.Notify(noticeN(1))
	none.Close(t.Context())
}

// TestFailuresAreLogged, and what was to be told is not.
func TestFailuresAreLogged(t *testing.T) {
	r := newReceiver()
	r.err = errors.New("no")
	var log bytes.Buffer
	broken := func(context.Context) iter.Seq2[runtime.Notice, error] {
		return func(yield func(runtime.Notice, error) bool) { yield(runtime.Notice{}, errors.New("disk on fire")) }
	}
	n := started(notify.Config{Senders: []notify.Sender{r}, Waiting: broken, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	one := noticeN(1)
	one.Input = []byte(`"xyzzy"`)
	n.Notify(one)
	until(t, "a message", func() bool { got, _ := r.count(); return got == 1 })
	time.Sleep(50 * time.Millisecond)
	n.Close(t.Context())
	if s := log.String(); !strings.Contains(s, "was not told") || !strings.Contains(s, idN(1).String()) || !strings.Contains(s, "disk on fire") || strings.Contains(s, "xyzzy") {
		t.Error(s)
	}
}
