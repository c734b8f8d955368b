package inspect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/report"
)

const (
	// MaxContract is the size in bytes of the largest contract that is read.
	MaxContract = 1 << 20
	maxReceipt  = 1 << 20 // bytes; tlog-proof bounds it further
	// sniffLen is enough to tell a tree head: origin, size and root.
	sniffLen = 512
)

// File audits one file, whatever it is. That it is malformed is a report too; an
// error says that it could not be read. heads knows the files before.
func File(name string, in io.Reader, trust *bundle.Trust, o audit.Options, heads *HeadBook) (*report.Report, error) {
	br := bufio.NewReaderSize(in, 64<<10)
	first, err := br.Peek(sniffLen)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	switch bundle.Sniff(first[:min(len(first), bundle.SniffLen)]) {
	case bundle.FormReceipt:
		return verifyReceipt(name, br, trust, o, heads)
	case bundle.FormBundle:
		tap := &firstLines{r: br}
		a, err := audit.VerifyBundle(tap, trust, o)
		if err != nil {
			return Malformed(name, "bundle", err)
		}
		r := Convert(name, "bundle", a)
		heads.add(r, headsOf(bytes.NewReader(tap.kept)))
		for _, note := range a.Heads { // those of the bundles that lie in it, too
			if h := signedHead(trust, note); h != nil {
				heads.meet(r, h)
			}
		}
		return r, nil
	case bundle.FormTrust:
		return Malformed(name, "trust file", formOnly("expected a receipt or a bundle, found a trust file: give it with --trust"))
	}
	isHead := headForm.Match(first)
	if !isHead && !bytes.HasPrefix(bytes.TrimLeft(first, " \t\r\n"), proofForm) {
		return Malformed(name, "file", formOnly("expected a receipt, which begins with c2sp.org/tlog-proof@v1, a bundle, which begins with {\"bundle\":, "+
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
	Settle(r)
}

func verifyReceipt(name string, in io.Reader, trust *bundle.Trust, o audit.Options, heads *HeadBook) (*report.Report, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxReceipt))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	a, err := audit.VerifyReceipt(b, trust, o)
	if err != nil {
		return Malformed(name, "receipt", err)
	}
	r := Convert(name, "receipt", a)
	if receipt, err := bundle.ParseReceipt(b); err == nil {
		r.About = evidence.IDOf(receipt.Entry).String()
		r.Summary = summary(r)
		heads.add(r, [][]byte{receipt.Head})
	}
	return r, nil
}

func formOnly(text string) error { return &bundle.FormatError{Err: errors.New(text)} }

// IsForm says whether an error is that something is not in its form.
func IsForm(err error) bool {
	var fe *bundle.FormatError
	return errors.As(err, &fe)
}

// Malformed returns the report of what has no form, and an error for what could
// not be read.
func Malformed(name, form string, err error) (*report.Report, error) {
	var fe *bundle.FormatError
	if !errors.As(err, &fe) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &report.Report{
		Version: report.Version, Input: name, Form: form, Outcome: report.Malformed,
		Summary: "no well-formed " + form, Error: stable(err),
	}, nil
}

// stable returns what an error says, the same in each process: the JSON library chooses
// one of two words for each.
func stable(err error) string {
	return strings.Replace(err.Error(), "json: unable to ", "json: cannot ", 1)
}

// firstLines keeps the lines of a bundle that is read through it up to its first
// record: its tree heads are to be compared with those of other files. How many these
// are, and how long, is for the bundle's reader to bound.
type firstLines struct {
	r    io.Reader
	kept []byte
	all  bool
}

// recordForm is how the line of a record begins, after the line before.
var recordForm = []byte("\n{\"record\":")

func (f *firstLines) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	if f.all {
		return n, err
	}
	from := max(len(f.kept)-len(recordForm), 0)
	f.kept = append(f.kept, b[:n]...)
	if i := bytes.Index(f.kept[from:], recordForm); i >= 0 {
		f.kept, f.all = f.kept[:from+i+1], true
	}
	return n, err
}

// headsOf returns the tree heads at the beginning of a bundle.
func headsOf(in io.Reader) [][]byte {
	var heads [][]byte
	r := bundle.NewReader(in)
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
