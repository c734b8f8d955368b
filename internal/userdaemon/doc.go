// Package userdaemon has all programs of one user share one daemon, which is started by
// whoever comes first, and ends when nobody has asked for anything for a while.
//
//	c, err := userdaemon.Join(ctx, userdaemon.Options{Agent: "claude-code"})
//	key, err := userdaemon.SessionRun(ctx, userdaemon.Session{Agent: "claude-code"})
//	state, err := c.OpenRun(ctx, key, api.OpenRun{Task: "coding"})
//
// All of it lies in one directory H, 0700: LEDGERD_HOME, or ledgerd in XDG_DATA_HOME, or
// ~/.local/share/ledgerd.
//
//	H/ledger/       the ledger's data directory (package datadir), H/ledger.head beside it
//	H/policies/     what agents may do; all, until the user says otherwise
//	H/contracts/    contracts, TASK.json
//	H/config.json   settings of ledgerd serve, among them after how long it ends
//	H/tokens/       the agents' tokens, one for each agent and kind, 0600
//	H/sessions/     which session of an agent has which run
//	H/mcp-tools.json what the tools of MCP servers were (package mcp)
//	H/daemon.sock   where the daemon listens, 0600; or in XDG_RUNTIME_DIR, if the path is too long for a socket
//	H/daemon.log    what the daemons say; the one before is daemon.log.1
//	H/lock          is held while a daemon is started or stopped, or a token is made
//
// Two locks see to it that there is one daemon. Who finds none that answers takes H/lock,
// and looks again before it starts one. The store's own lock (package pebblestore) holds
// against whoever does not ask H/lock, a daemon that was started by hand among them.
//
// The daemon may end at any time: because it is idle, because it is killed. A client of
// [Join] then starts the next one, and sends again what got no answer. Every request by
// which an agent acts is made for that: the same request again is the same record.
//
// Everything in H is the user's, and so is every process that can read it. What that
// means for the evidence stands in docs/threat-model.md.
package userdaemon
