package manual

import (
	"bufio"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
)

// Man writes the manual page of a program, section 1, in man(7). It names no date
// but that of the commit that was built, so that two builds write the same.
func (g *Program) Man(w io.Writer, p *Page) error {
	b := &roff{bufio.NewWriter(w)}
	b.macro(".TH", strings.ToUpper(p.Name), "1", builtOf(), "ledgerd", "User Commands")
	b.macro(".nh") // what is to be typed is not hyphenated
	b.WriteString(".ad l\n")
	b.macro(".SH", "NAME")
	b.text(p.Name + " - " + p.Summary)
	b.macro(".SH", "SYNOPSIS")
	b.usage(p)
	b.macro(".SH", "DESCRIPTION")
	b.prose(p)
	b.macro(".SH", "OPTIONS")
	b.options(p)
	if len(p.Commands) > 0 {
		b.macro(".SH", "COMMANDS")
	}
	for _, c := range p.Commands {
		c.Walk(func(c *Page) {
			b.macro(".SS", strings.TrimPrefix(c.Name, p.Name+" "))
			b.text(sentence(c.Summary))
			b.macro(".PP")
			b.usage(c)
			if len(c.Prose) > 0 {
				b.macro(".PP")
				b.prose(c)
			}
			b.options(c)
			if len(c.Examples) > 0 {
				b.macro(".PP")
				b.text("Examples:")
				b.macro(".PP")
				b.examples(c)
			}
		})
	}
	if len(p.Examples) > 0 {
		b.macro(".SH", "EXAMPLES")
		b.examples(p)
	}
	b.section("EXIT STATUS", g.Exits)
	b.section("ENVIRONMENT", append(variables(p), g.Environment...))
	b.section("FILES", g.Files)
	if len(g.SeeAlso) > 0 {
		b.macro(".SH", "SEE ALSO")
		b.text(strings.Join(g.SeeAlso, ", "))
	}
	return b.Flush()
}

// variables are those that flags have.
func variables(p *Page) (list []Entry) {
	seen := make(map[string]bool)
	p.Walk(func(c *Page) {
		for _, o := range c.Options {
			for _, name := range o.Env {
				if !seen[name] {
					seen[name] = true
					list = append(list, Entry{name, sentence("for " + dashed(o.Names[0]) + ", where that is not given")})
				}
			}
		}
	})
	return list
}

// builtOf returns the day of the commit that the program was built of.
func builtOf() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" && len(s.Value) >= len("2026-05-29") {
			return s.Value[:len("2026-05-29")]
		}
	}
	return ""
}

func sentence(text string) string {
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// roff writes man(7). Its methods escape what they are given.
type roff struct{ *bufio.Writer }

func (b *roff) macro(name string, args ...string) {
	b.WriteString(name)
	for _, a := range args {
		fmt.Fprintf(b, ` "%s"`, strings.ReplaceAll(escape(a), `"`, `\(dq`))
	}
	b.WriteString("\n")
}

// text writes a paragraph, or what belongs to one.
func (b *roff) text(text string) {
	for _, line := range fill(strings.Fields(text), 66) {
		b.line(line)
	}
}

func (b *roff) line(line string) {
	line = escape(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	b.WriteString(line + "\n")
}

func (b *roff) usage(p *Page) {
	for i, u := range p.Usage {
		if i > 0 {
			b.macro(".br")
		}
		b.macro(".B", u)
	}
}

func (b *roff) prose(p *Page) {
	for i, text := range p.Prose {
		if i > 0 {
			b.macro(".PP")
		}
		b.text(text)
	}
}

func (b *roff) options(p *Page) {
	for _, o := range p.Options {
		if p.Commands == nil && o.Names[0] == "help" && strings.Contains(p.Name, " ") {
			continue // every command has it
		}
		b.item(o.term(), o.text())
	}
}

func (b *roff) item(term, text string) {
	b.macro(".TP")
	b.macro(".B", term)
	b.text(text)
}

func (b *roff) section(name string, list []Entry) {
	if len(list) == 0 {
		return
	}
	b.macro(".SH", name)
	for _, e := range list {
		b.item(e.Term, e.Text)
	}
}

func (b *roff) examples(p *Page) {
	for i, e := range p.Examples {
		if i > 0 {
			b.macro(".PP")
		}
		b.text(e.Comment)
		b.macro(".PP")
		b.macro(".RS", "4")
		b.macro(".EX")
		for line := range strings.SplitSeq(e.Script, "\n") {
			b.line(line)
		}
		b.macro(".EE")
		b.macro(".RE")
	}
}

// escape writes text so that it is printed as it stands: a dash stays one that can
// be copied into a shell.
func escape(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r == '~':
			b.WriteString(`\(ti`)
		case r == '^':
			b.WriteString(`\(ha`)
		case r == '`':
			b.WriteString(`\(ga`)
		case r == '\'':
			b.WriteString(`\(aq`)
		case r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
