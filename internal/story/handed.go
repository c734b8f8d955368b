package story

import (
	"fmt"
	"slices"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/internal/report"
)

// handedOver tells of work that was handed to the runs here, to the leaves, and of
// what they hand on.
func (x *Reading) handedOver() report.Section {
	s := report.Section{Name: "handed", Heading: "What was handed over, by whom, and what that is worth"}
	s.Items = x.handed()
	if len(s.Items) == 0 {
		s.Note = "Nothing was handed over."
	}
	return cut(s)
}

func (x *Reading) handed() []report.Item {
	var items []report.Item
	for _, rec := range x.records {
		if rec.Record == nil {
			continue
		}
		switch b := rec.Body.(type) {
		case *evidence.HandoffAccepted:
			items = append(items, rec.doubtful(x.accepted(rec, b)))
		case *evidence.HandoffRejected:
			it := rec.item(fmt.Sprintf("%s refused an offer of the ledger %s: %s.", rec.Actor, b.Origin, b.Reason))
			it.Quotes = rec.says().quotes
			items = append(items, rec.doubtful(it))
		case *evidence.HandoffOffered:
			it := rec.item(fmt.Sprintf("%s offered the task %s to %s of the ledger %s.", rec.Actor, b.Task, b.To.Actor, b.To.Origin))
			said := rec.says()
			it.Fields, it.Quotes = said.fields, said.quotes
			if x.trusted() {
				if o, worth := x.told.Offer(); o != nil && o.ID == rec.id {
					it.Mark = resultMark(worth.Result)
					it.Fields = append(it.Fields, report.Field{Name: "what the work is worth", Value: worthOf(worth)})
				}
			}
			items = append(items, rec.doubtful(it))
		}
	}
	return items
}

func worthOf(d audit.Decision) string {
	s := in(results, d.Result)
	if d.Why != "" {
		s += " (" + d.Why + ")"
	}
	return s
}

// accepted tells of one handoff: what was said of it here, and what the giver's
// bundle shows.
func (x *Reading) accepted(rec *record, b *evidence.HandoffAccepted) report.Item {
	it := rec.item(fmt.Sprintf("%s took work over from the ledger %s, and continued it in the run %s.", rec.Actor, b.Origin, b.Opens))
	if !b.Acceptance.IsZero() {
		it.Says = fmt.Sprintf("The ledger %s says that its agent took the work over, and continues it in its run %s.", b.Origin, b.Opens)
	}
	i := slices.IndexFunc(x.given, func(g *given) bool { return g.acceptance == rec })
	if i < 0 {
		it.Mark = report.MarkDoubt
		it.Fields = append(it.Fields, report.Field{Name: "what it is worth", Value: "not decidable here: the bundle that was accepted is not disclosed, or not the one that was accepted"})
		it.Quotes = rec.says().quotes
		return it
	}
	inner := x.given[i].reading
	if inner.told == nil {
		it.Mark = report.MarkBad
		it.Fields = append(it.Fields, report.Field{Name: "what it is worth", Value: "nothing: what was accepted is no bundle that can be read"})
		return it
	}
	status := inner.Report.Status()
	it.Mark = markOf(status)
	it.Fields = append(it.Fields, report.Field{Name: "what was accepted", Value: "a bundle: " + answer(outcome(status))})
	if o, worth := inner.told.Offer(); o != nil {
		it.Fields = append(it.Fields, report.Field{Name: "what the work is worth", Value: worthOf(worth)})
		if it.Mark == report.MarkGood {
			it.Mark = resultMark(worth.Result)
		}
	}
	it.Items = append(it.Items, inner.why()...)
	for _, r := range inner.stories() {
		it.Items = append(it.Items, r.brief())
	}
	it.Items = append(it.Items, inner.handed()...)
	return it
}

// brief is a run of another ledger, told as far as the one that goes on from it
// rests on it.
func (r *run) brief() report.Item {
	it := report.Item{Says: fmt.Sprintf("The giver's run %s of the ledger %s.", r.id, r.in.origin)}
	if r.body != nil {
		it = r.opened.item(fmt.Sprintf("The giver: %s acted for %s, on the task %s, in the run %s.", r.opened.Actor, r.body.Principal, r.body.Task, r.id))
		it.Quotes = r.opened.says().quotes
	}
	happened, note := r.happened()
	happened = slices.DeleteFunc(happened, func(it report.Item) bool { // told as what is handed over
		rec := r.in.byText(it.Record)
		return rec != nil && rec.Kind == evidence.KindHandoffOffered
	})
	if note != "" {
		it.Fields = append(it.Fields, report.Field{Name: "came to", Value: note})
	}
	claims, _ := r.claims()
	it.Items = append(happened, claims...)
	if n := len(it.Items); n > maxTold {
		it.Items, it.Omitted = it.Items[:maxTold], n-maxTold
	}
	return it
}

func (x *Reading) byText(id string) *record {
	parsed, err := evidence.ParseID(id)
	if err != nil {
		return nil
	}
	return x.byID[parsed]
}
