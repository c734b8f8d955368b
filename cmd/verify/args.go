package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// commandFlags are the commands, and the flags of each.
var commandFlags = map[string]func() []cli.Flag{
	"log":     func() []cli.Flag { return append(commonFlags(), logFlags()...) },
	"explain": explainFlags,
	"report":  reportFlags,
}

// arrange puts flags before arguments, for urfave/cli takes everything after
// the first argument for arguments. The first argument may name a command;
// after "--" nothing is a flag or command.
func arrange(argv []string) []string {
	valued := valuedFlags()
	var command, flags, args []string
	rest := argv[1:]
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		switch {
		case arg == "--":
			args = append(args, rest...)
			rest = nil
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			if commandFlags[arg] != nil && len(args) == 0 && command == nil {
				command = []string{arg}
				continue
			}
			args = append(args, arg)
		default:
			flags = append(flags, arg)
			if valued[strings.TrimLeft(arg, "-")] && len(rest) > 0 {
				flags = append(flags, rest[0])
				rest = rest[1:]
			}
		}
	}
	if command == nil && len(args) > 0 && commandFlags[args[0]] != nil {
		args[0] = "./" + args[0] // a file, not the command
	}
	out := append([]string{argv[0]}, command...)
	out = append(out, flags...)
	return append(append(out, "--"), args...)
}

// valuedFlags returns the names of the flags that a value follows.
func valuedFlags() map[string]bool {
	m := make(map[string]bool)
	add := func(flags []cli.Flag) {
		for _, f := range flags {
			if _, ok := f.(*cli.BoolFlag); ok {
				continue
			}
			for _, name := range f.Names() {
				m[name] = true
			}
		}
	}
	add(append(commonFlags(), fileFlags()...))
	for _, flags := range commandFlags {
		add(flags())
	}
	return m
}
