package main

import (
	"context"
	"fmt"
	"iter"

	"github.com/urfave/cli/v2"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/server"
	"ledgerd/ledger"
)

func init() {
	register(&cli.Command{
		Name:  "run",
		Usage: "look at runs",
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "list runs in the order in which they were opened", Flags: ledgerFlags(outputFlag()), Action: with(listRuns)},
			{Name: "show", Usage: "show a run's records", ArgsUsage: "RUN", Flags: ledgerFlags(outputFlag()), Action: with(showRun)},
		},
	})
	register(&cli.Command{
		Name: "erase", Usage: "erase a payload, and say so in the log", ArgsUsage: "COMMIT",
		Flags: ledgerFlags(outputFlag(), &cli.StringFlag{Name: "reason", Usage: "`WHY`, an identifier: it stands in the log for good", Required: true}),
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
	if t.remote != nil {
		for r, err := range t.remote.Runs(c.Context, nil) {
			if err == nil {
				err = showSummary(c, &r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	for p, err := range t.local.Find(c.Context, ledger.Filter{Kind: evidence.KindRunOpened}) {
		if err != nil {
			return err
		}
		r, err := server.Summary(c.Context, t.local.Ledger, p.Record.Run)
		if err == nil {
			err = showSummary(c, r)
		}
		if err != nil {
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
		found = true
		r := server.Record(&p)
		line := fmt.Sprintf("%8d  %s  %s  %-18s %s", p.Index, p.ID, r.View.Timestamp, p.Record.Kind, p.Record.Actor)
		for _, s := range []string{r.View.Action, r.View.Tool, r.View.Permission, r.View.Status} {
			if s != "" {
				line += " " + s
			}
		}
		if err := show(c, r, line); err != nil {
			return err
		}
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
