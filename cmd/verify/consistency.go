package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/urfave/cli/v2"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/internal/report"
	"ledgerd/ledger/tlog"
)

func consistencyCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "consistency",
		Usage:     "say whether one tree head extends another",
		ArgsUsage: "OLD NEW",
		UsageText: "verify consistency --trust FILE [--log URL|DIR] [options] OLD NEW",
		Description: "OLD and NEW are tree heads, or files that hold one: receipts and bundles, of which the last counts. Of\n" +
			"two sizes only the log can show that NEW extends OLD: --log reads the hashes for that, and no entry.\n\n" +
			"  verify consistency --trust trust.json yesterday.head today.head --log https://ledger.example/support\n" +
			"  verify consistency --trust trust.json mine.head theirs.head",
		HideHelpCommand: true,
		Flags:           append(commonFlags(), evidenceFlags()...),
		Action:          func(c *cli.Context) error { return verifyConsistency(c, std) },
		OnUsageError:    badUsage,
	}
}

// evidenceFlags name a log that can show what two tree heads alone do not.
func evidenceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "log", Usage: "`URL|DIR` of the log, whose tiles show whether one tree head extends the other"},
		tokenFlag(),
	}
}

func verifyConsistency(c *cli.Context, std stdio) error {
	p, err := newPrinter(c, std)
	if err != nil {
		return err
	}
	heads, r, err := twoHeads(c, std)
	if err != nil {
		return err
	}
	if r == nil {
		old, later := heads[0], heads[1]
		r = &report.Report{Version: report.Version, Input: later.name, Form: "tree heads", Rules: []report.Rule{headsRule(old, later)}}
		describe(r, old, later)
		x, err := compare(c, old, later)
		if err != nil {
			return err
		}
		r.Rules = append(r.Rules, x.rule())
		if x.contradiction != nil {
			r.Equivocation = [][2]string{x.contradiction.Heads}
		}
		settle(r)
		r.Summary = x.summary(r)
	}
	if err := p.add(r); err != nil {
		return err
	}
	return p.done()
}

// twoHeads reads the tree heads that the arguments name. Where one of them is in no
// form, it returns the report that says so.
func twoHeads(c *cli.Context, std stdio) (heads [2]*signed, r *report.Report, err error) {
	if c.NArg() != 2 {
		return heads, nil, usagef("expected two tree heads, found %d", c.NArg())
	}
	if c.Args().Get(0) == "-" && c.Args().Get(1) == "-" {
		return heads, nil, usagef("expected standard input to be one of the two tree heads, found both")
	}
	trust, err := readTrust(c)
	if err != nil {
		return heads, nil, err
	}
	for i, name := range c.Args().Slice() {
		note, err := readHead(name, std)
		if err == nil {
			heads[i] = openSigned(name, note, trust)
			err = heads[i].err
		}
		if isForm(err) {
			r, err := malformed(name, "tree head", err)
			return heads, r, err
		}
		if heads[i] == nil {
			return heads, nil, err
		}
	}
	return heads, nil, nil
}

