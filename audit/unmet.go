package audit

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
)

// Unmet says in words what a run, as it stands, does not meet of its contract: each item,
// and why not. It tells an agent what is left to do, and is no part of a verdict.
func Unmet(r *Run, p Payloads) ([]string, error) {
	if r.Body.Contract == nil {
		return nil, nil
	}
	b := &bench{run: r, values: newValues(p), used: make(map[evidence.Digest]bool)}
	doc, ok := b.raw(&r.Body.Contract.Document)
	if !ok {
		return nil, nil
	}
	c, err := ParseContract(doc)
	if err != nil {
		return nil, err
	}
	t, err := Try(r, c, "", p)
	if err != nil {
		return nil, err
	}
	var unmet []string
	for _, part := range t.Parts {
		if part.Result == evidence.Supported {
			continue
		}
		unmet = append(unmet, fmt.Sprintf("%s (%s): %s", part.Place, part.Item, part.Why))
	}
	return unmet, nil
}

// describe says what an item is about, in the words of the contract.
func (e *Expectation) describe(w *expectWire) string {
	parts := []string{e.Action}
	for _, x := range []struct {
		name string
		is   jsontext.Value
	}{{"resource", w.Resource}, {"input", w.Input}, {"input_has", w.InputHas}, {"output", w.Output}, {"output_has", w.OutputHas}} {
		if v := x.is.Clone(); len(v) > 0 && v.Compact() == nil {
			parts = append(parts, x.name+" "+string(v))
		}
	}
	switch {
	case e.Least == 0:
		parts = append(parts, fmt.Sprintf("at most %d", e.Most))
	case e.Most == anyTimes:
		parts = append(parts, fmt.Sprintf("at least %d", e.Least))
	case e.Most != e.Least:
		parts = append(parts, fmt.Sprintf("%d to %d", e.Least, e.Most))
	case e.Most > 1:
		parts = append(parts, fmt.Sprintf("%d times", e.Most))
	}
	if len(e.After) > 0 {
		parts = append(parts, "after "+strings.Join(e.After, ", "))
	}
	if len(e.AfterLast) > 0 {
		parts = append(parts, "after_last "+strings.Join(e.AfterLast, ", "))
	}
	return strings.Join(parts, ", ")
}

// early reports whether all that keeps an item from being met is that something of its
// after_last was done since.
func (b *bench) early(e *Expectation, least int) bool {
	if e == nil || len(e.AfterLast) == 0 || len(e.After) > 0 || e.when != nil || e.unless != nil || e.source() != "" {
		return false
	}
	x := *e
	x.AfterLast = nil
	return b.ask(&question{expects: []*Expectation{&x}, least: least, possible: least}).Result == evidence.Supported
}
