package server

import (
	"context"
	"sync/atomic"
	"time"
)

// work counts the requests that were begun, and those that are at work, streams and
// calls of the daemon's own tools among them.
type work struct {
	begun, now atomic.Int64
}

func (w *work) begin() { w.begun.Add(1); w.now.Add(1) }

func (w *work) end() { w.now.Add(-1) }

// looks is how often it is looked, in the time that nothing may happen in, whether
// something did.
const looks = 8

// Idle returns true once no request came and none was at work for d, or up to a
// quarter longer; false where ctx ended before.
//
// A connection without a request is idle. So is an agent that was permitted a step and
// has not reported it: nobody here sees whether it still works on it, and its report is
// as good at the next daemon.
func (s *Server) Idle(ctx context.Context, d time.Duration) bool {
	tick := time.NewTicker(max(d/looks, time.Millisecond))
	defer tick.Stop()
	seen, quiet := s.work.begun.Load(), 0
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
			// In this order: a request that begins and ends in between is one that came.
			busy, begun := s.work.now.Load() > 0, s.work.begun.Load()
			quiet++
			if busy || begun != seen {
				seen, quiet = begun, 0
			}
			if quiet > looks { // the first look only says from when on
				return true
			}
		}
	}
}
