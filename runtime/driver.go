package runtime

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"ledgerd/checkpoint"
	"ledgerd/evidence"
	"ledgerd/ledger"
)

// What a program needs that drives many runs for others, as the daemon does: a
// name of its own as their driver, runs that are opened by their key alone, and
// that are put away when nobody asks for them.

// ErrNoRun: no run was opened under the key.
var ErrNoRun = errors.New("no run was opened under this key")

// Driver names the driver: letters, digits, dots and dashes, that no other driver
// has. A run that this driver was the last to open or to resume is its own still:
// opening it again records nothing. Without it every Open is another driver.
//
// dead, where it is not nil, reports of the name of another driver that it is
// known to be dead. Its lease is then not waited for; but as long as it would
// last, a call that it began may be under way, so until then what is in doubt is
// not settled (a *RunError with reason held), as with [TakeOver].
func Driver(name string, dead func(driver string) bool) Option {
	return func(o *openOptions) {
		o.driver, o.dead = name, dead
		if err := evidence.CheckIdentifier(name); err != nil || strings.ContainsAny(name, `"\`) {
			o.err = fmt.Errorf("want a driver's name of letters, digits, dots and dashes, found %q", name)
		}
	}
}

// Reopen opens a run by its key alone, for what it was opened for before; the
// error is ErrNoRun where it never was.
func Reopen() Option { return func(o *openOptions) { o.again = true } }

func (rt *Runtime) newRun(key, agent, holder string) *Run {
	return &Run{
		rt: rt, id: rt.RunID(key), key: key, agent: agent, holder: holder,
		begun: make(map[evidence.ID]bool),
	}
}

// succeed takes over from a driver whose lease has not ended, where that is wanted or
// the driver is dead, and remembers how long a call of its may last.
func (r *Run) succeed(ctx context.Context, o *openOptions, err error) error {
	held, ok := errors.AsType[*ledger.LeaseError](err)
	if !ok || !o.takeOver && (o.dead == nil || held.Holder == "" || !o.dead(held.Holder)) {
		return err
	}
	d := r.rt.cfg.Lease
	if !o.killed {
		// Whoever comes after this driver waits as well: its own lease lasts as long.
		r.rt.quietUntil(r.id, held.Until)
		d = max(d, held.Until.Sub(r.rt.cfg.Clock.Now())*2/3+1) // of which half as much again is taken
	}
	return r.lease(ctx, d, true, true)
}

// quietUntil notes until when a call of a run's driver before may last; the zero time
// only asks. It returns what is noted.
func (rt *Runtime) quietUntil(run evidence.RunID, until time.Time) time.Time {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if until.After(rt.quiet[run]) {
		rt.quiet[run] = until
	}
	now := rt.cfg.Clock.Now()
	for id, t := range rt.quiet {
		if !now.Before(t) {
			delete(rt.quiet, id)
		}
	}
	return rt.quiet[run]
}

// called reports whether a call of this runtime's may be under way, of which the
// records do not say what came. r.mu is held.
func (r *Run) called() bool {
	for _, name := range r.state.Steps() {
		p := r.state.Plan(name, r.last)
		if _, elsewhere := askedBy(p.Ext); !elsewhere && p.Next == checkpoint.Settle {
			return true
		}
	}
	return false
}

func (rt *Runtime) notQuiet(run evidence.RunID) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	delete(rt.quiet, run)
}

// overBy refuses to settle a doubt while the call in doubt may be under way.
func (r *Run) overBy() error {
	quiet := r.rt.quietUntil(r.id, time.Time{})
	if quiet.IsZero() {
		return nil
	}
	err := &ledger.LeaseError{Run: r.id, Until: quiet}
	return r.fail(RunHeld, "a call of its driver before may last until %s, and what came of it is not asked before: %w", quiet.UTC().Format(time.RFC3339), err)
}

// driverOf reads the driver's name from the record by which it took the run.
func driverOf(ext evidence.Object) string {
	var by struct {
		Driver string `json:"dev.ledgerd.driver"`
	}
	if len(ext) == 0 || json.Unmarshal(ext, &by) != nil {
		return ""
	}
	return by.Driver
}

// Look reads the run of a key and drives nothing: it takes no lease, and what it
// returns cannot be written to. The error is ErrNoRun where no run was opened.
func (rt *Runtime) Look(ctx context.Context, key string) (*Run, error) {
	r := rt.newRun(key, "", "")
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	if !r.state.Opened() {
		return nil, fmt.Errorf("run %q (%s): %w", key, r.id, ErrNoRun)
	}
	r.agent = r.state.Run().Actor
	r.budget = newAccount(r.body.Budget, nil, r.state.Run().Spent(), r.opened.Std())
	r.lost = r.fail(RunHeld, "it was opened to be looked at: nothing is written to it")
	return r, nil
}

// Agent returns who acts in the run.
func (r *Run) Agent() string { return r.agent }

// Is reports by a *RunError with reason changed that the run was opened for
// something else than the options say.
func (r *Run) Is(ctx context.Context, options ...Option) error {
	var o openOptions
	for _, opt := range options {
		opt(&o)
	}
	if o.err != nil {
		return o.err
	}
	if o.principal == "" {
		o.principal = o.agent
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.same(ctx, &o)
}

// View shows f what the run's records say, as far as this driver has read them. f
// changes nothing and keeps nothing of it.
func (r *Run) View(f func(*checkpoint.State)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.state)
}

// Lost returns why nothing more can be written to the run by this driver; nil: it
// can.
func (r *Run) Lost() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

// Leave puts the run away as it is, and gives its lease back.
func (r *Run) Leave(ctx context.Context) {
	r.release(ctx)
	r.span.done(r.Lost())
}

// Input is [Task] for an input that is JSON already; nil: none.
func Input(task string, input []byte) Option {
	return func(o *openOptions) { o.task, o.input = task, input }
}

// Has reports whether a tool of that name is registered.
func (rt *Runtime) Has(tool string) bool { return rt.tools[tool] != nil }
