package mcp

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
	"ledgerd/internal/api"
)

// Since 2026-07-28 a server may answer a call by asking for input, and the client calls
// again with what it was asked for, and with the state that the server gave it. Nothing
// is done before that: it is one call, which the server accepted, and what it comes to is
// the answer to the last round. Nobody is asked for permission again.

// inputRequired is the result type of such an answer.
const inputRequired = "input_required"

const (
	// maxRounds bounds the calls that wait for their next round.
	maxRounds = 1000
	// roundFor is how long one waits: as long as a human may take who is asked.
	roundFor = callFor
)

// round is what a server asked for.
type round struct {
	state string // to be sent again; "": none
	asks  bool   // it asks for something
}

// asking are the members of a result that say so. They may be anything.
type asking struct {
	Type  jsontext.Value `json:"resultType"`
	Asks  jsontext.Value `json:"inputRequests"`
	State jsontext.Value `json:"requestState"`
}

// next is what a result asks for; nil: nothing, it is complete.
func (r *asking) next() *round {
	var of, state string
	var asks map[string]jsontext.Value
	if len(r.Type) == 0 || json.Unmarshal(r.Type, &of) != nil || of != inputRequired {
		return nil
	}
	if len(r.State) > 0 && json.Unmarshal(r.State, &state) != nil || len(r.Asks) > 0 && json.Unmarshal(r.Asks, &asks) != nil {
		return nil
	}
	return &round{state: state, asks: len(asks) > 0}
}

// roundOutcome is what an answer that asks for input says of a call. One that asks for
// nothing, and gives no state, only sends the client away for a while.
func (c *call) roundOutcome(r *api.ReportStep, next *round) {
	if !next.asks && next.state == "" {
		r.Status, r.Class = evidence.StatusFailure, evidence.RateLimited
		return
	}
	c.next = next
	r.Status = evidence.StatusAccepted
}

// waits has a call wait for its next round; where none can come any more that is what
// came of it.
func (g *gateway) waits(c *call) {
	root := g.root()
	root.mu.Lock()
	c.of = root
	kept := !root.gone && g.Names.wait(c)
	root.mu.Unlock()
	if !kept {
		_, _ = g.report(c, noRound)
		return
	}
	time.AfterFunc(roundFor, func() {
		if g.Names.drop(c) {
			_, _ = g.report(c, noRound)
		}
	})
}

// wait keeps a call until its next round; false: too many wait.
func (n *Names) wait(c *call) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.rounds == nil {
		n.rounds = make(map[*call]bool)
	}
	if len(n.rounds) >= maxRounds {
		return false
	}
	n.rounds[c] = true
	return true
}

// round takes the call of which another one is the next round: the same tool and input,
// at the same gateway, with the state that the server gave; nil: it is a call of its own.
func (n *Names) round(g *gateway, c *call) *call {
	n.mu.Lock()
	defer n.mu.Unlock()
	for before := range n.rounds {
		if before.of == g && before.key == c.key && before.next.state == c.state {
			delete(n.rounds, before)
			return before
		}
	}
	return nil
}

// drop takes a call that waits; false: it does not any more.
func (n *Names) drop(c *call) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	waits := n.rounds[c]
	delete(n.rounds, c)
	return waits
}

// left takes the calls whose next round a gateway waits for.
func (n *Names) left(g *gateway) []*call {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []*call
	for c := range n.rounds {
		if c.of == g {
			all = append(all, c)
			delete(n.rounds, c)
		}
	}
	return all
}

// root is the gateway whose client this one's is.
func (g *gateway) root() *gateway {
	if g.shared != nil {
		return g.shared
	}
	return g
}

// goesOn makes a call the next round of one that the server accepted.
func (g *gateway) goesOn(c *call) bool {
	if c.state == "" && !c.answers {
		return false
	}
	before := g.Names.round(g.root(), c)
	if before == nil {
		return false
	}
	c.step, c.attempt, c.auth, c.before = before.step, before.attempt, before.auth, before
	return true
}

// notGiven reports that a call did not get to the server. Where it was a further round,
// that can come again.
func (g *gateway) notGiven(c *call) {
	if c.before != nil {
		g.waits(c.before)
		return
	}
	_, _ = g.report(c, api.ReportStep{Status: evidence.StatusNotRun})
}

// leave reports what comes of calls whose next round will not come.
func (g *gateway) leave() {
	for _, c := range g.Names.left(g) {
		g.work.Go(func() { _, _ = g.report(c, noRound) })
	}
}

// noRound is what came of a call whose client did not call again.
var noRound = api.ReportStep{Status: evidence.StatusFailure, Class: evidence.ToolFailed, Error: "the server asked for input, and was not called again"}
