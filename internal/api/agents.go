package api

import (
	"encoding/json"

	"ledgerd/evidence"
)

// The API for agents. A path names a run by its caller's key, and what is in it by
// names of the caller's, so that a request that is sent again is the same one.

// Paths for agents; {run} is the caller's key.
const (
	PathStep       = "/v1/runs/{run}/steps/{step}"
	PathOutcome    = "/v1/runs/{run}/steps/{step}/outcome"
	PathRunStep    = "/v1/runs/{run}/steps/{step}/run"
	PathDecision   = "/v1/runs/{run}/decisions/{name}"
	PathContext    = "/v1/runs/{run}/context"
	PathCheckpoint = "/v1/runs/{run}/checkpoints/{name}"
	PathLast       = "/v1/runs/{run}/checkpoints"
	PathClaims     = "/v1/runs/{run}/claims"
	PathClose      = "/v1/runs/{run}/close"
	PathState      = "/v1/runs/{run}/state"
	PathApprovals  = "/v1/approvals"
)

// MaxAct is the largest body in bytes of a request of an agent.
const MaxAct = 2 << 20

// OpenRun says what a run is for.
type OpenRun struct {
	Agent     string           `json:"agent,omitempty"     doc:"Who acts; the token's actor where absent"`
	Task      string           `json:"task"                doc:"Task type, by which the operator chooses policies and contract"`
	Input     json.RawMessage  `json:"input,omitempty"     doc:"Structured input of the task: any JSON value"`
	Principal string           `json:"principal,omitempty" doc:"On whose behalf; the agent's own where absent"`
	Subject   string           `json:"subject,omitempty"   doc:"What it is about: a ticket, the digest of a commit"`
	Intent    string           `json:"intent,omitempty"    doc:"What was asked, in the asker's words"`
	Parent    string           `json:"parent,omitempty"    doc:"Key of the run that it is a child of, whose budget it spends, and whose scope it has, too"`
	Continues *evidence.ID     `json:"continues,omitempty" doc:"The offer that the run continues: it is accepted for this run, where it waits for the agent and was not yet"`
	Budget    evidence.Amounts `json:"budget,omitempty"    doc:"Limits: a currency's micro-units (usd_micro), tokens, tool_calls, attempts, wall_ms"`
}

// Progress is what a long call has to tell while it lasts: text, or else bytes. It is
// no evidence.
type Progress struct {
	Text   string `json:"text,omitempty"`
	Base64 []byte `json:"base64,omitempty"`
}

// RunState is where a run stands.
type RunState struct {
	Run        evidence.RunID   `json:"run"                  doc:"The run's ID, which the key stands for"`
	Key        string           `json:"key"`
	Agent      string           `json:"agent"`
	Task       string           `json:"task"`
	Subject    string           `json:"subject,omitempty"`
	Principal  string           `json:"principal"`
	State      string           `json:"state"                doc:"open or closed" enum:"open,closed"`
	End        evidence.End     `json:"end,omitempty"        doc:"How it ended: completed, failed or stopped"`
	Reason     string           `json:"reason,omitempty"     doc:"Why it failed or was stopped"`
	Closed     *evidence.ID     `json:"closed,omitempty"     doc:"The record that closed it"`
	InDoubt    []Doubt          `json:"in_doubt"             doc:"Steps of which nobody knows what came"`
	Waiting    []Waits          `json:"waiting"              doc:"Steps that wait for a human"`
	Checkpoint string           `json:"checkpoint,omitempty" doc:"Name of the last checkpoint"`
	Steps      []StepSummary    `json:"steps"                doc:"Every step, in the order in which they began"`
	Continues  *Continued       `json:"continues,omitempty"  doc:"The handoff that it continues; not in an answer that only looks"`
	TookUp     []Continued      `json:"took_up,omitempty"    doc:"The handoffs that it took up besides; likewise"`
	Claim      *evidence.ID     `json:"claim,omitempty"      doc:"The last claim"`
	Verdict    evidence.Result  `json:"verdict,omitempty"    doc:"The recorded verdict on it"`
	Budget     evidence.Amounts `json:"budget,omitempty"`
	Spent      evidence.Amounts `json:"spent,omitempty"`
}

