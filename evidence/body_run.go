package evidence

// RunOpened is the first record of a run.
type RunOpened struct {
	Principal  string       `json:"principal"`           // on whose behalf: an identifier of the caller's
	Subject    string       `json:"subject,omitzero"`    // what it is about: a ticket, a commit digest
	Task       string       `json:"task"`                // task type, by which operators choose contracts
	Intent     *Commitment  `json:"intent,omitzero"`     // what was asked, in the asker's words
	Input      *Commitment  `json:"input,omitzero"`      // structured input: JSON
	Contract   *ContractRef `json:"contract,omitzero"`   // what must have happened for the run to be complete
	Budget     Amounts      `json:"budget,omitzero"`     // limits over the run and its children
	Runtime    string       `json:"runtime"`             // the actor that alone extends the line
	Parent     ID           `json:"parent,omitzero"`     // record of the parent run's line from which this run was started
	Acceptance ID           `json:"acceptance,omitzero"` // the handoff.accepted that this run continues
	Source     Source       `json:"source,omitzero"`     // imported or observed; absent where the runtime governs the run
	Imported   string       `json:"imported,omitzero"`   // the transcript's own name for the run
}

func (*RunOpened) Kind() Kind { return KindRunOpened }

func (b *RunOpened) check(c *checker) {
	c.identifier("principal", b.Principal)
	c.optional("subject", b.Subject)
	c.identifier("task", b.Task)
	c.commitment("intent", b.Intent)
	c.commitment("input", b.Input)
	if b.Contract != nil {
		c.in("contract", b.Contract.check)
	}
	c.amounts("budget", b.Budget)
	c.identifier("runtime", b.Runtime)
	if b.Source != "" {
		oneOf(c, "source", b.Source, SourceImported, SourceObserved, SourceReported)
	}
	c.optional("imported", b.Imported)
	c.only("imported", b.Imported != "", b.Source == SourceImported, "where source is imported")
}

// ContractRef commits to a contract and names who declared it.
type ContractRef struct {
	Document   Commitment `json:"document"`
	DeclaredBy string     `json:"declared_by"` // identifier of the operator or user, never the agent
}

func (r *ContractRef) check(c *checker) {
	c.commitment("document", &r.Document)
	c.identifier("declared_by", r.DeclaredBy)
}

// RunResumed says that a runtime took the run over.
type RunResumed struct {
	Reason  string `json:"reason"`            // identifier
	InDoubt []ID   `json:"in_doubt,omitzero"` // authorizations and executions without a settled outcome
}

func (*RunResumed) Kind() Kind { return KindRunResumed }

func (b *RunResumed) check(c *checker) {
	c.identifier("reason", b.Reason)
	c.ids("in_doubt", b.InDoubt)
}

// Context lists what was laid before the model.
type Context struct {
	Sources []ContextSource `json:"sources"`
}

func (*Context) Kind() Kind { return KindContext }

func (b *Context) check(c *checker) {
	c.require("sources", len(b.Sources) > 0)
	for i := range b.Sources {
		c.item("sources", i, b.Sources[i].check)
	}
}

// ContextSource is one part of a context.
type ContextSource struct {
	Name     string     `json:"name"` // identifier: system, user, a document's name
	Content  Commitment `json:"content"`
	Evidence ID         `json:"evidence,omitzero"` // where the source came from the ledger
}

func (s *ContextSource) check(c *checker) {
	c.identifier("name", s.Name)
	c.commitment("content", &s.Content)
}

// Decision is one answer of the model.
type Decision struct {
	Step      string      `json:"step,omitzero"`
	Model     string      `json:"model"`
	Question  *Commitment `json:"question,omitzero"`
	Choice    Commitment  `json:"choice"`
	Rationale *Commitment `json:"rationale,omitzero"`
	Context   []ID        `json:"context,omitzero"` // context records it was made from
	Cost      Amounts     `json:"cost,omitzero"`
}

func (*Decision) Kind() Kind { return KindDecision }

func (b *Decision) check(c *checker) {
	c.optional("step", b.Step)
	c.identifier("model", b.Model)
	c.commitment("question", b.Question)
	c.commitment("choice", &b.Choice)
	c.commitment("rationale", b.Rationale)
	c.ids("context", b.Context)
	c.amounts("cost", b.Cost)
}

// Checkpoint is the saved state of a workflow at a step.
type Checkpoint struct {
	Name     string     `json:"name"`
	Sequence int64      `json:"sequence"` // 1, 2, 3 … in its run
	State    Commitment `json:"state"`
	Covers   []ID       `json:"covers,omitzero"` // every execution and settlement since the checkpoint before
}

func (*Checkpoint) Kind() Kind { return KindCheckpoint }

func (b *Checkpoint) check(c *checker) {
	c.identifier("name", b.Name)
	c.count("sequence", b.Sequence, 1)
	c.commitment("state", &b.State)
	c.ids("covers", b.Covers)
}

// End is how a run ended.
type End string

// The ends.
const (
	Completed End = "completed"
	Failed    End = "failed"
	Stopped   End = "stopped"
)

// RunClosed is the last record of a run.
type RunClosed struct {
	End    End         `json:"end"`
	Reason string      `json:"reason,omitzero"` // identifier
	Text   *Commitment `json:"text,omitzero"`
}

func (*RunClosed) Kind() Kind { return KindRunClosed }

func (b *RunClosed) check(c *checker) {
	oneOf(c, "end", b.End, Completed, Failed, Stopped)
	c.optional("reason", b.Reason)
	c.commitment("text", b.Text)
}
