package runtime_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/ledger"
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
//
// Many orders lead to one state, from where on it does not matter which of them it
// was. What a driver does next depends on nothing but what it was answered, so a
// state is what each was answered, and what both can see: the line, the lease, and
// the tools' servers.
type schedule struct {
	turns  chan *turn
	prefix []int // who goes on, as far as it is prescribed; then whoever went last
	took   []choice
	end    string // the state in which all have ended
	old    bool   // the first driver has opened the run, and the second had not yet
	young  bool   // the second driver has opened the run
	after  int    // records of the first one that were taken after it lost the run so

	stands [2]int         // at which of its boundaries each driver is
	heard  [2][]string    // what each driver was answered
	wrote  [2]int         // records of each
	line   []string       // whose records stand, and which of its own each is
	called []string       // calls and probes of servers, as far as they have an effect or matter
	holder map[string]int // drivers by the names under which they hold leases
	lease  func() (holder string, left time.Duration)
}

// state names the state. Nobody runs.
func (s *schedule) state() string {
	holder, left := s.lease()
	driver, known := s.holder[holder]
	if !known {
		driver = -1
	}
	h := sha256.New()
	fmt.Fprintln(h, s.stands, s.heard, s.line, s.called, driver, left, s.old, s.young, s.after)
	return string(h.Sum(nil))
}

// hear notes an answer.
func (s *schedule) hear(driver int, format string, args ...any) {
	s.heard[driver] = append(s.heard[driver], fmt.Sprintf(format, args...))
}

// choice is who went on, and who could have.
type choice struct {
	driver, before int // before: who went last; -1: nobody
	could          []int
	where          string
	state          string // in which it was chosen
}

func (s *schedule) wait(driver int, where string) {
	t := &turn{driver: driver, where: where, run: make(chan struct{})}
	s.stands[driver]++
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
			s.end = s.state()
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
		s.took = append(s.took, choice{next, last, could, standing[next].where, s.state()})
		t := standing[next]
		delete(standing, next)
		last = next
		close(t.run)
	}
}

// others returns the schedules that part from this one after its prefix, in states
// that none before it met.
func (s *schedule) others(met map[string]bool) (list [][]int) {
	for i := len(s.prefix); i < len(s.took); i++ {
		c := s.took[i]
		if met[c.state] {
			return list // and so was every one after it
		}
		met[c.state] = true
		for _, d := range c.could {
			if d == c.driver {
				continue
			}
			var p []int
			for _, before := range s.took[:i] {
				p = append(p, before.driver)
			}
			list = append(list, append(p, d))
		}
	}
	return list
}

// graph says which state follows on which, and so how many orders there are.
type graph map[string]map[int]string

func (g graph) add(s *schedule) {
	for i, c := range s.took {
		next := s.end
		if i+1 < len(s.took) {
			next = s.took[i+1].state
		}
		if g[c.state] == nil {
			g[c.state] = make(map[int]string)
		}
		g[c.state][c.driver] = next
	}
}

// orders returns how many orders lead from a state to an end.
func (g graph) orders(from string, known map[string]float64) float64 {
	if n, ok := known[from]; ok {
		return n
	}
	n := 0.0
	for _, next := range g[from] {
		n += g.orders(next, known)
	}
	if len(g[from]) == 0 {
		n = 1
	}
	known[from] = n
	return n
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
	placed, err := l.Ledger.Submit(entries...)(context.Background())
	l.s.hear(l.driver, "%s: %v", what, err == nil)
	if err == nil {
		for range entries {
			l.s.wrote[l.driver]++
			l.s.line = append(l.s.line, fmt.Sprint(l.driver, ".", l.s.wrote[l.driver]))
		}
		if l.s.old && l.s.young && l.driver == 0 {
			l.s.after++
		}
	}
	return func(context.Context) ([]evidence.Placed, error) { return placed, err }
}

func (l *turnLedger) Run(ctx context.Context, run evidence.RunID) iter.Seq2[evidence.Placed, error] {
	l.s.wait(l.driver, "read")
	l.s.hear(l.driver, "read %v", l.s.line)
	return l.Ledger.Run(ctx, run)
}

func (l *turnLedger) RunAfter(ctx context.Context, run evidence.RunID, index uint64) iter.Seq2[evidence.Placed, error] {
	l.s.wait(l.driver, "read")
	l.s.hear(l.driver, "read %v", l.s.line)
	return l.Ledger.RunAfter(ctx, run, index)
}

