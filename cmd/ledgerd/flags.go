package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/datadir"
	"ledgerd/ledger/pebblestore"
)

// Flags that many commands have.
func dataDirFlag() cli.Flag {
	return &cli.PathFlag{Name: "data-dir", Usage: "the ledger in `DIR`"}
}

func headFileFlag() cli.Flag {
	return &cli.PathFlag{Name: "head-file", Usage: "`FILE` outside DIR that keeps the newest tree head (default: DIR.head)"}
}

func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Value: "text", Usage: "form of results, where json is one object a line: `text|json`"}
}

// ledgerFlags say which ledger a command works on.
func ledgerFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		dataDirFlag(), headFileFlag(),
		&cli.StringFlag{Name: "server", Usage: "or the daemon at `URL` (default where no DIR is given: " + client.DefaultServer + ")"},
		&cli.StringFlag{Name: "token", Usage: "`SECRET` of a token for the daemon; better as LEDGERD_TOKEN_FILE"},
	}, more...)
}

// dataDir opens the directory that --data-dir names.
func dataDir(c *cli.Context) (*datadir.Dir, error) {
	path := c.Path("data-dir")
	if path == "" {
		return nil, usage("want --data-dir DIR, or LEDGERD_DATA_DIR")
	}
	return datadir.Open(path)
}

// openLedger opens the ledger in --data-dir, in this process.
func openLedger(c *cli.Context) (*datadir.Ledger, error) {
	d, err := dataDir(c)
	if err != nil {
		return nil, err
	}
	return d.Ledger(c.Context, datadir.Options{HeadFile: c.Path("head-file"), Logger: quiet()})
}

// dialDaemon returns the client of the daemon that --server names, or else of
// the one that holds --data-dir.
func dialDaemon(c *cli.Context) (*client.Client, error) {
	server, token := c.String("server"), c.String("token")
	if path := c.Path("data-dir"); path != "" {
		d, err := datadir.Open(path)
		if err != nil {
			return nil, err
		}
		if server == "" {
			a, err := d.Daemon()
			if err != nil {
				return nil, err
			}
			server = a.URL
		}
		if token == "" {
			if token, err = d.AdminToken(); err != nil {
				return nil, err
			}
		}
	}
	if server == "" {
		server = client.DefaultServer
	}
	if token == "" {
		return nil, usage("want a token for %s: LEDGERD_TOKEN_FILE=FILE, LEDGERD_TOKEN, --token, or --data-dir with its admin.token", server)
	}
	return client.New(server, client.Options{Token: token, BusyRetries: 10})
}

// target is the ledger that a command works on: one of the two is nil.
type target struct {
	local  *datadir.Ledger
	remote *client.Client
}

// openTarget opens the ledger in --data-dir where no daemon holds it, and calls
// the daemon otherwise.
func openTarget(c *cli.Context) (*target, error) {
	if c.Path("data-dir") != "" && c.String("server") == "" {
		l, err := openLedger(c)
		if err == nil {
			return &target{local: l}, nil
		}
		if !errors.Is(err, pebblestore.ErrLocked) {
			return nil, err
		}
	}
	r, err := dialDaemon(c)
	if err != nil {
		return nil, err
	}
	return &target{remote: r}, nil
}

func (t *target) Close() error {
	if t.local == nil {
		return nil
	}
	return t.local.Close()
}

// with runs f on the ledger that a command works on, and closes it.
func with(f func(c *cli.Context, t *target) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		t, err := openTarget(c)
		if err != nil {
			return err
		}
		return errors.Join(f(c, t), t.Close())
	}
}

// rootKeyOf returns the root's private key: --root-key, or that in --data-dir.
func rootKeyOf(c *cli.Context) (*evidence.PrivateKey, error) {
	if path := c.Path("root-key"); path != "" {
		return datadir.ReadKey(path)
	}
	if c.Path("data-dir") == "" {
		return nil, usage("want --root-key FILE: the registry's records are signed with the root's key")
	}
	d, err := dataDir(c)
	if err != nil {
		return nil, err
	}
	k, err := d.Root()
	if errors.Is(err, datadir.ErrNoKey) {
		return nil, usage("the root's key is kept elsewhere: want --root-key FILE")
	}
	return k, err
}

// show prints one result: as JSON, or as a line of text.
func show(c *cli.Context, v any, text string) error {
	switch c.String("output") {
	case "json":
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.App.Writer, "%s\n", b)
		return err
	case "text":
		_, err := fmt.Fprintln(c.App.Writer, visibleLines(text))
		return err
	}
	return usage("--output: want text or json, found %q", c.String("output"))
}

// toFile writes what write writes to the file that -o names, and removes it if
// that fails: a part of a bundle looks like a bundle. "-" is stdout.
func toFile(c *cli.Context, write func(w io.Writer) error) error {
	if c.Path("o") == "-" {
		return write(c.App.Writer)
	}
	return newFile(c.Path("o"), write)
}

// newFile writes what write writes to a file that is not there yet, and removes it
// if that fails.
func newFile(path string, write func(w io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func outFlag(what string) cli.Flag {
	return &cli.PathFlag{Name: "o", Usage: what + " to `FILE`, - for stdout", Required: true}
}

// when reads a flag that is a time.
func when(c *cli.Context, name string) (evidence.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, c.String(name))
	if err != nil {
		return 0, usage("--%s: want a time in RFC 3339, such as 2026-05-29T14:32:10Z, found %q", name, c.String(name))
	}
	return evidence.TimeOf(t), nil
}

// args checks how many arguments there are.
func args(c *cli.Context, names ...string) error {
	if c.NArg() != len(names) {
		return usage("%s: want %d arguments %v, found %d", c.Command.FullName(), len(names), names, c.NArg())
	}
	return nil
}
