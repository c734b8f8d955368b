package handoff

import (
	"fmt"

	"ledgerd/audit"
	"ledgerd/evidence"
)

// Reason says in one stable word why an offer is refused; docs/handoffs.md lists
// them. It stands in the rejection's record.
type Reason string

// The reasons. Those that may be refused as not decidable, too, say so.
const (
	Malformed     Reason = "malformed"          // no bundle about an offer
	Untrusted     Reason = "untrusted"          // not decidable: the trust file does not name the giver's ledger, or too few witnesses cosigned
	Signature     Reason = "signature"          // a signature that does not verify, or a key that the registry does not give its actor
	Audience      Reason = "wrong_audience"     // the offer is for another ledger, actor or key
	Expired       Reason = "expired"            //
	Used          Reason = "already_accepted"   // by whom, the error says where it is known
	Rule          Reason = "rule"               // a rule of the audit is broken, or not decidable, in the giver's run
	NoEvidence    Reason = "no_evidence"        // it rests on nothing
	BadEvidence   Reason = "evidence_failed"    // what it rests on failed, or is not supported; or in doubt, which is not decidable
	OtherEvidence Reason = "evidence_elsewhere" // what it rests on is no record of the giver's run before the offer
	HeadOld       Reason = "head_too_old"       // older than the offer allows
	HeadOlder     Reason = "head_older"         // than that of what was accepted from this ledger before
	HeadOther     Reason = "head_inconsistent"  // with that of what was accepted before; or not shown to extend it, which is not decidable
	Artifact      Reason = "artifact"           // not what the offer commits to; or withheld, which is not decidable
	Scope         Reason = "scope_widened"      // wider than what the giver held
	Large         Reason = "too_large"          // to be kept with the acceptance
)

// Refused says why an offer is not accepted.
type Refused struct {
	Reason Reason
	// Undecidable: nothing is proven wrong. Expected says what would decide it.
	Undecidable bool
	Expected    string
	Found       string

	Offer  evidence.ID   // zero where there is none to speak of
	Origin string        // of the giver's ledger, as the bundle says
	Report *audit.Report // of the bundle; nil where it could not be read
	Stands evidence.ID   // the acceptance that stands, where the reason is Used and it is known
	// Proof is, for two tree heads that cannot both be true, these: signed notes.
	Proof [2][]byte
}

// Stale reports whether a newer bundle about the same offer may be accepted: what is wrong
// is the tree head that it is under, and not what it says.
func (r *Refused) Stale() bool {
	return r.Reason == HeadOlder || r.Reason == HeadOther && r.Undecidable
}

func (r *Refused) Error() string {
	what := "refused"
	if r.Undecidable {
		what = "not decidable"
	}
	s := fmt.Sprintf("handoff %s (%s): expected %s, found %s", what, r.Reason, r.Expected, r.Found)
	if !r.Stands.IsZero() {
		s += fmt.Sprintf(" (%s stands)", r.Stands)
	}
	return s
}
