package server

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Idle is who had no request for the time, and none at work.
func TestIdle(t *testing.T) {
	const d = 8 * time.Minute
	for name, c := range map[string]struct {
		work func(w *work)
		last time.Duration // when the last request ended
	}{
		"nobody": {func(*work) {}, 0},
		"many short ones": {func(w *work) {
			for range 20 {
				time.Sleep(d / 2)
				w.begin()
				w.end()
			}
		}, 10 * d},
		"a long one": {func(w *work) {
			w.begin()
			time.Sleep(10 * d)
			w.end()
		}, 10 * d},
		"two at a time": {func(w *work) {
			w.begin()
			w.begin()
			time.Sleep(d)
			w.end()
			time.Sleep(d)
			w.end()
		}, 2 * d},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, began := new(Server), time.Now()
				go c.work(&s.work)
				if !s.Idle(t.Context(), d) {
					t.Fatal("want it to be idle in the end")
				}
				if took := time.Since(began) - c.last; took < d || took > d+2*d/looks { // a quarter more
					t.Errorf("want it to be idle %s after the last request, found %s", d, took)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), d/2)
		defer cancel()
		if new(Server).Idle(ctx, d) {
			t.Error("want no idleness of what has ended")
		}
	})
}
