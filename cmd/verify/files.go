package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/report"
)

const (
	maxReceipt  = 1 << 20 // bytes; tlog-proof bounds it further
	maxContract = 1 << 20
	// maxHeadLines is how many first bytes of a bundle are kept to compare its
	// tree heads with those of other files.
	maxHeadLines = 256 << 10
	// sniffLen is enough to tell a tree head: origin, size and root.
	sniffLen = 512
)

func verifyFiles(c *cli.Context, std stdio) error {
	if c.NArg() == 0 {
		return usagef("expected a FILE: a receipt, a bundle, a tree head or a proof, or - for standard input")
	}
	p, err := newPrinter(c, std)
	if err != nil {
		return err
	}
	trust, err := readTrust(c)
	if err != nil {
		return err
	}
	opts, err := askedFor(c)
	if err != nil {
		return err
	}
	heads := newHeadBook(trust)
	for _, name := range c.Args().Slice() {
		r, err := verifyFile(name, std, trust, opts, heads)
		if err != nil {
			return err
		}
		if err := p.add(r); err != nil {
			return err
		}
	}
	return p.done()
}

// askedFor reads what the files have to be about.
func askedFor(c *cli.Context) (audit.Options, error) {
	var o audit.Options
	if s := c.String("run"); s != "" {
		run, err := evidence.ParseRunID(s)
		if err != nil {
			return o, usageError{fmt.Errorf("--run: %w", err)}
		}
		o.Run = run
	}
	o.Subject = c.String("subject")
	if name := c.String("contract"); name != "" {
		doc, err := readSmall(name, maxContract)
		if err != nil {
			return o, err
		}
		if _, err := audit.ParseContract(doc); err != nil {
			return o, inputError{fmt.Errorf("%s: %w", name, err)}
		}
		o.Contract = doc
	}
	return o, nil
}

// verifyFile audits one file. That it is malformed is a report too; an error
// says that it could not be read.
func verifyFile(name string, std stdio, trust *bundle.Trust, o audit.Options, heads *headBook) (*report.Report, error) {
	in, err := openInput(name, std)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	br := bufio.NewReaderSize(in, 64<<10)
	first, err := br.Peek(sniffLen)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	switch bundle.Sniff(first[:min(len(first), bundle.SniffLen)]) {
	case bundle.FormReceipt:
		return verifyReceipt(name, br, trust, o, heads)
	case bundle.FormBundle:
		tap := &firstBytes{r: br}
		a, err := audit.VerifyBundle(tap, trust, o)
		if err != nil {
			return malformed(name, "bundle", err)
		}
		r := convert(name, "bundle", a)
		heads.add(r, headsOf(tap.kept))
		return r, nil
	case bundle.FormTrust:
		return malformed(name, "trust file", formOnly("expected a receipt or a bundle, found a trust file: give it with --trust"))
	}
	isHead := headForm.Match(first)
	if !isHead && !bytes.HasPrefix(bytes.TrimLeft(first, " \t\r\n"), proofForm) {
		return malformed(name, "file", formOnly("expected a receipt, which begins with c2sp.org/tlog-proof@v1, a bundle, which begins with {\"bundle\":, "+
			"a tree head, whose lines are origin, size and root, or a proof of equivocation, which begins with {\"heads\":"))
	}
	b, err := io.ReadAll(io.LimitReader(br, maxProof+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var r *report.Report
	if isHead {
		r, err = verifyHead(name, b, trust, heads)
	} else {
		r, err = verifyProof(name, b, trust)
	}
	if err == nil && r.Outcome != report.Malformed {
		notAbout(r, o)
	}
	return r, err
}

// notAbout answers what the auditor asked for of a file that is about no run.
func notAbout(r *report.Report, o audit.Options) {
	if o.Run == "" && o.Subject == "" && o.Contract == nil {
		return
	}
	r.Rules = append(r.Rules, report.Rule{Rule: aboutRule, Status: report.NotDecided, Findings: []report.Finding{{
		Status: report.NotDecided, Reason: "not_about_a_run", Expected: "a receipt or a bundle", Found: "a " + r.Form, Decides: "the bundle of the run",
	}}})
	settle(r)
}

func verifyReceipt(name string, in io.Reader, trust *bundle.Trust, o audit.Options, heads *headBook) (*report.Report, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxReceipt))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	a, err := audit.VerifyReceipt(b, trust, o)
	if err != nil {
		return malformed(name, "receipt", err)
	}
	r := convert(name, "receipt", a)
	if receipt, err := bundle.ParseReceipt(b); err == nil {
		r.About = evidence.IDOf(receipt.Entry).String()
		r.Summary = summary(r)
		heads.add(r, [][]byte{receipt.Head})
	}
	return r, nil
}

func formOnly(text string) error { return &bundle.FormatError{Err: errors.New(text)} }

func isForm(err error) bool {
	var fe *bundle.FormatError
	return errors.As(err, &fe)
}

// malformed returns the report of what has no form, and an error for what could
// not be read.
func malformed(name, form string, err error) (*report.Report, error) {
	var fe *bundle.FormatError
	if !errors.As(err, &fe) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &report.Report{
		Version: report.Version, Input: name, Form: form, Outcome: report.Malformed,
		Summary: "no well-formed " + form, Error: err.Error(),
	}, nil
}

// firstBytes keeps the beginning of what is read through it.
type firstBytes struct {
	r    io.Reader
	kept []byte
}

func (f *firstBytes) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	f.kept = append(f.kept, b[:min(n, maxHeadLines-len(f.kept))]...)
	return n, err
}

// headsOf returns the tree heads at the beginning of a bundle.
func headsOf(first []byte) [][]byte {
	var heads [][]byte
	r := bundle.NewReader(bytes.NewReader(first))
	for {
		item, err := r.Next()
		if err != nil {
			return heads
		}
		h, ok := item.(*bundle.HeadItem)
		if !ok {
			return heads
		}
		heads = append(heads, h.Note)
	}
}

// headBook knows the tree heads of all files, and finds two that cannot both be
// true. Whether a larger one extends a smaller one, only the log can prove.
type headBook struct {
	trust *bundle.Trust
	seen  map[headKey]*bundle.Head
}

type headKey struct {
	origin string
	size   uint64
}

func newHeadBook(t *bundle.Trust) *headBook {
	return &headBook{trust: t, seen: make(map[headKey]*bundle.Head)}
}

func (b *headBook) add(r *report.Report, notes [][]byte) {
	for _, n := range notes {
		h := signedHead(b.trust, n)
		if h == nil {
			continue
		}
		if f := otherLedgers(h, r.Origin); f != nil {
			breakRule(r, audit.RuleInclusion, *f)
			continue
		}
		key := headKey{h.Ledger.Origin(), h.Size}
		other, ok := b.seen[key]
		switch {
		case !ok:
			b.seen[key] = h
		case other.Root != h.Root && len(r.Equivocation) == 0:
			contradict(r, other.Note, h.Note, report.Finding{
				Status: report.Broken, Reason: string(audit.ReasonTwoRoots),
				Expected: fmt.Sprintf("one root for size %d", h.Size), Found: fmt.Sprintf("%v here and %v in a file before, both signed", h.Root, other.Root),
			})
		}
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

// contradict adds two tree heads that cannot both be true to a report.
func contradict(r *report.Report, one, two []byte, f report.Finding) {
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
