package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"ledgerd/audit"
	"ledgerd/internal/inspect"
	"ledgerd/internal/report"
)

func consistencyCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "consistency",
		Usage:     "say whether one tree head extends another",
		ArgsUsage: "OLD NEW",
		UsageText: "verify consistency --trust FILE [--log URL|DIR] [options] OLD NEW",
		Description: "OLD and NEW are tree heads, or files that hold one: receipts and bundles, of which the last counts. Of\n" +
			"two sizes only the log can show that NEW extends OLD: --log reads the hashes for that, and no entry.\n\n" +
			"Examples:\n" +
			"  # Does today's tree head extend yesterday's?\n" +
			"  verify consistency --trust trust.json yesterday.head today.head \\\n" +
			"    --log https://ledger.example/support\n" +
			"  # Were two parties shown the same log? If they were not: exit code 1\n" +
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
		r = &report.Report{Version: report.Version, Input: later.Name, Form: "tree heads", Rules: []report.Rule{inspect.HeadsRule(old, later)}}
		inspect.Describe(r, old, later)
		x, err := compare(c, old, later)
		if err != nil {
			return err
		}
		r.Rules = append(r.Rules, x.Rule())
		if x.Contradiction != nil {
			r.Equivocation = [][2]string{x.Contradiction.Heads}
		}
		inspect.Settle(r)
		r.Summary = x.Summary(r)
	}
	if err := p.add(r); err != nil {
		return err
	}
	return p.done()
}

// twoHeads reads the tree heads that the arguments name. Where one of them is in no
// form, it returns the report that says so.
func twoHeads(c *cli.Context, std stdio) (heads [2]*inspect.Signed, r *report.Report, err error) {
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
			heads[i] = inspect.OpenSigned(name, note, trust)
			err = heads[i].Err
		}
		if inspect.IsForm(err) {
			r, err := inspect.Malformed(name, "tree head", err)
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
	note, err := inspect.HeadOf(in)
	if err != nil && !inspect.IsForm(err) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return note, err
}

// compare says whether one tree head extends another: by the notes alone where
// these decide it, and by the log that --log names otherwise.
func compare(c *cli.Context, old, later *inspect.Signed) (*inspect.Comparison, error) {
	x := inspect.ByNotes(old, later)
	name := c.String("log")
	if x.Status != report.NotDecided || old.Head == nil || later.Head == nil || old.Ledger.Origin() != later.Ledger.Origin() {
		return x, nil
	}
	if name == "" {
		x.Finding.Decides = "the log's tiles: --log URL or DIR"
		return x, nil
	}
	source, err := openLog(c, name)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	ctx, stop := interruptible(c)
	defer stop()
	return x, byTiles(ctx, x, source)
}

// byTiles has a log's tiles decide, unless it is interrupted.
func byTiles(ctx context.Context, x *inspect.Comparison, s audit.Source) error {
	err := x.ByTiles(ctx, s)
	if ctx.Err() != nil && err != nil {
		return missingError{errors.New("interrupted before the end: nothing is decided")}
	}
	return err
}
