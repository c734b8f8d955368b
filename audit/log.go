package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"sync"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// A Source serves a log as https://c2sp.org/tlog-tiles has it: an HTTP server, a
// directory, a ledger. It is called from several goroutines at once.
type Source interface {
	// Read returns what is served under a path below the log's prefix, without
	// a leading slash: "checkpoint", "tile/0/000", "tile/entries/000.p/3". It
	// must refuse what is longer than limit bytes.
	Read(ctx context.Context, path string, limit int64) ([]byte, error)
}

// HeadPath is where a log serves its newest tree head: the one place in which
// C2SP's word for it stands.
const HeadPath = "checkpoint"

const (
	tileBytes      = tlog.TileWidth * tlog.HashSize
	entryTileBytes = tlog.TileWidth * (2 + evidence.MaxEntry)
	// readAhead is how many bytes of entry tiles may be parsed and not folded yet;
	// parsed they take some four times as much.
	readAhead = 8 << 20
)

// A SourceError says that a log could not be read. What was not read is not
// decided.
type SourceError struct {
	Path string
	Err  error
}

func (e *SourceError) Error() string { return fmt.Sprintf("read %s: %v", e.Path, e.Err) }

// Unwrap returns the reason.
func (e *SourceError) Unwrap() error { return e.Err }

// VerifyLog audits a whole log: every entry, every tile that is served, every
// rule that needs no payload. Signatures are verified in parallel, rules folded
// in log order.
//
// Memory grows with the runs that are open at one time and the actions that are
// undecided in them, and by some bytes for each run that there ever was, for each
// authorization of an open run and each record beside its line, and for each
// record of an open run with a budget. Attempts that another followed and actions
// that succeeded are forgotten. Where a record refers to what was forgotten, as
// one that breaks a rule does, the log is read a second time, and Progress begins
// again; the runs of such records are then held whole.
//
// trust has to name one ledger, or the head's: the others of the file are left
// alone. It returns the state to give to the next audit of the log, from which the log
// can be followed where o asks to keep what that takes, some 40 bytes of each record of
// an open run and 16 of each run that is closed; nil where the report is broken or the
// log untrusted, the state that of another log, or hashes all that was looked at, for
// then the state before stays the last that was good. An error says that the log could not be read.
func VerifyLog(ctx context.Context, s Source, trust *bundle.Trust, o Options) (*Report, *LogState, error) {
	note, err := s.Read(ctx, HeadPath, tlog.MaxHead)
	if err != nil {
		return nil, nil, &SourceError{HeadPath, err}
	}
	head, err := trust.OpenHead(note)
	var form *bundle.FormatError
	if errors.As(err, &form) {
		return nil, nil, err
	}
	if head == nil {
		return unopened(note, trust, o, err), nil, nil
	}
	v, err := auditLog(ctx, s, trust, head, o, nil)
	if err == nil && len(v.a.lost) > 0 {
		whole := v.a.lost
		if v, err = auditLog(ctx, s, trust, head, o, whole); err == nil && len(v.a.lost) > 0 {
			err = &SourceError{HeadPath, errors.New("read a second time, the log served other entries")}
		}
	}
	var unread *SourceError
	if errors.As(err, &unread) && o.State != nil {
		if r := byHeads(trust, o.State, head); r.Rule(RuleConsistency).Status == Broken {
			return r, nil, nil
		}
	}
	if err != nil {
		return nil, nil, err
	}
	report := v.a.Report()
	if report.Status() == Broken || o.HashesOnly || o.State != nil && o.State.Origin != head.Ledger.Origin() {
		return report, nil, nil
	}
	return report, v.state(head), nil
}

// auditLog reads the log up to head. Runs are folded briefly, but for whole.
func auditLog(ctx context.Context, s Source, trust *bundle.Trust, head *bundle.Head, o Options, whole map[evidence.RunID]bool) (*logAudit, error) {
	v := &logAudit{source: s, opts: o, a: New(trust, head.Ledger.Origin(), nil, o)}
	if o.KeepState {
		v.keep = newKeeper()
	}
	v.a.forgetful(whole)
	if err := v.a.Head(head.Note); err != nil {
		return nil, err
	}
	if o.State != nil {
		v.prior(head)
	}
	return v, v.read(ctx, head)
}

