package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Page is a report or an explanation in plain words, for a person: the answer,
// and sections of what was found. Everything in it may be text from records:
// whoever writes it out makes it visible. Its JSON form is specified in
// docs/verify-page.schema.json.
type Page struct {
	Version  string    `json:"page"`  // "v1"
	Kind     string    `json:"kind"`  // report or explanation
	Input    string    `json:"input"` // the file as it was named; "-": standard input
	Title    string    `json:"title"` // what it is about
	Outcome  Outcome   `json:"outcome"`
	Answer   string    `json:"answer"` // in one sentence
	Why      []Item    `json:"why,omitempty"`
	Sections []Section `json:"sections,omitempty"`
}

// Section is a part of a page.
type Section struct {
	Name    string `json:"name"` // stable
	Heading string `json:"heading"`
	Note    string `json:"note,omitempty"`
	Items   []Item `json:"items,omitempty"`
	Omitted int    `json:"omitted,omitempty"` // items beyond those that are shown
}

// Mark says at a glance what an item says.
type Mark string

// The marks.
const (
	MarkNone  Mark = ""
	MarkGood  Mark = "good"
	MarkBad   Mark = "bad"
	MarkDoubt Mark = "doubt"
)

// Item is one thing that is told, and what belongs to it.
type Item struct {
	Mark    Mark    `json:"mark,omitempty"`
	Says    string  `json:"says"`
	Time    string  `json:"time,omitempty"`
	Index   *uint64 `json:"index,omitempty"`
	Record  string  `json:"record,omitempty"` // evidence ID
	Fields  []Field `json:"fields,omitempty"`
	Quotes  []Quote `json:"quotes,omitempty"`
	Items   []Item  `json:"items,omitempty"`
	Omitted int     `json:"omitted,omitempty"` // items beyond those that are shown
}

// Field is a named value.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Quote is a payload: text that somebody wrote, or what has become of it.
type Quote struct {
	Name   string `json:"name"`
	State  string `json:"state"` // disclosed, withheld, erased or other
	Text   string `json:"text,omitempty"`
	Size   int64  `json:"size"`          // bytes of the whole
	Cut    bool   `json:"cut,omitempty"` // Text is its beginning
	Media  string `json:"media,omitempty"`
	Commit string `json:"commit"`
}

// The states of a quote.
const (
	QuoteDisclosed = "disclosed" // it is what its record commits to
	QuoteWithheld  = "withheld"
	QuoteErased    = "erased" // a record says that it is gone
	QuoteOther     = "other"  // what was disclosed is not what the record commits to
)

// About says what there is to know of a quote beside its text.
func (q *Quote) About() string {
	size := Count(int(q.Size), "byte")
	if q.Media != "" {
		size += " of " + q.Media
	}
	switch q.State {
	case QuoteWithheld:
		return "not disclosed, " + size
	case QuoteErased:
		return "erased, " + size
	case QuoteOther:
		return "what was disclosed is not what the record commits to, and is not shown; " + size
	}
	if q.Size == 0 {
		return "empty"
	}
	if q.Cut && q.Text == "" {
		return size + ", not shown: the file discloses too much"
	}
	if q.Cut {
		return "the beginning of " + size
	}
	return size
}

// Where names the record of an item.
func (it *Item) Where() string {
	var parts []string
	if it.Time != "" {
		parts = append(parts, it.Time)
	}
	if it.Index != nil {
		parts = append(parts, fmt.Sprintf("index %d", *it.Index))
	}
	if it.Record != "" {
		parts = append(parts, it.Record)
	}
	return strings.Join(parts, ", ")
}

// JSON writes the page as one line of JSON.
func (p *Page) JSON(w io.Writer) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err := w.Write(SafeJSON(b.Bytes()))
	return err
}
