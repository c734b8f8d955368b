package inspect

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/internal/report"
	"ledgerd/ledger/tlog"
)

// A Comparison is what two tree heads say of each other.
type Comparison struct {
	Old, Later *Signed
	Status     report.Status
	Finding    *report.Finding // nil where it held
	// Contradiction is proof that the log signed what cannot both be true; nil
	// where there is none that stands by itself.
	Contradiction *Proof
}

// Rule says whether the one extends the other.
func (x *Comparison) Rule() report.Rule {
	rule := report.Rule{Rule: string(audit.RuleConsistency), Status: x.Status}
	if x.Finding != nil {
		x.Finding.Status = x.Status
		rule.Findings = []report.Finding{*x.Finding}
	}
	return rule
}

// Summary is the answer in one sentence.
func (x *Comparison) Summary(r *report.Report) string {
	switch {
	case x.Old.Head == nil || x.Later.Head == nil:
		return "tree heads that are not those of a log that the trust file names"
	case x.Status == report.Held && r.Outcome == report.Verified:
		return fmt.Sprintf("size %d of %s extends size %d", x.Later.Size, r.Origin, x.Old.Size)
	case x.Status == report.Held:
		return fmt.Sprintf("size %d of %s extends size %d, and too few witnesses cosigned", x.Later.Size, r.Origin, x.Old.Size)
	case x.Contradiction != nil:
		return fmt.Sprintf("%s signed tree heads that cannot both be true", r.Origin)
	case x.Status == report.Broken:
		return fmt.Sprintf("size %d of %s does not extend size %d", x.Later.Size, r.Origin, x.Old.Size)
	}
	return fmt.Sprintf("whether size %d of %s extends size %d", x.Later.Size, r.Origin, x.Old.Size)
}

// ByNotes decides what two tree heads alone decide.
func ByNotes(old, later *Signed) *Comparison {
	x := &Comparison{Old: old, Later: later}
	switch {
	case old.Head == nil || later.Head == nil:
		x.Status = report.NotDecided
		x.Finding = &report.Finding{Reason: string(audit.ReasonHead), Expected: "two tree heads that the log signed", Found: "one that it is not shown to have signed", Decides: "two tree heads whose signatures verify under the trust file"}
	case old.Ledger.Origin() != later.Ledger.Origin():
		x.Status = report.NotDecided
		x.Finding = &report.Finding{
			Reason: string(audit.ReasonOrigin), Expected: "two tree heads of one log", Found: old.Ledger.Origin() + " and " + later.Ledger.Origin(),
			Decides: "a tree head of the same log",
		}
	case old.Size == later.Size && old.Root == later.Root, old.Size == 0:
		x.Status = report.Held
	case old.Size == later.Size:
		x.Status = report.Broken
		x.Finding = twoRoots(old.Head, later.Head)
		x.Contradiction = &Proof{Heads: [2]string{string(old.Note), string(later.Note)}}
	case old.Size > later.Size:
		x.Status = report.Broken
		x.Finding = &report.Finding{
			Reason: string(audit.ReasonRollback), Expected: fmt.Sprintf("a tree head of at least size %d", old.Size),
			Found: fmt.Sprintf("size %d: an older tree head, which alone proves nothing against the log", later.Size),
		}
	default:
		x.Status = report.NotDecided
		x.Finding = &report.Finding{
			Reason:   string(audit.ReasonNotExtended),
			Expected: fmt.Sprintf("the tree of size %d to begin with that of size %d, root %v", later.Size, old.Size, old.Root),
			Found:    "two sizes: their roots alone do not show it",
		}
	}
	return x
}

func twoRoots(one, two *bundle.Head) *report.Finding {
	return &report.Finding{
		Reason: string(audit.ReasonTwoRoots), Expected: fmt.Sprintf("one root for size %d", one.Size),
		Found: fmt.Sprintf("%v and %v, both signed", one.Root, two.Root),
	}
}

// ByTiles decides whether the larger tree begins with the smaller one, by the
// hashes that a log serves. It believes them as far as they give a signed root. An error
// beside an ended context is that it was interrupted.
func (x *Comparison) ByTiles(ctx context.Context, s audit.Source) error {
	now, size := currentHead(ctx, s, x.Old.Ledger)
	undecided := func(found string) error {
		x.Finding.Found, x.Finding.Decides = found, "the tiles of the log that signed both"
		return nil
	}
	nodes, err := NodesOf(ctx, s, x.Old.Size, x.Later.Size, size)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return undecided("a log that could not be read: " + err.Error())
	}
	atOld, atLater, err := rootsOf(x.Old.Size, x.Later.Size, nodes)
	if err != nil {
		return err
	}
	switch {
	case atLater == x.Later.Root && atOld == x.Old.Root:
		x.Status, x.Finding = report.Held, nil
		return nil
	case atLater == x.Later.Root:
		x.contradict(x.Old, x.Later, nodes, atOld)
		return nil
	}
	// The log serves another tree than the later head's. Where it signs that
	// tree, one of the two does not belong to it.
	if now != nil {
		for _, h := range []*Signed{x.Old, x.Later} {
			if done, err := x.against(ctx, s, h, now); done || err != nil {
				return err
			}
		}
	}
	return undecided(fmt.Sprintf("tiles that give root %v at size %d, which is not the signed one", atLater, x.Later.Size))
}

