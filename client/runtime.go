package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/api"
	"ledgerd/ledger"
	"ledgerd/runtime"
)

// Runtime returns the daemon's ledger for a runtime in this process. Its token
// needs the rights to record, to read and to read payloads.
func Runtime(c *Client) runtime.Ledger { return &runtimeLedger{Client: c} }

// Handoffs returns the daemon's ledger for one side of handoffs. Its token needs the
// rights to record, to read and to read payloads.
func Handoffs(c *Client) handoff.Ledger { return &runtimeLedger{Client: c} }

// runtimeLedger has what a runtime needs beyond the client's own methods.
type runtimeLedger struct {
	*Client

	mu       sync.Mutex
	registry *audit.Registry // what was read of it; guarded by mu
	last     uint64          // index of its last record; guarded by mu
	told     told            // by the daemon last; guarded by mu
}

// told is what a daemon said of its registry: it is asked each time, and says so
// where that still holds.
type told struct {
	tag    string // "": nothing was told
	number int64
}

// ReadPayload implements [runtime.Ledger].
func (l *runtimeLedger) ReadPayload(ctx context.Context, commit evidence.Digest) (*evidence.Payload, error) {
	return l.Payload(ctx, commit)
}

// Children implements [runtime.Ledger].
func (l *runtimeLedger) Children(ctx context.Context, opened evidence.ID) iter.Seq2[evidence.RunID, error] {
	return runtime.RunsOf(l.Find(ctx, ledger.Filter{Parent: opened}))
}

// Lease takes or renews the lease of a run, as *ledger.Ledger does.
func (c *Client) Lease(ctx context.Context, run evidence.RunID, holder string, ttl time.Duration, takeOver bool) error {
	// What lasts less than a millisecond lasts one: 0 gives back.
	ms := (min(max(0, ttl), ledger.MaxLease) + time.Millisecond - 1).Milliseconds()
	err := c.sendJSON(ctx, http.MethodPut, strings.Replace(api.PathLease, "{run}", string(run), 1), api.Lease{Holder: holder, TTL: ms, TakeOver: takeOver})
	if p, ok := errors.AsType[*Problem](err); ok && p.Reason == api.ReasonLeased && p.Until != nil {
		return said{&ledger.LeaseError{Run: run, Until: *p.Until}, p}
	}
	return err
}

// registryKinds are the kinds of the registry's chain.
var registryKinds = []evidence.Kind{evidence.KindLedgerCreated, evidence.KindActorRegistered, evidence.KindActorRevoked}

// Actors implements [runtime.Ledger]: it asks the daemon each time, so that it
// misses no revocation, and folds the ledger's registry records, of
// which it reads those that it has not. Each has to be signed by who may, and to
// follow the one before; entry 0 is the daemon's word.
func (l *runtimeLedger) Actors(ctx context.Context) (*audit.Registry, error) {
	l.mu.Lock()
	now := l.told
	l.mu.Unlock()
	g, tag, err := l.registryUnless(ctx, now.tag)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if g != nil {
		now = told{tag, g.Number}
		l.told = now
	}
	if l.registry == nil {
		l.registry = audit.NewRegistry(g.Origin, evidence.ID{})
	}
	if l.registry.Number() >= now.number {
		return l.registry, nil
	}
	records, err := l.newRegistryRecords(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the registry: %w", err)
	}
	for _, p := range records {
		u, err := evidence.Parse(p.Entry)
		if err != nil {
			return nil, fmt.Errorf("registry: entry %d: %w", p.Index, err)
		}
		rec, _, err := l.registry.Check(p.Index, u)
		if err == nil {
			err = l.registry.Apply(p.Index, p.ID, rec)
		}
		if err != nil {
			return nil, fmt.Errorf("registry: entry %d: %w", p.Index, err)
		}
		l.last = p.Index
	}
	if found := l.registry.Number(); found < now.number {
		return nil, fmt.Errorf("registry: want %d records, as the daemon says, found %d", now.number+1, found+1)
	}
	return l.registry, nil
}

// newRegistryRecords returns the records of the registry's chain after the last
// that was read, in the order of the log. l.mu is held.
//
// The daemon is asked for one kind at a time, and the log grows meanwhile: where
// one kind is read before another's newest, what lies in between would be missing.
// So nothing counts that is beyond the first gap in the numbers.
func (l *runtimeLedger) newRegistryRecords(ctx context.Context) ([]evidence.Placed, error) {
	next := l.registry.Number() + 1
	var after *uint64
	if next > 0 {
		after = &l.last
	}
	var all []evidence.Placed
	for _, kind := range registryKinds {
		for p, err := range l.Find(ctx, ledger.Filter{Kind: kind, After: after}) {
			if err != nil {
				return nil, err
			}
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b evidence.Placed) int { return int(min(max(int64(a.Index)-int64(b.Index), -1), 1)) })
	for i, p := range all {
		if n := p.Record.Registry; n != nil && *n != next+int64(i) || n == nil && next+int64(i) != 0 {
			return all[:i], nil
		}
	}
	return all, nil
}
