package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"ledgerd/audit"
	"ledgerd/checkpoint"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/ledger"
	"ledgerd/ledger/tlog"
)

// A Run is a run that this process drives. Its methods may be called from any
// goroutine: records are written one at a time, tools and models work side by
// side.
type Run struct {
	rt       *Runtime
	id       evidence.RunID
	key      string
	agent    string              // who acts
	holder   string              // of the lease
	parent   *Run                // whose budget this one spends, too; nil: none
	accepted *handoff.Accepted   // what the run continues; nil: nothing
	taken    []*handoff.Accepted // what it took up, that among it

	span  *span             // from Open to Close; nil: nothing is traced
	outer trace.SpanContext // that of who called Open

	steps  keyedMutex // one goroutine at a time goes through a step
	budget *account

	mu     sync.Mutex // guards the fields below, and so the order of the line
	state  *checkpoint.State
	seen   seen                 // how far it was read into state
	last   evidence.Time        // of the last record
	begun  map[evidence.ID]bool // authorizations of this driver, whose call is still to come
	claims int                  // made by this driver, recorded ones included
	lost   error                // why nothing more can be written: the run is somebody else's, or nobody knows
	body   *evidence.RunOpened
	opened evidence.Time
	driven evidence.Object // ext of the record by which a driver took the run last

	leaseMu sync.Mutex
	until   time.Time // of the lease; guarded by leaseMu
}

// RunError says why a run cannot be opened or go on.
type RunError struct {
	Run    evidence.RunID
	Key    string
	Reason RunReason
	Err    error
	// Evidence are the records that say so, where records do.
	Evidence []evidence.ID
}

// RunReason is the machine-readable cause of a RunError.
type RunReason string

// The reasons.
const (
	RunHeld     RunReason = "held"     // another driver has its lease
	RunTaken    RunReason = "taken"    // another driver went on with it
	RunChanged  RunReason = "changed"  // it was opened for another task, subject, input or agent
	RunEnded    RunReason = "ended"    // it is closed
	RunUnsound  RunReason = "unsound"  // its records break rules
	RunUnknown  RunReason = "unknown"  // whether the last record is durable is not known: open it again
	RunStepUsed RunReason = "step"     // the step was recorded with another input, tool or resource
	RunInDoubt  RunReason = "in_doubt" // something is in doubt, and the run cannot end
)

func (e *RunError) Error() string { return fmt.Sprintf("run %q (%s): %v", e.Key, e.ID(), e.Err) }

// ID returns the run's ID.
func (e *RunError) ID() evidence.RunID { return e.Run }

func (e *RunError) Unwrap() error { return e.Err }

// by adds the records that say so.
func (e *RunError) by(ids ...evidence.ID) *RunError {
	e.Evidence = append(e.Evidence, ids...)
	return e
}

func (r *Run) fail(reason RunReason, format string, args ...any) *RunError {
	return &RunError{Run: r.id, Key: r.key, Reason: reason, Err: fmt.Errorf(format, args...)}
}

// ID returns the run's name in the ledger.
func (r *Run) ID() evidence.RunID { return r.id }

// Key returns the caller's name for the run.
func (r *Run) Key() string { return r.key }

// Options of [Runtime.Open].
type openOptions struct {
	agent, principal, task, subject string
	intent                          string
	input                           []byte
	budget                          evidence.Amounts
	parent                          *Run
	accepted                        *handoff.Accepted
	takeOver, killed, again         bool
	driver                          string
	dead                            func(driver string) bool
	err                             error
}

// Option says what a run is for.
type Option func(*openOptions)

// As names the agent that acts: an actor that this runtime hosts. It is needed.
func As(agent string) Option { return func(o *openOptions) { o.agent = agent } }

// Task names the type of task, by which the operator chooses policies and
// contract, and gives the run its structured input, which is kept as JSON; nil:
// none. It is needed.
func Task(task string, input any) Option {
	return func(o *openOptions) {
		o.task = task
		if input != nil {
			o.input, o.err = marshal(input)
		}
	}
}

// For names on whose behalf the run is; the agent's own if it is left out.
func For(principal string) Option { return func(o *openOptions) { o.principal = principal } }

// Subject names what the run is about: a ticket, the digest of a commit.
func Subject(subject string) Option { return func(o *openOptions) { o.subject = subject } }

