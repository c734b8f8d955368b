package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/internal/exchange"
	"ledgerd/ledger"
	"ledgerd/runtime"
)

// Config says what a host works with.
type Config struct {
	Runtime *runtime.Runtime
	Actor   string // the runtime's own: its token acts for every agent that it hosts
	Ledger  *ledger.Ledger
	// Handoffs is where offers come from and go to; nil: there are none, and runs
	// that continue one are not driven here.
	Handoffs *exchange.Exchange
	Idle     time.Duration // how long a run that nobody asks for stays in memory: 2 min if 0
	Runs     int           // in memory at a time: 4,096 if 0
	Logger   *slog.Logger  // slog.Default if nil
}

// Host drives runs for agents. Its methods may be called from any goroutine.
type Host struct {
	cfg      Config
	log      *slog.Logger
	name     string // of the driver that it is
	stopping context.Context
	stop     context.CancelFunc
	done     sync.WaitGroup
	watch    watch

	mu   sync.Mutex
	live map[string]*live // by key; guarded by mu
}

// live is a run in memory. Its fields are guarded by the host's mu, but for run, free
// and err, which are set before ready is closed.
type live struct {
	ready chan struct{}
	run   *runtime.Run
	free  func() // lets go of the run that it is a child of; nil: of none
	err   error

	users int           // requests at work on it
	last  time.Time     // when the last of them ended
	gone  chan struct{} // not nil: it is being put away, and closed when it is
}

// The errors that are the host's own.
var (
	// ErrStopping: the daemon is being stopped. Nothing was done.
	ErrStopping = errors.New("the daemon is being stopped: ask again when it is back")
	// ErrBusy: as many runs are at work as there may be. Nothing was done.
	ErrBusy = errors.New("as many runs are at work as there may be at a time: ask again later")
	// ErrNoTool: the daemon has no tool of that name.
	ErrNoTool = errors.New("the daemon has no tool of that name: an agent that runs it itself asks for permission, and reports")
	// ErrParent: the run is a child, and the run that it is a child of is not at work.
	ErrParent = errors.New("the run is a child of another one, which is not at work here: open it again, and name its parent")
	// ErrOtherAgent: who asks is not the run's agent.
	ErrOtherAgent = errors.New("a token acts as its own actor, and as no other agent")
)

// driverPrefix begins the name of every host's driver. Only one process at a time
// has the ledger, so another one of such a name is dead.
const driverPrefix = "daemon-"

// New returns a host. Close ends it.
func New(cfg Config) *Host {
	if cfg.Idle <= 0 {
		cfg.Idle = 2 * time.Minute
	}
	if cfg.Runs <= 0 {
		cfg.Runs = 4096
	}
	h := &Host{cfg: cfg, log: cfg.Logger, live: make(map[string]*live)}
	if h.log == nil {
		h.log = slog.Default()
	}
	var b [12]byte
	rand.Read(b[:]) // never fails: it ends the process instead
	h.name = driverPrefix + hex.EncodeToString(b[:])
	h.stopping, h.stop = context.WithCancel(context.Background())
	h.done.Go(h.sweep)
	return h
}

// Close ends what is at work, waits for it, and gives every lease back. Call it
// when nobody asks any more, and before the ledger is closed. Of no host it closes
// nothing.
func (h *Host) Close() {
	if h == nil {
		return
	}
	h.stop()
	h.done.Wait()
	for {
		h.mu.Lock()
		var wait chan struct{}
		for key, l := range h.live {
			if l.gone == nil && l.users == 0 {
				h.putAway(key, l)
			}
			if l.gone != nil {
				wait = l.gone
			}
		}
		left := len(h.live)
		h.mu.Unlock()
		switch {
		case left == 0:
			return
		case wait != nil:
			<-wait
		default:
			time.Sleep(10 * time.Millisecond) // a request is at work, and was told to end
		}
	}
}

