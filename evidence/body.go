package evidence

// Body is what a record of one kind holds. There is one struct a kind, and no
// other implementation.
//
// In every body a pointer, a slice or a string that is zero stands for an
// absent member; a member that is present is never empty. Identifiers are 1 to
// 256 bytes of printable ASCII without spaces.
type Body interface {
	// Kind is the kind that this body belongs to.
	Kind() Kind
	check(c *checker)
}

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

// ContractRef commits to a contract and names who declared it.
type ContractRef struct {
	Document   Commitment `json:"document"`
	DeclaredBy string     `json:"declared_by"`
}

// RunResumed says that a runtime took the run over.
type RunResumed struct {
	Reason  string `json:"reason"`            // identifier
	InDoubt []ID   `json:"in_doubt,omitzero"` // authorizations and executions without a settled outcome
}

// Context lists what was laid before the model.
type Context struct {
	Sources []ContextSource `json:"sources"`
}

// ContextSource is one part of a context.
type ContextSource struct {
	Name     string     `json:"name"` // identifier: system, user, a document's name
	Content  Commitment `json:"content"`
	Evidence ID         `json:"evidence,omitzero"` // where the source came from the ledger
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

// Source tells how a record came to be known, weakest last.
type Source string

// The sources. Confirmed is never written: it is what a tool's own
// confirmation lends to an execution.
const (
	SourceConfirmed Source = "confirmed"
	SourceRuntime   Source = "runtime"  // the runtime made the call
	SourceReported  Source = "reported" // someone said so
	SourceObserved  Source = "observed" // seen in a trace
	SourceImported  Source = "imported" // read from a transcript
)

// Strength orders sources: 5 for confirmed down to 1 for imported, 0 for
// anything else.
func (s Source) Strength() int {
	switch s {
	case SourceConfirmed:
		return 5
	case SourceRuntime:
		return 4
	case SourceReported:
		return 3
	case SourceObserved:
		return 2
	case SourceImported:
		return 1
	}
	return 0
}

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

// Approval is a human's answer to an escalated authorization, beside the line.
type Approval struct {
	Answer Answer      `json:"answer"`
	Until  Time        `json:"until,omitzero"` // required for approve
	Reason *Commitment `json:"reason,omitzero"`
}

// Answer is what a human said.
type Answer string

// The answers.
const (
	Approve Answer = "approve"
	Refuse  Answer = "refuse"
)

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

// Confirmation is the tool's own word about an authorization, beside the line:
// the strongest source.
type Confirmation struct {
	Status Status      `json:"status"` // success, failure or not_run
	Output *Commitment `json:"output,omitzero"`
	Refs   Object      `json:"refs,omitzero"`
}

// Settlement ends a doubt.
type Settlement struct {
	Settles ID          `json:"settles"`         // the execution or authorization in doubt
	By      Settler     `json:"by"`              // who found out
	Answer  ID          `json:"answer,omitzero"` // the confirmation or approval it rests on
	Finding Status      `json:"finding"`         // success, failure or not_run
	Output  *Commitment `json:"output,omitzero"` // what was found
	Refs    Object      `json:"refs,omitzero"`
}

// Settler is what settled a doubt.
type Settler string

// The settlers.
const (
	ByProbe        Settler = "probe"
	ByHuman        Settler = "human"
	ByConfirmation Settler = "confirmation"
)

// Checkpoint is the saved state of a workflow at a step.
type Checkpoint struct {
	Name     string     `json:"name"`
	Sequence int64      `json:"sequence"` // 1, 2, 3 … in its run
	State    Commitment `json:"state"`
	Covers   []ID       `json:"covers,omitzero"` // every execution and settlement since the checkpoint before
}

// Claim is an actor's statement that something is done.
type Claim struct {
	Statements []Statement `json:"statements"`
}

// Statement is one sentence of a claim, with what it asserts and cites.
type Statement struct {
	Text       Commitment  `json:"text"`
	Assertions []Assertion `json:"assertions,omitzero"`
	Cites      []ID        `json:"cites,omitzero"`
	Steps      []string    `json:"steps,omitzero"`
}

// AssertionKind is what an assertion is about.
type AssertionKind string

// The kinds of assertion.
const (
	AssertContract AssertionKind = "contract" // the run's contract is met
	AssertAction   AssertionKind = "action"   // an action succeeded
)

// Assertion is the part of a statement that evidence can decide.
type Assertion struct {
	Kind     AssertionKind `json:"kind"`
	Action   string        `json:"action,omitzero"`   // kind action
	Resource string        `json:"resource,omitzero"` // kind action
	Expect   *Commitment   `json:"expect,omitzero"`   // kind action: an item of a contract's expects, as payload
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

// Escalation says that a human was asked.
type Escalation struct {
	Reason   string      `json:"reason"` // identifier: a failure class, a policy
	To       string      `json:"to"`     // team
	Text     *Commitment `json:"text,omitzero"`
	Concerns []ID        `json:"concerns,omitzero"`
}

// HandoffOffered offers work to another actor.
type HandoffOffered struct {
	To         Recipient    `json:"to"`
	Task       string       `json:"task"`
	Scope      []ScopeEntry `json:"scope"`
	Artifact   *Commitment  `json:"artifact,omitzero"`
	Evidence   []ID         `json:"evidence,omitzero"`
	Note       *Commitment  `json:"note,omitzero"` // natural language, unverified
	Expires    Time         `json:"expires"`
	HeadMaxAge int64        `json:"head_max_age_s"`  // seconds that the bundle's tree head may be old at acceptance
	Parent     ID           `json:"parent,omitzero"` // the acceptance that this offer passes on
}

// Recipient is who an offer is for.
type Recipient struct {
	Origin string `json:"origin"`
	Actor  string `json:"actor"`
	Key    Digest `json:"key"` // RFC 7638 thumbprint
}

// ScopeEntry permits one action on one resource, or on every resource that
// begins with what stands before a final asterisk.
type ScopeEntry struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
}

// HandoffAccepted is recorded by the receiver and belongs to no run.
type HandoffAccepted struct {
	Offer  ID      `json:"offer"`
	Origin string  `json:"origin"` // the giver's ledger
	Opens  RunID   `json:"opens"`  // the run that continues the work
	Head   HeadRef `json:"head"`   // the giver's tree head that the bundle was verified under
}

// HeadRef is the size and root of some log.
type HeadRef struct {
	Size int64  `json:"size"`
	Root Digest `json:"root"`
}

// HandoffRejected says why an offer was not accepted.
type HandoffRejected struct {
	Offer  ID          `json:"offer"`
	Origin string      `json:"origin"`
	Reason string      `json:"reason"`
	Proof  *Commitment `json:"proof,omitzero"` // such as two inconsistent tree heads
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

// LedgerCreated is entry 0.
type LedgerCreated struct {
	RootKeys  []JWK      `json:"root_keys"`
	Successor *Successor `json:"successor,omitzero"`
}

// Successor names the ledger that this one continues after a restore.
type Successor struct {
	Origin string  `json:"origin"`
	Head   HeadRef `json:"head"`
}

// ActorRegistered gives an actor a role and a key, or a host. From the next
// entry on, until revoked.
type ActorRegistered struct {
	Name  string   `json:"name"`
	Role  Role     `json:"role"`
	Key   *JWK     `json:"key,omitzero"`
	Host  string   `json:"host,omitzero"`  // role agent: the runtime that signs for it
	Teams []string `json:"teams,omitzero"` // role human
}

// ActorRevoked ends a key, or an actor with all its keys, from the next entry on.
type ActorRevoked struct {
	Name        string `json:"name"`
	Key         Digest `json:"key,omitzero"`          // absent: all of them
	SuspectFrom *int64 `json:"suspect_from,omitzero"` // log index from which its records are in doubt
	Reason      string `json:"reason"`
}

// PayloadErased says that the payload under a commitment is gone.
type PayloadErased struct {
	Commit Digest `json:"commit"`
	Reason string `json:"reason"`
}

func (*RunOpened) Kind() Kind       { return KindRunOpened }
func (*RunResumed) Kind() Kind      { return KindRunResumed }
func (*Context) Kind() Kind         { return KindContext }
func (*Decision) Kind() Kind        { return KindDecision }
func (*Authorization) Kind() Kind   { return KindAuthorization }
func (*Approval) Kind() Kind        { return KindApproval }
func (*Execution) Kind() Kind       { return KindExecution }
func (*Confirmation) Kind() Kind    { return KindConfirmation }
func (*Settlement) Kind() Kind      { return KindSettlement }
func (*Checkpoint) Kind() Kind      { return KindCheckpoint }
func (*Claim) Kind() Kind           { return KindClaim }
func (*Verdict) Kind() Kind         { return KindVerdict }
func (*Escalation) Kind() Kind      { return KindEscalation }
func (*HandoffOffered) Kind() Kind  { return KindHandoffOffered }
func (*HandoffAccepted) Kind() Kind { return KindHandoffAccepted }
func (*HandoffRejected) Kind() Kind { return KindHandoffRejected }
func (*RunClosed) Kind() Kind       { return KindRunClosed }
func (*LedgerCreated) Kind() Kind   { return KindLedgerCreated }
func (*ActorRegistered) Kind() Kind { return KindActorRegistered }
func (*ActorRevoked) Kind() Kind    { return KindActorRevoked }
func (*PayloadErased) Kind() Kind   { return KindPayloadErased }
