package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"ledgerd/internal/page"
	"ledgerd/internal/report"
	"ledgerd/internal/wholefile"
)

func pageCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "page",
		Usage:     "write a page that verifies in a browser, without network",
		UsageText: "verify page -o DIR",
		Description: "DIR/index.html is one file, which is opened from the disk or served. Nothing that is given to it leaves it.\n" +
			"Compare its SHA-256 with what others get: the same source and Go make the same page.\n\n" +
			"Examples:\n" +
			"  # For an auditor who has a browser, and no command line\n" +
			"  verify page -o page",
		HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "`DIR` to which index.html is written, whole or not at all"},
		},
		Action:       func(c *cli.Context) error { return writeVerifier(c, std) },
		OnUsageError: badUsage,
	}
}

func writeVerifier(c *cli.Context, std stdio) error {
	if c.NArg() != 0 {
		return usagef("expected no argument, found %d: the page is given its files in the browser", c.NArg())
	}
	dir := c.String("out")
	if dir == "" {
		return usagef("expected -o DIR, to which index.html is written")
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return usageError{fmt.Errorf("--out: %w", err)}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return usageError{errors.Join(err, fmt.Errorf("--out: expected a directory, found the file %s", dir))}
	}
	p := page.Embedded()
	if p == nil {
		var err error
		ctx, stop := interruptible(c)
		defer stop()
		if p, err = page.Make(ctx); errors.Is(err, page.ErrNoSource) {
			return usagef("%w; build it with: go generate ./internal/page && go build -tags page ./cmd/verify, or run in the source: go run ./cmd/verify page -o DIR", err)
		} else if err != nil {
			return err
		}
	}
	name := filepath.Join(dir, "index.html")
	if err := wholefile.Write(name, p.HTML, true); err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			return usageError{fmt.Errorf("--out: %w", err)}
		}
		return err
	}
	// There is no secret in it, and a server has to read it.
	if err := os.Chmod(name, 0o644); err != nil {
		return err
	}
	for _, f := range []struct{ name, value string }{
		{"page", name},
		{"made from", p.From},
		{"size", fmt.Sprintf("%d bytes", len(p.HTML))},
		{"SHA-256", fmt.Sprintf("%x", sha256.Sum256(p.HTML))},
	} {
		if _, err := fmt.Fprintf(std.out, "%-12s%s\n", f.name, report.Visible(f.value)); err != nil {
			return err
		}
	}
	return nil
}
