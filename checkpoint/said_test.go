package checkpoint_test

import (
	"slices"
	"testing"

	"ledgerd/evidence"
)

// TestSaid: a claim counts as said until something is executed or settled, and
// only if it is on the line.
func TestSaid(t *testing.T) {
	w := newTeller()
	w.open()
	s := w.states[0]
	said := func(what string, want ...evidence.ID) {
		t.Helper()
		if got := s.Said(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	said("at the start")
	auth := w.ask("s", evidence.Allow, nil)
	first := w.line(writer, &evidence.Claim{})
	w.beside(machine, first, &evidence.Claim{})
	second := w.line(writer, &evidence.Claim{})
	w.line(writer, s.Next("half"))
	said("two, and one beside the line", first, second)
	doubt := w.attempt(auth, 1, evidence.StatusUnknown)
	said("after an execution")
	third := w.line(writer, &evidence.Claim{})
	said("one more", third)
	w.line(writer, &evidence.Settlement{Settles: doubt, By: evidence.ByProbe, Finding: evidence.StatusSuccess})
	said("after a settlement")
}
