package evidence

// Effect is the outcome of a permission check.
type Effect string

// The effects.
const (
	Allow    Effect = "allow"
	Deny     Effect = "deny"
	Escalate Effect = "escalate"
)

// Mode tells whether a permission check was enforced.
type Mode string

// The modes.
const (
	Enforce Mode = "enforce"
	Observe Mode = "observe" // recorded what would be denied, denied nothing
)

// Authorization is the outcome of a permission check on one exact action.
type Authorization struct {
	Step           string      `json:"step"`
	Action         string      `json:"action"`
	Resource       string      `json:"resource,omitzero"`
	Tool           string      `json:"tool"`
	ToolSchema     *Commitment `json:"tool_schema,omitzero"` // description and schema of the tool as checked
	Input          Commitment  `json:"input"`                // the bytes that were checked, and that run
	Params         Object      `json:"params,omitzero"`      // members of the input that the tool declares public
	IdempotencyKey string      `json:"idempotency_key"`      // one a run, but for the repetition under an approval
	Decision       ID          `json:"decision,omitzero"`
	Effect         Effect      `json:"effect"`
	Mode           Mode        `json:"mode"`
	Policies       []string    `json:"policies,omitzero"` // deciding policies, by @id
	PolicySet      *Commitment `json:"policy_set,omitzero"`
	Errors         *Commitment `json:"errors,omitzero"`    // evaluation errors: any of them denies
	Team           string      `json:"team,omitzero"`      // effect escalate: the human team that is asked
	Escalated      ID          `json:"escalated,omitzero"` // with approval: the escalated authorization that this one repeats
	Approval       ID          `json:"approval,omitzero"`  // the approval that it uses up
	Estimate       Amounts     `json:"estimate,omitzero"`  // what an attempt may cost
	Source         Source      `json:"source"`
}

func (*Authorization) Kind() Kind { return KindAuthorization }

func (b *Authorization) check(c *checker) {
	c.identifier("step", b.Step)
	c.identifier("action", b.Action)
	c.optional("resource", b.Resource)
	c.identifier("tool", b.Tool)
	c.commitment("tool_schema", b.ToolSchema)
	c.commitment("input", &b.Input)
	c.public("params", b.Params)
	c.identifier("idempotency_key", b.IdempotencyKey)
	oneOf(c, "effect", b.Effect, Allow, Deny, Escalate)
	oneOf(c, "mode", b.Mode, Enforce, Observe)
	c.identifiers("policies", b.Policies)
	c.commitment("policy_set", b.PolicySet)
	c.commitment("errors", b.Errors)
	c.optional("team", b.Team)
	if (b.Effect == Escalate) != (b.Team != "") {
		c.fail("team", "want the team that is asked with effect escalate, and with no other")
	}
	if b.Escalated.IsZero() != b.Approval.IsZero() {
		c.fail("approval", "want escalated and approval together or neither")
	}
	if !b.Approval.IsZero() && b.Effect == Escalate {
		c.fail("approval", "want effect allow or deny once an approval is used")
	}
	if b.Errors != nil && b.Effect != Deny {
		c.fail("errors", "want effect deny where the evaluation had errors, found %q", b.Effect)
	}
	c.amounts("estimate", b.Estimate)
	oneOf(c, "source", b.Source, SourceRuntime, SourceReported, SourceObserved, SourceImported)
}

// Answer is what a human said.
type Answer string

// The answers.
const (
	Approve Answer = "approve"
	Refuse  Answer = "refuse"
)

// Approval is a human's answer to an escalated authorization, beside the line.
type Approval struct {
	Answer Answer      `json:"answer"`
	Until  Time        `json:"until,omitzero"` // required for approve
	Reason *Commitment `json:"reason,omitzero"`
}

func (*Approval) Kind() Kind { return KindApproval }

func (b *Approval) check(c *checker) {
	oneOf(c, "answer", b.Answer, Approve, Refuse)
	if (b.Answer == Approve) != !b.Until.absent() {
		c.fail("until", "want it with answer approve, and with no other")
	}
	c.time("until", b.Until)
	c.commitment("reason", b.Reason)
}

// Status is how an attempt ended.
type Status string

// The statuses.
const (
	StatusSuccess  Status = "success"
	StatusFailure  Status = "failure"
	StatusAccepted Status = "accepted" // the tool finishes later: not a success
	StatusUnknown  Status = "unknown"
	StatusNotRun   Status = "not_run"
)

// Class is the class of a failure; each class has its own answer.
type Class string

// The failure classes.
const (
	ToolTimeout        Class = "tool_timeout"
	ToolUnavailable    Class = "tool_unavailable"
	RateLimited        Class = "rate_limited"
	ToolFailed         Class = "tool_failed" // the tool ran and said no
	InvalidToolPayload Class = "invalid_tool_payload"
	BadReasoning       Class = "bad_reasoning"
	PermissionDenied   Class = "permission_denied"
	BudgetExceeded     Class = "cost_budget_exceeded"
	OutcomeUnknown     Class = "outcome_unknown"
	ClaimUnsupported   Class = "claim_unsupported"
)

