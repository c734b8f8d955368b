package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/report"
	"ledgerd/internal/server"
	"ledgerd/ledger"
	"ledgerd/runtime"
)

// The columns of a timeline.
const (
	believed = "believed"
	allowed  = "allowed"
	executed = "executed"
	ended    = "run" // across all columns
)

// moment is one record in a timeline.
type moment struct {
	api.Record
	Column string `json:"column"`
	Says   string `json:"says"`
	Trace  string `json:"trace,omitempty"` // ID, where the record names one

	kind string
}

// maxSaid is how many characters of a payload a timeline shows.
const maxSaid = 200

// said is the beginning of a payload.
func (t *target) said(ctx context.Context, c *evidence.Commitment) (string, error) {
	if c == nil {
		return "", nil
	}
	data, err := t.payload(ctx, c.Commit)
	if errors.Is(err, ledger.ErrErased) || errors.Is(err, ledger.ErrNoPayload) {
		return "(" + t.gone() + ")", nil
	}
	text := []rune(strings.ToValidUTF8(string(data), "\ufffd"))
	if len(text) > maxSaid {
		text = append(text[:maxSaid], '…')
	}
	return string(text), err
}

// gone is what is known of a payload that cannot be read. A daemon does not tell
// a token without the right to read payloads which of them there are.
func (t *target) gone() string {
	if t.remote != nil {
		return "not in the ledger any more, or not for this token"
	}
	return "not in the ledger any more"
}

// moment says what a record means for a reader, and in which column.
func (t *target) moment(ctx context.Context, p *evidence.Placed) (m moment, err error) {
	var parts []string
	say := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	quote := func(what string, c *evidence.Commitment) {
		text, readErr := t.said(ctx, c)
		err = errors.Join(err, readErr)
		if text != "" {
			say("%s%s", what, text)
		}
	}
	m = moment{Record: server.Record(p), Column: ended, kind: string(p.Record.Kind)}
	m.Trace, _ = runtime.TraceOf(p.Record)
	switch b := p.Record.Body.(type) {
	case *evidence.RunOpened:
		say("%s, by %s for %s", b.Task, p.Record.Actor, b.Principal)
		if !b.Acceptance.IsZero() {
			say("continues what %s accepted", b.Acceptance)
		}
		quote("asked: ", b.Intent)
	case *evidence.Context:
		m.Column = believed
		for _, s := range b.Sources {
			if s.Evidence.IsZero() {
				say("saw %s", s.Name)
			} else {
				say("saw %s, from %s", s.Name, s.Evidence)
			}
		}
	case *evidence.Decision:
		m.Column = believed
		say("%s %s", b.Step, b.Model)
		quote("chose ", &b.Choice)
		quote("because ", b.Rationale)
		parts = append(parts, costs(b.Cost)...)
	case *evidence.Authorization:
		m.Column = allowed
		say("%s: %s %s", b.Step, b.Effect, b.Action)
		if b.Resource != "" {
			say("on %s", b.Resource)
		}
		if b.Mode == evidence.Observe {
			say("not enforced")
		}
		if b.Team != "" {
			say("asks %s", b.Team)
		}
		if len(b.Policies) > 0 {
			say("by %s", strings.Join(b.Policies, ", "))
		}
		if !b.Approval.IsZero() {
			say("approved in %s", b.Approval)
		}
	case *evidence.Approval:
		m.Column = allowed
		say("%s: %s", p.Record.Actor, b.Answer)
		quote("", b.Reason)
	case *evidence.Execution:
		m.Column = executed
		say("%s by %s: %s", b.Action, b.Tool, b.Status)
		if b.Class != "" {
			say("%s", b.Class)
		}
		if b.Attempt > 1 {
			say("attempt %d", b.Attempt)
		}
		if b.TookMS != nil {
			say("%d ms", *b.TookMS)
		}
		parts = append(parts, costs(b.Cost)...)
	case *evidence.Confirmation:
		m.Column = executed
		say("%s confirms: %s", p.Record.Actor, b.Status)
	case *evidence.Settlement:
		m.Column = executed
		say("settled by %s: %s", b.By, b.Finding)
	case *evidence.Claim:
		for i := range b.Statements {
			quote("", &b.Statements[i].Text)
		}
		for _, bare := range audit.BareStatements(b) {
			say("%s", bare)
		}
	case *evidence.Verdict:
		say("%s", b.Result)
	case *evidence.HandoffOffered:
		say("%s, to %s of %s", b.Task, b.To.Actor, b.To.Origin)
		for _, s := range b.Scope {
			say("may %s on %s", s.Action, s.Resource)
		}
		quote("note, which nobody verified: ", b.Note)
	case *evidence.Escalation:
		say("%s, to %s", b.Reason, b.To)
	case *evidence.Checkpoint:
		say("%s", b.Name)
	case *evidence.RunClosed:
		say("%s %s", b.End, b.Reason)
	}
	m.Says = strings.TrimSpace(strings.Join(parts, "; "))
	return m, err
}

// costs are amounts in words, in one order.
func costs(a evidence.Amounts) (list []string) {
	for unit, n := range a {
		list = append(list, fmt.Sprintf("%d %s", n, unit))
	}
	slices.Sort(list)
	return list
}

// screen is how wide the lines of a result are: as the terminal is, or 120.
func screen(c *cli.Context) int {
	if f, ok := c.App.Writer.(*os.File); ok {
		if cols, _, err := term.GetSize(int(f.Fd())); err == nil {
			return max(cols, 60)
		}
	}
	return 120
}

// heading names the columns.
func heading(c *cli.Context) string {
	return columns(screen(c), "", "believed and decided", "allowed", "executed")
}

// columns sets one line of a timeline, in as many lines as it takes. What it is
// given is visible already.
func columns(width int, first string, cells ...string) string {
	const head = 9
	each := (width - head - 3*len(cells)) / len(cells)
	wrapped := make([][]string, len(cells))
	height := 1
	for i, cell := range cells {
		wrapped[i] = strings.Split(ansi.Wrap(cell, each, ""), "\n")
		height = max(height, len(wrapped[i]))
	}
	var b strings.Builder
	for n := range height {
		line := fmt.Sprintf("%*s", head, first)
		first = ""
		for _, w := range wrapped {
			text := ""
			if n < len(w) {
				text = w[n]
			}
			line += " | " + text + strings.Repeat(" ", max(each-ansi.StringWidth(text), 0))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// text is the moment as lines of a terminal of that width.
func (m *moment) text(width int) string {
	index := fmt.Sprint(m.Index)
	says := report.Visible(m.Says)
	switch m.Column {
	case believed:
		return columns(width, index, says, "", "")
	case allowed:
		return columns(width, index, "", says, "")
	case executed:
		return columns(width, index, "", "", says)
	}
	return columns(width, index, strings.TrimSpace(report.Visible(m.kind)+"  "+says))
}
