package story

import (
	"ledgerd/audit"
	"ledgerd/evidence"
)

// A kindWords says in plain words what a kind of record is.
type kindWords struct {
	is     string // the record is …
	proves string // what it stands for, if it is genuine
	not    string // what it does not prove
}

var kinds = map[evidence.Kind]kindWords{
	evidence.KindRunOpened: {
		"the opening of a run", "A runtime took a request, and records from here on what is done about it.",
		"that the request came from whom it names as principal: that is what the runtime was told.",
	},
	evidence.KindRunResumed: {
		"a runtime taking the run over", "The run had stopped, and a runtime went on with it.",
		"why it had stopped, beyond the reason that the runtime gives.",
	},
	evidence.KindContext: {
		"what was laid before the model", "The runtime says which texts the model was given.",
		"that the model read them, or that they are true.",
	},
	evidence.KindDecision: {
		"an answer of the model", "The agent says what its model chose.",
		"that it was a good choice, that the reasons given are those that led to it, or that anything was done.",
	},
	evidence.KindAuthorization: {
		"a permission check", "Before anything was done, it was decided whether exactly this action may be carried out.",
		"that the action was carried out: that is said by an execution.",
	},
	evidence.KindApproval: {
		"a human's answer", "A person who was asked answered, and signed that with a key of their own.",
		"that the person understood what was asked, or that it was done.",
	},
	evidence.KindExecution: {
		"one attempt at an action", "What came of an attempt to carry out what had been permitted.",
		"more than the signer can know: its source says how they came to know.",
	},
	evidence.KindConfirmation: {
		"the tool's own word", "The tool itself says, with a key of its own, what became of an action.",
		"more than what the tool says of itself. It counts from the record of the run on that names it.",
	},
	evidence.KindSettlement: {
		"the end of a doubt", "It had been unknown whether something was done. This says what was found out.",
		"more than the way in which it was found out can show.",
	},
	evidence.KindCheckpoint: {
		"saved state of the workflow", "The runtime saved where it stood, so that it could go on from there.",
		"that the state is right.",
	},
	evidence.KindClaim: {
		"a claim", "The agent says that something is done.",
		"that it is so. A claim is no evidence: the records before it decide what it is worth.",
	},
	evidence.KindVerdict: {
		"a verdict", "The runtime checked a claim, or the run at its end, against the evidence, and recorded what it found.",
		"anything by itself: an audit reaches the verdict again from the same evidence, and compares.",
	},
	evidence.KindEscalation: {
		"a question to people", "The runtime did not go on by itself, and asked people.",
		"that anybody answered.",
	},
	evidence.KindHandoffOffered: {
		"an offer to hand work over", "An agent offers its work to another, with what that one may do.",
		"that it was accepted, or that what it says of the work is so. The note, if there is one, is words alone.",
	},
	evidence.KindHandoffAccepted: {
		"the acceptance of a handoff", "An agent took the work over, and committed to the bundle on which it relied.",
		"that what was handed over holds up: the bundle is audited for that.",
	},
	evidence.KindHandoffRejected: {
		"the refusal of a handoff", "An agent refused work that it was offered, and says why.",
		"that the reason is right.",
	},
	evidence.KindRunClosed: {
		"the end of a run", "The runtime closed the run. Nothing may follow it.",
		"that what had to be done was done: the contract and the claims are checked for that.",
	},
	evidence.KindLedgerCreated: {
		"the first entry of a ledger", "The ledger began, and these keys decide who belongs to it.",
		"that it is the ledger that you mean: for that your trust file names it.",
	},
	evidence.KindActorRegistered: {
		"the registration of an actor", "From the next entry on this actor may sign, in this role.",
		"who stands behind the name: that is the operator's word.",
	},
	evidence.KindActorRevoked: {
		"the end of an actor's key", "From the next entry on the actor, or one key of it, may not sign any more.",
		"that everything signed before is good, where the record says from when on it is in doubt.",
	},
	evidence.KindPayloadErased: {
		"an erasure", "A text to which a record commits was erased. The record itself, and its proof, stay.",
		"what the text said.",
	},
}

var roles = map[evidence.Role]string{
	evidence.RoleRoot: "the ledger's root", evidence.RoleRuntime: "a runtime", evidence.RoleAgent: "an agent",
	evidence.RoleTool: "a tool", evidence.RoleHuman: "a person",
}

var sources = map[evidence.Source]string{
	evidence.SourceConfirmed: "the tool itself says so, with its own key",
	evidence.SourceRuntime:   "the runtime made the call itself",
	evidence.SourceReported:  "somebody told the runtime so",
	evidence.SourceObserved:  "seen in a trace",
	evidence.SourceImported:  "read from a transcript",
}