// byHeads reports what the tree head that was seen and the newest one decide between
// them, of a log whose entries could not be read.
func byHeads(trust *bundle.Trust, seen *LogState, head *bundle.Head) *Report {
	v := &logAudit{opts: Options{State: seen}, a: New(trust, head.Ledger.Origin(), nil, Options{})}
	for _, note := range [][]byte{seen.Head, head.Note} {
		if err := v.a.Head(note); err != nil {
			break // in no form: it decides nothing
		}
	}
	v.prior(head)
	delete(v.a.tally.applies, RuleInclusion) // of no record
	return v.a.Report()
}

// unopened reports about a log whose head the trust file does not accept.
func unopened(note []byte, trust *bundle.Trust, o Options, err error) *Report {
	origin, _, _ := bytes.Cut(note, []byte("\n"))
	a := New(trust, string(origin), nil, o)
	if errors.Is(err, bundle.ErrUntrusted) {
		a.trusted = nil
		return a.Report()
	}
	a.scope.Heads = 1
	a.tally.add(headFinding(Broken, "", "a tree head signed by a log that the trust file names", err))
	return &Report{Rules: a.tally.results(a.asEnforced), Scope: a.scope}
}

type logAudit struct {
	source Source
	opts   Options
	a      *Auditor
	keep   *keeper // nil: nothing is kept for a state
	tree   tree
	roots  map[uint64]tlog.Hash
	served map[uint64][]byte // hash tiles of level 0 that were read ahead, by number
	gate   *gate
}

// prior requires that the log goes on from where it was.
func (v *logAudit) prior(head *bundle.Head) {
	st := v.opts.State
	v.a.tally.applies[RuleConsistency] = true
	switch {
	case st.Origin != v.a.origin:
		v.a.tally.add(Finding{Rule: RuleConsistency, Status: Undecidable, Reason: ReasonOrigin, Expected: "the state of an audit of " + v.a.origin, Found: st.Origin, Decides: "the state that belongs to this log"})
	case st.Size > head.Size:
		v.a.equivoc = append(v.a.equivoc, [2][]byte{st.Head, head.Note})
		v.a.tally.add(Finding{
			Rule: RuleConsistency, Status: Broken, Reason: ReasonRollback, Expected: fmt.Sprintf("a log of at least %d entries, as it was", st.Size),
			Found: fmt.Sprintf("%d: an older copy passes for it", head.Size),
		})
	}
}

// extended compares the root at the size of the state with what it was.
func (v *logAudit) extended(head *bundle.Head) {
	st := v.opts.State
	if st == nil || st.Origin != v.a.origin || st.Size > head.Size {
		return
	}
	if root := v.roots[st.Size]; root != st.Root {
		v.a.equivoc = append(v.a.equivoc, [2][]byte{st.Head, head.Note})
		reason := ReasonNotExtended
		if st.Size == head.Size {
			reason = ReasonTwoRoots
		}
		v.a.tally.add(Finding{
			Rule: RuleConsistency, Status: Broken, Reason: reason, Expected: fmt.Sprintf("root %v at size %d, as it was signed before", st.Root, st.Size),
			Found: root.String(),
		})
	}
}

// A job is one entry tile: read, parsed and verified on some goroutine, folded
// on one.
type job struct {
	n          uint64
	bytes      int // of the entry tile
	candidates []candidate
	tile       []byte // the hash tile of level 0 that covers it
	err        error
	done       chan struct{}
}

