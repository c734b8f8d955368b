package mcp

import (
	"context"
	"errors"
	"sync"
	"time"

	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/api"
)

// daemonRun is a run of a daemon's, opened when it is first needed.
type daemonRun struct {
	dial func(context.Context) (*client.Client, error)
	what api.OpenRun
	key  func(context.Context) (string, error)

	mu    sync.Mutex
	c     *client.Client    // nil: not reached yet
	at    string            // the key of the run that is open; "": none yet
	asked map[string]string // by step that is permitted and not reported to its end: the key of its run
}

// DaemonRun returns the run of a daemon's that key names. It is opened with the first
// call, or joined. key is asked each time: an agent that begins anew, or goes on after
// the end of its run, does so in another one.
func DaemonRun(c *client.Client, key func(context.Context) (string, error), what api.OpenRun) Run {
	return &daemonRun{c: c, key: key, what: what, asked: make(map[string]string)}
}

// LateRun is DaemonRun of a daemon that is out of reach: dial is tried with each use,
// until it is there.
func LateRun(dial func(context.Context) (*client.Client, error), key func(context.Context) (string, error), what api.OpenRun) Run {
	return &daemonRun{dial: dial, key: key, what: what, asked: make(map[string]string)}
}

// ready returns the key of a run that is open. ended is the key of one that is not.
func (r *daemonRun) ready(ctx context.Context, ended string) (*client.Client, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	if r.c == nil {
		if r.c, err = r.dial(ctx); err != nil {
			return nil, "", err
		}
	}
	key, err := r.key(ctx)
	if err != nil {
		return nil, "", err
	}
	if key == r.at && key != ended {
		return r.c, key, nil
	}
	_, err = r.c.OpenRun(ctx, key, r.what)
	if err != nil && reasonOf(err) != api.ReasonChanged { // else another program of the session opened it, and said more of it
		return nil, "", err
	}
	r.at = key
	return r.c, key, nil
}

func (r *daemonRun) AskStep(ctx context.Context, step string, a api.AskStep, wait time.Duration) (*api.Step, error) {
	c, key, err := r.ready(ctx, "")
	if err != nil {
		return nil, err
	}
	got, err := c.AskStep(ctx, key, step, a, wait)
	if reasonOf(err) == api.ReasonEnded {
		if c, key, err = r.ready(ctx, key); err != nil {
			return nil, err
		}
		got, err = c.AskStep(ctx, key, step, a, wait)
	}
	if err == nil && got.State == api.StepAllowed {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.asked[step] = key
	}
	return got, err
}

func (r *daemonRun) ReportStep(ctx context.Context, step string, rep api.ReportStep) (*api.Outcome, error) {
	r.mu.Lock()
	c, key := r.c, r.at // another gateway's, where it was not asked here
	if asked, ok := r.asked[step]; ok {
		key = asked
	}
	r.mu.Unlock()
	out, err := c.ReportStep(ctx, key, step, rep)
	if err == nil && rep.Status != evidence.StatusAccepted && rep.Status != evidence.StatusUnknown {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.asked, step)
	}
	return out, err
}

func (r *daemonRun) RunState(ctx context.Context) (*api.RunState, error) {
	c, key, err := r.ready(ctx, "")
	if err != nil {
		return nil, err
	}
	return c.RunState(ctx, key)
}

func (r *daemonRun) Step(ctx context.Context, step string) (*api.Step, error) {
	c, key, err := r.ready(ctx, "")
	if err != nil {
		return nil, err
	}
	return c.Step(ctx, key, step)
}

func reasonOf(err error) string {
	if p := (*client.Problem)(nil); errors.As(err, &p) {
		return p.Reason
	}
	return ""
}
