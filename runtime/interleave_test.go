package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

// A turn is a driver that stands before something that another driver can see,
// or has ended.
type turn struct {
	driver int
	where  string // "": ended
	err    error
	run    chan struct{}
}

// A schedule lets one of two drivers go on at a time, from one boundary to the
// next: its calls of the ledger, and of tools. What lies between two boundaries
// nobody else can see, so that these orders are all that there are.
type schedule struct {
	turns  chan *turn
	prefix []int // who goes on, as far as it is prescribed; then whoever went last
	took   []choice
	old    bool // the first driver has opened the run, and the second had not yet
	young  bool // the second driver has opened the run
	after  int  // records of the first one that were taken after it lost the run so
}

// choice is who went on, and who could have.
type choice struct {
	driver, before int // before: who went last; -1: nobody
	could          []int
	where          string
}

func (s *schedule) wait(driver int, where string) {
	t := &turn{driver: driver, where: where, run: make(chan struct{})}
	s.turns <- t
	<-t.run
}

// play runs the drivers to their end.
func (s *schedule) play(drivers ...func() error) []error {
	s.turns = make(chan *turn)
	errs := make([]error, len(drivers))
	for i, drive := range drivers {
		go func() {
			s.wait(i, "start")
			s.turns <- &turn{driver: i, err: drive()}
		}()
	}
	standing := make(map[int]*turn)
	last, ended := -1, 0
	for {
		for len(standing)+ended < len(drivers) {
			t := <-s.turns
			if t.where == "" {
				errs[t.driver] = t.err
				ended++
				continue
			}
			standing[t.driver] = t
		}
		if len(standing) == 0 {
			return errs
		}
		var could []int
		for i := range drivers {
			if standing[i] != nil {
				could = append(could, i)
			}
		}
		next := could[0]
		if slices.Contains(could, last) {
			next = last
		}
		if n := len(s.took); n < len(s.prefix) {
			next = s.prefix[n]
		}
		s.took = append(s.took, choice{next, last, could, standing[next].where})
		t := standing[next]
		delete(standing, next)
		last = next
		close(t.run)
	}
}

// others returns the schedules that part from this one after its prefix, and take
// a driver's turn away at most bound times.
func (s *schedule) others(bound int) (list [][]int) {
	taken := 0
	for i, c := range s.took {
		for _, d := range c.could {
			switches := taken
			if d != c.before && slices.Contains(c.could, c.before) {
				switches++
			}
			if i >= len(s.prefix) && d != c.driver && switches <= bound {
				var p []int
				for _, before := range s.took[:i] {
					p = append(p, before.driver)
				}
				list = append(list, append(p, d))
			}
		}
		if c.driver != c.before && slices.Contains(c.could, c.before) {
			taken++
		}
	}
	return list
}

func (s *schedule) String() string {
	var b strings.Builder
	for i, c := range s.took {
		if c.driver != c.before {
			fmt.Fprintf(&b, "\n\tdriver %d:", c.driver)
		}
		fmt.Fprintf(&b, " %s;", s.took[i].where)
	}
	return b.String()
}

// turnLedger is the ledger as a driver of a schedule sees it.
type turnLedger struct {
	runtime.Ledger
	s      *schedule
	driver int
}

func (l *turnLedger) Submit(entries ...[]byte) func(context.Context) ([]evidence.Placed, error) {
	what := "a record"
	if u, err := evidence.Parse(entries[0]); err == nil {
		what = string(u.UnverifiedRecord().Kind)
	}
	l.s.wait(l.driver, what)
	wait, lost := l.Ledger.Submit(entries...), l.s.old && l.s.young
	return func(ctx context.Context) ([]evidence.Placed, error) {
		placed, err := wait(ctx)
		if err == nil && lost && l.driver == 0 {
			l.s.after++
		}
		return placed, err
	}
}

func (l *turnLedger) Run(ctx context.Context, run evidence.RunID) iter.Seq2[evidence.Placed, error] {
	l.s.wait(l.driver, "read")
	return l.Ledger.Run(ctx, run)
}

func (l *turnLedger) RunAfter(ctx context.Context, run evidence.RunID, index uint64) iter.Seq2[evidence.Placed, error] {
	l.s.wait(l.driver, "read")
	return l.Ledger.RunAfter(ctx, run, index)
}

func (l *turnLedger) Lease(ctx context.Context, run evidence.RunID, holder string, ttl time.Duration, takeOver bool) error {
	l.s.wait(l.driver, fmt.Sprintf("lease(%s)", ttl))
	return l.Ledger.Lease(ctx, run, holder, ttl, takeOver)
}

// turnTool is a tool as a driver of a schedule sees it.
type turnTool struct {
	runtime.Tool
	s      *schedule
	driver int
}

func (t *turnTool) Call(ctx context.Context, c *runtime.Call) (*runtime.Output, error) {
	t.s.wait(t.driver, "call "+t.Spec().Name)
	return t.Tool.Call(ctx, c)
}

