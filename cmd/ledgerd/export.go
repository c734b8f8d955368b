package main

import (
	"context"
	"io"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger"
)

func init() {
	register(&cli.Command{
		Name:  "export",
		Usage: "write a bundle about a run, a record, an offer or a range; or the whole log as a tree of tiles",
		Description: "Examples:\n" +
			"  # All that verify needs to audit one run\n" +
			"  ledgerd export --run \"$RUN\" -o run.bundle --data-dir data\n" +
			"  # The same without what was said and done: records only\n" +
			"  ledgerd export --run \"$RUN\" --hide-payloads -o bare.bundle --data-dir data\n" +
			"  # The whole log, for verify log\n" +
			"  ledgerd export --log -o tiles --data-dir data",
		Flags: ledgerFlags(
			outFlag("write the bundle (or, with --log, the directory)"),
			&cli.StringFlag{Name: "run", Usage: "about the run `RUN`"},
			&cli.StringFlag{Name: "record", Usage: "about the record `EV`, with its run up to it"},
			&cli.StringFlag{Name: "offer", Usage: "about the offer `EV`, with the giver's run up to it"},
			&cli.StringFlag{Name: "from", Usage: "about a range from `INDEX` on, or from a time (RFC 3339)"},
			&cli.StringFlag{Name: "to", Usage: "up to but without `INDEX`, or a time"},
			&cli.BoolFlag{Name: "all", Usage: "about the whole log"},
			&cli.BoolFlag{Name: "with-handoffs", Usage: "with the bundles on which handoffs were accepted, and those on which these were: all that a verifier needs, in one file"},
			&cli.BoolFlag{Name: "hide-payloads", Usage: "withhold payloads; records are never withheld"},
			&cli.BoolFlag{Name: "log", Usage: "write the log as a static tree of tiles (C2SP tlog-tiles) to a directory"},
		),
		Action: with(export),
	})
	register(&cli.Command{
		Name: "receipt", Usage: "write the receipt of a record",
		Description: "Examples:\n" +
			"  # A receipt proves that this one record is in the log\n" +
			"  ledgerd receipt \"$EV\" -o record.tlog-proof --data-dir data",
		ArgsUsage: "EV",
		Flags:     ledgerFlags(outFlag("write the receipt")),
		Action: with(func(c *cli.Context, t *target) error {
			if err := args(c, "EV"); err != nil {
				return err
			}
			id, err := evidence.ParseID(c.Args().First())
			if err != nil {
				return usage("%v", err)
			}
			r, err := t.receipt(c.Context, id)
			if err != nil {
				return err
			}
			return toFile(c, func(w io.Writer) error { _, err := w.Write(r); return err })
		}),
	})
}

func (t *target) receipt(ctx context.Context, id evidence.ID) ([]byte, error) {
	var r *bundle.Receipt
	var err error
	if t.remote != nil {
		r, err = t.remote.Receipt(ctx, id)
	} else {
		r, err = t.local.Receipt(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	return r.Marshal(), nil
}

func export(c *cli.Context, t *target) error {
	if err := args(c); err != nil {
		return err
	}
	if c.Bool("log") {
		return exportLog(c, t)
	}
	o, err := exportOptions(c)
	if err != nil {
		return err
	}
	return toFile(c, func(w io.Writer) error { return t.export(c.Context, w, o) })
}

func exportOptions(c *cli.Context) (o ledger.ExportOptions, err error) {
	if c.Bool("hide-payloads") {
		o.Hide = ledger.Hidden
	}
	o.NoHandoffs = !c.Bool("with-handoffs") && !c.IsSet("offer")
	from, to := c.String("from"), c.String("to")
	about := 0
	for _, is := range []bool{c.IsSet("run"), c.IsSet("record"), c.IsSet("offer"), from != "" || to != "", c.Bool("all")} {
		if is {
			about++
		}
	}
	switch {
	case about != 1:
		return o, usage("want one of --run, --record, --offer, --from and --to, --all")
	case c.IsSet("run"):
		o.Run, err = evidence.ParseRunID(c.String("run"))
	case c.IsSet("record"):
		o.Record, err = evidence.ParseID(c.String("record"))
	case c.IsSet("offer"):
		o.Offer, err = evidence.ParseID(c.String("offer"))
	case c.Bool("all"):
		o.All = true
	case strings.Contains(from+to, "T"):
		if from != "" {
			o.FromTime, err = when(c, "from")
		}
		if to != "" && err == nil {
			o.ToTime, err = when(c, "to")
		}
	default:
		if from != "" {
			o.From, err = strconv.ParseUint(from, 10, 63)
		}
		if to != "" && err == nil {
			o.To, err = strconv.ParseUint(to, 10, 63)
		}
		o.All = o.From == 0 && o.To == 0 && err == nil
	}
	if err != nil {
		err = usage("%v", err)
	}
	return o, err
}
