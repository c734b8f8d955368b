package manual

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// width is that of the narrowest terminal that people have.
const width = 80

// Help has --help print pages of this package, for an app and its commands.
func (g *Program) Help(app *cli.App) {
	cli.HelpPrinter = func(w io.Writer, _ string, data any) {
		var p *Page
		switch c := data.(type) {
		case *cli.App:
			p = New(app)
		case *cli.Command:
			p = New(app).Find(c.HelpName)
		}
		if p == nil { // a hidden command
			return
		}
		b := bufio.NewWriter(w)
		g.help(b, p)
		if err := b.Flush(); err != nil {
			g.unprinted = fmt.Errorf("the help could not be printed: %w", err)
		}
	}
}

// Unprinted is why a help that was asked for is not there, for urfave/cli has no way
// to say so.
func (g *Program) Unprinted() error { return g.unprinted }

// help writes what --help prints.
func (g *Program) help(w *bufio.Writer, p *Page) {
	writeWrapped(w, p.Name+" - "+p.Summary, 0, 2)
	fmt.Fprint(w, "\nUsage:\n")
	for _, u := range p.Usage {
		writeLines(w, fill(usageWords(u), width-6), 2, 6)
	}
	for _, text := range p.Prose {
		fmt.Fprintln(w)
		writeWrapped(w, text, 0, 0)
	}
	if len(p.Examples) > 0 {
		fmt.Fprint(w, "\nExamples:\n")
	}
	for i, e := range p.Examples {
		if i > 0 {
			fmt.Fprintln(w)
		}
		for _, line := range fill(strings.Fields(e.Comment), width-4) {
			fmt.Fprintf(w, "  # %s\n", line)
		}
		writeLines(w, strings.Split(e.Script, "\n"), 2, 2)
	}
	if len(p.Commands) > 0 {
		fmt.Fprint(w, "\nCommands:\n")
		var list []Entry
		for _, c := range p.Commands {
			list = append(list, Entry{c.word(), c.Summary})
		}
		writeList(w, list)
		fmt.Fprintf(w, "\n  %s COMMAND --help says more.\n", p.Name)
	}
	fmt.Fprint(w, "\nOptions:\n")
	var list []Entry
	for _, o := range p.Options {
		list = append(list, Entry{o.term(), o.text()})
	}
	writeList(w, list)
	if len(g.Exits) > 0 && !strings.Contains(p.Name, " ") {
		fmt.Fprint(w, "\nExit codes:\n")
		writeList(w, g.Exits)
	}
}

// term is how an option is written, the short name first.
func (o *Option) term() string {
	var names []string
	for _, n := range slices.Backward(o.Names) {
		names = append(names, dashed(n))
	}
	term := strings.Join(names, ", ")
	if o.Value != "" {
		term += " " + o.Value
	}
	return term
}

// text is what is said of an option, with what follows of its fields.
func (o *Option) text() string {
	text := o.Text
	if o.Default != "" && !strings.Contains(text, "(default: ") {
		text += " (default: " + o.Default + ")"
	}
	if o.Repeats {
		text += " (repeatable)"
	}
	if len(o.Env) > 0 {
		text += " ($" + strings.Join(o.Env, ", $") + ")"
	}
	return text
}

// writeList writes terms in one column and what is said of them in another.
func writeList(w *bufio.Writer, list []Entry) {
	column := 0
	for _, e := range list {
		if n := utf8.RuneCountInString(e.Term); n <= 22 {
			column = max(column, n+4)
		}
	}
	column = max(column, 8)
	for _, e := range list {
		lines := fill(strings.Fields(e.Text), width-column)
		first := ""
		if pad := column - 2 - utf8.RuneCountInString(e.Term); pad >= 2 && len(lines) > 0 {
			first = strings.Repeat(" ", pad) + lines[0]
			lines = lines[1:]
		}
		fmt.Fprintf(w, "  %s%s\n", e.Term, first)
		writeLines(w, lines, column, column)
	}
}

func writeWrapped(w *bufio.Writer, text string, first, rest int) {
	writeLines(w, fill(strings.Fields(text), width-rest), first, rest)
}

func writeLines(w *bufio.Writer, lines []string, first, rest int) {
	indent := first
	for _, line := range lines {
		fmt.Fprintf(w, "%s%s\n", strings.Repeat(" ", indent), line)
		indent = rest
	}
}

// usageWords are what a command line may be broken between: not within brackets,
// and not between a flag and its value.
func usageWords(line string) (words []string) {
	depth := 0
	for word := range strings.FieldsSeq(line) {
		last := len(words) - 1
		if depth > 0 || last >= 0 && strings.HasPrefix(words[last], "-") && !strings.Contains(words[last], " ") && !strings.HasPrefix(word, "[") {
			words[last] += " " + word
		} else {
			words = append(words, word)
		}
		depth += strings.Count(word, "[") - strings.Count(word, "]")
	}
	return words
}

// fill sets words in lines of at most n characters, where they are not longer by
// themselves.
func fill(words []string, n int) (lines []string) {
	line, length := "", 0
	for _, word := range words {
		l := utf8.RuneCountInString(word)
		if line != "" && length+1+l > n {
			lines = append(lines, line)
			line, length = "", 0
		}
		if line != "" {
			line, length = line+" ", length+1
		}
		line, length = line+word, length+l
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
