package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// ExportOptions says what a bundle is about: a run, a record or an offer, or a
// contiguous range of the log. Exactly one of them.
type ExportOptions struct {
	Run    evidence.RunID // the run, whole
	Record evidence.ID    // the record, with its run up to it
	Offer  evidence.ID    // the offer, with the giver's run up to it

	// From and To are a range of indexes, To beyond the last; To 0 is the size
	// of the log. All is such a range from 0 on.
	From, To uint64
	All      bool
	// FromTime and ToTime are a range of times, ToTime beyond the last. What is
	// exported is the least contiguous range that has all records of that time.
	FromTime, ToTime evidence.Time

	// Heads are tree heads that this log signed before, as signed notes: with them
	// in it, the bundle proves that the newest one extends them. One that the log
	// does not extend is an error.
	Heads [][]byte

	// NoHandoffs withholds the bundles that acceptances commit to: of those who handed
	// over the work, and of those before them.
	NoHandoffs bool
	// Hide says which payloads are withheld. It is asked for each commitment
	// that stands in a record. nil: none is. Records are never withheld.
	Hide func(*evidence.Record, evidence.Commitment) bool
}

// ErrOtherHead: the log does not extend a tree head that an export is to prove it
// extends.
var ErrOtherHead = errors.New("an earlier tree head that is not this log's")

// hidden is o.Hide with what NoHandoffs withholds.
func (o *ExportOptions) hidden() func(*evidence.Record, evidence.Commitment) bool {
	if !o.NoHandoffs {
		return o.Hide
	}
	return func(r *evidence.Record, c evidence.Commitment) bool {
		b, ok := r.Body.(*evidence.HandoffAccepted)
		return ok && b.Bundle == c || o.Hide != nil && o.Hide(r, c)
	}
}

// Hidden withholds every payload.
func Hidden(*evidence.Record, evidence.Commitment) bool { return true }

// Export writes a bundle: the newest tree head, the whole registry, the records
// that it is about with the payloads that the vault holds and o does not hide,
// and the Merkle nodes that connect them with the head.
//
// With a run come the acceptances that it takes up, and the erasures of its
// payloads. With a range come the records, from before it, of the runs that have
// any in it.
//
// What was written before an error is no bundle. ErrNoRecord, before anything
// is written, says that there is nothing to be about.
func (l *Ledger) Export(ctx context.Context, w io.Writer, o ExportOptions) error {
	head := l.Head()
	e := &export{ledger: l, ctx: ctx, size: head.Size, want: make(map[uint64]struct{}), hide: o.hidden()}
	header, err := e.choose(o)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	before, err := l.headsBefore(ctx, o.Heads, head.Size)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	b := bundle.NewWriter(w, header, func(lo, hi uint64) (tlog.Hash, error) { return l.log.RangeRoot(ctx, lo, hi) })
	for _, h := range append(before, head) {
		if err := b.Head(h.Note); err != nil {
			return err
		}
	}
	for index, err := range e.indexes() {
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		if err := e.record(b, index); err != nil {
			return fmt.Errorf("export: %w", err)
		}
	}
	return b.Close()
}

// headsBefore verifies earlier tree heads of this log, and returns those that are
// smaller than the newest, the smallest first, each size once.
func (l *Ledger) headsBefore(ctx context.Context, notes [][]byte, size uint64) ([]*tlog.SignedHead, error) {
	var heads []*tlog.SignedHead
	for _, note := range notes {
		h, err := tlog.ParseHead(note, l.verifier)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrOtherHead, err)
		}
		if h.Size > size {
			return nil, fmt.Errorf("%w: expected a size of at most %d, found %d: this log is older than that head, or another", ErrOtherHead, size, h.Size)
		}
		root := tlog.EmptyRoot
		if h.Size > 0 {
			if root, err = l.log.RangeRoot(ctx, 0, h.Size); err != nil {
				return nil, err
			}
		}
		if root != h.Root {
			return nil, fmt.Errorf("%w: at size %d expected the root %s, found %s: keep it, for this log signed both", ErrOtherHead, h.Size, root, h.Root)
		}
		if h.Size > 0 && h.Size < size {
			heads = append(heads, h)
		}
	}
	slices.SortFunc(heads, func(a, b *tlog.SignedHead) int { return cmp.Compare(a.Size, b.Size) })
	return slices.CompactFunc(heads, func(a, b *tlog.SignedHead) bool { return a.Size == b.Size }), nil
}