var results = map[evidence.Result]string{
	evidence.Supported:    "the evidence shows it",
	evidence.Contradicted: "the evidence shows the opposite",
	evidence.Unsupported:  "the evidence for it is missing",
	evidence.InDoubt:      "nobody knows yet what came of something that decides it",
	evidence.Undisclosed:  "a text that decides it is not disclosed",
	evidence.NoContract:   "nobody declared what has to be shown",
}

var statuses = map[evidence.Status]string{
	evidence.StatusSuccess:  "it succeeded",
	evidence.StatusFailure:  "it failed",
	evidence.StatusAccepted: "the tool accepted it and finishes later: not done yet",
	evidence.StatusUnknown:  "nobody knows whether it was done",
	evidence.StatusNotRun:   "it was not carried out",
}

var effects = map[evidence.Effect]string{
	evidence.Allow: "it may be carried out", evidence.Deny: "it may not be carried out", evidence.Escalate: "a person has to decide",
}

var modes = map[evidence.Mode]string{
	evidence.Enforce: "what it denies does not go through", evidence.Observe: "not enforced: what it would have denied went through all the same",
}

var ends = map[evidence.End]string{
	evidence.Completed: "the work was done, as the runtime says", evidence.Failed: "the work was not done", evidence.Stopped: "it was stopped before its end",
}

var answers = map[evidence.Answer]string{evidence.Approve: "it may be carried out", evidence.Refuse: "it may not be carried out"}

var settlers = map[evidence.Settler]string{
	evidence.ByProbe: "by asking the tool", evidence.ByHuman: "by a person", evidence.ByConfirmation: "by the tool's confirmation", evidence.ByReport: "by a report",
}

var classes = map[evidence.Class]string{
	evidence.ToolTimeout: "the tool did not answer in time", evidence.ToolUnavailable: "the tool could not be reached",
	evidence.RateLimited: "the tool was asked too often", evidence.ToolFailed: "the tool ran and said no",
	evidence.InvalidToolPayload: "the tool could not use what it was given", evidence.BadReasoning: "the model was wrong",
	evidence.PermissionDenied: "it was not permitted", evidence.BudgetExceeded: "the budget was spent",
	evidence.OutcomeUnknown: "nobody knows whether it was done", evidence.ClaimUnsupported: "the evidence does not support the claim",
}

// questions are the rules as an auditor who is no engineer would ask for them.
var questions = map[audit.Rule]string{
	audit.RuleSignature:   "Did those sign who are said to have signed?",
	audit.RuleRegistry:    "Is the list of who may sign complete and in order?",
	audit.RuleInclusion:   "Does every record stand in the ledger?",
	audit.RuleConsistency: "Does the ledger never contradict what it said before?",
	audit.RuleChain:       "Is the run whole, with no record left out or put in?",
	audit.RuleAuthorized:  "Was only that done which was permitted?",
	audit.RuleOutcome:     "Is it known what came of everything that was permitted?",
	audit.RuleBudget:      "Did costs stay within the budget?",
	audit.RuleResume:      "Was the work taken up again where it had stopped?",
	audit.RuleHandoff:     "Was work taken over from others only as it was offered, and does it hold up?",
	audit.RuleClaim:       "Does the evidence support what was claimed?",
	audit.RuleContract:    "Was everything done that had to be done?",
	audit.RuleVerdict:     "Do the recorded verdicts follow from the evidence?",
	audit.RuleDisclosure:  "Are the disclosed texts those that the records commit to?",
}

