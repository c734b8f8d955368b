package evidence

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

func (*HandoffOffered) Kind() Kind { return KindHandoffOffered }

func (b *HandoffOffered) check(c *checker) {
	c.in("to", b.To.check)
	c.identifier("task", b.Task)
	c.require("scope", len(b.Scope) > 0)
	for i := range b.Scope {
		c.item("scope", i, b.Scope[i].check)
	}
	c.commitment("artifact", b.Artifact)
	c.ids("evidence", b.Evidence)
	c.commitment("note", b.Note)
	c.require("expires", !b.Expires.absent())
	c.time("expires", b.Expires)
	c.count("head_max_age_s", b.HeadMaxAge, 1)
}

// Recipient is who an offer is for.
type Recipient struct {
	Origin string `json:"origin"`
	Actor  string `json:"actor"`
	Key    Digest `json:"key"` // RFC 7638 thumbprint
}

func (r *Recipient) check(c *checker) {
	c.origin("origin", r.Origin)
	c.identifier("actor", r.Actor)
	c.require("key", !r.Key.IsZero())
}

// ScopeEntry permits one action on one resource, or on every resource that
// begins with what stands before a final asterisk.
type ScopeEntry struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
}

func (e *ScopeEntry) check(c *checker) {
	c.identifier("action", e.Action)
	c.identifier("resource", e.Resource)
}

// HandoffAccepted is recorded by the receiver and belongs to no run. Where the
// giver has a ledger of its own, that records the acceptance in turn, with
// Acceptance.
type HandoffAccepted struct {
	Offer  ID         `json:"offer"`
	Origin string     `json:"origin"` // of the other ledger: the giver's; with Acceptance, the receiver's
	Opens  RunID      `json:"opens"`  // the run that continues the work
	Head   HeadRef    `json:"head"`   // the other ledger's tree head that the bundle was verified under
	Bundle Commitment `json:"bundle"` // what was verified: the bundle about the offer; with Acceptance, about that
	// Acceptance is what the receiver recorded. It opens no run of this ledger.
	Acceptance ID `json:"acceptance,omitzero"`
}

func (*HandoffAccepted) Kind() Kind { return KindHandoffAccepted }

func (b *HandoffAccepted) check(c *checker) {
	c.id("offer", b.Offer)
	c.origin("origin", b.Origin)
	if _, err := ParseRunID(string(b.Opens)); err != nil {
		c.fail("opens", "%v", err)
	}
	c.in("head", b.Head.check)
	c.commitment("bundle", &b.Bundle)
}

// HeadRef is the size and root of some log.
type HeadRef struct {
	Size int64  `json:"size"`
	Root Digest `json:"root"`
}

func (h *HeadRef) check(c *checker) {
	c.count("size", h.Size, 1)
	c.require("root", !h.Root.IsZero())
}

// HandoffRejected says why an offer was not accepted.
type HandoffRejected struct {
	Offer  ID          `json:"offer"`
	Origin string      `json:"origin"`
	Reason string      `json:"reason"`
	Proof  *Commitment `json:"proof,omitzero"` // such as two inconsistent tree heads
}

func (*HandoffRejected) Kind() Kind { return KindHandoffRejected }

func (b *HandoffRejected) check(c *checker) {
	c.id("offer", b.Offer)
	c.origin("origin", b.Origin)
	c.identifier("reason", b.Reason)
	c.commitment("proof", b.Proof)
}
