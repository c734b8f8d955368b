package handoff

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// MaxBundle is the size in bytes of the largest bundle that is accepted: it is kept
// as a payload with the acceptance.
const MaxBundle = 16 << 20

// Receiver is for whom an offer has to be: the ledger that will record the
// acceptance, the agent, and the key that signs for it there: its own, or that of
// the runtime that hosts it.
type Receiver struct {
	Origin string
	Actor  string
	Key    evidence.Digest // RFC 7638 thumbprint
}

// Options says under what an offer is verified.
type Options struct {
	Trust *bundle.Trust // names the ledgers of the giver, and of those before it
	To    Receiver
	Now   time.Time
	// Known is the largest tree head of the giver's ledger on which something was
	// accepted before: the signed note, and its size and root. nil: none.
	Known *KnownHead
	// Artifact is the artifact where it was carried by itself. It has to be the one
	// in the bundle. nil: it was not.
	Artifact []byte
	// Bare accepts offers that rest on no evidence: the giver's word is all.
	Bare bool
}

// KnownHead is a tree head that was seen before.
type KnownHead struct {
	Size uint64
	Root tlog.Hash
	Note []byte // signed; nil where it is not at hand
}

// Verified is an offer that held up. Only [Verify] makes one.
type Verified struct {
	offer    *audit.Offer
	report   *audit.Report
	to       Receiver
	bundle   []byte
	artifact []byte
	note     []byte
	bare     bool
}

// Offer returns the offer. It is not to be changed.
func (v *Verified) Offer() *evidence.HandoffOffered { return v.offer.Body }

// ID returns the offer's evidence ID.
func (v *Verified) ID() evidence.ID { return v.offer.ID }

// Origin returns the name of the giver's ledger.
func (v *Verified) Origin() string { return v.offer.Origin }

// Giver returns the agent that made the offer.
func (v *Verified) Giver() string { return v.offer.Record.Actor }

// Report returns the audit of the bundle.
func (v *Verified) Report() *audit.Report { return v.report }

// Artifact returns what is handed over, nil where the offer commits to nothing.
func (v *Verified) Artifact() []byte { return v.artifact }

// Note returns what the giver says in natural language. Nobody verified it, and
// nobody can.
func (v *Verified) Note() []byte { return v.note }

// head is the giver's tree head under which the bundle was verified.
func (v *Verified) head() evidence.HeadRef {
	return evidence.HeadRef{Size: int64(v.report.Scope.Size), Root: evidence.Digest(v.report.Scope.Root)}
}

// Verify verifies the bundle about an offer, offline: under every rule of an audit,
// and that the offer is for the receiver, in time, on evidence that stands, and no
// wider than what its giver held. Why not, is a *[Refused].
//
// It knows of no other acceptance, and of no other tree head than o says:
// [Party.Verify] asks the receiver's ledger for that.
func Verify(b []byte, o Options) (*Verified, error) {
	if len(b) > MaxBundle {
		return nil, &Refused{Reason: Large, Expected: fmt.Sprintf("a bundle of at most %d bytes", MaxBundle), Found: fmt.Sprintf("%d", len(b))}
	}
	offer, report, err := audit.VerifyOffer(bytes.NewReader(b), o.Trust, audit.Options{})
	if err != nil {
		return nil, &Refused{Reason: Malformed, Expected: "a bundle about an offer", Found: err.Error()}
	}
	c := &check{o: &o, offer: offer, report: report}
	for _, rule := range []func() *Refused{c.audited, c.audience, c.expiry, c.fresh, c.known, c.evidence, c.artifact} {
		if r := rule(); r != nil {
			r.Report, r.Origin = report, report.Scope.Origin
			if r.Offer.IsZero() && report.Scope.About != nil && report.Scope.About.Kind == bundle.AboutOffer {
				r.Offer = report.Scope.About.Record
			}
			return nil, r
		}
	}
	v := &Verified{offer: offer, report: report, to: o.To, bundle: slices.Clone(b), bare: o.Bare}
	if a := offer.Body.Artifact; a != nil {
		v.artifact, _ = offer.Payload(a.Commit)
	}
	if n := offer.Body.Note; n != nil {
		v.note, _ = offer.Payload(n.Commit)
	}
	return v, nil
}

