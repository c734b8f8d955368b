package audit

import (
	"testing"

	"pgregory.net/rapid"

	"ledgerd/evidence"
)

// happened is a record in a run of many, with what it comes after: the record before
// it in its run, and what it takes up.
type happened struct {
	run, index int
	after      []*happened
	takes      *happened // an offer; nil: none
	offer      bool
}

// TestHorizonIsHappenedBefore holds the order between runs to what happened before
// what (Lamport): reachability over the records of all runs, where a run goes on from
// record to record, and from an offer to whoever takes it up.
func TestHorizonIsHappenedBefore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		runs := make([][]*happened, rapid.IntRange(2, 6).Draw(t, "runs"))
		var all []*happened
		for range rapid.IntRange(1, 40).Draw(t, "records") {
			r := rapid.IntRange(0, len(runs)-1).Draw(t, "run")
			h := &happened{run: r, index: len(all)}
			if n := len(runs[r]); n > 0 {
				h.after = append(h.after, runs[r][n-1])
			}
			if len(all) > 0 && rapid.Bool().Draw(t, "takes") {
				if o := all[rapid.IntRange(0, len(all)-1).Draw(t, "offer")]; o.run != r && o.takes == nil {
					h.takes, h.after, o.offer = o, append(h.after, o), true
				}
			}
			runs[r] = append(runs[r], h)
			all = append(all, h)
		}
		b := &bench{run: worldOf(runs, 0, forever), asOf: forever, values: newValues(nil)}
		b.index()
		s := b.survey()
		at := make(map[evidence.RunID]*site)
		for _, x := range s.all {
			at[x.run.Run] = x
		}
		for _, i := range all {
			before := reach(i)
			for _, o := range all {
				x, of := at[idOf(i.run)], at[idOf(o.run)]
				if o.offer || i.takes != nil || x == nil || of == nil || uint64(o.index) >= of.end || uint64(i.index) >= x.end {
					continue // no actions, or nothing on which the first run rests
				}
				if shown := uint64(o.index) < x.horizon(uint64(i.index), of.n); shown != before[o] {
					t.Fatalf("record %d of run %d before %d of run %d: shown %v, and it is %v", o.index, o.run, i.index, i.run, shown, before[o])
				}
			}
		}
	})
}

func idOf(run int) evidence.RunID { return evidence.RunID(rune('a' + run)) }

// reach is all that happened before a record.
func reach(h *happened) map[*happened]bool {
	before := make(map[*happened]bool)
	var visit func(*happened)
	visit = func(h *happened) {
		for _, o := range h.after {
			if !before[o] {
				before[o] = true
				visit(o)
			}
		}
	}
	visit(h)
	return before
}

// worldOf folds a run up to an index as it lies in bundles: each take has the bundle
// about the offer, in which the giver's run lies up to that.
func worldOf(runs [][]*happened, run int, end uint64) *Run {
	r := &Run{Body: new(evidence.RunOpened)}
	r.Run, r.Origin = idOf(run), "ledger.example/"+string(idOf(run))
	for _, h := range runs[run] {
		if h.takes == nil || uint64(h.index) >= end {
			continue
		}
		id := evidence.ID{byte(h.index), 1}
		giver := worldOf(runs, h.takes.run, uint64(h.takes.index))
		x := &Auditor{runs: map[evidence.RunID]*Run{giver.Run: giver}, payloads: newDisclosures()}
		o := &Offer{Index: uint64(h.takes.index), Record: &evidence.Record{Run: giver.Run}, Body: new(evidence.HandoffOffered), auditor: x}
		r.takes = append(r.takes, take{place{index: uint64(h.index)}, id})
		r.Hand(id, new(evidence.HandoffAccepted), o)
	}
	return r
}

// TestManySites: past the limit nothing is shown to be before anything elsewhere.
func TestManySites(t *testing.T) {
	for n, want := range map[int]uint64{maxSites: 2, maxSites + 1: 0} {
		runs := make([][]*happened, n)
		for i := range runs[1:] {
			h := &happened{run: i + 1, index: 2*i + 2}
			runs[i+1] = append(runs[i+1], h)
			runs[0] = append(runs[0], &happened{run: 0, index: 2*i + 3, takes: h})
		}
		b := &bench{run: worldOf(runs, 0, forever), asOf: forever, values: newValues(nil)}
		b.index()
		s := b.survey()
		if got := s.all[0].horizon(forever, 1); got != want || len(s.all) != n {
			t.Errorf("%d sites: %d, horizon %d, want %d", n, len(s.all), got, want)
		}
	}
}
