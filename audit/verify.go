package audit

import (
	"errors"
	"fmt"
	"io"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// VerifyBundle audits a bundle as it streams by. An error says that the input is
// malformed (a *[bundle.FormatError]), which proves nothing, or that it could not
// be read. What is proven wrong stands in the report.
func VerifyBundle(r io.Reader, trust *bundle.Trust, o Options) (*Report, error) {
	_, report, err := auditBundle(r, trust, o, 0)
	return report, err
}

// auditBundle is VerifyBundle of a bundle that lies so deep in others.
func auditBundle(r io.Reader, trust *bundle.Trust, o Options, depth int) (*Auditor, *Report, error) {
	br := bundle.NewReader(r)
	h, err := br.Header()
	if err != nil {
		return nil, nil, err
	}
	a := New(trust, h.Origin, &h.About, o)
	a.depth = depth
	report, err := a.stream(br)
	return a, report, err
}

// stream audits what comes after the header.
func (a *Auditor) stream(br *bundle.Reader) (*Report, error) {
	var sizes []uint64
	for {
		item, err := br.Next()
		var proof *bundle.ProofError
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return a.Report(), nil
		case errors.As(err, &proof):
			// A record that its tree cannot hold: the rest was not read.
			a.tally.add(Finding{Rule: RuleInclusion, Status: Broken, Reason: ReasonIndex, Expected: "indexes below the size of the tree head", Found: err.Error()})
			return a.Report(), nil
		default:
			return nil, err
		}
		switch it := item.(type) {
		case *bundle.HeadItem:
			sizes = append(sizes, it.Size)
			if err := a.Head(it.Note); err != nil {
				return nil, err
			}
		case *bundle.RecordItem:
			a.Add(it.Index, it.Entry)
			if a.last != nil {
				a.payloads.commit(a.last.Commitments())
			}
		case *bundle.PayloadItem:
			if err := a.payload(it); err != nil {
				return nil, err
			}
		case *bundle.EndItem:
			roots := make(map[uint64]tlog.Hash)
			for i, root := range it.Roots {
				roots[sizes[i]] = root
			}
			a.checkHeads(roots)
		}
	}
}

// VerifyReceipt audits a receipt: that its record is in the tree, and who signed
// it, where the trust file pins the record's actor. Everything else needs a
// bundle. An error says that the receipt is malformed.
func VerifyReceipt(b []byte, trust *bundle.Trust, o Options) (*Report, error) {
	receipt, err := bundle.ParseReceipt(b)
	if err != nil {
		return nil, err
	}
	u, formErr := evidence.Parse(receipt.Entry)
	head, err := trust.OpenHead(receipt.Head)
	var malformed *bundle.FormatError
	if errors.As(err, &malformed) {
		return nil, err
	}
	origin := ""
	if u != nil {
		origin = u.UnverifiedRecord().Origin
	}
	if head != nil {
		origin = head.Ledger.Origin()
	}
	a := New(trust, origin, &bundle.About{Kind: bundle.AboutRecord}, Options{})
	a.scope.Kind, a.scope.About, a.scope.Heads, a.scope.Records = "receipt", nil, 1, 1
	p := place{receipt.Index, evidence.IDOf(receipt.Entry), ""}
	a.receiptHead(p, receipt, head, err)
	a.receiptSigner(p, u, formErr, head)
	r := &Report{Rules: a.tally.results(a.asEnforced), Scope: a.scope}
	if u != nil && o.Run != "" {
		a.askedOfReceipt(r, u.UnverifiedRecord(), o)
	}
	if o.Subject != "" || o.Contract != nil || !o.ContractDigest.IsZero() {
		r.Asked = append(r.Asked, Answer{"subject", Undecidable, "a bundle: a receipt holds one record", "a receipt"})
	}
	return r, nil
}

func (a *Auditor) askedOfReceipt(r *Report, rec *evidence.Record, o Options) {
	status := Held
	if rec.Run != o.Run {
		status = Broken
	}
	r.Asked = append(r.Asked, Answer{"run", status, string(o.Run), orNone(string(rec.Run))})
}

func (a *Auditor) receiptHead(p place, receipt *bundle.Receipt, head *bundle.Head, err error) {
	a.tally.applies[RuleInclusion] = true
	switch {
	case errors.Is(err, bundle.ErrUntrusted):
		a.tally.add(p.undecidable(RuleInclusion, ReasonUntrusted, "a trust file that names who signed the tree head", "a tree head signed by a log that the trust file names", "%v", err))
		return
	case errors.Is(err, bundle.ErrQuorum):
		a.tally.add(p.undecidable(RuleInclusion, ReasonHead, "witnesses' cosignatures", "a tree head that the quorum cosigned", "%v", err))
	case err != nil:
		a.tally.add(p.broken(RuleInclusion, ReasonHead, "a tree head signed by the log", "%v", err))
		return
	}
	a.scope.Size, a.scope.Root, a.scope.Witnesses = head.Size, head.Root, head.Witnesses
	if err := receipt.Check(head); err != nil {
		a.tally.add(p.broken(RuleInclusion, ReasonRoot, "the record in the tree of the head", "%v", err))
	}
}

// receiptSigner decides the signature by the trust file alone: a receipt does not
// say what the registry said.
func (a *Auditor) receiptSigner(p place, u *evidence.Unverified, formErr error, head *bundle.Head) {
	if formErr != nil {
		a.unreadable(&candidate{index: p.index, id: p.id, err: formErr})
		return
	}
	rec := u.UnverifiedRecord()
	a.span(rec)
	if head != nil && rec.Origin != head.Ledger.Origin() {
		a.tally.add(p.broken(RuleSignature, ReasonOrigin, "a record of "+head.Ledger.Origin(), "%s", rec.Origin))
		return
	}
	if head == nil {
		a.tally.add(p.undecidable(RuleSignature, ReasonHead, "a receipt with a tree head that the log signed", "a tree head that the log signed: by its trust the signer is known", "none"))
		return
	}
	by := p.undecidable(RuleSignature, ReasonNotPinned, "a bundle, which holds the registry, or a pinned key of the signer in the trust file",
		"a key that the trust file pins", "key %s", u.KeyID())
	for _, pin := range head.Ledger.Actors {
		if pin.Key.Thumbprint() != u.KeyID() {
			continue
		}
		hosted := pin.Role == evidence.RoleRuntime && rec.Actor != pin.Name
		if rec.Actor != pin.Name && !hosted || !evidence.MaySign(rec.Kind, pin.Role, hosted) {
			a.tally.add(p.broken(RuleSignature, ReasonActor, "a record that "+pin.Name+" may sign", "%s of %s", rec.Kind, rec.Actor))
			return
		}
		if _, err := u.Verify(pin.Key); err != nil {
			a.tally.add(p.broken(RuleSignature, ReasonSignature, "a signature by "+pin.Name, "%v", err))
			return
		}
		a.tally.applies[RuleSignature] = true
		a.tally.note[RuleSignature] = fmt.Sprintf("by %s, whom the trust file pins", pin.Name)
		return
	}
	if len(head.Ledger.Pinned(rec.Actor)) > 0 {
		a.tally.add(p.broken(RuleSignature, ReasonNotPinned, "a key that the trust file pins for "+rec.Actor, "key %s", u.KeyID()))
		return
	}
	a.tally.add(by)
}
