package story

import (
	"errors"
	"io"
	"slices"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
)

// What is kept of payloads, to be shown.
const (
	maxExcerpt = 2000     // bytes of one payload
	maxShown   = 16 << 20 // bytes of all
	maxDepth   = 32       // bundles within bundles, as in an audit
)

// A Reading is a bundle or a receipt that was audited, with what is needed to tell
// of it: its records, and the beginnings of its payloads.
type Reading struct {
	Report *audit.Report

	form     string       // receipt or bundle
	told     *audit.Told  // nil: a receipt, or what was not audited
	head     *bundle.Head // of a receipt
	origin   string       // as the header says
	about    *bundle.About
	records  []*record // in log order
	byID     map[evidence.ID]*record
	payloads map[evidence.Digest]*payload
	gone     map[evidence.Digest]*record // erased, and by which record
	given    []*given

	elsewhere map[evidence.ID]*record // of the outermost: every record here, once it was asked for

	within *given // the acceptance in whose record this bundle lies; nil: it is the file
	outer  *Reading
}

// A record as it stands in a bundle. Nobody has verified it but where by says so.
type record struct {
	*evidence.Record // nil: no record of this version; err says why
	index            uint64
	id               evidence.ID
	u                *evidence.Unverified
	err              error

	by    *audit.Signer // nil: nobody can be shown to have signed it; why says why
	why   error
	asked bool
	in    *Reading
}

// A payload as far as it is shown.
type payload struct {
	begin  []byte
	size   int64
	opened bool // it is what the record commits to
	bundle bool // it is told as what it is
}

// given is a bundle that an acceptance commits to, which lies in this one.
type given struct {
	acceptance *record
	reading    *Reading
}

// ReadBundle audits a bundle and reads it once, as it streams by.
func ReadBundle(r io.Reader, trust *bundle.Trust, o audit.Options) (*Reading, error) {
	pr, pw := io.Pipe()
	out := &Reading{form: "bundle"}
	failed := make(chan any, 1)
	go func() {
		defer func() {
			p := recover()
			_, _ = io.Copy(io.Discard, pr) // the audit goes on
			failed <- p
		}()
		budget := int64(maxShown)
		out.read(pr, &budget, 0)
	}()
	told, err := audit.TellBundle(io.TeeReader(r, pw), trust, o)
	pw.Close()
	if p := <-failed; p != nil {
		panic(p)
	}
	if err != nil {
		return nil, err
	}
	out.audited(told)
	return out, nil
}

// read takes what a bundle says. Where it is cut off, or is none, the audit says so.
func (x *Reading) read(r io.Reader, budget *int64, depth int) {
	x.byID, x.payloads, x.gone = make(map[evidence.ID]*record), make(map[evidence.Digest]*payload), make(map[evidence.Digest]*record)
	br := bundle.NewReader(r)
	h, err := br.Header()
	if err != nil {
		return
	}
	x.origin, x.about = h.Origin, &h.About
	var last *record
	for {
		item, err := br.Next()
		if err != nil {
			return
		}
		switch it := item.(type) {
		case *bundle.RecordItem:
			last = x.add(it.Index, it.Entry)
		case *bundle.PayloadItem:
			if err := x.payload(last, it, budget, depth); err != nil {
				return
			}
		}
	}
}

func (x *Reading) add(index uint64, entry []byte) *record {
	rec := &record{index: index, id: evidence.IDOf(entry), in: x}
	if rec.u, rec.err = evidence.Parse(entry); rec.err == nil {
		rec.Record = rec.u.UnverifiedRecord()
		if b, ok := rec.Body.(*evidence.PayloadErased); ok {
			x.gone[b.Commit] = rec
		}
	}
	x.records = append(x.records, rec)
	x.byID[rec.id] = rec
	return rec
}

func (x *Reading) payload(rec *record, it *bundle.PayloadItem, budget *int64, depth int) error {
	p := &payload{size: it.Size}
	var inner *given
	if b, ok := acceptance(rec); ok && b.Bundle.Commit == it.Commit && depth < maxDepth {
		inner = &given{rec, &Reading{form: "bundle", outer: x}}
		inner.reading.within = inner
		inner.reading.read(it.Data, budget, depth+1)
		p.bundle = true
	} else {
		n := min(maxExcerpt, it.Size, max(*budget, 0))
		p.begin = make([]byte, n)
		if _, err := io.ReadFull(it.Data, p.begin); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		*budget -= n
	}
	opened, err := it.Opened()
	if err != nil {
		return err
	}
	if inner != nil && opened {
		x.given = append(x.given, inner)
	}
	if p.opened = opened && x.commits(rec, it); p.opened || x.payloads[it.Commit] == nil {
		x.payloads[it.Commit] = p
	}
	return nil
}

