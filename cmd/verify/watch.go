package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/internal/inspect"
	"ledgerd/internal/report"
)

// freshRule is the name under which reports say that a log was not reached or
// extended for too long.
const freshRule = "fresh"

const (
	// maxWait is the longest wait between two looks at a log that cannot be read,
	// unless the interval is longer.
	maxWait = 10 * time.Minute
	// execTimeout is how long the command of --exec may take.
	execTimeout = time.Minute
)

func watchCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "watch",
		Usage:     "follow a log, and stop at the first thing that it must not do",
		ArgsUsage: "URL|DIR",
		UsageText: "verify watch --trust FILE [--state FILE] [--interval DURATION] [--stale DURATION] [--exec COMMAND] [--once] URL|DIR",
		Description: "Every tree head has to extend the one before, and what is new is audited once. It ends at the first violation, with\n" +
			"1; a log that cannot be read is none. With --state it goes on where it was.\n\n" +
			"Examples:\n" +
			"  # Look once a minute, until it is interrupted\n" +
			"  verify watch --trust trust.json --state seen.json \\\n" +
			"    https://ledger.example/support\n" +
			"  # Call somebody at a violation, or if the log stands still for a day\n" +
			"  verify watch --trust trust.json --state seen.json --stale 24h \\\n" +
			"    --exec ./page-me https://ledger.example/support\n" +
			"  # Look once, from cron\n" +
			"  verify watch --trust trust.json --state seen.json --once --output json \\\n" +
			"    https://ledger.example/support",
		HideHelpCommand: true,
		Flags:           append(commonFlags(), watchFlags()...),
		Action:          func(c *cli.Context) error { return watch(c, std) },
		OnUsageError:    badUsage,
	}
}

func watchFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "state", Usage: "`FILE` that keeps what was seen, so that a restart goes on from it"},
		&cli.DurationFlag{Name: "interval", Value: time.Minute, Usage: "`DURATION` between two looks at the log"},
		&cli.DurationFlag{Name: "stale", Usage: "a log that was not reached and extended for this `DURATION` is a finding (default: never)"},
		&cli.StringFlag{Name: "exec", Usage: "`COMMAND` that is run once there is a finding, without a shell, with the report as JSON on its standard input"},
		&cli.BoolFlag{Name: "once", Usage: "look once, and end"},
		tokenFlag(),
	}
}

// A watcher is one verify watch.
type watcher struct {
	name     string
	std      stdio
	printer  *printer
	trust    *bundle.Trust
	source   audit.Source
	follower *audit.Follower
	state    string // file; "": none is kept
	command  string // path; "": none is run
	interval time.Duration
	stale    time.Duration // 0: never
	once     bool
	extended time.Time // when the log was last seen to be longer
	last     *report.Report
	bar      *progress
}

func watch(c *cli.Context, std stdio) error {
	if c.NArg() != 1 {
		return usagef("expected one URL or DIR of a log, found %d", c.NArg())
	}
	if err := filled(c, "state", "exec"); err != nil {
		return err
	}
	w := &watcher{
		name: c.Args().First(), std: std, state: c.String("state"), interval: c.Duration("interval"), stale: c.Duration("stale"), once: c.Bool("once"),
		extended: time.Now(), bar: newProgress(std),
	}
	if w.interval <= 0 || w.stale < 0 {
		return usagef("expected an --interval above 0 and a --stale that is not below it")
	}
	var err error
	if w.command = c.String("exec"); w.command != "" {
		if w.command, err = exec.LookPath(w.command); err != nil {
			return usageError{fmt.Errorf("--exec: %w", err)}
		}
	}
	if w.printer, err = newPrinter(c, std); err != nil {
		return err
	}
	if w.trust, err = readTrust(c); err != nil {
		return err
	}
	source, err := openLog(c, w.name)
	if err != nil {
		return err
	}
	defer source.Close()
	w.source = source
	prior, extended, err := readState(w.state, w.trust)
	if err != nil {
		return err
	}
	if prior != nil {
		if !prior.Resumable() {
			return inputError{fmt.Errorf("%s: expected a state that can be gone on from, found a tree head alone, as verify log leaves where too many runs are open: watch with a state of its own", w.state)}
		}
		w.extended = extended
	}
	if w.follower, err = audit.Follow(source, w.trust, prior, audit.Options{Progress: w.bar.show}); err != nil {
		return inputError{fmt.Errorf("%s: %w", w.state, err)}
	}
	ctx, stop := interruptible(c)
	defer stop()
	return w.run(ctx)
}

// run looks at the log until there is a finding, or the user has seen enough.
func (w *watcher) run(ctx context.Context) error {
	failed := 0
	for {
		step, err := w.follower.Next(ctx)
		w.bar.end()
		if ctx.Err() != nil {
			return w.interrupted()
		}
		found, unread, before := false, err, w.extended
		var source *audit.SourceError
		switch {
		case err == nil:
			failed = 0
			if found, err = w.take(ctx, step); err != nil {
				return err
			}
		case inspect.IsForm(err) || errors.As(err, &source): // no word of the log's at all
			failed++
			fmt.Fprintf(w.std.err, "verify: %s: %s\n", report.Visible(w.name), report.Visible(err.Error()))
		default:
			return err
		}
		if !found && w.stale > 0 && w.extended.Equal(before) && time.Since(before) > w.stale {
			found, w.last = true, w.isStale(unread)
		}
		switch {
		case found:
			w.call(ctx, w.last)
			return w.end()
		case w.once && unread != nil:
			return logError(ctx, w.name, unread, w.printer)
		case w.once:
			return w.end()
		}
		select {
		case <-ctx.Done():
			return w.interrupted()
		case <-time.After(pause(w.interval, failed)):
		}
	}
}

