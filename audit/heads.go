package audit

import (
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
		a.heads = append(a.heads, headSeen{h, signed, nil})
	case errors.As(err, &form):
		return err
	case errors.Is(err, bundle.ErrQuorum):
		f := headFinding(Undecidable, "witnesses' cosignatures on the tree head", "a tree head that the quorum cosigned", err)
		a.heads = append(a.heads, headSeen{h, signed, &f})
	case errors.Is(err, bundle.ErrUntrusted):
		a.strangers++
		a.strange = append(a.strange, headFinding(Undecidable, "a trust file that names who signed it", "a tree head signed by the log", err))
	default:
		a.tally.add(headFinding(Broken, "", "a tree head signed by the log "+a.origin, err))
	}
	return nil
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
	for i := range a.heads {
		for k := range i {
			if x, y := a.heads[k], a.heads[i]; x.Size == y.Size && x.Root != y.Root {
				a.equivoc = append(a.equivoc, [2][]byte{x.note, y.note})
				a.tally.add(Finding{
					Rule: RuleConsistency, Status: Broken, Reason: ReasonTwoRoots, Expected: fmt.Sprintf("one root for size %d", x.Size),
					Found: fmt.Sprintf("%v and %v, both signed", x.Root, y.Root),
				})
			}
		}
	}
	if len(a.heads) == 0 {
		a.tally.add(a.strange...)
		return
	}
	a.cover(roots)
}

// cover decides inclusion by the largest tree head: one of that size, accepted,
// has the root that the records give. A smaller one with another root is no
// beginning of it.
func (a *Auditor) cover(roots map[uint64]tlog.Hash) {
	last := a.heads[len(a.heads)-1]
	var lacks *Finding
	covered, accepted := false, false
	for _, h := range a.heads {
		root, known := roots[h.Size]
		switch {
		case !known:
		case h.Size < last.Size && root != h.Root:
			a.equivoc = append(a.equivoc, [2][]byte{h.note, last.note})
			a.tally.add(Finding{
				Rule: RuleConsistency, Status: Broken, Reason: ReasonNotExtended,
				Expected: fmt.Sprintf("the tree of size %d to begin with that of size %d, root %v", last.Size, h.Size, h.Root),
				Found:    fmt.Sprintf("root %v at size %d", root, h.Size),
			})
		case h.Size == last.Size && root == h.Root:
			covered = true
			if h.lacks != nil {
				lacks = h.lacks
			}
			if h.lacks == nil || !accepted {
				a.scope.Size, a.scope.Root, a.scope.Witnesses, a.scope.Cosigned = h.Size, h.Root, h.Witnesses, h.Cosigned
			}
			accepted = accepted || h.lacks == nil
		}
	}
	switch {
	case !covered:
		a.tally.add(Finding{
			Rule: RuleInclusion, Status: Broken, Reason: ReasonRoot,
			Expected: fmt.Sprintf("the records to give the signed root %v of size %d", last.Root, last.Size),
			Found:    fmt.Sprintf("root %v", roots[last.Size]),
		})
	case !accepted:
		a.tally.add(*lacks)
	}
}