// Intent keeps what was asked, in the asker's words.
func Intent(text string) Option { return func(o *openOptions) { o.intent = text } }

// Budget limits what the run, with its children, may spend: money in micro-units
// of a currency ("usd_micro"), "tokens", "tool_calls", "attempts", "wall_ms".
func Budget(limits evidence.Amounts) Option {
	return func(o *openOptions) { o.budget = limits }
}

// TakeOver takes the run from a driver whose lease has not ended: for who wants to
// stop it. A driver that lives on cannot write any more; but where it stands right
// before a call of a tool that it has recorded the permission for, it makes that one
// call. So what is in doubt is not settled before its lease would have ended (a
// *RunError with reason held until then): a lease outlasts the call, and nothing
// happens twice, as long as clocks run and calls end in their time. Everything else
// goes on at once.
func TakeOver() Option { return func(o *openOptions) { o.takeOver = true } }

// Killed is TakeOver for who knows that the driver is dead, and its calls with it,
// because it has waited for the end of the process, say. What is in doubt is settled at once.
// If that is not so, and the driver stands before a call, a probe finds that nothing
// happened, and the action may then happen twice.
func Killed() Option { return func(o *openOptions) { o.takeOver, o.killed = true, true } }

// Open opens the run that a caller's key stands for, or resumes it: then it goes
// on where its records end, and what was recorded is not done again. A run that
// is closed opens too, to replay what it came to; nothing can be added to it.
//
// It takes the run's lease, and returns a *RunError with reason held where
// another driver has it.
func (rt *Runtime) Open(ctx context.Context, key string, options ...Option) (*Run, error) {
	var o openOptions
	for _, opt := range options {
		opt(&o)
	}
	holder, err := o.driver, error(nil)
	if holder == "" {
		holder, err = newHolder(rt.cfg.Random)
	}
	if err != nil {
		return nil, err
	}
	r := rt.newRun(key, o.agent, holder)
	r.parent = o.parent
	switch {
	case o.err != nil:
		return nil, fmt.Errorf("run %q: its input: %w", key, o.err)
	case !o.again && (o.agent == "" || o.task == ""):
		return nil, fmt.Errorf("run %q: want runtime.As(agent) and runtime.Task(name, input)", key)
	case o.accepted != nil && (o.accepted.Opens() != r.id || o.accepted.Agent() != o.agent && !o.again):
		return nil, fmt.Errorf("run %q: want the run of %s that was accepted for, %s, found %s of %s", key, o.accepted.Agent(), o.accepted.Opens(), r.id, o.agent)
	case r.parent != nil && (r.parent.rt != rt || r.parent.descends(r.id)):
		return nil, fmt.Errorf("run %q: want as parent another run of the same runtime, found %q", key, r.parent.key)
	}
	if o.principal == "" {
		o.principal = o.agent
	}
	ctx = r.runSpan(ctx, &o)
	if err := r.lease(ctx, rt.cfg.Lease, false, true); err != nil {
		if err = r.succeed(ctx, &o, err); err != nil {
			r.span.done(err)
			return nil, err
		}
	}
	if err := r.take(ctx, &o); err != nil {
		r.release(ctx)
		r.span.done(err)
		return nil, err
	}
	r.span.of(r.agent, r.body.Task)
	return r, nil
}

// takeTries is how often a run is read back because its driver before wrote to it
// meanwhile: it has no lease any more, and goes on only until it asks for one.
const takeTries = 8

// take reads the run back, and opens or resumes it.
func (r *Run) take(ctx context.Context, o *openOptions) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for try := 1; ; try++ {
		err := r.takeAsRead(ctx, o)
		if err == nil {
			break
		}
		var lost *RunError
		if try == takeTries || !errors.As(r.lost, &lost) || lost.Reason != RunTaken {
			return err
		}
		r.lost = nil
	}
	if !r.called() {
		r.rt.notQuiet(r.id) // and nothing can be begun any more by whoever had it
	}
	if err := r.continues(ctx, o); err != nil {
		return err
	}
	spent, asked, err := r.spentBefore(ctx)
	if err != nil {
		return err
	}
	var parent *account
	if r.parent != nil {
		parent = r.parent.budget
	}
	r.budget = newAccount(r.body.Budget, parent, spent, r.opened.Std())
	for at, estimate := range asked {
		r.budget.hold(at, estimate)
	}
	return nil
}

