package audit

import (
	"context"
	"sync"
)

// A gate bounds the bytes that are read ahead of the fold: full entry tiles take
// from some 50 KB to 16 MB. Jobs have numbers; the one that the fold waits for
// always passes, whatever its size.
type gate struct {
	most int // bytes

	mu   sync.Mutex
	wake *sync.Cond
	held int    // bytes of jobs that passed and are not folded yet
	next uint64 // the job that the fold waits for
}

func newGate(most int) *gate {
	g := &gate{most: most}
	g.wake = sync.NewCond(&g.mu)
	return g
}

// enter waits until job n may go on with that many bytes, or ctx is done.
func (g *gate) enter(ctx context.Context, n uint64, bytes int) error {
	stop := context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.wake.Broadcast()
	})
	defer stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	for n != g.next && g.held+bytes > g.most {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		g.wake.Wait()
	}
	g.held += bytes
	return nil
}

// leave says that the job that the fold waited for is folded.
func (g *gate) leave(bytes int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held -= bytes
	g.next++
	g.wake.Broadcast()
}
