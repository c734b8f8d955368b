package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"ledgerd/audit"
	"ledgerd/bundle"
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
			"  verify explain --trust trust.json run.bundle ev_1fx7Wi3\n" +
			"  verify explain --trust trust.json record.tlog-proof\n" +
			"  cat run.bundle | verify explain --trust trust.json --output json - ev_1fx7Wi3",
		HideHelpCommand: true,
		Flags:           explainFlags(),
		Action:          func(c *cli.Context) error { return verifyExplain(c, std) },
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return usageError{err} },
	}
}

func explainFlags() []cli.Flag {
	return []cli.Flag{
		trustFlag(),
		&cli.StringFlag{Name: "output", Value: "text", Usage: "`FORMAT`: text or json"},
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
	page, err := pageOf(name, std, func(form bundle.Form, in io.Reader) (*report.Page, error) {
		x, err := readStory(form, in, trust, audit.Options{})
		if err != nil {
			return nil, err
		}
		return story.Explain(x, c.Args().Get(1))
	})
	if errors.Is(err, story.ErrRecord) {
		return usageError{fmt.Errorf("%s: %w", name, err)}
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

// readStory audits and reads a bundle or a receipt.
func readStory(form bundle.Form, in io.Reader, trust *bundle.Trust, o audit.Options) (*story.Reading, error) {
	if form == bundle.FormBundle {
		tap := &firstBytes{r: in}
		x, err := story.ReadBundle(tap, trust, o)
		if err != nil {
			return nil, err
		}
		for _, note := range headsOf(tap.kept) {
			if h := signedHead(trust, note); h != nil {
				if f := otherLedgers(h, x.Report.Scope.Origin); f != nil {
					x.Broken(audit.RuleInclusion, audit.Reason(f.Reason), f.Expected, f.Found)
				}
			}
		}
		return x, nil
	}
	b, err := io.ReadAll(io.LimitReader(in, maxReceipt))
	if err != nil {
		return nil, err
	}
	return story.ReadReceipt(b, trust, o)
}

// pageOf has a file told, once it is known what it is. That it is malformed is a
// page too.
func pageOf(name string, std stdio, tell func(bundle.Form, io.Reader) (*report.Page, error)) (*report.Page, error) {
	in, err := openInput(name, std)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	br := bufio.NewReaderSize(in, 64<<10)
	first, err := br.Peek(bundle.SniffLen)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	form := bundle.Sniff(first)
	var page *report.Page
	switch form {
	case bundle.FormBundle, bundle.FormReceipt:
		page, err = tell(form, br)
	default:
		err = formOnly("expected a receipt, which begins with c2sp.org/tlog-proof@v1, or a bundle, which begins with {\"bundle\":")
	}
	var fe *bundle.FormatError
	switch {
	case errors.As(err, &fe):
		page = story.Malformed(strings.TrimPrefix(err.Error(), "receipt: "))
	case errors.Is(err, story.ErrRecord) || errors.As(err, new(usageError)):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	page.Input = name
	return page, nil
}
