package audit

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"ledgerd/bundle"
	"ledgerd/ledger/tlog"
)

// headSeen is a tree head that the log signed.
type headSeen struct {
	*bundle.Head
	note []byte
	// lacks is why the trust file does not accept it, nil where it does.
	lacks *Finding
}

// headAt is of which ledger a tree head is, and of which size.
type headAt struct {
	origin string
	size   uint64
}

func (x headAt) compare(y headAt) int {
	return cmp.Or(cmp.Compare(x.origin, y.origin), cmp.Compare(x.size, y.size))
}

// meet compares a tree head with those met so far, here and in bundles that lie here.
func (a *Auditor) meet(at headAt, h headSeen) {
	other, again := a.met[at]
	switch {
	case !again && a.met == nil:
		a.met = map[headAt]headSeen{at: h}
	case !again:
		a.met[at] = h
	case other.Root != h.Root:
		a.tally.applies[RuleConsistency] = true
		a.equivoc = append(a.equivoc, [2][]byte{other.note, h.note})
		a.tally.add(Finding{
			Rule: RuleConsistency, Status: Broken, Reason: ReasonTwoRoots, Expected: fmt.Sprintf("one root of %s for size %d", at.origin, at.size),
			Found: fmt.Sprintf("%v and %v, both signed", other.Root, h.Root),
		})
	}
}

// Head takes a signed tree head. Only malformed ones are an error.
func (a *Auditor) Head(signed []byte) error {
	a.scope.Heads++
	a.tally.applies[RuleInclusion] = true
	if a.trusted == nil {
		return nil
	}
	h, err := a.trusted.OpenHead(signed)
	var form *bundle.FormatError
	switch {
	case err == nil:
		a.seen(headSeen{h, signed, nil})
	case errors.As(err, &form):
		return err
	case errors.Is(err, bundle.ErrQuorum):
		f := headFinding(Undecidable, "witnesses' cosignatures on the tree head", "a tree head that the quorum cosigned", err)
		a.seen(headSeen{h, signed, &f})
	case errors.Is(err, bundle.ErrUntrusted):
		a.strangers++
		a.strange = append(a.strange, headFinding(Undecidable, "a trust file that names who signed it", "a tree head signed by the log", err))
	default:
		a.tally.add(headFinding(Broken, "", "a tree head signed by the log "+a.origin, err))
	}
	return nil
}

func (a *Auditor) seen(h headSeen) {
	a.heads = append(a.heads, h)
	a.meet(headAt{a.origin, h.Size}, h)
}

func headFinding(status Status, decides, expected string, err error) Finding {
	return Finding{Rule: RuleInclusion, Status: status, Reason: ReasonHead, Expected: expected, Found: err.Error(), Decides: decides}
}

// checkHeads compares the roots that the records give, one for each head, with
// the signed ones, and the heads with each other.
func (a *Auditor) checkHeads(roots map[uint64]tlog.Hash) {
	slices.SortStableFunc(a.heads, func(x, y headSeen) int {
		switch {
		case x.Size < y.Size:
			return -1
		case x.Size > y.Size:
			return 1
		}
		return 0
	})
	if len(a.heads) > 1 {
		a.tally.applies[RuleConsistency] = true
	}
	if len(a.heads) == 0 {
		a.tally.add(a.strange...)
		return
	}
	a.cover(roots)
}

// cover decides inclusion by the largest tree head: one of that size, accepted,
// has the root that the records give. A smaller one with another root is then no
// beginning of it; where the records do not give the larger root, they are not the
// log's, and what they give at the smaller size says nothing of the log.
func (a *Auditor) cover(roots map[uint64]tlog.Hash) {
	last := a.heads[len(a.heads)-1]
	top := last // the one of its size that the records give, if there is one
	var lacks *Finding
	covered, accepted := false, false
	for _, h := range a.heads {
		if h.Size != last.Size || roots[h.Size] != h.Root {
			continue
		}
		covered, top = true, h
		if h.lacks != nil {
			lacks = h.lacks
		}
		if h.lacks == nil || !accepted {
			a.scope.Size, a.scope.Root, a.scope.Witnesses, a.scope.Cosigned = h.Size, h.Root, h.Witnesses, h.Cosigned
		}
		accepted = accepted || h.lacks == nil
	}
	switch {
	case !covered:
		a.tally.add(Finding{
			Rule: RuleInclusion, Status: Broken, Reason: ReasonRoot,
			Expected: fmt.Sprintf("the records to give the signed root %v of size %d", last.Root, last.Size),
			Found:    fmt.Sprintf("root %v", roots[last.Size]),
		})
		return
	case !accepted:
		a.tally.add(*lacks)
	case a.scope.Records > 0 && a.lastAt.index >= last.Size: // only a larger one that a stranger signed holds it
		a.tally.add(Finding{
			Rule: RuleInclusion, Status: Undecidable, Reason: ReasonHead, Expected: "every record in the tree of a head that the log signed",
			Found: fmt.Sprintf("record %d, and its largest head is of size %d", a.lastAt.index, last.Size), Decides: "a trust file that names who signed the larger head",
		})
	}
	for _, h := range a.heads {
		root, known := roots[h.Size]
		if !known || h.Size == last.Size || root == h.Root {
			continue
		}
		a.equivoc = append(a.equivoc, [2][]byte{h.note, top.note})
		a.tally.add(Finding{
			Rule: RuleConsistency, Status: Broken, Reason: ReasonNotExtended,
			Expected: fmt.Sprintf("the tree of size %d to begin with that of size %d, root %v", last.Size, h.Size, h.Root),
			Found:    fmt.Sprintf("root %v at size %d", root, h.Size),
		})
	}
}
