package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/runtime"
)

// driver is the Go client's: what README.md says of every driver holds for it.
type driver struct {
	client    *client.Client
	run       *client.Run
	decisions map[string]evidence.ID
	laid      evidence.ID
}

// operation has the members of all operations.
type operation struct {
	Op         string           `json:"op"`
	Key        string           `json:"key"`
	Task       string           `json:"task"`
	Subject    string           `json:"subject"`
	Intent     string           `json:"intent"`
	Principal  string           `json:"principal"`
	Budget     evidence.Amounts `json:"budget"`
	Step       string           `json:"step"`
	Steps      []string         `json:"steps"`
	Input      json.RawMessage  `json:"input"`
	Action     string           `json:"action"`
	Tool       string           `json:"tool"`
	Resource   string           `json:"resource"`
	Decision   string           `json:"decision"`
	Params     []string         `json:"params"`
	Refs       []string         `json:"refs"`
	Estimate   evidence.Amounts `json:"estimate"`
	Idempotent bool             `json:"idempotent"`
	WaitMS     int64            `json:"wait_ms"`
	Calls      []reaction       `json:"calls"`
	Probe      *struct {
		Status evidence.Status `json:"status"`
		Output json.RawMessage `json:"output"`
	} `json:"probe"`
	Name     string          `json:"name"`
	Model    string          `json:"model"`
	Question json.RawMessage `json:"question"`
	Context  bool            `json:"context"`
	Think    struct {
		Choice    json.RawMessage  `json:"choice"`
		Rationale string           `json:"rationale"`
		Cost      evidence.Amounts `json:"cost"`
	} `json:"think"`
	Sources []struct {
		Name string `json:"name"`
		Text string `json:"text"`
	} `json:"sources"`
	State  json.RawMessage `json:"state"`
	Text   string          `json:"text"`
	Reason string          `json:"reason"`
}

// reaction is what the function of a step does in one call.
type reaction struct {
	Return json.RawMessage `json:"return"`
	Fail   *struct {
		Class   evidence.Class `json:"class"`
		Message string         `json:"message"`
	} `json:"fail"`
	Throw   *string `json:"throw"`
	Unknown *string `json:"unknown"`
	NoJSON  bool    `json:"no_json"`
	Crash   int     `json:"crash"`
}

// said is a line that is printed.
type said map[string]any

// drive goes through the operations of a file.
func drive(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var script struct {
		Do []operation `json:"do"`
	}
	if err := json.Unmarshal(b, &script); err != nil {
		return err
	}
	c, err := client.New(os.Getenv("LEDGERD_SERVER"), client.Options{Token: os.Getenv("LEDGERD_TOKEN")})
	if err != nil {
		return err
	}
	d := &driver{client: c, decisions: make(map[string]evidence.ID)}
	for at, op := range script.Do {
		line, err := d.do(context.Background(), &op)
		if line == nil {
			line = said{}
		}
		if err != nil {
			if err := d.failed(line, err); err != nil {
				return fmt.Errorf("operation %d: %w", at, err)
			}
		}
		line["at"] = at
		if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
			return err
		}
	}
	return nil
}

func (d *driver) do(ctx context.Context, op *operation) (said, error) {
	switch op.Op {
	case "open":
		run, err := d.client.Open(ctx, op.Key, client.OpenRun{
			Task: op.Task, Subject: op.Subject, Input: op.Input, Intent: op.Intent, Principal: op.Principal, Budget: op.Budget,
		})
		if err != nil {
			return nil, err
		}
		d.run = run
		return said{"state": run.Opened().State}, nil
	case "step":
		return d.step(ctx, op)
	case "run_here":
		out, err := d.run.RunHere(ctx, runtime.Action{Step: op.Step, Tool: op.Tool, Resource: op.Resource, Input: op.Input})
		return outputOf(out), err
	case "decide":
		m := &model{op: op}
		var laid []evidence.ID
		if op.Context {
			laid = append(laid, d.laid)
		}
		made, err := d.run.Decide(ctx, op.Name, m, op.Question, laid...)
		if err != nil {
			return said{"calls": m.calls}, err
		}
		d.decisions[op.Name] = made.ID
		return said{"choice": json.RawMessage(made.Choice), "calls": m.calls}, nil
	case "context":
		var sources []runtime.Source
		for _, s := range op.Sources {
			sources = append(sources, runtime.Source{Name: s.Name, Data: []byte(s.Text)})
		}
		var err error
		d.laid, err = d.run.Context(ctx, sources...)
		return said{"id": d.laid}, err
	case "checkpoint":
		id, err := d.run.Checkpoint(ctx, op.Name, op.State)
		return said{"id": id}, err
	case "last_checkpoint":
		last, err := d.run.LastCheckpoint(ctx)
		if last == nil {
			return nil, err
		}
		return said{"name": last.Name, "checkpoint": last.State}, err
	case "claim":
		made, err := d.run.Claim(ctx, op.Text, op.Steps...)
		if err != nil {
			return nil, err
		}
		return said{"claim": made.ID, "result": made.Verdict.Result}, nil
	case "close":
		state, err := d.run.Close(ctx)
		if err != nil {
			return nil, err
		}
		return said{"state": state.State, "end": state.End}, nil
	case "fail", "stop":
		end := evidence.Failed
		if op.Op == "stop" {
			end = evidence.Stopped
		}
		state, err := d.run.Stop(ctx, end, op.Reason)
		if err != nil {
			return nil, err
		}
		return said{"state": state.State, "end": state.End}, nil
	}
	return nil, fmt.Errorf("want an operation of README.md, found %q", op.Op)
}