// Doubt is a step of which nobody knows what came.
type Doubt struct {
	Step          string      `json:"step"`
	Authorization evidence.ID `json:"authorization"`
	Doubt         evidence.ID `json:"doubt"   doc:"The authorization or execution that has no outcome"`
	Attempt       int         `json:"attempt" doc:"The attempt whose outcome is wanted, where the agent runs the tool"`
}

// Waits is a step that waits for a human.
type Waits struct {
	Step          string      `json:"step"`
	Authorization evidence.ID `json:"authorization" doc:"What an approval is about"`
	Team          string      `json:"team"`
}

// StepSummary is a step in a list.
type StepSummary struct {
	Step          string       `json:"step"`
	State         string       `json:"state" doc:"As in the answer about the step, or in_doubt where that depends on who asks"`
	Action        string       `json:"action"`
	Tool          string       `json:"tool"`
	Resource      string       `json:"resource,omitempty"`
	Authorization evidence.ID  `json:"authorization"`
	Execution     *evidence.ID `json:"execution,omitempty"`
	Refusal       *evidence.ID `json:"refusal,omitempty" doc:"State denied: the human's answer, where it was one"`
	Attempts      int          `json:"attempts"`
}

// AskStep asks for permission to do a step.
type AskStep struct {
	Tool     string          `json:"tool,omitempty"     doc:"A tool that is registered with the daemon, or one that the agent runs itself; the action's name where absent"`
	Action   string          `json:"action,omitempty"   doc:"What it does, in the words of policies; of a registered tool it may be left out"`
	Resource string          `json:"resource,omitempty" doc:"What it is done to"`
	Input    json.RawMessage `json:"input"              doc:"Exactly what is done: any JSON value"`
	Decision *evidence.ID    `json:"decision,omitempty" doc:"The decision that it rests on"`
	Asker    string          `json:"asker,omitempty"    doc:"Who asks: a process, or an attempt of a workflow engine, under a name that no other one has. It gets the same permission again; others hear that the step is in doubt. Where absent, every further question is another's"`
	// Of a tool that the agent runs itself:
	Description string           `json:"description,omitempty" doc:"Of a tool that the agent runs itself: what it is"`
	Schema      json.RawMessage  `json:"schema,omitempty"      doc:"Likewise: JSON Schema of its input. It is kept, and not applied: who runs the tool checks its input"`
	Params      []string         `json:"params,omitempty"      doc:"Likewise: members of the input that stand in the record in the clear"`
	Estimate    evidence.Amounts `json:"estimate,omitempty"    doc:"Likewise: what an attempt may cost at most"`
	Idempotent  bool             `json:"idempotent,omitempty"  doc:"Likewise: a second call under the same idempotency key does nothing again"`
	Observe     bool             `json:"observe,omitempty"     doc:"Likewise, with the right gateway: what policies deny, or have a human asked, is recorded with mode observe, and allowed"`
}

// RunStep has the daemon do a step with a registered tool.
type RunStep struct {
	Tool     string          `json:"tool"               doc:"A tool that is registered with the daemon"`
	Resource string          `json:"resource,omitempty" doc:"What it is done to, where the tool does not read that from the input"`
	Input    json.RawMessage `json:"input"              doc:"Exactly what the tool gets: any JSON value"`
	Decision *evidence.ID    `json:"decision,omitempty" doc:"The decision that it rests on"`
}

// The states of a step.
const (
	StepAllowed   = "allowed"
	StepSucceeded = "succeeded"
	StepDenied    = "denied"
	StepWaiting   = "waiting"
	StepAccepted  = "accepted"
	StepFailed    = "failed"
	StepInDoubt   = "in_doubt"
)

