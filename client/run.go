package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/runtime"
)

// OpenRun says what a run is for.
type OpenRun = api.OpenRun

// Run is a run that the daemon governs for a program elsewhere: this process has the
// model and the tools, the daemon the policies, the contract and the ledger. It is
// [runtime.Run] over HTTP, with the same tools and the same errors: a program goes on
// after a crash by being run again from the top.
//
// What its tools do is what this process says: their executions have the source
// reported, which counts for less than what a runtime saw.
//
// Every request is sent again, the same, where its answer was lost or the daemon had
// no room: up to 8 times.
type Run struct {
	// Wait is how long a step waits for a human at most before it is *[runtime.Waiting].
	Wait time.Duration

	c     *Client
	key   string
	state *api.RunState
}

// asker names this process to daemons: it gets the same permission again, and no other
// process does.
var asker = "process-" + rand.Text()

// Open opens the run of a key, or goes on with it, as the token's agent.
func (c *Client) Open(ctx context.Context, key string, o OpenRun) (*Run, error) {
	patient := *c
	patient.retry = maxAgain
	r := &Run{c: &patient, key: key}
	var err error
	r.state, err = again[api.RunState](ctx, r, http.MethodPut, runPath(api.PathRun, key), o, nil)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// ID is the run's.
func (r *Run) ID() evidence.RunID { return r.state.Run }

// Opened is where the run stood when it was opened.
func (r *Run) Opened() *api.RunState { return r.state }

// Decide puts a question to a model and records the answer. What was decided under the
// name already is returned, and nobody is asked.
func (r *Run) Decide(ctx context.Context, name string, model runtime.Reasoner, question []byte, context ...evidence.ID) (*runtime.Decision, error) {
	path := decisionPath(r.key, name)
	known, err := again[api.Decision](ctx, r, http.MethodGet, path, nil, nil)
	if err == nil {
		return &runtime.Decision{ID: known.ID, Choice: known.Choice, Replayed: true}, nil
	}
	if !isProblem(err, http.StatusNotFound) {
		return nil, err
	}
	thought, err := model.Reason(ctx, &runtime.Question{Name: name, Data: question, Try: 1})
	if err != nil {
		return nil, fmt.Errorf("decision %q: %w", name, err)
	}
	made, err := again[api.Decision](ctx, r, http.MethodPut, path, api.Decide{
		Model: model.Model(), Question: question, Choice: thought.Choice, Rationale: thought.Rationale, Context: context, Cost: thought.Cost,
	}, nil)
	if err != nil {
		return nil, err
	}
	return &runtime.Decision{ID: made.ID, Choice: made.Choice}, nil
}

// Context records what is laid before a model, and returns the record's ID.
func (r *Run) Context(ctx context.Context, sources ...runtime.Source) (evidence.ID, error) {
	var lay api.LayContext
	for _, s := range sources {
		one := api.ContextSource{Name: s.Name, Media: s.Media, Evidence: present(s.Evidence)}
		if s.Media == "" {
			one.Text = string(s.Data)
		} else {
			one.Data = s.Data
		}
		lay.Sources = append(lay.Sources, one)
	}
	laid, err := again[api.Laid](ctx, r, http.MethodPost, runPath(api.PathContext, r.key), lay, nil)
	if err != nil {
		return evidence.ID{}, err
	}
	return laid.ID, nil
}

// Checkpoint saves a state, any JSON value, under a name.
func (r *Run) Checkpoint(ctx context.Context, name string, state any) (evidence.ID, error) {
	saved, err := again[api.Checkpoint](ctx, r, http.MethodPut, checkpointPath(r.key, name), state, nil)
	if err != nil {
		return evidence.ID{}, err
	}
	return saved.ID, nil
}

// LastCheckpoint returns the last checkpoint; nil: there is none.
func (r *Run) LastCheckpoint(ctx context.Context) (*api.Checkpoint, error) {
	last, err := again[api.Checkpoint](ctx, r, http.MethodGet, runPath(api.PathLast, r.key), nil, nil)
	if isProblem(err, http.StatusNotFound) {
		return nil, nil
	}
	return last, err
}

// Claim claims what was done, resting on steps. A claim that may not leave as a
// completion is *[runtime.Unsupported]: it is on record, and so is the verdict.
func (r *Run) Claim(ctx context.Context, text string, steps ...string) (*api.Claim, error) {
	made, err := again[api.Claim](ctx, r, http.MethodPost, runPath(api.PathClaims, r.key), api.MakeClaim{Text: text, Steps: steps}, nil)
	if err != nil {
		return nil, err
	}
	if !made.Verdict.Holds {
		return nil, unsupported(&made.Verdict)
	}
	return made, nil
}

// Close ends the run as completed, on its last claim; *[runtime.Unsupported] where that
// does not hold.
func (r *Run) Close(ctx context.Context) (*api.RunState, error) {
	return r.end(ctx, api.CloseRun{})
}

// Stop ends the run as stopped or failed, for a reason: an identifier.
func (r *Run) Stop(ctx context.Context, end evidence.End, reason string) (*api.RunState, error) {
	return r.end(ctx, api.CloseRun{End: end, Reason: reason})
}

func (r *Run) end(ctx context.Context, how api.CloseRun) (*api.RunState, error) {
	state, err := again[api.RunState](ctx, r, http.MethodPost, runPath(api.PathClose, r.key), how, nil)
	if p, ok := errors.AsType[*Problem](err); ok && p.Verdict != nil {
		return nil, unsupported(p.Verdict)
	}
	return state, err
}

func unsupported(v *api.Verdict) error {
	return &runtime.Unsupported{Claim: v.Claim, Verdict: v.ID, Result: v.Result, Why: append(v.Why, v.Notes...)}
}

// maxAgain is how often a request is sent again.
const maxAgain = 8

// again sends a request until it is answered. 503 is waited for by the client below,
// as long as the daemon asks for.
func again[Out any](ctx context.Context, r *Run, method, path string, in any, query url.Values) (*Out, error) {
	q := &request{method: method, path: path, query: query}
	if in != nil {
		var err error
		if q.body, err = json.Marshal(in); err != nil {
			return nil, err
		}
		q.header = map[string]string{"Content-Type": api.MediaJSON}
	}
	delay := 100 * time.Millisecond
	for try := 0; ; try++ {
		out := new(Out)
		err := r.c.callJSON(ctx, q, out)
		p, answered := errors.AsType[*Problem](err)
		if err == nil || try >= maxAgain || answered && p.Reason != api.ReasonUnknown {
			return out, err
		}
		if waited := sleep(ctx, delay); waited != nil {
			return nil, errors.Join(err, waited)
		}
		delay = min(2*delay, 5*time.Second)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
