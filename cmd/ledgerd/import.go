package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/datadir"
	"ledgerd/internal/importer"
	"ledgerd/internal/server"
)

const exitMalformed = 65 // EX_DATAERR

func init() {
	register(&cli.Command{
		Name:      "import",
		Usage:     "make runs of transcripts",
		ArgsUsage: "FILE",
		Description: "Reads one run a line in the OpenAI chat format (docs/import.md), - for stdin, and records every message and\n" +
			"tool call, the claim that the work is done, and the verdict on it. What was imported before is compared and not\n" +
			"written again. Exits 65 where a line is wrong; what came before it is in the ledger.",
		Flags: ledgerFlags(
			&cli.PathFlag{Name: "key", Usage: "`FILE` with the runtime's private key (default: the one in --data-dir)"},
			&cli.PathFlag{Name: "root-key", Usage: "`FILE` with the root's private key, which registers agents (default: the one in --data-dir)"},
			&cli.StringFlag{Name: "declared-by", Value: "operator", Usage: "`NAME` of who declared the contracts"},
			outputFlag(),
		),
		Action: with(importRuns),
	})
}

func importRuns(c *cli.Context, t *target) error {
	if err := args(c, "FILE"); err != nil {
		return err
	}
	im, err := newImporter(c, t)
	if err != nil {
		return err
	}
	in := io.Reader(os.Stdin)
	if name := c.Args().First(); name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	var sum tally
	err = im.ImportAll(c.Context, importer.NewReader(in), func(o importer.Outcome) error {
		sum.add(o)
		return show(c, o, fmt.Sprintf("%-24s %-13s %s  %d records", o.ID, o.Verdict, o.Run, o.Records))
	})
	fmt.Fprintln(c.App.ErrWriter, sum.String())
	var bad *importer.LineError
	if errors.As(err, &bad) {
		return cli.Exit(fmt.Sprintf("%v\nthe lines before it are in the ledger; correct this one and import the file again", bad), exitMalformed)
	}
	return err
}

// tally sums up an import.
type tally struct {
	runs, appended int
	results        []string
	count          map[string]int
}

func (s *tally) add(o importer.Outcome) {
	if s.count == nil {
		s.count = make(map[string]int)
	}
	r := string(o.Verdict)
	if s.count[r] == 0 {
		s.results = append(s.results, r)
	}
	s.count[r]++
	s.runs++
	s.appended += o.Appended
}

func (s *tally) String() string {
	slices.Sort(s.results)
	parts := make([]string, 0, len(s.results))
	for _, r := range s.results {
		parts = append(parts, fmt.Sprintf("%d %s", s.count[r], r))
	}
	text := fmt.Sprintf("%d runs", s.runs)
	if s.runs > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	return fmt.Sprintf("%s; %d records appended", text, s.appended)
}

// newImporter finds the keys that an import signs with.
func newImporter(c *cli.Context, t *target) (*importer.Importer, error) {
	key, err := runtimeKeyOf(c)
	if err != nil {
		return nil, err
	}
	root, err := rootKeyOf(c)
	var code cli.ExitCoder
	if errors.As(err, &code) && c.Path("root-key") == "" {
		err = nil // it is only needed for an agent that nobody registered yet
	}
	if err != nil {
		return nil, err
	}
	im := &importer.Importer{Key: key, Operator: c.String("declared-by"), Now: time.Now, Random: rand.Reader}
	if t.local != nil {
		e := importer.Embedded{Ledger: t.local.Ledger, Root: root}
		im.Ledger, im.Registry = e, e
	} else {
		r := importer.Remote{Client: t.remote, Root: root}
		im.Ledger, im.Registry = r, r
	}
	g, err := registryOf(c.Context, t)
	if err != nil {
		return nil, err
	}
	im.Origin = g.Origin
	im.Runtime, err = runtimeOf(g, key)
	return im, err
}

// runtimeKeyOf returns the key that signs runs: --key, or that of the first
// runtime in --data-dir.
func runtimeKeyOf(c *cli.Context) (*evidence.PrivateKey, error) {
	if path := c.Path("key"); path != "" {
		return datadir.ReadKey(path)
	}
	if c.Path("data-dir") == "" {
		return nil, usage("want --key FILE, a runtime's private key, or --data-dir DIR that has one: whoever records a run signs it")
	}
	d, err := dataDir(c)
	if err != nil {
		return nil, err
	}
	return d.Key(d.Runtime)
}

func registryOf(ctx context.Context, t *target) (*api.Registry, error) {
	if t.remote != nil {
		return t.remote.Registry(ctx)
	}
	g := server.Registry(t.local.Registry())
	return &g, nil
}

// runtimeOf returns the runtime whose key it is.
func runtimeOf(g *api.Registry, key *evidence.PrivateKey) (string, error) {
	kid := key.Public().Thumbprint()
	for _, a := range g.Actors {
		for _, k := range a.Keys {
			switch {
			case k.Kid != kid:
			case a.Role != evidence.RoleRuntime:
				return "", fmt.Errorf("want the key of a runtime, found that of the %s %s", a.Role, a.Name)
			case k.Revoked != nil:
				return "", fmt.Errorf("the key of the runtime %s was revoked: want one that holds", a.Name)
			default:
				return a.Name, nil
			}
		}
	}
	return "", fmt.Errorf("nobody in the registry of %s has the key %s: register its runtime first (ledgerd actor add --role runtime)", g.Origin, kid)
}
