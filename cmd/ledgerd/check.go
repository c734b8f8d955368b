package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/internal/api"
	"ledgerd/internal/datadir"
	"ledgerd/internal/server"
	"ledgerd/ledger/pebblestore"
)

func init() {
	register(&cli.Command{
		Name:  "check",
		Usage: "recompute the whole store: entries, tiles, tree head, signatures, index, payloads",
		Description: "Examples:\n" +
			"  # Is the store what was signed?\n" +
			"  ledgerd check --data-dir data",
		Flags:  ledgerFlags(outputFlag()),
		Action: check,
	})
	register(&cli.Command{
		Name:  "reindex",
		Usage: "make the index again, from the log alone; no daemon may hold the directory",
		Description: "Examples:\n" +
			"  # After check found rows of the index that differ\n" +
			"  ledgerd reindex --data-dir data",
		Flags: []cli.Flag{dataDirFlag()},
		Action: func(c *cli.Context) error {
			if err := args(c); err != nil {
				return err
			}
			d, err := dataDir(c)
			if err != nil {
				return err
			}
			if d.Copy {
				return fmt.Errorf("%s is a restored copy, and read-only", d.Path)
			}
			return d.Reindex(c.Context, nil)
		},
	})
	register(&cli.Command{
		Name:  "backup",
		Usage: "copy a ledger, also while it is served; keys and tokens are in no backup",
		Description: "Examples:\n" +
			"  # A copy that can be read and proven, and signs nothing\n" +
			"  ledgerd backup -o monday.backup --data-dir data",
		Flags: ledgerFlags(outputFlag(), &cli.PathFlag{Name: "o", Usage: "`DIR` that is not there yet; where a daemon holds the ledger, it chooses one"}),
		Action: with(func(c *cli.Context, t *target) error {
			if err := args(c); err != nil {
				return err
			}
			b := &api.Backup{Directory: c.Path("o")}
			var err error
			switch {
			case t.remote != nil && b.Directory != "":
				return usage("a daemon holds this ledger, and chooses where its backups go (ledgerd serve --backup-dir): leave out -o")
			case t.remote != nil:
				b, err = t.remote.Backup(c.Context)
			case b.Directory == "":
				return usage("want -o DIR")
			default:
				b.Size = t.local.Head().Size
				err = t.local.Backup(c.Context, b.Directory)
			}
			if err != nil {
				return err
			}
			return show(c, b, fmt.Sprintf("%d entries copied to %s", b.Size, b.Directory))
		}),
	})
	register(&cli.Command{
		Name:  "restore",
		Usage: "make a read-only ledger of a backup, and check all of it",
		Description: "What comes out can be read, served, exported and verified, and takes no records for good. To go on\n" +
			"after a loss: ledgerd init --origin NEW --successor-of DIR.\n\n" +
			"Examples:\n" +
			"  # What does the backup hold?\n" +
			"  ledgerd restore monday.backup --data-dir restored\n" +
			"  ledgerd run list --data-dir restored",
		ArgsUsage: "BACKUP",
		Flags:     []cli.Flag{dataDirFlag(), outputFlag()},
		Action: func(c *cli.Context) error {
			if err := args(c, "BACKUP"); err != nil {
				return err
			}
			if c.Path("data-dir") == "" {
				return usage("want --data-dir DIR, which is not there yet")
			}
			_, report, err := datadir.Restore(c.Context, c.Args().First(), c.Path("data-dir"), time.Now())
			if err != nil {
				return err
			}
			return showCheck(c, server.Checked(report))
		},
	})
}

func check(c *cli.Context) error {
	if err := args(c); err != nil {
		return err
	}
	r, err := checkHere(c)
	if errors.Is(err, errElsewhere) || errors.Is(err, pebblestore.ErrLocked) {
		remote, dial := dialDaemon(c)
		if dial != nil {
			return dial
		}
		r, err = remote.Check(c.Context)
	}
	if err != nil {
		return err
	}
	return showCheck(c, r)
}

var errElsewhere = errors.New("not in a directory")

// checkHere checks the store in --data-dir, also one that cannot be opened.
func checkHere(c *cli.Context) (*api.Checked, error) {
	if c.Path("data-dir") == "" || c.String("server") != "" {
		return nil, errElsewhere
	}
	d, err := dataDir(c)
	if err != nil {
		return nil, err
	}
	r, err := d.Check(context.WithoutCancel(c.Context), nil)
	if err != nil {
		return nil, err
	}
	return server.Checked(r), nil
}

func showCheck(c *cli.Context, r *api.Checked) error {
	text := fmt.Sprintf("%d entries, %d tiles, %d signatures, %d index rows, %d payloads: ", r.Entries, r.Tiles, r.Signatures, r.Rows, r.Payloads)
	if len(r.Differences) == 0 {
		text += "sound"
	} else {
		text += fmt.Sprintf("%d differences", len(r.Differences))
		for _, d := range r.Differences {
			text += "\n  " + d
		}
	}
	if err := show(c, r, text); err != nil {
		return err
	}
	if len(r.Differences) > 0 {
		return cli.Exit("the store is not what was signed, or its index not what the log says: where only rows of the index differ, "+
			"stop the daemon and run ledgerd reindex; else go on from a backup (docs/operations.md)", exitFailed)
	}
	return nil
}