// sweep puts runs away that nobody asked for in a while.
func (h *Host) sweep() {
	tick := time.NewTicker(max(h.cfg.Idle/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-h.stopping.Done():
			return
		case now := <-tick.C:
			h.mu.Lock()
			for key, l := range h.live {
				if l.users == 0 && l.gone == nil && now.Sub(l.last) >= h.cfg.Idle {
					h.putAway(key, l)
				}
			}
			h.mu.Unlock()
		}
	}
}

// putAway gives the run's lease back, and forgets it. Who asks for it meanwhile
// waits. h.mu is held, and nobody is at work on it.
func (h *Host) putAway(key string, l *live) {
	gone := make(chan struct{})
	l.gone = gone
	h.done.Go(func() {
		if l.run != nil {
			l.run.Leave(context.Background())
		}
		if l.free != nil {
			l.free()
		}
		h.mu.Lock()
		delete(h.live, key)
		h.mu.Unlock()
		close(gone)
	})
}

// evict makes room by putting the run away that nobody asked for the longest. It
// returns what to wait for; nil: every run is at work. h.mu is held.
func (h *Host) evict() chan struct{} {
	var oldest *live
	var of string
	for key, l := range h.live {
		if l.gone != nil {
			return l.gone
		}
		if l.users == 0 && (oldest == nil || l.last.Before(oldest.last)) {
			oldest, of = l, key
		}
	}
	if oldest == nil {
		return nil
	}
	h.putAway(of, oldest)
	return oldest.gone
}

// An opener opens a run, and returns what lets go of what it holds for that; nil: it
// holds nothing.
type opener func(context.Context) (run *runtime.Run, free func(), err error)

// acquire returns the run of a key, opened if it is not in memory, and counts the
// caller in. The caller releases it.
func (h *Host) acquire(ctx context.Context, key string, open opener) (*live, error) {
	for {
		h.mu.Lock()
		if h.stopping.Err() != nil {
			h.mu.Unlock()
			return nil, ErrStopping
		}
		l := h.live[key]
		switch {
		case l != nil && l.gone != nil:
			gone := l.gone
			h.mu.Unlock()
			if err := waitFor(ctx, gone); err != nil {
				return nil, err
			}
			continue
		case l != nil:
			l.users++
			h.mu.Unlock()
			err := waitFor(ctx, l.ready)
			if err == nil && l.err == nil {
				return l, nil
			}
			h.release(key, l)
			if err != nil {
				return nil, err
			}
			continue // another could not open it: what is asked here may be better
		case len(h.live) >= h.cfg.Runs:
			gone := h.evict()
			h.mu.Unlock()
			if gone == nil {
				return nil, ErrBusy
			}
			if err := waitFor(ctx, gone); err != nil {
				return nil, err
			}
			continue
		}
		l = &live{ready: make(chan struct{}), users: 1}
		h.live[key] = l
		h.mu.Unlock()
		l.run, l.free, l.err = open(ctx)
		if l.err != nil {
			// Whoever waits for it tries anew: as long as it stood here, they would find
			// it again, and each other, for ever.
			h.mu.Lock()
			delete(h.live, key)
			h.mu.Unlock()
		}
		close(l.ready)
		if l.err != nil {
			h.release(key, l)
			return nil, l.err
		}
		return l, nil
	}
}

// release counts the caller out. A run that nothing can be written to any more is
// put away when the last one is gone: nobody opens it again while a call of its
// driver may be under way.
func (h *Host) release(key string, l *live) {
	<-l.ready
	lost := l.run == nil || l.run.Lost() != nil
	h.mu.Lock()
	defer h.mu.Unlock()
	l.users--
	l.last = time.Now()
	if l.users == 0 && lost && l.gone == nil && l.run != nil {
		h.putAway(key, l)
	}
}

func waitFor(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// driver is the option that makes the host the driver.
func (h *Host) driver() runtime.Option {
	return runtime.Driver(h.name, func(other string) bool { return strings.HasPrefix(other, driverPrefix) && other != h.name })
}

// with calls f with the run of a key, whose agent by has to act as.
func (h *Host) with(ctx context.Context, by, key string, f func(*runtime.Run) error) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	return h.anew(ctx, by, key, h.reopen(by, key), f)
}

