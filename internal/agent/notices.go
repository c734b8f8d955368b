package agent

import (
	"context"
	"errors"
	"iter"
	"time"

	"ledgerd/evidence"
	"ledgerd/ledger"
	"ledgerd/runtime"
)

// Notices yields what waits for a human at a time in open runs, of this runtime and of others,
// as a runtime would have told it: authorizations that nobody answered, and doubts
// that were escalated and not settled. A run's key is not among what its records
// say. What nobody can read any more is left out: nobody can answer for it.
func Notices(ctx context.Context, l *ledger.Ledger, at time.Time) iter.Seq2[runtime.Notice, error] {
	return func(yield func(runtime.Notice, error) bool) {
		actors := actorsOf(l)
		for opened, err := range l.Find(ctx, ledger.Filter{Kind: evidence.KindRunOpened}) {
			if err != nil {
				yield(runtime.Notice{}, err)
				return
			}
			if opened.Record.Body.(*evidence.RunOpened).Source != "" {
				continue // imported
			}
			open, err := isOpen(ctx, l, opened.Record.Run)
			if err == nil && open {
				var f *folded
				if f, err = fold(ctx, l, opened.Record.Run, actors); err == nil && !notices(ctx, l, opened.Record.Run, at, f, yield) {
					return
				}
			}
			if err != nil {
				yield(runtime.Notice{}, err)
				return
			}
		}
	}
}

// isOpen reports whether a run is not closed, by the index alone.
func isOpen(ctx context.Context, l *ledger.Ledger, run evidence.RunID) (bool, error) {
	for _, err := range l.Find(ctx, ledger.Filter{Run: run, Kind: evidence.KindRunClosed, Limit: 1}) {
		return false, err
	}
	return true, nil
}

// notices yields those of one run, and reports whether more are wanted.
func notices(ctx context.Context, l *ledger.Ledger, run evidence.RunID, at time.Time, f *folded, yield func(runtime.Notice, error) bool) bool {
	tell := func(n runtime.Notice, b *evidence.Authorization) bool {
		input, err := runtime.Embedded{Ledger: l}.ReadPayload(ctx, b.Input.Commit)
		switch {
		case errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNoPayload):
			return true
		case err != nil:
			yield(runtime.Notice{}, err)
			return false
		}
		n.Run, n.Step, n.Action, n.Resource, n.Input = run, b.Step, b.Action, b.Resource, input.Data
		return yield(n, nil)
	}
	for _, w := range f.state.Waiting(evidence.TimeOf(at)) {
		b := w.Action.Record
		if !tell(runtime.Notice{Authorization: w.Action.Authorization, Team: b.Team, Reason: "approval"}, b) {
			return false
		}
	}
	for _, d := range f.state.Run().InDoubt() {
		e := f.about[d.ID]
		if e == nil {
			continue // nobody was asked yet
		}
		a, ok := f.state.Run().Action(d.Authorization)
		if ok && !tell(runtime.Notice{Authorization: d.ID, Team: e.To, Reason: e.Reason}, a.Record) {
			return false
		}
	}
	return true
}