// Execution is the outcome of one attempt at an authorized action. Action,
// resource, tool and input repeat the authorization's.
type Execution struct {
	Authorization ID          `json:"authorization"`
	Action        string      `json:"action"`
	Resource      string      `json:"resource,omitzero"`
	Tool          string      `json:"tool"`
	Input         Commitment  `json:"input"`
	Attempt       int64       `json:"attempt"` // 1, 2, 3 …
	Status        Status      `json:"status"`
	Class         Class       `json:"class,omitzero"` // status failure or unknown
	Source        Source      `json:"source"`
	Output        *Commitment `json:"output,omitzero"`
	Refs          Object      `json:"refs,omitzero"` // members of the output that the tool declares public
	Error         *Commitment `json:"error,omitzero"`
	Confirmation  ID          `json:"confirmation,omitzero"` // the tool's own word, where it came before this record
	TookMS        *int64      `json:"took_ms,omitzero"`
	Cost          Amounts     `json:"cost,omitzero"`
}

func (*Execution) Kind() Kind { return KindExecution }

func (b *Execution) check(c *checker) {
	c.id("authorization", b.Authorization)
	c.identifier("action", b.Action)
	c.optional("resource", b.Resource)
	c.identifier("tool", b.Tool)
	c.commitment("input", &b.Input)
	c.count("attempt", b.Attempt, 1)
	oneOf(c, "status", b.Status, StatusSuccess, StatusFailure, StatusAccepted, StatusUnknown, StatusNotRun)
	if b.Class != "" {
		oneOf(c, "class", b.Class, ToolTimeout, ToolUnavailable, RateLimited, ToolFailed, InvalidToolPayload,
			BadReasoning, PermissionDenied, BudgetExceeded, OutcomeUnknown, ClaimUnsupported)
	}
	failed := b.Status == StatusFailure || b.Status == StatusUnknown
	if b.Status == StatusFailure && b.Class == "" {
		c.fail("class", "want the class of the failure")
	}
	c.only("class", b.Class != "", failed, "with status failure or unknown")
	oneOf(c, "source", b.Source, SourceRuntime, SourceReported, SourceObserved, SourceImported)
	c.commitment("output", b.Output)
	c.public("refs", b.Refs)
	c.only("refs", b.Refs != nil, b.Output != nil, "with an output")
	c.commitment("error", b.Error)
	if b.TookMS != nil {
		c.count("took_ms", *b.TookMS, 0)
	}
	c.amounts("cost", b.Cost)
}

// Confirmation is the tool's own word about an authorization, beside the line:
// the strongest source.
type Confirmation struct {
	Status Status      `json:"status"` // success, failure or not_run
	Output *Commitment `json:"output,omitzero"`
	Refs   Object      `json:"refs,omitzero"`
}

func (*Confirmation) Kind() Kind { return KindConfirmation }

func (b *Confirmation) check(c *checker) {
	oneOf(c, "status", b.Status, StatusSuccess, StatusFailure, StatusNotRun)
	c.commitment("output", b.Output)
	c.public("refs", b.Refs)
	c.only("refs", b.Refs != nil, b.Output != nil, "with an output")
}

// Settler is what settled a doubt.
type Settler string

// The settlers.
const (
	ByProbe        Settler = "probe"
	ByHuman        Settler = "human"
	ByConfirmation Settler = "confirmation"
	ByReport       Settler = "report" // of who reported the attempt: its word is worth what a report is
)

// Settlement ends a doubt.
type Settlement struct {
	Settles ID          `json:"settles"`         // the execution or authorization in doubt
	By      Settler     `json:"by"`              // who found out
	Answer  ID          `json:"answer,omitzero"` // the confirmation or approval it rests on
	Finding Status      `json:"finding"`         // success, failure or not_run
	Output  *Commitment `json:"output,omitzero"` // what was found
	Refs    Object      `json:"refs,omitzero"`
}

func (*Settlement) Kind() Kind { return KindSettlement }

func (b *Settlement) check(c *checker) {
	c.id("settles", b.Settles)
	oneOf(c, "by", b.By, ByProbe, ByHuman, ByConfirmation, ByReport)
	oneOf(c, "finding", b.Finding, StatusSuccess, StatusFailure, StatusNotRun)
	if b.By == ByConfirmation && b.Answer.IsZero() {
		c.fail("answer", "want the confirmation that the settlement rests on")
	}
	c.commitment("output", b.Output)
	c.public("refs", b.Refs)
	c.only("refs", b.Refs != nil, b.Output != nil, "with an output")
}
