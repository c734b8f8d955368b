package runtimetest

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
	"ledgerd/runtime"
)

// ErrCrash is what a driver gets from everything that it touches after its crash.
var ErrCrash = errors.New("the process was killed")

// Crash kills a driver at one point of its work: before or after a payload or a
// record becomes durable, before a tool is called, or after it did its work and
// before anybody hears of it. From then on nothing that the driver does has an
// effect.
type Crash struct {
	mu    sync.Mutex
	at    int // the point, from 1; 0: never
	seen  int
	where string
}

// CrashAt returns a Crash at the n-th point, from 1; 0: none, to count them.
func CrashAt(n int) *Crash { return &Crash{at: n} }

// Points returns how many points were passed.
func (c *Crash) Points() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// Where names the point of the crash, "" where there was none.
func (c *Crash) Where() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.where
}

// pass passes a point, or dies at it.
func (c *Crash) pass(where string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.where != "" {
		return ErrCrash
	}
	if c.seen++; c.seen == c.at {
		c.where = where
		return ErrCrash
	}
	return nil
}

func (c *Crash) dead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.where != "" {
		return ErrCrash
	}
	return nil
}

// Ledger returns l as the driver sees it.
func (c *Crash) Ledger(l runtime.Ledger) runtime.Ledger { return &crashLedger{l, c} }

type crashLedger struct {
	runtime.Ledger
	crash *Crash
}

func (l *crashLedger) Submit(entries ...[]byte) (wait func(context.Context) ([]evidence.Placed, error)) {
	what := "a record"
	if u, err := evidence.Parse(entries[0]); err == nil {
		what = string(u.UnverifiedRecord().Kind)
	}
	if err := l.crash.pass("before " + what); err != nil {
		return func(context.Context) ([]evidence.Placed, error) { return nil, errors.Join(tlog.ErrUnknown, err) }
	}
	inner := l.Ledger.Submit(entries...)
	return func(ctx context.Context) ([]evidence.Placed, error) {
		placed, err := inner(ctx)
		if crashed := l.crash.pass("after " + what); crashed != nil {
			return nil, errors.Join(tlog.ErrUnknown, crashed)
		}
		return placed, err
	}
}

func (l *crashLedger) PutPayloads(ctx context.Context, ps []evidence.Payload) ([]evidence.Commitment, error) {
	if err := l.crash.dead(); err != nil {
		return nil, err
	}
	return l.Ledger.PutPayloads(ctx, ps)
}

func (l *crashLedger) Run(ctx context.Context, run evidence.RunID) iter.Seq2[evidence.Placed, error] {
	if err := l.crash.dead(); err != nil {
		return func(yield func(evidence.Placed, error) bool) { yield(evidence.Placed{}, err) }
	}
	return l.Ledger.Run(ctx, run)
}

func (l *crashLedger) RunAfter(ctx context.Context, run evidence.RunID, index uint64) iter.Seq2[evidence.Placed, error] {
	if err := l.crash.dead(); err != nil {
		return func(yield func(evidence.Placed, error) bool) { yield(evidence.Placed{}, err) }
	}
	return l.Ledger.RunAfter(ctx, run, index)
}

func (l *crashLedger) ReadPayload(ctx context.Context, d evidence.Digest) (*evidence.Payload, error) {
	if err := l.crash.dead(); err != nil {
		return nil, err
	}
	return l.Ledger.ReadPayload(ctx, d)
}

func (l *crashLedger) Actors(ctx context.Context) (*audit.Registry, error) {
	if err := l.crash.dead(); err != nil {
		return nil, err
	}
	return l.Ledger.Actors(ctx)
}

func (l *crashLedger) Lease(ctx context.Context, run evidence.RunID, holder string, ttl time.Duration, takeOver bool) error {
	if err := l.crash.dead(); err != nil {
		return err
	}
	return l.Ledger.Lease(ctx, run, holder, ttl, takeOver)
}

// Tool returns t as the driver sees it.
func (c *Crash) Tool(t runtime.Tool) runtime.Tool {
	if p, ok := t.(runtime.Prober); ok {
		return &crashProber{crashTool{t, c}, p}
	}
	return &crashTool{t, c}
}

type crashTool struct {
	runtime.Tool
	crash *Crash
}

func (t *crashTool) Call(ctx context.Context, call *runtime.Call) (*runtime.Output, error) {
	name := t.Spec().Name
	if err := t.crash.pass("before the call of " + name); err != nil {
		return nil, err
	}
	out, err := t.Tool.Call(ctx, call)
	if crashed := t.crash.pass("after the call of " + name); crashed != nil {
		return nil, crashed
	}
	return out, err
}

type crashProber struct {
	crashTool
	prober runtime.Prober
}

func (t *crashProber) Probe(ctx context.Context, call *runtime.Call) (*runtime.Finding, error) {
	if err := t.crash.pass("before the probe of " + t.Spec().Name); err != nil {
		return nil, err
	}
	return t.prober.Probe(ctx, call)
}
