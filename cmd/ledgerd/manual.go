package main

import "ledgerd/internal/manual"

// theManual is what the manual of ledgerd says beside its commands.
var theManual = manual.Program{
	Exits: []manual.Entry{
		{Term: "0", Text: "done"},
		{Term: "1", Text: "something failed, was refused, or is not as it was expected to be"},
		{Term: "64", Text: "wrong command line"},
		{Term: "65", Text: "a line that was to be imported is malformed"},
		{Term: "70", Text: "the store cannot go on: the daemon has to be started again"},
	},
	Environment: []manual.Entry{
		{Term: "LEDGERD_<FLAG>", Text: "For a flag that is not given: LEDGERD_DATA_DIR for --data-dir."},
		{Term: "LEDGERD_<FLAG>_FILE", Text: "A file that holds the value, for secrets: LEDGERD_TOKEN_FILE for --token."},
		{Term: "LEDGERD_CONFIG", Text: "For --config."},
		{Term: "LEDGERD_RUN", Text: "The key of the run that programs of one session of an agent write into. Without, they find it by the agent's process."},
		{Term: "OTEL_*", Text: "Where traces go, as in every program with OpenTelemetry; they are off without."},
	},
	Files: []manual.Entry{
		{Term: "DIR/ledger.json", Text: "Origin, public half of the log's key, entry 0. Nothing in it is secret."},
		{Term: "DIR/keys/", Text: "Private keys, mode 0600: the log's, the root's, the runtime's."},
		{Term: "DIR/admin.token", Text: "The first token, with every right. Mode 0600."},
		{Term: "DIR/store/, DIR/payloads/", Text: "The log with its index, and what its records commit to."},
		{Term: "DIR.head", Text: "The newest tree head, outside the directory: an older copy cannot pass for the ledger."},
		{Term: "~/.local/share/ledgerd/", Text: "The daemon that programs of this user share: its ledger, policies, settings, tokens, socket and log. Mode 0700."},
		{Term: "DIR.backups/", Text: "Backups that were asked for over HTTP."},
	},
	SeeAlso:    []string{"verify(1)", "docs/operations.md and docs/http-api.md in the source"},
	Everywhere: []string{"config"},
	Misused:    usage,
}

func init() {
	for _, c := range theManual.Commands("ledgerd") {
		register(c)
	}
}
