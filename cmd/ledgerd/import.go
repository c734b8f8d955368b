package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
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
		Description: "Reads transcripts (docs/import.md), - for stdin, and records every message and tool call, the claim that the\n" +
			"work is done, and the verdict on it. The format is seen from the content: chat (one run a line in OpenAI's chat\n" +
			"format), openai-responses, anthropic, claude-code (a session's file) or otlp (traces, as JSON). What a format has and\n" +
			"a run has no place for is kept as payloads, and counted. What was imported before is compared and not written again.\n" +
			"Exits 65 where a line is wrong; what came before it is in the ledger.\n\n" +
			"Examples:\n" +
			"  # A run for each line of the file\n" +
			"  ledgerd import --data-dir data transcripts.jsonl\n" +
			"  # A session of Claude Code: what it is, is seen from the content\n" +
			"  ledgerd import --data-dir data session.jsonl\n" +
			"  # From another program; what is there already is not written again\n" +
			"  cat traces.jsonl | ledgerd import --data-dir data --format otlp -",
		Flags: ledgerFlags(
			&cli.PathFlag{Name: "key", Usage: "`FILE` with the runtime's private key (default: the one in --data-dir)"},
			&cli.PathFlag{Name: "root-key", Usage: "`FILE` with the root's private key, which registers agents (default: the one in --data-dir)"},
			&cli.StringFlag{Name: "format", Usage: "what the file is: `chat|openai-responses|anthropic|claude-code|otlp` (default: seen from the content)"},
			&cli.StringFlag{Name: "actor", Usage: "`NAME` of the agent, where a transcript names none (default: claude-code, or agent); chat always names it"},
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
	format := importer.Format(c.String("format"))
	if format != "" && !slices.Contains(importer.Formats(), format) {
		return usage("--format: want one of %v, found %q", importer.Formats(), format)
	}
	transcripts, seen, err := importer.Open(in, importer.Options{Format: format, Actor: c.String("actor")})
	var unclear *importer.FormatError
	if errors.As(err, &unclear) {
		return cli.Exit(unclear.Error(), exitMalformed)
	}
	if err != nil {
		return err
	}
	if format == "" {
		fmt.Fprintf(c.App.ErrWriter, "format: %s, as the content has it\n", seen)
	}
	var sum tally
	err = im.ImportAll(c.Context, transcripts, func(o importer.Outcome) error {
		sum.add(o)
		return show(c, imported{o, seen}, fmt.Sprintf("%-24s %-13s %s  %d records", o.ID, o.Verdict, o.Run, o.Records))
	})
	fmt.Fprintln(c.App.ErrWriter, sum.String())
	if s, ok := transcripts.(interface{ Skipped() int }); ok && s.Skipped() > 0 {
		fmt.Fprintf(c.App.ErrWriter, "no run: %d spans of traces in which no span is an agent's\n", s.Skipped())
	}
	var bad *importer.LineError
	if errors.As(err, &bad) {
		return cli.Exit(fmt.Sprintf("%v\nthe lines before it are in the ledger; correct this one and import the file again", bad), exitMalformed)
	}
	return err
}

// imported is what became of one run, for programs.
type imported struct {
	importer.Outcome
	Format importer.Format `json:"format"`
}

// tally sums up an import.
type tally struct {
	runs, appended int
	results        []string
	count          map[string]int
	kept           map[string]int
}

func (s *tally) add(o importer.Outcome) {
	if s.count == nil {
		s.count, s.kept = make(map[string]int), make(map[string]int)
	}
	for kind, n := range o.Kept {
		if s.kept[kind] == 0 && len(s.kept) >= maxKinds {
			kind = "other"
		}
		s.kept[kind] += n
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
	if s.runs == 1 {
		text = "1 run"
	}
	if s.runs > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	text = fmt.Sprintf("%s; %d records appended", text, s.appended)
	if len(s.kept) > 0 {
		var kinds []string
		for _, kind := range slices.Sorted(maps.Keys(s.kept)) {
			kinds = append(kinds, fmt.Sprintf("%d %s", s.kept[kind], kind))
		}
		text += "\nkept as payloads, or there twice, and read by nothing here: " + strings.Join(kinds, ", ")
	}
	return text
}

// maxKinds bounds how many kinds are told apart at the end.
const maxKinds = 64

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