// An export gathers what a bundle holds: single records, and one range.
type export struct {
	ledger   *Ledger
	ctx      context.Context
	size     uint64 // of the tree that the bundle connects to
	want     map[uint64]struct{}
	from, to uint64 // a range, beside want
	hide     func(*evidence.Record, evidence.Commitment) bool
}

func (e *export) choose(o ExportOptions) (bundle.Header, error) {
	about := 0
	for _, is := range []bool{
		o.Run != "", !o.Record.IsZero(), !o.Offer.IsZero(), o.FromTime != 0 || o.ToTime != 0, o.All || o.From != 0 || o.To != 0,
	} {
		if is {
			about++
		}
	}
	if about != 1 {
		return bundle.Header{}, errors.New("expected one of a run, a record, an offer, a range of indexes and a range of times")
	}
	if err := e.addRegistry(); err != nil {
		return bundle.Header{}, err
	}
	origin := e.ledger.origin
	switch {
	case o.Run != "":
		n, err := e.addRun(o.Run, e.size)
		if err == nil && n == 0 {
			err = fmt.Errorf("%w of %s", ErrNoRecord, o.Run)
		}
		return bundle.RunHeader(origin, o.Run), err
	case !o.Record.IsZero():
		_, err := e.addRecord(o.Record)
		return bundle.RecordHeader(origin, o.Record), err
	case !o.Offer.IsZero():
		p, err := e.addRecord(o.Offer)
		if err == nil && p.Record.Kind != evidence.KindHandoffOffered {
			err = fmt.Errorf("%w: expected the offer %s, found a %s", ErrNoRecord, o.Offer, p.Record.Kind)
		}
		return bundle.OfferHeader(origin, o.Offer), err
	}
	e.from, e.to = o.From, o.To
	if o.FromTime != 0 || o.ToTime != 0 {
		var err error
		if e.from, e.to, err = e.timeSpan(o.FromTime, o.ToTime); err != nil {
			return bundle.Header{}, err
		}
	} else if e.to == 0 {
		e.to = e.size
	}
	if e.from >= e.to || e.to > e.size {
		return bundle.Header{}, fmt.Errorf("%w in the range from %d to %d, the log's size is %d", ErrNoRecord, e.from, e.to, e.size)
	}
	return bundle.RangeHeader(origin, e.from, e.to), e.addRunsBefore()
}

func (e *export) add(index uint64) { e.want[index] = struct{}{} }

func (e *export) addRegistry() error {
	for p, err := range e.ledger.registryRecords(e.ctx) {
		if err != nil {
			return err
		}
		if p.Index < e.size {
			e.add(p.Index)
		}
	}
	return nil
}

// addRun adds the records of a run below end, and what they rest on outside of
// it.
func (e *export) addRun(id evidence.RunID, end uint64) (n int, err error) {
	for index, err := range e.ledger.candidates(e.ctx, Filter{Run: id}, end) {
		if err != nil {
			return n, err
		}
		p, err := e.ledger.At(e.ctx, index)
		if err != nil {
			return n, err
		}
		e.add(index)
		n++
		if err := e.addOutside(p.Record); err != nil {
			return n, err
		}
	}
	return n, nil
}

// addOutside adds the acceptances that a record takes up, and the erasures of its
// payloads.
func (e *export) addOutside(r *evidence.Record) error {
	switch b := r.Body.(type) {
	case *evidence.RunOpened:
		if err := e.addAcceptance(b.Acceptance, func(*evidence.HandoffAccepted) bool { return true }); err != nil {
			return err
		}
	case *evidence.Context:
		for i := range b.Sources {
			// What else it names as evidence is none of the run's.
			ours := func(b *evidence.HandoffAccepted) bool { return b.Opens == r.Run && b.Acceptance.IsZero() }
			if err := e.addAcceptance(b.Sources[i].Evidence, ours); err != nil {
				return err
			}
		}
	}
	for _, c := range r.Commitments() {
		switch index, err := e.ledger.erasedAt(e.ctx, c.Commit); {
		case err == nil && index < e.size:
			e.add(index)
		case err != nil && !errors.Is(err, ErrNoPayload):
			return err
		}
	}
	return nil
}

