package runtime

import (
	"context"
	"fmt"
	"maps"
	"time"

	"ledgerd/evidence"
)

// Child opens the run as a child of another, which is open in this process: what
// the child spends counts for the parent's budget, and for that of its parent, up
// the line. It is resumed as a child of the same run; its lease is worth nothing
// once the parent's is somebody else's.
func Child(parent *Run) Option { return func(o *openOptions) { o.parent = parent } }

// openedBy returns the run's run.opened, the zero ID where there is no run.
func (r *Run) openedBy() evidence.ID {
	if r == nil {
		return evidence.ID{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.Run().Opened
}

// descends reports whether the run is the one of that ID, or a child's child of it.
func (r *Run) descends(from evidence.RunID) bool {
	for ; r != nil; r = r.parent {
		if r.id == from {
			return true
		}
	}
	return false
}

// spentBefore returns what the run, as it was read, and all of its children have
// spent, and what attempts of theirs may cost that others are making. Where nobody
// up the line has a budget, nobody asks the children.
func (r *Run) spentBefore(ctx context.Context) (spent evidence.Amounts, asked map[attemptAt]evidence.Amounts, err error) {
	spent, asked = r.state.Run().Spent(), r.asked()
	if spent == nil {
		spent = make(evidence.Amounts)
	}
	limited := len(r.body.Budget) > 0
	for p := r.parent; p != nil; p = p.parent {
		limited = limited || len(p.body.Budget) > 0
	}
	if !limited {
		return spent, asked, nil
	}
	for id, err := range r.rt.cfg.Ledger.Children(ctx, r.state.Run().Opened) {
		if err != nil {
			return nil, nil, fmt.Errorf("run %q: its children: %w", r.key, err)
		}
		child := &Run{rt: r.rt, id: id, key: string(id), parent: r}
		if err := child.load(ctx); err != nil {
			return nil, nil, fmt.Errorf("run %q: a child of it: %w", r.key, err)
		}
		more, others, err := child.spentBefore(ctx)
		if err != nil {
			return nil, nil, err
		}
		for unit, n := range more {
			spent[unit] += n
		}
		maps.Copy(asked, others)
	}
	return spent, asked, nil
}

// leaseLine takes or renews the leases of the run and of those that it is a child
// of: whoever has the parent decides what is spent.
func (r *Run) leaseLine(ctx context.Context, d time.Duration) error {
	for ; r != nil; r = r.parent {
		if err := r.lease(ctx, d, false, false); err != nil {
			return err
		}
	}
	return nil
}

func orNone(id evidence.ID) string {
	if id.IsZero() {
		return "no run"
	}
	return id.String()
}
