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
	color := map[Outcome]string{Verified: "2", Wrong: "1", Undecidable: "3", Malformed: "1"}[r.Outcome]
	line := t.paint(color, true, word(r.Outcome)) + "  " + Visible(r.Summary)
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
	if r.Scope != nil {
		t.scope(w, r.Scope)
	}
	for _, c := range r.Claims {
		t.field(w, "claim", claimText(c))
	}
	t.given(w, r, 0)
	if len(r.Rules) > 0 {
		fmt.Fprintln(w)
		fmt.Fprintln(w, t.table(r.Rules))
	}
	for _, g := range group(r.Rules) {
		t.finding(w, strings.Join(g.rules, ", "), g.finding)
	}
	for _, rule := range r.Rules {
		if more := max(len(rule.Findings)-maxShown, 0) + rule.Omitted; more > 0 {
			fmt.Fprintf(w, "\n%s: %d more; --output json lists up to 100\n", rule.Rule, more)
		}
	}
	for _, pair := range r.Equivocation {
		fmt.Fprintln(w)
		t.field(w, "signed", oneLine(pair[0]))
		t.field(w, "and signed", oneLine(pair[1]))
	}
	if r.Proof != "" {
		t.field(w, "proof", "kept in "+r.Proof)
	}
	if r.Kept != "" {
		t.field(w, "kept", "both tree heads, which are no proof by themselves, in "+r.Kept)
	}
}

// given lists what handoffs rest on, those before each under it.
func (t *Text) given(w io.Writer, r *Report, depth int) {
	for _, g := range r.Given {
		t.field(w, "accepted", strings.Repeat("  ", depth)+"on "+word(g.Report.Outcome)+"  "+g.Report.Summary)
		t.given(w, g.Report, depth+1)
	}
}

func word(o Outcome) string {
	return map[Outcome]string{Verified: "VERIFIED", Wrong: "PROVEN WRONG", Undecidable: "NOT DECIDABLE", Malformed: "MALFORMED"}[o]
}

// grouped is a finding and the rules that all have it.
type grouped struct {
	rules   []string
	finding Finding
}

// group puts findings together that differ in their rule alone, such as that
// the trust file does not know the ledger, which leaves every rule undecided.
func group(rules []Rule) []grouped {
	var out []grouped
	at := make(map[string]int)
	for _, r := range rules {
		for i, f := range r.Findings {
			if i == maxShown {
				break
			}
			key := fmt.Sprintf("%q", []string{string(f.Status), f.Reason, f.Expected, f.Found, f.Decides, f.Run, fmt.Sprint(f.Records)})
			if k, ok := at[key]; ok && len(f.Records) == 0 {
				out[k].rules = append(out[k].rules, r.Rule)
				continue
			}
			at[key] = len(out)
			out = append(out, grouped{[]string{r.Rule}, f})
		}
	}
	return out
}

// oneLine shows a signed note: origin, size, root and signatures.
func oneLine(note string) string {
	return strings.Join(strings.Fields(note), " ")
}

func (t *Text) scope(w io.Writer, s *Scope) {
	if s.Root != "" {
		head := fmt.Sprintf("size %d, root %s", s.Size, s.Root)
		if len(s.Witnesses) > 0 {
			head += ", cosigned by " + strings.Join(s.Witnesses, ", ")
		}
		t.field(w, "tree head", head)
	}
	if s.Records == 0 && s.Size > 0 {
		return // tree heads alone
	}
	what := plural(int(s.Records), "record")
	if s.Runs > 0 {
		what += " of " + plural(s.Runs, "run")
	}
	if s.Open > 0 {
		what += fmt.Sprintf(" (%d open)", s.Open)
	}
	if s.From != "" {
		what += ", " + s.From + " to " + s.To
	}
	t.field(w, "scope", what)
	if n := s.Disclosed + s.Withheld + s.Erased; n > 0 {
		t.field(w, "payloads", fmt.Sprintf("%d disclosed, %d withheld, %d erased", s.Disclosed, s.Withheld, s.Erased))
	}
}

func claimText(c Claim) string {
	s := c.Result
	if c.Source != "" {
		s += " (weakest source: " + c.Source + ")"
	}
	if c.Why != "" {
		s += ": " + c.Why
	}
	if c.Claim == "" {
		s += ", the run as such"
	} else {
		s += ", " + c.Claim
	}
	if n := len(c.RestsOn); n > 0 {
		s += "; rests on " + plural(n, "handoff")
	}
	if len(c.Bare) > 0 {
		s += "; " + strings.Join(c.Bare, "; ")
	}
	return s
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
	// What leaves every rule undecided is said once, below.
	common := make(map[string]int)
	for _, r := range rules {
		common[decides(r)]++
	}
	for _, r := range rules {
		if d := decides(r); d != "" && common[d] > maxShown {
			tab.Row(pad(r.Rule, first-2), pad(t.mark(r.Status), second-2), "")
			continue
		}
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
	if r.AsEnforced && r.Status == Held {
		parts = append(parts, "as the operator enforced it")
	}
	if n := len(r.Findings) + r.Omitted; n > 0 {
		parts = append(parts, plural(n, "finding"))
	}
	if d := decides(r); d != "" {
		parts = append(parts, "decided by "+d)
	}
	return strings.Join(parts, "; ")
}

// decides says what would decide a rule first of all; "": it is decided.
func decides(r Rule) string {
	if r.Status != NotDecided || len(r.Findings) == 0 {
		return ""
	}
	return r.Findings[0].Decides
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
	fmt.Fprintf(w, "\n%s %s\n", t.paint(color, true, mark), ansi.Wrap(rule+": "+Visible(f.Reason), t.width()-2, ""))
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

// String names the record and where it stands.
func (r Record) String() string {
	if r.Index == nil {
		return r.ID
	}
	return fmt.Sprintf("%s (index %d)", r.ID, *r.Index)
}
