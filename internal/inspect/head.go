package inspect

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/internal/report"
)

// headRule is the name under which reports say whether a tree head is signed by its
// log, and cosigned by the quorum.
const headRule = "tree_head"

// headForm is how a tree head begins: origin, size, root. No bundle, receipt or
// trust file does.
var headForm = regexp.MustCompile(`^[^\n{]{1,256}\n[0-9]{1,20}\n[A-Za-z0-9+/=]{1,64}\n`)

// A Signed is a tree head that somebody handed in, and what became of it.
type Signed struct {
	Name string // of the file
	Note []byte // signed
	*bundle.Head
	Err error // why it is not accepted; with bundle.ErrQuorum there is a Head
}

// OpenSigned reads a tree head, and says what the trust file says of it.
func OpenSigned(name string, note []byte, trust *bundle.Trust) *Signed {
	h, err := trust.OpenHead(note)
	return &Signed{name, note, h, err}
}

// status is what the trust file says of it.
func (s *Signed) status() report.Status {
	switch {
	case s.Err == nil:
		return report.Held
	case errors.Is(s.Err, bundle.ErrQuorum), errors.Is(s.Err, bundle.ErrUntrusted):
		return report.NotDecided
	}
	return report.Broken
}

// finding says why it is not accepted.
func (s *Signed) finding() report.Finding {
	f := report.Finding{
		Status: s.status(), Reason: string(audit.ReasonHead), Expected: "a tree head signed by the log, and cosigned by the quorum", Found: s.Name + ": " + s.Err.Error(),
	}
	switch {
	case errors.Is(s.Err, bundle.ErrQuorum):
		f.Decides = "witnesses' cosignatures on the tree head"
	case errors.Is(s.Err, bundle.ErrUntrusted):
		f.Decides = "a trust file that names who signed it"
	}
	return f
}

// HeadsRule says of each tree head whether it is accepted.
func HeadsRule(heads ...*Signed) report.Rule {
	rule := report.Rule{Rule: headRule, Status: report.Held}
	for _, h := range heads {
		if h.Err == nil {
			continue
		}
		f := h.finding()
		if rule.Status != report.Broken {
			rule.Status = f.Status
		}
		rule.Findings = append(rule.Findings, f)
	}
	return rule
}

// EvidenceRule is HeadsRule where tree heads are evidence against their log: one
// that it is not shown to have signed proves nothing, and one that its quorum did
// not cosign is its word all the same.
func EvidenceRule(heads [2]*Signed) report.Rule {
	rule := report.Rule{Rule: headRule, Status: report.Held}
	for _, h := range heads {
		if h.Head != nil {
			continue
		}
		f := h.finding()
		f.Status = report.NotDecided
		if f.Decides == "" {
			f.Decides = "a tree head with the log's signature"
		}
		rule.Status = report.NotDecided
		rule.Findings = append(rule.Findings, f)
	}
	return rule
}

// Describe fills in what a report says of the tree heads that it is about.
func Describe(r *report.Report, heads ...*Signed) {
	for _, h := range heads {
		if h.Head == nil {
			continue
		}
		r.Origin = h.Ledger.Origin()
		if r.Scope == nil || h.Size >= r.Scope.Size {
			r.Scope = &report.Scope{Size: h.Size, Root: h.Root.String(), Witnesses: h.Witnesses, Heads: len(heads)}
		}
	}
}

// Settle sets the outcome that the rules give.
func Settle(r *report.Report) {
	var outcomes []report.Outcome
	for _, rule := range r.Rules {
		switch rule.Status {
		case report.Broken:
			outcomes = append(outcomes, report.Wrong)
		case report.NotDecided:
			outcomes = append(outcomes, report.Undecidable)
		}
	}
	r.Outcome = report.Worst(outcomes...)
}

// verifyHead says what a tree head says, and who signed it.
func verifyHead(name string, note []byte, trust *bundle.Trust, heads *HeadBook) (*report.Report, error) {
	h := OpenSigned(name, note, trust)
	if IsForm(h.Err) {
		return Malformed(name, "tree head", h.Err)
	}
	r := &report.Report{Version: report.Version, Input: name, Form: "tree head", Rules: []report.Rule{HeadsRule(h), {Rule: string(audit.RuleConsistency), Status: report.NotApplicable}}}
	Describe(r, h)
	Settle(r)
	switch {
	case h.Head == nil:
		r.Summary = h.Err.Error() // which begins so
	case h.Err != nil:
		r.Summary = fmt.Sprintf("tree head of %s, size %d: %v", r.Origin, h.Size, h.Err)
	default:
		r.Summary = fmt.Sprintf("tree head of %s, size %d", r.Origin, h.Size)
		if n := len(h.Witnesses); n > 0 {
			r.Summary += ", cosigned by " + report.Count(n, "witness")
		}
	}
	if h.Head != nil {
		heads.add(r, [][]byte{note})
	}
	return r, nil
}

// HeadOf returns the tree head that a file is, or the last that it holds. Of a
// bundle, which may be of any length, it reads no more than the lines before its
// first record.
func HeadOf(in io.Reader) ([]byte, error) {
	br := bufio.NewReaderSize(in, 64<<10)
	first, err := br.Peek(bundle.SniffLen)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	form := bundle.Sniff(first)
	if form == bundle.FormBundle {
		heads := headsOf(br)
		if len(heads) == 0 {
			return nil, formOnly("expected a bundle with a tree head after its first line")
		}
		return heads[len(heads)-1], nil
	}
	b, err := io.ReadAll(io.LimitReader(br, maxReceipt))
	switch {
	case err != nil:
		return nil, err
	case form == bundle.FormReceipt:
		receipt, err := bundle.ParseReceipt(b)
		if err != nil {
			return nil, err
		}
		return receipt.Head, nil
	case !headForm.Match(b):
		return nil, formOnly("expected a tree head: the lines origin, size and root, an empty line and signatures")
	}
	return b, nil
}