// takeAsRead reads the run back, and opens or resumes it as it was read. r.mu is
// held.
func (r *Run) takeAsRead(ctx context.Context, o *openOptions) error {
	if err := r.load(ctx); err != nil {
		return err
	}
	// Another may have taken the run over before it was read: then it is not to
	// be taken back. If it does so from here on, what it writes moves the tail
	// that the next record names.
	if err := r.lease(ctx, r.rt.cfg.Lease, false, true); err != nil {
		return err
	}
	switch {
	case r.state.Opened():
		return r.resume(ctx, o)
	case o.again:
		return fmt.Errorf("run %q (%s): %w", r.key, r.id, ErrNoRun)
	default:
		return r.open(ctx, o)
	}
}

// open writes run.opened.
func (r *Run) open(ctx context.Context, o *openOptions) error {
	body := &evidence.RunOpened{
		Principal: o.principal, Subject: o.subject, Task: o.task, Budget: o.budget, Runtime: r.rt.cfg.Actor, Parent: o.parent.openedBy(),
		Acceptance: acceptanceOf(o.accepted),
	}
	var payloads []evidence.Payload
	keep := r.rt.sealInto(&payloads)
	var err error
	if o.intent != "" {
		if body.Intent, err = keep(mediaText, []byte(o.intent)); err != nil {
			return err
		}
	}
	if o.input != nil {
		if body.Input, err = keep(mediaJSON, o.input); err != nil {
			return err
		}
	}
	if r.rt.cfg.Contracts != nil {
		c, err := r.rt.cfg.Contracts(o.task, o.input)
		if err != nil {
			return fmt.Errorf("run %q: the contract for task %q: %w", r.key, o.task, err)
		}
		if c != nil {
			if _, err := audit.ParseContract(c.Document); err != nil {
				return fmt.Errorf("run %q: the contract for task %q: %w", r.key, o.task, err)
			}
			document, err := keep(mediaJSON, c.Document)
			if err != nil {
				return err
			}
			body.Contract = &evidence.ContractRef{Document: *document, DeclaredBy: c.DeclaredBy}
		}
	}
	placed, err := r.write(ctx, draft{body: body, actor: r.agent, payloads: payloads, ext: r.driver()})
	if err != nil {
		return err
	}
	r.body, r.opened = body, placed.Record.Time
	return nil
}

// resume holds a run to what it was opened for, and says in the ledger that it is
// resumed: from then on the driver before cannot write.
func (r *Run) resume(ctx context.Context, o *openOptions) error {
	b, run := r.body, r.state.Run()
	switch {
	case b.Runtime != r.rt.cfg.Actor:
		return r.fail(RunChanged, "it is a run of the runtime %q, not of %q", b.Runtime, r.rt.cfg.Actor)
	case o.again:
		r.agent = run.Actor
	default:
		if err := r.same(ctx, o); err != nil {
			return err
		}
	}
	if run.Closed || o.driver != "" && driverOf(r.driven) == o.driver {
		return nil
	}
	var doubts []evidence.ID
	for _, d := range run.InDoubt() {
		doubts = append(doubts, d.ID)
	}
	_, err := r.write(ctx, draft{body: &evidence.RunResumed{Reason: "restart", InDoubt: doubts}, ext: r.driver()})
	return err
}

// same compares what a run was opened for with what is wanted.
func (r *Run) same(ctx context.Context, o *openOptions) error {
	b, run := r.body, r.state.Run()
	switch {
	case run.Actor != o.agent:
		return r.fail(RunChanged, "it is a run of the agent %q, not of %q", run.Actor, o.agent)
	case b.Task != o.task || b.Subject != o.subject || b.Principal != o.principal:
		return r.fail(RunChanged, "it was opened for task %q, subject %q, principal %q, and not for %q, %q, %q",
			b.Task, b.Subject, b.Principal, o.task, o.subject, o.principal)
	case b.Parent != o.parent.openedBy():
		return r.fail(RunChanged, "it was opened as a child of %s, and not of %s", orNone(b.Parent), orNone(o.parent.openedBy()))
	case o.accepted != nil && b.Acceptance != o.accepted.ID():
		return r.fail(RunChanged, "it was opened to continue %s, and not %s", orNone(b.Acceptance), o.accepted.ID())
	case (b.Input == nil) != (o.input == nil):
		return r.fail(RunChanged, "it was opened %s an input", map[bool]string{true: "without", false: "with"}[b.Input == nil])
	}
	if b.Input != nil {
		p, err := r.rt.cfg.Ledger.ReadPayload(ctx, b.Input.Commit)
		switch {
		case errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNoPayload):
			// Nobody can compare any more: the records go on to hold.
		case err != nil:
			return fmt.Errorf("run %q: read its input: %w", r.key, err)
		case !bytes.Equal(p.Data, o.input):
			return r.fail(RunChanged, "it was opened with another input: give another task another key")
		}
	}
	return nil
}

