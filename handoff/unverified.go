package handoff

import (
	"bytes"
	"fmt"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
)

// UnverifiedOffer returns the offer that a bundle says it is about, which nobody has
// verified: it tells whom to verify it for, and nothing else.
func UnverifiedOffer(b []byte) (*evidence.HandoffOffered, error) {
	return unverified[*evidence.HandoffOffered](b)
}

// UnverifiedAcceptance returns the acceptance that a bundle says it is about, which
// nobody has verified: it tells whose offer was accepted, and nothing else.
func UnverifiedAcceptance(b []byte) (*evidence.HandoffAccepted, error) {
	return unverified[*evidence.HandoffAccepted](b)
}

func unverified[B evidence.Body](b []byte) (B, error) {
	var none B
	r := bundle.NewReader(bytes.NewReader(b))
	h, err := r.Header()
	if err != nil {
		return none, err
	}
	for {
		item, err := r.Next()
		if err != nil {
			return none, err
		}
		switch item := item.(type) {
		case *bundle.RecordItem:
			if evidence.IDOf(item.Entry) != h.About.Record {
				continue
			}
			u, err := evidence.Parse(item.Entry)
			if err != nil {
				return none, err
			}
			body, ok := u.UnverifiedRecord().Body.(B)
			if !ok {
				return none, fmt.Errorf("expected a bundle about a %s, found one about a %s", none.Kind(), u.UnverifiedRecord().Kind)
			}
			return body, nil
		case *bundle.EndItem:
			return none, fmt.Errorf("expected a bundle that holds %s, which it says it is about, found none", h.About.Record)
		}
	}
}

// Proven reports whether what the giver's ledger signed shows why the offer is
// refused, or the receiver's own, in which it was accepted. What a bundle withholds, or what was done to it on the way, anybody may
// have done who saw it: that is no reason to record anything about the offer.
func (r *Refused) Proven() bool {
	switch {
	case r.Offer.IsZero():
		return false
	case r.Reason == Used:
		return !r.Stands.IsZero()
	case r.Undecidable || r.Report == nil || r.Reason == Malformed || r.Reason == Artifact:
		return false
	}
	in, open := r.Report.Rule(audit.RuleInclusion), r.Report.Rule(audit.RuleDisclosure)
	return in != nil && in.Status == audit.Held && open != nil && open.Status != audit.Broken
}

// Reasons returns every reason of this package's. A rejection that bears another one
// is somebody's own word: the offer held up, and was not wanted.
func Reasons() []Reason {
	return []Reason{
		Malformed, Untrusted, Signature, Audience, Expired, Used, Rule, NoEvidence, BadEvidence, OtherEvidence, HeadOld, HeadOlder, HeadOther,
		Artifact, Scope, Large,
	}
}
