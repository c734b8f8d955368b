package ledger

import (
	"bytes"
	"container/list"
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// A runState is what admission keeps of a run.
type runState struct {
	run  runKey
	line audit.Line
	// uses holds the first half of each use of the run's records that only a
	// record of the same run can repeat (audit.InRun). Where it is whole, what
	// it does not hold was not used, and no lookup is needed to know: that
	// lookup would be the greater part of an admission. It is whole from
	// run.opened on, for the first maxRunUses, and until the state is dropped.
	uses  []uint64
	whole bool
}

const (
	// maxRunUses bounds the uses that are kept in memory of one run: 32 KiB. A
	// longer run is looked up in the store from there on.
	maxRunUses = 4096
	// maxUses bounds them over all runs: 16 MiB.
	maxUses = 2 << 20
)

// unused reports whether a use is certainly new.
func (s *runState) unused(u useKey) bool {
	return s.whole && !slices.Contains(s.uses, u.half())
}

// runStates keeps the states of the runs that were used last. One goroutine, the
// log's sequencer, uses it.
type runStates struct {
	max   int
	uses  int                      // in all states
	byRun map[runKey]*list.Element // of *runState
	order *list.List               // used last in front
}

func newRunStates(max int) *runStates {
	return &runStates{max: max, byRun: make(map[runKey]*list.Element), order: list.New()}
}

// use notes a use of a run whose state is kept.
func (s *runStates) use(st *runState, u useKey) {
	switch {
	case !st.whole:
	case len(st.uses) == maxRunUses:
		s.uses -= len(st.uses)
		st.uses, st.whole = nil, false
	default:
		st.uses = append(st.uses, u.half())
		s.uses++
	}
}

func (s *runStates) get(run runKey) *runState {
	e := s.byRun[run]
	if e == nil {
		return nil
	}
	s.order.MoveToFront(e)
	return e.Value.(*runState)
}

// put keeps a state.
func (s *runStates) put(st *runState, durable uint64) {
	s.byRun[st.run] = s.order.PushFront(st)
	s.trim(durable)
}

// trim lets states go until the bounds hold, the longest unused first, but none
// with a record at or beyond durable: the store might not show that record yet,
// and a state read back from it would lack it.
func (s *runStates) trim(durable uint64) {
	for s.order.Len() > s.max || s.uses > maxUses {
		e := s.order.Back()
		old := e.Value.(*runState)
		if old.line.TailIndex >= durable {
			// Used last are the records in flight: what is left is theirs.
			return
		}
		s.order.Remove(e)
		delete(s.byRun, old.run)
		s.uses -= len(old.uses)
	}
}

// runRange returns the bounds of the keys of one kind of a run's rows.
func runRange(kind byte, run runKey) (from, to []byte) {
	from = append([]byte{kind}, run[:]...)
	to = binary.BigEndian.AppendUint64(append([]byte{}, from...), ^uint64(0))
	return from, to
}

// loadLine reads a run's line back: its first and its last record say all of
// it. The zero Line is that of a run of which the store holds nothing.
func (l *Ledger) loadLine(ctx context.Context, run runKey) (line audit.Line, err error) {
	from, to := runRange(rowLine, run)
	first, last, err := l.firstAndLast(ctx, from, to)
	if err != nil || first == nil {
		return line, err
	}
	rows := []*tlog.Row{first, last}
	if bytes.Equal(first.Key, last.Key) {
		rows = rows[:1]
	}
	for i, row := range rows {
		p, err := l.At(ctx, indexOfKey(row.Key))
		if err != nil {
			return audit.Line{}, fmt.Errorf("run %s: its record at index %d: %w", run.id(), indexOfKey(row.Key), err)
		}
		opens := p.Record.Kind == evidence.KindRunOpened
		if p.Record.Run != run.id() || !p.Record.OnLine() || opens != (i == 0) {
			return audit.Line{}, &IndexError{*row, fmt.Sprintf("a %s of %s", p.Record.Kind, p.Record.Run)}
		}
		line.Extend(p.Index, p.ID, p.Record)
	}
	return line, nil
}

// firstAndLast returns the first and the last row of a range of keys, nil if it
// has none.
func (l *Ledger) firstAndLast(ctx context.Context, from, to []byte) (first, last *tlog.Row, err error) {
	if first, err = l.oneRow(ctx, from, to, false); err != nil || first == nil {
		return nil, nil, err
	}
	last, err = l.oneRow(ctx, from, to, true)
	return first, last, err
}

func (l *Ledger) oneRow(ctx context.Context, from, to []byte, reverse bool) (*tlog.Row, error) {
	for row, err := range l.store.Rows(ctx, from, to, reverse) {
		if err != nil {
			return nil, err
		}
		return &row, nil
	}
	return nil, nil
}
