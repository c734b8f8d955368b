package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	goruntime "runtime"
	"slices"
	"sync"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// A Follower audits a log as it grows. It reads each entry once: what is new is
// hashed on to the tree that was seen, has to give the root of the next tree head,
// and is judged by what came before it. So every tree head is shown to extend the
// last one.
//
// It holds the records of runs that are open, those of the runs that they were
// started from or that were started from them, the registry, and offers and
// acceptances of handoffs; and 16 bytes of each other run that there was. What it
// leaves as its state is without the records' content: who goes on from it reads
// that again, and no other entry.
//
// A Follower is used from one goroutine.
type Follower struct {
	source Source
	trust  *bundle.Trust
	opts   Options
	last   *LogState // what is audited and not broken; nil: nothing

	log *logAudit // nil: to be made from last
}

// A Step is what one look at a log found.
type Step struct {
	Report *Report
	Head   []byte // the tree head that was looked at
	// Grown says that the tree head is a new one, of which everything was read.
	Grown bool
	// Stranger says that the tree head is of another log than the one that was
	// followed, or is signed by nobody whom the trust file names.
	Stranger bool
	// Waits is why a tree head that the log signed is not accepted yet: too few
	// witnesses cosigned it. Nothing of it was read.
	Waits error
}

// Follow returns a Follower of a log: from its beginning, or from the state that
// [Follower.State] or [VerifyLog] left. Of o, Parallel and Progress count.
func Follow(s Source, trust *bundle.Trust, state *LogState, o Options) (*Follower, error) {
	o.State = nil
	f := &Follower{source: s, trust: trust, opts: o, last: state}
	if state == nil {
		return f, nil
	}
	h, err := trust.OpenHead(state.Head)
	if h == nil || err != nil && !errors.Is(err, bundle.ErrQuorum) {
		return nil, fmt.Errorf("state: expected a tree head that the trust file accepts: %w", err)
	}
	if h.Size != state.Size || h.Root != state.Root || h.Ledger.Origin() != state.Origin {
		return nil, errors.New("state: expected what its tree head says, found another size, root or origin")
	}
	t, err := treeOf(state)
	if err != nil {
		return nil, err
	}
	if t.root() != state.Root {
		return nil, fmt.Errorf("state: expected tiles that give the root %v, found such that give %v", state.Root, t.root())
	}
	for i, k := range state.Kept {
		if k.Index >= state.Size || i > 0 && k.Index <= state.Kept[i-1].Index {
			return nil, errors.New("state: expected rising indexes below its size")
		}
	}
	for _, s := range state.Signed {
		if s.Index >= state.Size {
			return nil, errors.New("state: expected indexes below its size")
		}
	}
	return f, nil
}

// treeOf returns the tree of which a state has the right edge.
func treeOf(st *LogState) (*tree, error) {
	t := &tree{size: st.Size}
	for l := 0; l < len(st.Tiles) || st.Size>>(tlog.TileHeight*l) > 0; l++ {
		want := int(st.Size >> (tlog.TileHeight * l) % tlog.TileWidth)
		if l >= len(st.Tiles) || len(st.Tiles[l]) != want {
			return nil, fmt.Errorf("state: expected %d hashes in the open tile of level %d", want, l)
		}
		t.rows = append(t.rows, slices.Clone(st.Tiles[l]))
	}
	for l := len(t.rows) - 1; l >= 0; l-- {
		for row := t.rows[l]; len(row) > 0; {
			var sub tree // a full subtree of the hashes that are left
			width := 1
			for 2*width <= len(row) {
				width *= 2
			}
			sub.full = func(tlog.Tile, []tlog.Hash) error { return nil }
			for _, h := range row[:width] {
				if err := sub.append(h); err != nil {
					return nil, err
				}
			}
			t.peaks = append(t.peaks, peak{uint8(l*tlog.TileHeight) + sub.peaks[0].level, sub.peaks[0].hash})
			row = row[width:]
		}
	}
	return t, nil
}

// State returns what to go on from; nil before anything was audited. It is that of
// the last step in which nothing was broken.
func (f *Follower) State() *LogState { return f.last }

