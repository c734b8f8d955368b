package audit

import (
	"fmt"
	"io"
	"slices"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// Offer is the offer of a handoff, as the audit of the bundle about it found it.
type Offer struct {
	Origin string // of the giver's ledger
	ID     evidence.ID
	Index  uint64
	Record *evidence.Record
	Body   *evidence.HandoffOffered
	By     Signer

	auditor *Auditor
	worths  map[evidence.Source]Decision // what it is worth, by the weakest source that counts
}

// VerifyOffer is [VerifyBundle] of a bundle about an offer, and returns the offer
// too: nil where the bundle is about something else, or nobody can be shown to have
// made it. What the report says is proven wrong or undecided is so all the same.
func VerifyOffer(r io.Reader, trust *bundle.Trust, o Options) (*Offer, *Report, error) {
	a, report, err := auditBundle(r, trust, o, 0)
	if err != nil {
		return nil, nil, err
	}
	return a.offered(), report, nil
}

// offered returns the offer that the bundle is about; nil: nobody can be shown to
// have made it.
func (a *Auditor) offered() *Offer {
	if a.about.Kind != bundle.AboutOffer || a.offers[a.about.Record] == nil || a.records[a.about.Record] == nil {
		return nil
	}
	x := a.offers[a.about.Record]
	return &Offer{Origin: a.origin, ID: x.id, Index: x.index, Record: x.rec, Body: x.body, By: x.by, auditor: a}
}

// Run returns the giver's run up to the offer.
func (o *Offer) Run() *Run { return o.auditor.runs[o.Record.Run] }

// Payload returns a payload of the bundle that was disclosed and opened.
func (o *Offer) Payload(commit evidence.Digest) ([]byte, bool) {
	return o.auditor.payloads.Payload(commit)
}

// Root returns the root that the bundle's records and nodes give for a size at
// which the log signed a tree head that lies in it.
func (o *Offer) Root(size uint64) (tlog.Hash, bool) {
	for _, h := range o.auditor.heads {
		if h.Size == size && h.lacks == nil {
			return h.Root, true
		}
	}
	return tlog.Hash{}, false
}

// Head returns the largest tree head of the bundle, a signed note.
func (o *Offer) Head() []byte {
	if n := len(o.auditor.heads); n > 0 {
		return o.auditor.heads[n-1].note
	}
	return nil
}

// Standing is what a record that an offer cites is worth.
type Standing int

// The standings.
const (
	Stands   Standing = iota // it happened, or it is no statement about what happened
	Failed                   // it says that something failed, or is not supported
	Doubtful                 // nobody knows what came of it, or what decides is withheld
	Absent                   // no record of the giver's run before the offer
)

// Evidence says what a record that the offer cites is worth, and why.
func (o *Offer) Evidence(id evidence.ID) (Standing, string) {
	if !o.holds(id) {
		return Absent, "it is no record of the giver's run before the offer"
	}
	result, why := o.standing(id, o.auditor.weakest(), newValues(o.auditor.payloads))
	switch result {
	case evidence.Supported, evidence.NoContract:
		return Stands, why
	case evidence.InDoubt, evidence.Undisclosed:
		return Doubtful, why
	}
	return Failed, why
}

// holds reports whether a record is of the giver's run before the offer.
func (o *Offer) holds(id evidence.ID) bool {
	rec := o.auditor.records[id]
	return rec != nil && rec.Run == o.Record.Run && id != o.ID
}

// standing is what a record that the offer cites comes to, and why: no_contract
// where it is no statement about what happened.
func (o *Offer) standing(id evidence.ID, weakest evidence.Source, v *values) (evidence.Result, string) {
	if !o.holds(id) {
		return evidence.Unsupported, "it offers the work on what is no record of its giver's run before the offer"
	}
	r, rec := o.Run(), o.auditor.records[id]
	switch body := rec.Body.(type) {
	case *evidence.Authorization, *evidence.Execution, *evidence.Confirmation, *evidence.Settlement:
		return r.cameOf(id, weakest.Strength())
	case *evidence.Claim:
		result := r.judge(r.claim(id), r.claim(id).at, forever, weakest, v).Result
		return result, "it is " + string(result)
	case *evidence.Verdict:
		return body.Result, "it is " + string(body.Result)
	}
	return evidence.NoContract, "it is a " + string(rec.Kind)
}

// cameOf is what came of the action that a record is about, where a success counts from
// that strength of source on.
func (r *Run) cameOf(id evidence.ID, least int) (evidence.Result, string) {
	b := &bench{run: r, asOf: forever, told: forever}
	b.index()
	found, why := evidence.Unsupported, "nothing that was done rests on it"
	for _, items := range b.byAction {
		for i := range items {
			it := &items[i]
			if it.act.id != id && !slices.Contains(it.out.ids, id) {
				continue
			}
			switch it.out.state {
			case done:
				if it.out.source.Strength() < least {
					if found == evidence.Unsupported {
						why = fmt.Sprintf("that %s succeeded is only %s", it.act.action, it.out.source)
					}
					continue
				}
				return evidence.Supported, fmt.Sprintf("%s succeeded", it.act.action)
			case maybe:
				found, why = evidence.InDoubt, fmt.Sprintf("what came of %s is in doubt", it.act.action)
			case notDone:
				if found == evidence.Unsupported {
					found, why = evidence.Contradicted, fmt.Sprintf("%s came to %s", it.act.action, it.out.status)
				}
			}
		}
	}
	return found, why
}

// Acceptance is the acceptance of an offer, as the audit of the bundle about it
// found it.
type Acceptance struct {
	Origin string // of the receiver's ledger
	ID     evidence.ID
	Record *evidence.Record
	Body   *evidence.HandoffAccepted
	By     Signer
}

// VerifyAcceptance is [VerifyBundle] of a bundle about the record of an acceptance,
// and returns that too: nil where the bundle is about something else, or nobody can
// be shown to have accepted.
func VerifyAcceptance(r io.Reader, trust *bundle.Trust, o Options) (*Acceptance, *Report, error) {
	a, report, err := auditBundle(r, trust, o, 0)
	if err != nil {
		return nil, nil, err
	}
	x := a.accepted[a.about.Record]
	if a.about.Kind != bundle.AboutRecord || x == nil {
		return nil, report, nil
	}
	return &Acceptance{a.origin, x.id, x.rec, x.body, x.by}, report, nil
}
