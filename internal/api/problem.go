package api

import (
	"fmt"
	"net/http"
	"time"

	"ledgerd/evidence"
)

// Problem is an error as RFC 9457 describes it. Reason is for programs and
// stays the same; Detail is for people: what was expected, what was found, what
// to do.
type Problem struct {
	Type   string `json:"type"             doc:"urn:ledgerd:problem: followed by the reason"`
	Title  string `json:"title"            doc:"What the status means"`
	Status int    `json:"status"           doc:"The HTTP status"`
	Detail string `json:"detail,omitempty" doc:"What was expected, what was found, what to do"`
	Reason string `json:"reason"           doc:"Stable name of the reason, for programs"`
	// Stands names the record that a conflict was lost to.
	Stands *evidence.ID `json:"stands,omitempty" doc:"The record that stands where a conflict was lost"`
	// Index is where that record stands.
	Index *uint64 `json:"index,omitempty" doc:"The index of the record that stands"`
	// Until is when the lease ends that another driver holds.
	Until *time.Time `json:"until,omitempty" doc:"When the lease of the run's other driver ends, unless it renews it"`
	// Evidence are the records from which anyone can see that it is so.
	Evidence []evidence.ID `json:"evidence,omitempty" doc:"Records from which anyone can see that it is so"`
	// Verdict is what speaks against a claim.
	Verdict *Verdict `json:"verdict,omitempty" doc:"The verdict that does not let the run be completed"`
	// Undecidable: nothing is proven wrong, and Detail says what would decide it.
	Undecidable bool `json:"undecidable,omitempty" doc:"Of a handoff: nothing is proven wrong, and the detail says what would decide it"`
	// Known is the tree head of the sender's log that the receiver knows.
	Known string `json:"known,omitempty" doc:"Of a handoff refused as head_inconsistent: the sender's own tree head (a signed note) that its next bundle has to hold"`
	// Line is the number of the line that is refused, from 1, where many were sent.
	Line int `json:"line,omitempty" doc:"The refused line, from 1, where many records were sent"`
}

const problemPrefix = "urn:ledgerd:problem:"

// The reasons that the daemon itself gives. A refused record carries the reason
// that admission gave.
const (
	ReasonMalformed     = "malformed"            // 400: the request is not one that the daemon understands
	ReasonForm          = "form"                 // 400 or 422: not a record in the one form there is
	ReasonNoToken       = "no_token"             // 401: no token, or one that is not known
	ReasonRight         = "right"                // 403: the token lacks the right
	ReasonOtherActor    = "other_actor"          // 403: a token of one actor, a record of another's key
	ReasonCrossOrigin   = "cross_origin"         // 403: a web page elsewhere sent this
	ReasonNotFound      = "not_found"            // 404
	ReasonMethod        = "method"               // 405
	ReasonSlow          = "slow"                 // 408: the body came too slowly
	ReasonConflict      = "conflict"             // 409
	ReasonLeased        = "leased"               // 409: the run has another driver
	ReasonChanged       = "run_changed"          // 409: the run was opened for something else
	ReasonEnded         = "run_ended"            // 409: the run is closed
	ReasonUnsound       = "run_unsound"          // 409: its records break rules
	ReasonStep          = "step_changed"         // 409: the step is recorded with another action or input
	ReasonReported      = "outcome_stands"       // 409: another outcome is recorded of this attempt
	ReasonNotPermitted  = "not_permitted"        // 409: an outcome of what was denied, or waits for a human
	ReasonName          = "name_taken"           // 409: the name stands for something else
	ReasonInDoubt       = "in_doubt"             // 409: nobody knows what came of something
	ReasonUnsupported   = "claim_unsupported"    // 409: the evidence does not support the claim
	ReasonNoClaim       = "no_claim"             // 409: there is nothing to complete the run on
	ReasonBudget        = "cost_budget_exceeded" // 409: the budget is spent
	ReasonParent        = "parent_needed"        // 409: the run is a child of one that is not at work here
	ReasonUnknownPeer   = "unknown_peer"         // 403: no peer's log signed what was sent
	ReasonQuota         = "quota"                // 429: a peer, or an address, has had its share
	ReasonInvalid       = "invalid"              // 422: a member is not what it has to be
	ReasonNoStep        = "no_step"              // 422: a claim about a step that the run has not
	ReasonNoTool        = "no_tool"              // 422: no tool of this name is registered
	ReasonTooLarge      = "too_large"            // 413
	ReasonMediaType     = "media_type"           // 415
	ReasonCommitment    = "commitment"           // 422: the payload does not open its commitment
	ReasonHost          = "host"                 // 421: not a name of this daemon
	ReasonInternal      = "internal"             // 500
	ReasonUnknown       = "unknown"              // 500: begun, and not known to be durable
	ReasonBusy          = "busy"                 // 503: come again later
	ReasonStopping      = "stopping"             // 503: certainly not appended
	ReasonReadOnly      = "read_only"            // 403: a restored copy takes no records
	ReasonDiskFull      = "disk_full"            // 507: reads go on
	ReasonErased        = "erased"               // 410: the payload was erased, and is not taken again
	ReasonNotConfigured = "not_configured"       // 501: the daemon was started without what this needs
)

// ReasonHandoff begins the reasons for which an offer or an acceptance is refused:
// what follows is the word of package handoff.
const ReasonHandoff = "handoff_"

// NewProblem returns a problem with the title that its status has.
func NewProblem(status int, reason, format string, args ...any) *Problem {
	return &Problem{
		Type: problemPrefix + reason, Title: http.StatusText(status), Status: status,
		Detail: fmt.Sprintf(format, args...), Reason: reason,
	}
}

// Error is the detail, with the status before it.
func (p *Problem) Error() string {
	return fmt.Sprintf("%d %s (%s): %s", p.Status, p.Title, p.Reason, p.Detail)
}
