package mcp

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

const (
	// ownID begins the ids of the gateway's own requests.
	ownID = "ledgerd:"
	// maxHeard bounds the answers that a session may say again.
	maxHeard = 4096
)

// heard are the answers that were passed on in a session over HTTP, where a server says
// again what a client that comes back has not heard.
type heard struct {
	again map[string]answerer // by id: what takes the answer when it comes again; nil: it passes
	order []string
}

// reserve takes an id for a request of the client's, so that the answer under it is the
// answer to that one.
func (g *gateway) reserve(id string) error {
	if strings.HasPrefix(id, `"`+ownID) {
		return fmt.Errorf("the gateway's own ids begin with %s", ownID)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, asked := g.asked[id]; asked || g.calls[id] != nil {
		return fmt.Errorf("a request under the id %s is not answered yet", clip([]byte(id)))
	}
	g.asked[id] = nil
	return nil
}

// release gives the ids of requests back that have no answer any more, so that they may be
// asked again. The id of an answer is the server's: the client may have asked something else
// under it.
func (g *gateway) release(all ...*message) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range all {
		if m.method != "" {
			delete(g.asked, m.id)
		}
	}
}

// unasked takes an answer that nobody waits for: one that was heard before and comes
// again is the same to the client. Any other is not heard, for a client might take it for
// the answer to what it is about to ask.
func (g *gateway) unasked(id string) answerer {
	if g.heard != nil {
		if f, ok := g.heard.again[id]; ok {
			return f
		}
	}
	g.Log.Warn("an answer to what the server was not asked is dropped", "id", clip([]byte(id)))
	return nothing
}

// hear notes that an answer was passed on. The caller holds g.mu.
func (g *gateway) hear(id string, again answerer) {
	if g.heard == nil {
		return
	}
	if _, ok := g.heard.again[id]; !ok {
		g.heard.order = append(g.heard.order, id)
	}
	g.heard.again[id] = again
	if len(g.heard.order) > maxHeard {
		delete(g.heard.again, g.heard.order[0])
		g.heard.order = slices.Delete(g.heard.order, 0, 1)
	}
}

// finishAndHear records what came of a call. The same answer again is the same to the
// client, and is not recorded twice; another one is no answer.
func (g *gateway) finishAndHear(c *call, m *message) []byte {
	reply := g.finish(c, m)
	if g.heard == nil {
		return reply
	}
	at := 0
	for at < len(m.raw) && at < len(reply) && m.raw[at] == reply[at] {
		at++
	}
	rest := 0 // as many bytes are the same at the end
	for rest < len(m.raw)-at && rest < len(reply)-at && m.raw[len(m.raw)-1-rest] == reply[len(reply)-1-rest] {
		rest++
	}
	// Of the call and its answer no more is kept than that: they may be large.
	sum, step, changed := sha256.Sum256(m.raw), c.step, bytes.Clone(reply[at:len(reply)-rest])
	again := func(m *message) []byte {
		if sha256.Sum256(m.raw) != sum {
			g.Log.Warn("another answer to a call that is answered is dropped", "step", step)
			return nil
		}
		return slices.Concat(m.raw[:at], changed, m.raw[len(m.raw)-rest:])
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hear(c.id, again)
	return reply
}
