// Command ledgerd keeps an evidence ledger: it serves one, and works on one that
// a daemon serves or that lies in a directory.
//
// Results go to stdout, everything else to stderr. The exit code is 0; 1 where
// something failed; 64 for a wrong command line; 70 where the store cannot go on.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"ledgerd/internal/report"
)

const (
	exitFailed   = 1
	exitUsage    = 64 // EX_USAGE
	exitInternal = 70 // EX_SOFTWARE
)

// commands gathers what the other files register in their init functions.
var commands []*cli.Command

func register(c *cli.Command) { commands = append(commands, c) }

func main() { os.Exit(run(os.Args)) }

func run(args []string) int {
	// A second signal ends the process at once, as the system does it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	defer stop()
	app := newApp()
	if theManual.Asked(app, args, os.Stdout) {
		return 0
	}
	args, err := arrange(app, args, os.LookupEnv)
	if err == nil {
		err = errors.Join(app.RunContext(ctx, args), theManual.Unprinted())
	}
	if err == nil {
		return 0
	}
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		if err.Error() != "" {
			fmt.Fprintf(os.Stderr, "ledgerd: %s\n", visibleLines(err.Error()))
		}
		return coded.ExitCode()
	}
	fmt.Fprintf(os.Stderr, "ledgerd: %s\n", visibleLines(err.Error()))
	return exitFailed
}

func newApp() *cli.App {
	slices.SortFunc(commands, func(a, b *cli.Command) int { return strings.Compare(a.Name, b.Name) })
	app := &cli.App{
		Name:      "ledgerd",
		Usage:     "keep an evidence ledger",
		UsageText: "ledgerd COMMAND [options] [arguments]",
		Description: "Every setting is a flag, or else LEDGERD_<FLAG> in the environment (LEDGERD_DATA_DIR), or else LEDGERD_<FLAG>_FILE,\n" +
			"a file that holds the value, or else a member of the JSON object in --config. Where a flag may be given several times,\n" +
			"a variable has its values with commas between them, and the member is a list. Commands that read or write a ledger\n" +
			"work on a directory, or on the daemon that holds it.\n\n" +
			"Examples:\n" +
			"  # Make a ledger, and runs of transcripts\n" +
			"  ledgerd init --data-dir data --origin ledger.example/support\n" +
			"  ledgerd import --data-dir data transcripts.jsonl\n" +
			"  # What an auditor needs: whom to trust, once, and the evidence\n" +
			"  ledgerd trust --data-dir data > trust.json\n" +
			"  ledgerd export --data-dir data --all -o all.bundle",
		Version:         version(),
		Commands:        commands,
		HideHelpCommand: true,
		// A resource or the name of a file may have a comma in it.
		DisableSliceFlagSeparator: true,
		UseShortOptionHandling:    false,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "`FILE` of settings: a JSON object with names of flags as members"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return usage("there is no command %q: ledgerd --help lists those that there are", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return usage("%v", err) },
		CommandNotFound: func(*cli.Context, string) {},
		ExitErrHandler:  func(*cli.Context, error) {}, // run decides
	}
	theManual.Help(app)
	return app
}

// usage is an error of the command line.
func usage(format string, args ...any) error {
	return cli.Exit(fmt.Sprintf(format, args...), exitUsage)
}

// visibleLines makes every line of a message safe to show on a terminal.
func visibleLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = report.Visible(lines[i])
	}
	return strings.Join(lines, "\n")
}
