package story

import (
	"fmt"
	"slices"
	"strings"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/internal/report"
)

// A run as it is told.
type run struct {
	in      *Reading
	id      evidence.RunID
	opened  *record
	body    *evidence.RunOpened // nil: its run.opened is not here, or nobody can be shown to have signed it
	closed  *record
	records []*record
	judged  *audit.Run // nil: it was not audited
}

// doubtful marks an item about a record that nobody can be shown to have signed.
func (r *record) doubtful(it report.Item) report.Item {
	if r.in.trusted() && r.signer() == nil {
		it.Mark = report.MarkBad
		it.Fields = append(it.Fields, report.Field{Name: "not counted", Value: "nobody can be shown to have signed this: " + r.why.Error()})
	}
	return it
}

func (r *run) who() ([]report.Item, string) {
	if r.body == nil {
		return nil, "The opening of the run is not here, or nobody can be shown to have signed it."
	}
	it := r.opened.doubtful(r.opened.item(fmt.Sprintf("%s acted for %s, on the task %s.", r.opened.Actor, r.body.Principal, r.body.Task)))
	said := r.opened.says()
	it.Fields = append(it.Fields, report.Field{Name: "agent", Value: r.opened.Actor}, report.Field{Name: "run", Value: string(r.id)})
	it.Fields, it.Quotes = append(it.Fields, said.fields...), said.quotes
	if r.closed != nil {
		closed := r.closed.says()
		it.Fields = append(it.Fields, report.Field{Name: "closed", Value: r.closed.Time.String()})
		it.Fields, it.Quotes = append(it.Fields, closed.fields...), append(it.Quotes, closed.quotes...)
	} else {
		it.Fields = append(it.Fields, report.Field{Name: "closed", Value: "not here: the run was open, as far as this file goes"})
	}
	if r.judged != nil {
		if spent := amounts(r.judged.Spent()); spent != "" {
			it.Fields = append(it.Fields, report.Field{Name: "spent", Value: spent})
		}
	}
	items := []report.Item{it}
	seen := make(map[string]bool)
	for _, rec := range r.records {
		by := rec.signer()
		if by == nil || seen[by.Name] {
			continue
		}
		seen[by.Name] = true
		says := fmt.Sprintf("%s, %s, signed with the key %s.", by.Name, roles[by.Role], by.Key)
		if len(by.Teams) > 0 {
			says += " Of the team " + strings.Join(by.Teams, ", ") + "."
		}
		items = append(items, report.Item{Says: says})
	}
	return items, ""
}

func (r *run) contract() ([]report.Item, string) {
	switch {
	case r.body == nil:
		return nil, ""
	case r.body.Contract == nil:
		return nil, "Nobody declared what had to be done. So nothing can be missing, and nothing is shown to be complete."
	}
	note := fmt.Sprintf("Declared by %s.", r.body.Contract.DeclaredBy)
	if r.judged == nil {
		return nil, note
	}
	c, trial := r.in.told.Contract(r.judged)
	if c == nil {
		return nil, note + " It is not disclosed, or cannot be read: what had to be done cannot be said."
	}
	if r.closed == nil {
		note += " The run is not closed: this is how it stands."
	}
	whole := trial.Decision
	for _, v := range r.in.Report.Verdicts {
		if v.Run == r.id && v.Verdict.Claim.IsZero() && v.Verdict.Contract != nil {
			whole = v.Verdict.Contract.Decision
		}
	}
	items := []report.Item{r.decided("The contract as a whole: "+in(results, whole.Result)+".", whole)}
	for _, part := range trial.Parts {
		items = append(items, r.decided(partOf(c, part)+": "+in(results, part.Result)+".", part.Decision))
	}
	return items, note + fmt.Sprintf(" Evidence counts from the source %q on.", c.WeakestSource)
}

// partOf is one item of a contract in words.
func partOf(c *audit.Contract, part audit.TrialPart) string {
	var i int
	switch {
	case part.Place == "/only":
		return "Nothing else may have been done, of " + strings.Join(c.Only, ", ")
	case strings.HasPrefix(part.Place, "/forbids/"):
		return fmt.Sprintf("%s must not have been done", part.Action)
	}
	if _, err := fmt.Sscanf(part.Place, "/expects/%d", &i); err != nil || i >= len(c.Expects) {
		return part.Action
	}
	e := c.Expects[i]
	s := part.Action
	if e.Resource != "" {
		s += " on " + e.Resource
	}
	s += " must have been done"
	switch {
	case e.Least == 0:
		s = part.Action + " may have been done"
	case e.Least > 1:
		s += fmt.Sprintf(", %d times", e.Least)
	}
	if len(e.After) > 0 {
		s += ", after " + strings.Join(e.After, ", ")
	}
	return fmt.Sprintf("%s (item %d of the contract)", s, i+1)
}

