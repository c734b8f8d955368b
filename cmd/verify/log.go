package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/internal/inspect"
	"ledgerd/internal/logsource"
	"ledgerd/internal/report"
)

func logCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "log",
		Usage:     "audit a whole log, over HTTP or from a static tlog-tiles tree",
		ArgsUsage: "URL|DIR",
		UsageText: "verify log --trust FILE [options] URL|DIR",
		Description: "Every record is read, and every rule held against the whole log; with --state, what is new since the last time. " +
			"DIR is a static tree, as ledgerd export --log writes it.\n" +
			"\n" +
			"Examples:\n" +
			"  # Audit a log; the next time, what is new, which has to extend this\n" +
			"  verify log --trust trust.json --state log.state https://ledger.example/support\n" +
			"  # A copy of it on this machine\n" +
			"  verify log --trust trust.json tiles",
		HideHelpCommand: true,
		Flags:           append(commonFlags(), logFlags()...),
		Action:          func(c *cli.Context) error { return verifyLog(c, std) },
		OnUsageError:    badUsage,
	}
}

func verifyLog(c *cli.Context, std stdio) error {
	if c.NArg() != 1 {
		return usagef("expected one URL or DIR of a log, found %d", c.NArg())
	}
	if err := filled(c, "state"); err != nil {
		return err
	}
	p, err := newPrinter(c, std)
	if err != nil {
		return err
	}
	trust, err := readTrust(c)
	if err != nil {
		return err
	}
	name := c.Args().First()
	source, err := openLog(c, name)
	if err != nil {
		return err
	}
	defer source.Close()
	statePath := c.String("state")
	prior, extended, err := readState(statePath, trust)
	if err != nil {
		return err
	}
	hashesOnly, err := readSkip(c.String("skip"))
	if err != nil {
		return err
	}
	ctx, stop := interruptible(c)
	defer stop()
	bar := newProgress(std)
	if prior != nil && prior.Resumable() && !hashesOnly && !c.Bool("whole") {
		w := &watcher{name: name, std: std, printer: p, trust: trust, source: source, state: statePath, extended: extended, bar: bar, once: true}
		if w.follower, err = audit.Follow(source, trust, prior, audit.Options{Progress: bar.show}); err != nil {
			return inputError{fmt.Errorf("%s: %w", statePath, err)}
		}
		return w.run(ctx)
	}
	a, next, err := audit.VerifyLog(ctx, source, trust, audit.Options{State: prior, KeepState: statePath != "", HashesOnly: hashesOnly, Progress: bar.show})
	bar.end()
	if err != nil {
		return logError(ctx, name, err, p)
	}
	r := inspect.Convert(name, "log", a)
	if statePath != "" && len(a.Equivocation) > 0 {
		unkept(std, name, keepHeads(ctx, r, source, trust, statePath, a.Equivocation))
	}
	// What was not verified is no basis for the next time: the state before stays.
	if statePath != "" && next != nil {
		if extended.IsZero() || next.Size > prior.Size {
			extended = time.Now()
		}
		if err := writeState(statePath, next, extended); err != nil {
			return err
		}
	}
	if err := p.add(r); err != nil {
		return err
	}
	return p.done()
}

func logError(ctx context.Context, name string, err error, p *printer) error {
	var form *bundle.FormatError
	switch {
	case ctx.Err() != nil:
		return missingError{fmt.Errorf("%s: interrupted before the end: nothing is decided", name)}
	case errors.As(err, &form):
		r, err := inspect.Malformed(name, "log", err)
		if err != nil {
			return err
		}
		if err := p.add(r); err != nil {
			return err
		}
		return p.done()
	}
	var source *audit.SourceError
	if errors.As(err, &source) {
		return missingError{fmt.Errorf("%s: the log could not be read, so nothing is decided: %w", name, err)}
	}
	return err
}

// readSkip says whether the flag --skip asks for hashes alone.
func readSkip(what string) (hashesOnly bool, err error) {
	switch what {
	case "":
		return false, nil
	case "signature":
		return true, nil
	}
	return false, usagef("expected --skip signature, found --skip %s", report.Visible(what))
}

func openLog(c *cli.Context, name string) (*logsource.Source, error) {
	if !logsource.IsURL(name) {
		s, err := logsource.Dir(name)
		if err != nil {
			return nil, usageError{err}
		}
		return s, nil
	}
	token, err := readToken(c.String("token-file"))
	if err != nil {
		return nil, err
	}
	s, err := logsource.HTTP(name, logsource.Options{Token: token})
	if err != nil {
		return nil, usageError{err}
	}
	return s, nil
}

// readToken prefers the file that the user named to the environment.
func readToken(file string) (string, error) {
	if file == "" {
		return os.Getenv("LEDGERD_TOKEN"), nil
	}
	b, err := readSmall(file, 4096)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(bytes.TrimSpace(b)))
	if token == "" {
		return "", usagef("%s: expected a token, found nothing", file)
	}
	return token, nil
}

// progress shows a bar on a terminal, and nothing elsewhere.
type progress struct {
	std  stdio
	bar  *progressbar.ProgressBar // nil: no terminal, or nothing to show yet
	last time.Time
}

func newProgress(std stdio) *progress { return &progress{std: std} }

func (p *progress) show(done, size uint64) {
	if time.Since(p.last) < 100*time.Millisecond && done < size {
		return
	}
	p.last = time.Now()
	if p.bar == nil {
		if !term.IsTerminal(int(p.std.err.Fd())) {
			return
		}
		p.bar = progressbar.NewOptions64(int64(size), progressbar.OptionSetWriter(p.std.err), progressbar.OptionSetDescription("records"),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true),
			progressbar.OptionUseANSICodes(os.Getenv("TERM") != "dumb"))
	}
	_ = p.bar.Set64(int64(done)) // a bar that cannot be drawn changes no answer
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
