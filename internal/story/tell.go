package story

import (
	"fmt"
	"strings"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/report"
)

// maxTold is how many things of one kind are told of a run, or runs of a bundle.
const maxTold = 1000

// Tell tells all of a bundle: the answer, who acted, what had to be done and what
// came of it, and what that does not prove.
func Tell(x *Reading) *report.Page {
	p := &report.Page{Version: report.Version, Kind: "report", Outcome: outcome(x.Report.Status())}
	p.Title = "report " + ofLedger(x.origin)
	if x.about != nil {
		p.Title += ", about " + x.about.String()
	}
	p.Answer = upper(answer(p.Outcome)) + "."
	p.Why = x.why()
	runs := x.stories()
	p.Sections = []report.Section{
		section("acted", "Who acted, and for whom", runs, (*run).who),
		section("contract", "What had to be done, and what came of it", runs, (*run).contract),
		section("policies", "Under which policies", runs, (*run).policies),
		section("approvals", "Who approved what", runs, (*run).approvals),
		section("happened", "What was attempted, and what came of it", runs, (*run).happened),
		section("claims", "What was claimed, and whether the evidence supports it", runs, (*run).claims),
		x.handedOver(),
		x.missing(),
		section("observed", "What was only observed, and not enforced", runs, (*run).observed),
		x.proofs(),
		x.limitsOfAll(),
	}
	if !x.trusted() {
		for i := range p.Sections[:len(p.Sections)-2] {
			s := &p.Sections[i]
			s.Note = strings.TrimSpace("Nobody whom you trust vouches for this: it is what the file says. " + s.Note)
		}
	}
	return p
}

func (x *Reading) trusted() bool { return x.told != nil && x.told.Trusted() }

// stories returns the runs of a bundle: those that were judged, or, where nothing
// was, those that the file says there are.
func (x *Reading) stories() []*run {
	byID := make(map[evidence.RunID]*run)
	var all []*run
	judged := make(map[evidence.RunID]*audit.Run)
	if x.trusted() {
		for _, r := range x.told.Runs() {
			judged[r.Run] = r
		}
	}
	for _, rec := range x.records {
		if rec.Record == nil || rec.Run == "" || x.trusted() && judged[rec.Run] == nil {
			continue
		}
		r := byID[rec.Run]
		if r == nil {
			r = &run{in: x, id: rec.Run, judged: judged[rec.Run]}
			byID[rec.Run] = r
			all = append(all, r)
		}
		r.records = append(r.records, rec)
		switch b := rec.Body.(type) {
		case *evidence.RunOpened:
			if r.judged == nil && r.body == nil || r.judged != nil && r.judged.Opened == rec.id {
				r.opened, r.body = rec, b
			}
		case *evidence.RunClosed:
			if r.judged == nil || rec.signer() != nil {
				r.closed = rec
			}
		}
	}
	return all
}

// section is a section of all runs, each set apart where there are several.
func section(name, heading string, runs []*run, tell func(*run) ([]report.Item, string)) report.Section {
	s := report.Section{Name: name, Heading: heading}
	for i, r := range runs {
		if i == maxTold {
			s.Omitted = len(runs) - i
			break
		}
		items, note := tell(r)
		omitted := max(len(items)-maxTold, 0)
		items = items[:len(items)-omitted]
		if len(runs) == 1 {
			s.Items, s.Note, s.Omitted = items, note, omitted
			break
		}
		if len(items) > 0 || note != "" {
			it := report.Item{Says: strings.TrimSpace(fmt.Sprintf("Run %s. %s", r.id, note)), Items: items, Omitted: omitted}
			s.Items = append(s.Items, it)
		}
	}
	if len(runs) == 0 {
		s.Note = "The file holds no run of which that could be said."
	}
	return s
}

// why is the answer's reasons: what is wrong, then what is not decided.
func (x *Reading) why() []report.Item {
	var wrong, open []report.Item
	add := func(it report.Item) {
		if it.Mark == report.MarkBad {
			wrong = append(wrong, it)
		} else {
			open = append(open, it)
		}
	}
	for _, a := range x.Report.Asked {
		if a.Status == audit.Held {
			continue
		}
		it := report.Item{Mark: report.MarkBad, Says: asks[a.Asked] + " No.", Fields: []report.Field{{Name: "expected", Value: a.Expected}, {Name: "found", Value: a.Found}}}
		if a.Status == audit.Undecidable {
			it.Mark, it.Says = report.MarkDoubt, asks[a.Asked]+" Not decidable."
		}
		add(it)
	}
	for _, rule := range x.Report.Rules {
		for i := range rule.Findings {
			if i == 10 || rule.Omitted > 0 && i == len(rule.Findings)-1 {
				add(report.Item{Mark: markOf(rule.Status), Says: fmt.Sprintf("%s %d findings more; verify --output json lists them.", questions[rule.Rule], len(rule.Findings)-i+rule.Omitted)})
				break
			}
			add(finding(rule.Rule, &rule.Findings[i]))
		}
	}
	return together(append(wrong, open...))
}

