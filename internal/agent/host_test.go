package agent_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

// TestNoRunForMany: many at once who ask about a run that is not there hear so. They
// used to find each other's failure again, and again.
func TestNoRunForMany(t *testing.T) {
	h := daemontest.Init(t).Host(runtime.Config{Permit: runtime.PermitterFunc(runtimetest.AllowAll)}, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			_, err := h.Ask(ctx, daemontest.Agent, "none", "a", api.AskStep{Action: "act", Input: []byte(`{}`)}, 0)
			if !errors.Is(err, runtime.ErrNoRun) {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
