package daemontest

import (
	"io"
	"log/slog"
	"time"

	"ledgerd/internal/agent"
	"ledgerd/runtime"
)

// Host returns a host of agents' runs over the daemon's ledger, for a server's
// configuration, as serve makes it. idle is how long it keeps a run; 0: its default.
func (d *Daemon) Host(cfg runtime.Config, idle time.Duration) *agent.Host {
	d.t.Helper()
	cfg.Ledger, cfg.Origin, cfg.Actor, cfg.Key = runtime.Embedded{Ledger: d.Ledger.Ledger}, Origin, d.Dir.Runtime, d.Key
	rt, err := runtime.New(cfg)
	must(d.t, err)
	h := agent.New(agent.Config{Runtime: rt, Actor: d.Dir.Runtime, Ledger: d.Ledger.Ledger, Idle: idle, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	d.t.Cleanup(h.Close)
	return h
}
