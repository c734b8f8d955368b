package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/evidence"
	"ledgerd/internal/agent"
	"ledgerd/internal/datadir"
	"ledgerd/internal/exchange"
	"ledgerd/internal/notify"
	"ledgerd/internal/telemetry"
	"ledgerd/runtime"
	"ledgerd/runtime/policy"
)

// agentFlags are those of serve that say what agents may do.
func agentFlags() []cli.Flag {
	return []cli.Flag{
		&cli.PathFlag{Name: "policies", Usage: "Cedar policies in `DIR`, which is watched for changes (default: everything is denied)"},
		&cli.StringFlag{Name: "mode", Value: string(evidence.Enforce), Usage: "what would be denied is recorded and done under observe: `enforce|observe`"},
		&cli.PathFlag{Name: "tools", Usage: "tools that the daemon runs, in `FILE` (JSON)"},
		&cli.PathFlag{Name: "contracts", Usage: "contracts in `DIR`, TASK.json for each type of task"},
		&cli.BoolFlag{Name: "need-contract", Usage: "complete no run without a contract (default: its verdict is no_contract, which is shown and does not block)"},
	}
}

// driverLease is how long the daemon may be silent about a run before a driver
// elsewhere may take it. Around a call it is longer. After a crash, what is in doubt
// waits for as long, so it is short.
const driverLease = 10 * time.Second

// policyInterval is how often the policies' files are looked at.
const policyInterval = time.Second

// agents makes the host of agents' runs; nil where this directory drives none.
func agents(c *cli.Context, l *datadir.Ledger, handoffs *exchange.Exchange, tracing *telemetry.Tracing, humans *notify.Notifier, log *slog.Logger) (*agent.Host, error) {
	permit, err := permitter(c, log)
	if err != nil {
		return nil, err
	}
	cfg := runtime.Config{
		Ledger: runtime.Embedded{Ledger: l.Ledger}, Origin: l.Origin(), Actor: l.Dir.Runtime, Permit: permit, Lease: driverLease,
		Tracer: tracing.Provider(),
		Notify: func(n runtime.Notice) {
			log.Info("a human is asked", "run", n.Run, "key", n.Key, "step", n.Step, "action", n.Action, "team", n.Team, "reason", n.Reason, "about", n.Authorization)
			humans.Notify(n)
		},
	}
	if path := c.Path("tools"); path != "" {
		if cfg.Tools, err = agent.LoadTools(path); err != nil {
			return nil, fmt.Errorf("--tools: %w", err)
		}
	}
	if dir := c.Path("contracts"); dir != "" {
		contracts, err := agent.OpenContracts(dir)
		if err != nil {
			return nil, fmt.Errorf("--contracts: %w", err)
		}
		cfg.Contracts = contracts.For
	}
	cfg.NeedContract = c.Bool("need-contract")
	if handoffs != nil {
		cfg.Handoffs = handoffs.Party
	}
	if l.Dir.Copy {
		return nil, nil
	}
	cfg.Key, err = l.Dir.Key(l.Dir.Runtime)
	if errors.Is(err, datadir.ErrNoKey) {
		log.Info("no runs are driven here: the key of the runtime is kept elsewhere", "runtime", l.Dir.Runtime)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rt, err := runtime.New(cfg)
	if err != nil {
		return nil, err
	}
	return agent.New(agent.Config{Runtime: rt, Actor: l.Dir.Runtime, Ledger: l.Ledger, Handoffs: handoffs, Logger: log}), nil
}

// permitter decides what agents may do: the policies of --policies, or nothing.
func permitter(c *cli.Context, log *slog.Logger) (runtime.Permitter, error) {
	mode := evidence.Mode(c.String("mode"))
	if mode != evidence.Enforce && mode != evidence.Observe {
		return nil, usage("--mode: want enforce or observe, found %q", mode)
	}
	if mode == evidence.Observe {
		log.Warn("permissions are observed and not enforced: agents may do everything, and records say what would have been denied")
	}
	dir := c.Path("policies")
	if dir == "" {
		if mode == evidence.Enforce {
			log.Warn("no --policies: agents may do nothing")
		}
		return runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
			return runtime.Permission{Effect: evidence.Deny, Mode: mode}, nil
		}), nil
	}
	p, err := policy.Open(dir, policy.Options{Observe: mode == evidence.Observe, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("--policies: %w", err)
	}
	go p.Watch(c.Context, policyInterval)
	return p, nil
}
