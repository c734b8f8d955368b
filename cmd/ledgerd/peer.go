package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/internal/api"
	"ledgerd/internal/exchange"
)

func init() {
	register(&cli.Command{
		Name:  "peer",
		Usage: "say whose handoffs are taken, and where handoffs to them are sent",
		Description: "Examples:\n" +
			"  # Who are our peers?\n" +
			"  ledgerd peer list --data-dir data",
		Subcommands: []*cli.Command{
			{
				Name: "add", Usage: "add a peer, or replace the one of its origin",
				Description: "Examples:\n" +
					"  # Their trust file came by a way that we trust\n" +
					"  ledgerd peer add https://handoffs.example --trust analysis-trust.json \\\n" +
					"    --data-dir data",
				ArgsUsage: "URL",
				Flags: ledgerFlags(outputFlag(),
					&cli.PathFlag{Name: "trust", Usage: "`FILE` with its ledger, and those of whom it hands on, got by a way that you trust", Required: true},
					&cli.StringFlag{Name: "origin", Usage: "`ORIGIN` of its ledger, where the file names several"},
				),
				Action: addPeer,
			},
			{
				Name: "list", Usage: "list the peers",
				Description: "Examples:\n" +
					"  # Who are our peers?\n" +
					"  ledgerd peer list --data-dir data",
				Flags: ledgerFlags(outputFlag()), Action: listPeers,
			},
			{
				Name: "remove", Usage: "forget a peer: nothing of it is taken any more",
				Description: "Examples:\n" +
					"  # No handoffs of theirs any more\n" +
					"  ledgerd peer remove ledger.example/analysis --data-dir data",
				ArgsUsage: "ORIGIN", Flags: ledgerFlags(outputFlag()), Action: removePeer,
			},
		},
	})
}

// withPeers runs local on the file of peers in --data-dir where no daemon has it, and
// remote on the daemon otherwise.
func withPeers(c *cli.Context, local func(*exchange.Peers) error, remote func(*target) error) error {
	return with(func(_ *cli.Context, t *target) error {
		if t.remote != nil {
			return remote(t)
		}
		peers, err := t.local.Peers()
		if err != nil {
			return err
		}
		return local(peers)
	})(c)
}

func addPeer(c *cli.Context) error {
	if err := args(c, "URL"); err != nil {
		return err
	}
	trust, err := os.ReadFile(c.Path("trust"))
	if err != nil {
		return err
	}
	want := api.Peer{URL: c.Args().First(), Origin: c.String("origin"), Trust: trust}
	var added *api.Peer
	err = withPeers(c,
		func(p *exchange.Peers) (err error) { added, err = p.Add(want, time.Now()); return err },
		func(t *target) (err error) { added, err = t.remote.AddPeer(c.Context, want); return err })
	if err != nil {
		return err
	}
	return show(c, added, fmt.Sprintf("%s is a peer, at %s", added.Origin, added.URL))
}

func listPeers(c *cli.Context) error {
	if err := args(c); err != nil {
		return err
	}
	var all []api.Peer
	err := withPeers(c,
		func(p *exchange.Peers) error { all = p.List(); return nil },
		func(t *target) (err error) { all, err = t.remote.Peers(c.Context); return err })
	if err != nil {
		return err
	}
	for i := range all {
		if err := show(c, &all[i], fmt.Sprintf("%s  %s  since %s", all[i].Origin, all[i].URL, all[i].Added)); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		_, err = fmt.Fprintln(c.App.ErrWriter, "no peers")
	}
	return err
}

func removePeer(c *cli.Context) error {
	if err := args(c, "ORIGIN"); err != nil {
		return err
	}
	origin := c.Args().First()
	err := withPeers(c,
		func(p *exchange.Peers) error { return p.Remove(origin) },
		func(t *target) error { return t.remote.RemovePeer(c.Context, origin) })
	if err != nil {
		return err
	}
	return show(c, map[string]string{"removed": origin}, origin+" is no peer any more")
}

// peersOf returns the peers of the ledger that a command works on.
func (t *target) peersOf(c *cli.Context) ([]api.Peer, error) {
	if t.remote != nil {
		all, err := t.remote.Peers(c.Context)
		if p, ok := errors.AsType[*api.Problem](err); ok && p.Reason == api.ReasonNotConfigured {
			return nil, nil
		}
		return all, err
	}
	peers, err := t.local.Peers()
	if err != nil {
		return nil, err
	}
	return peers.List(), nil
}