func (d *driver) step(ctx context.Context, op *operation) (said, error) {
	t := &tool{op: op, keys: []string{}, spec: runtime.Spec{
		Name: op.Tool, Action: op.Action, Params: op.Params, Refs: op.Refs, Estimate: op.Estimate, Idempotent: op.Idempotent,
	}}
	if t.spec.Action == "" {
		t.spec.Action = op.Step
	}
	if t.spec.Name == "" {
		t.spec.Name = t.spec.Action
	}
	d.run.Wait = time.Duration(op.WaitMS) * time.Millisecond
	var of runtime.Tool = t
	if op.Probe != nil {
		of = probed{t}
	}
	out, err := d.run.Do(ctx, of, runtime.Action{Step: op.Step, Resource: op.Resource, Input: op.Input, Decision: d.decisions[op.Decision]})
	line := outputOf(out)
	line["calls"], line["keys"] = len(t.keys), t.keys
	return line, err
}

func outputOf(out *runtime.Output) said {
	if out == nil {
		return said{}
	}
	if out.Media != "" && out.Media != "application/json" {
		return said{"output": out.Data}
	}
	return said{"output": json.RawMessage(out.Data)}
}

// failed adds the members of an error; what is none of a client's is an error of the
// driver's.
func (d *driver) failed(line said, err error) error {
	var denied *runtime.Denied
	var waiting *runtime.Waiting
	var failed *runtime.Failed
	var doubt *runtime.InDoubt
	var unsupported *runtime.Unsupported
	var problem *client.Problem
	set := func(name string, id evidence.ID) {
		if !id.IsZero() {
			line[name] = id
		}
	}
	switch {
	case errors.As(err, &denied):
		line["error"], line["step"], line["policies"] = "denied", denied.Step, denied.Policies
		set("authorization", denied.Authorization)
		set("refusal", denied.Refusal)
	case errors.As(err, &waiting):
		line["error"], line["step"], line["team"] = "waiting", waiting.Step, waiting.Team
		set("authorization", waiting.Authorization)
	case errors.As(err, &failed):
		line["error"], line["step"], line["class"], line["attempts"] = "failed", failed.Step, failed.Class, failed.Attempts
		if failed.Err != nil {
			line["errors"] = []string{failed.Err.Error()}
		}
		set("authorization", failed.Authorization)
	case errors.As(err, &doubt):
		line["error"], line["step"] = "in_doubt", doubt.Step
		set("authorization", doubt.Authorization)
		set("doubt", doubt.Doubt)
	case errors.As(err, &unsupported):
		line["error"], line["result"] = "unsupported", unsupported.Result
		set("claim", unsupported.Claim)
	case errors.As(err, &problem):
		line["error"], line["status"], line["reason"] = "problem", problem.Status, problem.Reason
	default:
		return err
	}
	return nil
}

// tool does what its operation's calls say.
type tool struct {
	op   *operation
	spec runtime.Spec
	keys []string
}

func (t *tool) Spec() *runtime.Spec { return &t.spec }

func (t *tool) Call(_ context.Context, c *runtime.Call) (*runtime.Output, error) {
	t.keys = append(t.keys, c.Key)
	if len(t.keys) > len(t.op.Calls) {
		fmt.Fprintf(os.Stderr, "step %q was called %d times\n", t.op.Step, len(t.keys))
		os.Exit(70)
	}
	switch r := t.op.Calls[len(t.keys)-1]; {
	case r.Fail != nil:
		return nil, &runtime.Failure{Class: r.Fail.Class, Err: errors.New(r.Fail.Message)}
	case r.Throw != nil:
		return nil, errors.New(*r.Throw)
	case r.Unknown != nil:
		return nil, &runtime.Failure{Class: evidence.OutcomeUnknown, Err: errors.New(*r.Unknown)}
	case r.Crash != 0:
		os.Exit(r.Crash)
		return nil, nil
	case r.NoJSON:
		return &runtime.Output{Data: []byte(`{"value":`)}, nil
	default:
		return &runtime.Output{Data: r.Return}, nil
	}
}

// probed is a tool that can say what became of an attempt.
type probed struct{ *tool }

func (t probed) Probe(context.Context, *runtime.Call) (*runtime.Finding, error) {
	return &runtime.Finding{Status: t.op.Probe.Status, Output: &runtime.Output{Data: t.op.Probe.Output}}, nil
}

// model answers what its operation says.
type model struct {
	op    *operation
	calls int
}

func (m *model) Model() string { return m.op.Model }

func (m *model) Reason(context.Context, *runtime.Question) (*runtime.Thought, error) {
	m.calls++
	return &runtime.Thought{Choice: m.op.Think.Choice, Rationale: m.op.Think.Rationale, Cost: m.op.Think.Cost}, nil
}
