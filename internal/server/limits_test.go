package server

import (
	"sync"
	"testing"
)

// TestGaugeCountsWhatIsInUse: what is refused is not counted for a moment, or others
// would be refused for it.
func TestGaugeCountsWhatIsInUse(t *testing.T) {
	g := &gauge{limit: 10}
	if !g.take(8) {
		t.Fatal("want a place, found none")
	}
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if g.take(5) {
						t.Error("took more than there is")
					}
				}
			}
		})
	}
	for range 200_000 {
		if n := g.n.Load(); n != 8 {
			t.Errorf("want 8 in use, found %d", n)
			break
		}
	}
	close(stop)
	all.Wait()
	if !g.take(2) || g.take(1) {
		t.Error("want room for two")
	}
}
