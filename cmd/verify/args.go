package main

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange puts flags before arguments, for urfave/cli takes everything after
// the first argument for arguments. The first argument may name a command, and
// the next one of its own; after "--" nothing is a flag or command.
func arrange(argv []string) []string {
	all := commands(stdio{})
	valued := valuedFlags(all)
	var command, flags, args []string
	rest, known := argv[1:], all
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		switch {
		case arg == "--":
			args = append(args, rest...)
			rest = nil
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			if c := named(known, arg); c != nil && len(args) == 0 {
				command, known = append(command, arg), c.Subcommands
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
	if command == nil && len(args) > 0 && named(all, args[0]) != nil {
		args[0] = "./" + args[0] // a file, not the command
	}
	out := append([]string{argv[0]}, command...)
	out = append(out, flags...)
	return append(append(out, "--"), args...)
}

func named(all []*cli.Command, name string) *cli.Command {
	for _, c := range all {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// valuedFlags returns the names of the flags that a value follows.
func valuedFlags(all []*cli.Command) map[string]bool {
	m := make(map[string]bool)
	note := func(flags []cli.Flag) {
		for _, f := range flags {
			if _, ok := f.(*cli.BoolFlag); ok {
				continue
			}
			for _, name := range f.Names() {
				m[name] = true
			}
		}
	}
	note(commonFlags())
	note(fileFlags())
	for _, c := range all {
		note(c.Flags)
		for _, sub := range c.Subcommands {
			note(sub.Flags)
		}
	}
	return m
}
