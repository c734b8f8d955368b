package forms

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
	"github.com/charmbracelet/x/ansi"

	"ledgerd/internal/report"
)

// Text writes reports for people. The first line of each is the answer.
type Text struct {
	W     io.Writer
	Width int  // columns of the terminal; 0: 100
	Color bool // whether W is a terminal that may be sent colors
	Quiet bool // the answer only
}

const minWidth = 40

// Write writes one report.
func (t *Text) Write(r *report.Report) error {
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

func (t *Text) answer(r *report.Report) string {
	color := map[report.Outcome]string{report.Verified: "2", report.Wrong: "1", report.Undecidable: "3", report.Malformed: "1"}[r.Outcome]
	line := t.paint(color, true, r.Outcome.Word()) + "  " + report.Visible(r.Summary)
	if r.Input != "" {
		line += "  (" + report.Visible(r.Input) + ")"
	}
	return line
}

func (t *Text) paint(color string, bold bool, s string) string {
	if !t.Color {
		return s
	}
	return lipgloss.NewStyle().Foreground(lipgloss.Color(color)).Bold(bold).Render(s)
}

func (t *Text) body(w io.Writer, r *report.Report) {
	if r.Error != "" {
		t.indented(w, 2, r.Error)
	}
	if r.Origin != "" {
		t.field(w, "ledger", r.Origin)
	}
	if r.About != "" {
		t.field(w, "about", r.About)
	}
	if r.Scope != nil {
		t.scope(w, r.Scope)
	}
	for _, c := range r.Claims {
		t.field(w, "claim", c.String())
	}
	t.given(w, r, 0)
	if len(r.Rules) > 0 {
		fmt.Fprintln(w)
		fmt.Fprintln(w, t.table(r.Rules))
	}
	for _, g := range report.Group(r.Rules) {
		t.finding(w, strings.Join(g.Rules, ", "), g.Finding)
	}
	for _, rule := range r.Rules {
		if more := max(len(rule.Findings)-report.MaxShown, 0) + rule.Omitted; more > 0 {
			fmt.Fprintf(w, "\n%s: %d more; --output json lists up to 100\n", rule.Rule, more)
		}
	}
	for _, pair := range r.Equivocation {
		fmt.Fprintln(w)
		t.field(w, "signed", report.OneLine(pair[0]))
		t.field(w, "and signed", report.OneLine(pair[1]))
	}
	if r.Proof != "" {
		t.field(w, "proof", "kept in "+r.Proof)
	}
	if r.Kept != "" {
		t.field(w, "kept", "both tree heads, which are no proof by themselves, in "+r.Kept)
	}
}

// given lists what handoffs rest on, those before each under it.
func (t *Text) given(w io.Writer, r *report.Report, depth int) {
	for _, g := range r.Given {
		t.field(w, "accepted", strings.Repeat("  ", depth)+"on "+g.Report.Outcome.Word()+"  "+g.Report.Summary)
		t.given(w, g.Report, depth+1)
	}
}

func (t *Text) scope(w io.Writer, s *report.Scope) {
	if s.Root != "" {
		head := fmt.Sprintf("size %d, root %s", s.Size, s.Root)
		if len(s.Witnesses) > 0 {
			head += ", cosigned by " + strings.Join(s.Witnesses, ", ")
		}
		t.field(w, "tree head", head)
	}
	if s.Records == 0 && s.Since == 0 && s.Size > 0 {
		return // tree heads alone
	}
	what := report.Count(int(s.Records), "record")
	if s.Runs > 0 {
		what += " of " + report.Count(s.Runs, "run")
	}
	if s.Open > 0 {
		what += fmt.Sprintf(" (%d open)", s.Open)
	}
	if s.Since > 0 {
		what += fmt.Sprintf(", after %d that were audited before", s.Since)
	}
	if s.From != "" {
		what += ", " + s.From + " to " + s.To
	}
	t.field(w, "scope", what)
	if n := s.Disclosed + s.Withheld + s.Erased; n > 0 {
		t.field(w, "payloads", fmt.Sprintf("%d disclosed, %d withheld, %d erased", s.Disclosed, s.Withheld, s.Erased))
	}
}

func (t *Text) field(w io.Writer, name, value string) {
	const column = 12
	lines := strings.Split(ansi.Wrap(report.Visible(value), t.width()-column-2, ""), "\n")
	for i, line := range lines {
		if i > 0 {
			name = ""
		}
		fmt.Fprintf(w, "  %-*s%s\n", column, name, line)
	}
}

func (t *Text) indented(w io.Writer, by int, text string) {
	for line := range strings.SplitSeq(ansi.Wrap(report.Visible(text), t.width()-by, ""), "\n") {
		fmt.Fprintf(w, "%s%s\n", strings.Repeat(" ", by), line)
	}
}

func (t *Text) table(rules []report.Rule) string {
	style := lipgloss.NewStyle().PaddingRight(2)
	tab := table.New().Border(lipgloss.HiddenBorder()).
		BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).BorderColumn(false).BorderHeader(false).
		StyleFunc(func(int, int) lipgloss.Style { return style })
	// The last column takes what is left; the table would share the width out.
	const first, second = 14, 18
	// What leaves every rule undecided is said once, below.
	common := make(map[string]int)
	for _, r := range rules {
		common[r.DecidedBy()]++
	}
	for _, r := range rules {
		if d := r.DecidedBy(); d != "" && common[d] > report.MaxShown {
			tab.Row(pad(r.Rule, first-2), pad(t.mark(r.Status), second-2), "")
			continue
		}
		note := ansi.Wrap(report.Visible(r.Says()), max(t.width()-first-second, 16), "")
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

func (t *Text) mark(s report.Status) string {
	switch s {
	case report.Held:
		return t.paint("2", false, "✓ held")
	case report.Broken:
		return t.paint("1", true, "✗ broken")
	case report.NotDecided:
		return t.paint("3", false, "? not decidable")
	}
	return "- not applicable"
}

func (t *Text) finding(w io.Writer, rule string, f report.Finding) {
	mark, color := "✗", "1"
	if f.Status == report.NotDecided {
		mark, color = "?", "3"
	}
	fmt.Fprintf(w, "\n%s %s\n", t.paint(color, true, mark), ansi.Wrap(rule+": "+report.Visible(f.Reason), t.width()-2, ""))
	for _, m := range []struct{ name, value string }{
		{"expected", f.Expected}, {"found", f.Found}, {"decided by", f.Decides}, {"run", f.Run},
	} {
		if m.value != "" {
			t.field(w, m.name, m.value)
		}
	}
	for _, rec := range f.Records {
		t.field(w, "record", rec.String())
	}
}
