package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"ledgerd/evidence"
)

// arrange returns a command line on which every flag stands before the first
// argument, where urfave/cli v2 looks for flags, and which says in so many
// words what the environment and the file of settings say of the flags that are
// not on it. The order of precedence is: command line, LEDGERD_<FLAG>,
// LEDGERD_<FLAG>_FILE (a file that holds the value), file of settings, default.
// A variable that is empty says nothing.
func arrange(app *cli.App, args []string, lookup func(string) (string, bool)) ([]string, error) {
	values := takesValue(app)
	var path, flags, rest []string
	given := make(map[string]bool)
	var command *cli.Command
	for i := 1; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if strings.HasPrefix(arg, "-") && len(arg) > 1 && !isDigest(arg) {
			name, _, inline := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			given[name] = true
			flags = append(flags, arg)
			if values[name] && !inline && i+1 < len(args) {
				i++
				flags = append(flags, args[i])
			}
			continue
		}
		if len(rest) == 0 {
			if sub := subcommand(app, command, arg); sub != nil {
				command, path = sub, append(path, arg)
				continue
			}
		}
		rest = append(rest, arg)
	}
	flags, config := takeConfig(flags)
	if command != nil && !given["help"] && !given["h"] {
		more, err := settings(command, given, config, lookup)
		if err != nil && command.OnUsageError != nil { // its own exit code
			err = command.OnUsageError(nil, err, false)
		}
		if err != nil {
			return nil, err
		}
		flags = append(flags, more...)
	}
	out := append([]string{args[0]}, path...)
	out = append(out, flags...)
	if len(rest) > 0 {
		out = append(append(out, "--"), rest...)
	}
	return out, nil
}

// isDigest: one in 64 commitments and key IDs begins with a "-", and is no flag.
func isDigest(arg string) bool {
	return new(evidence.Digest).UnmarshalText([]byte(arg)) == nil
}

func subcommand(app *cli.App, command *cli.Command, name string) *cli.Command {
	all := app.Commands
	if command != nil {
		all = command.Subcommands
	}
	for _, c := range all {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// takesValue tells of every flag of every command whether a value follows it.
func takesValue(app *cli.App) map[string]bool {
	values := make(map[string]bool)
	var add func(flags []cli.Flag, commands []*cli.Command)
	add = func(flags []cli.Flag, commands []*cli.Command) {
		for _, f := range flags {
			d, ok := f.(cli.DocGenerationFlag)
			for _, name := range f.Names() {
				values[name] = ok && d.TakesValue()
			}
		}
		for _, c := range commands {
			add(c.Flags, c.Subcommands)
		}
	}
	add(app.Flags, app.Commands)
	return values
}

// takeConfig takes --config out of the flags: it is this file's business alone.
func takeConfig(flags []string) (others []string, config string) {
	for i := 0; i < len(flags); i++ {
		name, value, inline := strings.Cut(strings.TrimLeft(flags[i], "-"), "=")
		if name != "config" {
			others = append(others, flags[i])
			continue
		}
		if !inline && i+1 < len(flags) {
			i++
			value = flags[i]
		}
		config = value
	}
	return others, config
}

// settings returns the flags of a command that are not given, and that the
// environment or the file of settings sets.
func settings(command *cli.Command, given map[string]bool, config string, lookup func(string) (string, bool)) ([]string, error) {
	if config == "" {
		config, _ = lookup("LEDGERD_CONFIG")
	}
	file, err := readConfig(config)
	if err != nil {
		return nil, usage("%v", err)
	}
	var out []string
	for _, f := range command.Flags {
		name := f.Names()[0]
		if slices.ContainsFunc(f.Names(), func(n string) bool { return given[n] }) {
			continue
		}
		value, said, err := fromEnvironment(command, name, lookup)
		if err != nil {
			return nil, err
		}
		if said {
			values := []string{value}
			if _, list := f.(*cli.StringSliceFlag); list { // one variable, several values
				values = strings.Split(value, ",")
			}
			for _, value := range values {
				out = append(out, "--"+name+"="+value)
			}
			continue
		}
		for _, value := range file[name] {
			out = append(out, "--"+name+"="+value)
		}
	}
	return out, nil
}

// fromEnvironment returns what the environment says of a command's flag.
func fromEnvironment(command *cli.Command, name string, lookup func(string) (string, bool)) (value string, said bool, err error) {
	env := "LEDGERD_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	// The key of the run that programs of one session of an agent share is there for as long
	// as the session. A flag of that name means another run to every other command.
	if env == sessionRun && !slices.Contains([]string{"mcp", "hook"}, command.Name) {
		return "", false, nil
	}
	if value, ok := lookup(env); ok && value != "" {
		return value, true, nil
	}
	if path, ok := lookup(env + "_FILE"); ok && path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", false, usage("%s_FILE: %v", env, err)
		}
		return strings.TrimRight(string(b), "\r\n"), true, nil
	}
	return "", false, nil
}

// sessionRun is the variable by which a session of an agent says which run is its own.
const sessionRun = "LEDGERD_RUN"

// readConfig reads a file of settings. A setting is a string, a number, a
// boolean, or for a flag that may be given often a list of them. A setting that
// the command has no flag for is for another command.
func readConfig(path string) (map[string][]string, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	var raw map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&raw); err != nil {
		return nil, fmt.Errorf("settings: %s: want a JSON object with names of flags as members: %w", path, err)
	}
	file := make(map[string][]string)
	for name, value := range raw {
		list, ok := value.([]any)
		if !ok {
			list = []any{value}
		}
		for _, v := range list {
			switch v.(type) {
			case string, bool, json.Number:
				file[name] = append(file[name], fmt.Sprint(v))
			default:
				return nil, fmt.Errorf("settings: %s: %s: want a string, a number, a boolean, or a list of them", path, name)
			}
		}
	}
	return file, nil
}
