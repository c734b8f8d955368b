// Package manual writes a program's manual from its commands: what --help prints,
// the manual page, and what a shell offers while a command line is typed. All
// three are made of one tree of pages, on demand; nothing that is generated is
// kept.
//
// A command says what it is in urfave/cli's own fields, in which this package
// reads three things of its own:
//
//   - Description is prose, of which a blank line ends a paragraph, and then the
//     examples. Each begins with a comment that says what it is for, and is a
//     piece of shell that can be run as it stands:
//
//     Examples:
//     # Does the bundle prove that the refund was done?
//     verify --trust trust.json done.bundle
//
//     A comment that says "exit code 1" says that the example exits so.
//
//   - The word in backquotes in a flag's Usage stands for its value: FILE and DIR
//     are completed as such, and `text|json` are the values that there are.
//
//   - ArgsUsage names the arguments in the same way.
//
// It is for the two programs of this module, whose own words these are: nothing
// of an agent's comes here.
package manual

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// Program is what the manual says that no command does.
type Program struct {
	Exits       []Entry  // exit codes and what they mean
	Environment []Entry  // beside the variables of flags
	Files       []Entry  // what the program reads and writes by itself
	SeeAlso     []string // other manual pages, such as "verify(1)", and places
	Everywhere  []string // names of the program's own flags that every command takes
	// Misused makes an error of a wrong command line.
	Misused func(format string, args ...any) error

	unprinted error
}

// Entry is a term and what is said of it.
type Entry struct{ Term, Text string }

// Page is what is said of the program, or of one command.
type Page struct {
	Name     string   // as it is typed, such as "verify trust show"
	Summary  string   // one line
	Usage    []string // command lines
	Prose    []string // paragraphs
	Examples []Example
	Options  []Option
	Commands []*Page

	args string // ArgsUsage
}

// Example is a piece of shell, and what it is for.
type Example struct {
	Comment string
	Script  string // one line or more
	Exit    int    // with which it ends
}

// Option is a flag.
type Option struct {
	Names    []string // without dashes, the long one first
	Value    string   // stands for the value, "" where there is none
	Values   []string // all that there are, where that is known
	Text     string
	Default  string
	Env      []string
	Required bool
	Repeats  bool
}

// New returns the page of a program, with those of its commands. Hidden commands
// and flags have none.
func New(app *cli.App) *Page {
	p := page(app.Name, &cli.Command{
		Usage: app.Usage, UsageText: app.UsageText, ArgsUsage: app.ArgsUsage,
		Description: app.Description, Flags: app.Flags, Subcommands: app.Commands,
	})
	if !app.HideVersion {
		p.add(Option{Names: []string{"version", "v"}, Text: "print the version"})
	}
	return p
}

func page(name string, c *cli.Command) *Page {
	p := &Page{Name: name, Summary: c.Usage, args: c.ArgsUsage}
	p.Prose, p.Examples = described(c.Description)
	for _, f := range c.Flags {
		if v, ok := f.(cli.VisibleFlag); ok && !v.IsVisible() {
			continue
		}
		if o := option(f); o.Names[0] != "help" && o.Names[0] != "version" {
			p.add(o)
		}
	}
	p.add(Option{Names: []string{"help", "h"}, Text: "print this"})
	for _, sub := range c.Subcommands {
		if !sub.Hidden && sub.Name != "help" {
			p.Commands = append(p.Commands, page(name+" "+sub.Name, sub))
		}
	}
	p.Usage = usages(c.UsageText)
	if p.Usage == nil {
		p.Usage = []string{p.usage()}
	}
	return p
}

func (p *Page) add(o Option) { p.Options = append(p.Options, o) }

