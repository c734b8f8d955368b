package runtime

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json"

	"ledgerd/evidence"
)

// Func is a Tool made of a function with typed input and output. Make one with
// [NewFunc].
type Func[In, Out any] struct {
	spec  Spec
	call  func(ctx context.Context, c *Call, in In) (Out, error)
	probe func(ctx context.Context, c *Call, in In) (evidence.Status, Out, error)
}

// NewFunc makes a Tool of a function. Input and output are JSON.
func NewFunc[In, Out any](spec Spec, call func(ctx context.Context, c *Call, in In) (Out, error)) *Func[In, Out] {
	return &Func[In, Out]{spec: spec, call: call}
}

// WithProbe gives the tool a probe, and returns it as one that has it: status is
// success, failure or not_run, and the output counts with success.
func (f *Func[In, Out]) WithProbe(probe func(ctx context.Context, c *Call, in In) (status evidence.Status, out Out, err error)) *ProbedFunc[In, Out] {
	g := *f
	g.probe = probe
	return &ProbedFunc[In, Out]{g}
}

// ProbedFunc is a [Func] that is a [Prober].
type ProbedFunc[In, Out any] struct{ Func[In, Out] }

// Spec implements [Tool].
func (f *Func[In, Out]) Spec() *Spec { return &f.spec }

// Call implements [Tool].
func (f *Func[In, Out]) Call(ctx context.Context, c *Call) (*Output, error) {
	var in In
	if err := json.Unmarshal(c.Input, &in); err != nil {
		return nil, &Failure{Class: evidence.InvalidToolPayload, Err: err, NotRun: true}
	}
	out, err := f.call(ctx, c, in)
	if err != nil {
		return nil, err
	}
	data, err := marshal(out)
	if err != nil {
		return nil, &Failure{Class: evidence.OutcomeUnknown, Err: fmt.Errorf("its result is no JSON: %w", err)}
	}
	return &Output{Data: data}, nil
}

// Probe implements [Prober].
func (f *ProbedFunc[In, Out]) Probe(ctx context.Context, c *Call) (*Finding, error) {
	var in In
	if err := json.Unmarshal(c.Input, &in); err != nil {
		return nil, err
	}
	status, out, err := f.probe(ctx, c, in)
	if err != nil {
		return nil, err
	}
	found := &Finding{Status: status}
	if status == evidence.StatusSuccess {
		data, err := marshal(out)
		if err != nil {
			return nil, err
		}
		found.Output = &Output{Data: data}
	}
	return found, nil
}

// typed ties a tool to the types of its input and output, for [Do].
type typed[In, Out any] interface {
	Tool
	types(In) Out
}

func (f *Func[In, Out]) types(In) (out Out) { return out }

// ResultOf is a [Result] with its output read as a value.
type ResultOf[Out any] struct {
	*Result
	Value Out
}

// Do is [Run.Do] for a tool with typed input and output, which is registered.
func Do[In, Out any](ctx context.Context, r *Run, step string, tool typed[In, Out], in In, options ...func(*Action)) (*ResultOf[Out], error) {
	input, err := marshal(in)
	if err != nil {
		return nil, fmt.Errorf("step %q: its input: %w", step, err)
	}
	a := Action{Step: step, Tool: tool.Spec().Name, Input: input}
	for _, option := range options {
		option(&a)
	}
	if reg := r.rt.tools[a.Tool]; reg == nil || reg.tool != Tool(tool) {
		return nil, fmt.Errorf("step %q: the tool %q is not the one that is registered", step, a.Tool)
	}
	res, err := r.Do(ctx, a)
	if err != nil {
		return nil, err
	}
	out := &ResultOf[Out]{Result: res}
	if len(res.Output) > 0 {
		if err := json.Unmarshal(res.Output, &out.Value); err != nil {
			return nil, fmt.Errorf("step %q: its recorded output: %w", step, err)
		}
	}
	return out, nil
}

// On says what an action is done to.
func On(resource string) func(*Action) { return func(a *Action) { a.Resource = resource } }

// BecauseOf says on which decision an action rests.
func BecauseOf(decision evidence.ID) func(*Action) {
	return func(a *Action) { a.Decision = decision }
}
