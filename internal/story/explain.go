package story

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/internal/report"
)

// ErrRecord is returned by [Explain] where there is no one record of that name.
var ErrRecord = errors.New("no such record")

// Explain tells what one piece of evidence says: the record whose evidence ID
// begins so, here or in a bundle that lies here. prefix may be empty for a receipt.
func Explain(x *Reading, prefix string) (*report.Page, error) {
	places, err := x.lookup(prefix)
	if err != nil {
		return nil, err
	}
	rec := places[0]
	p := &report.Page{Version: report.Version, Kind: "explanation", Outcome: outcome(x.Report.Status())}
	p.Title = fmt.Sprintf("%s %s: %s", x.form, ofLedger(x.origin), rec.is())
	p.Answer = fmt.Sprintf("That is the answer about the whole file: %s. What was found about this record stands below.", answer(p.Outcome))
	p.Sections = append(p.Sections, rec.sayingSection(), rec.signing(), rec.proof(places))
	if rec.Record != nil {
		p.Sections = append(p.Sections, rec.links(), rec.namedBy(), rec.payloads())
	}
	p.Sections = append(p.Sections, rec.findings(), rec.limits())
	return p, nil
}

// lookup returns the places at which the one record lies whose ID begins so.
func (x *Reading) lookup(prefix string) ([]*record, error) {
	if x.form == "receipt" {
		if rec := x.records[0]; prefix != "" && !strings.HasPrefix(rec.id.String(), prefix) {
			return nil, fmt.Errorf("%w: expected %s, which the receipt holds, found %q", ErrRecord, rec.id, prefix)
		}
		return x.records, nil
	}
	if prefix == "" {
		return nil, fmt.Errorf("%w: expected the evidence ID of a record, or how it begins: a bundle holds several", ErrRecord)
	}
	var found []*record
	ids := make(map[evidence.ID]bool)
	for _, y := range x.all() {
		for _, rec := range y.records {
			if strings.HasPrefix(rec.id.String(), prefix) {
				ids[rec.id] = true
				if len(ids) <= 3 {
					found = append(found, rec)
				}
			}
		}
	}
	switch len(ids) {
	case 0:
		return nil, fmt.Errorf("%w: no record in the file has an evidence ID that begins with %q", ErrRecord, prefix)
	case 1:
		return found, nil
	}
	return nil, fmt.Errorf("%w: %d records have an evidence ID that begins with %q, %s and %s among them: write more of it", ErrRecord, len(ids), prefix, found[0].id, other(found))
}

func other(found []*record) evidence.ID {
	for _, rec := range found {
		if rec.id != found[0].id {
			return rec.id
		}
	}
	return evidence.ID{}
}

func outcome(s audit.Status) report.Outcome {
	switch s {
	case audit.Broken:
		return report.Wrong
	case audit.Undecidable:
		return report.Undecidable
	}
	return report.Verified
}

func answer(o report.Outcome) string {
	switch o {
	case report.Verified:
		return "everything that can be checked holds"
	case report.Wrong:
		return "something in it is proven wrong"
	case report.Malformed:
		return "the file is not in the form that it means to have, which proves nothing"
	}
	return "it cannot be decided whether it holds up: trust or evidence is missing"
}

func ofLedger(origin string) string {
	if origin == "" {
		return "of an unknown ledger"
	}
	return "of the ledger " + origin
}

// is says in a few words what the record is.
func (r *record) is() string {
	if r.Record == nil {
		return "an entry that cannot be read"
	}
	return kinds[r.Kind].is
}

// item is the record as one item of a page.
func (r *record) item(says string) report.Item {
	it := report.Item{Says: says, Index: &r.index, Record: r.id.String()}
	if r.Record != nil {
		it.Time = r.Time.String()
	}
	return it
}