// driver names the driver in the record by which it takes the run: two that come at
// once never write the same bytes, so one of them is refused.
func (r *Run) driver() evidence.Object {
	return evidence.Object(`{"dev.ledgerd.driver":"` + r.holder + `"}`)
}

// draft is a record to be.
type draft struct {
	body     evidence.Body
	actor    string // "": the runtime
	cites    []evidence.ID
	ext      evidence.Object
	payloads []evidence.Payload // that it commits to
	until    evidence.Time      // the last time that it may bear: of the approval that it uses; 0: any
}

// errExpired: the record would bear a time after its draft's until.
var errExpired = errors.New("the approval has expired")

// writeTries is how often a record is signed anew because somebody registered an
// actor meanwhile, or the line was full.
const writeTries = 8

// write makes the next record of the line. It returns once record and payloads
// are durable. r.mu is held.
//
// A record is never durable without its payloads: who resumes the run needs them
// to go on.
func (r *Run) write(ctx context.Context, d draft) (evidence.Placed, error) {
	if r.lost != nil {
		return evidence.Placed{}, r.lost
	}
	if r.state.Run().Closed {
		return evidence.Placed{}, r.fail(RunEnded, "it is closed: %s", r.state.Run().End).by(r.state.Run().Tail)
	}
	if err := ctx.Err(); err != nil {
		return evidence.Placed{}, err
	}
	// From here on the record may stand: whether it does has to be known.
	ctx = context.WithoutCancel(ctx)
	d.ext = r.rt.traced(ctx, d.ext)
	if len(d.payloads) > 0 {
		if _, err := r.rt.cfg.Ledger.PutPayloads(ctx, d.payloads); err != nil {
			return evidence.Placed{}, fmt.Errorf("run %q: payloads: %w", r.key, err)
		}
	}
	placed, err := r.append(ctx, &d)
	if err == nil {
		r.rt.recorded(ctx, placed)
	}
	return placed, err
}

func (r *Run) append(ctx context.Context, d *draft) (evidence.Placed, error) {
	for try := 1; ; try++ {
		entry, err := r.sign(ctx, d)
		if err != nil {
			return evidence.Placed{}, fmt.Errorf("run %q: %w", r.key, err)
		}
		placed, err := r.rt.cfg.Ledger.Submit(entry)(ctx)
		if err == nil {
			return r.placed(ctx, placed[0])
		}
		refusal := ledger.AsRefusal(err)
		switch {
		case try < writeTries && errors.Is(err, tlog.ErrBusy):
			if err := r.rt.cfg.Clock.Sleep(ctx, time.Duration(try)*10*time.Millisecond); err != nil {
				return evidence.Placed{}, err
			}
		case try < writeTries && refusal != nil && refusal.Reason == ledger.Reason(audit.ReasonStale):
			// Somebody registered an actor in between.
		case refusal != nil && (refusal.Reason == ledger.Reason(audit.ReasonPrev) || refusal.Reason == ledger.Reason(audit.ReasonClosed) ||
			refusal.Reason == ledger.Reason(audit.ReasonOpened)):
			r.lost = r.fail(RunTaken, "another driver went on with it: %w", err)
			return evidence.Placed{}, r.lost
		case refusal != nil:
			return evidence.Placed{}, fmt.Errorf("run %q: the ledger refused a %s: %w", r.key, d.body.Kind(), err)
		case errors.Is(err, tlog.ErrBusy), errors.Is(err, tlog.ErrDiskFull):
			return evidence.Placed{}, fmt.Errorf("run %q: %w", r.key, err)
		default:
			// It may stand or not: the same key opens the run again and finds out.
			r.lost = &RunError{Run: r.id, Key: r.key, Reason: RunUnknown, Err: err}
			return evidence.Placed{}, r.lost
		}
	}
}

