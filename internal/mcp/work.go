package mcp

import "sync"

// work is what is under way. Unlike a sync.WaitGroup, it may be waited for while more
// begins: then until nothing is under way for a moment.
type work struct {
	mu   sync.Mutex
	n    int
	idle *sync.Cond // of mu; nil until somebody waits
}

// Go calls f in a goroutine.
func (w *work) Go(f func()) {
	w.mu.Lock()
	w.n++
	w.mu.Unlock()
	go func() {
		defer func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.n--
			if w.n == 0 && w.idle != nil {
				w.idle.Broadcast()
			}
		}()
		f()
	}()
}

// Wait waits until nothing is under way.
func (w *work) Wait() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idle == nil {
		w.idle = sync.NewCond(&w.mu)
	}
	for w.n > 0 {
		w.idle.Wait()
	}
}
