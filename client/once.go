package client

import (
	"context"
	"sync"

	"ledgerd/internal/api"
	"ledgerd/runtime"
)

// What this process is doing, and did: an asker gets the same permission again, so it
// is here that no attempt is made twice.
var (
	working    keyed
	unreported sync.Map // made, by run, step and attempt: whose report was not answered
)

// made is an attempt that was made.
type made struct {
	report  api.ReportStep
	out     *runtime.Output
	failure *runtime.Failure
}

// keyed has a lock for each key.
type keyed struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed when it is given back; guarded by mu
}

// lock takes the lock of a key, and returns what gives it back.
func (k *keyed) lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		k.mu.Lock()
		held := k.held[key]
		if held == nil {
			if k.held == nil {
				k.held = make(map[string]chan struct{})
			}
			mine := make(chan struct{})
			k.held[key] = mine
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.held, key)
				k.mu.Unlock()
				close(mine)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