// Next reads the newest tree head and what is new under it. After a step whose
// report is broken the Follower is not to be used again. An error says that the log
// could not be read: the next call goes on from the step before.
func (f *Follower) Next(ctx context.Context) (*Step, error) {
	note, err := f.source.Read(ctx, HeadPath, tlog.MaxHead)
	if err != nil {
		return nil, &SourceError{HeadPath, err}
	}
	head, err := f.trust.OpenHead(note)
	var form *bundle.FormatError
	switch {
	case errors.As(err, &form):
		return nil, err
	case head == nil:
		return &Step{Report: unopened(note, f.trust, f.opts, err), Head: note, Stranger: true}, nil
	}
	seen := f.last
	if seen != nil && seen.Origin != head.Ledger.Origin() {
		v := &logAudit{opts: Options{State: seen}, a: New(f.trust, head.Ledger.Origin(), nil, Options{})}
		v.prior(head)
		return &Step{Report: v.a.Report(), Head: note, Stranger: true}, nil
	}
	again := seen != nil && seen.Size == head.Size && seen.Root == head.Root
	smaller := seen != nil && seen.Size >= head.Size && !again
	if err != nil && !smaller {
		return &Step{Waits: err, Head: note}, nil
	}
	step, err := f.look(ctx, head, again)
	if err != nil {
		f.log = nil // what was read of it is not shown to be of its tree
		return nil, err
	}
	return step, nil
}

func (f *Follower) look(ctx context.Context, head *bundle.Head, again bool) (*Step, error) {
	if f.log == nil {
		if err := f.start(ctx, head); err != nil {
			return nil, err
		}
	}
	v := f.log
	if v.a.tally.worst[RuleInclusion] == Broken { // what was kept is not there any more
		return &Step{Report: v.a.interim(), Head: head.Note}, nil
	}
	v.a.heads = nil
	if err := v.a.Head(head.Note); err != nil {
		return nil, err
	}
	if again {
		v.a.checkHeads(map[uint64]tlog.Hash{head.Size: v.tree.root()})
		return &Step{Report: v.a.interim(), Head: head.Note}, nil
	}
	if f.last != nil {
		v.opts.State = f.last
		v.prior(head)
		// Two tree heads decide it, whether or not the log still serves an entry.
		if f.last.Size >= head.Size {
			return &Step{Report: v.a.interim(), Head: head.Note}, nil
		}
	}
	same, err := f.readOn(ctx, head)
	if err != nil {
		return nil, err
	}
	if !same {
		return &Step{Report: v.a.interim(), Head: head.Note}, nil
	}
	v.a.checkHeads(map[uint64]tlog.Hash{head.Size: v.tree.root()})
	v.a.met = map[headAt]headSeen{{v.a.origin, head.Size}: {head, head.Note, nil}}
	r := v.a.interim()
	if r.Status() != Broken {
		f.last = v.state(head)
	}
	return &Step{Report: r, Head: head.Note, Grown: true}, nil
}

// start makes the auditor, and has it read what the state keeps.
func (f *Follower) start(ctx context.Context, head *bundle.Head) error {
	origin, t := head.Ledger.Origin(), &tree{}
	if f.last != nil {
		var err error
		if t, err = treeOf(f.last); err != nil {
			return err
		}
		origin = f.last.Origin
	}
	v := &logAudit{source: f.source, opts: f.opts, a: New(f.trust, origin, nil, Options{}), keep: newKeeper(), tree: *t, served: make(map[uint64][]byte)}
	f.log = v
	if f.last == nil {
		return nil
	}
	h, err := f.trust.OpenHead(f.last.Head)
	if h == nil {
		return err
	}
	v.a.met = map[headAt]headSeen{{origin, h.Size}: {h, h.Note, nil}}
	v.a.tally.applies[RuleInclusion] = true
	if head.Size < h.Size || head.Size == h.Size && head.Root != h.Root {
		return nil // the tree heads decide, and the log has not these entries
	}
	return f.readKept(ctx, head.Size)
}

