package forms

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"ledgerd/internal/report"
)

// maxIndent is how far items within items are set in, at most: what lies deeper
// still has a line to stand on.
const maxIndent = 16

// Page writes a page. The first line is the answer.
func (t *Text) Page(p *report.Page) error {
	w := bufio.NewWriter(t.W)
	line := t.paint(outcomeColor(p.Outcome), true, p.Outcome.Word()) + "  " + report.Visible(p.Title)
	if p.Input != "" {
		line += "  (" + report.Visible(p.Input) + ")"
	}
	fmt.Fprintln(w, line)
	if !t.Quiet {
		t.indented(w, 2, p.Answer)
		t.items(w, p.Why, 2)
		for i := range p.Sections {
			t.section(w, &p.Sections[i])
		}
	}
	return w.Flush()
}

func outcomeColor(o report.Outcome) string {
	return map[report.Outcome]string{report.Verified: "2", report.Wrong: "1", report.Undecidable: "3", report.Malformed: "1"}[o]
}

func (t *Text) section(w io.Writer, s *report.Section) {
	fmt.Fprintf(w, "\n%s\n", t.paint("6", true, report.Visible(s.Heading)))
	if s.Note != "" {
		t.indented(w, 2, s.Note)
	}
	t.items(w, s.Items, 2)
	t.omitted(w, s.Omitted, 2)
}

func (t *Text) omitted(w io.Writer, n, by int) {
	if n > 0 {
		t.indented(w, by, fmt.Sprintf("… and %d more; verify explain tells each record", n))
	}
}

func (t *Text) items(w io.Writer, items []report.Item, by int) {
	by = min(by, maxIndent)
	for i := range items {
		t.item(w, &items[i], by)
	}
}

func (t *Text) item(w io.Writer, it *report.Item, by int) {
	sign, color := "-", ""
	switch it.Mark {
	case report.MarkGood:
		sign, color = "✓", "2"
	case report.MarkBad:
		sign, color = "✗", "1"
	case report.MarkDoubt:
		sign, color = "?", "3"
	}
	if color != "" {
		sign = t.paint(color, true, sign)
	}
	t.hung(w, by, sign+" ", 2, it.Says)
	if at := it.Where(); at != "" {
		t.hung(w, by+2, "", 0, at)
	}
	for _, f := range it.Fields {
		t.hung(w, by+2, report.Visible(f.Name)+": ", 2, f.Value)
	}
	for i := range it.Quotes {
		q := &it.Quotes[i]
		t.hung(w, by+2, "", 2, q.Name+" ("+q.About()+")")
		if q.Text != "" {
			t.quoted(w, by+2, q.Text)
		}
	}
	t.items(w, it.Items, by+2)
	t.omitted(w, it.Omitted, by+2)
}

// hung writes text behind a first word; the lines that follow are set in by hang.
// first is the program's own, text is anybody's.
func (t *Text) hung(w io.Writer, by int, first string, hang int, text string) {
	lines := strings.Split(ansi.Wrap(first+report.Visible(text), t.room(by+hang), ""), "\n")
	for i, line := range lines {
		if i > 0 {
			line = strings.Repeat(" ", hang) + line
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Repeat(" ", by)+line, " "))
	}
}

// quoted writes what somebody wrote, line for line, behind a bar that no line of it
// can come before.
func (t *Text) quoted(w io.Writer, by int, text string) {
	const bar = "│ "
	for own := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		for line := range strings.SplitSeq(ansi.Wrap(report.Visible(own), t.room(by+len("| ")), ""), "\n") {
			fmt.Fprintln(w, strings.TrimRight(strings.Repeat(" ", by)+bar+line, " "))
		}
	}
}

// room is how wide text may be that is set in.
func (t *Text) room(by int) int { return max(t.width()-by, minWidth/2) }
