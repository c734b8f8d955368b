package quickstart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/report"
)

// contents is what a bundle discloses, read from its file and nothing else.
type contents struct {
	file     []byte
	order    []evidence.ID
	records  map[evidence.ID]*evidence.Record
	entries  map[evidence.ID][]byte
	payloads map[evidence.Digest][]byte
}

func readContents(path string) (*contents, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c := &contents{
		file: file, records: make(map[evidence.ID]*evidence.Record), entries: make(map[evidence.ID][]byte),
		payloads: make(map[evidence.Digest][]byte),
	}
	r := bundle.NewReader(bytes.NewReader(file))
	if _, err := r.Header(); err != nil {
		return nil, err
	}
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		switch x := item.(type) {
		case *bundle.RecordItem:
			u, err := evidence.Parse(x.Entry)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			c.order = append(c.order, u.ID())
			c.records[u.ID()], c.entries[u.ID()] = u.UnverifiedRecord(), x.Entry
		case *bundle.PayloadItem:
			if c.payloads[x.Commit], err = io.ReadAll(x.Data); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
	}
}

// find returns the first record of a bundle that meets want.
func (c *contents) find(want func(*evidence.Record) bool) (evidence.ID, bool) {
	for _, id := range c.order {
		if want(c.records[id]) {
			return id, true
		}
	}
	return evidence.ID{}, false
}

// claim returns the words of the claim.
func (c *contents) claim() string {
	id, ok := c.find(func(r *evidence.Record) bool { return r.Kind == evidence.KindClaim })
	if !ok {
		return ""
	}
	return c.text(&c.records[id].Body.(*evidence.Claim).Statements[0].Text)
}

// text returns a payload as a terminal may show it.
func (c *contents) text(m *evidence.Commitment) string {
	if m == nil {
		return ""
	}
	return report.Visible(string(c.payloads[m.Commit]))
}

// sentence says what a record states, for somebody who never saw one, and
// whether it states a failure.
func (c *contents) sentence(id evidence.ID) (text string, failure bool) {
	r, ok := c.records[id]
	if !ok {
		return "a record that the bundle does not hold", false
	}
	switch b := r.Body.(type) {
	case *evidence.Authorization:
		if b.Effect == evidence.Deny {
			return fmt.Sprintf("%s was denied by %s", b.Action, strings.Join(b.Policies, ", ")), true
		}
		return b.Action + " was allowed", false
	case *evidence.Execution:
		switch b.Status {
		case evidence.StatusSuccess:
			text = b.Action + " succeeded"
			if b.Attempt > 1 {
				text += fmt.Sprintf(" at attempt %d", b.Attempt)
			}
			if who := c.approver(b.Authorization); who != "" {
				text += ", approved by " + who
			}
			return text, false
		case evidence.StatusFailure:
			return b.Action + " failed: " + c.text(b.Error), true
		}
		return fmt.Sprintf("%s: %s", b.Action, b.Status), false
	case *evidence.Settlement:
		return fmt.Sprintf("%s: %s, as a %s found", c.actionOf(b.Settles), b.Finding, b.By), false
	}
	return string(r.Kind), false
}

// actionOf returns the action of an authorization or execution.
func (c *contents) actionOf(id evidence.ID) string {
	if r, ok := c.records[id]; ok {
		switch b := r.Body.(type) {
		case *evidence.Authorization:
			return b.Action
		case *evidence.Execution:
			return b.Action
		}
	}
	return ""
}

// settled reports whether a doubt about a record was settled: then it is the
// settlement that tells.
func (c *contents) settled(id evidence.ID) bool {
	_, ok := c.find(func(r *evidence.Record) bool {
		b, ok := r.Body.(*evidence.Settlement)
		return ok && b.Settles == id
	})
	return ok
}

// approver returns who approved what an authorization permits; "": nobody had to.
func (c *contents) approver(authorization evidence.ID) string {
	if r, ok := c.records[authorization]; ok {
		if b, ok := r.Body.(*evidence.Authorization); ok && !b.Approval.IsZero() {
			if a, ok := c.records[b.Approval]; ok {
				return a.Actor
			}
		}
	}
	return ""
}

// neverAsked returns the actions that the contract expects and that the run has
// no authorization of.
func (c *contents) neverAsked() []string {
	asked := make(map[string]bool)
	var contract []byte
	for _, r := range c.records {
		switch b := r.Body.(type) {
		case *evidence.Authorization:
			asked[b.Action] = true
		case *evidence.RunOpened:
			if b.Contract != nil {
				contract = c.payloads[b.Contract.Document.Commit]
			}
		}
	}
	doc, err := audit.ParseContract(contract)
	if err != nil {
		return nil
	}
	var never []string
	for _, e := range doc.Expects {
		if !asked[e.Action] {
			never = append(never, e.Action)
		}
	}
	return never
}

// short is as much of an evidence ID as tells records apart at a glance.
func short(id evidence.ID) string { return id.String()[:11] + "…" }