func markOf(s audit.Status) report.Mark {
	switch s {
	case audit.Held:
		return report.MarkGood
	case audit.Broken:
		return report.MarkBad
	case audit.Undecidable:
		return report.MarkDoubt
	}
	return report.MarkNone
}

// missing lists the texts that are not here.
func (x *Reading) missing() report.Section {
	s := report.Section{Name: "missing", Heading: "What is withheld or erased"}
	seen := make(map[string]bool)
	for _, rec := range x.records {
		if rec.Record == nil {
			continue
		}
		for _, q := range rec.says().quotes {
			if q.State == report.QuoteDisclosed || seen[q.Commit] {
				continue
			}
			seen[q.Commit] = true
			it := rec.item(fmt.Sprintf("Withheld: %s, in %s.", q.Name, rec.is()))
			switch q.State {
			case report.QuoteErased:
				it.Says = fmt.Sprintf("Erased: %s, in %s.", q.Name, rec.is())
			case report.QuoteOther:
				it.Mark, it.Says = report.MarkBad, fmt.Sprintf("Disclosed, and not what was committed to: %s, in %s.", q.Name, rec.is())
			}
			it.Fields = append(it.Fields, report.Field{Name: "commitment", Value: q.Commit}, report.Field{Name: "size", Value: fmt.Sprintf("%s of %s", report.Count(int(q.Size), "byte"), q.Media)})
			s.Items = append(s.Items, it)
		}
	}
	if len(s.Items) == 0 {
		s.Note = "Nothing: every text to which the records here commit is disclosed."
	}
	return cut(s)
}

// proofs says what was looked at, and what each rule came to.
func (x *Reading) proofs() report.Section {
	s := report.Section{Name: "proofs", Heading: "What was checked"}
	scope := &x.Report.Scope
	it := report.Item{Says: fmt.Sprintf("%s of the ledger %s.", report.Count(int(scope.Records), "record"), x.origin)}
	if scope.From != 0 {
		it.Fields = append(it.Fields, report.Field{Name: "from", Value: scope.From.String()}, report.Field{Name: "to", Value: scope.To.String()})
	}
	if scope.Size > 0 {
		it.Fields = append(it.Fields, report.Field{Name: "tree head", Value: fmt.Sprintf("size %d, root %s", scope.Size, scope.Root)})
	}
	if len(scope.Witnesses) > 0 {
		it.Fields = append(it.Fields, report.Field{Name: "witnessed by", Value: strings.Join(scope.Witnesses, ", ")})
	}
	it.Fields = append(it.Fields, report.Field{Name: "texts", Value: fmt.Sprintf("%d disclosed, %d withheld, %d erased", scope.Disclosed, scope.Withheld, scope.Erased)})
	s.Items = append(s.Items, it)
	words := map[audit.Status]string{audit.Held: "Yes", audit.Broken: "No", audit.Undecidable: "Not decidable", audit.NotApplicable: "There was nothing to ask this about"}
	for _, rule := range x.Report.Rules {
		one := report.Item{Mark: markOf(rule.Status), Says: fmt.Sprintf("%s %s (%s).", questions[rule.Rule], words[rule.Status], rule.Rule)}
		if rule.Note != "" {
			one.Fields = append(one.Fields, report.Field{Name: "note", Value: rule.Note})
		}
		if rule.AsEnforced && rule.Status == audit.Held {
			one.Fields = append(one.Fields, report.Field{Name: "note", Value: "a part of it only the whole ledger can show: that is taken as the operator enforced it"})
		}
		s.Items = append(s.Items, one)
	}
	for _, pair := range x.Report.Equivocation {
		s.Items = append(s.Items, report.Item{Mark: report.MarkBad, Says: "The ledger signed two states that cannot both be true.", Fields: []report.Field{{Name: "signed", Value: string(pair[0])}, {Name: "and signed", Value: string(pair[1])}}})
	}
	return s
}

func (x *Reading) limitsOfAll() report.Section {
	s := report.Section{Name: "limits", Heading: "What this does not prove"}
	say := func(text string) { s.Items = append(s.Items, report.Item{Says: text}) }
	say("That the world is as the records say. A record is what its signer said; the source says how they came to know.")
	say("That everything that was done is recorded: only what went through the runtime is.")
	if x.about != nil && x.about.Kind != bundle.AboutRange {
		say("That the run has no second version, or more records, elsewhere in the ledger: verify log decides that from the whole log.")
	}
	if len(x.Report.Scope.Witnesses) == 0 {
		say("That the ledger shows everybody the same: no witness cosigned its tree head.")
	}
	if x.Report.Scope.NotEnforced {
		say("That what was denied did not happen: some permission checks were only observed.")
	}
	say("That whoever holds the keys is who the names say: that is the word of the operator, and of your trust file.")
	say("That notes, reasons and other words of agents are true: they are shown as what was said.")
	return s
}
