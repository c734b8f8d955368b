package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"

	"github.com/urfave/cli/v2"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/exchange"
)

// inboxCommands are those of handoff that work on a daemon's inbox and outbox.
func inboxCommands() []*cli.Command {
	return []*cli.Command{
		{
			Name: "inbox", Usage: "list the offers that wait here",
			Description: "Examples:\n" +
				"  # What do others offer us?\n" +
				"  ledgerd handoff inbox --data-dir data",
			Flags: ledgerFlags(outputFlag()), Action: with(listInbox),
		},
		{
			Name: "receive", Usage: "put an offer, or an acceptance, that was carried by hand where a peer would have sent it",
			Description: "Examples:\n" +
				"  # Came by mail: into the inbox, as if a peer had sent it\n" +
				"  ledgerd handoff receive offer.bundle --data-dir data",
			ArgsUsage: "FILE",
			Flags:     ledgerFlags(outputFlag()), Action: with(receiveFile),
		},
		{
			Name: "send", Usage: "have the daemon send an offer or an acceptance of this ledger now; or send a file to a peer yourself",
			Description: "Examples:\n" +
				"  # Now, and not when it is tried again by itself\n" +
				"  ledgerd handoff send \"$OFFER\" --data-dir data\n" +
				"  # A file\n" +
				"  ledgerd handoff send offer.bundle --peer ledger.example/analysis \\\n" +
				"    --data-dir data",
			ArgsUsage: "EV|FILE",
			Flags:     ledgerFlags(outputFlag(), &cli.StringFlag{Name: "peer", Usage: "`ORIGIN` of the peer that FILE is sent to"}),
			Action:    with(sendHandoff),
		},
	}
}

// exchange returns the exchange of the ledger in --data-dir, which sends nothing: a
// daemon does.
func (t *target) exchange(c *cli.Context) (*exchange.Exchange, error) {
	x, err := openExchange(c, t.local, quiet())
	if err == nil && x == nil {
		err = errors.New("nothing is handed over here: it is a restored copy, or the key of the runtime is kept elsewhere")
	}
	return x, err
}

func listInbox(c *cli.Context, t *target) error {
	if err := args(c); err != nil {
		return err
	}
	waiting, err := t.waiting(c)
	if err != nil {
		return err
	}
	for i := range waiting {
		w := &waiting[i]
		line := fmt.Sprintf("%s  from %s of %s  to %s: %s  until %s", w.Offer, w.Giver, w.Origin, w.To.Actor, w.Task, w.Expires)
		if err := show(c, w, line); err != nil {
			return err
		}
	}
	if len(waiting) == 0 {
		_, err = fmt.Fprintln(c.App.ErrWriter, "nothing waits")
	}
	return err
}

func (t *target) waiting(c *cli.Context) ([]api.Waiting, error) {
	if t.remote != nil {
		all, err := t.remote.Handoffs(c.Context, nil)
		return all.Waiting, err
	}
	x, err := t.exchange(c)
	if err != nil {
		return nil, err
	}
	all, err := x.Waiting(c.Context)
	return all, errors.Join(err, x.Close())
}

// offerBundle returns the bundle about an offer that waits.
func (t *target) offerBundle(c *cli.Context, offer evidence.ID) ([]byte, error) {
	if t.remote != nil {
		return t.remote.HandoffBundle(c.Context, offer)
	}
	x, err := t.exchange(c)
	if err != nil {
		return nil, err
	}
	b, err := x.Bundle(c.Context, offer)
	return b, errors.Join(err, x.Close())
}

// trustOfPeers is what this ledger and its peers' trust files name together.
func (t *target) trustOfPeers(c *cli.Context) (*bundle.Trust, error) {
	peers, err := t.peersOf(c)
	if err != nil {
		return nil, err
	}
	if len(peers) == 0 {
		return nil, usage("want --trust FILE: there is no peer whose trust file would do")
	}
	var own *bundle.Trust
	if t.remote != nil {
		own, err = t.remote.Trust(c.Context)
	} else {
		own, err = t.local.Trust()
	}
	if err != nil {
		return nil, err
	}
	return exchange.TrustOf(own, peers)
}

func receiveFile(c *cli.Context, t *target) error {
	if err := args(c, "FILE"); err != nil {
		return err
	}
	b, err := readBundle(c.Args().First())
	if err != nil {
		return err
	}
	var got *api.Received
	if t.remote != nil {
		// Where the daemon's peers send it.
		d, err := dataDir(c)
		if err != nil {
			return err
		}
		a, err := d.Daemon()
		if err != nil {
			return err
		}
		if a.Handoffs == "" {
			return errors.New("the daemon has no inbox: start it with --handoffs, or accept the file itself")
		}
		got, err = exchange.NewSender(nil).Send(c.Context, a.Handoffs, b)
		if err != nil {
			return err
		}
	} else {
		x, err := t.exchange(c)
		if err != nil {
			return err
		}
		got, err = x.Receive(c.Context, netip.Addr{}, bytes.NewReader(b))
		if err := errors.Join(err, x.Close()); err != nil {
			return err
		}
	}
	return showReceived(c, got)
}

func showReceived(c *cli.Context, got *api.Received) error {
	text := fmt.Sprintf("%s waits for its agent, or was answered", got.Offer)
	if got.Recorded != nil {
		text = fmt.Sprintf("recorded, as %s says, that %s was accepted", got.Recorded, got.Offer)
	}
	return show(c, got, text)
}

func sendHandoff(c *cli.Context, t *target) error {
	if err := args(c, "EV|FILE"); err != nil {
		return err
	}
	what, to := c.Args().First(), c.String("peer")
	if to == "" {
		id, err := evidence.ParseID(what)
		if err != nil {
			return usage("want --peer ORIGIN to send a file, or the evidence ID of an offer or acceptance: %v", err)
		}
		if t.remote == nil {
			return errors.New("no daemon is running: what has to go out is sent when one does")
		}
		if err := t.remote.SendHandoff(c.Context, id); err != nil {
			return err
		}
		return show(c, map[string]any{"sending": id}, fmt.Sprintf("%s is being sent: ledgerd handoff list says how far it came", id))
	}
	peers, err := t.peersOf(c)
	if err != nil {
		return err
	}
	for i := range peers {
		if peers[i].Origin != to {
			continue
		}
		b, err := readBundle(what)
		if err != nil {
			return err
		}
		got, err := exchange.NewSender(nil).Send(c.Context, peers[i].URL, b)
		if err != nil {
			return err
		}
		return show(c, got, fmt.Sprintf("%s has %s", to, got.Offer))
	}
	return fmt.Errorf("%s: %w: ledgerd peer add", to, exchange.ErrNoPeer)
}

// deliveries returns how far what goes out has come, by its record; nothing where no
// daemon sends.
func (t *target) deliveries(c *cli.Context) (map[evidence.ID]*api.Delivery, error) {
	all := make(map[evidence.ID]*api.Delivery)
	if t.remote == nil {
		return all, nil
	}
	for after := (*uint64)(nil); ; {
		page, err := t.remote.Handoffs(c.Context, after)
		if p, ok := errors.AsType[*api.Problem](err); ok && p.Reason == api.ReasonNotConfigured {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		for i := range page.Handoffs {
			if d := page.Handoffs[i].Delivery; d != nil {
				all[page.Handoffs[i].ID] = d
			}
		}
		if after = page.Next; after == nil {
			return all, nil
		}
	}
}
