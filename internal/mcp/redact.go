package mcp

import (
	"bytes"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// A Redactor takes secrets out of what is recorded. What goes between client and
// server keeps them.
type Redactor struct {
	names  []string
	values []string
}

// Hide adds a secret, under the name that stands in its place.
func (r *Redactor) Hide(name, value string) {
	if value == "" {
		return
	}
	// A longer one comes first: of one that has another in it, nothing is left then.
	at := 0
	for at < len(r.values) && len(r.values[at]) >= len(value) {
		at++
	}
	r.names, r.values = slices.Insert(r.names, at, name), slices.Insert(r.values, at, value)
}

// text replaces every secret in a text.
func (r *Redactor) text(s string) string {
	if r == nil {
		return s
	}
	for i, v := range r.values {
		s = strings.ReplaceAll(s, v, "[redacted "+r.names[i]+"]")
	}
	return s
}

// redact replaces every secret in the strings of a JSON value, names of members
// included, and in its numbers, which become strings. What has none stays as it came.
func (r *Redactor) redact(v jsontext.Value) jsontext.Value {
	if r == nil || len(r.values) == 0 || len(v) == 0 {
		return v
	}
	var out bytes.Buffer
	d, e := jsontext.NewDecoder(bytes.NewReader(v)), jsontext.NewEncoder(&out, jsontext.AllowDuplicateNames(true))
	for {
		t, err := d.ReadToken()
		if err != nil {
			break // the end: it was read already
		}
		switch t.Kind() {
		case '"', '0':
			if was := t.String(); t.Kind() == '"' || r.text(was) != was {
				t = jsontext.String(r.text(was))
			}
		}
		if err := e.WriteToken(t); err != nil {
			return jsontext.Value(`"[redacted]"`)
		}
	}
	return jsontext.Value(bytes.TrimSpace(out.Bytes()))
}
