package story

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"ledgerd/evidence"
	"ledgerd/internal/report"
)

// A said is what a record says, in plain words.
type said struct {
	in     *Reading
	fields []report.Field
	quotes []report.Quote
}

func (s *said) field(name, format string, args ...any) {
	value := fmt.Sprintf(format, args...)
	if value != "" {
		s.fields = append(s.fields, report.Field{Name: name, Value: value})
	}
}

// names says which record another is.
func (s *said) names(name string, ids ...evidence.ID) {
	for _, id := range ids {
		if !id.IsZero() {
			s.field(name, "%s", s.in.named(id))
		}
	}
}

func (s *said) quote(name string, c *evidence.Commitment) {
	if c != nil {
		s.quotes = append(s.quotes, s.in.quote(name, c))
	}
}

func (s *said) amounts(name string, a evidence.Amounts) { s.field(name, "%s", amounts(a)) }

func (s *said) members(name string, o evidence.Object) { s.field(name, "%s", string(o)) }

// amounts are quantities in one order.
func amounts(a evidence.Amounts) string {
	var list []string
	for unit, n := range a {
		list = append(list, fmt.Sprintf("%d %s", n, unit))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// named is a record by its ID, and what it is where it lies in the file.
func (x *Reading) named(id evidence.ID) string {
	return fmt.Sprintf("%s (%s)", id, x.whatIs(id))
}

func (x *Reading) whatIs(id evidence.ID) string {
	rec := x.find(id)
	switch {
	case rec == nil:
		return "not in this file"
	case rec.in != x:
		return fmt.Sprintf("%s, index %d in another bundle here", rec.is(), rec.index)
	}
	return fmt.Sprintf("%s, index %d", rec.is(), rec.index)
}

// find looks for a record here, and then in the bundles around and within.
func (x *Reading) find(id evidence.ID) *record {
	if rec := x.byID[id]; rec != nil {
		return rec
	}
	top := x.top()
	if top.elsewhere == nil {
		top.elsewhere = make(map[evidence.ID]*record)
		for _, other := range slices.Backward(top.all()) { // the outermost that has it
			for _, rec := range other.records {
				top.elsewhere[rec.id] = rec
			}
		}
	}
	return top.elsewhere[id]
}

// quote is a payload, or what has become of it.
func (x *Reading) quote(name string, c *evidence.Commitment) report.Quote {
	q := report.Quote{Name: name, State: report.QuoteWithheld, Size: c.Size, Media: c.Media, Commit: c.Commit.String()}
	switch p := x.payloads[c.Commit]; {
	case p == nil:
		if x.gone[c.Commit] != nil {
			q.State = report.QuoteErased
		}
	case !p.opened:
		q.State = report.QuoteOther
	default:
		q.State = report.QuoteDisclosed
		if q.Cut = !p.bundle && int64(len(p.begin)) < p.size; q.Cut {
			q.Text = excerpt(p.begin)
		} else {
			q.Text = string(p.begin)
		}
	}
	return q
}

// excerpt drops the half of a character at which a beginning was cut off.
func excerpt(b []byte) string {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if r := b[len(b)-i]; utf8.RuneStart(r) {
			if !utf8.FullRune(b[len(b)-i:]) {
				b = b[:len(b)-i]
			}
			break
		}
	}
	return string(b)
}

// says is what a record says. Every kind has its words, and every member.
func (r *record) says() *said {
	s := &said{in: r.in}
	switch b := r.Body.(type) {
	case *evidence.RunOpened:
		s.runOpened(b)
	case *evidence.RunResumed:
		s.field("why", "%s", b.Reason)
		s.names("in doubt at that time", b.InDoubt...)
	case *evidence.Context:
		for i := range b.Sources {
			s.quote("given to the model: "+b.Sources[i].Name, &b.Sources[i].Content)
			s.names("where "+b.Sources[i].Name+" came from", b.Sources[i].Evidence)
		}
	case *evidence.Decision:
		s.field("decides the step", "%s", b.Step)
		s.field("model", "%s", b.Model)
		s.quote("what was asked", b.Question)
		s.quote("what it chose", &b.Choice)
		s.quote("why, in its words", b.Rationale)
		s.names("made from", b.Context...)
		s.amounts("cost", b.Cost)
	case *evidence.Authorization:
		s.authorization(b)
	case *evidence.Approval:
		s.field("answer", "%s", in(answers, b.Answer))
		if b.Until != 0 {
			s.field("holds until", "%s", b.Until)
		}
		s.quote("why", b.Reason)
	case *evidence.Execution:
		s.execution(b)
	case *evidence.Confirmation:
		s.field("what came of it", "%s", in(statuses, b.Status))
		s.quote("what the tool returned", b.Output)
		s.members("public members of that", b.Refs)
	case *evidence.Settlement:
		s.names("settles the doubt about", b.Settles)
		s.field("how it was found out", "%s", in(settlers, b.By))
		s.names("rests on the answer", b.Answer)
		s.field("what was found", "%s", in(statuses, b.Finding))
		s.quote("what was found, in full", b.Output)
		s.members("public members of that", b.Refs)
	case *evidence.Checkpoint:
		s.field("step", "%s", b.Name)
		s.field("number", "%d in its run", b.Sequence)
		s.quote("saved state", &b.State)
		s.names("covers", b.Covers...)
	case *evidence.Claim:
		s.claim(b)
	case *evidence.Verdict:
		s.field("result", "%s", in(results, b.Result))
		if b.Claim.IsZero() {
			s.field("about", "the run as such, at its end")
		}
		s.names("about the claim", b.Claim)
		s.quote("the verdict, whole", &b.Document)
	case *evidence.Escalation:
		s.field("why", "%s", in(classes, evidence.Class(b.Reason)))
		s.field("who was asked", "%s", b.To)
		s.quote("the question", b.Text)
		s.names("concerns", b.Concerns...)
	case *evidence.RunClosed:
		s.field("how it ended", "%s", in(ends, b.End))
		s.field("why", "%s", in(classes, evidence.Class(b.Reason)))
		s.quote("why, in words", b.Text)
	case *evidence.PayloadErased:
		s.field("erased", "the text under the commitment %s", b.Commit)
		s.field("why", "%s", b.Reason)
	default:
		s.handoffOrRegistry(r.Body)
	}
	return s
}

func (s *said) runOpened(b *evidence.RunOpened) {
	s.field("for whom", "%s", b.Principal)
	s.field("about", "%s", b.Subject)
	s.field("task", "%s", b.Task)
	s.quote("what was asked, in the asker's words", b.Intent)
	s.quote("input", b.Input)
	if b.Contract != nil {
		s.quote("contract: what has to be done", &b.Contract.Document)
		s.field("contract declared by", "%s", b.Contract.DeclaredBy)
	} else {
		s.field("contract", "none: nobody declared what has to be done")
	}
	s.amounts("budget", b.Budget)
	s.field("runtime that alone may continue it", "%s", b.Runtime)
	s.names("started from", b.Parent)
	s.names("continues the handoff accepted as", b.Acceptance)
	if b.Source != "" {
		s.field("how it is known", "%s", in(sources, b.Source))
	}
	s.field("name in the transcript", "%s", b.Imported)
}

func (s *said) authorization(b *evidence.Authorization) {
	s.field("decision", "%s", in(effects, b.Effect))
	s.field("enforced", "%s", in(modes, b.Mode))
	s.field("action", "%s", b.Action)
	s.field("on", "%s", b.Resource)
	s.field("by the tool", "%s", b.Tool)
	s.field("step", "%s", b.Step)
	s.quote("input that was checked", &b.Input)
	s.members("public members of that", b.Params)
	s.quote("the tool, as it described itself", b.ToolSchema)
	s.field("key against doing it twice", "%s", b.IdempotencyKey)
	s.names("rests on the model's answer", b.Decision)
	s.field("deciding policies", "%s", strings.Join(b.Policies, ", "))
	s.quote("all policies of that moment", b.PolicySet)
	s.quote("errors of policies", b.Errors)
	s.field("team that is asked", "%s", b.Team)
	s.names("asked before as", b.Escalated)
	s.names("uses the approval", b.Approval)
	s.amounts("what an attempt may cost", b.Estimate)
	s.field("how it is known", "%s", in(sources, b.Source))
}

func (s *said) execution(b *evidence.Execution) {
	s.field("what came of it", "%s", in(statuses, b.Status))
	s.field("why it failed", "%s", in(classes, b.Class))
	s.field("how it is known", "%s", in(sources, b.Source))
	s.field("action", "%s", b.Action)
	s.field("on", "%s", b.Resource)
	s.field("by the tool", "%s", b.Tool)
	s.field("attempt", "number %d", b.Attempt)
	s.names("permitted by", b.Authorization)
	s.quote("input", &b.Input)
	s.quote("what the tool returned", b.Output)
	s.members("public members of that", b.Refs)
	s.quote("error", b.Error)
	s.names("the tool's own word", b.Confirmation)
	if b.TookMS != nil {
		s.field("took", "%d ms", *b.TookMS)
	}
	s.amounts("cost", b.Cost)
}

func (s *said) claim(b *evidence.Claim) {
	for i := range b.Statements {
		st := &b.Statements[i]
		name := "statement"
		if len(b.Statements) > 1 {
			name = fmt.Sprintf("statement %d", i) // as findings count them
		}
		s.quote(name, &st.Text)
		for k := range st.Assertions {
			a := &st.Assertions[k]
			s.field(name+" asserts", "%s", assertion(a))
			s.quote("what that has to look like", a.Expect)
		}
		if len(st.Assertions) == 0 {
			s.field(name+" asserts", "nothing that evidence could decide: it is words alone")
		}
		s.names(name+" rests on", st.Cites...)
		s.field(name+" rests on the steps", "%s", strings.Join(st.Steps, ", "))
		if len(st.Cites)+len(st.Steps) == 0 {
			s.field(name+" rests on", "nothing that it names")
		}
	}
}

func assertion(a *evidence.Assertion) string {
	if a.Kind == evidence.AssertContract {
		return "contract: everything was done that the run's contract asks for"
	}
	on := ""
	if a.Resource != "" {
		on = " on " + a.Resource
	}
	return fmt.Sprintf("action: %s%s succeeded", a.Action, on)
}

func (s *said) handoffOrRegistry(body evidence.Body) {
	switch b := body.(type) {
	case *evidence.HandoffOffered:
		s.field("to whom", "%s of the ledger %s, with the key %s", b.To.Actor, b.To.Origin, b.To.Key)
		s.field("task", "%s", b.Task)
		for _, e := range b.Scope {
			s.field("may do", "%s on %s", e.Action, e.Resource)
		}
		s.quote("what is handed over", b.Artifact)
		s.names("rests on", b.Evidence...)
		s.quote("note, which nobody verified", b.Note)
		s.field("may be accepted until", "%s", b.Expires)
		s.field("state of the ledger at that time", "at most %d seconds old", b.HeadMaxAge)
		s.names("passes on what was accepted as", b.Parent)
	case *evidence.HandoffAccepted:
		s.names("accepts the offer", b.Offer)
		if b.Acceptance.IsZero() {
			s.field("of the ledger", "%s", b.Origin)
		} else {
			s.field("the receiver's ledger", "%s", b.Origin)
			s.names("the receiver's own acceptance", b.Acceptance)
		}
		s.field("continued in the run", "%s", b.Opens)
		s.field("verified under", "size %d, root %s", b.Head.Size, b.Head.Root)
		s.quote("the bundle that was verified", &b.Bundle)
	case *evidence.HandoffRejected:
		s.names("refuses the offer", b.Offer)
		s.field("of the ledger", "%s", b.Origin)
		s.field("why", "%s", b.Reason)
		s.quote("proof", b.Proof)
	case *evidence.LedgerCreated:
		for i := range b.RootKeys {
			s.field("root key", "%s", keyName(&b.RootKeys[i]))
		}
		if b.Successor != nil {
			s.field("continues", "the ledger %s, last known with size %d and root %s", b.Successor.Origin, b.Successor.Head.Size, b.Successor.Head.Root)
		}
	case *evidence.ActorRegistered:
		s.field("name", "%s", b.Name)
		s.field("role", "%s", in(roles, b.Role))
		if b.Key != nil {
			s.field("key", "%s", keyName(b.Key))
		}
		if b.Host != "" {
			s.field("has no key", "the runtime %s signs for it", b.Host)
		}
		s.field("teams", "%s", strings.Join(b.Teams, ", "))
	case *evidence.ActorRevoked:
		s.field("name", "%s", b.Name)
		if b.Key.IsZero() {
			s.field("what ends", "all of its keys, and its host")
		} else {
			s.field("what ends", "the key %s", b.Key)
		}
		if b.SuspectFrom != nil {
			s.field("in doubt", "everything that it signed from index %d on", *b.SuspectFrom)
		}
		s.field("why", "%s", b.Reason)
	}
}

// keyName is a key by its thumbprint, by which records name it.
func keyName(j *evidence.JWK) string {
	k, err := j.PublicKey()
	if err != nil {
		return "none that can be used: " + err.Error()
	}
	return k.Thumbprint().String()
}