// reasons says in plain words what is wrong, for each reason of a finding.
var reasons = map[audit.Reason]string{
	audit.ReasonOrigin:          "a record belongs to another ledger",
	audit.ReasonUnknownKey:      "the key that signed belonged to nobody in the ledger at that time",
	audit.ReasonRevoked:         "the key that signed had been withdrawn before",
	audit.ReasonActor:           "somebody signed for another who may not speak for them",
	audit.ReasonUnknownActor:    "the one who is said to have acted was not registered at that time",
	audit.ReasonRole:            "the signer's role may not say this",
	audit.ReasonNotPinned:       "the key is not the one that your trust file has for this signer",
	audit.ReasonSignature:       "a signature is wrong: the record is not what was signed",
	audit.ReasonStale:           "the record was made under an outdated list of who may sign",
	audit.ReasonAhead:           "the record names a list of who may sign that did not exist yet",
	audit.ReasonEntryZero:       "the ledger does not begin as your trust file says",
	audit.ReasonNumber:          "the list of who may sign has a gap, or an entry twice",
	audit.ReasonRegistryPrev:    "the list of who may sign is not one chain",
	audit.ReasonKeyTaken:        "one key was given out twice",
	audit.ReasonName:            "a name was given to another, or another role",
	audit.ReasonHost:            "an agent has the wrong runtime to sign for it",
	audit.ReasonNothing:         "a key was withdrawn that did not hold",
	audit.ReasonNotOpened:       "the run does not begin with its opening",
	audit.ReasonOpened:          "the run was opened twice",
	audit.ReasonPrev:            "a record does not follow the one before it: something was left out or put in",
	audit.ReasonWriter:          "another than the run's own runtime wrote into it",
	audit.ReasonTimeBefore:      "time runs backwards",
	audit.ReasonClosed:          "something follows the end of the run",
	audit.ReasonUsed:            "something was used again that may be used once",
	audit.ReasonOtherRun:        "a record names one of another run",
	audit.ReasonUnknownAbout:    "a record is about nothing that stands in the run",
	audit.ReasonNoAuthorization: "something was done without any permission check before it",
	audit.ReasonDiffers:         "what was done is not what had been permitted",
	audit.ReasonDenied:          "something was done although it had been denied",
	audit.ReasonNotApproved:     "something was done without the approval that it needed",
	audit.ReasonAttempt:         "an attempt is out of order: after a success, or while nobody knew what had come of the one before",
	audit.ReasonNoOutcome:       "nobody recorded what came of something that was permitted",
	audit.ReasonNotInDoubt:      "something was settled that was not in doubt",
	audit.ReasonOverBudget:      "more was spent than the budget allows",
	audit.ReasonCovers:          "saved state covers more, or less, than what had happened",
	audit.ReasonSequence:        "saved states are not numbered in order",
	audit.ReasonReference:       "a record names another that is not there",
	audit.ReasonNotAccepted:     "work was continued without having been accepted first",
	audit.ReasonOutOfScope:      "more was done than the handoff permitted",
	audit.ReasonExpired:         "it was too late: what permitted it had ended",
	audit.ReasonWidened:         "more was passed on than had been received",
	audit.ReasonGiven:           "what was handed over does not hold up",
	audit.ReasonSuspect:         "the ledger itself says that a key was in the wrong hands",
	audit.ReasonForm:            "an entry is no record",
	audit.ReasonHead:            "the ledger's signed state is not signed as your trust file asks",
	audit.ReasonRoot:            "the records are not those that the ledger signed",
	audit.ReasonTwoRoots:        "the ledger signed two different histories",
	audit.ReasonNotExtended:     "the ledger took back what it had signed before",
	audit.ReasonIndex:           "a record stands where the ledger has no place",
	audit.ReasonUntrusted:       "your trust file does not name this ledger, or who signed its state",
	audit.ReasonResult:          "the evidence does not support it",
	audit.ReasonBytes:           "a recorded verdict is not the one that the evidence gives",
	audit.ReasonMissing:         "a text that decides it was not disclosed",
	audit.ReasonCommitment:      "a disclosed text is not the one that the record commits to",
	audit.ReasonParse:           "a disclosed text is not in the form that the record says",
	audit.ReasonPublic:          "what a record shows of a text is not what the text says",
	audit.ReasonTile:            "the ledger's own index does not agree with its entries",
	audit.ReasonRollback:        "the ledger is shorter than it was",
	audit.ReasonNewer:           "a record is of a newer version than this program knows",
	audit.ReasonSkipped:         "it was asked for hashes alone, and nobody looked who says what",
}

// undecided says it of reasons that leave a rule undecided, where that is another thing.
var undecided = map[audit.Reason]string{
	audit.ReasonResult:      "what is recorded and disclosed does not decide it",
	audit.ReasonGiven:       "what was handed over cannot be decided",
	audit.ReasonNoOutcome:   "it is not known yet what came of something that was permitted",
	audit.ReasonNotAccepted: "what was accepted is not in the file",
	audit.ReasonOutOfScope:  "the offer, which says what was permitted, is not in the file",
	audit.ReasonEntryZero:   "the beginning of the ledger is not in the file",
	audit.ReasonNotPinned:   "the file does not show whose key signed",
}

// in is a value of the record format with what it means.
func in[K ~string](words map[K]string, k K) string {
	if s, ok := words[k]; ok {
		return string(k) + ": " + s
	}
	return string(k)
}

var asks = map[string]string{
	"about":    "Is the file about what it says?",
	"run":      "Is it about the run that was asked for?",
	"subject":  "Is it about the subject that was asked for?",
	"contract": "Does it have the contract that was asked for?",
}
