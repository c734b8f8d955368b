package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/internal/inspect"
)

func verifyFiles(c *cli.Context, std stdio) error {
	if c.NArg() == 0 {
		return usagef("expected a FILE: a receipt, a bundle, a tree head or a proof, or - for standard input")
	}
	p, err := newPrinter(c, std)
	if err != nil {
		return err
	}
	trust, err := readTrust(c)
	if err != nil {
		return err
	}
	opts, err := askedFor(c)
	if err != nil {
		return err
	}
	heads := inspect.NewHeadBook(trust)
	for _, name := range c.Args().Slice() {
		in, err := openInput(name, std)
		if err != nil {
			return err
		}
		r, err := inspect.File(name, in, trust, opts, heads)
		in.Close()
		if err != nil {
			return err
		}
		if err := p.add(r); err != nil {
			return err
		}
	}
	return p.done()
}

// askedFor reads what the files have to be about.
func askedFor(c *cli.Context) (audit.Options, error) {
	var o audit.Options
	if err := filled(c, "run", "subject", "contract"); err != nil {
		return o, err
	}
	if s := c.String("run"); s != "" {
		run, err := evidence.ParseRunID(s)
		if err != nil {
			return o, usageError{fmt.Errorf("--run: %w", err)}
		}
		o.Run = run
	}
	o.Subject = c.String("subject")
	if name := c.String("contract"); name != "" {
		doc, err := readInput(c, name, inspect.MaxContract)
		if err != nil {
			return o, err
		}
		if _, err := audit.ParseContract(doc); err != nil {
			return o, inputError{fmt.Errorf("%s: %w", name, err)}
		}
		o.Contract = doc
	}
	return o, nil
}
