package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// A Filter says which records are looked for: those that meet every condition.
// A zero condition is none.
type Filter struct {
	Run    evidence.RunID
	Actor  string
	Action string // of authorizations and executions
	Kind   evidence.Kind
	Parent evidence.ID   // of run.opened: the record that the run continues
	Offer  evidence.ID   // of handoff.accepted: the offer
	Known  string        // the handoff.accepted that names the largest tree head of this other ledger: one at most, the last in the log where it is named again
	From   evidence.Time // not before, by the record's own time
	To     evidence.Time // before
	After  *uint64       // only beyond this index: the last of the page before
	Limit  int           // at most so many; 0: all
}

// Find yields the records that meet f in the order of the log. It shows the log
// as durable when it is called; the next page goes on from After.
func (l *Ledger) Find(ctx context.Context, f Filter) iter.Seq2[evidence.Placed, error] {
	return func(yield func(evidence.Placed, error) bool) {
		found := 0
		for p, err := range l.readAhead(ctx, l.candidates(ctx, f, l.Head().Size), f.Limit) {
			if err == nil && !f.meets(p.Record) {
				// Times are indexed by the minute, and nothing else is
				// looked for too widely.
				if f.meetsButTime(p.Record) {
					continue
				}
				err = &IndexError{tlog.Row{Key: []byte{rowPosting}}, fmt.Sprintf("a %s of %s at index %d, which does not meet %+v", p.Record.Kind, p.Record.Actor, p.Index, f)}
			}
			if !yield(p, err) || err != nil {
				return
			}
			if found++; found == f.Limit {
				return
			}
		}
	}
}

func (f *Filter) meets(r *evidence.Record) bool {
	return f.meetsButTime(r) && (f.From == 0 || r.Time >= f.From) && (f.To == 0 || r.Time < f.To)
}

func (f *Filter) meetsButTime(r *evidence.Record) bool {
	return (f.Run == "" || r.Run == f.Run) && (f.Actor == "" || r.Actor == f.Actor) &&
		(f.Action == "" || actionOf(r) == f.Action) && (f.Kind == "" || r.Kind == f.Kind) &&
		(f.Parent.IsZero() || parentOf(r) == f.Parent.String()) && f.meetsAccepted(acceptedIn(r))
}

// meetsAccepted: that a tree head is the largest one, no record says by itself.
func (f *Filter) meetsAccepted(b *evidence.HandoffAccepted) bool {
	return (f.Offer.IsZero() || b != nil && b.Offer == f.Offer) && (f.Known == "" || b != nil && b.Origin == f.Known)
}

// candidates yields the rising indexes below size that the rows give for f: all
// that meet it, and some that only time tells apart.
func (l *Ledger) candidates(ctx context.Context, f Filter, size uint64) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		first, end := uint64(0), size
		if f.After != nil {
			if *f.After >= size {
				return
			}
			first = *f.After + 1
		}
		if f.From != 0 || f.To != 0 {
			lo, hi, err := l.timeRange(ctx, f.From, f.To)
			if err != nil {
				yield(0, err)
				return
			}
			first, end = max(first, lo), min(end, hi)
		}
		if first >= end {
			return
		}
		seqs, err := l.sequences(ctx, &f, first, end, size)
		switch {
		case err != nil:
			yield(0, err)
		case len(seqs) == 0:
			for i := first; i < end; i++ {
				if !yield(i, nil) {
					return
				}
			}
		case len(seqs) == 1:
			seqs[0](yield)
		default:
			streams := make([]*stream, len(seqs))
			for i, seq := range seqs {
				streams[i] = newStream(seq)
				defer streams[i].stop()
			}
			intersect(streams, first, end, yield)
		}
	}
}

// intersect yields what all streams hold from first to end-1.
func intersect(streams []*stream, first, end uint64, yield func(uint64, error) bool) {
	for at := first; ; {
		agree := 0
		for _, s := range streams {
			v, err := s.seek(at)
			if err != nil {
				yield(0, err)
				return
			}
			if v >= end {
				return
			}
			if v > at {
				at = v
				break
			}
			agree++
		}
		if agree == len(streams) {
			if !yield(at, nil) {
				return
			}
			at++
		}
	}
}

// none is beyond every index.
const none = math.MaxUint64

// A stream yields rising indexes.
type stream struct {
	next func() (uint64, error, bool)
	stop func()
	at   uint64 // the last one
	read bool
}