func (r *record) sayingSection() report.Section {
	s := report.Section{Name: "says", Heading: "What the record says"}
	if r.Record == nil {
		it := r.item("An entry that cannot be read: " + r.err.Error())
		it.Mark = report.MarkBad
		var newer *evidence.VersionError
		if errors.As(r.err, &newer) {
			it.Mark = report.MarkDoubt
		}
		s.Items = append(s.Items, it)
		return s
	}
	k := kinds[r.Kind]
	it := r.item(fmt.Sprintf("%s (%s). %s", upper(k.is), r.Kind, k.proves))
	it.Fields = append(it.Fields, report.Field{Name: "speaks for", Value: r.Actor}, report.Field{Name: "time", Value: r.Time.String() + ", by the signer's clock"})
	if r.At != 0 {
		it.Fields = append(it.Fields, report.Field{Name: "happened at", Value: r.At.String() + ", as the transcript says"})
	}
	if r.Run != "" {
		it.Fields = append(it.Fields, report.Field{Name: "run", Value: string(r.Run)})
	}
	if r.Registry != nil {
		it.Fields = append(it.Fields, report.Field{Name: "list of who may sign", Value: fmt.Sprintf("as of number %d", *r.Registry)})
	}
	said := r.says()
	it.Fields = append(it.Fields, said.fields...)
	if r.Ext != nil {
		it.Fields = append(it.Fields, report.Field{Name: "added by others, which no rule reads", Value: string(r.Ext)})
	}
	s.Items = append(s.Items, it)
	return s
}

// upper begins a sentence.
func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func (r *record) signing() report.Section {
	s := report.Section{Name: "signed", Heading: "Who signed it"}
	by := r.signer()
	if by == nil {
		it := report.Item{Mark: report.MarkBad, Says: "Nobody can be shown to have signed it: " + r.why.Error()}
		if r.in.told == nil || !r.in.told.Trusted() {
			it.Mark = report.MarkDoubt
		}
		if r.u != nil {
			it.Fields = append(it.Fields, report.Field{Name: "key", Value: r.u.KeyID().String()})
		}
		s.Items = append(s.Items, it)
		return s
	}
	it := report.Item{Mark: report.MarkGood, Says: fmt.Sprintf("%s, %s.", by.Name, roles[by.Role])}
	if by.Name != r.Actor {
		it.Says = fmt.Sprintf("%s, %s, for %s.", by.Name, roles[by.Role], r.Actor)
	}
	if by.Hosted {
		it.Fields = append(it.Fields, report.Field{Name: "hosted", Value: fmt.Sprintf("%s has no key of its own: this is the word of its runtime, %s", r.Actor, by.Name)})
	}
	it.Fields = append(it.Fields, report.Field{Name: "key", Value: by.Key.String()})
	if len(by.Teams) > 0 {
		it.Fields = append(it.Fields, report.Field{Name: "teams", Value: strings.Join(by.Teams, ", ")})
	}
	if r.in.told != nil && r.in.told.Suspect(by.Key, r.index) {
		it.Mark = report.MarkDoubt
		it.Fields = append(it.Fields, report.Field{Name: "in doubt", Value: "the ledger says that this key was in the wrong hands by then"})
	}
	s.Items = append(s.Items, it)
	return s
}

// proof says how the record is shown to stand in the ledger.
func (r *record) proof(places []*record) report.Section {
	s := report.Section{Name: "proven", Heading: "How it is proven"}
	scope, in := &r.in.Report.Scope, r.in.Report.Rule(audit.RuleInclusion)
	it := report.Item{Index: &r.index, Record: r.id.String()}
	if r.in.Report.Status() == audit.Undecidable || in.Status == audit.Undecidable {
		it.Mark = report.MarkDoubt
	}
	switch in.Status {
	case audit.Held:
		it.Mark, it.Says = report.MarkGood, fmt.Sprintf("It stands in the ledger %s at index %d: that follows from the signed tree head.", r.in.origin, r.index)
	case audit.Broken:
		it.Mark, it.Says = report.MarkBad, "That it stands in the ledger is proven wrong, for it or for another record of the file."
	default:
		it.Mark, it.Says = report.MarkDoubt, "It cannot be decided whether it stands in the ledger."
	}
	if scope.Size > 0 {
		it.Fields = append(it.Fields, report.Field{Name: "tree head", Value: fmt.Sprintf("size %d, root %s", scope.Size, scope.Root)})
		witnesses := "by nobody: that the ledger shows everybody the same is its operator's word"
		if len(scope.Witnesses) > 0 {
			witnesses = "by " + strings.Join(scope.Witnesses, ", ")
		}
		it.Fields = append(it.Fields, report.Field{Name: "witnessed", Value: witnesses})
	}
	for x := r.in; x.within != nil; x = x.outer {
		a := x.within.acceptance
		it.Fields = append(it.Fields, report.Field{Name: "lies in", Value: fmt.Sprintf("the bundle that was accepted with %s, index %d of the ledger %s", a.id, a.index, x.outer.origin)})
	}
	if n := len(places); n > 1 {
		it.Fields = append(it.Fields, report.Field{Name: "also", Value: fmt.Sprintf("%d times more, in other bundles here", n-1)})
	}
	s.Items = append(s.Items, it)
	return s
}