// decided is a decision with its evidence.
func (r *run) decided(says string, d audit.Decision) report.Item {
	it := report.Item{Mark: resultMark(d.Result), Says: says}
	if d.Why != "" {
		it.Fields = append(it.Fields, report.Field{Name: "why", Value: d.Why})
	}
	if d.Source != "" {
		it.Fields = append(it.Fields, report.Field{Name: "weakest source", Value: in(sources, d.Source)})
	}
	for i, id := range d.Records {
		if i == 20 {
			it.Fields = append(it.Fields, report.Field{Name: "evidence", Value: fmt.Sprintf("and %d more", len(d.Records)-i)})
			break
		}
		it.Fields = append(it.Fields, report.Field{Name: "evidence", Value: r.in.named(id)})
	}
	return it
}

func resultMark(r evidence.Result) report.Mark {
	switch r {
	case evidence.Supported:
		return report.MarkGood
	case evidence.Contradicted, evidence.Unsupported:
		return report.MarkBad
	}
	return report.MarkDoubt
}

func (r *run) policies() ([]report.Item, string) {
	type use struct{ allow, deny, escalate int }
	uses := make(map[string]*use)
	var names []string
	sets := make(map[evidence.Digest]bool)
	var quotes []report.Quote
	checks := 0
	for _, rec := range r.records {
		b, ok := rec.Body.(*evidence.Authorization)
		if !ok {
			continue
		}
		checks++
		for _, name := range b.Policies {
			if uses[name] == nil {
				uses[name] = &use{}
				names = append(names, name)
			}
			switch b.Effect {
			case evidence.Allow:
				uses[name].allow++
			case evidence.Deny:
				uses[name].deny++
			default:
				uses[name].escalate++
			}
		}
		if c := b.PolicySet; c != nil && !sets[c.Commit] && len(sets) < maxTold {
			sets[c.Commit] = true
			quotes = append(quotes, r.in.quote("all policies of that moment", c))
		}
	}
	var items []report.Item
	for _, name := range names {
		u := uses[name]
		items = append(items, report.Item{Says: fmt.Sprintf("%s decided: %d allowed, %d denied, %d put to people.", name, u.allow, u.deny, u.escalate)})
	}
	if len(quotes) > 0 {
		items = append(items, report.Item{Says: "The policies:", Quotes: quotes})
	}
	return items, fmt.Sprintf("%s.", report.Count(checks, "permission check"))
}

func (r *run) approvals() ([]report.Item, string) {
	var items []report.Item
	used := make(map[evidence.ID]evidence.ID)
	for _, rec := range r.records {
		if b, ok := rec.Body.(*evidence.Authorization); ok && !b.Approval.IsZero() {
			used[b.Approval] = rec.id
		}
	}
	for _, rec := range r.records {
		b, ok := rec.Body.(*evidence.Approval)
		if !ok {
			continue
		}
		what := "something that is not here"
		if asked := r.in.byID[rec.About]; asked != nil && asked.Record != nil {
			if a, ok := asked.Body.(*evidence.Authorization); ok {
				what = actionOn(a.Action, a.Resource)
			}
		}
		it := rec.item(fmt.Sprintf("%s approved %s, until %s.", rec.Actor, what, b.Until))
		it.Mark = report.MarkGood
		if b.Answer == evidence.Refuse {
			it.Says, it.Mark = fmt.Sprintf("%s refused %s.", rec.Actor, what), report.MarkNone
		}
		if by := rec.signer(); by != nil {
			it.Fields = append(it.Fields, report.Field{Name: "signed by", Value: fmt.Sprintf("%s, %s, of the team %s", by.Name, roles[by.Role], strings.Join(by.Teams, ", "))})
		}
		it.Quotes = rec.says().quotes
		switch id, ok := used[rec.id]; {
		case ok:
			it.Fields = append(it.Fields, report.Field{Name: "used by", Value: r.in.named(id)})
		case b.Answer == evidence.Approve:
			it.Fields = append(it.Fields, report.Field{Name: "used by", Value: "nothing in this file"})
		}
		items = append(items, rec.doubtful(it))
	}
	note := ""
	if len(items) == 0 {
		note = "Nobody approved anything: no approval is here."
	}
	return items, note
}

func actionOn(action, resource string) string {
	if resource == "" {
		return action
	}
	return action + " on " + resource
}

