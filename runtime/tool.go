package runtime

import (
	"context"
	"encoding/json"
	"time"

	"ledgerd/evidence"
)

// Tool does one kind of action. It decides nothing: when it is called, the
// permission is durable, and the bytes that it gets are the bytes that were
// checked. Package runtime/tools has HTTP requests, commands and email.
type Tool interface {
	// Spec describes the tool. It must not change while the tool is in use.
	Spec() *Spec
	// Call makes one attempt. It returns within the context's deadline, which
	// is the spec's timeout. An error that is a *Failure says its class;
	// any other is classified by [Classify].
	Call(ctx context.Context, c *Call) (*Output, error)
}

// Prober is a Tool that can find out whether an earlier attempt happened.
type Prober interface {
	Tool
	// Probe asks whether the action under c.Key happened. It changes nothing. An
	// error means that nobody knows still.
	Probe(ctx context.Context, c *Call) (*Finding, error)
}

// Compensator is a Tool that can undo what it did.
type Compensator interface {
	Tool
	// Compensate returns the action that undoes what was done with that input
	// and output: the name of a registered tool, and its input: the same for the
	// same, for it may be asked again ([Run.Undo]).
	Compensate(input []byte, output *Output) (tool string, undo []byte, err error)
}

// Spec describes a tool. What a permission check or an auditor has to know of it
// is committed to by every authorization, so that a tool that changes later
// shows.
type Spec struct {
	Name        string          // an identifier, unique among a runtime's tools
	Action      string          // what it does, in the words of policies and contracts
	Description string          // for people and models
	Schema      json.RawMessage // JSON Schema of the input; nil: any JSON value
	// Resource is the JSON Pointer of the input member that says what the action
	// is done to; "": the caller says it, or nobody.
	Resource string
	Timeout  time.Duration // of one attempt; 0: 30 s
	// Estimate is what one attempt may cost at most.
	Estimate evidence.Amounts
	// Idempotent: a second call under the same key does nothing again.
	Idempotent bool
	// Params and Refs name the members of input and output that stand in the
	// record in the clear. Everything else stays in the payload.
	Params, Refs []string
}

// Call is one attempt.
type Call struct {
	// Key is the idempotency key: the same for every attempt at one
	// authorization, and for no other in any run of any ledger.
	Key     string
	Input   []byte // JSON, exactly as it was checked
	Attempt int
	// Progress hands on what a long call has to tell meanwhile. It is not
	// evidence: only the outcome is. It may be nil.
	Progress func(update []byte)
}

// Output is what a successful call gave.
type Output struct {
	Media string // "": application/json
	Data  []byte
	Cost  evidence.Amounts // what the attempt did cost; absent units are not priced
	// Accepted: the tool took the call and will finish later: not a success yet.
	Accepted bool
}

// Finding is what a probe found.
type Finding struct {
	Status evidence.Status // success, failure or not_run
	Output *Output         // with success, where it can be told
}