// A link is a member of a record that names another.
type link struct {
	member string
	id     evidence.ID
}

// linksOf finds the records that a record names, in the order of its members.
// Free-form members name none.
func linksOf(rec *evidence.Record) []link {
	text, err := evidence.MarshalPayload(rec)
	if err != nil {
		return nil
	}
	var links []link
	d := jsontext.NewDecoder(strings.NewReader(string(text)))
	for {
		tok, err := d.ReadToken()
		if err != nil {
			return links
		}
		depth := d.StackDepth()
		kind, n := d.StackIndex(depth)
		isName := kind == '{' && n%2 == 1
		if tok.Kind() != '"' {
			continue
		}
		if isName {
			switch tok.String() {
			case "params", "refs", "ext":
				if d.SkipValue() != nil {
					return links
				}
			}
			continue
		}
		if id, err := evidence.ParseID(tok.String()); err == nil {
			links = append(links, link{memberOf(string(d.StackPointer()), rec.Kind), id})
		}
	}
}

// memberOf is a JSON pointer as the record format writes members.
func memberOf(pointer string, k evidence.Kind) string {
	var parts []string
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if part != string(k) && strings.Trim(part, "0123456789") != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ".")
}

func (r *record) links() report.Section {
	s := report.Section{Name: "names", Heading: "Which records it names"}
	for _, l := range linksOf(r.Record) {
		s.Items = append(s.Items, report.Item{Says: l.member + ": " + r.in.whatIs(l.id), Record: l.id.String()})
	}
	if len(s.Items) == 0 {
		s.Note = "None."
	}
	return cut(s)
}

func (r *record) namedBy() report.Section {
	s := report.Section{Name: "named_by", Heading: "Which records name it"}
	for _, x := range r.in.top().all() {
		for _, rec := range x.records {
			if rec.Record == nil {
				continue
			}
			for _, l := range linksOf(rec.Record) {
				if l.id == r.id {
					it := rec.item(fmt.Sprintf("%s, as %s", upper(rec.is()), l.member))
					s.Items = append(s.Items, it)
				}
			}
		}
	}
	if len(s.Items) == 0 {
		s.Note = "None in this file."
	}
	return cut(s)
}

func cut(s report.Section) report.Section {
	if n := len(s.Items); n > maxTold {
		s.Items, s.Omitted = s.Items[:maxTold], n-maxTold
	}
	return s
}

func (r *record) payloads() report.Section {
	s := report.Section{Name: "payloads", Heading: "Which texts it commits to"}
	quotes := r.says().quotes
	if len(quotes) == 0 {
		s.Note = "None."
		return s
	}
	s.Note = "A record holds no text that people or models wrote, but a commitment to it: disclosed or not, the text cannot be changed."
	for _, q := range quotes {
		it := report.Item{Says: upper(q.Name), Fields: []report.Field{{Name: "commitment", Value: q.Commit}}}
		q.Name = "text"
		it.Quotes = []report.Quote{q}
		switch q.State {
		case report.QuoteDisclosed:
			if r.signer() != nil {
				it.Mark = report.MarkGood
			}
		case report.QuoteOther:
			it.Mark = report.MarkBad
		case report.QuoteErased:
			for _, c := range r.Commitments() {
				if gone := r.in.gone[c.Commit]; gone != nil && c.Commit.String() == q.Commit {
					it.Fields = append(it.Fields, report.Field{Name: "erased by", Value: r.in.named(gone.id)})
				}
			}
		}
		s.Items = append(s.Items, it)
	}
	return s
}