// read fetches all entries up to head and folds them in order.
func (v *logAudit) read(ctx context.Context, head *bundle.Head) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	v.roots = make(map[uint64]tlog.Hash)
	v.served = make(map[uint64][]byte)
	v.gate = newGate(readAhead)
	v.tree.full = func(t tlog.Tile, hashes []tlog.Hash) error { return v.compare(ctx, t, hashes) }
	workers := v.opts.Parallel
	if workers <= 0 {
		workers = goruntime.GOMAXPROCS(0)
	}
	// Jobs are in order; at most two a worker wait to be folded, and no more than
	// the gate lets pass.
	queue := make(chan *job, 2*workers)
	work := make(chan *job)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for range workers {
		wg.Go(func() {
			for j := range work {
				v.prepare(ctx, j, head.Size)
				close(j.done)
			}
		})
	}
	wg.Go(func() {
		defer close(work)
		defer close(queue)
		for n := uint64(0); n*tlog.TileWidth < head.Size; n++ {
			j := &job{n: n, done: make(chan struct{})}
			select {
			case queue <- j:
			case <-ctx.Done():
				return
			}
			select {
			case work <- j:
			case <-ctx.Done():
				j.err = ctx.Err()
				close(j.done)
				return
			}
		}
	})
	v.mark()
	for j := range queue {
		<-j.done
		if j.err != nil {
			return j.err
		}
		if err := v.fold(j); err != nil {
			return err
		}
		v.gate.leave(j.bytes)
		if v.opts.Progress != nil {
			v.opts.Progress(v.tree.size, head.Size)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := v.tree.partial(); err != nil {
		return err
	}
	v.roots[head.Size] = v.tree.root()
	v.extended(head)
	v.a.checkHeads(v.roots)
	return nil
}

// mark remembers the root at the size of the prior state when it is reached.
func (v *logAudit) mark() {
	if st := v.opts.State; st != nil && st.Size == v.tree.size {
		v.roots[st.Size] = v.tree.root()
	}
}

// prepare does what needs no order.
func (v *logAudit) prepare(ctx context.Context, j *job, size uint64) {
	width := int(min(size-j.n*tlog.TileWidth, tlog.TileWidth))
	path := tlog.EntryTilePath(j.n, width)
	data, err := v.source.Read(ctx, path, entryTileBytes)
	if err != nil {
		j.err = &SourceError{path, err}
		return
	}
	if err := v.gate.enter(ctx, j.n, len(data)); err != nil {
		j.err = err
		return
	}
	j.bytes = len(data)
	entries, err := tlog.ParseEntryTile(data, width)
	if err != nil {
		j.err = &SourceError{path, err}
		return
	}
	t := tlog.Tile{Level: 0, N: j.n, Width: width}
	if j.tile, err = v.source.Read(ctx, t.Path(), tileBytes); err != nil {
		j.err = &SourceError{t.Path(), err}
		return
	}
	if v.opts.HashesOnly {
		for i, entry := range entries {
			j.candidates = append(j.candidates, candidate{index: j.n*tlog.TileWidth + uint64(i), id: evidence.IDOf(entry)})
		}
		return
	}
	j.candidates = make([]candidate, len(entries))
	us, keys := make([]*evidence.Unverified, len(entries)), make([]*evidence.PublicKey, len(entries))
	for i, entry := range entries {
		c := &j.candidates[i]
		c.index = j.n*tlog.TileWidth + uint64(i)
		if c.u, c.err = evidence.Parse(entry); c.err != nil {
			c.id = evidence.IDOf(entry)
			continue
		}
		c.id = c.u.ID()
		// A key may be registered by an entry that is not folded yet; then the
		// fold verifies under it.
		us[i], keys[i] = c.u, v.a.registry.Key(c.u.KeyID())
	}
	for i, err := range evidence.VerifyEach(us, keys) {
		j.candidates[i].verified = keys[i] != nil && err == nil
	}
}

// fold takes the entries of a job in order.
func (v *logAudit) fold(j *job) error {
	v.served[j.n] = j.tile
	for i := range j.candidates {
		c := &j.candidates[i]
		if err := v.tree.append(tlog.Hash(c.id)); err != nil {
			return err
		}
		if v.opts.HashesOnly {
			v.a.scope.Records++
		} else {
			v.keep.add(v.a, c)
		}
		v.mark()
	}
	return nil
}

// compare holds a tile that the log serves to what the entries give.
func (v *logAudit) compare(ctx context.Context, t tlog.Tile, hashes []tlog.Hash) error {
	var data []byte
	if t.Level == 0 {
		data = v.served[t.N]
		delete(v.served, t.N)
	} else {
		var err error
		if data, err = v.source.Read(ctx, t.Path(), tileBytes); err != nil {
			return &SourceError{t.Path(), err}
		}
	}
	if len(data) != len(hashes)*tlog.HashSize {
		v.a.tally.add(tileFinding(t, fmt.Sprintf("%d bytes", len(hashes)*tlog.HashSize), fmt.Sprintf("%d", len(data)), nil))
		return nil
	}
	for i := range hashes {
		served := tlog.Hash(data[i*tlog.HashSize:])
		if served == hashes[i] {
			continue
		}
		var at []uint64
		if t.Level == 0 {
			at = []uint64{t.N*tlog.TileWidth + uint64(i)}
		}
		v.a.tally.add(tileFinding(t, fmt.Sprintf("hash %d to be %v, as the entries give it", i, hashes[i]), served.String(), at))
	}
	return nil
}

func tileFinding(t tlog.Tile, expected, found string, at []uint64) Finding {
	return Finding{Rule: RuleInclusion, Status: Broken, Reason: ReasonTile, Indexes: at, Expected: t.String() + ": " + expected, Found: found}
}
