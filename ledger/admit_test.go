package ledger_test

import (
	"testing"

	"ledgerd/evidence"
)

func TestRunFromOpenToClose(t *testing.T) {
	w := newWorld(t)
	r := w.newRun()
	entries := r.whole("send_email")
	placed := w.must(entries...)
	for i, p := range placed {
		if p.Index != uint64(7+i) || p.ID != evidence.IDOf(entries[i]) {
			t.Errorf("record %d stands at %d as %s", i, p.Index, p.ID)
		}
	}
	w.restart()
	var got []evidence.Kind
	for p, err := range w.Run(t.Context(), r.id) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.Record.Kind)
	}
	if len(got) != 4 || got[3] != evidence.KindRunClosed {
		t.Errorf("the run reads %v", got)
	}
}