// seek returns the first index of the stream not below at, or none.
func (s *stream) seek(at uint64) (uint64, error) {
	for !s.read || s.at < at {
		v, err, ok := s.next()
		if err != nil {
			return 0, err
		}
		if s.read = true; !ok {
			v = none
		}
		s.at = v
	}
	return s.at, nil
}

func newStream(seq iter.Seq2[uint64, error]) *stream {
	next, stop := iter.Pull2(seq)
	return &stream{next: next, stop: stop}
}

// sequences returns the rising indexes, from first to before end, that meet each
// of f's conditions but those of time, in a log of that size.
func (l *Ledger) sequences(ctx context.Context, f *Filter, first, end, size uint64) ([]iter.Seq2[uint64, error], error) {
	var out []iter.Seq2[uint64, error]
	if f.Run != "" {
		if _, err := evidence.ParseRunID(string(f.Run)); err != nil {
			return nil, err
		}
		run, err := keyOfRun(f.Run)
		if err != nil {
			return nil, err
		}
		out = append(out, merge(l.runIndexes(ctx, rowLine, run, first, end), l.runIndexes(ctx, rowBeside, run, first, end)))
	}
	parent := ""
	if !f.Parent.IsZero() {
		parent = f.Parent.String()
	}
	for _, c := range []struct {
		field byte
		value string
	}{{fieldActor, f.Actor}, {fieldAction, f.Action}, {fieldKind, string(f.Kind)}, {fieldParent, parent}} {
		if c.value != "" {
			out = append(out, l.postings(ctx, c.field, c.value, first, end))
		}
	}
	if !f.Offer.IsZero() {
		index, ok, err := l.acceptanceOf(ctx, f.Offer)
		if err != nil {
			return nil, err
		}
		out = append(out, single(index, ok && index >= first && index < end))
	}
	if f.Known != "" {
		index, ok, err := l.knownHead(ctx, f.Known, size)
		if err != nil {
			return nil, err
		}
		out = append(out, single(index, ok && index >= first && index < end))
	}
	return out, nil
}

// single yields index, if it is to be.
func single(index uint64, ok bool) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		if ok {
			yield(index, nil)
		}
	}
}

// acceptanceOf returns where the acceptance of an offer stands. There is one at most,
// for an offer is used up by it: what keeps it so is also what finds it.
func (l *Ledger) acceptanceOf(ctx context.Context, offer evidence.ID) (index uint64, ok bool, err error) {
	use := audit.Uses(&evidence.Record{Body: &evidence.HandoffAccepted{Offer: offer}})[0]
	value, err := l.store.Row(ctx, useRow(keyOfUse(use)))
	if errors.Is(err, tlog.ErrNoRow) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look up the acceptance of %s: %w", offer, err)
	}
	index, err = indexIn(value)
	return index, err == nil, err
}

// knownHead returns where the record stands, in a log of that size, that names the
// largest tree head of another ledger.
func (l *Ledger) knownHead(ctx context.Context, origin string, size uint64) (index uint64, ok bool, err error) {
	if err := evidence.CheckIdentifier(origin); err != nil {
		return 0, false, fmt.Errorf("find by the name of another ledger: %w", err)
	}
	from := knownPrefix(origin)
	to := append(bytes.Clone(from[:len(from)-1]), 1)
	for row, err := range l.store.Rows(ctx, from, to, true) {
		if err != nil {
			return 0, false, err
		}
		if len(row.Key) != len(from)+16 {
			return 0, false, &IndexError{row, "nothing: its key has another length"}
		}
		if index = indexOfKey(row.Key); index >= size {
			continue // begun, and not durable: not there yet
		}
		p, err := l.At(ctx, index)
		if err != nil {
			return 0, false, err
		}
		if b := acceptedIn(p.Record); b == nil || !bytes.Equal(row.Key, knownRow(b.Origin, uint64(b.Head.Size), index)) {
			return 0, false, &IndexError{row, fmt.Sprintf("a %s that does not name this tree head", p.Record.Kind)}
		}
		return index, true, nil
	}
	return 0, false, nil
}

// runIndexes yields the records of a run that stand on its line, or beside it.
func (l *Ledger) runIndexes(ctx context.Context, kind byte, run runKey, first, end uint64) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		for row, err := range l.store.Rows(ctx, runRow(kind, run, first), runRow(kind, run, end), false) {
			if err != nil {
				yield(0, err)
				return
			}
			if !yield(indexOfKey(row.Key), nil) {
				return
			}
		}
	}
}