// usages splits the command lines that a command gives for itself.
func usages(text string) (lines []string) {
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// usage is the command line of a command that gives none.
func (p *Page) usage() string {
	words := []string{p.Name}
	others := false
	for _, o := range p.Options {
		if o.Required {
			words = append(words, dashed(o.Names[0])+" "+o.Value)
		} else if o.Names[0] != "help" {
			others = true
		}
	}
	switch {
	case len(p.Commands) > 0:
		words = append(words, "COMMAND")
		if others {
			words = append(words, "[options]")
		}
	case others:
		words = append(words, "[options]")
	}
	if p.args != "" {
		words = append(words, p.args)
	}
	return strings.Join(words, " ")
}

// Walk calls f with the page and with those of all commands below it.
func (p *Page) Walk(f func(*Page)) {
	f(p)
	for _, c := range p.Commands {
		c.Walk(f)
	}
}

// word is the last of a page's name: the command as it is typed below the others.
func (p *Page) word() string { return p.Name[strings.LastIndexByte(p.Name, ' ')+1:] }

// child returns the page of a command right below, nil for none.
func (p *Page) child(word string) *Page {
	for _, c := range p.Commands {
		if c.word() == word {
			return c
		}
	}
	return nil
}

// Find returns the page of a command, by its words, nil for none.
func (p *Page) Find(name string) *Page {
	var found *Page
	p.Walk(func(c *Page) {
		if c.Name == name {
			found = c
		}
	})
	return found
}

func option(f cli.Flag) Option {
	o := Option{Names: slices.Clone(f.Names())}
	slices.SortStableFunc(o.Names, func(a, b string) int { return min(len(b), 2) - min(len(a), 2) })
	if r, ok := f.(cli.RequiredFlag); ok {
		o.Required = r.IsRequired()
	}
	if s, ok := f.(cli.DocGenerationSliceFlag); ok {
		o.Repeats = s.IsSliceFlag()
	}
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return o
	}
	o.Text, o.Env = d.GetUsage(), d.GetEnvVars()
	if !d.TakesValue() {
		return o
	}
	o.Value = "VALUE"
	if before, rest, ok := strings.Cut(o.Text, "`"); ok {
		value, after, _ := strings.Cut(rest, "`")
		o.Value, o.Values = value, values(value)
		if o.Values != nil {
			// The values stand beside the flag: once is enough.
			value, before = "", strings.TrimRight(before, ": ")
		}
		o.Text = before + value + after
	}
	switch o.Default = d.GetDefaultText(); o.Default {
	case `""`, "0", "0s", "-1", "[]":
		o.Default = ""
	}
	o.Default = strings.Trim(o.Default, `"`)
	return o
}

// values are the words of `text|json`: what is written in capitals stands for
// something else.
func values(value string) []string {
	if !strings.Contains(value, "|") || strings.ToLower(value) != value {
		return nil
	}
	return strings.Split(value, "|")
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

var exitCode = regexp.MustCompile(`exit code (\d+)`)

// described takes a Description apart.
func described(text string) (prose []string, examples []Example) {
	text, shown, _ := strings.Cut("\n"+text, "\nExamples:\n")
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		if words := strings.Fields(paragraph); len(words) > 0 {
			prose = append(prose, strings.Join(words, " "))
		}
	}
	var e *Example
	for line := range strings.SplitSeq(shown, "\n") {
		line = strings.TrimPrefix(line, "  ")
		comment, is := strings.CutPrefix(line, "# ")
		switch {
		case strings.TrimSpace(line) == "":
			continue
		case is && e != nil && e.Script == "":
			e.Comment += " " + comment
		case is:
			examples = append(examples, Example{Comment: comment})
			e = &examples[len(examples)-1]
		case e == nil:
			examples = append(examples, Example{Script: line})
			e = &examples[len(examples)-1]
		case e.Script == "":
			e.Script = line
		default:
			e.Script += "\n" + line
		}
	}
	for i := range examples {
		if m := exitCode.FindStringSubmatch(examples[i].Comment); m != nil {
			examples[i].Exit, _ = strconv.Atoi(m[1])
		}
	}
	return prose, examples
}