// happened tells of each action what came of it, and what else the run did, in
// order.
func (r *run) happened() ([]report.Item, string) {
	var items []report.Item
	place := make(map[evidence.ID]int) // of authorizations
	under := func(auth evidence.ID, it report.Item) {
		if i, ok := place[auth]; ok {
			items[i].Items = append(items[i].Items, it)
			return
		}
		items = append(items, it)
	}
	attempt := make(map[evidence.ID]evidence.ID) // executions, by authorization
	for _, rec := range r.records {
		said := rec.says()
		switch b := rec.Body.(type) {
		case *evidence.Authorization:
			it := r.action(rec, b)
			place[rec.id] = len(items)
			items = append(items, rec.doubtful(it))
		case *evidence.Execution:
			attempt[rec.id] = b.Authorization
			it := rec.item(fmt.Sprintf("Attempt %d: %s.", b.Attempt, statuses[b.Status]))
			it.Fields, it.Quotes = pick(said.fields, "why it failed", "how it is known", "took", "cost", "public members of that"), withoutInput(said.quotes)
			under(b.Authorization, rec.doubtful(it))
		case *evidence.Confirmation:
			it := rec.item(fmt.Sprintf("The tool %s itself says: %s.", rec.Actor, statuses[b.Status]))
			it.Quotes = said.quotes
			under(rec.About, rec.doubtful(it))
		case *evidence.Settlement:
			it := rec.item(fmt.Sprintf("The doubt was settled %s: %s.", settlers[b.By], statuses[b.Finding]))
			it.Fields, it.Quotes = pick(said.fields, "rests on the answer", "public members of that"), said.quotes
			auth := b.Settles
			if a, ok := attempt[auth]; ok {
				auth = a
			}
			under(auth, rec.doubtful(it))
		case *evidence.RunOpened, *evidence.RunClosed, *evidence.Claim, *evidence.Verdict, *evidence.Approval, *evidence.Checkpoint:
			// told elsewhere, or only of use to the runtime
		case *evidence.Context:
			it := rec.item("The model was given " + report.Count(len(b.Sources), "text") + ".")
			it.Fields, it.Quotes = said.fields, said.quotes
			items = append(items, rec.doubtful(it))
		case *evidence.Decision:
			it := rec.item(fmt.Sprintf("The model %s answered.", b.Model))
			it.Fields, it.Quotes = pick(said.fields, "decides the step", "cost"), said.quotes
			items = append(items, rec.doubtful(it))
		default:
			it := rec.item(upper(rec.is()) + ".")
			it.Fields, it.Quotes = said.fields, said.quotes
			items = append(items, rec.doubtful(it))
		}
	}
	return items, r.tallied()
}

// tallied counts what came of all actions.
func (r *run) tallied() string {
	if r.judged == nil {
		return ""
	}
	n := make(map[string]int)
	for _, a := range r.judged.Actions() {
		_, word := came(&a)
		n[word]++
	}
	var parts []string
	for _, word := range []string{"done", "failed", "denied", "denied, and attempted all the same", "put to people", "in doubt"} {
		if n[word] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[word], word))
		}
	}
	if len(parts) == 0 {
		return "Nothing was attempted."
	}
	return "Of all that was attempted: " + strings.Join(parts, ", ") + "."
}

// came is what became of an action, in a word.
func came(a *audit.Action) (report.Mark, string) {
	enforced := a.Record.Mode == evidence.Enforce
	switch {
	case a.Record.Effect == evidence.Deny && enforced && a.Attempts > 0:
		return report.MarkBad, "denied, and attempted all the same"
	case a.Record.Effect == evidence.Deny && enforced:
		return report.MarkNone, "denied"
	case a.Record.Effect == evidence.Escalate && enforced:
		return report.MarkNone, "put to people"
	case a.Status == evidence.StatusSuccess:
		return report.MarkGood, "done"
	case a.Status == evidence.StatusFailure || a.Status == evidence.StatusNotRun:
		return report.MarkNone, "failed"
	}
	return report.MarkDoubt, "in doubt"
}