// against compares a tree head with the newest one of the log that serves the tiles.
func (x *Comparison) against(ctx context.Context, s audit.Source, h, now *Signed) (bool, error) {
	switch {
	case h.Size == now.Size && h.Root != now.Root:
		x.Status, x.Finding = report.Broken, twoRoots(h.Head, now.Head)
		x.Contradiction = &Proof{Heads: [2]string{string(h.Note), string(now.Note)}}
		return true, nil
	case h.Size == 0 || h.Size >= now.Size:
		return false, nil
	}
	nodes, err := NodesOf(ctx, s, h.Size, now.Size, now.Size)
	if err != nil {
		return false, nil // what cannot be read shows nothing
	}
	atHead, atNow, err := rootsOf(h.Size, now.Size, nodes)
	if err != nil || atNow != now.Root || atHead == h.Root {
		return false, err
	}
	x.contradict(h, now, nodes, atHead)
	return true, nil
}

func (x *Comparison) contradict(old, later *Signed, nodes []tlog.Hash, atOld tlog.Hash) {
	x.Status = report.Broken
	x.Finding = notExtended(old.Head, later.Head, atOld)
	x.Contradiction = &Proof{Heads: [2]string{string(old.Note), string(later.Note)}, Nodes: EncodeNodes(nodes)}
}

func notExtended(old, later *bundle.Head, atOld tlog.Hash) *report.Finding {
	return &report.Finding{
		Reason:   string(audit.ReasonNotExtended),
		Expected: fmt.Sprintf("the tree of size %d to begin with that of size %d, root %v", later.Size, old.Size, old.Root),
		Found:    fmt.Sprintf("root %v at size %d", atOld, old.Size),
	}
}

// currentHead reads the newest tree head that a log serves, and the size that it
// says. The head is nil unless the log signed it: the size is then a hint about
// which tiles there are, and nothing else.
func currentHead(ctx context.Context, s audit.Source, of *bundle.TrustedLedger) (*Signed, uint64) {
	note, err := s.Read(ctx, audit.HeadPath, tlog.MaxHead)
	if err != nil {
		return nil, 0
	}
	h, err := of.OpenHead(note)
	if h != nil {
		return &Signed{audit.HeadPath, note, h, err}, h.Size
	}
	lines := bytes.SplitN(note, []byte("\n"), 3)
	if len(lines) < 3 {
		return nil, 0
	}
	size, err := strconv.ParseUint(string(lines[1]), 10, 62)
	if err != nil {
		return nil, 0
	}
	return nil, size
}

// byNodes decides by the nodes in the proof. What two tree heads alone decide needs
// none, and what they hold to be true is no proof.
func (x *Comparison) byNodes(nodes []tlog.Hash) error {
	if x.Status == report.Held {
		x.Status = report.NotDecided
		x.Finding = &report.Finding{Reason: string(audit.ReasonTwoRoots), Expected: "two tree heads that contradict each other", Found: "two that agree", Decides: "nothing: keep the two that differ"}
	}
	if x.Status != report.NotDecided || x.Old.Head == nil || x.Later.Head == nil || x.Old.Size == 0 || x.Old.Size >= x.Later.Size ||
		x.Old.Ledger.Origin() != x.Later.Ledger.Origin() {
		if len(nodes) > 0 && x.Old.Head != nil && x.Later.Head != nil && x.Old.Size == x.Later.Size {
			return formOnly(fmt.Sprintf("expected no nodes for two tree heads of one size, found %d", len(nodes)))
		}
		return nil
	}
	x.Finding.Decides = "the log's tiles: verify equivocation --log URL or DIR"
	if len(nodes) == 0 {
		return nil
	}
	atOld, atLater, err := rootsOf(x.Old.Size, x.Later.Size, nodes)
	switch {
	case err != nil:
		return &bundle.FormatError{Err: err}
	case atLater != x.Later.Root:
		x.Finding.Found = fmt.Sprintf("nodes that give root %v at size %d, which is not the signed one", atLater, x.Later.Size)
	case atOld == x.Old.Root:
		x.Finding.Found = "nodes that show that it does"
	default:
		x.contradict(x.Old, x.Later, nodes, atOld)
	}
	return nil
}
