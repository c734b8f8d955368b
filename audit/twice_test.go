package audit_test

import (
	"testing"

	"ledgerd/audit"
	"ledgerd/audit/audittest"
	"ledgerd/evidence"
)

// A checkpoint names what it covers once, however often the log holds it: the
// record format has no other way to say it.
func TestCoversOfARecordThatStandsTwice(t *testing.T) {
	for _, covered := range []bool{true, false} {
		w := audittest.New(t)
		r := w.Open(nil)
		done := r.Do("lookup", `{}`)
		w.AppendEntry(done.Entry)
		var covers []evidence.ID
		if covered {
			covers = append(covers, done.ID)
		}
		r.Line(&evidence.Checkpoint{Name: "here", Sequence: 1, State: w.Commit(`{}`), Covers: covers})
		a := audit.New(w.Trust(), w.Origin, nil, audit.Options{})
		for _, p := range w.Placed {
			a.Add(p.Index, p.Entry)
		}
		found := 0
		for _, rule := range a.Report().Rules {
			for _, f := range rule.Findings {
				if f.Reason == audit.ReasonCovers {
					found++
				}
			}
		}
		if want := map[bool]int{true: 0, false: 1}[covered]; found != want {
			t.Errorf("covered %v: %d findings, want %d", covered, found, want)
		}
	}
}
