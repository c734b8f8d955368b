package inspect

import (
	"errors"
	"fmt"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/internal/report"
)

// A HeadBook knows the tree heads of all files, and finds two that cannot both be
// true. Whether a larger one extends a smaller one, only the log can prove.
type HeadBook struct {
	trust *bundle.Trust
	seen  map[headKey]*bundle.Head
}

type headKey struct {
	origin string
	size   uint64
}

// NewHeadBook returns one that knows no tree head.
func NewHeadBook(t *bundle.Trust) *HeadBook {
	return &HeadBook{trust: t, seen: make(map[headKey]*bundle.Head)}
}

// add takes the tree heads of a file about one ledger.
func (b *HeadBook) add(r *report.Report, notes [][]byte) {
	for _, n := range notes {
		h := signedHead(b.trust, n)
		if h == nil {
			continue
		}
		if f := otherLedgers(h, r.Origin); f != nil {
			breakRule(r, audit.RuleInclusion, *f)
			continue
		}
		b.meet(r, h)
	}
}

// meet compares a tree head, of whatever ledger, with those of the files before.
func (b *HeadBook) meet(r *report.Report, h *bundle.Head) {
	key := headKey{h.Ledger.Origin(), h.Size}
	other, ok := b.seen[key]
	switch {
	case !ok:
		b.seen[key] = h
	case other.Root != h.Root && len(r.Equivocation) == 0:
		Contradict(r, other.Note, h.Note, report.Finding{
			Status: report.Broken, Reason: string(audit.ReasonTwoRoots),
			Expected: fmt.Sprintf("one root for size %d", h.Size), Found: fmt.Sprintf("%v here and %v in a file before, both signed", h.Root, other.Root),
		})
	}
}

// signedHead returns a tree head that a log of the trust file signed, whoever
// cosigned it; nil: none did.
func signedHead(trust *bundle.Trust, note []byte) *bundle.Head {
	h, err := trust.OpenHead(note)
	if err != nil && !errors.Is(err, bundle.ErrQuorum) {
		return nil
	}
	return h
}

// otherLedgers is what is wrong where the header names one ledger, and another one
// signed the tree head; nil: nothing.
func otherLedgers(h *bundle.Head, origin string) *report.Finding {
	if h.Ledger.Origin() == origin {
		return nil
	}
	return &report.Finding{
		Status: report.Broken, Reason: string(audit.ReasonOrigin),
		Expected: "a tree head of " + origin + ", as the header says", Found: "one of " + h.Ledger.Origin(),
	}
}

// Contradict adds two tree heads that cannot both be true to a report.
func Contradict(r *report.Report, one, two []byte, f report.Finding) {
	r.Equivocation = append(r.Equivocation, [2]string{string(one), string(two)})
	breakRule(r, audit.RuleConsistency, f)
}

// breakRule adds a finding to a rule, which is broken by it.
func breakRule(r *report.Report, rule audit.Rule, f report.Finding) {
	r.Outcome = report.Wrong
	for i := range r.Rules {
		if r.Rules[i].Rule == string(rule) {
			r.Rules[i].Status = report.Broken
			r.Rules[i].Findings = append([]report.Finding{f}, r.Rules[i].Findings...)
		}
	}
	r.Summary = summary(r)
}
