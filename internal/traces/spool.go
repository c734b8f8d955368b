package traces

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ledgerd/internal/wholefile"
)

// What is answered is on disk: each export is a file, as it came, after a line that says
// whose it is, until its traces are written.
//
// A trace is written as a set of spans, and a crash may leave a part of the run in the
// ledger. The same set, written again, adds what is missing; another set is another run.
// So a mark names the exports that a set is of before it is written, and after a crash it
// is written from those. When that is done the mark says so, and lies as long as one of
// its exports does, which may wait for another trace.

// export is what came in one request.
type export struct {
	actor  string
	name   string   // of its file
	known  []string // spans in it that were written before it came
	kept   bool     // it is on disk; guarded by the receiver's mu, as what follows
	size   int      // bytes on disk, or on their way there
	waits  int      // traces of it that are not written
	marks  []*mark
	failed bool // something of it could not be written
}

// mark is a set that is written, or was.
type mark struct {
	name    string
	exports int // of it, that are on disk
}

// exportLine is the first line of an export's file.
type exportLine struct {
	Actor string   `json:"actor"`
	JSON  bool     `json:"json,omitempty"`
	Known []string `json:"known,omitempty"` // spans that are written already
}

// markFile is what a mark's file says.
type markFile struct {
	Actor   string   `json:"actor"`
	Trace   string   `json:"trace"`
	Exports []string `json:"exports"`
	Odd     []string `json:"odd,omitempty"` // of these, what is no span belongs to the set
}

const (
	exportSuffix = ".spans"
	markSuffix   = ".mark"
	doneSuffix   = ".done"   // of marks whose set is written
	failedSuffix = ".failed" // of exports that could not be written: for the operator to look at
)

// spool is the directory of exports and marks.
type spool struct {
	dir   string
	last  uint64 // number of the last name that was given
	fault func(op, name string, did bool) error
}

// name returns a name that sorts after all that were given before.
func (s *spool) name(suffix string) string {
	s.last++
	return fmt.Sprintf("%016d%s", s.last, suffix)
}

// write writes a file that is there when write returns no error, and otherwise not, as
// far as that can be told.
func (s *spool) write(name string, b []byte) error {
	err := s.change("write", name, func() error { return wholefile.Write(filepath.Join(s.dir, name), b, false) })
	if err != nil {
		_ = s.remove(name) // it may be there, and not be durable
	}
	return err
}

func (s *spool) rename(name, to string) error {
	return s.change("rename", name, func() error { return os.Rename(filepath.Join(s.dir, name), filepath.Join(s.dir, to)) })
}

func (s *spool) remove(name string) error {
	return s.change("remove", name, func() error { return os.Remove(filepath.Join(s.dir, name)) })
}

// sync makes durable what was renamed and removed.
func (s *spool) sync() error {
	return s.change("sync", "", func() error { return wholefile.SyncDir(s.dir) })
}

func (s *spool) change(op, name string, do func() error) error {
	if s.fault == nil {
		return do()
	}
	if err := s.fault(op, name, false); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return s.fault(op, name, true)
}

// list returns the names of exports and marks, in the order in which they were given,
// and removes what a crash left half written.
func (s *spool) list() (exports, marks []string, err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, nil, err
	}
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range files {
		name := f.Name()
		var n uint64
		if _, err := fmt.Sscanf(name, "%016d", &n); err == nil {
			s.last = max(s.last, n)
		}
		switch {
		case strings.HasPrefix(name, ".0"):
			_ = os.Remove(filepath.Join(s.dir, name))
		case strings.HasSuffix(name, exportSuffix):
			exports = append(exports, name)
		case strings.HasSuffix(name, markSuffix), strings.HasSuffix(name, doneSuffix):
			marks = append(marks, name)
		}
	}
	return exports, marks, nil
}

// keep makes an export durable that is held. Where none of it was new there is nothing to
// keep; where that fails nothing of it is held any more.
func (r *Receiver) keep(e *export, body []byte, isJSON bool) error {
	line, err := json.Marshal(exportLine{e.actor, isJSON, e.known})
	if err != nil {
		return err
	}
	r.mu.Lock()
	waits := e.waits
	if waits == 0 {
		r.lies(e, 0)
	}
	r.mu.Unlock()
	if waits == 0 {
		return nil
	}
	if err := r.spool.write(e.name, slices.Concat(line, []byte{'\n'}, body)); err != nil {
		r.drop(e)
		return err
	}
	r.mu.Lock()
	e.kept = true
	r.mu.Unlock()
	r.settle(e) // all of it may have been written meanwhile, from an export that held the same
	return nil
}

// drop holds nothing of an export any more, which is not kept, so that no writing of it
// has begun.
func (r *Receiver) drop(e *export) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lies(e, 0)
	for k, h := range r.held {
		if !slices.Contains(h.exports, e) {
			continue
		}
		h.exports = slices.DeleteFunc(slices.Clone(h.exports), func(x *export) bool { return x == e })
		h.spans = slices.DeleteFunc(slices.Clone(h.spans), func(s heldSpan) bool {
			if s.of == e {
				r.count(k, h, -len(s.encoded)-overhead)
			}
			return s.of == e
		})
		h.odd = slices.DeleteFunc(slices.Clone(h.odd), func(o oddPart) bool {
			if o.of == e {
				r.count(k, h, -len(o.data))
			}
			return o.of == e
		})
		if len(h.exports) == 0 {
			r.release(k, h)
		}
	}
}

