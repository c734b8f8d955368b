package mcp

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/internal/api"
)

// Names are the names of a run's steps that are calls: SERVER:TOOL:INPUT:N for the n-th
// call of a tool with one input. The same call again, while the one before waits for a
// human or is in doubt, is the same step; else it is the next.
type Names struct {
	mu    sync.Mutex
	asked int
	same  map[string]*sameCalls // by tool and digest of the input
	known bool                  // same has those of the run's state

	rounds map[*call]bool // calls that wait for their next round
}

// sameCalls are the calls of one tool with one input.
type sameCalls struct {
	last int    // number of the last one
	open string // state of that one, if it is not over: waiting, in_doubt, or refused by a human and not told
	busy bool   // somebody asks for that one now
}

// errBusy says that the same call is being asked for.
var errBusy = errors.New("the same call is being asked for")

// next names a call. What other gateways of the run called before is read first. Of a
// step that is not over one call at a time is asked for, or one permission would be two
// calls': else it is errBusy. anew: no such step is taken up, and it is the next one.
func (n *Names) next(ctx context.Context, run Run, server, key string, anew bool) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.known {
		state, err := run.RunState(ctx)
		if err != nil {
			return "", err
		}
		if n.same == nil {
			n.same = make(map[string]*sameCalls)
		}
		for _, s := range state.Steps {
			n.read(server, s)
		}
		n.known = true
	}
	s := n.of(key)
	switch {
	case s.open == "" || anew:
		s.last++
		s.open = ""
	case s.busy:
		return "", errBusy
	default:
		s.busy = true
	}
	return stepName(server, key, s.last), nil
}

// count numbers what is asked.
func (n *Names) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	return n.asked
}

func (n *Names) of(key string) *sameCalls {
	s := n.same[key]
	if s == nil {
		s = new(sameCalls)
		n.same[key] = s
	}
	return s
}

func (n *Names) read(server string, step api.StepSummary) {
	key, number, ok := parseStepName(server, step.Step)
	if !ok {
		return
	}
	s := n.of(key)
	if number < s.last {
		return
	}
	untold := number > s.last && step.Refusal != nil // who asked may not have heard of it
	s.last, s.open = number, unfinished(step.State)
	if untold {
		s.open = step.State
	}
}

// waits notes that a call waits for a human, and that somebody waits for her answer: the
// same call again is no question of its own.
func (n *Names) waits(server, key, step string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.of(key); step == stepName(server, key, s.last) {
		s.open, s.busy = api.StepWaiting, true
	}
}

// stands notes how a call stands that was asked for; "": nobody knows, and it is read
// anew.
func (n *Names) stands(server, key, step, state string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.of(key)
	if state == "" {
		n.known = false
	}
	if step != stepName(server, key, s.last) {
		return // a later call of that name is asked for
	}
	s.busy = false
	if state != "" {
		s.open = unfinished(state)
	}
}

func unfinished(state string) string {
	if state == api.StepWaiting || state == api.StepInDoubt {
		return state
	}
	return ""
}

// stepName is the name of the n-th call of one tool with one input.
func stepName(server, key string, n int) string {
	return fmt.Sprintf("%s:%s:%d", server, strings.ReplaceAll(key, "/", "~"), n)
}

func parseStepName(server, step string) (key string, n int, ok bool) {
	rest, ok := strings.CutPrefix(step, server+":")
	if !ok {
		return "", 0, false
	}
	at := strings.LastIndexByte(rest, ':')
	if at < 0 {
		return "", 0, false
	}
	if _, err := fmt.Sscanf(rest[at:], ":%d", &n); err != nil || n < 1 {
		return "", 0, false
	}
	return strings.ReplaceAll(rest[:at], "~", "/"), n, true
}

func shortDigest(input jsontext.Value) string {
	v := append(jsontext.Value(nil), input...)
	_ = v.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)) // it was read already
	sum := sha256.Sum256(v)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
