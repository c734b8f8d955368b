package checkpoint_test

import (
	"testing"

	"ledgerd/evidence"
)

// TestReported: what was reported is found by the number of its attempt in the
// step, over all authorizations, with what settled it.
func TestReported(t *testing.T) {
	w := newTeller()
	w.open()
	s := w.states[0]
	reported := func(auth evidence.ID, n int64, status evidence.Status) evidence.ID {
		b := &evidence.Execution{Authorization: auth, Action: "pay", Tool: "bank", Attempt: n, Status: status, Source: evidence.SourceReported}
		if status == evidence.StatusFailure {
			b.Class = evidence.ToolUnavailable
		}
		return w.line(writer, b)
	}
	auth := w.ask("s", evidence.Allow, nil)
	first := reported(auth, 1, evidence.StatusFailure)
	second := w.attempt(auth, 2, evidence.StatusNotRun) // seen, not reported
	auth = w.ask("s", evidence.Allow, nil)
	third := reported(auth, 1, evidence.StatusUnknown)
	reported(w.ask("other", evidence.Allow, nil), 1, evidence.StatusSuccess)
	for n, want := range map[int]evidence.ID{1: first, 2: second, 3: third} {
		if got, ok := s.Reported("s", n); !ok || got.ID != want || got.Settled != nil {
			t.Errorf("attempt %d: %+v", n, got)
		}
	}
	for _, n := range []int{0, 4} {
		if got, ok := s.Reported("s", n); ok {
			t.Errorf("attempt %d: %+v", n, got)
		}
	}
	if _, ok := s.Reported("nothing", 1); ok {
		t.Error("a step that is not")
	}
	settled := w.line(writer, &evidence.Settlement{Settles: third, By: evidence.ByReport, Finding: evidence.StatusSuccess})
	if got, _ := s.Reported("s", 3); got.Settlement != settled || got.Settled.Finding != evidence.StatusSuccess {
		t.Errorf("settled: %+v", got)
	}
	if len(w.found) > 0 {
		t.Errorf("broken: %v", w.found)
	}

	// What is said again is compared with the last context, by name with checkpoints,
	// and with how the run was closed.
	if s.Laid() != nil || s.Saved("half") != nil || s.Closed() != nil {
		t.Error("before there is one")
	}
	laid := w.line(writer, &evidence.Context{Sources: []evidence.ContextSource{{Name: "a"}}})
	id := w.line(writer, s.Next("half"))
	w.line(writer, s.Next("whole"))
	w.line(writer, &evidence.RunClosed{End: evidence.Stopped, Reason: "why"})
	if got := s.Laid(); got == nil || got.ID != laid {
		t.Errorf("context: %+v", got)
	}
	if got := s.Saved("half"); got == nil || got.ID != id || got.Sequence != 1 {
		t.Errorf("checkpoint: %+v", got)
	}
	if got := s.Closed(); got == nil || got.Reason != "why" {
		t.Errorf("closed: %+v", got)
	}
}