// findings are those of the audit that name the record.
func (r *record) findings() report.Section {
	s := report.Section{Name: "findings", Heading: "What the audit found about it"}
	omitted := 0
	for _, rule := range r.in.Report.Rules {
		omitted += rule.Omitted
		for i := range rule.Findings {
			f := &rule.Findings[i]
			whole := len(f.Records) == 0 && f.Status == audit.Undecidable && f.Reason == audit.ReasonUntrusted
			if slices.Contains(f.Records, r.id) || whole {
				s.Items = append(s.Items, finding(rule.Rule, f))
			}
		}
	}
	if len(s.Items) == 0 {
		s.Note = "Nothing."
	}
	if omitted > 0 {
		s.Note = strings.TrimSpace(s.Note + fmt.Sprintf(" Of %d more findings the audit says only that they are there.", omitted))
	}
	s.Items = together(s.Items)
	return cut(s)
}

// finding is one finding in plain words.
func finding(rule audit.Rule, f *audit.Finding) report.Item {
	it := report.Item{Mark: report.MarkBad, Says: fmt.Sprintf("%s No (%s): %s.", questions[rule], rule, in(reasons, f.Reason))}
	if f.Status == audit.Undecidable {
		it.Mark = report.MarkDoubt
		words := reasons
		if undecided[f.Reason] != "" {
			words = undecided
		}
		it.Says = fmt.Sprintf("%s Not decidable (%s): %s.", questions[rule], rule, in(words, f.Reason))
	}
	for _, m := range []report.Field{{Name: "expected", Value: f.Expected}, {Name: "found", Value: f.Found}, {Name: "would be decided by", Value: f.Decides}, {Name: "run", Value: string(f.Run)}} {
		if m.Value != "" {
			it.Fields = append(it.Fields, m)
		}
	}
	for i, id := range f.Records {
		value := id.String()
		if i < len(f.Indexes) {
			value += fmt.Sprintf(" (index %d)", f.Indexes[i])
		}
		it.Fields = append(it.Fields, report.Field{Name: "record", Value: value})
	}
	return it
}

// together puts what is undecided for one and the same cause into one item.
func together(items []report.Item) []report.Item {
	untrusted := 0
	var out []report.Item
	for _, it := range items {
		if strings.Contains(it.Says, string(audit.ReasonUntrusted)) {
			if untrusted++; untrusted > 1 {
				continue
			}
			it.Says = "Nothing can be decided: " + reasons[audit.ReasonUntrusted] + "."
		}
		out = append(out, it)
	}
	return out
}

func (r *record) limits() report.Section {
	s := report.Section{Name: "limits", Heading: "What it does not prove"}
	say := func(text string) { s.Items = append(s.Items, report.Item{Says: text}) }
	if r.Record != nil {
		say(upper(kinds[r.Kind].not))
	}
	say("That the world is as the record says. A record is what its signer said.")
	if by := r.signer(); by != nil && by.Name != r.Actor {
		say(fmt.Sprintf("That %s itself said so: %s signed for it.", r.Actor, by.Name))
	}
	if len(r.in.Report.Scope.Witnesses) == 0 {
		say("That the ledger shows everybody the same: no witness cosigned its tree head.")
	}
	if r.in.form == "receipt" {
		say("What came before and after it, and who was registered: for that, ask for the bundle of its run.")
	}
	return s
}

// Malformed is the page about a file that has no form, and why.
func Malformed(why string) *report.Page {
	return &report.Page{
		Version: report.Version, Kind: "malformed", Outcome: report.Malformed, Title: "no well-formed file",
		Answer: "The " + strings.TrimPrefix(answer(report.Malformed), "the ") + ".", Why: []report.Item{{Mark: report.MarkBad, Says: why}},
	}
}
