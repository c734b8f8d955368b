package traces_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/bench"
	"ledgerd/internal/importer"
	"ledgerd/internal/traces"
)

var errDead = errors.New("the process is dead")

// dying is a process that dies at one point: nothing changes any more, on disk or in the
// ledger.
type dying struct {
	importer.Embedded
	at, points int
	dead       bool
	where      string
}

func (d *dying) point(where string) error {
	if !d.dead {
		if d.points++; d.points == d.at {
			d.dead, d.where = true, where
		}
	}
	if d.dead {
		return errDead
	}
	return nil
}

func (d *dying) fault(op, name string, did bool) error {
	return d.point(fmt.Sprintf("%s %s, done: %v", op, name, did))
}

// Append appends one record at a time, so that a run is left anywhere.
func (d *dying) Append(ctx context.Context, entries ...[]byte) ([]evidence.Placed, error) {
	var all []evidence.Placed
	for _, e := range entries {
		if err := d.point("append"); err != nil {
			return nil, err
		}
		p, err := d.Embedded.Append(ctx, e)
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
	return all, d.point("appended")
}

func (d *dying) PutPayloads(ctx context.Context, payloads []evidence.Payload) ([]evidence.Commitment, error) {
	if err := d.point("payloads"); err != nil {
		return nil, err
	}
	return d.Embedded.PutPayloads(ctx, payloads)
}

// used is a span that shows the use of a tool, which no other span does.
func used(trace, span int) string {
	return export(trace, span, fmt.Sprintf(`{"key":"gen_ai.operation.name","value":{"stringValue":"execute_tool"}},{"key":"gen_ai.tool.name","value":{"stringValue":"tool-%d"}}`, span))
}

// together are exports with one span as one export.
func together(exports ...string) string {
	var spans []string
	for _, e := range exports {
		spans = append(spans, spanOf(e))
	}
	return `{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Join(spans, ",") + `]}]}]}`
}

// withMore is an export with a member that is unknown here, and kept.
func withMore(export string) string {
	return strings.Replace(export, `{"resourceSpans"`, `{"unknown":{"x":1},"resourceSpans"`, 1)
}

func (w *world) importer(l importer.Ledger) *importer.Importer {
	return &importer.Importer{
		Ledger: l, Registry: importer.Embedded{Ledger: w.Ledger}, Origin: bench.Origin, Runtime: bench.Runtime, Key: w.Signer.Key, Now: time.Now, Random: rand.Reader,
	}
}

// spooled lists what lies in the spool.
func (w *world) spooled() []string {
	w.t.Helper()
	files, err := os.ReadDir(w.spool)
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

// tools counts how often each tool was used, and what was kept, by what the ledger says,
// and holds every run to its end.
func (w *world) tools() map[string]int {
	w.t.Helper()
	n := make(map[string]int)
	runs, lines := w.runs()
	for i, line := range lines {
		for _, r := range line {
			switch b := r.Body.(type) {
			case *evidence.Execution:
				n[b.Tool]++
			case *evidence.Context:
				for _, s := range b.Sources {
					if s.Name != "kept.resource" { // once a run
						n[s.Name]++
					}
				}
			}
		}
		if line[len(line)-1].Kind != evidence.KindRunClosed {
			w.t.Errorf("the run %s is left open", runs[i])
		}
	}
	return n
}

// TestKilledAnywhere: a process dies before, in or after each change that it makes, on
// disk or in the ledger, with two traces that share an export and spans that come late.
// What it answered is recorded once by the next ones, and so is what the exporter sends
// again because it was not answered; every run is whole, and nothing is left on disk.
func TestKilledAnywhere(t *testing.T) {
	shared := together(used(1, 1), used(2, 2), used(1, 3))
	more := withMore(together(used(1, 4), used(2, 5)))
	late := together(used(2, 6), used(1, 7))
	again := together(used(1, 8))
	want := map[string]int{"tool-1": 1, "tool-2": 1, "tool-3": 1, "tool-4": 1, "tool-5": 1, "tool-6": 1, "tool-7": 1, "tool-8": 1, "kept.export": 1, "kept.span.execute_tool": 8}
	step := 1
	if testing.Short() {
		step = 7
	}
	for at := 1; ; at += step {
		w := newWorld(t)
		d := &dying{Embedded: importer.Embedded{Ledger: w.Ledger}, at: at}
		var unanswered []string
		take := func(r *traces.Receiver, body string) {
			if _, p := r.Take(t.Context(), bench.Agent, []byte(body), true); p != nil {
				unanswered = append(unanswered, body)
			}
		}
		cfg := traces.WithFault(traces.Config{Quiet: time.Hour, Importer: w.importer(d)}, d.fault)
		first := w.open(cfg)
		take(first, shared)
		take(first, more)
		first.Close()
		if !d.dead { // the next one may die, too
			second := w.open(cfg)
			take(second, late)
			second.Close()
		} else {
			unanswered = append(unanswered, late)
		}
		died := d.dead
		next := w.open(traces.Config{Quiet: time.Hour})
		take(next, again)
		for _, body := range unanswered {
			take(next, body)
		}
		next.Close()
		last := w.open(traces.Config{Quiet: time.Hour})
		last.Close()
		if got := w.tools(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("died at point %d, %s, %d exports sent again: want each tool once, found %v", at, d.where, len(unanswered), got)
		}
		if left := w.spooled(); len(left) > 0 {
			t.Errorf("died at point %d, %s: left in the spool: %v", at, d.where, left)
		}
		if !died {
			t.Logf("%d points", at-1)
			if at < 40 {
				t.Errorf("only %d points", at-1)
			}
			runs, _ := w.runs()
			w.checkAudited(runs)
			return
		}
	}
}

// interrupted is a ledger that does something once, before it takes the first record.
type interrupted struct {
	importer.Embedded
	once sync.Once
	do   func()
}

func (l *interrupted) Append(ctx context.Context, entries ...[]byte) ([]evidence.Placed, error) {
	l.once.Do(l.do)
	return l.Embedded.Append(ctx, entries...)
}

// TestComesWhileWritten: what comes of a trace while it is written is written after it,
// with all that was in its export.
func TestComesWhileWritten(t *testing.T) {
	w := newWorld(t)
	w.receiver.Close()
	l := &interrupted{Embedded: importer.Embedded{Ledger: w.Ledger}}
	r := w.open(traces.Config{Quiet: 20 * time.Millisecond, Importer: w.importer(l)})
	defer r.Close()
	l.do = func() {
		if _, p := r.Take(t.Context(), bench.Agent, []byte(withMore(used(1, 2))), true); p != nil {
			t.Error(p)
		}
	}
	if _, p := r.Take(t.Context(), bench.Agent, []byte(used(1, 1)), true); p != nil {
		t.Fatal(p)
	}
	w.emptied()
	want := map[string]int{"tool-1": 1, "tool-2": 1, "kept.export": 1, "kept.span.execute_tool": 2}
	if got := w.tools(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("want %v, found %v", want, got)
	}
}

// TestKeptUntilWritten: what was answered lies on disk, whoever dies; and what cannot be
// kept is not answered, and not held.
func TestKeptUntilWritten(t *testing.T) {
	for _, late := range []bool{false, true} { // it cannot be written; whether it is durable is not known
		w := newWorld(t)
		w.receiver.Close()
		fail := true
		r := w.open(traces.WithFault(traces.Config{Quiet: time.Hour}, func(op, _ string, did bool) error {
			if fail && op == "write" && did == late {
				return errors.New("no space is left")
			}
			return nil
		}))
		_, p := r.Take(t.Context(), bench.Agent, []byte(used(1, 1)), true)
		if p == nil || p.Status != 503 || p.Reason != api.ReasonBusy || strings.Contains(p.Detail, "no space") {
			t.Fatalf("spans that cannot be kept: %+v", p)
		}
		fail = false
		if _, p := r.Take(t.Context(), bench.Agent, []byte(used(1, 2)), true); p != nil {
			t.Fatal(p)
		}
		kept := w.spooled()
		if len(kept) != 1 {
			t.Fatalf("want one export kept, found %v", kept)
		}
		info, err := os.Stat(filepath.Join(w.spool, kept[0]))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("want a file that its owner alone can read, found %v, %v", info.Mode(), err)
		}
		r.Close()
		if got := w.tools(); got["tool-1"] != 0 || got["tool-2"] != 1 {
			t.Errorf("want the one that was answered, found %v", got)
		}
		if left := w.spooled(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// TestWhatCannotBeWritten is left where it is, for people, and is not tried again. What
// is no export, or no mark, is left alone, too; what a crash left half written is gone.
func TestWhatCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	w.receiver.Close()
	now := time.Now()
	im := w.importer(refusing{importer.Embedded{Ledger: w.Ledger}})
	im.Now = func() time.Time { return now }
	r := w.open(traces.Config{Quiet: time.Hour, Importer: im})
	if _, p := r.Take(t.Context(), bench.Agent, []byte(used(1, 1)), true); p != nil {
		t.Fatal(p)
	}
	now = now.Add(time.Hour)
	r.Close()
	left := w.spooled()
	if len(left) != 1 || !strings.HasSuffix(left[0], ".spans.failed") {
		t.Fatalf("want the export left as failed, found %v", left)
	}
	b, err := os.ReadFile(filepath.Join(w.spool, left[0]))
	if _, body, _ := strings.Cut(string(b), "\n"); err != nil || body != used(1, 1) {
		t.Errorf("want what came after the first line, found %q, %v", b, err)
	}
	for name, text := range map[string]string{"0000000000000007.spans": "{", "0000000000000008.mark": "x", "notes.txt": "mine", ".0000000000000009.spans.1234": "half"} {
		if err := os.WriteFile(filepath.Join(w.spool, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := w.open(traces.Config{Quiet: time.Hour})
	if _, p := again.Take(t.Context(), bench.Agent, []byte(used(1, 2)), true); p != nil {
		t.Fatal(p)
	}
	again.Close()
	if got := w.tools(); got["tool-1"] != 0 || got["tool-2"] != 1 {
		t.Errorf("want the new one alone, found %v", got)
	}
	if now := w.spooled(); !slices.Equal(now, []string{left[0], "0000000000000007.spans", "0000000000000008.mark", "notes.txt"}) {
		t.Errorf("found %v", now)
	}
}

// refusing is a ledger that takes no record.
type refusing struct{ importer.Embedded }

func (refusing) Append(context.Context, ...[]byte) ([]evidence.Placed, error) {
	return nil, errors.New("not taken")
}

// emptied waits until nothing lies in the spool.
func (w *world) emptied() {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); len(w.spooled()) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("never written: %v", w.spooled())
		}
	}
}

// TestWrittenWhileKept: what is sent again while its trace is written, and is on disk only
// when that is done, does not stay there.
func TestWrittenWhileKept(t *testing.T) {
	w := newWorld(t)
	w.receiver.Close()
	l := &interrupted{Embedded: importer.Embedded{Ledger: w.Ledger}}
	arrived, written, taken := make(chan bool), make(chan bool), make(chan *api.Problem, 1)
	writes := 0
	r := w.open(traces.WithFault(traces.Config{Quiet: 20 * time.Millisecond, Importer: w.importer(l)}, func(op, name string, did bool) error {
		if op == "write" && strings.HasSuffix(name, ".spans") && !did {
			if writes++; writes == 2 {
				close(arrived)
				<-written
			}
		}
		return nil
	}))
	l.do = func() {
		go func() {
			_, p := r.Take(t.Context(), bench.Agent, []byte(used(1, 1)), true)
			taken <- p
		}()
		<-arrived
	}
	if _, p := r.Take(t.Context(), bench.Agent, []byte(used(1, 1)), true); p != nil {
		t.Fatal(p)
	}
	w.emptied()
	close(written)
	if p := <-taken; p != nil {
		t.Error(p)
	}
	if left := w.spooled(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	r.Close()
}

// TestFailedIsNotWritten: spans that could not be written, and are sent again, are tried
// again.
func TestFailedIsNotWritten(t *testing.T) {
	w := newWorld(t)
	w.receiver.Close()
	var later atomic.Int64
	l := &mending{Embedded: importer.Embedded{Ledger: w.Ledger}}
	im := w.importer(l)
	im.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	r := w.open(traces.Config{Quiet: 20 * time.Millisecond, Importer: im})
	defer r.Close()
	take := func() {
		t.Helper()
		if _, p := r.Take(t.Context(), bench.Agent, []byte(used(1, 1)), true); p != nil {
			t.Fatal(p)
		}
	}
	take()
	later.Store(int64(time.Hour))
	for end := time.Now().Add(time.Minute); len(w.spooled()) != 1 || !strings.HasSuffix(w.spooled()[0], ".failed"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never given up: %v", w.spooled())
		}
	}
	later.Store(0)
	l.mended.Store(true)
	take()
	r.Close()
	if got := w.tools(); got["tool-1"] != 1 {
		t.Errorf("want what was sent again recorded, found %v", got)
	}
}

// mending is a ledger that takes no record before it is mended.
type mending struct {
	importer.Embedded
	mended atomic.Bool
}

func (l *mending) Append(ctx context.Context, entries ...[]byte) ([]evidence.Placed, error) {
	if !l.mended.Load() {
		return nil, errors.New("not taken")
	}
	return l.Embedded.Append(ctx, entries...)
}

// TestWrittenBeforeTheRestart: a span that was written, and came again beside a new one, is
// not written again by the next daemon.
func TestWrittenBeforeTheRestart(t *testing.T) {
	w := newWorld(t)
	w.receiver.Close()
	var later atomic.Int64
	var dead atomic.Bool
	im, start := w.importer(importer.Embedded{Ledger: w.Ledger}), time.Now()
	im.Now = func() time.Time { return start.Add(time.Duration(later.Load())) }
	r := w.open(traces.WithFault(traces.Config{Quiet: 20 * time.Millisecond, Importer: im}, func(string, string, bool) error {
		if dead.Load() {
			return errDead
		}
		return nil
	}))
	take := func(body string) {
		t.Helper()
		if _, p := r.Take(t.Context(), bench.Agent, []byte(body), true); p != nil {
			t.Fatal(p)
		}
	}
	take(used(1, 1))
	later.Store(int64(time.Second))
	w.emptied()
	take(together(used(1, 1), used(1, 2)))
	dead.Store(true)
	r.Close()
	next := w.open(traces.Config{Quiet: time.Hour})
	next.Close()
	if got := w.tools(); got["tool-1"] != 1 || got["tool-2"] != 1 || len(w.spooled()) > 0 {
		t.Errorf("want each tool once, found %v; left: %v", got, w.spooled())
	}
}
