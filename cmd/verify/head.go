package main

import (
	"errors"
	"fmt"
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

// A signed is a tree head that somebody handed in, and what became of it.
type signed struct {
	name string
	note []byte
	*bundle.Head
	err error // why it is not accepted; with bundle.ErrQuorum there is a Head
}

func openSigned(name string, note []byte, trust *bundle.Trust) *signed {
	h, err := trust.OpenHead(note)
	return &signed{name, note, h, err}
}

// status is what the trust file says of it.
func (s *signed) status() report.Status {
	switch {
	case s.err == nil:
		return report.Held
	case errors.Is(s.err, bundle.ErrQuorum), errors.Is(s.err, bundle.ErrUntrusted):
		return report.NotDecided
	}
	return report.Broken
}

// finding says why it is not accepted.
func (s *signed) finding() report.Finding {
	f := report.Finding{
		Status: s.status(), Reason: string(audit.ReasonHead), Expected: "a tree head signed by the log, and cosigned by the quorum", Found: s.name + ": " + s.err.Error(),
	}
	switch {
	case errors.Is(s.err, bundle.ErrQuorum):
		f.Decides = "witnesses' cosignatures on the tree head"
	case errors.Is(s.err, bundle.ErrUntrusted):
		f.Decides = "a trust file that names who signed it"
	}
	return f
}

// headsRule says of each tree head whether it is accepted.
func headsRule(heads ...*signed) report.Rule {
	rule := report.Rule{Rule: headRule, Status: report.Held}
	for _, h := range heads {
		if h.err == nil {
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

// describe fills in what a report says of the tree heads that it is about.
func describe(r *report.Report, heads ...*signed) {
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

// settle sets the outcome that the rules give.
func settle(r *report.Report) {
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
func verifyHead(name string, note []byte, trust *bundle.Trust, heads *headBook) (*report.Report, error) {
	h := openSigned(name, note, trust)
	if isForm(h.err) {
		return malformed(name, "tree head", h.err)
	}
	r := &report.Report{Version: report.Version, Input: name, Form: "tree head", Rules: []report.Rule{headsRule(h), {Rule: string(audit.RuleConsistency), Status: report.NotApplicable}}}
	describe(r, h)
	settle(r)
	switch {
	case h.Head == nil:
		r.Summary = "tree head: " + h.err.Error()
	case h.err != nil:
		r.Summary = fmt.Sprintf("tree head of %s, size %d: %v", r.Origin, h.Size, h.err)
	default:
		r.Summary = fmt.Sprintf("tree head of %s, size %d", r.Origin, h.Size)
		if n := len(h.Witnesses); n > 0 {
			r.Summary += ", cosigned by " + count(uint64(n), "witness")
		}
	}
	if h.Head != nil {
		heads.add(r, [][]byte{note})
	}
	return r, nil
}
