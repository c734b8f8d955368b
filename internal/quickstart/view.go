package quickstart

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"ledgerd/evidence"
)

// view writes what the reader sees. Colours go only to a terminal that has them
// and is not told otherwise (NO_COLOR); lines fit its width.
type view struct {
	w     io.Writer
	width int
	steps int
}

// Widths in columns between which lines are laid out.
const (
	narrowest = 60
	widest    = 124
	unknown   = 100 // not a terminal
)

// newView writes to w, in so many columns or, if 0, those of the terminal that w
// is. Environ decides about colours as os.Environ has it.
func newView(w io.Writer, environ []string, width int) *view {
	if width == 0 {
		width = unknown
		if f, ok := w.(*os.File); ok {
			if cols, _, err := term.GetSize(int(f.Fd())); err == nil {
				width = cols
			}
		}
	}
	return &view{w: colorprofile.NewWriter(w, environ), width: min(max(width, narrowest), widest)}
}

var (
	strong  = lipgloss.NewStyle().Bold(true)
	faint   = lipgloss.NewStyle().Faint(true)
	accent  = lipgloss.NewStyle().Foreground(lipgloss.Color("6")).Bold(true)
	good    = lipgloss.NewStyle().Foreground(lipgloss.Color("2")).Bold(true)
	bad     = lipgloss.NewStyle().Foreground(lipgloss.Color("1")).Bold(true)
	unclear = lipgloss.NewStyle().Foreground(lipgloss.Color("3")).Bold(true)
)

const (
	indent = "   "
	labels = 12 // columns of what a fact is called
)

func (v *view) print(s string) { fmt.Fprintln(v.w, s) }

// title opens the page.
func (v *view) title(name, line string) {
	v.print("")
	v.paragraph(strong.Render(name) + "  " + line)
}

// step begins the next numbered part.
func (v *view) step(title string) {
	v.steps++
	v.print("\n" + accent.Render(fmt.Sprintf("%d", v.steps)) + "  " + strong.Render(title))
}

// hyphen stands for one while text is wrapped: lines do not end within an evidence
// ID. It is no character that [report.Visible] lets through.
const hyphen = "\ue000"

// wrap breaks text into lines, after one of the characters in after.
func wrap(text string, width int, after string) []string {
	text = lipgloss.Wrap(strings.ReplaceAll(text, "-", hyphen), width, after)
	return strings.Split(strings.ReplaceAll(text, hyphen, "-"), "\n")
}

// paragraph writes text, wrapped and indented.
func (v *view) paragraph(text string) {
	for _, line := range wrap(text, v.width-len(indent), " ") {
		v.print(indent + line)
	}
}

// fact writes a value beside what it is.
func (v *view) fact(name, value string) {
	for i, line := range wrap(value, v.width-len(indent)-labels, " /") {
		if i > 0 {
			name = ""
		}
		v.print(indent + faint.Render(fmt.Sprintf("%-*s", labels, name)) + line)
	}
}

// command writes something to type, unwrapped: it is to be copied.
func (v *view) command(line, what string) {
	v.print(indent + faint.Render("# "+what))
	v.print(indent + line)
}

// mark is how a result looks.
func mark(r evidence.Result) string {
	switch r {
	case evidence.Supported:
		return good.Render("✓ " + string(r))
	case evidence.Contradicted, evidence.Unsupported:
		return bad.Render("✗ " + string(r))
	}
	return unclear.Render("? " + string(r))
}

// outcome is how an exit code of verify looks.
func outcome(code int) string {
	switch code {
	case 0:
		return good.Render("verified") + faint.Render("  exit 0")
	case 1:
		return bad.Render("proven wrong") + faint.Render("  exit 1")
	}
	return unclear.Render("not decidable") + faint.Render(fmt.Sprintf("  exit %d", code))
}

// grid writes a table without frame, a line between its rows. The columns in
// tight keep the width of their longest cell; the others share the rest.
func (v *view) grid(tight map[int]bool, header []string, rows [][]string) {
	width := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for col, cell := range row {
			if tight[col] {
				width[col] = max(width[col], lipgloss.Width(cell)+2)
			}
		}
	}
	left, shares := v.width-len(indent), len(header)-len(tight)
	for _, w := range width {
		left -= w
	}
	for col := range width {
		if !tight[col] {
			width[col] = left / shares
		}
	}
	for _, row := range rows {
		for col := range row {
			row[col] = strings.Join(wrap(row[col], width[col]-2, " "), "\n")
		}
	}
	t := table.New().Headers(header...).Rows(rows...).
		Border(lipgloss.NormalBorder()).BorderStyle(faint).
		BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).BorderColumn(false).BorderRow(true).
		Wrap(true).
		StyleFunc(func(row, col int) lipgloss.Style {
			s := lipgloss.NewStyle().Width(width[col]).PaddingRight(2)
			if row == table.HeaderRow {
				return s.Faint(true)
			}
			return s
		})
	v.print("")
	for line := range strings.Lines(t.Render()) {
		v.print(indent + strings.TrimRight(line, " \n"))
	}
	v.print("")
}

// stories writes the table of runs.
func (v *view) stories(all []story) {
	rows := make([][]string, 0, len(all))
	for _, s := range all {
		said, verdict := "“"+s.claim+"”", mark(s.verdict)
		if s.claim == "" {
			said, verdict = faint.Render("nothing: it makes no claim"), bad.Render("✗ not met")
			if s.verdict == evidence.Supported {
				verdict = good.Render("✓ met")
			}
		}
		rows = append(rows, []string{s.id, said, verdict + "\n" + faint.Render(fmt.Sprintf("verify: exit %d", s.exit)), strings.Join(s.decides, "\n")})
	}
	v.grid(map[int]bool{0: true, 2: true}, []string{"run", "the agent said", "verdict", "what decides"}, rows)
}

// lie writes what was changed and what verify says of it.
func (v *view) lie(l *lie) {
	v.fact("file", filepath.Base(l.file))
	v.fact("record", "the denied "+l.action+" of "+l.run)
	v.fact("before", l.before)
	v.fact("after", bad.Render(l.after))
	v.fact("verify", outcome(l.exit))
	for _, b := range l.broken {
		v.fact("", ansi.Truncate(b, v.width-len(indent)-labels, "…"))
	}
}
