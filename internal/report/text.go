package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
	"github.com/charmbracelet/x/ansi"
)

// Text writes reports for people. The first line of each is the answer.
type Text struct {
	W     io.Writer
	Width int  // columns of the terminal; 0: 100
	Color bool // whether W is a terminal that may be sent colors
	Quiet bool // the answer only
}

const minWidth = 40

// maxShown is how many findings of a rule are written out.
const maxShown = 10

// Write writes one report.
func (t *Text) Write(r *Report) error {
	w := bufio.NewWriter(t.W)
	fmt.Fprintln(w, t.answer(r))
	if !t.Quiet {
		t.body(w, r)
	}
	return w.Flush()
}

func (t *Text) width() int {
	if t.Width <= 0 {
		return 100
	}
	return max(t.Width, minWidth)
}

func (t *Text) answer(r *Report) string {
	word := map[Outcome]string{Verified: "VERIFIED", Wrong: "PROVEN WRONG", Undecidable: "NOT DECIDABLE", Malformed: "MALFORMED"}[r.Outcome]
	color := map[Outcome]string{Verified: "2", Wrong: "1", Undecidable: "3", Malformed: "1"}[r.Outcome]
	line := t.paint(color, true, word) + "  " + Visible(r.Summary)
	if r.Input != "" {
		line += "  (" + Visible(r.Input) + ")"
	}
	return line
}

func (t *Text) paint(color string, bold bool, s string) string {
	if !t.Color {
		return s
	}
	return lipgloss.NewStyle().Foreground(lipgloss.Color(color)).Bold(bold).Render(s)
}

func (t *Text) body(w io.Writer, r *Report) {
	if r.Error != "" {
		t.indented(w, 2, r.Error)
	}
	if r.Origin != "" {
		t.field(w, "ledger", r.Origin)
	}
	if r.About != "" {
		t.field(w, "about", r.About)
	}
	for _, h := range r.Heads {
		t.field(w, "tree head", headText(h))
	}
	for _, c := range r.Claims {
		t.field(w, "claim", claimText(c))
	}
	if len(r.Rules) > 0 {
		fmt.Fprintln(w)
		fmt.Fprintln(w, t.table(r.Rules))
	}
	for _, rule := range r.Rules {
		for i, f := range rule.Findings {
			if i == maxShown {
				fmt.Fprintf(w, "\n%s: %d more of these; --output json has them\n", rule.Rule, len(rule.Findings)-i+rule.Omitted)
				break
			}
			t.finding(w, rule.Rule, f)
		}
	}
	if r.Proof != "" {
		t.field(w, "proof", "both tree heads are kept in "+r.Proof)
	}
}

func headText(h Head) string {
	s := fmt.Sprintf("size %d, root %s", h.Size, h.Root)
	if len(h.Witnesses) > 0 {
		s += ", cosigned by " + strings.Join(h.Witnesses, ", ")
	}
	if !h.Accepted {
		s += ", not accepted: " + h.Why
	}
	return s
}

func claimText(c Claim) string {
	s := c.Result
	if c.Source != "" {
		s += " (weakest source: " + c.Source + ")"
	}
	if c.Claim != "" {
		return s + ", " + c.Claim
	}
	return s + ", " + c.Run
}

func (t *Text) field(w io.Writer, name, value string) {
	const column = 12
	lines := strings.Split(ansi.Wrap(Visible(value), t.width()-column-2, ""), "\n")
	for i, line := range lines {
		if i > 0 {
			name = ""
		}
		fmt.Fprintf(w, "  %-*s%s\n", column, name, line)
	}
}

func (t *Text) indented(w io.Writer, by int, text string) {
	for line := range strings.SplitSeq(ansi.Wrap(Visible(text), t.width()-by, ""), "\n") {
		fmt.Fprintf(w, "%s%s\n", strings.Repeat(" ", by), line)
	}
}

func (t *Text) table(rules []Rule) string {
	style := lipgloss.NewStyle().PaddingRight(2)
	tab := table.New().Border(lipgloss.HiddenBorder()).
		BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).BorderColumn(false).BorderHeader(false).
		StyleFunc(func(int, int) lipgloss.Style { return style })
	// The last column takes what is left; the table would share the width out.
	const first, second = 14, 18
	for _, r := range rules {
		note := ansi.Wrap(Visible(noteOf(r)), max(t.width()-first-second, 16), "")
		tab.Row(pad(r.Rule, first-2), pad(t.mark(r.Status), second-2), note)
	}
	lines := strings.Split(tab.Render(), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(width-lipgloss.Width(s), 0))
}

func (t *Text) mark(s Status) string {
	switch s {
	case Held:
		return t.paint("2", false, "✓ held")
	case Broken:
		return t.paint("1", true, "✗ broken")
	case NotDecided:
		return t.paint("3", false, "? not decidable")
	}
	return "- not applicable"
}

func noteOf(r Rule) string {
	var parts []string
	if r.Note != "" {
		parts = append(parts, r.Note)
	}
	if n := len(r.Findings) + r.Omitted; n > 0 {
		parts = append(parts, plural(n, "finding"))
	}
	if r.Decides != "" {
		parts = append(parts, "would be decided by "+r.Decides)
	}
	return strings.Join(parts, "; ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (t *Text) finding(w io.Writer, rule string, f Finding) {
	mark, color := "✗", "1"
	if f.Status == NotDecided {
		mark, color = "?", "3"
	}
	fmt.Fprintf(w, "\n%s %s: %s\n", t.paint(color, true, mark), rule, Visible(f.Reason))
	for _, m := range []struct{ name, value string }{
		{"expected", f.Expected}, {"found", f.Found}, {"decided by", f.Decides}, {"run", f.Run},
	} {
		if m.value != "" {
			t.field(w, m.name, m.value)
		}
	}
	for _, rec := range f.Records {
		t.field(w, "record", fmt.Sprintf("%s (index %d)", rec.ID, rec.Index))
	}
}
