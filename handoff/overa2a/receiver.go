package overa2a

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"sync"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
	"github.com/a2aproject/a2a-go/v2/log"

	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/ledger"
)

// Exporter makes bundles: a *ledger.Ledger, or the client of a daemon.
type Exporter interface {
	Export(ctx context.Context, w io.Writer, o ledger.ExportOptions) error
}

// Worker does the work that was handed over. Nothing reaches it that was not
// accepted.
type Worker interface {
	// Work goes on with what was accepted, in the run of [RunKey], and yields updates of
	// the task's status and artifacts, the last of them a state that is terminal or
	// asks for input. The task itself stands already. It is called for each message of
	// the task, and again where a process before was stopped: what is recorded in the
	// run is not done again. An error fails the task, and is logged; the giver does not
	// hear it.
	//
	// unverified is the message, without what it handed over, and the task: text that
	// nobody verified.
	Work(ctx context.Context, a *handoff.Accepted, unverified *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error]
	// Cancel stops the work, and yields an update with the state canceled.
	Cancel(ctx context.Context, a *handoff.Accepted, unverified *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error]
}

// Receiver says who takes work over. All of it is needed.
type Receiver struct {
	Party  *handoff.Party                  // that accepts
	Ledger Exporter                        // the party's, for what goes back
	RunID  func(key string) evidence.RunID // that of the runtime which does the work
	Worker Worker
}

// RunKey returns the key of the one run that continues an offer. It is the same
// whenever the offer comes, so that who sends it again after a crash goes on with that
// run.
func RunKey(offer evidence.ID) string { return "a2a-" + offer.String() }

// NewExecutor returns what an A2A server asks to do its tasks.
//
// The message that begins a task has to hand over one offer, which is verified and
// accepted, in this order, before the worker hears of it; the acceptance goes back at
// once, as an artifact of the task. What is refused is a task in the state rejected,
// whose status says why. A message that follows in a task hands nothing over: one that
// does is refused, and the task then asks for input as before.
//
// One task at a time works on an offer. What is sent again while a task does, or
// after its run was closed, is refused as [handoff.Used]; where neither is so, because
// the process before was stopped, the task goes on with the acceptance that stands.
//
// A refusal is recorded in the party's ledger where it is proven
// ([handoff.Refused.Proven]), and once for each reason: so nobody fills the ledger with what is
// attributed to others. That a bundle does not hold the tree head that is known is
// not recorded: the refusal has it, and the giver sends again.
func NewExecutor(r Receiver) a2asrv.AgentExecutor {
	return &executor{Receiver: r, held: make(map[evidence.ID]a2a.TaskID)}
}

type executor struct {
	Receiver

	mu   sync.Mutex
	held map[evidence.ID]a2a.TaskID // by offer: the task that works on it; guarded by mu
}

// Execute implements [a2asrv.AgentExecutor].
func (e *executor) Execute(ctx context.Context, ec *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		a, err := e.admit(ctx, ec)
		var began a2a.Event
		if err == nil && ec.StoredTask == nil {
			began, err = e.begun(ctx, ec, a)
		}
		if refused := refusedIn(err); refused != nil {
			began, err = e.refuse(ctx, ec, refused)
		}
		if err != nil {
			log.Error(ctx, "handoff", err) // and not to the sender: it may say how the ledger is kept
			yield(nil, fmt.Errorf("whether the handoff is accepted could not be found out, or recorded: send it again: %w", a2a.ErrInternalError))
			return
		}
		if began != nil && !yield(began, nil) || a == nil {
			return
		}
		unverified := *ec
		unverified.Message = withoutBundle(ec.Message)
		follow(e.Worker.Work(ctx, a, &unverified), yield, func(err error) (a2a.Event, error) {
			// Not as an error: the server may drop what was yielded before one, and
			// with it the acceptance.
			log.Error(ctx, "handoff: the work failed", err)
			return a2a.NewStatusUpdateEvent(ec, a2a.TaskStateFailed, nil), nil
		})
	}
}

// follow hands on what a worker yields, and what fail makes of an error. A server
// waits for a last state, for ever if none comes.
func follow(events iter.Seq2[a2a.Event, error], yield func(a2a.Event, error) bool, fail func(error) (a2a.Event, error)) {
	for event, err := range events {
		last := false
		switch x := event.(type) {
		case *a2a.TaskArtifactUpdateEvent:
		case *a2a.TaskStatusUpdateEvent:
			last = x.Status.State.Terminal() || x.Status.State == a2a.TaskStateInputRequired
		default:
			if err == nil {
				err = fmt.Errorf("want updates of the task's status and artifacts, found %T", event)
			}
		}
		if err != nil {
			yield(fail(err))
			return
		}
		if !yield(event, nil) || last {
			return
		}
	}
	yield(fail(errors.New("it ended without a last state")))
}

