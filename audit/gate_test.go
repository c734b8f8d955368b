package audit

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// TestGate: what is read ahead waits while too much is, and never the job that
// the fold waits for.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		g := newGate(10)
		var passed [4]bool
		var last error
		enter := func(n uint64, bytes int) {
			go func() {
				err := g.enter(ctx, n, bytes)
				passed[n] = err == nil
				if err != nil {
					last = err
				}
			}()
			synctest.Wait()
		}
		is := func(want [4]bool) {
			t.Helper()
			if passed != want {
				t.Errorf("passed %v, want %v", passed, want)
			}
		}
		enter(1, 8)
		enter(2, 8)
		is([4]bool{false, true})
		enter(0, 100) // larger than all, and first
		is([4]bool{true, true})
		g.leave(100)
		synctest.Wait()
		is([4]bool{true, true})
		g.leave(8)
		synctest.Wait()
		is([4]bool{true, true, true})
		enter(3, 8)
		cancel()
		synctest.Wait()
		is([4]bool{true, true, true})
		if !errors.Is(last, context.Canceled) {
			t.Errorf("%v", last)
		}
	})
}
