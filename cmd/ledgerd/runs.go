package main

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/ledger"
)

func init() {
	register(&cli.Command{
		Name:  "run",
		Usage: "look at runs",
		Description: "Examples:\n" +
			"  # The runs, with what became of them\n" +
			"  ledgerd run list --data-dir data",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list runs in the order in which they were opened",
				Description: "Examples:\n" +
					"  # The runs, with what became of them\n" +
					"  ledgerd run list --data-dir data\n" +
					"  # Which are open, and stand still for an hour?\n" +
					"  ledgerd run list --stale 1h --data-dir data",
				Flags: ledgerFlags(outputFlag(), &cli.DurationFlag{Name: "stale", Usage: "only open runs whose last record is older than `DURATION`"}), Action: with(listRuns),
			},
			{
				Name: "show", Usage: "show what was believed, allowed and executed in a run, side by side",
				Description: "Examples:\n" +
					"  # RUN is its name in the list of runs\n" +
					"  ledgerd run show \"$RUN\" --data-dir data",
				ArgsUsage: "RUN", Flags: ledgerFlags(outputFlag()), Action: with(showRun),
			},
		},
	})
	register(&cli.Command{
		Name: "erase", Usage: "erase a payload, and say so in the log",
		Description: "Examples:\n" +
			"  # COMMIT is the commitment that the record names\n" +
			"  ledgerd erase \"$COMMIT\" --reason asked-for --data-dir data",
		ArgsUsage: "COMMIT",
		Flags:     ledgerFlags(outputFlag(), &cli.StringFlag{Name: "reason", Usage: "`WHY`, an identifier: it stands in the log for good", Required: true}),
		Action: with(func(c *cli.Context, t *target) error {
			if err := args(c, "COMMIT"); err != nil {
				return err
			}
			d, err := evidence.ParseDigest(c.Args().First())
			if err != nil {
				return usage("COMMIT: %v", err)
			}
			var p evidence.Placed
			if t.remote != nil {
				p, err = t.remote.Erase(c.Context, d, c.String("reason"))
			} else {
				p, err = t.local.Erase(c.Context, d, c.String("reason"))
			}
			if err != nil {
				return err
			}
			return show(c, api.Placed{Status: 200, Index: p.Index, ID: p.ID}, fmt.Sprintf("erased, as %s at index %d says", p.ID, p.Index))
		}),
	})
}

func listRuns(c *cli.Context, t *target) error {
	if err := args(c); err != nil {
		return err
	}
	stale := c.Duration("stale")
	if stale < 0 {
		return usage("--stale: want a duration such as 1h, found %s", stale)
	}
	for r, err := range t.runs(c.Context) {
		if err != nil {
			return err
		}
		if stale > 0 {
			if r.Closed {
				continue
			}
			last, err := t.get(c.Context, r.Tail)
			if err != nil {
				return err
			}
			if time.Since(last.Record.Time.Std()) < stale {
				continue
			}
		}
		if err := showSummary(c, r); err != nil {
			return err
		}
	}
	return nil
}

func showSummary(c *cli.Context, r *api.Run) error {
	state := "open"
	if r.Closed {
		state = string(r.End)
	}
	if r.Verdict != "" {
		state += ", " + string(r.Verdict)
	}
	return show(c, r, fmt.Sprintf("%s  %s  %-20s %-20s %d records  %s", r.Run, r.Time, r.Actor, r.Task, r.Records, state))
}

func showRun(c *cli.Context, t *target) error {
	if err := args(c, "RUN"); err != nil {
		return err
	}
	run, err := evidence.ParseRunID(c.Args().First())
	if err != nil {
		return usage("%v", err)
	}
	found := false
	for p, err := range t.records(c.Context, run) {
		if err != nil {
			return err
		}
		m, err := t.moment(c.Context, &p)
		if err != nil {
			return err
		}
		if c.String("output") == "text" {
			if !found {
				_, err = fmt.Fprint(c.App.Writer, heading(c))
			}
			if err == nil {
				_, err = fmt.Fprint(c.App.Writer, m.text(screen(c)))
			}
		} else {
			err = show(c, m, "")
		}
		if err != nil {
			return err
		}
		found = true
	}
	if !found {
		return fmt.Errorf("%w of %s: nobody opened it", ledger.ErrNoRecord, run)
	}
	return nil
}

// records yields the records of a run.
func (t *target) records(ctx context.Context, run evidence.RunID) iter.Seq2[evidence.Placed, error] {
	if t.remote != nil {
		return t.remote.Run(ctx, run)
	}
	return t.local.Run(ctx, run)
}
