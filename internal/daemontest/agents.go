package daemontest

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"ledgerd/internal/agent"
	"ledgerd/internal/exchange"
	"ledgerd/internal/server"
	"ledgerd/runtime"
)

// Host returns a host of agents' runs over the daemon's ledger, for a server's
// configuration, as serve makes it. idle is how long it keeps a run; 0: its default.
func (d *Daemon) Host(cfg runtime.Config, idle time.Duration) *agent.Host {
	d.t.Helper()
	cfg.Ledger, cfg.Origin, cfg.Actor, cfg.Key = runtime.Embedded{Ledger: d.Ledger.Ledger}, d.Ledger.Origin(), d.Dir.Runtime, d.Key
	if d.Exchange != nil {
		cfg.Handoffs = d.Exchange.Party
	}
	rt, err := runtime.New(cfg)
	must(d.t, err)
	h := agent.New(agent.Config{
		Runtime: rt, Actor: d.Dir.Runtime, Ledger: d.Ledger.Ledger, Handoffs: d.Exchange, Idle: idle, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	d.t.Cleanup(h.Close)
	return h
}

// Trading says how a daemon takes part in handoffs.
type Trading struct {
	Runtime runtime.Config
	Change  func(*exchange.Config) // nil: nothing
	Server  func(*server.Config)   // of both listeners; nil: nothing
}

// Trade serves the ledger with its agents and a listener for peers, which has the
// address of the one before where there was one. end ends all of it, the ledger
// included, as the end of the process does; Trade again is the next process.
func (d *Daemon) Trade(how Trading) (end func()) {
	d.t.Helper()
	if d.Ledger.Err() != nil {
		d.open()
	}
	peers, err := d.Ledger.Peers()
	must(d.t, err)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg := exchange.Config{Ledger: d.Ledger.Ledger, Peers: peers, Dir: d.Dir.HandoffsPath(), Key: d.Key, Logger: log, Retry: 20 * time.Millisecond}
	if how.Change != nil {
		how.Change(&cfg)
	}
	d.Exchange, err = exchange.New(context.Background(), cfg)
	must(d.t, err)
	x := d.Exchange
	host := d.Host(how.Runtime, 0)
	change := func(c *server.Config) {
		c.Agents, c.Handoffs = host, x
		if how.Server != nil {
			how.Server(c)
		}
	}
	d.Serve(change)
	config := server.Config{Ledger: d.Ledger.Ledger, Logger: log}
	change(&config)
	s, err := server.NewInbox(config)
	must(d.t, err)
	address := "127.0.0.1:0"
	if d.Inbox != "" {
		address = d.Inbox[len("http://"):]
	}
	var stopInbox func()
	d.Inbox, stopInbox = d.listen(s, address)
	x.Start()
	l := d.Ledger
	stop := d.Stop
	end = sync.OnceFunc(func() {
		stop()
		stopInbox()
		host.Close()
		must(d.t, x.Close())
		must(d.t, l.Close())
	})
	d.t.Cleanup(end)
	return end
}
