package main

import (
	"errors"
	"io"

	"github.com/urfave/cli/v2"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/internal/inspect"
	"ledgerd/internal/report"
	"ledgerd/internal/story"
)

func explainCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "tell in plain words what one piece of evidence says, who signed it and how it is proven",
		ArgsUsage: "FILE [EV]",
		UsageText: "verify explain --trust FILE [options] FILE EV\nverify explain --trust FILE [options] RECEIPT",
		Description: "EV is the evidence ID of a record, or how it begins; it may lie in a bundle that lies in FILE.\n" +
			"The exit code is that of the audit of the whole file.\n\n" +
			"Examples:\n" +
			"  # What does this record say, and how is it proven?\n" +
			"  verify explain --trust trust.json done.bundle ev_73gKpk\n" +
			"  # A receipt holds one record\n" +
			"  verify explain --trust trust.json record.tlog-proof\n" +
			"  # For a program\n" +
			"  verify explain --trust trust.json --output json - ev_73gKpk < done.bundle",
		HideHelpCommand: true,
		Flags:           explainFlags(),
		Action:          func(c *cli.Context) error { return verifyExplain(c, std) },
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return usageError{err} },
	}
}

func explainFlags() []cli.Flag {
	return []cli.Flag{
		trustFlag(),
		&cli.StringFlag{Name: "output", Value: "text", Usage: "form of the answer: `text|json`"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print the answer only"},
	}
}

func verifyExplain(c *cli.Context, std stdio) error {
	form := c.String("output")
	if form != "text" && form != "json" {
		return usagef("expected --output text or json, found %q", form)
	}
	if c.NArg() < 1 || c.NArg() > 2 {
		return usagef("expected a FILE and the evidence ID of a record in it, found %d arguments", c.NArg())
	}
	trust, err := readTrust(c)
	if err != nil {
		return err
	}
	name := c.Args().First()
	in, err := openInput(name, std)
	if err != nil {
		return err
	}
	defer in.Close()
	page, err := inspect.Page(name, in, func(form bundle.Form, in io.Reader) (*report.Page, error) {
		x, err := inspect.Read(form, in, trust, audit.Options{})
		if err != nil {
			return nil, err
		}
		return story.Explain(x, c.Args().Get(1))
	})
	if errors.Is(err, story.ErrRecord) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	if form == "json" {
		err = page.JSON(std.out)
	} else {
		text := newText(c, std)
		err = text.Page(page)
	}
	if err != nil {
		return err
	}
	return answered(page.Outcome)
}
