package runtime

import (
	"context"
	"fmt"

	"ledgerd/checkpoint"
	"ledgerd/evidence"
)

// Undo undoes a step that succeeded, where its tool is a [Compensator]: it does
// the action that the tool names, as a step called step + ".undo", which is
// permitted, executed and recorded like any other, and replayed too. What the
// step did stays on record: it happened.
func (r *Run) Undo(ctx context.Context, step string) (*Result, error) {
	r.mu.Lock()
	p := r.state.Plan(step, max(r.last, evidence.TimeOf(r.rt.cfg.Clock.Now())))
	r.mu.Unlock()
	if p.Next != checkpoint.Return {
		return nil, fmt.Errorf("undo step %q: want one that succeeded, found one that is to %s", step, p.Next)
	}
	a := p.Action
	reg := r.rt.tools[a.Record.Tool]
	if reg == nil {
		return nil, fmt.Errorf("undo step %q: no tool %q is registered", step, a.Record.Tool)
	}
	c, ok := reg.tool.(Compensator)
	if !ok {
		return nil, fmt.Errorf("undo step %q: the tool %q does not say how: want a runtime.Compensator", step, a.Record.Tool)
	}
	input, err := r.rt.cfg.Ledger.ReadPayload(ctx, a.Record.Input.Commit)
	if err != nil {
		return nil, fmt.Errorf("undo step %q: its input: %w", step, err)
	}
	out := &Output{}
	if a.Output != nil {
		p, err := r.rt.cfg.Ledger.ReadPayload(ctx, a.Output.Commit)
		if err != nil {
			return nil, fmt.Errorf("undo step %q: its output: %w", step, err)
		}
		out.Media, out.Data = p.Media, p.Data
	}
	tool, undo, err := c.Compensate(input.Data, out)
	if err != nil {
		return nil, fmt.Errorf("undo step %q: %w", step, err)
	}
	return r.Do(ctx, Action{Step: step + ".undo", Tool: tool, Input: undo})
}