// reopen opens the run of a key by that alone, as an agent that by may act as. A child
// needs the run that it is a child of, whose budget and scope it has too, to be at
// work: its key is nowhere on record.
func (h *Host) reopen(by, key string) opener {
	return func(ctx context.Context) (*runtime.Run, func(), error) {
		opened, err := h.openedFor(ctx, key)
		if err != nil {
			return nil, nil, err
		}
		if !h.acts(by, opened.agent) {
			return nil, nil, ErrOtherAgent // before anything is recorded
		}
		options, err := h.continues(ctx, opened.agent, key, nil)
		if err != nil {
			return nil, nil, err
		}
		var free func()
		if !opened.Parent.IsZero() {
			parent, letGo, err := h.atWork(ctx, opened.Parent)
			if err != nil {
				return nil, nil, err
			}
			options, free = append(options, runtime.Child(parent)), letGo
		}
		run, err := h.cfg.Runtime.Open(ctx, key, append(options, runtime.Reopen(), h.driver())...)
		if err != nil && free != nil {
			free()
		}
		return run, free, err
	}
}

// atWork returns the run that a record opened, if it is in memory, and holds it there
// until it is let go.
func (h *Host) atWork(ctx context.Context, opened evidence.ID) (*runtime.Run, func(), error) {
	at, err := h.cfg.Ledger.Get(ctx, opened)
	if err != nil {
		return nil, nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, l := range h.live {
		select {
		case <-l.ready:
		default:
			continue
		}
		if l.gone == nil && l.run != nil && l.run.ID() == at.Record.Run && l.run.Lost() == nil {
			l.users++
			return l.run, sync.OnceFunc(func() { h.release(key, l) }), nil
		}
	}
	return nil, nil, ErrParent
}

// hold returns the run of a key for an agent that by may act as, and keeps it in
// memory until it is let go.
func (h *Host) hold(ctx context.Context, by, key string) (*runtime.Run, func(), error) {
	l, err := h.acquire(ctx, key, h.reopen(by, key))
	if err != nil {
		return nil, nil, err
	}
	free := sync.OnceFunc(func() { h.release(key, l) })
	err = l.run.Lost()
	if !h.acts(by, l.run.Agent()) {
		err = ErrOtherAgent
	}
	if err != nil {
		free()
		return nil, nil, err
	}
	return l.run, free, nil
}

// anew is once, and once more where another driver took the run over and may have
// left it since.
func (h *Host) anew(ctx context.Context, by, key string, open opener, f func(*runtime.Run) error) error {
	err := h.once(ctx, by, key, open, f)
	if run, ok := errors.AsType[*runtime.RunError](err); ok && run.Reason == runtime.RunTaken {
		err = h.once(ctx, by, key, open, f)
	}
	return err
}

func (h *Host) once(ctx context.Context, by, key string, open opener, f func(*runtime.Run) error) error {
	l, err := h.acquire(ctx, key, open)
	if err != nil {
		return err
	}
	defer h.release(key, l)
	if !h.acts(by, l.run.Agent()) {
		return ErrOtherAgent
	}
	if err := l.run.Lost(); err != nil {
		return err
	}
	return f(l.run)
}

// acts reports whether an actor may act as an agent: as itself or an instance of
// itself; the runtime as every agent.
func (h *Host) acts(by, agent string) bool {
	if by == agent || by == h.cfg.Actor {
		return true
	}
	name, instance := audit.SplitInstance(agent)
	return instance && by == name
}

// agentOf reads who acts in a run.
func (h *Host) agentOf(ctx context.Context, key string) (string, error) {
	o, err := h.openedFor(ctx, key)
	if err != nil {
		return "", err
	}
	return o.agent, nil
}

// detached returns a context that ends with the host, and not with the request: a
// tool that was called is not cut off because somebody hung up.
func (h *Host) detached(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(h.stopping, cancel)
	return ctx, func() { stop(); cancel() }
}

// RunID returns the run that a key stands for.
func (h *Host) RunID(key string) evidence.RunID { return h.cfg.Runtime.RunID(key) }