// postings yields the records with that value in that field. The row in which
// first lies may begin before it.
func (l *Ledger) postings(ctx context.Context, field byte, value string, first, end uint64) iter.Seq2[uint64, error] {
	prefix := postingPrefix(field, value)
	key := func(i uint64) []byte { return binary.BigEndian.AppendUint64(append([]byte{}, prefix...), i) }
	return func(yield func(uint64, error) bool) {
		from := key(first)
		before, err := l.oneRow(ctx, key(0), from, true)
		if err != nil {
			yield(0, err)
			return
		}
		if before != nil {
			from = before.Key
		}
		for row, err := range l.store.Rows(ctx, from, key(end), false) {
			if err != nil {
				yield(0, err)
				return
			}
			_, _, indexes, err := posting(row)
			if err != nil {
				yield(0, err)
				return
			}
			for _, i := range indexes {
				if i >= end {
					return
				}
				if i >= first && !yield(i, nil) {
					return
				}
			}
		}
	}
}

// merge yields two rising sequences, which have nothing in common, as one. It is
// cheaper where the second is the shorter one.
func merge(a, b iter.Seq2[uint64, error]) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		y := newStream(b)
		defer y.stop()
		// next yields what b has before at, and an error of b.
		at := uint64(0)
		next := func(before uint64) bool {
			for {
				w, err := y.seek(at)
				if err != nil {
					yield(0, err)
					return false
				}
				if w >= before {
					return true
				}
				if at = w + 1; !yield(w, nil) {
					return false
				}
			}
		}
		for v, err := range a {
			if err != nil {
				yield(0, err)
				return
			}
			if !next(v) || !yield(v, nil) {
				return
			}
		}
		next(none)
	}
}

// timeRange returns bounds between which every record lies whose time is from
// from to before to: the first index, and one beyond the last. Order is the
// log's and not the clocks', so other records lie there too.
func (l *Ledger) timeRange(ctx context.Context, from, to evidence.Time) (lo, hi uint64, err error) {
	lo = none
	cover := func(field byte, from, to uint64) {
		if from < to && err == nil {
			var a, b uint64
			a, b, err = l.unitRange(ctx, field, from, to)
			lo, hi = min(lo, a), max(hi, b)
		}
	}
	begin, end := uint64(max(from, 0)), uint64(math.MaxInt64)
	if to > 0 {
		end = uint64(to)
	}
	if begin >= end {
		return 0, 0, nil
	}
	// Whole hours in the middle, minutes at both ends: a year has half a
	// million of these.
	minute, hour := unitOf(fieldMinute), unitOf(fieldHour)
	firstHour, lastHour := (begin+hour-1)/hour, end/hour
	if firstHour >= lastHour {
		cover(fieldMinute, begin/minute, (end+minute-1)/minute)
		return min(lo, hi), hi, err
	}
	cover(fieldMinute, begin/minute, firstHour*hour/minute)
	cover(fieldHour, firstHour, lastHour)
	cover(fieldMinute, lastHour*hour/minute, (end+minute-1)/minute)
	return min(lo, hi), hi, err
}

// unitRange is timeRange for the minutes or hours from from to to-1: none and 0
// where no record is of these.
func (l *Ledger) unitRange(ctx context.Context, field byte, from, to uint64) (lo, hi uint64, err error) {
	lo = none
	end := postingPrefix(field, timeValue(to))
	for {
		// The first row of the next unit that has any. Rows of one unit are
		// in the order of the log, so its first and last row say enough.
		first, err := l.oneRow(ctx, postingPrefix(field, timeValue(from)), end, false)
		if err != nil || first == nil {
			return lo, hi, err
		}
		prefix := first.Key[:len(first.Key)-8]
		unit := binary.BigEndian.Uint64(prefix[2:])
		last, err := l.oneRow(ctx, prefix, postingPrefix(field, timeValue(unit+1)), true)
		if err != nil {
			return 0, 0, err
		}
		_, _, indexes, err := posting(*last)
		if err != nil {
			return 0, 0, err
		}
		lo, hi, from = min(lo, indexOfKey(first.Key)), max(hi, indexes[len(indexes)-1]+1), unit+1
	}
}