// readKept has the auditor read, from a log of that size, what the state keeps.
func (f *Follower) readKept(ctx context.Context, size uint64) error {
	v := f.log
	var entries [][]byte
	for i, tile := 0, uint64(0); i < len(f.last.Kept); i++ {
		k := f.last.Kept[i]
		if n := k.Index / tlog.TileWidth; entries == nil || n != tile {
			var err error
			if entries, err = f.entryTile(ctx, n, size); err != nil {
				return err
			}
			tile = n
		}
		entry := entries[k.Index%tlog.TileWidth]
		if id := evidence.IDOf(entry); id != k.ID {
			v.a.tally.add(Finding{
				Rule: RuleInclusion, Status: Broken, Reason: ReasonTile, Records: []evidence.ID{k.ID}, Indexes: []uint64{k.Index},
				Expected: fmt.Sprintf("entry %d to be what it was", k.Index), Found: id.String(),
			})
			break // one is enough
		}
		u, err := evidence.Parse(entry)
		v.keep.add(v.a, &candidate{index: k.Index, id: k.ID, u: u, err: err})
	}
	broken := v.a.tally.found[RuleInclusion]
	newer := slices.DeleteFunc(v.a.tally.found[RuleSignature], func(f Finding) bool { return f.Reason != ReasonNewer })
	v.a.tally = newTally() // it was judged the first time
	v.a.tally.applies[RuleInclusion] = true
	v.a.tally.add(broken...)
	v.a.tally.add(newer...) // which was not
	v.a.scope.Records, v.a.scope.From, v.a.scope.To, v.a.scope.Since = 0, 0, 0, f.last.Size
	v.resume(f.last)
	return nil
}

// entryTile reads a tile of entries as a log of that size has it.
func (f *Follower) entryTile(ctx context.Context, n, size uint64) ([][]byte, error) {
	width := int(min(size-n*tlog.TileWidth, tlog.TileWidth))
	path := tlog.EntryTilePath(n, width)
	data, err := f.source.Read(ctx, path, entryTileBytes)
	if err != nil {
		return nil, &SourceError{path, err}
	}
	entries, err := tlog.ParseEntryTile(data, width)
	if err != nil {
		return nil, &SourceError{path, err}
	}
	return entries, nil
}

// readOn reads the entries from the tree's size to the head's. It ends where those
// before them are not what they were.
func (f *Follower) readOn(ctx context.Context, head *bundle.Head) (same bool, err error) {
	v := f.log
	ctx, cancel := context.WithCancel(ctx)
	v.tree.full = func(t tlog.Tile, hashes []tlog.Hash) error { return v.compare(ctx, t, hashes) }
	workers := uint64(max(v.opts.Parallel, 0))
	if workers == 0 {
		workers = uint64(goruntime.GOMAXPROCS(0))
	}
	first, end := v.tree.size/tlog.TileWidth, (head.Size+tlog.TileWidth-1)/tlog.TileWidth
	v.gate = newGate(readAhead)
	v.gate.next = first
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	begin := func(n uint64) *job {
		j := &job{n: n, done: make(chan struct{})}
		wg.Go(func() {
			v.prepare(ctx, j, head.Size)
			close(j.done)
		})
		return j
	}
	var line []*job
	for n := first; n < end; n++ {
		for next := n + uint64(len(line)); next < end && len(line) < int(workers); next++ {
			line = append(line, begin(next))
		}
		j := line[0]
		line = line[1:]
		<-j.done
		if j.err != nil {
			return false, j.err
		}
		if same, err := f.foldOn(j); !same || err != nil {
			return false, err
		}
		v.gate.leave(j.bytes)
		if v.opts.Progress != nil {
			v.opts.Progress(v.tree.size, head.Size)
		}
	}
	if v.tree.root() != head.Root {
		return true, nil // its tiles are those of another tree
	}
	return true, v.tree.partial()
}

// foldOn takes the entries of a job that are new. Those before them have to be what
// they were.
func (f *Follower) foldOn(j *job) (same bool, err error) {
	v := f.log
	v.served[j.n] = j.tile
	for i := range j.candidates {
		c := &j.candidates[i]
		if c.index < v.tree.size {
			if was := v.tree.rows[0][i]; was != tlog.Hash(c.id) {
				v.a.tally.add(Finding{
					Rule: RuleInclusion, Status: Broken, Reason: ReasonTile, Indexes: []uint64{c.index},
					Expected: fmt.Sprintf("entry %d to be what it was, %v", c.index, evidence.ID(was)), Found: c.id.String(),
				})
				return false, nil
			}
			continue
		}
		if err := v.tree.append(tlog.Hash(c.id)); err != nil {
			return false, err
		}
		v.keep.add(v.a, c)
	}
	return true, nil
}

// interim reports as things stand, and leaves the auditor as it is.
func (a *Auditor) interim() *Report {
	t, scope := a.tally.clone(), a.scope
	r := a.Report()
	a.tally, a.scope = t, scope
	return r
}

func (t *tally) clone() *tally {
	c := &tally{maps.Clone(t.applies), make(map[Rule][]Finding), maps.Clone(t.omitted), maps.Clone(t.note), maps.Clone(t.worst)}
	for rule, found := range t.found {
		c.found[rule] = slices.Clone(found)
	}
	return c
}
