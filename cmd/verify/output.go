package main

import (
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"ledgerd/internal/report"
	"ledgerd/internal/report/forms"
)

// printer writes reports in the form that was asked for.
type printer struct {
	form string
	text forms.Text
	std  stdio
	all  []*report.Report // forms that are one document for all of them
}

func newPrinter(c *cli.Context, std stdio) (*printer, error) {
	p := &printer{form: c.String("output"), std: std}
	switch p.form {
	case "text", "json", "sarif", "junit":
	default:
		return nil, usagef("expected --output text, json, sarif or junit, found %q", p.form)
	}
	p.text = newText(c, std)
	return p, nil
}

// newText writes text as the terminal is, if there is one.
func newText(c *cli.Context, std stdio) forms.Text {
	t := forms.Text{W: std.out, Quiet: c.Bool("quiet")}
	if width, _, err := term.GetSize(int(std.out.Fd())); err == nil {
		t.Width = width
		// https://no-color.org: present and not empty.
		t.Color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return t
}

// add writes a report, or keeps it for the document at the end.
func (p *printer) add(r *report.Report) error {
	switch p.form {
	case "text":
		if len(p.all) > 0 && !p.text.Quiet {
			if _, err := p.std.out.WriteString("\n"); err != nil {
				return err
			}
		}
		p.all = append(p.all, r)
		return p.text.Write(r)
	case "json":
		p.all = append(p.all, r)
		return report.JSON(p.std.out, r)
	}
	p.all = append(p.all, r)
	return nil
}

// done writes what is left, and returns the answer over all reports.
func (p *printer) done() error {
	var err error
	switch p.form {
	case "sarif":
		err = forms.SARIF(p.std.out, descriptions, p.all...)
	case "junit":
		err = forms.JUnit(p.std.out, p.all...)
	}
	if err != nil {
		return err
	}
	var outcomes []report.Outcome
	for _, r := range p.all {
		outcomes = append(outcomes, r.Outcome)
	}
	return answered(report.Worst(outcomes...))
}

// descriptions says in a sentence what each rule asks. docs/rules.md has them in full.
var descriptions = map[string]string{
	"signature":   "Every record is signed by a key that the registry or the trust file gives to its actor.",
	"registry":    "The registry is one root-signed line from the pinned entry 0, complete as far as any record names it.",
	"inclusion":   "Every record is in the tree of a tree head that the trust file accepts.",
	"consistency": "Every tree head extends every earlier one.",
	"chain":       "A run's line goes from run.opened without gap to its last record, written by the run's runtime.",
	"authorized":  "Every execution repeats what an earlier authorization allowed, or a human approved.",
	"outcome":     "Every allowed authorization has an outcome.",
	"budget":      "Costs stay within the budget of the run and its children.",
	"resume":      "Every checkpoint covers what came before it and nothing that did not happen.",
	"handoff":     "Every run that continues a handoff accepted it first, alone, inside its scope and time.",
	"claim":       "Every assertion of every claim is supported.",
	"contract":    "All that the contract expects succeeded, in its order, and nothing that it forbids.",
	"verdict":     "Recomputed from the same inputs, every recorded verdict is the same bytes.",
	"disclosure":  "Every disclosed payload matches its commitment.",
	"tree_head":   "The tree head is signed by its log, and cosigned by the quorum.",
	"fresh":       "The log was reached, and extended, in time.",
	"about":       "What was verified is about what was asked for.",
	"malformed":   "The input is in the form that it means to have.",
}
