package ledger

import (
	"encoding/binary"
	"testing"
)

// The bounds on what admission keeps of runs hold: by number, by uses in one run
// and in all; and what is in flight stays.
func TestRunStatesAreBounded(t *testing.T) {
	runOf := func(n uint64) (k runKey) {
		binary.BigEndian.PutUint64(k[:], n)
		return k
	}
	useOf := func(n uint64) (k useKey) {
		binary.BigEndian.PutUint64(k[:], n)
		return k
	}
	s := newRunStates(1 << 20)
	add := func(n uint64, uses int, durable uint64) *runState {
		st := &runState{run: runOf(n), whole: true}
		st.line.TailIndex = n
		s.put(st, durable)
		for i := range uses {
			s.use(st, useOf(uint64(i)))
		}
		s.trim(durable)
		return st
	}
	st := add(0, maxRunUses, 1)
	if !st.unused(useOf(maxRunUses)) || st.unused(useOf(7)) {
		t.Errorf("a run of %d uses does not know what is new", maxRunUses)
	}
	s.use(st, useOf(maxRunUses))
	if st.unused(useOf(maxRunUses+1)) || len(st.uses) != 0 || s.uses != 0 {
		t.Errorf("a run of more uses still says what is new, with %d of %d kept", len(st.uses), s.uses)
	}
	const full = maxUses / maxRunUses
	for n := range uint64(2 * full) {
		add(1+n, maxRunUses, 2+n)
		total := 0
		for e := s.order.Front(); e != nil; e = e.Next() {
			total += len(e.Value.(*runState).uses)
		}
		if total != s.uses || total > maxUses {
			t.Fatalf("after %d runs: %d uses are kept, %d counted, at most %d wanted", n+1, total, s.uses, maxUses)
		}
	}
	if s.get(runOf(1)) != nil || s.get(runOf(2*full)) == nil {
		t.Error("the run used first stays, or the one used last is gone")
	}
	// Nothing is durable from here on: all of it stays, however much.
	for n := range uint64(2 * full) {
		add(10_000+n, maxRunUses, 5000)
	}
	if s.get(runOf(10_000)) == nil {
		t.Error("a run with a record in flight is gone")
	}
	few := newRunStates(3)
	for n := range uint64(10) {
		few.put(&runState{run: runOf(n)}, 1)
	}
	if len(few.byRun) != 3 || few.order.Len() != 3 {
		t.Errorf("%d runs are kept, 3 wanted", len(few.byRun))
	}
}