// take judges what one look at the log found, and says whether that is the end.
func (w *watcher) take(ctx context.Context, step *audit.Step) (found bool, err error) {
	if step.Waits != nil {
		fmt.Fprintf(w.std.err, "verify: %s: %s\n", report.Visible(w.name), report.Visible(step.Waits.Error()))
		h := inspect.OpenSigned("the newest tree head", step.Head, w.trust)
		w.last = &report.Report{Version: report.Version, Input: w.name, Form: "log", Rules: []report.Rule{inspect.HeadsRule(h)}, Summary: "log of " + h.Ledger.Origin() + ": " + step.Waits.Error()}
		inspect.Describe(w.last, h)
		inspect.Settle(w.last)
		return false, nil
	}
	w.last = inspect.Convert(w.name, "log", step.Report)
	if w.last.Outcome == report.Verified {
		w.last.Summary = fmt.Sprintf("log of %s, size %d", w.last.Origin, w.last.Scope.Size)
	}
	switch {
	case w.last.Outcome == report.Wrong:
		unkept(w.std, w.name, w.prove(ctx, step))
		return true, nil
	case step.Stranger:
		return true, nil
	case !step.Grown:
		return false, nil
	}
	w.extended = time.Now()
	st := w.follower.State()
	if w.state != "" {
		// A crash before this reads again what was read since the state before.
		if err := writeState(w.state, st, w.extended); err != nil {
			return false, err
		}
	}
	if w.once {
		return false, nil
	}
	return false, w.line(w.last)
}

// prove adds to the report what shows it to others: a log whose entries do not give
// the root that it signs contradicts the tree head that was seen, if its tiles say so.
func (w *watcher) prove(ctx context.Context, step *audit.Step) error {
	r, st := w.last, w.follower.State()
	pairs := step.Report.Equivocation
	if st != nil && len(pairs) == 0 {
		x := inspect.ByNotes(inspect.OpenSigned("state", st.Head, w.trust), inspect.OpenSigned(w.name, step.Head, w.trust))
		if x.Status != report.NotDecided || x.Old.Head == nil || x.Later.Head == nil {
			return nil
		}
		if err := byTiles(ctx, x, w.source); err != nil {
			return err
		}
		if x.Contradiction == nil {
			return nil
		}
		inspect.Contradict(r, st.Head, step.Head, x.Rule().Findings[0])
		pairs = [][2][]byte{{st.Head, step.Head}}
	}
	if w.state == "" || len(pairs) == 0 {
		return nil
	}
	return keepHeads(ctx, r, w.source, w.trust, w.state, pairs)
}

// isStale reports that the log was not extended for too long.
func (w *watcher) isStale(unread error) *report.Report {
	f := report.Finding{
		Status: report.NotDecided, Reason: "stale", Expected: "a log that was extended within " + w.stale.String(),
		Found: "none longer since " + w.extended.UTC().Format(time.RFC3339), Decides: "whoever keeps the log, or somebody else who reads it",
	}
	if unread != nil {
		f.Found += "; " + unread.Error()
	}
	r := &report.Report{Version: report.Version, Input: w.name, Form: "log", Outcome: report.Undecidable, Rules: []report.Rule{{Rule: freshRule, Status: report.NotDecided, Findings: []report.Finding{f}}}}
	if st := w.follower.State(); st != nil {
		r.Origin, r.Scope = st.Origin, &report.Scope{Size: st.Size, Root: st.Root.String(), Heads: 1}
	}
	r.Summary = "log that was not extended for " + w.stale.String()
	return r
}

// call runs the command of --exec. What it prints goes where diagnostics go; that it
// fails changes no answer.
func (w *watcher) call(ctx context.Context, r *report.Report) {
	if w.command == "" {
		return
	}
	var in bytes.Buffer
	if err := report.JSON(&in, r); err != nil {
		fmt.Fprintf(w.std.err, "verify: --exec: %s\n", report.Visible(err.Error()))
		return
	}
	// Whoever ends verify now still wants the finding to arrive.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), execTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, w.std.err, w.std.err
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		fmt.Fprintf(w.std.err, "verify: --exec: %s: %s\n", report.Visible(w.command), report.Visible(err.Error()))
	}
}

// line says that the log was extended, and nothing wrong with it: of text one line.
// Documents for all reports hold only the last one, or they would grow for ever.
func (w *watcher) line(r *report.Report) error {
	switch w.printer.form {
	case "text":
		text := w.printer.text
		text.Quiet = true
		return text.Write(r)
	case "json":
		return report.JSON(w.std.out, r)
	}
	return nil
}

// end prints the last report, which is the answer.
func (w *watcher) end() error {
	if err := w.printer.add(w.last); err != nil {
		return err
	}
	return w.printer.done()
}

// interrupted: what was looked at stays looked at. The lines are printed already.
func (w *watcher) interrupted() error {
	if w.last == nil || w.follower.State() == nil {
		return missingError{fmt.Errorf("%s: interrupted before anything was decided", w.name)}
	}
	if w.printer.form == "sarif" || w.printer.form == "junit" {
		return w.end()
	}
	return answered(w.last.Outcome)
}

// pause is how long to wait after so many looks in a row that failed: with jitter,
// so that not everybody comes at once.
func pause(interval time.Duration, failed int) time.Duration {
	wait := interval
	for range failed {
		if wait >= maxWait {
			break
		}
		wait = min(2*wait, maxWait)
	}
	return wait - wait/8 + rand.N(wait/4+1)
}
