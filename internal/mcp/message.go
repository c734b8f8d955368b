package mcp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// A message is one JSON-RPC message as it came, and what a gateway has to know of it.
// Where two readers could understand it in two ways, it is refused: a member twice, one
// in another case, bytes that are no UTF-8.
type message struct {
	raw    []byte // as it came, without the newline
	id     string // raw JSON, of a string the one form that it has; "": a notification
	method string // "": a response
	params span   // the zero span: none
	result span
	failed bool // a response with an error
}

// A span is a value in a message's bytes.
type span struct{ from, to int }

func (s span) of(raw []byte) jsontext.Value { return jsontext.Value(raw[s.from:s.to]) }
func (s span) none() bool                   { return s.to == 0 }

var errBatch = errors.New("a batch")

// parse reads one message. A batch is errBatch.
func parse(raw []byte) (*message, error) {
	m := &message{raw: raw}
	switch jsontext.Value(raw).Kind() {
	case '{':
	case '[':
		return nil, errBatch
	default:
		return nil, errors.New("want a JSON object")
	}
	seen, null := false, false
	err := members(raw, func(name string, at span) error {
		switch name {
		case "jsonrpc":
			seen = string(at.of(raw)) == `"2.0"`
		case "id":
			if at.of(raw).Kind() == 'n' {
				null = true
				return nil
			}
			var err error
			m.id, err = parseID(at.of(raw))
			return err
		case "method":
			var err error
			if m.method, err = text(at.of(raw)); err != nil {
				return fmt.Errorf("method: %w", err)
			}
			if m.method == "" {
				return errors.New("want a method, found an empty one")
			}
		case "params":
			m.params = at
		case "result":
			m.result = at
		case "error":
			m.failed = true
		default:
			for _, known := range []string{"jsonrpc", "id", "method", "params", "result", "error"} {
				if strings.EqualFold(name, known) {
					return fmt.Errorf("want the member %q, found %q", known, name)
				}
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case !seen:
		return nil, errors.New(`want "jsonrpc": "2.0"`)
	case m.method == "" && m.id == "" && !m.failed:
		return nil, errors.New("want a method, or the id of what it answers")
	case null && (m.method != "" || !m.failed):
		return nil, errors.New("want an id that is a string or a number, found null")
	case m.method != "" && (!m.result.none() || m.failed):
		return nil, errors.New("want a request or a response, found both")
	case m.method == "" && m.result.none() == !m.failed:
		return nil, errors.New("want a result or an error")
	}
	return m, nil
}

// parseLine reads one message that came on a line. Who ends lines at a CR, too, would read
// another one in it.
func parseLine(raw []byte) (*message, error) {
	if bytes.IndexByte(raw, '\r') >= 0 {
		return nil, errors.New("want a message on one line, found a CR in it")
	}
	return parse(raw)
}

// members calls f with each member of a JSON object, and where its value stands.
// It reports what is no I-JSON: a member twice, invalid UTF-8, bytes after the object.
func members(raw []byte, f func(name string, at span) error) error {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return errors.Join(errors.New("want a JSON object"), err)
	}
	for d.PeekKind() != '}' {
		t, err := d.ReadToken()
		if err != nil {
			return err
		}
		name := t.String()
		v, err := d.ReadValue()
		if err != nil {
			return err
		}
		to := int(d.InputOffset())
		if err := f(name, span{to - len(v), to}); err != nil {
			return err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	if rest := bytes.TrimSpace(raw[d.InputOffset():]); len(rest) > 0 {
		return fmt.Errorf("want nothing after the object, found %s", clip(rest))
	}
	return nil
}

// member returns where a member's value stands in an object; false: nowhere.
func member(raw []byte, object span, name string) (at span, ok bool) {
	err := members(object.of(raw), func(n string, s span) error {
		if n == name {
			at, ok = span{object.from + s.from, object.from + s.to}, true
		}
		return nil
	})
	return at, ok && err == nil
}

// parseID returns the one form that an id has. A whole number stays as it is written: a
// large one has no other form. 1.0 and 1e0 are 1, to those that read numbers.
func parseID(v jsontext.Value) (string, error) {
	switch v.Kind() {
	case '0':
		if bytes.ContainsAny(v, ".eE") || string(v) == "-0" {
			id := bytes.Clone(v)
			err := (*jsontext.Value)(&id).Canonicalize()
			return string(id), err
		}
		return string(v), nil
	case '"':
		id := append(jsontext.Value(nil), v...)
		err := id.Canonicalize()
		return string(id), err
	}
	return "", fmt.Errorf("want an id that is a string or a number, found %s", clip(v))
}

func text(v jsontext.Value) (string, error) {
	if v.Kind() != '"' {
		return "", fmt.Errorf("want a string, found %s", clip(v))
	}
	b, err := jsontext.AppendUnquote(nil, v)
	return string(b), err
}

// withMeta returns a response whose result has a member more in its _meta, or in place of
// one of that name. Every other byte is as it came; where the result has no place for a
// _meta, it is the server's, and stays what it is.
func (m *message) withMeta(name, value string) []byte {
	if m.result.of(m.raw).Kind() != '{' {
		return m.raw
	}
	entry := appendEntry(nil, name, value)
	meta, ok := member(m.raw, m.result, "_meta")
	switch {
	case !ok:
		return insert(m.raw, m.result, append(append([]byte(`"_meta":{`), entry...), '}'))
	case meta.of(m.raw).Kind() != '{':
		return m.raw
	}
	if was, ok := member(m.raw, meta, name); ok { // a second one would be another one to some, and none to others
		return slices.Concat(m.raw[:was.from], appendText(nil, value), m.raw[was.to:])
	}
	return insert(m.raw, meta, entry)
}

// insert puts a member at the beginning of an object.
func insert(raw []byte, object span, entry []byte) []byte {
	at := object.from + 1
	if len(bytes.TrimSpace(raw[at:object.to-1])) > 0 {
		entry = append(entry, ',')
	}
	out := make([]byte, 0, len(raw)+len(entry))
	return append(append(append(out, raw[:at]...), entry...), raw[at:]...)
}

func appendEntry(b []byte, name, value string) []byte {
	b = append(appendText(b, name), ':')
	return appendText(b, value)
}

// appendText appends a JSON string.
func appendText(b []byte, s string) []byte {
	b, err := jsontext.AppendQuote(b, strings.ToValidUTF8(s, "\uFFFD"))
	if err != nil {
		panic(err) // it is valid UTF-8
	}
	return b
}

// elements returns the messages of a batch.
func elements(raw []byte) ([][]byte, error) {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	var all [][]byte
	for d.PeekKind() != ']' {
		v, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		all = append(all, bytes.Clone(v))
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	if rest := bytes.TrimSpace(raw[d.InputOffset():]); len(rest) > 0 {
		return nil, fmt.Errorf("want nothing after the batch, found %s", clip(rest))
	}
	return all, nil
}

// clip shortens what is shown of a message.
func clip[B ~[]byte](b B) string {
	if len(b) > 60 {
		return fmt.Sprintf("%q…", b[:60])
	}
	return fmt.Sprintf("%q", []byte(b))
}
