package evidence

// AssertionKind is what an assertion is about.
type AssertionKind string

// The kinds of assertion.
const (
	AssertContract AssertionKind = "contract" // the run's contract is met
	AssertAction   AssertionKind = "action"   // an action succeeded
)

// Claim is an actor's statement that something is done.
type Claim struct {
	Statements []Statement `json:"statements"`
}

func (*Claim) Kind() Kind { return KindClaim }

func (b *Claim) check(c *checker) {
	c.require("statements", len(b.Statements) > 0)
	for i := range b.Statements {
		c.item("statements", i, b.Statements[i].check)
	}
}

// Statement is one sentence of a claim, with what it asserts and cites.
type Statement struct {
	Text       Commitment  `json:"text"`
	Assertions []Assertion `json:"assertions,omitzero"`
	Cites      []ID        `json:"cites,omitzero"`
	Steps      []string    `json:"steps,omitzero"`
}

func (s *Statement) check(c *checker) {
	c.commitment("text", &s.Text)
	for i := range s.Assertions {
		c.item("assertions", i, s.Assertions[i].check)
	}
	c.ids("cites", s.Cites)
	c.identifiers("steps", s.Steps)
}

// Assertion is the part of a statement that evidence can decide.
type Assertion struct {
	Kind     AssertionKind `json:"kind"`
	Action   string        `json:"action,omitzero"`   // kind action
	Resource string        `json:"resource,omitzero"` // kind action
	Expect   *Commitment   `json:"expect,omitzero"`   // kind action: an item of a contract's expects, as payload
}

func (a *Assertion) check(c *checker) {
	oneOf(c, "kind", a.Kind, AssertContract, AssertAction)
	action := a.Kind == AssertAction
	if action {
		c.identifier("action", a.Action)
	}
	c.only("action", a.Action != "", action, "with kind action")
	c.optional("resource", a.Resource)
	c.only("resource", a.Resource != "", action, "with kind action")
	c.commitment("expect", a.Expect)
	c.only("expect", a.Expect != nil, action, "with kind action")
}

// Result is what checking a claim against the evidence found.
type Result string

// The results.
const (
	Supported    Result = "supported"
	Contradicted Result = "contradicted"
	Unsupported  Result = "unsupported"
	InDoubt      Result = "in_doubt"
	Undisclosed  Result = "undisclosed"
	NoContract   Result = "no_contract"
)

// Verdict is the recorded result of checking a claim, or a run at its end.
type Verdict struct {
	Claim    ID         `json:"claim,omitzero"`
	Result   Result     `json:"result"`
	Document Commitment `json:"document"` // the verdict as canonical JSON (RFC 8785)
}

func (*Verdict) Kind() Kind { return KindVerdict }

func (b *Verdict) check(c *checker) {
	oneOf(c, "result", b.Result, Supported, Contradicted, Unsupported, InDoubt, Undisclosed, NoContract)
	c.commitment("document", &b.Document)
}

// Escalation says that a human was asked.
type Escalation struct {
	Reason   string      `json:"reason"` // identifier: a failure class, a policy
	To       string      `json:"to"`     // team
	Text     *Commitment `json:"text,omitzero"`
	Concerns []ID        `json:"concerns,omitzero"`
}

func (*Escalation) Kind() Kind { return KindEscalation }

func (b *Escalation) check(c *checker) {
	c.identifier("reason", b.Reason)
	c.identifier("to", b.To)
	c.commitment("text", b.Text)
	c.ids("concerns", b.Concerns)
}