type check struct {
	o      *Options
	offer  *audit.Offer // nil: nobody can be shown to have made it
	report *audit.Report
}

// audited: no rule is broken, and each is decided.
func (c *check) audited() *Refused {
	switch c.report.Status() {
	case audit.Broken:
		return c.broken()
	case audit.Undecidable:
		return c.undecided()
	}
	if c.offer == nil {
		return &Refused{Reason: Malformed, Expected: "a bundle about an offer", Found: fmt.Sprintf("one about %s", c.report.Scope.About)}
	}
	return nil
}

// broken tells the kinds of what is proven wrong apart, the gravest first.
func (c *check) broken() *Refused {
	if len(c.report.Equivocation) > 0 {
		r := c.finding(HeadOther, audit.Broken, audit.RuleConsistency)
		r.Proof = c.report.Equivocation[0]
		return r
	}
	for _, k := range []struct {
		reason Reason
		rule   audit.Rule
		is     func(*audit.Finding) bool
	}{
		{Signature, audit.RuleSignature, nil},
		{Signature, audit.RuleRegistry, nil},
		{Scope, audit.RuleHandoff, func(f *audit.Finding) bool { return f.Reason == audit.ReasonWidened }},
		{Artifact, audit.RuleDisclosure, c.ofArtifact},
	} {
		if r := c.report.Rule(k.rule); r.Status == audit.Broken && (k.is == nil || slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return k.is(&f) })) {
			return c.finding(k.reason, audit.Broken, k.rule)
		}
	}
	return c.finding(Rule, audit.Broken, "")
}

// ofArtifact reports whether a payload disclosed with the offer is not what it
// commits to: its artifact, or its note.
func (c *check) ofArtifact(f *audit.Finding) bool {
	return c.offer != nil && slices.Contains(f.Records, c.offer.ID)
}

func (c *check) undecided() *Refused {
	if r := c.report.Rule(audit.RuleInclusion); r.Status == audit.Undecidable {
		return c.finding(Untrusted, audit.Undecidable, audit.RuleInclusion)
	}
	return c.finding(Rule, audit.Undecidable, "")
}

// finding is the first that has that status, of one rule or of any.
func (c *check) finding(reason Reason, status audit.Status, rule audit.Rule) *Refused {
	r := &Refused{Reason: reason, Undecidable: status == audit.Undecidable}
	for _, x := range c.report.Rules {
		if x.Status != status || rule != "" && x.Rule != rule {
			continue
		}
		r.Expected, r.Found = fmt.Sprintf("the rule %s to hold", x.Rule), string(status)
		for i := range x.Findings {
			if f := &x.Findings[i]; f.Status == status {
				r.Found = f.String()
				return r
			}
		}
		return r
	}
	for _, a := range c.report.Asked {
		if a.Status == status {
			r.Reason, r.Expected, r.Found = Malformed, a.Expected, a.Found
		}
	}
	return r
}

func (c *check) audience() *Refused {
	to := c.offer.Body.To
	if want := c.o.To; to.Origin == want.Origin && to.Actor == want.Actor && to.Key == want.Key {
		return nil
	}
	return &Refused{
		Reason: Audience, Expected: fmt.Sprintf("an offer to %s of %s, key %s", c.o.To.Actor, c.o.To.Origin, c.o.To.Key),
		Found: fmt.Sprintf("one to %s of %s, key %s", to.Actor, to.Origin, to.Key),
	}
}

