package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"ledgerd/bundle"
	"ledgerd/internal/inspect"
	"ledgerd/internal/report"
	"ledgerd/internal/story"
	"ledgerd/internal/wholefile"
)

func reportCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "report",
		Usage:     "tell a person who did what, for whom, under which policy, approved by whom, and what is missing",
		ArgsUsage: "FILE",
		UsageText: "verify report --trust FILE [options] FILE",
		Description: "FILE is a bundle of a run or of an offer; those that lie in it are told too. - is standard input.\n" +
			"The exit code is that of the audit of the file.\n\n" +
			"Examples:\n" +
			"  # Who did what in this run, and what does it prove?\n" +
			"  verify report --trust trust.json done.bundle\n" +
			"  # The same as a page for the browser\n" +
			"  verify report --trust trust.json --html -o report.html done.bundle\n" +
			"  # For a program, and only if it is about this ticket\n" +
			"  verify report --trust trust.json --subject ticket-1 --output json done.bundle",
		HideHelpCommand: true,
		Flags:           reportFlags(),
		Action:          func(c *cli.Context) error { return verifyReport(c, std) },
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return usageError{err} },
	}
}

func reportFlags() []cli.Flag {
	return append([]cli.Flag{
		trustFlag(),
		&cli.StringFlag{Name: "output", Value: "text", Usage: "form of the answer: `text|json`"},
		&cli.BoolFlag{Name: "html", Usage: "write one HTML page, with nothing in it that is fetched or run"},
		&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "write to `FILE`, whole or not at all, for its owner to read"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print the answer only"},
	}, fileFlags()...)
}

func verifyReport(c *cli.Context, std stdio) error {
	form := c.String("output")
	if form != "text" && form != "json" {
		return usagef("expected --output text or json, found %q", form)
	}
	if c.Bool("html") {
		if c.IsSet("output") || c.Bool("quiet") {
			return usagef("expected --html alone, found --output or --quiet beside it")
		}
		form = "html"
	}
	if c.NArg() != 1 {
		return usagef("expected one FILE, a bundle, or - for standard input, found %d", c.NArg())
	}
	trust, err := readTrust(c)
	if err != nil {
		return err
	}
	opts, err := askedFor(c)
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
		if form == bundle.FormReceipt {
			return nil, usageError{errors.New("expected a bundle, found a receipt, which holds one record: verify explain tells it")}
		}
		x, err := inspect.Read(form, in, trust, opts)
		if err != nil {
			return nil, err
		}
		return story.Tell(x), nil
	})
	if err != nil {
		return err
	}
	if err := writePage(c, std, form, page); err != nil {
		return err
	}
	return answered(page.Outcome)
}

func writePage(c *cli.Context, std stdio, form string, page *report.Page) error {
	var out bytes.Buffer
	text := newText(c, std)
	w := io.Writer(std.out)
	name := c.String("out")
	if name != "" {
		w, text.W, text.Color, text.Width = &out, &out, false, 0
	}
	var err error
	switch form {
	case "html":
		err = page.HTML(w)
	case "json":
		err = page.JSON(w)
	default:
		err = text.Page(page)
	}
	if err != nil || name == "" {
		return err
	}
	if err := wholefile.Write(name, out.Bytes(), true); err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			return usageError{fmt.Errorf("--out: %w", err)}
		}
		return err
	}
	return nil
}
