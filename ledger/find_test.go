package ledger_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/ledger"
)

// mixed appends runs of several actors and actions over two hours, in batches of
// all sizes, and returns all records of the ledger in order.
func (w *world) mixed(runs int) []evidence.Placed {
	w.t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	actions := []string{"send_email", "refund", "lookup"}
	agents := []string{"support", "support/1", "support/17", "runtime-01"}
	var opened []evidence.ID
	for range runs {
		r := w.newRun()
		if n := len(opened); n > 0 && rng.IntN(3) == 0 {
			r.parent = opened[rng.IntN(min(n, 4))]
		}
		entries := [][]byte{r.open()}
		opened = append(opened, r.prev)
		for range rng.IntN(6) {
			rec := r.record(&evidence.Authorization{
				Step: fmt.Sprintf("step-%d", r.n), Action: actions[rng.IntN(3)], Tool: "email_sender", Input: commit("input"),
				IdempotencyKey: fmt.Sprintf("key-%d", r.n), Effect: evidence.Allow, Mode: evidence.Enforce, Source: evidence.SourceRuntime,
			})
			rec.Actor = agents[rng.IntN(len(agents))]
			e := sign(w.t, rec, runtimeKey)
			r.prev, r.n = evidence.IDOf(e), r.n+1
			entries = append(entries, e)
			if rng.IntN(2) == 0 {
				entries = append(entries, r.execute(rec.Body.(*evidence.Authorization).Action, 1))
			}
			if rng.IntN(4) == 0 {
				entries = append(entries, sign(w.t, &evidence.Record{
					Origin: origin, Kind: evidence.KindConfirmation, Run: r.id, About: r.prev, Actor: "email_sender", Time: w.clock.time(),
					Body: &evidence.Confirmation{Status: evidence.StatusSuccess},
				}, toolKey))
			}
		}
		for range rng.IntN(3) {
			// Names of other ledgers that begin alike, and tree heads of one and of
			// two bytes, some of them named again.
			entries = append(entries, w.accept(others[rng.IntN(len(others))], 1+int64(rng.IntN(600))/7*7))
		}
		if rng.IntN(2) == 0 {
			entries = append(entries, r.close())
		}
		w.must(entries...)
		w.clock.Add(time.Duration(rng.IntN(200)) * time.Second)
	}
	var all []evidence.Placed
	for p, err := range w.Records(w.t.Context(), 0, w.Head().Size) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// others are ledgers from which something was accepted.
var others = []string{"ledger.example/a", "ledger.example/ab", "ledger.example/a."}

// accept signs the acceptance of another offer.
func (w *world) accept(from string, size int64) []byte {
	w.offers++
	n := w.Registry().Number()
	return sign(w.t, &evidence.Record{
		Origin: origin, Kind: evidence.KindHandoffAccepted, Registry: &n, Actor: "support", Time: w.clock.time(),
		Body: &evidence.HandoffAccepted{
			Offer: evidence.IDOf(fmt.Append(nil, "offer ", w.offers)), Origin: from, Opens: runID(1_000_000 + w.offers),
			Head: evidence.HeadRef{Size: size, Root: evidence.Digest{1}}, Bundle: commit("bundle"),
		},
	}, runtimeKey)
}

// filters are many combinations of conditions, none, some and all of which meet.
func filters(runs int, all []evidence.Placed) []ledger.Filter {
	var out []ledger.Filter
	minute := func(m int) evidence.Time { return evidence.TimeOf(start.Add(time.Duration(m) * time.Minute)) }
	for _, run := range []evidence.RunID{"", runID(1), runID(runs / 2), runID(runs + 1)} {
		for _, actor := range []string{"", "support", "support/1", "nobody", "email_sender"} {
			for _, action := range []string{"", "refund", "send"} {
				for _, kind := range []evidence.Kind{"", evidence.KindExecution, evidence.KindRunClosed, evidence.KindActorRegistered} {
					for _, span := range [][2]evidence.Time{{}, {minute(7), minute(31)}, {minute(20) + 1, 0}, {0, minute(40) - 1}, {minute(5000), 0}, {minute(9), minute(9)}, {minute(0), minute(95)}, {minute(-70), minute(62) + 1}} {
						out = append(out, ledger.Filter{Run: run, Actor: actor, Action: action, Kind: kind, From: span[0], To: span[1]})
					}
				}
			}
		}
	}
	for _, run := range []evidence.RunID{runID(1), runID(2), runID(runs)} {
		var of evidence.ID
		for _, p := range all {
			if p.Record.Run == run && p.Record.Kind == evidence.KindRunOpened {
				of = p.ID
			}
		}
		for _, span := range [][2]evidence.Time{{}, {minute(7), minute(31)}} {
			out = append(out, ledger.Filter{Parent: of, From: span[0], To: span[1]}, ledger.Filter{Parent: of, Actor: "support"}, ledger.Filter{Parent: of, Action: "refund"})
		}
	}
	for _, span := range [][2]evidence.Time{{}, {minute(7), minute(31)}} {
		for _, p := range all {
			if b, ok := p.Record.Body.(*evidence.HandoffAccepted); ok {
				before := p.Index - 1
				out = append(out, ledger.Filter{Offer: b.Offer, After: &before}, ledger.Filter{Offer: b.Offer, After: &p.Index}, ledger.Filter{Known: b.Origin, After: &p.Index})
				out = append(out, ledger.Filter{Offer: b.Offer, From: span[0], To: span[1]}, ledger.Filter{Offer: b.Offer, Known: others[0]})
			}
		}
		for _, of := range append(slices.Clone(others), "ledger.example/none") {
			out = append(out, ledger.Filter{Known: of, From: span[0], To: span[1]}, ledger.Filter{Known: of, Actor: "support", Kind: evidence.KindHandoffAccepted}, ledger.Filter{Known: of, Actor: "nobody"})
		}
	}
	return append(out, ledger.Filter{Offer: evidence.IDOf([]byte("nobody's offer"))})
}

// largest returns the record that names the largest tree head of another ledger, the
// last of several; the zero Placed where none does.
func largest(all []evidence.Placed, of string) (last evidence.Placed) {
	size := int64(0)
	for _, p := range all {
		if b, ok := p.Record.Body.(*evidence.HandoffAccepted); ok && b.Origin == of && b.Head.Size >= size {
			last, size = p, b.Head.Size
		}
	}
	return last
}

// want is Find, by looking at everything.
func want(all []evidence.Placed, f ledger.Filter) []uint64 {
	var out []uint64
	known := largest(all, f.Known)
	for _, p := range all {
		r := p.Record
		var action string
		var parent, offer evidence.ID
		switch b := r.Body.(type) {
		case *evidence.RunOpened:
			parent = b.Parent
		case *evidence.Authorization:
			action = b.Action
		case *evidence.Execution:
			action = b.Action
		case *evidence.HandoffAccepted:
			offer = b.Offer
		}
		if (f.Run == "" || f.Run == r.Run) && (f.Actor == "" || f.Actor == r.Actor) && (f.Action == "" || f.Action == action) &&
			(f.Kind == "" || f.Kind == r.Kind) && (f.Parent.IsZero() || f.Parent == parent) &&
			(f.Offer.IsZero() || f.Offer == offer) && (f.Known == "" || p.ID == known.ID) && (f.From == 0 || r.Time >= f.From) && (f.To == 0 || r.Time < f.To) &&
			(f.After == nil || p.Index > *f.After) && (f.Limit == 0 || len(out) < f.Limit) {
			out = append(out, p.Index)
		}
	}
	return out
}

func (w *world) find(f ledger.Filter) []uint64 {
	w.t.Helper()
	var out []uint64
	for p, err := range w.Find(w.t.Context(), f) {
		if err != nil {
			w.t.Fatalf("%+v: %v", f, err)
		}
		out = append(out, p.Index)
	}
	return out
}

// Every query answers what looking at everything answers: with the rows that
// were committed, with those that a reindex makes, and page by page.
func TestEveryQueryBeforeAndAfterReindex(t *testing.T) {
	w := newWorld(t)
	const runs = 60
	all := w.mixed(runs)
	tried := filters(runs, all)
	if testing.Short() {
		tried = slices.DeleteFunc(tried, func(ledger.Filter) bool { return rand.IntN(10) > 0 })
	}
	compare := func(when string) {
		t.Helper()
		hits := 0
		for _, f := range tried {
			expect := want(all, f)
			hits += len(expect)
			if got := w.find(f); !slices.Equal(got, expect) {
				t.Errorf("%s, %+v: %v, want %v", when, f, got, expect)
			}
		}
		if hits < len(tried)/2 {
			t.Errorf("%d records found in all: the filters test nothing", hits)
		}
		for _, p := range all {
			if got, err := w.Get(t.Context(), p.ID); err != nil || got.Index != p.Index {
				t.Errorf("%s, %s: %d, %v; want %d", when, p.ID, got.Index, err, p.Index)
			}
			if o, err := w.SubmitEach(p.Entry)(t.Context()); err != nil || !o[0].Duplicate || o[0].Index != p.Index {
				t.Errorf("%s, the bytes of %d again: %+v, %v", when, p.Index, o[0], err)
			}
		}
		w.sound()
	}
	compare("as committed")
	w.stop()
	w.store = w.openStore()
	if err := ledger.Reindex(t.Context(), w.store, w.cfg.VerifierKey, nil); err != nil {
		t.Fatal(err)
	}
	w.restart()
	compare("after a reindex")
	for _, f := range tried {
		whole, page := w.find(f), f
		var pages []uint64
		for page.Limit = 7; ; {
			got := w.find(page)
			if pages = append(pages, got...); len(got) < page.Limit {
				break
			}
			page.After = &got[len(got)-1]
		}
		if !slices.Equal(pages, whole) {
			t.Errorf("%+v: page by page %v, at once %v", f, pages, whole)
		}
	}
	if next := w.newRun(); true {
		w.must(next.whole("send_email")...) // it goes on
	}
}

func TestReceiptsCheck(t *testing.T) {
	w := newWorld(t)
	all := w.mixed(60)
	trust, err := w.Trust()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		r, err := w.Receipt(t.Context(), p.ID)
		if err != nil {
			t.Fatal(err)
		}
		head, err := trust.OpenHead(r.Head)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Check(head); err != nil || r.Index != p.Index || evidence.IDOf(r.Entry) != p.ID {
			t.Errorf("receipt of %d: index %d, %v", p.Index, r.Index, err)
		}
	}
	if _, err := w.Receipt(t.Context(), evidence.IDOf([]byte("nothing"))); !errors.Is(err, ledger.ErrNoRecord) {
		t.Errorf("a receipt of nothing: %v", err)
	}
	if _, err := w.ReceiptAt(t.Context(), w.Head().Size); !errors.Is(err, ledger.ErrNoRecord) {
		t.Errorf("a receipt beyond the log: %v", err)
	}
}
