package manual

import (
	"bufio"
	"embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// asked is the first argument with which a shell asks what could stand next. It is
// looked at before anything else is done with a command line: words that are still
// being typed are in no order.
const asked = "__complete"

// Asked answers a shell, where a command line is its question.
func (g *Program) Asked(app *cli.App, argv []string, w io.Writer) bool {
	if len(argv) < 3 || argv[1] != asked {
		return false
	}
	paths, list := g.complete(New(app), argv[2:])
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, ":%s\n", paths)
	for _, e := range list {
		fmt.Fprintf(b, "%s\t%s\n", e.Term, e.Text)
	}
	b.Flush()
	return true
}

// What the shell completes by itself, beside what it is offered.
const (
	noPaths     = "none"
	files       = "file"
	directories = "dir"
)

// complete returns what could stand in the place of the last of words, which may
// be empty: the words of a command line after the program's name. Flags may stand
// before and after arguments, and before commands, as both programs take them.
func (g *Program) complete(p *Page, words []string) (paths string, list []Entry) {
	root := p
	options := p.Options
	given := make(map[string]bool)
	last := words[len(words)-1]
	var open *Option // wants its value next
	args, ended := 0, false
	for _, word := range words[:len(words)-1] {
		switch {
		case open != nil:
			open = nil
		case ended || word == "-" || !strings.HasPrefix(word, "-"):
			if c := p.child(word); c != nil && args == 0 && !ended {
				p, options = c, slices.Clone(c.Options)
				for _, o := range root.Options {
					if slices.Contains(g.Everywhere, o.Names[0]) {
						options = append(options, o)
					}
				}
				continue
			}
			args++
		case word == "--":
			ended = true
		default:
			name, _, inline := strings.Cut(strings.TrimLeft(word, "-"), "=")
			given[name] = true
			o := named(options, name)
			if o == nil { // of a command that is still to come
				root.Walk(func(c *Page) {
					if o == nil {
						o = named(c.Options, name)
					}
				})
			}
			if o != nil && o.Value != "" && !inline {
				open = o
			}
		}
	}
	name, value, inline := strings.Cut(last, "=")
	switch {
	case open != nil:
		return offer(open.Value, last, "")
	case !ended && inline && strings.HasPrefix(last, "-"):
		if o := named(options, strings.TrimLeft(name, "-")); o != nil && o.Value != "" {
			return offer(o.Value, value, name+"=")
		}
		return noPaths, nil
	case !ended && strings.HasPrefix(last, "-"):
		for _, o := range options {
			if !o.Repeats && slices.ContainsFunc(o.Names, func(n string) bool { return given[n] }) {
				continue
			}
			for _, n := range o.Names {
				if strings.HasPrefix(dashed(n), last) {
					list = append(list, Entry{dashed(n), o.text()})
				}
			}
		}
		return noPaths, list
	}
	if args == 0 && !ended {
		for _, c := range p.Commands {
			if strings.HasPrefix(c.word(), last) {
				list = append(list, Entry{c.word(), c.Summary})
			}
		}
	}
	paths, more := offer(p.args, last, "")
	return paths, append(list, more...)
}

func named(options []Option, name string) *Option {
	for i := range options {
		if slices.Contains(options[i].Names, name) {
			return &options[i]
		}
	}
	return nil
}

// offer returns what could stand for a value, or for arguments. Nothing that lies
// in a ledger or a file is: a shell's Tab reads no evidence.
func offer(stands, begins, before string) (paths string, list []Entry) {
	for _, v := range values(stands) {
		if strings.HasPrefix(v, begins) {
			list = append(list, Entry{before + v, ""})
		}
	}
	paths = noPaths
	for word := range strings.FieldsFuncSeq(stands, func(r rune) bool { return (r < 'A' || r > 'Z') && r != '_' }) {
		switch word {
		case "DIR", "BACKUP":
			if paths == noPaths {
				paths = directories
			}
		case "FILE", "RECEIPT", "COMMAND", "OLD", "NEW", "A", "B":
			paths = files
		}
	}
	return paths, list
}

//go:embed completion.bash completion.zsh completion.fish
var scripts embed.FS

// script returns what a shell has to read to complete a program's command lines.
func script(program, shell string) (string, bool) {
	text, err := scripts.ReadFile("completion." + shell)
	return strings.ReplaceAll(string(text), "PROGRAM", program), err == nil
}

// Commands are those that write the manual itself. The program's name is that of
// the app.
func (g *Program) Commands(program string) []*cli.Command {
	said := func(text string) string { return strings.ReplaceAll(text, "PROGRAM", program) }
	completion := "Examples:\n" +
		"  # bash, for this user\n" +
		"  mkdir -p ~/.local/share/bash-completion/completions\n" +
		"  PROGRAM completion bash > ~/.local/share/bash-completion/completions/PROGRAM\n" +
		"  # zsh, where ~/.zfunc is in fpath\n" +
		"  mkdir -p ~/.zfunc\n" +
		"  PROGRAM completion zsh > ~/.zfunc/_PROGRAM\n" +
		"  # fish, for this user\n" +
		"  mkdir -p ~/.config/fish/completions\n" +
		"  PROGRAM completion fish > ~/.config/fish/completions/PROGRAM.fish"
	man := "Examples:\n" +
		"  # For this user: man PROGRAM finds it\n" +
		"  mkdir -p ~/.local/share/man/man1\n" +
		"  PROGRAM man > ~/.local/share/man/man1/PROGRAM.1"
	return []*cli.Command{
		{
			Name: "completion", Usage: "print what a shell needs to complete command lines", ArgsUsage: "bash|zsh|fish",
			Description:     said("On Tab the shell asks the PROGRAM in its PATH what could stand next: commands, flags, their values. No ledger and no file is read for it.\n\n" + completion),
			HideHelpCommand: true,
			OnUsageError:    func(_ *cli.Context, err error, _ bool) error { return g.Misused("%v", err) },
			Action: func(c *cli.Context) error {
				text, ok := script(program, c.Args().First())
				if !ok || c.NArg() != 1 {
					return g.Misused("%s completion: want bash, zsh or fish, found %q", program, c.Args().Slice())
				}
				_, err := io.WriteString(c.App.Writer, text)
				return err
			},
		},
		{
			Name: "man", Usage: "print the manual page", HideHelpCommand: true,
			Description:  said("The page is in man(7), and says what --help says of every command.\n\n" + man),
			OnUsageError: func(_ *cli.Context, err error, _ bool) error { return g.Misused("%v", err) },
			Action: func(c *cli.Context) error {
				if c.NArg() != 0 {
					return g.Misused("%s man: want no arguments, found %q", program, c.Args().Slice())
				}
				return g.Man(c.App.Writer, New(c.App))
			},
		},
	}
}