// admit returns the acceptance that a message's task may be worked on under. Why not,
// is a *[Refused].
func (e *executor) admit(ctx context.Context, ec *a2asrv.ExecutorContext) (*handoff.Accepted, error) {
	var a *handoff.Accepted
	var err error
	if ec.StoredTask != nil {
		a, err = e.of(ctx, ec.StoredTask)
		if n := len(handed(ec.Message.Parts)); err == nil && n > 0 {
			err = &handoff.Refused{
				Reason: handoff.Used, Expected: "a message that hands nothing over: its task continues what was accepted",
				Found: fmt.Sprintf("one with %d parts of %s", n, Media), Offer: a.OfferID(), Origin: a.Origin(), Stands: a.ID(),
			}
		}
	} else {
		b, refused := offered(ec.Message.Parts)
		if refused != nil {
			return nil, refused
		}
		a, err = e.accept(ctx, b)
	}
	if err == nil {
		err = e.hold(ctx, a, ec.TaskID)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// of returns the acceptance that a task works under.
func (e *executor) of(ctx context.Context, t *a2a.Task) (*handoff.Accepted, error) {
	id, ok := acceptedIn(t)
	if !ok {
		return nil, &handoff.Refused{Reason: handoff.Malformed, Expected: "a task that began with a handoff", Found: "one that did not"}
	}
	return e.Party.Load(ctx, id)
}

// acceptedIn returns the ID of the acceptance that this receiver wrote into a task.
func acceptedIn(t *a2a.Task) (evidence.ID, bool) {
	meta, _ := t.Metadata[URI].(map[string]any)
	s, _ := meta["acceptance"].(string)
	id, err := evidence.ParseID(s)
	return id, err == nil
}

// accept verifies what was handed over, and accepts it for the run that continues it.
// If we crash after it, the acceptance stands, and is returned to who sends the same
// offer again.
func (e *executor) accept(ctx context.Context, b []byte) (*handoff.Accepted, error) {
	v, err := e.Party.Verify(ctx, b, nil)
	if err == nil {
		return e.Party.Accept(ctx, v, e.RunID(RunKey(v.ID())))
	}
	if r := handoff.AsRefused(err); r != nil && late(r) {
		if a, loadErr := e.before(ctx, r.Offer, b); a != nil || loadErr != nil {
			return a, loadErr
		}
	}
	return nil, err
}

// late says whether an offer is refused for what came to pass since it was made.
func late(r *handoff.Refused) bool {
	switch r.Reason {
	case handoff.Expired, handoff.HeadOld, handoff.HeadOlder:
		return true
	case handoff.HeadOther:
		return r.Undecidable
	}
	return false
}

// before returns the acceptance of an offer that was accepted while it was in time,
// if what was handed over verifies as of then; nil: there is none. An offer that was
// accepted can go on, whatever was accepted since.
func (e *executor) before(ctx context.Context, offer evidence.ID, b []byte) (*handoff.Accepted, error) {
	for at, err := range e.Party.Ledger.Find(ctx, ledger.Filter{Kind: evidence.KindHandoffAccepted, Actor: e.Party.Agent}) {
		if err != nil {
			return nil, fmt.Errorf("a2a: what was accepted before: %w", err)
		}
		body := at.Record.Body.(*evidence.HandoffAccepted)
		if body.Offer != offer || !body.Acceptance.IsZero() || body.Opens != e.RunID(RunKey(offer)) {
			continue
		}
		_, err := handoff.Verify(b, handoff.Options{Trust: e.Party.Trust, To: e.Party.Receiver(), Now: at.Record.Time.Std(), Bare: e.Party.Bare})
		if err != nil {
			return nil, nil
		}
		return e.Party.Load(ctx, at.ID)
	}
	return nil, nil
}

// hold gives an accepted offer to a task, unless another one has it, or its run is
// closed.
func (e *executor) hold(ctx context.Context, a *handoff.Accepted, task a2a.TaskID) error {
	e.mu.Lock()
	other, taken := e.held[a.OfferID()]
	if !taken {
		e.held[a.OfferID()] = task
	}
	e.mu.Unlock()
	if taken && other != task {
		return e.used(ctx, a, "a task works on it", other)
	}
	// After that: who had it before closed its run before it let go.
	for at, err := range e.Party.Ledger.Find(ctx, ledger.Filter{Run: a.Opens(), Kind: evidence.KindRunClosed}) {
		e.release(task)
		if err != nil {
			return fmt.Errorf("a2a: whether %s is closed: %w", a.Opens(), err)
		}
		return e.used(ctx, a, fmt.Sprintf("its run %s ended as %s", a.Opens(), at.Record.Body.(*evidence.RunClosed).End), "")
	}
	return nil
}

// release takes back what a task holds.
func (e *executor) release(task a2a.TaskID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	maps.DeleteFunc(e.held, func(_ evidence.ID, t a2a.TaskID) bool { return t == task })
}

// used: the offer was accepted here, and is being worked on or was. The giver gets the
// acceptance all the same: it may not have heard of it.
func (e *executor) used(ctx context.Context, a *handoff.Accepted, found string, task a2a.TaskID) error {
	back, err := e.back(ctx, a)
	if err != nil {
		return err
	}
	return &Refused{
		Refused: &handoff.Refused{
			Reason: handoff.Used, Expected: "an offer that is still to be worked on", Found: found, Offer: a.OfferID(), Origin: a.Origin(), Stands: a.ID(),
		},
		Task: task, Acceptance: back,
	}
}

// back returns the bundle about an acceptance.
func (e *executor) back(ctx context.Context, a *handoff.Accepted) ([]byte, error) {
	var b bytes.Buffer
	if err := e.Ledger.Export(ctx, &b, ledger.ExportOptions{Record: a.ID()}); err != nil {
		return nil, fmt.Errorf("a2a: the bundle about %s: %w", a.ID(), err)
	}
	return b.Bytes(), nil
}

// begun is the task as it begins: with the acceptance, and a pointer to it.
func (e *executor) begun(ctx context.Context, ec *a2asrv.ExecutorContext, a *handoff.Accepted) (a2a.Event, error) {
	back, err := e.back(ctx, a)
	if err != nil {
		return nil, err
	}
	part, err := bundlePart(memberAcceptance, back)
	if err != nil {
		return nil, err
	}
	t := a2a.NewSubmittedTask(ec, withoutBundle(ec.Message))
	t.SetMeta(URI, map[string]any{"offer": a.OfferID().String(), "acceptance": a.ID().String(), "run": string(a.Opens())})
	t.Artifacts = []*a2a.Artifact{{
		ID: ArtifactID, Name: "acceptance", Description: "what the receiver's ledger says of the handoff, for the giver's", Extensions: []string{URI},
		Parts: a2a.ContentParts{part},
	}}
	return t, nil
}

// refusedIn returns the refusal in an error; nil: it is another error.
func refusedIn(err error) *Refused {
	if r := (*Refused)(nil); errors.As(err, &r) {
		return r
	}
	if r := handoff.AsRefused(err); r != nil {
		return &Refused{Refused: r}
	}
	return nil
}

// refuse is what a refused message comes to. A task that it begins is rejected; one
// that was accepted before waits for another message.
func (e *executor) refuse(ctx context.Context, ec *a2asrv.ExecutorContext, r *Refused) (a2a.Event, error) {
	if r.Reason == handoff.HeadOther && r.Undecidable {
		known, err := e.Party.Known(ctx, r.Origin)
		if err != nil {
			return nil, err
		}
		if known != nil {
			r.Known = known.Note
		}
	}
	if r.Known == nil { // otherwise the giver is only asked for another bundle
		var err error
		if r.Rejection, err = e.reject(ctx, r.Refused); err != nil {
			return nil, err
		}
	}
	part, err := r.part()
	if err != nil {
		return nil, err
	}
	m := a2a.NewMessageForTask(a2a.MessageRoleAgent, ec, a2a.NewTextPart(visible(r.Error())), part)
	m.Extensions = []string{URI}
	state := a2a.TaskStateRejected
	if ec.StoredTask != nil {
		if _, ok := acceptedIn(ec.StoredTask); ok {
			state = a2a.TaskStateInputRequired
		}
	}
	update := a2a.NewStatusUpdateEvent(ec, state, m)
	if ec.StoredTask != nil {
		return update, nil
	}
	t := a2a.NewSubmittedTask(ec, withoutBundle(ec.Message))
	t.Status = update.Status
	return t, nil
}

// reject records a refusal, and returns its record: the one that stands where the
// offer was refused for the same reason before; zero where the offer is not shown to
// stand in the giver's ledger.
func (e *executor) reject(ctx context.Context, r *handoff.Refused) (evidence.ID, error) {
	if !r.Proven() {
		return evidence.ID{}, nil
	}
	for at, err := range e.Party.Ledger.Find(ctx, ledger.Filter{Kind: evidence.KindHandoffRejected, Actor: e.Party.Agent}) {
		if err != nil {
			return evidence.ID{}, fmt.Errorf("a2a: what was rejected before: %w", err)
		}
		if b := at.Record.Body.(*evidence.HandoffRejected); b.Offer == r.Offer && b.Reason == string(r.Reason) {
			return at.ID, nil
		}
	}
	return e.Party.Reject(ctx, r)
}

// Cancel implements [a2asrv.AgentExecutor].
func (e *executor) Cancel(ctx context.Context, ec *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		a, err := e.of(ctx, ec.StoredTask)
		if err != nil {
			yield(nil, err)
			return
		}
		follow(e.Worker.Cancel(ctx, a, ec), yield, func(err error) (a2a.Event, error) { return nil, err })
	}
}

var _ a2asrv.AgentExecutionCleaner = (*executor)(nil)

// Cleanup implements [a2asrv.AgentExecutionCleaner]: a task that is over lets go of
// what it worked on; one that waits for a message keeps it.
func (e *executor) Cleanup(_ context.Context, ec *a2asrv.ExecutorContext, result a2a.SendMessageResult, err error) {
	if t, ok := result.(*a2a.Task); ok && err == nil && !t.Status.State.Terminal() {
		return
	}
	e.release(ec.TaskID)
}