func (c *check) expiry() *Refused {
	if now := evidence.TimeOf(c.o.Now); now > c.offer.Body.Expires {
		return &Refused{Reason: Expired, Expected: "to be accepted until " + c.offer.Body.Expires.String(), Found: now.String()}
	}
	return nil
}

// fresh: the tree head is no older than the offer allows. Witnesses date it. Where
// none does, nobody can: then the offer's own age counts, which is its giver's word.
func (c *check) fresh() *Refused {
	since, by := c.report.Scope.Cosigned, "its witnesses'"
	if since == 0 {
		since, by = c.offer.Record.Time, "the offer's"
	}
	age := c.o.Now.Sub(since.Std())
	if limit := time.Duration(c.offer.Body.HeadMaxAge) * time.Second; age > limit {
		return &Refused{
			Reason: HeadOld, Expected: fmt.Sprintf("a tree head of at most %s", limit),
			Found: fmt.Sprintf("one of %s, by %s time %s", age.Round(time.Second), by, since),
		}
	}
	return nil
}

// known: the tree head extends the one on which something was accepted before.
func (c *check) known() *Refused {
	k, size := c.o.Known, c.report.Scope.Size
	if k == nil {
		return nil
	}
	if size < k.Size {
		return &Refused{Reason: HeadOlder, Expected: fmt.Sprintf("a tree head of at least %d records, as something was accepted on before", k.Size), Found: fmt.Sprintf("%d", size)}
	}
	root, here := c.offer.Root(k.Size)
	switch {
	case here && root != k.Root:
		return &Refused{
			Reason: HeadOther, Expected: fmt.Sprintf("the root %s at size %d, as something was accepted on before", k.Root, k.Size), Found: root.String(),
			Proof: [2][]byte{k.Note, c.offer.Head()},
		}
	case !here && len(c.report.Scope.Witnesses) == 0:
		return &Refused{
			Reason: HeadOther, Undecidable: true, Expected: fmt.Sprintf("a bundle that holds the tree head of size %d, too, and so proves that the log still begins with it", k.Size),
			Found: fmt.Sprintf("only that of size %d, which no witness cosigned", size),
		}
	}
	return nil
}

func (c *check) evidence() *Refused {
	if len(c.offer.Body.Evidence) == 0 && !c.o.Bare {
		return &Refused{Reason: NoEvidence, Expected: "an offer that names the evidence on which it rests", Found: "none: a note or an artifact alone is the giver's word"}
	}
	for _, id := range c.offer.Body.Evidence {
		standing, why := c.offer.Evidence(id)
		switch standing {
		case audit.Failed:
			return &Refused{Reason: BadEvidence, Expected: id.String() + " to be evidence of a success", Found: why}
		case audit.Doubtful:
			return &Refused{Reason: BadEvidence, Undecidable: true, Expected: id.String() + " to be evidence of a success", Found: why}
		case audit.Absent:
			return &Refused{Reason: OtherEvidence, Expected: id.String() + " to stand in the giver's run", Found: why}
		}
	}
	return nil
}

func (c *check) artifact() *Refused {
	a := c.offer.Body.Artifact
	if a == nil {
		if c.o.Artifact != nil {
			return &Refused{Reason: Artifact, Expected: "no artifact: the offer commits to none", Found: fmt.Sprintf("%d bytes", len(c.o.Artifact))}
		}
		return nil
	}
	data, ok := c.offer.Payload(a.Commit)
	if !ok {
		return &Refused{Reason: Artifact, Undecidable: true, Expected: "the artifact to be disclosed: " + a.Commit.String(), Found: "it is withheld"}
	}
	if c.o.Artifact != nil && !bytes.Equal(data, c.o.Artifact) {
		return &Refused{Reason: Artifact, Expected: "the artifact that the offer commits to", Found: "another"}
	}
	return nil
}

// AsRefused returns the Refused in an error's chain, nil if it is another error.
func AsRefused(err error) *Refused {
	if r := (*Refused)(nil); errors.As(err, &r) {
		return r
	}
	return nil
}
