package audit

import (
	"io"

	"ledgerd/bundle"
	"ledgerd/evidence"
)

// Told is the audit of a bundle with what it read at hand, for whoever tells a
// person what happened: who signed a record, what a run came to, what was handed
// over. It decides nothing that its report does not.
type Told struct {
	Report *Report
	a      *Auditor
}

// TellBundle is [VerifyBundle], and keeps what the audit had read.
func TellBundle(r io.Reader, trust *bundle.Trust, o Options) (*Told, error) {
	a, report, err := auditBundle(r, trust, o, 0)
	if err != nil {
		return nil, err
	}
	return &Told{report, a}, nil
}

// Told is the audit of the bundle that an acceptance commits to; nil where it is
// no bundle.
func (g *Given) Told() *Told {
	if g.auditor == nil || g.Report == nil {
		return nil
	}
	return &Told{g.Report, g.auditor}
}

// Trusted reports whether the trust file names the ledger, and who signed its tree
// heads. Where it does not, nobody vouches for anything in the bundle.
func (t *Told) Trusted() bool {
	return t.a.trusted != nil && (t.a.strangers == 0 || t.a.strangers < t.a.scope.Heads)
}

// Signer says who signed the record at index, as the rule signature decides it.
// Ask only where [Told.Trusted].
func (t *Told) Signer(index uint64, u *evidence.Unverified) (Signer, error) {
	by, key, err := t.a.registry.attribute(index, u)
	if err != nil {
		return Signer{}, err
	}
	if _, err := u.Verify(key); err != nil {
		return Signer{}, err
	}
	return by, nil
}

// Suspect reports whether the registry says that a key was in the wrong hands at
// index.
func (t *Told) Suspect(kid evidence.Digest, index uint64) bool {
	return t.a.registry.Suspect(kid, index, forever)
}

// Runs returns the runs that were judged, in log order.
func (t *Told) Runs() []*Run {
	runs := make([]*Run, 0, len(t.a.order))
	for _, id := range t.a.order {
		if r := t.a.runs[id]; r != nil && !r.Opened.IsZero() {
			runs = append(runs, r)
		}
	}
	return runs
}

// Contract returns the contract of a run, and what each part of it says of the run
// as it stands; nils where it has none, or one that is withheld or cannot be read, and where
// nobody vouches for any of it.
func (t *Told) Contract(r *Run) (*Contract, *Trial) {
	if !t.Trusted() || r.Body.Contract == nil {
		return nil, nil
	}
	doc, ok := t.a.payloads.Payload(r.Body.Contract.Document.Commit)
	if !ok {
		return nil, nil
	}
	c, err := ParseContract(doc)
	if err != nil {
		return nil, nil
	}
	trial, err := Try(r, c, t.a.weakest(), t.a.payloads)
	if err != nil {
		return nil, nil
	}
	return c, trial
}

// Offer returns the offer that the bundle is about, and what the work that it hands
// over is worth; nil where it is about none, or nobody can be shown to have made it.
func (t *Told) Offer() (*Offer, Decision) {
	o := t.a.offered()
	if o == nil || !t.Trusted() || o.Run() == nil || o.Run().Opened.IsZero() {
		return nil, Decision{}
	}
	return o, o.worth(t.a.weakest())
}
