package main

import (
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/evidence"
	"ledgerd/internal/datadir"
	"ledgerd/ledger"
	"ledgerd/ledger/tlog"
)

func init() {
	register(&cli.Command{
		Name:  "init",
		Usage: "make a ledger",
		Description: "Makes keys (0600), entry 0, the first runtime and a token with every right for it.\n" +
			"With --root-key the root's key stays where it is; the commands that change the registry then ask for it.\n\n" +
			"Examples:\n" +
			"  # Make a ledger, with its keys\n" +
			"  ledgerd init --data-dir data --origin ledger.example/support\n" +
			"  # The root's key is kept elsewhere: commands that need it ask for it\n" +
			"  ledgerd init --data-dir sales --origin ledger.example/sales \\\n" +
			"    --root-key usb/root.jwk",
		Flags: []cli.Flag{
			dataDirFlag(), headFileFlag(), outputFlag(),
			&cli.StringFlag{Name: "origin", Usage: "`NAME` of the ledger, such as ledger.example/support"},
			&cli.PathFlag{Name: "root-key", Usage: "`FILE` with the root's private key (JWK), which stays there; made if it is not"},
			&cli.StringFlag{Name: "runtime", Value: "runtime", Usage: "`NAME` of the first runtime"},
			&cli.PathFlag{Name: "successor-of", Usage: "restored ledger in `DIR` that this one continues"},
			&cli.PathFlag{Name: "successor-head", Usage: "`FILE` with the last known tree head of that ledger (default: DIR's own newest)"},
		},
		Action: initLedger,
	})
}

func initLedger(c *cli.Context) error {
	path := c.Path("data-dir")
	if path == "" || c.String("origin") == "" {
		return usage("want --data-dir DIR and --origin NAME")
	}
	if err := args(c); err != nil {
		return err
	}
	o := datadir.InitOptions{
		Origin: c.String("origin"), Runtime: c.String("runtime"), HeadFile: c.Path("head-file"), Now: time.Now(),
	}
	var err error
	if file := c.Path("root-key"); file != "" {
		if o.Root, err = readOrMake(file); err != nil {
			return err
		}
	}
	if old := c.Path("successor-of"); old != "" {
		if o.Successor, err = successor(c, old); err != nil {
			return err
		}
	}
	d, err := datadir.Init(c.Context, path, o)
	if err != nil {
		return err
	}
	return show(c, d.Meta, fmt.Sprintf("ledger %s made in %s\nentry 0     %s\nlog key     %s\nruntime     %s\nadmin token %s\nnext: ledgerd serve --data-dir %s",
		d.Origin, d.Path, d.Entry0, d.Log, d.Runtime, d.AdminTokenPath(), d.Path))
}

func readOrMake(file string) (*evidence.PrivateKey, error) {
	if _, err := os.Stat(file); err == nil {
		return datadir.ReadKey(file)
	}
	return datadir.NewKey(file)
}

// successor names the ledger that a new one continues. The head is checked
// under the old log's key: nothing is named that the old log did not sign.
func successor(c *cli.Context, old string) (*evidence.Successor, error) {
	d, err := datadir.Open(old)
	if err != nil {
		return nil, err
	}
	if !d.Copy {
		return nil, usage("--successor-of: %s is no restored copy: while its log's key is there, it needs no successor", old)
	}
	v, err := tlog.NewVerifier(d.Log)
	if err != nil {
		return nil, err
	}
	var note []byte
	if file := c.Path("successor-head"); file != "" {
		if note, err = os.ReadFile(file); err != nil {
			return nil, err
		}
	} else {
		l, err := d.Ledger(c.Context, datadir.Options{Logger: quiet()})
		if err != nil {
			return nil, err
		}
		note = l.Head().Note
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	head, err := tlog.ParseHead(note, v)
	if err != nil {
		return nil, err
	}
	return ledger.SuccessorOf(d.Origin, head.Size, evidence.Digest(head.Root)), nil
}
