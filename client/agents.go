package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"ledgerd/internal/api"
)

// The methods below drive runs as the token's agent, by the keys that it gave them.
// docs/http-api.md says what holds. A request that is sent again is the same request.

// OpenRun opens the run that a key stands for, or resumes it, as the token's agent;
// with Continues it accepts the offer that the run is to continue.
func (c *Client) OpenRun(ctx context.Context, key string, o api.OpenRun) (*api.RunState, error) {
	return post[api.RunState](ctx, c, http.MethodPut, runPath(api.PathRun, key), o)
}

// RunState returns where a run stands by its records.
func (c *Client) RunState(ctx context.Context, key string) (*api.RunState, error) {
	s := new(api.RunState)
	return s, c.getJSON(ctx, runPath(api.PathState, key), nil, s)
}

// AskStep asks for permission to do a step. Where a human has to give it, the answer
// comes when there is one, or wait has passed.
func (c *Client) AskStep(ctx context.Context, key, step string, a api.AskStep, wait time.Duration) (*api.Step, error) {
	var query url.Values
	if wait > 0 {
		query = url.Values{"wait": {wait.String()}}
	}
	return post[api.Step](ctx, c, http.MethodPut, stepPath(api.PathStep, key, step), a, query)
}

// Step returns what is recorded of a step, with its outcome. Nothing is asked.
func (c *Client) Step(ctx context.Context, key, step string) (*api.Step, error) {
	var s api.Step
	return &s, c.getJSON(ctx, stepPath(api.PathStep, key, step), nil, &s)
}

// ReportStep says what came of an attempt at a step.
func (c *Client) ReportStep(ctx context.Context, key, step string, r api.ReportStep) (*api.Outcome, error) {
	return post[api.Outcome](ctx, c, http.MethodPut, stepPath(api.PathOutcome, key, step), r)
}

// ClaimDone claims what was done in a run, resting on its steps.
func (c *Client) ClaimDone(ctx context.Context, key string, m api.MakeClaim) (*api.Claim, error) {
	return post[api.Claim](ctx, c, http.MethodPost, runPath(api.PathClaims, key), m)
}

// CloseRun ends a run.
func (c *Client) CloseRun(ctx context.Context, key string, e api.CloseRun) (*api.RunState, error) {
	return post[api.RunState](ctx, c, http.MethodPost, runPath(api.PathClose, key), e)
}

func runPath(path, key string) string { return strings.Replace(path, "{run}", key, 1) }

func stepPath(path, key, step string) string {
	return strings.Replace(runPath(path, key), "{step}", step, 1)
}

// post sends a value and returns the answer.
func post[Out, In any](ctx context.Context, c *Client, method, path string, in In, query ...url.Values) (*Out, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	r := &request{method: method, path: path, body: body, header: map[string]string{"Content-Type": api.MediaJSON}}
	for _, q := range query {
		r.query = q
	}
	out := new(Out)
	err = c.callJSON(ctx, r, out)
	return out, err
}

func decisionPath(key, name string) string {
	return strings.Replace(runPath(api.PathDecision, key), "{name}", name, 1)
}

func checkpointPath(key, name string) string {
	return strings.Replace(runPath(api.PathCheckpoint, key), "{name}", name, 1)
}
