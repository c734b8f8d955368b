package mcp

import (
	"bytes"
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
	r.names, r.values = append(r.names, name), append(r.values, value)
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
// included. What has none stays as it came.
func (r *Redactor) redact(v jsontext.Value) jsontext.Value {
	if r == nil || len(r.values) == 0 {
		return v
	}
	var out bytes.Buffer
	d, e := jsontext.NewDecoder(bytes.NewReader(v)), jsontext.NewEncoder(&out, jsontext.AllowDuplicateNames(true))
	for {
		t, err := d.ReadToken()
		if err != nil {
			break // the end: it was read already
		}
		if t.Kind() == '"' {
			t = jsontext.String(r.text(t.String()))
		}
		if err := e.WriteToken(t); err != nil {
			return jsontext.Value(`"[redacted]"`)
		}
	}
	return jsontext.Value(bytes.TrimSpace(out.Bytes()))
}
