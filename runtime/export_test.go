package runtime

import (
	"context"

	"ledgerd/checkpoint"
)

// State returns what the run has folded.
func (r *Run) State() *checkpoint.State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Refresh folds what others put beside the line since.
func (r *Run) Refresh(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refresh(ctx)
}
