package main

import (
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"ledgerd/internal/quickstart"
)

func init() {
	register(&cli.Command{
		Name:  "quickstart",
		Usage: "see in a few seconds what a ledger is for",
		Description: "Makes a ledger, starts the daemon on a free port of this machine, imports five runs of a support team, checks every\n" +
			"claim offline, changes one record in a copy and has that checked too.",
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "data-dir", Usage: "make the ledger in `DIR`, which must be empty or not there (default: a temporary directory, which stays)"},
			&cli.BoolFlag{Name: "serve", Usage: "leave the daemon running"},
		},
		Action: func(c *cli.Context) error {
			if err := args(c); err != nil {
				return err
			}
			return quickstart.Run(c.Context, quickstart.Options{
				DataDir: c.Path("data-dir"), Serve: c.Bool("serve"), Out: os.Stdout, Environ: os.Environ(), Program: program(), Logger: quiet(),
			})
		},
	})
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