// Step is what a step came to.
type Step struct {
	Run            evidence.RunID  `json:"run"`
	Step           string          `json:"step"`
	State          string          `json:"state"                    doc:"allowed: do it, and report. succeeded: it is done. denied. waiting: for a human. accepted: the tool will finish later. failed: for good. in_doubt: nobody knows whether it happened" enum:"allowed,succeeded,denied,waiting,accepted,failed,in_doubt"`
	Effect         evidence.Effect `json:"effect"                   doc:"What the policies said: allow, deny or escalate"`
	Mode           evidence.Mode   `json:"mode"                     doc:"enforce, or observe: then a deny is recorded and not enforced"`
	Action         string          `json:"action"`
	Tool           string          `json:"tool"`
	Resource       string          `json:"resource,omitempty"`
	Authorization  evidence.ID     `json:"authorization"            doc:"The record of the permission check"`
	Policies       []string        `json:"policies"                 doc:"Those that decided, by @id"`
	IdempotencyKey string          `json:"idempotency_key"          doc:"For the tool: the same for every attempt at this authorization, and for no other"`
	Attempt        int             `json:"attempt"                  doc:"State allowed, in_doubt: the attempt to be reported. Else how many there were"`
	RunsHere       bool            `json:"runs_here,omitempty"      doc:"The tool is registered with the daemon: POST .../run has it done"`
	Team           string          `json:"team,omitempty"           doc:"State waiting: who is asked"`
	Refusal        *evidence.ID    `json:"refusal,omitempty"        doc:"State denied: the human's answer, where it was one"`
	Doubt          *evidence.ID    `json:"doubt,omitempty"          doc:"State in_doubt: the authorization or execution without an outcome"`
	Escalation     *evidence.ID    `json:"escalation,omitempty"     doc:"The record that a human was asked"`
	Class          evidence.Class  `json:"class,omitempty"          doc:"State failed: the class of the failure"`
	Errors         []string        `json:"errors,omitempty"         doc:"What went wrong, in words: of the policies' evaluation, of the tool"`
	Outcome        *Result         `json:"outcome,omitempty"        doc:"The recorded outcome of the last attempt"`
}

// Result is a recorded outcome with what it gave.
type Result struct {
	Status       evidence.Status `json:"status"`
	Source       evidence.Source `json:"source"                  doc:"runtime: the daemon ran the tool. reported: the agent said so"`
	Execution    *evidence.ID    `json:"execution,omitempty"     doc:"Its record"`
	Media        string          `json:"media,omitempty"         doc:"Media type of the output"`
	Output       json.RawMessage `json:"output,omitempty"        doc:"The output, where it is JSON"`
	OutputBase64 []byte          `json:"output_base64,omitempty" doc:"Else its bytes in standard base64"`
}

// ReportStep says what came of an attempt at a step.
type ReportStep struct {
	Attempt      int              `json:"attempt"                 doc:"Which attempt it was, as the answer to the question said" minimum:"1"`
	Status       evidence.Status  `json:"status"                  doc:"success, failure, accepted (it will finish later), unknown (nobody knows) or not_run" enum:"success,failure,accepted,unknown,not_run"`
	Class        evidence.Class   `json:"class,omitempty"         doc:"Of a failure; tool_failed where absent"`
	Error        string           `json:"error,omitempty"         doc:"What went wrong, in words"`
	Output       json.RawMessage  `json:"output,omitempty"        doc:"What it gave: any JSON value"`
	OutputBase64 []byte           `json:"output_base64,omitempty" doc:"Or else bytes in standard base64, with media"`
	Media        string           `json:"media,omitempty"         doc:"Media type of output_base64"`
	Refs         []string         `json:"refs,omitempty"          doc:"Members of the output that stand in the record in the clear"`
	Cost         evidence.Amounts `json:"cost,omitempty"          doc:"What it did cost"`
	TookMS       *int64           `json:"took_ms,omitempty"       doc:"How long it took"`
	Source       evidence.Source  `json:"source,omitempty"        doc:"reported; or runtime, with the right gateway, of who made the call itself" enum:"reported,runtime"`
}

// Outcome answers a report: what stands.
type Outcome struct {
	Run           evidence.RunID  `json:"run"`
	Step          string          `json:"step"`
	Attempt       int             `json:"attempt"`
	Authorization evidence.ID     `json:"authorization"`
	Execution     evidence.ID     `json:"execution"            doc:"The record of the report"`
	Settlement    *evidence.ID    `json:"settlement,omitempty" doc:"The record of a later report, which ended the doubt that the first left"`
	Status        evidence.Status `json:"status"`
	Class         evidence.Class  `json:"class,omitempty"`
	Source        evidence.Source `json:"source"`
	Escalation    *evidence.ID    `json:"escalation,omitempty" doc:"Status unknown: the record that a human was asked"`
}

// Decide records what a model answered.
type Decide struct {
	Model     string           `json:"model"               doc:"Who answered: an identifier"`
	Question  json.RawMessage  `json:"question,omitempty"  doc:"What it was asked: any JSON value"`
	Choice    json.RawMessage  `json:"choice"              doc:"What it answered: any JSON value"`
	Rationale string           `json:"rationale,omitempty" doc:"Why, in its words"`
	Context   []evidence.ID    `json:"context,omitempty"   doc:"The records of the context that it saw"`
	Cost      evidence.Amounts `json:"cost,omitempty"`
}

