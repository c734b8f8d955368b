package importer

import (
	"crypto/sha256"
	"fmt"

	"github.com/google/uuid"

	"ledgerd/evidence"
)

// RunID returns the run that a transcript becomes in a ledger: a UUID of
// version 8 (RFC 9562 section 5.8) whose free bits are the SHA-256 of the
// ledger's origin, a newline and the transcript's name. So an import that is
// repeated finds its run again.
func RunID(origin, transcript string) evidence.RunID {
	space := uuid.NewSHA1(uuid.NameSpaceDNS, []byte("import.ledgerd"))
	id := uuid.NewHash(sha256.New(), space, []byte(origin+"\n"+transcript), 8)
	return evidence.RunID("run_" + id.String())
}

// draft is a record to be: what it commits to, and the body that it gets once
// the commitments and the IDs of the records before it are known.
type draft struct {
	kind  evidence.Kind
	at    evidence.Time
	parts []part
	body  func(l *line, own []evidence.Commitment) evidence.Body
}

// line is the line of a run as far as it is built: for each draft the ID of its
// record and its own commitments.
type line struct {
	ids     []evidence.ID
	commits [][]evidence.Commitment
}

// maxContext bounds the context records that a decision names: 45 bytes each in
// an entry of at most 65,535.
const maxContext = 256

// planner lays out the records of one transcript, up to its claim.
type planner struct {
	t       *Transcript
	runtime string
	drafts  []draft
	fresh   map[string][]int    // of each thread, context drafts since its last decision
	calls   map[*Call]int       // the authorization of each call
	answers map[*Message]*Call  // the call that each answer is of
	asked   map[string]*Message // of each thread, the message whose calls are being answered
	said    *part               // the last thing that the agent said
	saidIn  int                 // the decision that said it, -1 for none
}

// plan returns the drafts of t from run.opened to the claim: for every message
// and every call its records, in the transcript's order.
func plan(t *Transcript, runtime, operator string) []draft {
	p := &planner{
		t: t, runtime: runtime, saidIn: -1, fresh: make(map[string][]int), calls: make(map[*Call]int),
		answers: make(map[*Message]*Call), asked: make(map[string]*Message),
	}
	for i := range t.Messages {
		for j := range t.Messages[i].Calls {
			if c := &t.Messages[i].Calls[j]; c.Answer != nil {
				p.answers[c.Answer] = c
			}
		}
	}
	p.open(operator)
	var threads []string
	for i := range t.Messages {
		m := &t.Messages[i]
		switch m.Role {
		case "assistant":
			if p.asked[m.Thread] == nil { // its first: from now on there is one
				threads = append(threads, m.Thread)
			}
			p.leaveUnanswered(m.Thread)
			p.decide(m)
		case roleAction:
			for j := range m.Calls {
				p.authorize(m, &m.Calls[j], -1)
			}
		case "tool":
			p.answer(m)
		default:
			p.context(m.Role, m, -1)
		}
	}
	for _, thread := range threads {
		p.leaveUnanswered(thread)
	}
	p.claim()
	return p.drafts
}

func (p *planner) add(d draft) int {
	p.drafts = append(p.drafts, d)
	return len(p.drafts) - 1
}

func (p *planner) open(operator string) {
	t, runtime := p.t, p.runtime
	parts := []part{textPart(t.Intent)}
	if t.Contract != nil {
		parts = append(parts, part{mediaJSON, t.Contract})
	}
	p.add(draft{evidence.KindRunOpened, t.At, parts, func(_ *line, own []evidence.Commitment) evidence.Body {
		b := &evidence.RunOpened{
			Principal: t.Principal, Subject: t.Subject, Task: t.Task, Intent: &own[0],
			Runtime: runtime, Source: evidence.SourceObserved,
		}
		if !t.Observed {
			b.Source, b.Imported = evidence.SourceImported, t.ID
		}
		if t.Contract != nil {
			b.Contract = &evidence.ContractRef{Document: own[1], DeclaredBy: operator}
		}
		return b
	}})
}

// context records a message that was laid before the model, or what was kept; about is the draft
// that it came from, -1 where it did not come from the ledger.
func (p *planner) context(name string, m *Message, about int) {
	i := p.add(draft{
		evidence.KindContext, m.At,
		[]part{*m.Content},
		func(l *line, own []evidence.Commitment) evidence.Body {
			s := evidence.ContextSource{Name: name, Content: own[0]}
			if about >= 0 {
				s.Evidence = l.ids[about]
			}
			return &evidence.Context{Sources: []evidence.ContextSource{s}}
		},
	})
	if !m.kept {
		p.fresh[m.Thread] = append(p.fresh[m.Thread], i)
	}
}

