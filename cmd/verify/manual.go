package main

import "ledgerd/internal/manual"

// theManual is what the manual of verify says beside its commands.
var theManual = manual.Program{
	Exits: []manual.Entry{
		{Term: "0", Text: "verified"},
		{Term: "1", Text: "something is proven wrong"},
		{Term: "2", Text: "not decidable: trust or evidence is missing"},
		{Term: "64", Text: "wrong command line"},
		{Term: "65", Text: "malformed input"},
		{Term: "70", Text: "internal error"},
	},
	Environment: []manual.Entry{
		{Term: "LEDGERD_TOKEN", Text: "The token for a log that is not public; better in a file, as LEDGERD_TOKEN_FILE."},
		{Term: "NO_COLOR", Text: "Set to anything, it turns colours off."},
	},
	SeeAlso: []string{"ledgerd(1)", "docs/verify.md, docs/rules.md and docs/threat-model.md in the source"},
	Misused: usagef,
}
