package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/internal/datadir"
	"ledgerd/internal/exchange"
	"ledgerd/internal/server"
)

// inboxFlags are those of serve that open the daemon to peers.
func inboxFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "handoffs", Usage: "`ADDRESS` host:port of a listener for peers, which takes handoffs and serves nothing else (default: none)"},
		&cli.StringSliceFlag{Name: "handoffs-host", Usage: "further `NAME` that this listener is called by"},
		&cli.PathFlag{Name: "handoffs-cert", Usage: "its certificate chain in `FILE` (PEM): needed beyond loopback"},
		&cli.PathFlag{Name: "handoffs-key", Usage: "the private key in `FILE` (PEM)"},
		&cli.Int64Flag{Name: "handoffs-waiting", Usage: "at most so `MANY` offers of one peer wait (default: 1,000)"},
		&cli.Int64Flag{Name: "handoffs-bytes", Usage: "at most so many `BYTES` of one peer's bundles a day (default: 1 GiB)"},
		&cli.Int64Flag{Name: "handoffs-failures", Usage: "at most so `MANY` requests an hour of one address that do not verify (default: 60)"},
	}
}

// openExchange makes what goes between this ledger and its peers'; nil where this
// directory drives no runs.
func openExchange(c *cli.Context, l *datadir.Ledger, log *slog.Logger) (*exchange.Exchange, error) {
	if l.Dir.Copy {
		return nil, nil
	}
	key, err := l.Dir.Key(l.Dir.Runtime)
	if errors.Is(err, datadir.ErrNoKey) {
		return nil, nil // agents says so
	}
	if err != nil {
		return nil, err
	}
	peers, err := l.Peers()
	if err != nil {
		return nil, err
	}
	for _, flag := range []string{"handoffs-waiting", "handoffs-bytes", "handoffs-failures"} {
		if c.Int64(flag) < 0 {
			return nil, usage("--%s: want a number above 0, found %d", flag, c.Int64(flag))
		}
	}
	return exchange.New(c.Context, exchange.Config{
		Ledger: l.Ledger, Peers: peers, Dir: l.Dir.HandoffsPath(), Key: key, Logger: log,
		Quotas: exchange.Quotas{Waiting: int(c.Int64("handoffs-waiting")), Bytes: c.Int64("handoffs-bytes"), Failures: int(c.Int64("handoffs-failures"))},
	})
}

// inbox is the listener for peers. Of no inbox the methods do nothing.
type inbox struct {
	server *server.Server
	ln     net.Listener
	secure *tls.Config
}

// openInbox listens on --handoffs; nil: nobody asked for it.
func openInbox(c *cli.Context, l *datadir.Ledger, x *exchange.Exchange, metrics *server.Metrics, log *slog.Logger) (*inbox, error) {
	address := c.String("handoffs")
	if address == "" {
		return nil, nil
	}
	if x == nil {
		return nil, usage("--handoffs: nothing is handed over here: it is a restored copy, or the key of the runtime is kept elsewhere")
	}
	secure, err := tlsConfig(c, "handoffs")
	if err != nil {
		return nil, err
	}
	if err := mayListen("handoffs", "handoffs", address, secure != nil); err != nil {
		return nil, err
	}
	hosts := c.StringSlice("handoffs-host")
	if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
		hosts = append(hosts, host)
	}
	s, err := server.NewInbox(server.Config{Ledger: l.Ledger, Handoffs: x, Hosts: hosts, Metrics: metrics, Logger: log, Version: version()})
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--handoffs: %w", err)
	}
	return &inbox{s, ln, secure}, nil
}

// URL is what peers add, as seen from this machine.
func (i *inbox) URL() string {
	if i == nil {
		return ""
	}
	return urlOf(i.ln.Addr(), i.secure != nil)
}

func (i *inbox) Serve(ctx context.Context, grace time.Duration) error {
	if i == nil {
		return nil
	}
	return i.server.Serve(ctx, i.ln, i.secure, grace)
}

func (i *inbox) Close() error {
	if i == nil {
		return nil
	}
	return i.ln.Close()
}
