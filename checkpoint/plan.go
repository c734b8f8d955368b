package checkpoint

import (
	"slices"

	"ledgerd/audit"
	"ledgerd/evidence"
)

// Next is what comes next for a step.
type Next int

// What comes next; the package doc says it in words.
const (
	Begin Next = iota
	Return
	Refused
	Ask
	Use
	Attempt
	Settle
	Await
)

var nextNames = [...]string{"begin", "return", "refused", "ask", "use", "attempt", "settle", "await"}

func (n Next) String() string { return nextNames[n] }

// Plan is how a step goes on.
type Plan struct {
	Next   Next
	First  audit.Action // the step's first authorization, with the input that the program gave
	Action audit.Action // its last authorization, and what became of it
	Count  int          // of its authorizations, approved repetitions included
	// Attempts is how many were recorded under all of them.
	Attempts int
	// Approval is, for Use, the approval to be used up; for Refused, the human's
	// refusal where it was one.
	Approval evidence.ID
	Answered *evidence.Approval // its body
	// Doubt is, for Settle, the execution or authorization to be settled; for
	// Await, the execution that was accepted.
	Doubt evidence.ID
	// Failure is, for Attempt, the last execution where one failed; nil where none
	// was made, or it did not run. For Settle it is the one that is to be settled, of
	// which nobody knew what came; nil where none was recorded.
	Failure *evidence.Execution
	// Ext is that of the record of its last authorization.
	Ext evidence.Object
}

// Plan returns how the step of that name goes on at a time, which decides only
// whether an approval has expired.
func (s *State) Plan(name string, now evidence.Time) Plan {
	st := s.steps[name]
	if st == nil {
		return Plan{Next: Begin}
	}
	first, _ := s.run.Action(st.auths[0])
	last, _ := s.run.Action(st.auths[len(st.auths)-1])
	p := Plan{First: first, Action: last, Count: len(st.auths), Ext: st.ext}
	for _, id := range st.auths {
		a, _ := s.run.Action(id)
		p.Attempts += a.Attempts
	}
	switch {
	case !last.Executable && last.Record.Effect == evidence.Allow && last.Last.IsZero() && last.Status == "":
		p.Next = Refused // it uses an approval that is none: an attempt under it would be one without permission
	case last.Record.Mode == evidence.Observe || last.Record.Effect == evidence.Allow:
		s.allowed(&p, st)
	case last.Record.Effect == evidence.Deny:
		p.Next = Refused
	default:
		s.waits(&p, now)
	}
	return p
}

// allowed: what became of the attempts decides.
func (s *State) allowed(p *Plan, st *step) {
	a := &p.Action
	p.Doubt = a.Last
	if a.Last.IsZero() {
		p.Doubt = a.Authorization
	}
	switch a.Status {
	case evidence.StatusSuccess:
		p.Next = Return
	case evidence.StatusAccepted:
		p.Next = Await
	case evidence.StatusFailure, evidence.StatusNotRun:
		p.Next, p.Failure = Attempt, st.failure
	default: // unknown, or no word at all
		p.Next = Settle
		if r := s.reports[a.Last]; r != nil {
			p.Failure = r.Execution
		}
	}
	if p.Next != Settle && p.Next != Await {
		p.Doubt = evidence.ID{}
	}
}

// waits: what humans answered decides. The first answer that counts does; an
// approval that has expired is none.
func (s *State) waits(p *Plan, now evidence.Time) {
	p.Next = Ask
	for _, a := range s.answers[p.Action.Authorization] {
		if a.by.Role != evidence.RoleHuman || !slices.Contains(a.by.Teams, p.Action.Record.Team) {
			continue
		}
		switch {
		case a.body.Answer == evidence.Refuse:
			p.Next, p.Approval, p.Answered = Refused, a.id, a.body
			return
		case now <= a.body.Until:
			p.Next, p.Approval, p.Answered = Use, a.id, a.body
			return
		}
	}
}

// Waiting is an authorization that waits for a human.
type Waiting struct {
	Step   string
	Action audit.Action
}

// Waiting returns the steps that wait for a human, in the order in which they
// began.
func (s *State) Waiting(now evidence.Time) []Waiting {
	var list []Waiting
	for _, name := range s.order {
		if p := s.Plan(name, now); p.Next == Ask {
			list = append(list, Waiting{name, p.Action})
		}
	}
	return list
}