func (l *turnLedger) Lease(ctx context.Context, run evidence.RunID, holder string, ttl time.Duration, takeOver bool) error {
	l.s.wait(l.driver, fmt.Sprintf("lease(%s)", ttl))
	err := l.Ledger.Lease(ctx, run, holder, ttl, takeOver)
	l.s.holder[holder] = l.driver
	l.s.hear(l.driver, "lease %s: %v", ttl, err == nil)
	return err
}

// turnTool is a tool as a driver of a schedule sees it.
type turnTool struct {
	runtime.Tool
	s      *schedule
	driver int
}

func (t *turnTool) Call(ctx context.Context, c *runtime.Call) (*runtime.Output, error) {
	t.s.wait(t.driver, "call "+t.Spec().Name)
	t.s.called = append(t.s.called, fmt.Sprint(t.driver, " calls ", t.Spec().Name))
	out, err := t.Tool.Call(ctx, c)
	t.s.hear(t.driver, "called: %v", err == nil)
	return out, err
}

type turnProber struct {
	turnTool
	prober runtime.Prober
}

func (t *turnProber) Probe(ctx context.Context, c *runtime.Call) (*runtime.Finding, error) {
	t.s.wait(t.driver, "probe "+t.Spec().Name)
	t.s.called = append(t.s.called, fmt.Sprint(t.driver, " probes ", t.Spec().Name))
	f, err := t.prober.Probe(ctx, c)
	if err == nil {
		t.s.hear(t.driver, "probed: %s", f.Status)
	} else {
		t.s.hear(t.driver, "probed: %v", err)
	}
	return f, err
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
// which takes the run from the first. Then a third comes when all leases have
// ended. With LEDGERD_TEST_ORDERS=all it does so in every order of their steps,
// and otherwise in those that part earliest.
func TestTwoDrivers(t *testing.T) {
	most := 500
	if testing.Short() {
		most = 100
	}
	if os.Getenv("LEDGERD_TEST_ORDERS") == "all" {
		most = math.MaxInt
	}
	for _, c := range []struct {
		name               string
		idempotent, probed bool
	}{{"idempotent", true, false}, {"probed", false, true}, {"neither", false, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := runtimetest.New(t)
			todo := [][]int{nil}
			played, start := 0, ""
			met, g := make(map[string]bool), make(graph)
			for len(todo) > 0 && !t.Failed() && played < most {
				s := &schedule{prefix: todo[0]}
				todo = todo[1:]
				twoDrivers(t, w, s, fmt.Sprint(c.name, "-", played), c.idempotent, c.probed)
				played++
				g.add(s)
				start = s.took[0].state
				todo = append(todo, s.others(met)...)
			}
			t.Logf("%d played, over %d states, which stand for %.3g orders (all: %v)", played, len(g), g.orders(start, make(map[string]float64)), len(todo) == 0)
			if len(g) < 3*min(most, 1000)/2 {
				t.Errorf("only %d states", len(g))
			}
		})
	}
}

func twoDrivers(t *testing.T, w *runtimetest.World, s *schedule, key string, idempotent, probed bool) {
	servers := []*mailServer{{}, {}, {}}
	s.holder = make(map[string]int)
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
	s.lease = func() (string, time.Duration) {
		// Who gives back what is not theirs learns whose it is.
		var held *ledger.LeaseError
		if err := w.Ledger.Lease(ctx, old.RunID(key), "nobody", 0, false); errors.As(err, &held) {
			return held.Holder, held.Until.Sub(w.Clock.Now())
		}
		return "", 0
	}
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
		case errors.As(err, &lost) && (lost.Reason == runtime.RunTaken || lost.Reason == runtime.RunHeld) && i == 0:
		case errors.As(err, &lost) && lost.Reason == runtime.RunHeld && i == 1 && strings.Contains(err.Error(), "may last until"):
			// Nobody takes the run from the second one; but what the first one left in
			// doubt it does not settle before the first one's lease has ended.
		case errors.As(err, &doubt) && !idempotent && !probed:
			if doubt.Escalation.IsZero() {
				t.Errorf("in doubt, and nobody was asked: %s", s)
			}
		default:
			t.Errorf("driver %d: %v: %s", i, err, s)
		}
	}
	for i, server := range servers {
		if n := server.effects(); n > 1 || n == 0 && errs[2] == nil {
			t.Errorf("server %d did its work %d times: %s", i, n, s)
		}
	}
	w.Sound(rt.RunID(key))
}