// action tells of one permission check and, where the run was audited, what became
// of what was checked.
func (r *run) action(rec *record, b *evidence.Authorization) report.Item {
	what := actionOn(b.Action, b.Resource)
	it := rec.item(fmt.Sprintf("%s, by the tool %s: %s.", what, b.Tool, effects[b.Effect]))
	if r.judged != nil {
		if a, ok := r.judged.Action(rec.id); ok {
			mark, word := came(&a)
			it.Mark, it.Says = mark, fmt.Sprintf("%s, by the tool %s: %s.", what, b.Tool, word)
			if a.Status != "" {
				it.Fields = append(it.Fields, report.Field{Name: "the strongest word on it", Value: statuses[a.Status] + "; " + in(sources, a.Source)})
			}
		}
	}
	said := rec.says()
	it.Fields = append(it.Fields, pick(said.fields, "decision", "step", "enforced", "deciding policies", "team that is asked", "uses the approval", "public members of that")...)
	for _, q := range said.quotes {
		if q.Name != "all policies of that moment" && q.Name != "the tool, as it described itself" {
			it.Quotes = append(it.Quotes, q)
		}
	}
	return it
}

// pick returns the fields of those names, in their order.
func pick(fields []report.Field, names ...string) (out []report.Field) {
	for _, f := range fields {
		if slices.Contains(names, f.Name) {
			out = append(out, f)
		}
	}
	return out
}

// withoutInput leaves out what the permission check showed already.
func withoutInput(quotes []report.Quote) (out []report.Quote) {
	for _, q := range quotes {
		if q.Name != "input" {
			out = append(out, q)
		}
	}
	return out
}

func (r *run) claims() ([]report.Item, string) {
	var items []report.Item
	for _, rec := range r.records {
		b, ok := rec.Body.(*evidence.Claim)
		if !ok {
			continue
		}
		items = append(items, rec.doubtful(r.claim(rec, b)))
	}
	note := ""
	if len(items) == 0 {
		note = "Nothing was claimed."
	}
	return items, note
}

func (r *run) claim(rec *record, b *evidence.Claim) report.Item {
	it := rec.item(rec.Actor + " claimed.")
	var verdict *audit.Verdict
	for _, v := range r.in.Report.Verdicts {
		if v.Run == r.id && v.Verdict.Claim == rec.id {
			verdict = v.Verdict
		}
	}
	switch {
	case verdict != nil:
		it.Mark, it.Says = resultMark(verdict.Result), fmt.Sprintf("%s claimed: %s.", rec.Actor, in(results, verdict.Result))
	case r.judged != nil:
		it.Says = rec.Actor + " claimed, and the run took no notice of it: nothing was decided about it."
	}
	for i := range b.Statements {
		st := &b.Statements[i]
		one := report.Item{Says: fmt.Sprintf("Statement %d.", i), Quotes: []report.Quote{r.in.quote("it says", &st.Text)}}
		for k := range st.Assertions {
			a := report.Item{Says: "It asserts " + assertion(&st.Assertions[k])}
			if verdict != nil {
				for _, d := range verdict.Assertions {
					if d.Statement == i && d.Assertion == k {
						a = r.decided(fmt.Sprintf("It asserts %s: %s.", assertion(&st.Assertions[k]), in(results, d.Result)), d.Decision)
					}
				}
			}
			one.Items = append(one.Items, a)
		}
		if len(st.Assertions) == 0 {
			one.Mark = report.MarkDoubt
			one.Says += " It asserts nothing that evidence could decide: it is words alone."
		}
		for _, id := range st.Cites {
			one.Fields = append(one.Fields, report.Field{Name: "rests on", Value: r.in.named(id)})
		}
		if len(st.Steps) > 0 {
			one.Fields = append(one.Fields, report.Field{Name: "rests on the steps", Value: strings.Join(st.Steps, ", ")})
		}
		if len(st.Cites)+len(st.Steps) == 0 {
			one.Fields = append(one.Fields, report.Field{Name: "rests on", Value: "nothing that it names"})
		}
		it.Items = append(it.Items, one)
	}
	if verdict != nil {
		for _, g := range verdict.Given {
			it.Items = append(it.Items, r.decided("It rests on what was handed over with "+g.Acceptance.String()+": "+in(results, g.Result)+".", g.Decision))
		}
	}
	return it
}

func (r *run) observed() ([]report.Item, string) {
	var items []report.Item
	for _, rec := range r.records {
		switch b := rec.Body.(type) {
		case *evidence.Authorization:
			if b.Mode == evidence.Observe {
				items = append(items, rec.item(fmt.Sprintf("%s: the permission check said %q, and was not enforced.", actionOn(b.Action, b.Resource), b.Effect)))
			}
		case *evidence.Execution:
			if b.Source != evidence.SourceRuntime {
				items = append(items, rec.item(fmt.Sprintf("%s: %s.", actionOn(b.Action, b.Resource), in(sources, b.Source))))
			}
		}
	}
	note := ""
	if len(items) == 0 {
		note = "Nothing: every permission check was enforced, and the runtime made every call itself."
	}
	return items, note
}
