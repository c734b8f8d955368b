package evidence

import (
	"bytes"
	"slices"
)

// Commitments returns what r commits to, each once, in the order of the bytes
// of their digests: the order in which a bundle discloses them.
func (r *Record) Commitments() []Commitment {
	var out []Commitment
	add := func(cs ...*Commitment) {
		for _, c := range cs {
			if c != nil {
				out = append(out, *c)
			}
		}
	}
	switch b := r.Body.(type) {
	case *RunOpened:
		add(b.Intent, b.Input)
		if b.Contract != nil {
			add(&b.Contract.Document)
		}
	case *Context:
		for i := range b.Sources {
			add(&b.Sources[i].Content)
		}
	case *Decision:
		add(b.Question, &b.Choice, b.Rationale)
	case *Authorization:
		add(b.ToolSchema, &b.Input, b.PolicySet, b.Errors)
	case *Approval:
		add(b.Reason)
	case *Execution:
		add(&b.Input, b.Output, b.Error)
	case *Confirmation:
		add(b.Output)
	case *Settlement:
		add(b.Output)
	case *Checkpoint:
		add(&b.State)
	case *Claim:
		for i := range b.Statements {
			add(&b.Statements[i].Text)
			for j := range b.Statements[i].Assertions {
				add(b.Statements[i].Assertions[j].Expect)
			}
		}
	case *Verdict:
		add(&b.Document)
	case *Escalation:
		add(b.Text)
	case *HandoffOffered:
		add(b.Artifact, b.Note)
	case *HandoffAccepted:
		add(&b.Bundle)
	case *HandoffRejected:
		add(b.Proof)
	case *RunClosed:
		add(b.Text)
	}
	slices.SortStableFunc(out, func(a, b Commitment) int { return bytes.Compare(a.Commit[:], b.Commit[:]) })
	return slices.Compact(out)
}
