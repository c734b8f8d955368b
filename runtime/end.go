package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"ledgerd/checkpoint"
	"ledgerd/evidence"
)

// Close ends the run where it is done: its last claim's verdict says so, nothing
// that was done since breaks the contract, and nothing is in doubt. Otherwise it
// leaves the run open for whoever resumes it; and where that is for work since a
// claim that would have completed it, it says so with *Unsupported. Either way the
// lease is given back. Call it when the program is through with the run, however
// that came about.
func (r *Run) Close(ctx context.Context) error {
	defer r.release(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.span.done(r.lost) }()
	if r.lost != nil || r.state.Run().Closed || ctx.Err() != nil {
		return nil
	}
	claims := r.state.Claims()
	if len(claims) == 0 || r.claims < len(claims) {
		return nil
	}
	v, ok := r.state.Verdict(claims[len(claims)-1])
	if lets := v.Result == evidence.Supported || v.Result == evidence.NoContract && !r.rt.cfg.NeedContract; !ok || !lets || len(r.state.Run().InDoubt()) > 0 {
		return nil // known without judging anything again
	}
	if err := r.mayComplete(ctx); err != nil {
		return err
	}
	return r.completed(ctx)
}

// End closes the run as failed or stopped, for a reason (an identifier: a failure
// class, say). A run that ended so stays so. It is a *RunError with reason
// in_doubt where something is in doubt: that has to be settled first, for
// afterwards nobody can. What completes a run is [Run.Complete], not a word.
func (r *Run) End(ctx context.Context, end evidence.End, reason string) error {
	if end != evidence.Failed && end != evidence.Stopped {
		return fmt.Errorf("run %q: want it to end as failed or stopped, found %q: Complete looks at the claim first", r.key, end)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if closed := r.state.Closed(); closed != nil {
		return r.endedAs(closed, end, reason)
	}
	if err := r.sure(); err != nil {
		return err
	}
	ctx, span := r.recordSpan(ctx, "close")
	_, err := r.write(ctx, draft{body: &evidence.RunClosed{End: end, Reason: reason}})
	span.done(err)
	return err
}

// Finish ends the run by what its work came to, and gives the lease back: nil ends
// it like [Run.Close]; what was denied stops it, what failed for good, and a claim
// that the evidence does not support, ends it as failed. It stays open where a
// human or a tool is waited for, where something is in doubt, and where another
// error says nothing about the work. It returns the error that it was given, with
// its own.
func (r *Run) Finish(ctx context.Context, why error) error {
	if why == nil {
		return r.Close(ctx)
	}
	defer r.Leave(ctx)
	var denied *Denied
	var failed *Failed
	var unsupported *Unsupported
	switch {
	case errors.As(why, &denied):
		return errors.Join(why, r.End(ctx, evidence.Stopped, string(evidence.PermissionDenied)))
	case errors.As(why, &failed):
		return errors.Join(why, r.End(ctx, evidence.Failed, string(failed.Class)))
	case errors.As(why, &unsupported):
		return errors.Join(why, r.End(ctx, evidence.Failed, string(evidence.ClaimUnsupported)))
	}
	return why
}

// MaxState is the size in bytes of the largest state that a checkpoint takes.
const MaxState = 1 << 20

// Checkpoint saves the state of the program under a name, once: where a checkpoint
// of that name is recorded, it does nothing. The state is kept as JSON, at most
// [MaxState] bytes, and is data: nothing in it is ever run.
func (r *Run) Checkpoint(ctx context.Context, name string, state any) error {
	data, err := marshal(state)
	if err != nil {
		return fmt.Errorf("checkpoint %q: its state: %w", name, err)
	}
	if len(data) > MaxState {
		return fmt.Errorf("checkpoint %q: want a state of at most %d bytes, found %d: keep what is large elsewhere, and its name here", name, MaxState, len(data))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.Has(name) {
		return nil
	}
	return r.save(ctx, name, data)
}

// save writes a checkpoint. r.mu is held.
func (r *Run) save(ctx context.Context, name string, state []byte) error {
	p, err := r.rt.seal(mediaJSON, state)
	if err != nil {
		return err
	}
	body := r.state.Next(name)
	body.State = p.Commitment()
	ctx, span := r.recordSpan(ctx, "checkpoint")
	_, err = r.write(ctx, draft{body: body, actor: r.agent, payloads: []evidence.Payload{*p}})
	span.done(err)
	return err
}

// ErrNoCheckpoint: the run has saved no state yet.
var ErrNoCheckpoint = errors.New("the run has no checkpoint")

// Restore reads the state of the last checkpoint into a value, and returns the
// checkpoint's name, or ErrNoCheckpoint.
func (r *Run) Restore(ctx context.Context, state any) (name string, err error) {
	r.mu.Lock()
	last := r.state.Last()
	r.mu.Unlock()
	if last == nil {
		return "", ErrNoCheckpoint
	}
	p, err := r.rt.cfg.Ledger.ReadPayload(ctx, last.State.Commit)
	if err != nil {
		return "", fmt.Errorf("checkpoint %q: %w", last.Name, err)
	}
	if err := json.Unmarshal(p.Data, state); err != nil {
		return "", fmt.Errorf("checkpoint %q: its state: %w", last.Name, err)
	}
	return last.Name, nil
}

// Settle records what a human found out about a step in doubt.
func (r *Run) Settle(ctx context.Context, step string, found Finding) error {
	defer r.steps.lock(step)()
	r.mu.Lock()
	p := r.state.Plan(step, evidence.TimeOf(r.rt.cfg.Clock.Now()))
	r.mu.Unlock()
	if p.Next != checkpoint.Settle && p.Next != checkpoint.Await {
		return fmt.Errorf("step %q is not in doubt", step)
	}
	reg := r.rt.tools[p.Action.Record.Tool]
	if reg == nil {
		return fmt.Errorf("step %q: no tool %q is registered", step, p.Action.Record.Tool)
	}
	s := &stepper{Run: r, action: &Action{Step: step}, reg: reg}
	ctx, span := s.partSpan(ctx, "settle")
	err := s.settled(ctx, &p, evidence.ByHuman, &found, evidence.ID{})
	span.done(err)
	return err
}
