package ledger

import (
	"context"
	"errors"
	"fmt"

	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// An Outcome is what became of one entry.
type Outcome struct {
	evidence.Placed      // valid where Err is nil
	Duplicate       bool // the same bytes stood there before
	// Err is a *Refusal, a *ConflictError, or one of the log: tlog.ErrUnknown,
	// tlog.ErrNotAppended, tlog.ErrDiskFull.
	Err error
}

// SubmitEach gives the entries, each a record's JWS, their place in line next to
// each other; the order of calls is the order of the log. wait returns what
// became of each, in their order, once each is durable or refused. The entries
// must not change until then. More than Config.QueueEntries at once never get a
// place.
//
// A wait that is given up takes nothing out of the line, and may be called
// again. Its error is that of its context, or tlog.ErrBusy, tlog.ErrClosed or
// tlog.ErrNotAppended where no entry got a place.
func (l *Ledger) SubmitEach(entries ...[]byte) (wait func(context.Context) ([]Outcome, error)) {
	cs := make([]*tlog.Candidate, len(entries))
	for i, e := range entries {
		cs[i] = &tlog.Candidate{Entry: e}
	}
	results := l.log.Submit(cs...)
	return func(ctx context.Context) ([]Outcome, error) {
		rs, err := results(ctx)
		if err != nil {
			return nil, err
		}
		out := make([]Outcome, len(rs))
		for i, r := range rs {
			out[i].Err = l.result(r.Err)
			if out[i].Err == nil {
				p := preparedOf(cs[i])
				out[i].Placed = p.u.PlacedAt(r.Index)
				out[i].Duplicate = r.Duplicate
			}
		}
		return out, nil
	}
}

// Submit is SubmitEach for a caller to whom the first error is enough: the
// placed records, with a zero one for each that was refused, and the first
// refusal. Records before and after it may have been admitted.
func (l *Ledger) Submit(entries ...[]byte) (wait func(context.Context) ([]evidence.Placed, error)) {
	outcomes := l.SubmitEach(entries...)
	return func(ctx context.Context) ([]evidence.Placed, error) {
		outs, err := outcomes(ctx)
		if err != nil {
			return nil, err
		}
		placed := make([]evidence.Placed, len(outs))
		for i, o := range outs {
			placed[i] = o.Placed
			if o.Err != nil && err == nil {
				if err = o.Err; len(outs) > 1 {
					err = fmt.Errorf("record %d of %d: %w", i+1, len(outs), o.Err)
				}
			}
		}
		return placed, err
	}
}

// Append is Submit, and wait.
func (l *Ledger) Append(ctx context.Context, entries ...[]byte) ([]evidence.Placed, error) {
	return l.Submit(entries...)(ctx)
}

// result is a candidate's error as the ledger's callers know it.
func (l *Ledger) result(err error) error {
	if errors.Is(err, tlog.ErrEntrySize) {
		r := &Refusal{Malformed, ReasonSize, err}
		l.counts.refuse(r.Reason)
		return r
	}
	return err
}
