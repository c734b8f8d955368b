package evidence

// Commitments returns every commitment that stands in r, in the order of its
// members. One that stands there twice comes twice.
func (r *Record) Commitments() []Commitment {
	var out []Commitment
	add := func(list ...*Commitment) {
		for _, c := range list {
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
			s := &b.Statements[i]
			add(&s.Text)
			for j := range s.Assertions {
				add(s.Assertions[j].Expect)
			}
		}
	case *Verdict:
		add(&b.Document)
	case *Escalation:
		add(b.Text)
	case *HandoffOffered:
		add(b.Artifact, b.Note)
	case *HandoffRejected:
		add(b.Proof)
	case *RunClosed:
		add(b.Text)
	}
	return out
}
