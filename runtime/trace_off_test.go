package runtime

import (
	"context"
	"errors"
	"testing"

	"ledgerd/evidence"
)

// TestTraceOffCostsNothing: what a step does for traces, where there are none,
// takes no memory. The tests of the runtime see that it is all that a step does.
func TestTraceOffCostsNothing(t *testing.T) {
	ctx := context.Background()
	rt := &Runtime{}
	r := &Run{rt: rt}
	a, reg := &Action{Step: "notify"}, &registered{spec: &Spec{Name: "email"}}
	s := &stepper{Run: r, action: a, reg: reg}
	body, auth, call, err := &evidence.Execution{}, &evidence.Authorization{}, &Call{}, errors.New("no")
	if n := testing.AllocsPerRun(1000, func() {
		inStep, step := r.stepSpan(ctx, a, reg)
		inCheck, permission := s.partSpan(inStep, "permission")
		_ = rt.traced(inCheck, nil)
		rt.recorded(inCheck, evidence.Placed{})
		permission.permitted(auth, nil)
		_, tool := s.toolSpan(inStep, call)
		tool.executed(body, err, nil)
		step.stepped(s, nil, false, err)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