// commits reports whether the record commits to a payload of that size.
func (x *Reading) commits(rec *record, it *bundle.PayloadItem) bool {
	if rec == nil || rec.Record == nil {
		return false
	}
	for _, c := range rec.Commitments() {
		if c.Commit == it.Commit {
			return c.Size == it.Size
		}
	}
	return false
}

func acceptance(rec *record) (*evidence.HandoffAccepted, bool) {
	if rec == nil || rec.Record == nil {
		return nil, false
	}
	b, ok := rec.Body.(*evidence.HandoffAccepted)
	return b, ok
}

// audited puts the audits of the bundle, and of those that lie in it, beside what
// was read.
func (x *Reading) audited(told *audit.Told) {
	x.told, x.Report = told, told.Report
	for _, g := range told.Report.Given {
		i := slices.IndexFunc(x.given, func(own *given) bool { return own.acceptance.id == g.Acceptance })
		if inner := g.Told(); inner != nil && i >= 0 {
			x.given[i].reading.audited(inner)
		}
	}
	for _, g := range x.given {
		if y := g.reading; y.told == nil { // no bundle that can be read: nothing in it is told
			y.records, y.byID, y.given = nil, nil, nil
		}
	}
}

// ReadReceipt audits a receipt.
func ReadReceipt(b []byte, trust *bundle.Trust, o audit.Options) (*Reading, error) {
	report, err := audit.VerifyReceipt(b, trust, o)
	if err != nil {
		return nil, err
	}
	receipt, err := bundle.ParseReceipt(b)
	if err != nil {
		return nil, err
	}
	x := &Reading{form: "receipt", Report: report, origin: report.Scope.Origin, byID: make(map[evidence.ID]*record), gone: make(map[evidence.Digest]*record)}
	rec := x.add(receipt.Index, receipt.Entry)
	head, err := trust.OpenHead(receipt.Head)
	if head == nil {
		rec.asked, rec.why = true, err
		return x, nil
	}
	x.head = head
	rec.asked = true
	if rec.Record == nil {
		rec.why = rec.err
		return x, nil
	}
	rec.why = errors.New("a receipt does not hold the registry, and the trust file pins no key of the signer")
	held := report.Rule(audit.RuleSignature).Status == audit.Held
	for _, pin := range head.Ledger.Actors {
		if held && pin.Key.Thumbprint() == rec.u.KeyID() {
			rec.by = &audit.Signer{Name: pin.Name, Role: pin.Role, Key: rec.u.KeyID(), Hosted: pin.Name != rec.Actor}
		}
	}
	return x, nil
}

// Broken takes what the caller found wrong with the file, beside its audit.
func (x *Reading) Broken(rule audit.Rule, reason audit.Reason, expected, found string) {
	r := x.Report.Rule(rule)
	f := audit.Finding{Rule: rule, Status: audit.Broken, Reason: reason, Expected: expected, Found: found}
	r.Status, r.Findings = audit.Broken, append([]audit.Finding{f}, r.Findings...)
}

// signer says who signed a record; nil: nobody can be shown to have.
func (r *record) signer() *audit.Signer {
	if r.asked {
		return r.by
	}
	r.asked = true
	switch {
	case r.Record == nil:
		r.why = r.err
	case r.in.told == nil:
		r.why = errors.New("the bundle was not audited")
	case !r.in.told.Trusted():
		r.why = errors.New("the trust file does not name this ledger, or who signed its tree heads")
	default:
		by, err := r.in.told.Signer(r.index, r.u)
		if err != nil {
			r.why = err
		} else {
			r.by = &by
		}
	}
	return r.by
}

// top returns the file itself.
func (x *Reading) top() *Reading {
	for x.outer != nil {
		x = x.outer
	}
	return x
}

// all returns the reading and those that lie in it, from the outside in.
func (x *Reading) all() []*Reading {
	list := []*Reading{x}
	for _, g := range x.given {
		list = append(list, g.reading.all()...)
	}
	return list
}
