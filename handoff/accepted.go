package handoff

import (
	"ledgerd/audit"
	"ledgerd/evidence"
)

// Accepted is an acceptance that stands in the receiver's ledger. Only a [Party]
// makes one.
type Accepted struct {
	id     evidence.ID
	body   *evidence.HandoffAccepted
	agent  string
	offer  *audit.Offer
	giver  string
	report *audit.Report
	work   []byte
	note   []byte
}

// ID returns the acceptance's evidence ID.
func (a *Accepted) ID() evidence.ID { return a.id }

// Opens returns the one run that continues the work.
func (a *Accepted) Opens() evidence.RunID { return a.body.Opens }

// Agent returns who accepted.
func (a *Accepted) Agent() string { return a.agent }

// Offer returns what was accepted. It is not to be changed.
func (a *Accepted) Offer() *evidence.HandoffOffered { return a.offer.Body }

// Hand gives the run that it opens what was handed over, for claims to be judged by.
func (a *Accepted) Hand(r *audit.Run) { r.Hand(a.id, a.body, a.offer) }

// OfferID returns the offer's evidence ID.
func (a *Accepted) OfferID() evidence.ID { return a.body.Offer }

// Origin returns the name of the giver's ledger.
func (a *Accepted) Origin() string { return a.body.Origin }

// Giver returns the agent that made the offer.
func (a *Accepted) Giver() string { return a.giver }

// Permits reports whether the offer's scope permits an action on a resource.
func (a *Accepted) Permits(action, resource string) bool {
	return audit.Within(a.offer.Body.Scope, action, resource)
}

// Artifact returns what was handed over, nil where the offer commits to nothing.
func (a *Accepted) Artifact() []byte { return a.work }

// Note returns what the giver says in natural language, which nobody verified.
func (a *Accepted) Note() []byte { return a.note }

// Report returns the audit of what was accepted.
func (a *Accepted) Report() *audit.Report { return a.report }

func (v *Verified) accepted(at evidence.Placed) *Accepted {
	return &Accepted{
		id: at.ID, body: at.Record.Body.(*evidence.HandoffAccepted), agent: at.Record.Actor,
		offer: v.offer, giver: v.Giver(), report: v.report, work: v.artifact, note: v.note,
	}
}
