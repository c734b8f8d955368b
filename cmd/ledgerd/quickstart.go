package main

import (
	"context"
	"os"
	"os/exec"
	"strings"

	"github.com/urfave/cli/v2"

	"ledgerd/internal/quickstart"
)

func init() {
	register(&cli.Command{
		Name:  "quickstart",
		Usage: "see in a few seconds what a ledger is for",
		Description: "Makes a ledger, starts the daemon on a free port of this machine, has agents work through six complaints, checks\n" +
			"every claim offline, changes one record in a copy and has that checked too.\n\n" +
			"Examples:\n" +
			"  # Make a ledger, and look around in it afterwards\n" +
			"  ledgerd quickstart --data-dir demo\n" +
			"  ledgerd run list --data-dir demo",
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "data-dir", Usage: "make the ledger in `DIR`, which must be empty or not there (default: a temporary directory, which stays)"},
			&cli.BoolFlag{Name: "serve", Usage: "leave the daemon running"},
		},
		Action: func(c *cli.Context) error {
			if err := args(c); err != nil {
				return err
			}
			return quickstart.Run(c.Context, quickstart.Options{
				DataDir: c.Path("data-dir"), Serve: c.Bool("serve"), Out: os.Stdout, Environ: os.Environ(), Program: program(), Agent: agentProcess, Logger: quiet(),
			})
		},
	})
}

// agentCommand is the quickstart's own: what it runs as another process, to kill it.
const agentCommand = "quickstart-agent"

func init() {
	register(&cli.Command{
		Name: agentCommand, Usage: "work through one complaint of the quickstart", Hidden: true,
		Action: func(c *cli.Context) error {
			if err := args(c); err != nil {
				return err
			}
			return quickstart.Agent(c.Context, os.Stdin, os.Stdout, quiet())
		},
	})
}

// agentProcess is this program again, as an agent.
func agentProcess(ctx context.Context) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Args = []string{os.Args[0], agentCommand}
	return cmd, nil
}

// program says how the reader called this program, with %s for its name.
func program() string {
	if strings.Contains(os.Args[0], "go-build") {
		return "go run ./cmd/%s"
	}
	dir, ok := strings.CutSuffix(os.Args[0], "ledgerd")
	if _, err := os.Stat(dir + "verify"); ok && dir != "" && err == nil {
		return strings.ReplaceAll(dir, "%", "%%") + "%s"
	}
	return "%s"
}