type turnProber struct {
	turnTool
	prober runtime.Prober
}

func (t *turnProber) Probe(ctx context.Context, c *runtime.Call) (*runtime.Finding, error) {
	t.s.wait(t.driver, "probe "+t.Spec().Name)
	return t.prober.Probe(ctx, c)
}

// callAfterProbe says whether the schedule has an old driver's call after the new one's
// probe of the same tool.
func (s *schedule) callAfterProbe(tool string) bool {
	probed := -1
	for _, c := range s.took {
		switch c.where {
		case "probe " + tool:
			probed = c.driver
		case "call " + tool:
			if probed >= 0 && c.driver != probed {
				return true
			}
		}
	}
	return false
}

// threeSteps is a program of three steps.
func threeSteps(rt *runtime.Runtime, key string, opened func(), options ...runtime.Option) (err error) {
	run, err := rt.Open(ctx, key, append(options, runtime.As(runtimetest.Agent), runtime.Task("complaint", nil))...)
	if err != nil {
		return err
	}
	opened()
	defer func() { err = errors.Join(err, run.Close(ctx)) }()
	for _, tool := range []string{"first", "second", "third"} {
		if _, err := run.Do(ctx, runtime.Action{Step: tool, Tool: tool, Input: []byte(`{"to":"mia"}`)}); err != nil {
			return err
		}
	}
	return nil
}

// TestTwoDrivers plays two drivers of one run against each other, the second of
// which takes the run from the first, in every order of their steps that takes a
// driver's turn away at most twice (once, in short tests). Then a third
// comes when all leases have ended.
func TestTwoDrivers(t *testing.T) {
	bound := 2
	if testing.Short() {
		bound = 1
	}
	for _, c := range []struct {
		name               string
		idempotent, probed bool
	}{{"idempotent", true, false}, {"probed", false, true}, {"neither", false, false}} {
		t.Run(c.name, func(t *testing.T) {
			w := runtimetest.New(t)
			todo := [][]int{nil}
			played, late := 0, 0
			seen := make(map[string]bool)
			for len(todo) > 0 && !t.Failed() {
				s := &schedule{prefix: todo[len(todo)-1]}
				todo = todo[:len(todo)-1]
				late += twoDrivers(t, w, s, fmt.Sprint(c.name, "-", played), c.idempotent, c.probed)
				if seen[s.String()] {
					t.Fatalf("played twice: %s", s)
				}
				seen[s.String()] = true
				played++
				todo = append(todo, s.others(bound)...)
			}
			t.Logf("%d orders; %d in which the first driver's call came after the second one's probe", played, late)
			if played < 20*bound {
				t.Errorf("only %d orders", played)
			}
		})
	}
}

func twoDrivers(t *testing.T, w *runtimetest.World, s *schedule, key string, idempotent, probed bool) (late int) {
	servers := []*mailServer{{}, {}, {}}
	driver := func(i int) *runtime.Runtime {
		w.Config = func(cfg *runtime.Config) { cfg.Ledger = &turnLedger{cfg.Ledger, s, i} }
		defer func() { w.Config = nil }()
		var tools []runtime.Tool
		for _, tool := range toolsOf(servers, idempotent, probed) {
			seen := turnTool{tool, s, i}
			if p, ok := tool.(runtime.Prober); ok {
				tools = append(tools, &turnProber{seen, p})
			} else {
				tools = append(tools, &seen)
			}
		}
		return w.Runtime(tools...)
	}
	old, young := driver(0), driver(1)
	errs := s.play(
		func() error { return threeSteps(old, key, func() { s.old = !s.young }) },
		func() error { return threeSteps(young, key, func() { s.young = true }, runtime.TakeOver()) },
	)
	w.Clock.Add(time.Hour)
	rt := w.Runtime(toolsOf(servers, idempotent, probed)...)
	errs = append(errs, threeSteps(rt, key, func() {}))
	if s.after > 0 {
		t.Errorf("the first driver wrote %d records after the second one had taken the run: %s", s.after, s)
	}
	var doubt *runtime.InDoubt
	for i, err := range errs {
		var lost *runtime.RunError
		switch {
		case err == nil:
		case errors.As(err, &lost) && (lost.Reason == runtime.RunTaken || lost.Reason == runtime.RunHeld) && i < 2:
		case errors.As(err, &doubt) && !idempotent && !probed:
			if doubt.Escalation.IsZero() {
				t.Errorf("in doubt, and nobody was asked: %s", s)
			}
		default:
			t.Errorf("driver %d: %v: %s", i, err, s)
		}
	}
	for i, server := range servers {
		n, most := server.effects(), 1
		if probed && s.callAfterProbe([]string{"first", "second", "third"}[i]) {
			// The gap that TakeOver's doc names.
			late++
			most = 2
		}
		if n > most || n == 0 && errs[2] == nil {
			t.Errorf("server %d did its work %d times: %s", i, n, s)
		}
	}
	w.Sound(rt.RunID(key))
	return late
}
