package audit

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxValueDepth bounds how deep a JSON payload may nest.
const maxValueDepth = 512

// A value is a JSON value, compared as a value: the order of members, white
// space and the spelling of strings and numbers do not count. Numbers are exact
// decimals: 1, 1.0 and 10e-1 are one value, and 9007199254740993 is not
// 9007199254740992.
//
// key is a canonical text of the value, so that two values are equal if and
// only if their keys are. Objects also keep their members, for [value.has].
type value struct {
	key     string
	members map[string]*value // of an object
	object  bool
}

// parseValue reads exactly one JSON value (RFC 8259) in UTF-8, without duplicate
// member names.
func parseValue(b []byte) (*value, error) {
	d := jsontext.NewDecoder(bytes.NewReader(b))
	v, err := readValue(d, 0)
	if err != nil {
		return nil, err
	}
	if rest := bytes.TrimLeft(b[d.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, fmt.Errorf("JSON: expected nothing after the value, found %d bytes", len(rest))
	}
	return v, nil
}

func readValue(d *jsontext.Decoder, depth int) (*value, error) {
	if depth > maxValueDepth {
		return nil, fmt.Errorf("JSON: expected at most %d levels, found more at offset %d", maxValueDepth, d.InputOffset())
	}
	t, err := d.ReadToken()
	if err != nil {
		return nil, fmt.Errorf("JSON: %w", err)
	}
	switch t.Kind() {
	case '"':
		return &value{key: quote(t.String())}, nil
	case '0':
		key, err := decimal(t.String())
		if err != nil {
			return nil, fmt.Errorf("JSON: %w at %s", err, d.StackPointer())
		}
		return &value{key: key}, nil
	case '[':
		return readArray(d, depth)
	case '{':
		return readMembers(d, depth)
	}
	return &value{key: t.String()}, nil // null, true, false
}

func readArray(d *jsontext.Decoder, depth int) (*value, error) {
	var b strings.Builder
	b.WriteByte('[')
	for d.PeekKind() != ']' {
		v, err := readValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		b.WriteString(v.key)
		b.WriteByte(',')
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, fmt.Errorf("JSON: %w", err)
	}
	b.WriteByte(']')
	return &value{key: b.String()}, nil
}

func readMembers(d *jsontext.Decoder, depth int) (*value, error) {
	members := make(map[string]*value)
	for d.PeekKind() != '}' {
		t, err := d.ReadToken()
		if err != nil {
			return nil, fmt.Errorf("JSON: %w", err)
		}
		name := t.String() // the decoder refuses a name that comes twice
		if members[name], err = readValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, fmt.Errorf("JSON: %w", err)
	}
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteByte('{')
	for _, name := range names {
		b.WriteString(quote(name))
		b.WriteByte(':')
		b.WriteString(members[name].key)
		b.WriteByte(',')
	}
	b.WriteByte('}')
	return &value{key: b.String(), members: members, object: true}, nil
}

// quote writes a string so that no two strings give one text.
func quote(s string) string {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		panic(err) // s comes from a decoder: it is valid UTF-8
	}
	return string(b)
}

var errNumber = errors.New("expected a number with an exponent of at most 9 digits")

// decimal writes a JSON number in the one form that its exact value has: the
// digits without leading and trailing zeros, and a power of ten.
func decimal(s string) (string, error) {
	negative := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	exponent := new(big.Int)
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		text := strings.TrimPrefix(s[i+1:], "+")
		if len(strings.TrimLeft(strings.TrimPrefix(text, "-"), "0")) > 9 {
			return "", errNumber
		}
		exponent.SetString(text, 10)
		s = s[:i]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	exponent.Sub(exponent, big.NewInt(int64(len(fraction))))
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return "0", nil
	}
	short := strings.TrimRight(digits, "0")
	exponent.Add(exponent, big.NewInt(int64(len(digits)-len(short))))
	sign := ""
	if negative {
		sign = "-"
	}
	return sign + short + "e" + exponent.String(), nil
}

// equal reports whether v and w are one value.
func (v *value) equal(w *value) bool { return v.key == w.key }

// has reports whether part is a part of v: an object has every member of part,
// and each of these is in turn a part of v's; anything else is equal.
func (v *value) has(part *value) bool {
	if !part.object {
		return v.equal(part)
	}
	if !v.object {
		return false
	}
	for name, p := range part.members {
		if w := v.members[name]; w == nil || !w.has(p) {
			return false
		}
	}
	return true
}
