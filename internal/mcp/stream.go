package mcp

import "time"

// A server may end the stream by which it answers a call before the answer is in it, and
// a client may resume the stream: by a GET that names the last event that it has. Which
// stream it resumes only the server knows, so while any is open that was resumed, a call
// is not given up.

// streamEnded: the server has no more to say where it was given a call. If the answer is
// missing, it has to come within a time, by a stream that is resumed; else nobody knows
// what came of the call. An answer that comes later still settles that.
func (g *gateway) streamEnded(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.calls[id]; c != nil && c.forwarded && !c.ended {
		c.adrift = true
		g.miss(c)
	}
}

// resume counts a stream that a client resumes, until it has ended.
func (g *gateway) resume() (ended func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.resumed++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.resumed--
		for _, c := range g.calls {
			if c.adrift && !c.ended {
				g.miss(c)
			}
		}
	}
}

// miss gives a call up in a while, unless its answer comes, or a stream is resumed. g.mu
// is held.
func (g *gateway) miss(c *call) {
	c.until = time.Now().Add(g.resumeFor)
	time.AfterFunc(g.resumeFor, func() {
		g.mu.Lock()
		wait := c.ended || g.resumed > 0 || time.Now().Before(c.until)
		g.mu.Unlock()
		if !wait {
			g.doubt(c, "the server's answer ended before it was whole, and no stream was resumed that had the rest")
		}
	})
}