// finish says of a mark that its set is written.
func (r *Receiver) finish(m *mark) error {
	to := strings.TrimSuffix(m.name, markSuffix) + doneSuffix
	if m.name == to {
		return nil
	}
	if err := r.spool.rename(m.name, to); err != nil {
		return err
	}
	m.name = to
	return r.spool.sync()
}

// settle removes the exports of which everything is written, and the marks that are of
// none any more. What fails here is looked at again at the next start.
func (r *Receiver) settle(exports ...*export) {
	var done, marks []string
	fail := make(map[string]bool)
	r.mu.Lock()
	for _, e := range exports {
		if !e.kept || e.waits > 0 {
			continue
		}
		e.kept = false
		r.lies(e, 0)
		done = append(done, e.name)
		fail[e.name] = e.failed
		for _, m := range e.marks {
			if m.exports--; m.exports == 0 {
				marks = append(marks, m.name)
			}
		}
	}
	r.mu.Unlock()
	var err error
	for _, name := range done {
		if fail[name] {
			err = errors.Join(err, r.spool.rename(name, name+failedSuffix))
		} else {
			err = errors.Join(err, r.spool.remove(name))
		}
	}
	if len(marks) > 0 && err == nil {
		// A mark is not gone before its exports are.
		err = r.spool.sync()
		for _, name := range marks {
			if err == nil {
				err = r.spool.remove(name)
			}
		}
	}
	if err != nil {
		r.log.Warn("spans that are written are still kept", "dir", r.spool.dir, "error", err.Error())
	}
}

// load holds again what lies in the spool.
func (r *Receiver) load() error {
	names, marks, err := r.spool.list()
	if err != nil {
		return err
	}
	all := make(map[string]*loaded)
	for _, name := range names {
		x, err := r.read(name)
		if err != nil {
			r.log.Error("spans cannot be read: the file is left alone", "file", filepath.Join(r.spool.dir, name), "error", err.Error())
			continue
		}
		all[name] = x
	}
	for _, name := range marks {
		if err := r.loadMark(name, all); err != nil {
			return err
		}
	}
	for _, name := range names {
		if x := all[name]; x != nil {
			r.add(x.actor, x.spans, x.odd, x.export)
			r.settle(x.export)
		}
	}
	return nil
}

// loaded is an export that was read again, and what of it is not held yet.
type loaded struct {
	*export
	spans []inTrace
	odd   []byte
}

func (r *Receiver) read(name string) (*loaded, error) {
	b, err := os.ReadFile(filepath.Join(r.spool.dir, name))
	if err != nil {
		return nil, err
	}
	first, body, ok := bytes.Cut(b, []byte{'\n'})
	var line exportLine
	if err := json.Unmarshal(first, &line); err != nil || !ok {
		return nil, fmt.Errorf("want a line that says whose the spans are, and the spans: %w", err)
	}
	spans, odd, err := r.decode(body, line.JSON)
	if err != nil {
		return nil, err
	}
	if len(line.Known) > 0 {
		known := make(map[string]bool)
		for _, s := range line.Known {
			known[s] = true
		}
		spans = slices.DeleteFunc(spans, func(s inTrace) bool { return known[s.name()] })
	}
	e := &export{actor: line.Actor, name: name, kept: true}
	r.lies(e, len(body))
	return &loaded{e, spans, odd}, nil
}

// loadMark holds the set of a mark, to be written as it was begun. What of its exports is
// written already is known, and not held.
func (r *Receiver) loadMark(name string, all map[string]*loaded) error {
	b, err := os.ReadFile(filepath.Join(r.spool.dir, name))
	if err != nil {
		return err
	}
	var f markFile
	if err := json.Unmarshal(b, &f); err != nil {
		r.log.Error("a mark cannot be read: the file is left alone", "file", filepath.Join(r.spool.dir, name), "error", err.Error())
		return nil
	}
	k, m := key{f.Actor, f.Trace}, &mark{name: name}
	done := strings.HasSuffix(name, doneSuffix)
	for _, of := range f.Exports {
		x := all[of]
		if x == nil {
			continue // removed: all of it is written
		}
		m.exports++
		x.marks = append(x.marks, m)
		var own []inTrace
		x.spans = slices.DeleteFunc(x.spans, func(s inTrace) bool {
			if s.trace == f.Trace {
				own = append(own, s)
			}
			return s.trace == f.Trace
		})
		var odd []byte
		if slices.Contains(f.Odd, of) {
			odd, x.odd = x.odd, nil
		}
		if !done {
			r.add(f.Actor, own, odd, x.export)
			continue
		}
		for _, s := range own {
			r.known(spanKey{k, s.id})
		}
	}
	switch h := r.held[k]; {
	case m.exports == 0:
		return errors.Join(r.spool.sync(), r.spool.remove(name)) // the exports are gone for good first
	case !done && h != nil:
		h.begun = &begun{mark: m, spans: len(h.spans), odd: len(h.odd), exports: len(h.exports)}
	}
	return nil
}
