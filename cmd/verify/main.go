// Verify checks offline what a ledger hands out: receipts, bundles, tree heads
// and whole logs. It trusts its trust file and nobody else. docs/verify.md
// describes it.
//
//	verify --trust trust.json FILE...
//	verify log --trust trust.json URL|DIR
//	verify report --trust trust.json FILE
//	verify explain --trust trust.json FILE EV
//	verify watch --trust trust.json URL|DIR
//	verify consistency --trust trust.json OLD NEW
//	verify equivocation --trust trust.json A B
//	verify trust show --trust trust.json
//	verify page -o DIR
//	verify completion bash|zsh|fish
//	verify man
//
// The exit code is the answer: 0 verified, 1 proven wrong, 2 not decidable, 64
// usage, 65 malformed input, 70 internal error.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"ledgerd/internal/report"
)

// The exit codes (design section 10).
const (
	exitVerified    = 0
	exitWrong       = 1
	exitUndecidable = 2
	exitUsage       = 64 // EX_USAGE of sysexits.h
	exitMalformed   = 65 // EX_DATAERR
	exitInternal    = 70 // EX_SOFTWARE
)

func main() {
	os.Exit(run(os.Args, stdio{os.Stdin, os.Stdout, os.Stderr}))
}

// stdio is what a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err *os.File
}

// usageError is what the user can put right on the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// inputError is malformed input that has no report, such as a trust file.
type inputError struct{ error }

// missingError says that evidence could not be had: nothing is decided.
type missingError struct{ error }

// answered carries the outcome of what was audited to the exit code.
type answered report.Outcome

func (a answered) Error() string { return string(a) }

func run(argv []string, std stdio) (code int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(std.err, "verify: internal error: %s: please report it with the input\n", report.Visible(fmt.Sprint(p)))
			code = exitInternal
		}
	}()
	app := newApp(std)
	if theManual.Asked(app, argv, std.out) {
		return exitVerified
	}
	err := app.RunContext(context.Background(), arrange(argv))
	return exitCode(errors.Join(err, theManual.Unprinted()), std.err)
}

// interruptible is for what says, when it is interrupted, what it found until then. All
// else is ended by the first signal.
func interruptible(c *cli.Context) (ctx context.Context, stop context.CancelFunc) {
	return signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
}

func exitCode(err error, diagnostics io.Writer) int {
	if err == nil {
		return exitVerified
	}
	var (
		answer  answered
		usage   usageError
		input   inputError
		missing missingError
	)
	if errors.As(err, &answer) {
		switch report.Outcome(answer) {
		case report.Verified:
			return exitVerified
		case report.Wrong:
			return exitWrong
		case report.Undecidable:
			return exitUndecidable
		}
		return exitMalformed
	}
	fmt.Fprintf(diagnostics, "verify: %s\n", report.Visible(err.Error()))
	switch {
	case errors.As(err, &usage):
		fmt.Fprintln(diagnostics, "Try: verify --help")
		return exitUsage
	case errors.As(err, &input):
		return exitMalformed
	case errors.As(err, &missing):
		return exitUndecidable
	}
	return exitInternal
}

func newApp(std stdio) *cli.App {
	app := &cli.App{
		Name:      "verify",
		Usage:     "check receipts, bundles and logs of a ledger, trusting nobody but the trust file",
		UsageText: "verify --trust FILE [options] FILE...\nverify log --trust FILE [options] URL|DIR\nverify COMMAND --help",
		ArgsUsage: "FILE...",
		Description: "A FILE is a receipt, a bundle, a tree head or a proof of equivocation, which is seen from its content; - is\n" +
			"standard input.\n\n" +
			"Examples:\n" +
			"  # Does the bundle prove that the work was done?\n" +
			"  verify --trust trust.json done.bundle\n" +
			"  # An agent claims what there is no evidence of: exit code 1\n" +
			"  verify --trust trust.json lied.bundle\n" +
			"  # In CI: it has to be about this ticket, and to meet this contract\n" +
			"  verify --trust trust.json --subject ticket-1 --contract contract.json \\\n" +
			"    --output junit done.bundle > verify.xml",
		Reader: std.in, Writer: std.out, ErrWriter: std.err,
		HideHelpCommand:           true,
		HideVersion:               true,
		DisableSliceFlagSeparator: true, // a file may have a comma in its name
		Flags:                     append(commonFlags(), fileFlags()...),
		Action:                    func(c *cli.Context) error { return verifyFiles(c, std) },
		OnUsageError:              badUsage,
		ExitErrHandler:            func(*cli.Context, error) {},
		Commands:                  commands(std),
	}
	theManual.Help(app)
	return app
}

// commands are those that stand beside the audit of files.
func commands(std stdio) []*cli.Command {
	return append([]*cli.Command{
		logCommand(std),
		consistencyCommand(std),
		equivocationCommand(std),
		trustCommand(std),
		watchCommand(std),
		reportCommand(std),
		explainCommand(std),
		pageCommand(std),
	}, theManual.Commands("verify")...)
}

func badUsage(_ *cli.Context, err error, _ bool) error { return usageError{err} }

func trustFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "trust", Usage: "trust `FILE`: the ledgers, keys and witnesses that are trusted; several are trusted together", EnvVars: []string{"LEDGERD_TRUST"}}
}

func commonFlags() []cli.Flag {
	return []cli.Flag{
		trustFlag(),
		&cli.StringFlag{Name: "output", Value: "text", Usage: "form of the report: `text|json|sarif|junit`", EnvVars: []string{"LEDGERD_OUTPUT"}},
		quietFlag(),
	}
}

// answerFlag is the form of what judges nothing.
func answerFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Value: "text", Usage: "form of the answer: `text|json`", EnvVars: []string{"LEDGERD_OUTPUT"}}
}

func quietFlag() cli.Flag {
	return &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print the answer only"}
}

func fileFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "run", Usage: "what is verified has to be about the run `RUN`"},
		&cli.StringFlag{Name: "subject", Usage: "its run has to be about `SUBJECT`, such as a ticket or a commit"},
		&cli.StringFlag{Name: "contract", Usage: "its run has to have, and meet, the contract in `FILE`"},
	}
}

func logFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "state", Usage: "`FILE` that keeps what was seen, so that the next time reads what is new, which has to extend it"},
		&cli.BoolFlag{Name: "whole", Usage: "read everything again, in spite of a state, and hold it to the tree head in that"},
		&cli.StringFlag{Name: "skip", Usage: "`RULE` to leave out: signature, which leaves the hashes, and nothing decided but inclusion and consistency"},
		tokenFlag(),
	}
}

func tokenFlag() cli.Flag {
	return &cli.StringFlag{Name: "token-file", Usage: "`FILE` with the token for a log that is not public (or LEDGERD_TOKEN)", EnvVars: []string{"LEDGERD_TOKEN_FILE"}}
}