// Decision is a recorded answer.
type Decision struct {
	Run    evidence.RunID  `json:"run"`
	Name   string          `json:"name"`
	ID     evidence.ID     `json:"id"     doc:"Its record: what a step can rest on"`
	Choice json.RawMessage `json:"choice"`
}

// LayContext records what was laid before a model.
type LayContext struct {
	Sources []ContextSource `json:"sources"`
}

// ContextSource is one part of it: text, or else data.
type ContextSource struct {
	Name     string       `json:"name"               doc:"An identifier: system, customer, a document's name"`
	Text     string       `json:"text,omitempty"`
	Data     []byte       `json:"data,omitempty"     doc:"Or else bytes in standard base64"`
	Media    string       `json:"media,omitempty"    doc:"Media type; text/plain where absent"`
	Evidence *evidence.ID `json:"evidence,omitempty" doc:"The record that it came from, where it is of the ledger"`
}

// Laid answers with the context's record.
type Laid struct {
	Run evidence.RunID `json:"run"`
	ID  evidence.ID    `json:"id" doc:"What a decision names as its context"`
}

// Checkpoint is a saved state.
type Checkpoint struct {
	Run      evidence.RunID  `json:"run"`
	Name     string          `json:"name"`
	Sequence int64           `json:"sequence"`
	ID       evidence.ID     `json:"id"`
	State    json.RawMessage `json:"state,omitempty" doc:"The state, where it was read"`
}

// MakeClaim says that something is done.
type MakeClaim struct {
	Text  string   `json:"text"            doc:"What is said to be done"`
	Steps []string `json:"steps,omitempty" doc:"The steps that it rests on: each has to have succeeded"`
	Given []Given  `json:"given,omitempty" doc:"What was done in the runs whose work this one took up: each has to have succeeded in one of them"`
}

// Given is an action in another run.
type Given struct {
	Action   string `json:"action"`
	Resource string `json:"resource,omitempty" doc:"Absent: any"`
}

// Claim is a recorded claim with its verdict.
type Claim struct {
	Run     evidence.RunID `json:"run"`
	ID      evidence.ID    `json:"id"`
	Verdict Verdict        `json:"verdict"`
}

// Verdict is the result of checking a claim.
type Verdict struct {
	Claim    evidence.ID     `json:"claim"`
	ID       evidence.ID     `json:"id"                 doc:"Its record"`
	Result   evidence.Result `json:"result"             doc:"supported, contradicted, unsupported, in_doubt, undisclosed or no_contract"`
	Holds    bool            `json:"holds"              doc:"Whether the claim may leave as a completion: supported; or no_contract, unless the daemon needs a contract"`
	Why      []string        `json:"why"                doc:"What speaks against it, in words"`
	Unmet    []string        `json:"unmet,omitempty"    doc:"Which items of the contract are not met, and why, in words: their place in it, what they are about"`
	Notes    []string        `json:"notes,omitempty"    doc:"What has to be shown with it, in words: that a statement asserts nothing or cites nothing, that the run has no contract"`
	Document json.RawMessage `json:"document,omitempty" doc:"The verdict as canonical JSON (RFC 8785)"`
}

// CloseRun ends a run.
type CloseRun struct {
	End    evidence.End `json:"end,omitempty"    doc:"completed where absent; failed or stopped" enum:"completed,failed,stopped"`
	Reason string       `json:"reason,omitempty" doc:"Why it failed or was stopped: an identifier, such as a failure class"`
}

// Approvals lists what waits for a human.
type Approvals struct {
	Approvals []Approval `json:"approvals"`
}

// Approval is an authorization that waits for a human. What it would do, to the
// byte, is the payload under input.
type Approval struct {
	Authorization evidence.ID         `json:"authorization" doc:"What an approval is about"`
	Run           evidence.RunID      `json:"run"`
	Step          string              `json:"step"`
	Agent         string              `json:"agent"`
	Action        string              `json:"action"`
	Resource      string              `json:"resource,omitempty"`
	Tool          string              `json:"tool"`
	Team          string              `json:"team"`
	Since         string              `json:"since"`
	Policies      []string            `json:"policies"`
	Input         evidence.Commitment `json:"input"`
}
