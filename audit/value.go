package audit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
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
// only if their keys are. The rest is for parts and for matchers.
type value struct {
	key     string
	kind    jsontext.Kind     // of its first token
	text    string            // of a string
	members map[string]*value // of an object
	items   []*value          // of an array
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
		return &value{key: quote(t.String()), kind: '"', text: t.String()}, nil
	case '0':
		key, err := decimal(t.String())
		if err != nil {
			return nil, fmt.Errorf("JSON: %w at %s", err, d.StackPointer())
		}
		return &value{key: key, kind: '0'}, nil
	case '[':
		return readArray(d, depth)
	case '{':
		return readMembers(d, depth)
	}
	return &value{key: t.String(), kind: t.Kind()}, nil // null, true, false
}

func readArray(d *jsontext.Decoder, depth int) (*value, error) {
	var items []*value
	var b strings.Builder
	b.WriteByte('[')
	for d.PeekKind() != ']' {
		v, err := readValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		items = append(items, v)
		b.WriteString(v.key)
		b.WriteByte(',')
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, fmt.Errorf("JSON: %w", err)
	}
	b.WriteByte(']')
	return &value{key: b.String(), kind: '[', items: items}, nil
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
	return &value{key: b.String(), kind: '{', members: members}, nil
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
	if part.kind != '{' {
		return v.equal(part)
	}
	if v.kind != '{' {
		return false
	}
	for name, p := range part.members {
		if w := v.members[name]; w == nil || !w.has(p) {
			return false
		}
	}
	return true
}

// compare orders two numbers by their exact values.
func (v *value) compare(w *value) int {
	a, b := strings.HasPrefix(v.key, "-"), strings.HasPrefix(w.key, "-")
	switch {
	case v.key == w.key:
		return 0
	case a && !b:
		return -1
	case b && !a:
		return 1
	case a: // both are below 0
		return compareDigits(w.key[1:], v.key[1:])
	}
	return compareDigits(v.key, w.key)
}

// compareDigits orders numbers that are not negative, as [decimal] writes them.
// Exponents have up to ten digits: the numbers are never written out.
func compareDigits(a, b string) int {
	if a == "0" || b == "0" {
		return len(a) - len(b) // not both are 0, and all others are longer
	}
	x, i, _ := strings.Cut(a, "e")
	y, j, _ := strings.Cut(b, "e")
	m, err := strconv.ParseInt(i, 10, 64)
	n, err2 := strconv.ParseInt(j, 10, 64)
	if err != nil || err2 != nil {
		panic("audit: an exponent of more digits than were read")
	}
	if c := cmp.Compare(m+int64(len(x)), n+int64(len(y))); c != 0 {
		return c // where the first digit stands
	}
	return strings.Compare(x, y)
}

// at returns what stands at a place inside the value; nil: nothing does.
func (v *value) at(path []string) *value {
	for _, name := range path {
		switch {
		case v == nil:
			return nil
		case v.kind == '{':
			v = v.members[name]
		case v.kind == '[':
			n, err := strconv.ParseUint(name, 10, 31)
			if err != nil || n >= uint64(len(v.items)) || strconv.FormatUint(n, 10) != name {
				return nil
			}
			v = v.items[n]
		default:
			return nil
		}
	}
	return v
}

// pointer reads a JSON pointer (RFC 6901).
func pointer(s string) (path []string, ok bool) {
	if s == "" {
		return nil, true
	}
	if s[0] != '/' || strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(s), "~") {
		return nil, false
	}
	for _, name := range strings.Split(s[1:], "/") {
		path = append(path, strings.NewReplacer("~1", "/", "~0", "~").Replace(name))
	}
	return path, true
}