// addAcceptance adds the record of that ID where it is such an acceptance.
func (e *export) addAcceptance(id evidence.ID, is func(*evidence.HandoffAccepted) bool) error {
	if id.IsZero() {
		return nil
	}
	index, ok, err := e.ledger.indexOf(e.ctx, id)
	if err != nil || !ok || index >= e.size {
		return err
	}
	p, err := e.ledger.At(e.ctx, index)
	if err != nil {
		return err
	}
	if b, ok := p.Record.Body.(*evidence.HandoffAccepted); ok && is(b) {
		e.add(index)
	}
	return nil
}

func (e *export) addRecord(id evidence.ID) (evidence.Placed, error) {
	p, err := e.ledger.Get(e.ctx, id)
	if err == nil && p.Index >= e.size {
		err = fmt.Errorf("%w: %s", ErrNoRecord, id)
	}
	if err != nil {
		return p, err
	}
	e.add(p.Index)
	if p.Record.Run == "" {
		return p, nil
	}
	_, err = e.addRun(p.Record.Run, p.Index+1)
	return p, err
}

// addRunsBefore adds, of every run with a record in the range, what stands
// before it.
func (e *export) addRunsBefore() error {
	runs := make(map[runKey]struct{})
	for p, err := range e.ledger.Records(e.ctx, e.from, e.to) {
		if err != nil {
			return err
		}
		if p.Record.Run == "" {
			continue
		}
		run, err := keyOfRun(p.Record.Run)
		if err != nil {
			return err
		}
		runs[run] = struct{}{}
	}
	if e.from == 0 {
		return nil
	}
	for run := range runs {
		for _, kind := range []byte{rowLine, rowBeside} {
			for index, err := range e.ledger.runIndexes(e.ctx, kind, run, 0, e.from) {
				if err != nil {
					return err
				}
				e.add(index)
			}
		}
	}
	return nil
}

// timeSpan returns the least range that has every record of a time.
func (e *export) timeSpan(from, to evidence.Time) (lo, hi uint64, err error) {
	lo = none
	for p, err := range e.ledger.Find(e.ctx, Filter{From: from, To: to}) {
		if err != nil {
			return 0, 0, err
		}
		if p.Index >= e.size {
			break
		}
		lo, hi = min(lo, p.Index), p.Index+1
	}
	return lo, hi, nil
}

// indexes yields what the bundle holds, in the order of the log.
func (e *export) indexes() func(yield func(uint64, error) bool) {
	single := slices.Sorted(maps.Keys(e.want))
	return func(yield func(uint64, error) bool) {
		for at := e.from; ; {
			switch {
			case len(single) > 0 && (at == e.to || single[0] <= at):
				index := single[0]
				single = single[1:]
				if index >= e.from && index < at {
					continue // it came with the range
				}
				if at < e.to && index == at {
					at++
				}
				if !yield(index, e.ctx.Err()) {
					return
				}
			case at < e.to:
				if !yield(at, e.ctx.Err()) {
					return
				}
				at++
			default:
				return
			}
		}
	}
}

// record writes one record and the payloads that are disclosed with it.
func (e *export) record(b *bundle.Writer, index uint64) error {
	p, err := e.ledger.At(e.ctx, index)
	if err != nil {
		return err
	}
	if err := b.Record(index, p.Entry); err != nil {
		return err
	}
	for _, c := range p.Record.Commitments() {
		if e.hide != nil && e.hide(p.Record, c) {
			continue
		}
		if err := e.payload(b, c); err != nil {
			return fmt.Errorf("record %d: %w", index, err)
		}
	}
	return nil
}

// payload discloses a payload that the vault holds. One that was erased, or
// never given to this ledger, is left out: the auditor sees that.
func (e *export) payload(b *bundle.Writer, c evidence.Commitment) error {
	f, err := e.ledger.vault.Open(c.Commit)
	if errors.Is(err, ErrNoPayload) {
		return nil
	}
	if err != nil {
		return err
	}
	if f.Size != c.Size {
		// Whoever signed the record was wrong about it; so it is shown.
		c.Size = f.Size
	}
	return errors.Join(b.Payload(c, f.Salt, f), f.Close())
}
