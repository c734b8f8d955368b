package policy

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"ledgerd/evidence"
	"ledgerd/runtime"
)

// Options say how policies are enforced.
type Options struct {
	// Observe records what would be denied or asked, and enforces nothing.
	Observe bool
	Logger  *slog.Logger // slog.Default() if nil
}

// Permitter decides with the policies of a directory. Its methods may be called
// from any goroutine.
type Permitter struct {
	dir  string
	fsys fs.FS
	opts Options
	set  atomic.Pointer[Set]

	mu     sync.Mutex // serialises loading
	loaded [32]byte   // of the files that the set was read from; mu
}

var _ runtime.Permitter = (*Permitter)(nil)

// Open reads the policies in a directory.
func Open(dir string, opts Options) (*Permitter, error) {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	p := &Permitter{dir: dir, fsys: os.DirFS(dir), opts: opts}
	files, err := read(p.fsys)
	if err == nil {
		err = p.load(files)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return p, nil
}

// Set returns the set in force.
func (p *Permitter) Set() *Set { return p.set.Load() }

// Permit implements [runtime.Permitter].
func (p *Permitter) Permit(_ context.Context, r *runtime.PermissionRequest) (runtime.Permission, error) {
	s := p.set.Load()
	d := s.Decide(r)
	mode := evidence.Enforce
	if p.opts.Observe {
		mode = evidence.Observe
	}
	return runtime.Permission{Effect: d.Effect, Mode: mode, Policies: d.Policies, Set: s.doc, Errors: d.Errors, Team: d.Team}, nil
}

// Reload reads the directory again. Where anything in it is wrong, the set that
// was in force stays so, and the error says what is wrong.
func (p *Permitter) Reload() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	files, err := read(p.fsys)
	if err == nil {
		err = p.load(files)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", p.dir, err)
		p.opts.Logger.Error("policies not reloaded: the old ones stay in force", "error", err, "set", p.Set().digest)
		return err
	}
	return nil
}

// load puts what files say in force. p.mu is held, but by Open.
func (p *Permitter) load(files []source) error {
	s, err := parse(files)
	if err != nil {
		return err
	}
	p.loaded = fingerprint(files)
	if old := p.set.Swap(s); old == nil || old.digest != s.digest {
		p.opts.Logger.Info("policies loaded", "dir", p.dir, "policies", len(s.byID), "entities", len(s.entities), "set", s.digest)
	}
	return nil
}

// fingerprint is of what the files say: their times are coarser than an editor.
func fingerprint(files []source) [32]byte {
	h := sha256.New()
	for _, f := range files {
		_, _ = fmt.Fprintf(h, "%q %d\n", f.name, len(f.data))
		_, _ = h.Write(f.data)
	}
	return [32]byte(h.Sum(nil))
}

// Watch reloads the directory when it has changed, until the context ends. Files
// are read every interval, and a change is taken over once two readings in a row
// agree: half a file can be a sound file with a forbid less. What is wrong is
// logged once, and the old set stays in force.
func (p *Permitter) Watch(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	w := watcher{Permitter: p}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look()
		}
	}
}

// watcher is one Watch's memory.
type watcher struct {
	*Permitter
	seen    [32]byte // by the last reading
	refused [32]byte // already said to be wrong
	failed  string   // the last error of a reading
}

// look reads the directory once.
func (w *watcher) look() {
	files, err := read(w.fsys)
	if err != nil {
		if err.Error() != w.failed {
			w.failed = err.Error()
			w.opts.Logger.Error("policies cannot be read: the old ones stay in force", "error", err, "set", w.Set().digest)
		}
		return
	}
	w.failed = ""
	now := fingerprint(files)
	settled := now == w.seen
	w.seen = now
	w.mu.Lock()
	defer w.mu.Unlock()
	if !settled || now == w.loaded || now == w.refused {
		return
	}
	if err := w.load(files); err != nil {
		w.refused = now
		w.opts.Logger.Error("policies not reloaded: the old ones stay in force", "error", fmt.Errorf("%s: %w", w.dir, err), "set", w.Set().digest)
		return
	}
	w.refused = [32]byte{}
}
