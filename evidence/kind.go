package evidence

// Kind is what a record states. Its text is also the name of the payload member
// that holds the body.
type Kind string

// The kinds, in the order of the pipeline that writes them.
const (
	KindRunOpened       Kind = "run.opened"
	KindRunResumed      Kind = "run.resumed"
	KindContext         Kind = "context"
	KindDecision        Kind = "decision"
	KindAuthorization   Kind = "authorization"
	KindApproval        Kind = "approval"
	KindExecution       Kind = "execution"
	KindConfirmation    Kind = "confirmation"
	KindSettlement      Kind = "settlement"
	KindCheckpoint      Kind = "checkpoint"
	KindClaim           Kind = "claim"
	KindVerdict         Kind = "verdict"
	KindEscalation      Kind = "escalation"
	KindHandoffOffered  Kind = "handoff.offered"
	KindHandoffAccepted Kind = "handoff.accepted"
	KindHandoffRejected Kind = "handoff.rejected"
	KindRunClosed       Kind = "run.closed"
	KindLedgerCreated   Kind = "ledger.created"
	KindActorRegistered Kind = "actor.registered"
	KindActorRevoked    Kind = "actor.revoked"
	KindPayloadErased   Kind = "payload.erased"
)

// Place says where a record of some kind stands.
type Place int

const (
	// Line: on the line of its run, extended by the run's runtime alone.
	Line Place = iota
	// Beside the line of a run: names by about what it concerns.
	Beside
	// LineOrBeside: on the line where the run's runtime signs, beside it where
	// the agent signs with a key of its own.
	LineOrBeside
	// Registry: on the ledger's own line, numbered from entry 0.
	Registry
	// Outside every run and every line.
	Outside
)

// Role is what an actor is registered as.
type Role string

// The roles.
const (
	RoleRoot    Role = "root"
	RoleRuntime Role = "runtime"
	RoleAgent   Role = "agent"
	RoleTool    Role = "tool"
	RoleHuman   Role = "human"
)

// Valid reports whether r is one of the five roles.
func (r Role) Valid() bool {
	switch r {
	case RoleRoot, RoleRuntime, RoleAgent, RoleTool, RoleHuman:
		return true
	}
	return false
}

type kindRule struct {
	place Place
	// signer is the role whose key signs. RoleAgent stands for the agent's own
	// key or, where the agent is hosted, its runtime's.
	signer Role
	// registry: the record names the latest registry number (design: records
	// that open, resume or close a run, offer or accept a handoff, approve or
	// judge; and registry records, which name their own).
	registry bool
	body     func() Body
}

var kinds = map[Kind]kindRule{
	KindRunOpened:       {Line, RoleRuntime, true, func() Body { return new(RunOpened) }},
	KindRunResumed:      {Line, RoleRuntime, true, func() Body { return new(RunResumed) }},
	KindContext:         {Line, RoleRuntime, false, func() Body { return new(Context) }},
	KindDecision:        {LineOrBeside, RoleAgent, false, func() Body { return new(Decision) }},
	KindAuthorization:   {Line, RoleRuntime, false, func() Body { return new(Authorization) }},
	KindApproval:        {Beside, RoleHuman, true, func() Body { return new(Approval) }},
	KindExecution:       {Line, RoleRuntime, false, func() Body { return new(Execution) }},
	KindConfirmation:    {Beside, RoleTool, false, func() Body { return new(Confirmation) }},
	KindSettlement:      {Line, RoleRuntime, false, func() Body { return new(Settlement) }},
	KindCheckpoint:      {Line, RoleRuntime, false, func() Body { return new(Checkpoint) }},
	KindClaim:           {LineOrBeside, RoleAgent, false, func() Body { return new(Claim) }},
	KindVerdict:         {Line, RoleRuntime, true, func() Body { return new(Verdict) }},
	KindEscalation:      {Line, RoleRuntime, false, func() Body { return new(Escalation) }},
	KindHandoffOffered:  {LineOrBeside, RoleAgent, true, func() Body { return new(HandoffOffered) }},
	KindHandoffAccepted: {Outside, RoleAgent, true, func() Body { return new(HandoffAccepted) }},
	KindHandoffRejected: {Outside, RoleAgent, true, func() Body { return new(HandoffRejected) }},
	KindRunClosed:       {Line, RoleRuntime, true, func() Body { return new(RunClosed) }},
	KindLedgerCreated:   {Registry, RoleRoot, true, func() Body { return new(LedgerCreated) }},
	KindActorRegistered: {Registry, RoleRoot, true, func() Body { return new(ActorRegistered) }},
	KindActorRevoked:    {Registry, RoleRoot, true, func() Body { return new(ActorRevoked) }},
	KindPayloadErased:   {Outside, RoleRuntime, false, func() Body { return new(PayloadErased) }},
}

// Kinds returns every kind, in the order of the pipeline.
func Kinds() []Kind {
	return []Kind{
		KindRunOpened, KindRunResumed, KindContext, KindDecision, KindAuthorization, KindApproval,
		KindExecution, KindConfirmation, KindSettlement, KindCheckpoint, KindClaim, KindVerdict,
		KindEscalation, KindHandoffOffered, KindHandoffAccepted, KindHandoffRejected, KindRunClosed,
		KindLedgerCreated, KindActorRegistered, KindActorRevoked, KindPayloadErased,
	}
}

// Valid reports whether k is a kind of this version.
func (k Kind) Valid() bool { _, ok := kinds[k]; return ok }

// Place returns where records of kind k stand. k must be valid.
func (k Kind) Place() Place { return kinds[k].place }

// NamesRegistry reports whether records of kind k name the latest registry
// number. k must be valid.
func (k Kind) NamesRegistry() bool { return kinds[k].registry }

// MaySign reports whether an actor of the given role may sign a record of kind
// k. hosted tells that the signer is the runtime under which the record's actor
// is registered; an agent with a key of its own is not hosted, and then only
// that key signs for it.
func MaySign(k Kind, signer Role, hosted bool) bool {
	rule, ok := kinds[k]
	if !ok {
		return false
	}
	if rule.signer == RoleAgent && hosted {
		return signer == RoleRuntime
	}
	return signer == rule.signer
}
