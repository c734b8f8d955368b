package ledger

import (
	"errors"
	"fmt"
	"sync"
)

// A syncGroup makes what many callers wrote durable together. There is no timer:
// what arrives while a sync is under way shares the next one, so that a lone
// caller waits for nobody, and a hundred callers share what one of them pays. The
// names of one caller's files go with the contents of another's.
//
// A failed sync is final. The kernel may have dropped what was written before it
// and says so only once, so nothing is called durable from then on, until
// the vault is opened again and holds what is really there.
type syncGroup struct {
	fs  VaultFS
	dir string // of the vault

	mu        sync.Mutex
	gathering *syncRound // those who wait for the next sync; nil: nobody does; guarded by mu

	turn   sync.Mutex // held by who syncs
	failed error      // of the sync that was the last; guarded by turn
}

// A syncRound is one sync, and those who share it.
type syncRound struct {
	files []*staged           // whose content is to be durable
	dirs  map[string]struct{} // whose names are to be durable
	done  chan struct{}       // closed once err is set
	err   error
}

// wholeFrom is how many files and directories one sync of their whole file
// system is worth from.
const wholeFrom = 5

// sync returns once the contents of files and the names in dirs, as they were
// when it was called, are durable.
func (g *syncGroup) sync(files []*staged, dirs ...string) error {
	if len(files)+len(dirs) == 0 {
		return nil
	}
	g.mu.Lock()
	r := g.gathering
	first := r == nil
	if first {
		r = &syncRound{dirs: make(map[string]struct{}), done: make(chan struct{})}
		g.gathering = r
	}
	r.files = append(r.files, files...)
	for _, d := range dirs {
		r.dirs[d] = struct{}{}
	}
	g.mu.Unlock()
	if !first {
		<-r.done
		return r.err
	}
	// Whoever came first leads. Others join until it is its turn.
	g.turn.Lock()
	g.mu.Lock()
	g.gathering = nil
	g.mu.Unlock()
	if g.failed == nil {
		g.failed = g.run(r)
	}
	r.err = g.failed
	g.turn.Unlock()
	close(r.done)
	return r.err
}

// run syncs. The turn is held.
func (g *syncGroup) run(r *syncRound) error {
	if g.fs.SyncsAll() && len(r.files)+len(r.dirs) >= wholeFrom {
		if err := g.fs.SyncAll(g.dir); err != nil {
			return fmt.Errorf("payloads: %w", err)
		}
		return nil
	}
	// Side by side: the file system merges what it can.
	syncs := make([]func() error, 0, len(r.files)+len(r.dirs))
	for _, s := range r.files {
		syncs = append(syncs, s.sync)
	}
	for dir := range r.dirs {
		syncs = append(syncs, func() error { return g.fs.SyncDir(dir) })
	}
	errs := make([]error, min(16, len(syncs)))
	var wg sync.WaitGroup
	for w := 1; w < len(errs); w++ {
		wg.Go(func() { errs[w] = every(syncs[w:], len(errs)) })
	}
	errs[0] = every(syncs, len(errs))
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("payloads: %w", err)
	}
	return nil
}

// every calls each n-th function, the first included.
func every(all []func() error, n int) error {
	var errs []error
	for i := 0; i < len(all); i += n {
		errs = append(errs, all[i]())
	}
	return errors.Join(errs...)
}
