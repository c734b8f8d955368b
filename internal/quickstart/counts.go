package quickstart

import (
	"fmt"

	"ledgerd/evidence"
	"ledgerd/internal/report"
)

// tally is what records say of one kind of action.
type tally struct {
	happened int // by an execution that succeeded, or a settlement that found so
	attempts int // that were recorded
	settled  int // of those that happened: found out afterwards
}

func (n tally) String() string {
	s := fmt.Sprintf("%d happened, in %d recorded attempts", n.happened, n.attempts)
	if n.settled > 0 {
		s += fmt.Sprintf(" and %d that a probe found", n.settled)
	}
	return s
}

// count adds what a bundle says of an action.
func (n *tally) count(c *contents, action string) {
	for _, id := range c.order {
		switch b := c.records[id].Body.(type) {
		case *evidence.Execution:
			if b.Action != action || b.Status == evidence.StatusNotRun {
				continue
			}
			n.attempts++
			if b.Status == evidence.StatusSuccess {
				n.happened++
			}
		case *evidence.Settlement:
			if c.actionOf(b.Settles) == action && b.Finding == evidence.StatusSuccess {
				n.happened++
				n.settled++
			}
		}
	}
}

// compare shows the servers' own counts beside what the bundles say. Where they
// differ, either the records are wrong or something was done twice, or behind the
// runtime's back.
func (t *tour) compare() error {
	messages := t.mail.messages()
	tickets, ticketRequests := t.shop.count("/tickets")
	refunds, refundRequests := t.shop.count("/refunds")
	servers := []struct {
		what, took, action string
		made               int
	}{
		{"emails", fmt.Sprintf("%d messages", len(messages)), "send_email", len(messages)},
		{"tickets", fmt.Sprintf("%d opened, of %d requests", tickets, ticketRequests), "create_ticket", tickets},
		{"refunds", fmt.Sprintf("%d paid, of %d requests", refunds, refundRequests), "issue_refund", refunds},
	}
	var rows [][]string
	for _, s := range servers {
		var n tally
		for _, w := range t.worked {
			n.count(w.contents, s.action)
		}
		if n.happened != s.made {
			return fmt.Errorf("%s: the server took %d, and the records say %d", s.what, s.made, n.happened)
		}
		rows = append(rows, []string{s.what, s.took, n.String()})
	}
	t.view.grid(map[int]bool{0: true, 1: true}, []string{"", "the server", "the records"}, rows)
	name := "mailbox"
	for _, m := range messages {
		t.view.fact(name, fmt.Sprintf("%-26s %s", report.Visible(m.To), faint.Render(report.Visible(m.Subject))))
		name = ""
	}
	return nil
}
