package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"ledgerd/internal/userdaemon"
)

func homeFlag() cli.Flag {
	return &cli.PathFlag{Name: "home", Usage: "this user's daemon lives in `DIR` (default: ~/.local/share/ledgerd)"}
}

func init() {
	register(&cli.Command{
		Name:  "daemon",
		Usage: "see, start and stop the daemon that programs of this user share",
		Description: "Programs that are told no --server start it when they need it, and it ends when nobody needed it for a while.\n\n" +
			"Examples:\n" +
			"  # Does it run, and where is its ledger?\n" +
			"  ledgerd daemon status",
		Subcommands: []*cli.Command{
			{
				Name: "start", Usage: "start it, if it does not run",
				Description: "Examples:\n" +
					"  # At its first start it makes a ledger, and policies to begin with\n" +
					"  ledgerd daemon start\n" +
					"  # Are the policies sound, once they were changed?\n" +
					"  ledgerd policy check ~/.local/share/ledgerd/policies",
				Flags: []cli.Flag{homeFlag(), outputFlag()}, Action: startDaemon,
			},
			{
				Name: "status", Usage: "say whether it runs, where, and for whom",
				Description: "Examples:\n" +
					"  # Does it run, and where is its ledger?\n" +
					"  ledgerd daemon status\n" +
					"  # For a program\n" +
					"  ledgerd daemon status --output json",
				Flags: []cli.Flag{homeFlag(), outputFlag()}, Action: daemonStatus,
			},
			{
				Name: "stop", Usage: "stop it; who needs it starts it again",
				Description: "Examples:\n" +
					"  # Before its program is replaced\n" +
					"  ledgerd daemon stop",
				Flags: []cli.Flag{homeFlag(), outputFlag()}, Action: stopDaemon,
			},
		},
	})
}

func startDaemon(c *cli.Context) error {
	if err := args(c); err != nil {
		return err
	}
	h, err := userdaemon.Find(c.Path("home"))
	if err != nil {
		return err
	}
	if err := h.Start(c.Context, ""); err != nil {
		return err
	}
	return showDaemon(c, h)
}

func daemonStatus(c *cli.Context) error {
	if err := args(c); err != nil {
		return err
	}
	h, err := userdaemon.Find(c.Path("home"))
	if err != nil {
		return err
	}
	return showDaemon(c, h)
}

func showDaemon(c *cli.Context, h *userdaemon.Home) error {
	s, err := h.Status(c.Context)
	if err != nil {
		return err
	}
	state := "not running"
	if s.Running {
		state = fmt.Sprintf("running, process %d, ledgerd %s", s.PID, s.Version)
	}
	lines := []string{"daemon   " + state, "socket   " + s.Socket}
	ledger := s.DataDir + ", not made yet"
	if s.Origin != "" {
		ledger = s.DataDir + ", " + s.Origin
	}
	if s.Running {
		ledger += fmt.Sprintf(", %d records", s.Records)
	}
	lines = append(lines, "ledger   "+ledger, fmt.Sprintf("log      %s, %d bytes", s.Log, s.LogSize))
	agents := "none yet"
	if len(s.Agents) > 0 {
		agents = strings.Join(s.Agents, ", ")
	}
	return show(c, s, strings.Join(append(lines, "agents   "+agents), "\n"))
}

func stopDaemon(c *cli.Context) error {
	if err := args(c); err != nil {
		return err
	}
	h, err := userdaemon.Find(c.Path("home"))
	if err != nil {
		return err
	}
	stopped, err := h.Stop(c.Context)
	if err != nil {
		return err
	}
	text := "stopped"
	if !stopped {
		text = "it does not run"
	}
	return show(c, map[string]bool{"stopped": stopped}, text)
}
