package audit

import (
	"fmt"

	"ledgerd/evidence"
)

// Rule is the stable name of a rule, used in reports, JSON, SARIF and JUnit.
type Rule string

// The rules, in the order of a report.
const (
	RuleSignature   Rule = "signature"
	RuleRegistry    Rule = "registry"
	RuleInclusion   Rule = "inclusion"
	RuleConsistency Rule = "consistency"
	RuleChain       Rule = "chain"
	RuleAuthorized  Rule = "authorized"
	RuleOutcome     Rule = "outcome"
	RuleBudget      Rule = "budget"
	RuleResume      Rule = "resume"
	RuleHandoff     Rule = "handoff"
	RuleClaim       Rule = "claim"
	RuleContract    Rule = "contract"
	RuleVerdict     Rule = "verdict"
	RuleDisclosure  Rule = "disclosure"
)

// Rules returns every rule, in the order of a report.
func Rules() []Rule {
	return []Rule{
		RuleSignature, RuleRegistry, RuleInclusion, RuleConsistency, RuleChain, RuleAuthorized, RuleOutcome,
		RuleBudget, RuleResume, RuleHandoff, RuleClaim, RuleContract, RuleVerdict, RuleDisclosure,
	}
}

// Class tells how a refusal is answered: what a client can do about it.
type Class int

const (
	// Invalid: the record can never be admitted (HTTP 422).
	Invalid Class = iota
	// Forbidden: the signer may not say this (HTTP 403).
	Forbidden
	// Conflict: something else stands there; what, the refusal names (HTTP 409).
	Conflict
)

// Reason is the stable, machine-readable cause of a refusal or a finding.
// docs/rules.md lists them.
type Reason string

// Reasons about who signed.
const (
	ReasonOrigin       Reason = "wrong_origin"   // bound to another ledger
	ReasonUnknownKey   Reason = "unknown_key"    // nobody's key at that index
	ReasonRevoked      Reason = "revoked_key"    // was somebody's, and no longer
	ReasonActor        Reason = "wrong_actor"    // the key of another actor
	ReasonUnknownActor Reason = "unknown_actor"  // an actor that is not registered at that index
	ReasonRole         Reason = "wrong_role"     // the signer's role may not sign this kind, there
	ReasonNotPinned    Reason = "not_pinned"     // the trust file gives the actor another key
	ReasonSignature    Reason = "bad_signature"  //
	ReasonStale        Reason = "stale_registry" // names a registry number that is no longer the latest
	ReasonAhead        Reason = "registry_ahead" // names a registry number that does not exist yet
)

// Reasons about the registry.
const (
	ReasonEntryZero    Reason = "wrong_entry_0"   // not the pinned one, or no ledger.created
	ReasonNumber       Reason = "registry_number" // not the next number
	ReasonRegistryPrev Reason = "registry_prev"   // not after the latest registry record
	ReasonKeyTaken     Reason = "key_taken"       // a key belongs to one actor and one purpose, for ever
	ReasonName         Reason = "name_taken"      // name is the root's, an instance's, or has another role
	ReasonHost         Reason = "wrong_host"      // hosted and with a key, or hosted by no runtime
	ReasonNothing      Reason = "nothing_to_revoke"
)

// Reasons about the line of a run.
const (
	ReasonNotOpened    Reason = "run_not_opened"
	ReasonOpened       Reason = "run_exists"
	ReasonPrev         Reason = "wrong_prev"
	ReasonWriter       Reason = "wrong_writer"
	ReasonTimeBefore   Reason = "time_before_prev"
	ReasonClosed       Reason = "run_closed"
	ReasonUsed         Reason = "already_used"
	ReasonOtherRun     Reason = "other_run"
	ReasonUnknownAbout Reason = "unknown_about" // beside the line, about nothing that stands in the run
)

// Class returns how a refusal for this reason is answered.
func (r Reason) Class() Class {
	switch r {
	case ReasonStale, ReasonAhead, ReasonNumber, ReasonRegistryPrev, ReasonKeyTaken, ReasonName,
		ReasonOpened, ReasonPrev, ReasonClosed, ReasonUsed, ReasonNotOpened, ReasonNothing:
		return Conflict
	case ReasonUnknownKey, ReasonRevoked, ReasonActor, ReasonUnknownActor, ReasonRole, ReasonNotPinned, ReasonWriter:
		return Forbidden
	}
	return Invalid
}

// Refusal is why a record is not admitted, and what an audit finds broken where
// it was. Rule names the rule that it would break.
type Refusal struct {
	Rule     Rule
	Reason   Reason
	Expected string
	Found    string
	Stands   evidence.ID // what stands in its place, where there is such a record
}

func (r *Refusal) Error() string {
	s := fmt.Sprintf("%s: expected %s, found %s", r.Reason, r.Expected, r.Found)
	if !r.Stands.IsZero() {
		s += fmt.Sprintf(" (%s stands)", r.Stands)
	}
	return s
}

// Class returns how the refusal is answered.
func (r *Refusal) Class() Class { return r.Reason.Class() }

func refuse(rule Rule, reason Reason, expected, found string, args ...any) *Refusal {
	return &Refusal{Rule: rule, Reason: reason, Expected: expected, Found: fmt.Sprintf(found, args...)}
}
