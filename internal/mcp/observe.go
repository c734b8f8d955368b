package mcp

import (
	"context"
	"errors"
	"net/http"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/api"
)

// A gateway that observes holds nothing back by itself: what policies deny or have a
// human asked is recorded as that, with mode observe, and called; so is a tool that
// changed. What cannot be recorded is called all the same. Each time a line is logged.
//
// Whether it may is the daemon's to say. Where that answers that it may not, nothing is
// called: else whoever starts gateways could switch enforcement off. A handoff's scope
// and a run's budget are no policies, and hold.

const (
	// observeFor is how long a call, or its answer, is held up at most by a ledger out of
	// reach.
	observeFor = 10 * time.Second
	// maxNames is how many names are tried that other gateways of the run may just have
	// taken.
	maxNames = 20
)

// askAnew asks under a name that is nobody's yet: no call waits for another one's answer,
// or is held back for its doubt.
func (g *gateway) askAnew(ctx context.Context, c *call) (*api.Step, error) {
	ctx, cancel := context.WithTimeout(ctx, observeFor)
	defer cancel()
	for range maxNames {
		step, err := g.askOnce(ctx, c, 0)
		if err != nil {
			return nil, err
		}
		switch step.State {
		case api.StepAllowed, api.StepDenied, api.StepFailed:
			return step, nil
		}
	}
	return nil, errors.New("too many gateways ask for the same at once")
}

// mayNot reports whether the daemon refused to be asked so: by this token, or at all.
func mayNot(err error) bool {
	p := (*api.Problem)(nil)
	return errors.As(err, &p) && (p.Status == http.StatusUnauthorized || p.Reason == api.ReasonRight)
}

// observed says what would have been held back.
func (g *gateway) observed(c *call, step *api.Step) {
	if step.Effect == evidence.Allow {
		return
	}
	g.Log.Warn("not enforced: a call is not held back", "tool", step.Action, "effect", step.Effect, "policies", step.Policies, "evidence", step.Authorization)
}

// unrecorded gives a call to the server of which the ledger knows nothing.
func (g *gateway) unrecorded(ctx context.Context, c *call, send func([]byte) error, why error) []byte {
	g.Log.Warn("not recorded: a call is made of which the ledger knows nothing", "error", why)
	c.unrecorded = true
	return g.forward(ctx, c, send)
}