// decide records what the model answered: the text, or the whole message where
// it calls tools; then the authorization of each call.
func (p *planner) decide(m *Message) {
	fresh := p.fresh[m.Thread]
	fresh = fresh[max(0, len(fresh)-maxContext):]
	delete(p.fresh, m.Thread)
	model := m.Model
	if model == "" {
		model = p.t.Model
	}
	choice := jsonOrText(string(m.raw))
	if m.whole() {
		choice = *m.Content
	}
	decision := p.add(draft{evidence.KindDecision, m.At, []part{choice}, func(l *line, own []evidence.Commitment) evidence.Body {
		b := &evidence.Decision{Model: model, Choice: own[0]}
		for _, i := range fresh {
			b.Context = append(b.Context, l.ids[i])
		}
		return b
	}})
	if m.Content != nil && len(m.Content.data) > 0 && m.Thread == "" {
		p.said, p.saidIn = m.Content, decision
	}
	for i := range m.Calls {
		p.authorize(m, &m.Calls[i], decision)
	}
	p.asked[m.Thread] = m
}

// authorize records that a call was let through or denied. Nobody enforced
// anything when a transcript is read, so what was let through was observed;
// a denial is one that the transcript reports.
func (p *planner) authorize(m *Message, c *Call, decision int) {
	step, source := fmt.Sprintf("call-%d", len(p.calls)+1), p.source(c)
	effect, mode, policies := evidence.Allow, evidence.Observe, []string(nil)
	if c.Answer != nil && c.Answer.Denied != "" {
		effect, mode, policies = evidence.Deny, evidence.Enforce, []string{c.Answer.Denied}
	}
	p.calls[c] = p.add(draft{evidence.KindAuthorization, m.At, []part{c.Input}, func(l *line, own []evidence.Commitment) evidence.Body {
		b := &evidence.Authorization{
			Step: step, Action: c.Tool, Tool: c.Tool, Input: own[0], IdempotencyKey: step,
			Effect: effect, Mode: mode, Policies: policies, Source: source,
		}
		if decision >= 0 {
			b.Decision = l.ids[decision]
		}
		return b
	}})
}

// source is what a call rests on: a span that the daemon received, or no more
// than what a transcript says. A call whose end nobody saw is of the second kind.
func (p *planner) source(c *Call) evidence.Source {
	if p.t.Observed && c.Seen && c.Answer != nil && c.Answer.outcome() != evidence.StatusUnknown {
		return evidence.SourceObserved
	}
	return evidence.SourceImported
}

// answer records the result of a call, or what the model was told where the
// call was denied and never ran.
func (p *planner) answer(m *Message) {
	c := p.answers[m]
	if m.Denied != "" {
		p.context("denial", m, p.calls[c])
		return
	}
	var parts []part
	if m.Content != nil {
		parts = []part{*m.Content}
	}
	status := m.outcome()
	failed := status == evidence.StatusFailure || status == evidence.StatusUnknown
	if !failed && m.Content != nil && m.Content.media == mediaText {
		parts[0] = jsonOrText(string(m.Content.data))
	}
	p.execute(c, m.At, parts, func(x *evidence.Execution, own []evidence.Commitment) {
		x.Status, x.TookMS = status, m.TookMS
		switch status {
		case evidence.StatusFailure:
			x.Class = evidence.ToolFailed
		case evidence.StatusUnknown:
			x.Class = evidence.OutcomeUnknown
		}
		switch {
		case len(own) == 0:
		case failed:
			x.Error = &own[0]
		default:
			x.Output = &own[0]
		}
	})
}

// leaveUnanswered records the calls of a thread whose results the transcript
// lacks: nobody knows how they ended.
func (p *planner) leaveUnanswered(thread string) {
	asked := p.asked[thread]
	if asked == nil {
		return
	}
	for i := range asked.Calls {
		if c := &asked.Calls[i]; c.Answer == nil {
			p.execute(c, asked.At, nil, func(x *evidence.Execution, _ []evidence.Commitment) {
				x.Status, x.Class = evidence.StatusUnknown, evidence.OutcomeUnknown
			})
		}
	}
	delete(p.asked, thread)
}

func (p *planner) execute(c *Call, at evidence.Time, parts []part, finish func(*evidence.Execution, []evidence.Commitment)) {
	auth, source := p.calls[c], p.source(c)
	p.add(draft{evidence.KindExecution, at, parts, func(l *line, own []evidence.Commitment) evidence.Body {
		x := &evidence.Execution{
			Authorization: l.ids[auth], Action: c.Tool, Tool: c.Tool, Input: l.commits[auth][0],
			Attempt: 1, Source: source,
		}
		finish(x, own)
		return x
	}})
}

// claim closes the conversation: whoever hands in a transcript with a contract
// says that the contract was met. The words are the last that the agent spoke.
func (p *planner) claim() {
	text := textPart("The transcript has no words of the agent's.")
	if p.said != nil {
		text = *p.said
	}
	saidIn := p.saidIn
	p.add(draft{evidence.KindClaim, p.lastTime(), []part{text}, func(l *line, own []evidence.Commitment) evidence.Body {
		s := evidence.Statement{Text: own[0], Assertions: []evidence.Assertion{{Kind: evidence.AssertContract}}}
		if saidIn >= 0 {
			s.Cites = []evidence.ID{l.ids[saidIn]}
		}
		return &evidence.Claim{Statements: []evidence.Statement{s}}
	}})
}

func (p *planner) lastTime() evidence.Time {
	return p.t.Messages[len(p.t.Messages)-1].At
}
