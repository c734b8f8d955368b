package audit

import (
	"fmt"

	"ledgerd/evidence"
)

// Status is what a report says of a rule.
type Status string

// The statuses. A rule with a broken finding is broken; with none of these but
// an undecidable one, undecidable.
const (
	Held          Status = "held"
	Broken        Status = "broken"
	NotApplicable Status = "not_applicable"
	Undecidable   Status = "undecidable"
)

// More reasons of findings; those of refusals serve here too.
const (
	ReasonNoAuthorization Reason = "no_authorization"  // an execution names none, or not an earlier one of its run
	ReasonDiffers         Reason = "differs"           // does not repeat what was authorized
	ReasonDenied          Reason = "denied"            // executed although denied
	ReasonNotApproved     Reason = "not_approved"      // no valid approval by a human of the team asked
	ReasonAttempt         Reason = "attempt"           // not the next attempt, after a success, or after a doubt
	ReasonNoOutcome       Reason = "no_outcome"        // allowed, and nobody recorded what became of it
	ReasonNotInDoubt      Reason = "not_in_doubt"      // settles what was not in doubt
	ReasonOverBudget      Reason = "over_budget"       //
	ReasonCovers          Reason = "covers"            // a checkpoint covers more or less than what happened
	ReasonSequence        Reason = "sequence"          // of checkpoints
	ReasonReference       Reason = "unknown_reference" // names a record beside the line that does not stand there
	ReasonNotAccepted     Reason = "not_accepted"      //
	ReasonOutOfScope      Reason = "out_of_scope"      //
	ReasonExpired         Reason = "expired"           //
	ReasonWidened         Reason = "scope_widened"     //
	ReasonGiven           Reason = "given"             // what was accepted does not hold up
	ReasonSuspect         Reason = "suspect_key"       // the registry says that the key was in the wrong hands
	ReasonForm            Reason = "form"              // an entry that is no record
	ReasonHead            Reason = "tree_head"         // not signed by the log, or by too few witnesses
	ReasonRoot            Reason = "root"              // the records do not give the signed root
	ReasonTwoRoots        Reason = "two_roots"         // two signed roots for one size
	ReasonNotExtended     Reason = "not_extended"      // a tree head that does not extend an earlier one
	ReasonIndex           Reason = "index"             // an index that the tree does not have
	ReasonUntrusted       Reason = "untrusted"         // the trust file does not name the ledger
	ReasonResult          Reason = "result"            // a claim or contract that is not supported
	ReasonBytes           Reason = "other_bytes"       // a recorded verdict that is not the one recomputed
	ReasonMissing         Reason = "payload_missing"   // a payload that was not disclosed
	ReasonCommitment      Reason = "commitment"        // a payload that its record does not commit to
	ReasonParse           Reason = "payload_form"      // a payload that is not of the media type that it says
	ReasonPublic          Reason = "public_members"    // params or refs that are not the payload's
	ReasonTile            Reason = "tile"              // a tile that is not the entries'
	ReasonRollback        Reason = "rolled_back"       // a log shorter than it was
	ReasonNewer           Reason = "newer_version"     // a record of a version that this program does not know
	ReasonSkipped         Reason = "skipped"           // was asked to be left out
)

// Finding is one thing that an audit found: where a rule is broken, or what it
// would take to decide it.
type Finding struct {
	Rule     Rule
	Status   Status // Broken or Undecidable
	Reason   Reason
	Records  []evidence.ID
	Indexes  []uint64 // of Records, where they stand in the log
	Run      evidence.RunID
	Expected string
	Found    string
	// Decides says what would decide an undecidable rule.
	Decides string
}

func (f *Finding) String() string {
	s := fmt.Sprintf("%s: %s: expected %s, found %s", f.Rule, f.Reason, f.Expected, f.Found)
	if f.Decides != "" {
		s += "; decided by " + f.Decides
	}
	return s
}

// place is where a finding is made: the record that is looked at.
type place struct {
	index uint64
	id    evidence.ID
	run   evidence.RunID
}

func (p place) broken(rule Rule, reason Reason, expected, found string, args ...any) Finding {
	return Finding{
		Rule: rule, Status: Broken, Reason: reason, Records: []evidence.ID{p.id}, Indexes: []uint64{p.index}, Run: p.run,
		Expected: expected, Found: fmt.Sprintf(found, args...),
	}
}

func (p place) undecidable(rule Rule, reason Reason, decides, expected, found string, args ...any) Finding {
	f := p.broken(rule, reason, expected, found, args...)
	f.Status, f.Decides = Undecidable, decides
	return f
}

func (p place) refused(err error) Finding {
	r, ok := err.(*Refusal)
	if !ok {
		return p.broken(RuleSignature, ReasonSignature, "a valid record", "%v", err)
	}
	f := p.broken(r.Rule, r.Reason, r.Expected, "%s", r.Found)
	if !r.Stands.IsZero() {
		f.Found += fmt.Sprintf(" (%s stands)", r.Stands)
	}
	return f
}

// and adds another record that the finding is about.
func (f Finding) and(id evidence.ID, index uint64) Finding {
	f.Records = append(f.Records, id)
	f.Indexes = append(f.Indexes, index)
	return f
}