// readHead reads the tree head that a file is, or the last that it holds.
func readHead(name string, std stdio) ([]byte, error) {
	in, err := openInput(name, std)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	// A bundle may be of any length; its tree heads stand in its first lines.
	b, err := io.ReadAll(io.LimitReader(in, maxReceipt+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	switch bundle.Sniff(b[:min(len(b), bundle.SniffLen)]) {
	case bundle.FormReceipt:
		receipt, err := bundle.ParseReceipt(b)
		if err != nil {
			return nil, err
		}
		return receipt.Head, nil
	case bundle.FormBundle:
		heads := headsOf(b)
		if len(heads) == 0 {
			return nil, formOnly("expected a bundle with a tree head after its first line")
		}
		return heads[len(heads)-1], nil
	}
	if !headForm.Match(b) {
		return nil, formOnly("expected a tree head: the lines origin, size and root, an empty line and signatures")
	}
	return b, nil
}

// A comparison is what two tree heads say of each other.
type comparison struct {
	old, later *signed
	status     report.Status
	finding    *report.Finding // nil where it held
	// contradiction is proof that the log signed what cannot both be true; nil
	// where there is none that stands by itself.
	contradiction *proof
}

func (x *comparison) rule() report.Rule {
	rule := report.Rule{Rule: string(audit.RuleConsistency), Status: x.status}
	if x.finding != nil {
		x.finding.Status = x.status
		rule.Findings = []report.Finding{*x.finding}
	}
	return rule
}

func (x *comparison) summary(r *report.Report) string {
	switch {
	case x.old.Head == nil || x.later.Head == nil:
		return "tree heads that are not those of a log that the trust file names"
	case x.status == report.Held && r.Outcome == report.Verified:
		return fmt.Sprintf("size %d of %s extends size %d", x.later.Size, r.Origin, x.old.Size)
	case x.status == report.Held:
		return fmt.Sprintf("size %d of %s extends size %d, and too few witnesses cosigned", x.later.Size, r.Origin, x.old.Size)
	case x.contradiction != nil:
		return fmt.Sprintf("%s signed tree heads that cannot both be true", r.Origin)
	case x.status == report.Broken:
		return fmt.Sprintf("size %d of %s does not extend size %d", x.later.Size, r.Origin, x.old.Size)
	}
	return fmt.Sprintf("whether size %d of %s extends size %d", x.later.Size, r.Origin, x.old.Size)
}

// compare says whether one tree head extends another: by the notes alone where
// these decide it, and by the log that --log names otherwise.
func compare(c *cli.Context, old, later *signed) (*comparison, error) {
	x := byNotes(old, later)
	name := c.String("log")
	if x.status != report.NotDecided || old.Head == nil || later.Head == nil || old.Ledger.Origin() != later.Ledger.Origin() {
		return x, nil
	}
	if name == "" {
		x.finding.Decides = "the log's tiles: --log URL or DIR"
		return x, nil
	}
	source, err := openLog(c, name)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	return x, x.byTiles(c.Context, source)
}

// byNotes decides what two tree heads alone decide.
func byNotes(old, later *signed) *comparison {
	x := &comparison{old: old, later: later}
	switch {
	case old.Head == nil || later.Head == nil:
		x.status = report.NotDecided
		x.finding = &report.Finding{Reason: string(audit.ReasonHead), Expected: "two tree heads that the log signed", Found: "one that it is not shown to have signed", Decides: "two tree heads whose signatures verify under the trust file"}
	case old.Ledger.Origin() != later.Ledger.Origin():
		x.status = report.NotDecided
		x.finding = &report.Finding{
			Reason: string(audit.ReasonOrigin), Expected: "two tree heads of one log", Found: old.Ledger.Origin() + " and " + later.Ledger.Origin(),
			Decides: "a tree head of the same log",
		}
	case old.Size == later.Size && old.Root == later.Root, old.Size == 0:
		x.status = report.Held
	case old.Size == later.Size:
		x.status = report.Broken
		x.finding = twoRoots(old.Head, later.Head)
		x.contradiction = &proof{Heads: [2]string{string(old.note), string(later.note)}}
	case old.Size > later.Size:
		x.status = report.Broken
		x.finding = &report.Finding{
			Reason: string(audit.ReasonRollback), Expected: fmt.Sprintf("a tree head of at least size %d", old.Size),
			Found: fmt.Sprintf("size %d: an older tree head, which alone proves nothing against the log", later.Size),
		}
	default:
		x.status = report.NotDecided
		x.finding = &report.Finding{
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

// byTiles decides whether the larger tree begins with the smaller one, by the
// hashes that a log serves. It believes them as far as they give a signed root.
func (x *comparison) byTiles(ctx context.Context, s audit.Source) error {
	now, size := currentHead(ctx, s, x.old.Ledger)
	undecided := func(found string) error {
		x.finding.Found, x.finding.Decides = found, "the tiles of the log that signed both"
		return nil
	}
	nodes, err := nodesOf(ctx, s, x.old.Size, x.later.Size, size)
	if err != nil {
		if ctx.Err() != nil {
			return missingError{errors.New("interrupted before the end: nothing is decided")}
		}
		return undecided("a log that could not be read: " + err.Error())
	}
	atOld, atLater, err := rootsOf(x.old.Size, x.later.Size, nodes)
	if err != nil {
		return err
	}
	switch {
	case atLater == x.later.Root && atOld == x.old.Root:
		x.status, x.finding = report.Held, nil
		return nil
	case atLater == x.later.Root:
		x.contradict(x.old, x.later, nodes, atOld)
		return nil
	}
	// The log serves another tree than the later head's. Where it signs that
	// tree, one of the two does not belong to it.
	if now != nil {
		for _, h := range []*signed{x.old, x.later} {
			if done, err := x.against(ctx, s, h, now); done || err != nil {
				return err
			}
		}
	}
	return undecided(fmt.Sprintf("tiles that give root %v at size %d, which is not the signed one", atLater, x.later.Size))
}

// against compares a tree head with the newest one of the log that serves the tiles.
func (x *comparison) against(ctx context.Context, s audit.Source, h, now *signed) (bool, error) {
	switch {
	case h.Size == now.Size && h.Root != now.Root:
		x.status, x.finding = report.Broken, twoRoots(h.Head, now.Head)
		x.contradiction = &proof{Heads: [2]string{string(h.note), string(now.note)}}
		return true, nil
	case h.Size == 0 || h.Size >= now.Size:
		return false, nil
	}
	nodes, err := nodesOf(ctx, s, h.Size, now.Size, now.Size)
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

func (x *comparison) contradict(old, later *signed, nodes []tlog.Hash, atOld tlog.Hash) {
	x.status = report.Broken
	x.finding = notExtended(old.Head, later.Head, atOld)
	x.contradiction = &proof{Heads: [2]string{string(old.note), string(later.note)}, Nodes: encodeNodes(nodes)}
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
func currentHead(ctx context.Context, s audit.Source, of *bundle.TrustedLedger) (*signed, uint64) {
	note, err := s.Read(ctx, audit.HeadPath, tlog.MaxHead)
	if err != nil {
		return nil, 0
	}
	h, err := of.OpenHead(note)
	if h != nil {
		return &signed{audit.HeadPath, note, h, err}, h.Size
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
