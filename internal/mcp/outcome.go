package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
	"ledgerd/internal/api"
)

// finish records what came of a call, and returns what the client hears of it.
func (g *gateway) finish(c *call, m *message) []byte {
	if c.unrecorded {
		return m.raw
	}
	r := g.outcome(c, m)
	if c.next != nil && c.before != nil { // that it was accepted is on record
		c.accepted = c.before.accepted
		g.waits(c)
		return m.withMeta(MetaEvidence, c.accepted.String())
	}
	id, err := g.report(c, r)
	if err != nil {
		g.stands(c, api.StepInDoubt)
		if g.Observe {
			return m.raw
		}
		return toolError(c.id, "In doubt: it was called, and what came of it could not be recorded: "+err.Error(), c.auth)
	}
	if c.adrift { // it may have been in doubt
		g.stands(c, api.StepSucceeded)
	}
	switch {
	case c.next != nil:
		c.accepted = id
		g.waits(c)
	case r.Status == evidence.StatusAccepted:
		g.mu.Lock()
		g.tasks[c.taskID] = c
		g.mu.Unlock()
	}
	if m.failed {
		return m.raw
	}
	return m.withMeta(MetaEvidence, id.String())
}

// outcome is what an answer says of a call.
func (g *gateway) outcome(c *call, m *message) api.ReportStep {
	r := api.ReportStep{Status: evidence.StatusSuccess}
	if m.failed {
		r.Status, r.Class = evidence.StatusFailure, evidence.ToolFailed
		if at, ok := member(m.raw, span{0, len(m.raw)}, "error"); ok {
			r.Output = g.output(at.of(m.raw))
		}
		return r
	}
	result := m.result.of(m.raw)
	r.Output = g.output(result)
	var said struct {
		IsError bool `json:"isError"`
		Task    *struct {
			ID string `json:"taskId"`
		} `json:"task"`
		asking
	}
	if err := json.Unmarshal(result, &said); err != nil {
		r.Status, r.Class = evidence.StatusFailure, evidence.ToolFailed
		return r
	}
	switch {
	case said.IsError:
		r.Status, r.Class = evidence.StatusFailure, evidence.ToolFailed
	case c.task && said.Task != nil && said.Task.ID != "":
		c.taskID = said.Task.ID
		r.Status = evidence.StatusAccepted
	default:
		if next := said.next(); next != nil {
			c.roundOutcome(&r, next)
		}
	}
	return r
}

// output is what is recorded of a result.
func (g *gateway) output(v jsontext.Value) []byte {
	out := g.Redact.redact(v)
	if len(out) <= maxOutput {
		return out
	}
	sum := sha256.Sum256(out)
	return fmt.Appendf(nil, `{"dev.ledgerd/too_large":{"sha256":%q,"size":%d}}`, base64.RawURLEncoding.EncodeToString(sum[:]), len(out))
}

// stands notes how a call stands, for the next one that is the same.
func (g *gateway) stands(c *call, state string) {
	if !c.unrecorded {
		g.Names.stands(g.Server, c.key, c.step, state)
	}
}

// report records the outcome of a call, and tries for a while.
func (g *gateway) report(c *call, r api.ReportStep) (evidence.ID, error) {
	if c.unrecorded {
		return evidence.ID{}, nil
	}
	r.Attempt, r.Source = c.attempt, evidence.SourceRuntime
	if r.Status != evidence.StatusNotRun && !c.began.IsZero() {
		took := time.Since(c.began).Milliseconds()
		r.TookMS = &took
	}
	if r.Error != "" {
		r.Error = g.Redact.text(r.Error)
	}
	most := reportFor
	if g.Observe {
		most = observeFor
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(g.ctx), most)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		out, err := g.Run.ReportStep(ctx, c.step, r)
		if err == nil {
			return out.Execution, nil
		}
		if !mayPass(err) {
			g.Log.Error("what came of a call is not recorded", "step", c.step, "error", err)
			return evidence.ID{}, err
		}
		select {
		case <-ctx.Done():
			g.Log.Error("what came of a call is not recorded", "step", c.step, "error", err)
			return evidence.ID{}, err
		case <-time.After(wait):
		}
	}
}

// mayPass reports whether a failure may be over in a while: what the daemon refused is
// not.
func mayPass(err error) bool {
	var p *api.Problem
	return !errors.As(err, &p) || p.Status >= 500
}
