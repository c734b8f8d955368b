package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"ledgerd/internal/inspect"
	"ledgerd/internal/report"
	"ledgerd/internal/wholefile"
)

func equivocationCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "equivocation",
		Usage:     "prove that a log signed two tree heads that cannot both be true",
		ArgsUsage: "A B",
		UsageText: "verify equivocation --trust FILE [-o FILE] [--log URL|DIR] [options] A B",
		Description: "A and B are tree heads of one log, in any order, or files that hold one: receipts and bundles, of which\n" +
			"the last counts. What is written is checked again by: verify --trust FILE PROOF. The answer is 1 where the\n" +
			"log is proven wrong.\n\n" +
			"Examples:\n" +
			"  # Two tree heads of one size: a proof, and exit code 1\n" +
			"  verify equivocation --trust trust.json mine.head theirs.head -o proof.json\n" +
			"  # Of two sizes, with the hashes of the log that ours is of: exit code 1\n" +
			"  verify equivocation --trust trust.json mine.head longer.head -o longer.json \\\n" +
			"    --log forked-tiles",
		HideHelpCommand: true,
		Flags: append(append(commonFlags(), evidenceFlags()...),
			&cli.StringFlag{Name: "proof", Aliases: []string{"o"}, Usage: "`FILE` to which the proof is written, if there is one"}),
		Action:       func(c *cli.Context) error { return verifyEquivocation(c, std) },
		OnUsageError: badUsage,
	}
}

func verifyEquivocation(c *cli.Context, std stdio) error {
	p, err := newPrinter(c, std)
	if err != nil {
		return err
	}
	heads, r, err := twoHeads(c, std)
	if err != nil {
		return err
	}
	if r == nil {
		if r, err = findEquivocation(c, heads); err != nil {
			return err
		}
	}
	if err := p.add(r); err != nil {
		return err
	}
	return p.done()
}

func findEquivocation(c *cli.Context, heads [2]*inspect.Signed) (*report.Report, error) {
	old, later := heads[0], heads[1]
	if old.Head != nil && later.Head != nil && old.Size > later.Size {
		old, later = later, old
	}
	r := &report.Report{Version: report.Version, Input: heads[1].Name, Form: "tree heads", Rules: []report.Rule{inspect.EvidenceRule(heads)}}
	inspect.Describe(r, old, later)
	x, err := compare(c, old, later)
	if err != nil {
		return nil, err
	}
	r.Rules = append(r.Rules, x.Rule())
	inspect.Settle(r)
	r.Summary = x.Summary(r)
	if x.Contradiction == nil {
		return r, nil
	}
	r.Equivocation = [][2]string{x.Contradiction.Heads}
	if path := c.String("proof"); path != "" {
		b, err := x.Contradiction.Marshal()
		if err != nil {
			return nil, err
		}
		if err := wholefile.Write(path, b, true); err != nil {
			return nil, fmt.Errorf("the proof: %w", err)
		}
		r.Proof = path
	}
	return r, nil
}