// placed folds a record that this driver wrote.
func (r *Run) placed(ctx context.Context, p evidence.Placed) (evidence.Placed, error) {
	// What stands beside the line may have to be folded first.
	by := audit.Signer{
		Name: r.rt.cfg.Actor, Role: evidence.RoleRuntime, Key: r.rt.cfg.Key.Public().Thumbprint(), Hosted: p.Record.Actor != r.rt.cfg.Actor,
	}
	r.last = max(r.last, p.Record.Time)
	if found := r.state.Apply(p, by); len(found) > 0 {
		r.lost = r.fail(RunUnsound, "a record of this runtime breaks a rule: %s", found[0].String())
		return p, r.lost
	}
	return p, nil
}

func (r *Run) sign(ctx context.Context, d *draft) ([]byte, error) {
	kind := d.body.Kind()
	rec := &evidence.Record{
		Origin: r.rt.cfg.Origin, Kind: kind, Run: r.id, Prev: r.state.Run().Tail, Actor: d.actor, Cites: d.cites, Ext: d.ext, Body: d.body,
		// A line's times never go back, whatever the clock does.
		Time: max(r.last, evidence.TimeOf(r.rt.cfg.Clock.Now())),
	}
	if d.until != 0 && rec.Time > d.until {
		return nil, errExpired
	}
	if rec.Actor == "" {
		rec.Actor = r.rt.cfg.Actor
	}
	if kind.NamesRegistry() {
		registry, err := r.rt.cfg.Ledger.Actors(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the registry: %w", err)
		}
		n := registry.Number()
		rec.Registry = &n
	}
	return evidence.Sign(rec, r.rt.cfg.Key)
}

// refresh folds what others put beside the line since. r.mu is held.
func (r *Run) refresh(ctx context.Context) error {
	if r.lost != nil {
		return r.lost
	}
	if done, err := r.catchUp(ctx); done || err != nil {
		return err
	}
	old, seen := r.state, r.seen
	if err := r.load(ctx); err != nil {
		r.state, r.seen = old, seen
		return err
	}
	if r.state.Run().Tail != old.Run().Tail {
		r.lost = r.fail(RunTaken, "another driver went on with it")
		return r.lost
	}
	return nil
}

// lease takes or renews the lease for at least d from now. Half as long again is
// taken, so that short calls in a row share one; anew: and whoever has it is asked.
func (r *Run) lease(ctx context.Context, d time.Duration, takeOver, anew bool) error {
	now := r.rt.cfg.Clock.Now()
	r.leaseMu.Lock()
	defer r.leaseMu.Unlock()
	if !takeOver && !anew && now.Add(d).Before(r.until) {
		return nil
	}
	d = max(d+d/2, r.until.Sub(now)) // what it has is not made shorter
	err := r.rt.cfg.Ledger.Lease(ctx, r.id, r.holder, d, takeOver)
	if err == nil {
		r.until = now.Add(d)
	}
	var held *ledger.LeaseError
	if errors.As(err, &held) {
		return &RunError{Run: r.id, Key: r.key, Reason: RunHeld, Err: err}
	}
	if err != nil {
		return fmt.Errorf("run %q: its lease: %w", r.key, err)
	}
	return nil
}

// release gives the lease back. It is no loss if that fails: it ends by itself. As
// long as a call of the driver before may last it is kept, so that nobody else comes
// who does not know of that.
func (r *Run) release(ctx context.Context) {
	r.leaseMu.Lock()
	defer r.leaseMu.Unlock()
	r.until = time.Time{} // a child that goes on has to ask
	if !r.rt.quietUntil(r.id, time.Time{}).IsZero() {
		return
	}
	_ = r.rt.cfg.Ledger.Lease(context.WithoutCancel(ctx), r.id, r.holder, 0, false)
}

// keyedMutex is a mutex for each name.
type keyedMutex struct {
	mu    sync.Mutex
	locks map[string]*sync.Mutex
}

func (k *keyedMutex) lock(name string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = make(map[string]*sync.Mutex)
	}
	m := k.locks[name]
	if m == nil {
		m = new(sync.Mutex)
		k.locks[name] = m
	}
	k.mu.Unlock()
	m.Lock()
	return m.Unlock
}
