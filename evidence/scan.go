package evidence

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// scanner reads one I-JSON text (RFC 7493) in one pass and refuses everything
// else: duplicate members, invalid UTF-8, lone surrogates, noncharacters,
// numbers that a double cannot carry, -0, too many levels.
//
// The JSON packages at hand are not strict enough in one point or another
// (encoding/json takes duplicates, jsontext clips 1e400 and takes
// noncharacters), and two passes cost three times as much. The tests hold this
// one against them.
type scanner struct {
	in     []byte
	at     int // offset of the next byte
	depth  int // containers open
	spaced bool
	trail  trail // the typed members that are open
}

// trail is the way from the record to a value: member names and list indexes.
type trail []step

type step struct {
	name  string
	index int // of an element of the list name, or -1
}

func (t trail) String() string {
	var b []byte
	for i, s := range t {
		if i > 0 {
			b = append(b, '/')
		}
		b = append(b, s.name...)
		if s.index >= 0 {
			b = append(b, '/')
			b = strconv.AppendInt(b, int64(s.index), 10)
		}
	}
	return string(b)
}

func (s *scanner) errorf(format string, args ...any) error {
	where := ""
	if len(s.trail) > 0 {
		where = s.trail.String() + ": "
	}
	return fmt.Errorf("record: %s%w (payload offset %d)", where, fmt.Errorf(format, args...), s.at)
}

// found names the next byte for an error.
func (s *scanner) found() string {
	if s.at >= len(s.in) {
		return "the end"
	}
	switch c := s.in[s.at]; {
	case c == '"':
		return "a string"
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == 't' || c == 'f' || c == 'n':
		return "true, false or null"
	case c == '-' || c >= '0' && c <= '9':
		return "a number"
	default:
		return fmt.Sprintf("byte 0x%02x", c)
	}
}

// peek returns the next byte, 0 at the end: no value begins with either.
func (s *scanner) peek() byte {
	if s.at < len(s.in) {
		return s.in[s.at]
	}
	return 0
}

func (s *scanner) space() {
	for s.at < len(s.in) {
		switch s.in[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
			s.spaced = true
		default:
			return
		}
	}
}

func (s *scanner) open(bracket byte, what string) error {
	if s.peek() != bracket {
		return s.errorf("want %s, found %s", what, s.found())
	}
	if s.depth++; s.depth > maxDepth {
		return s.errorf("want at most %d levels, found more", maxDepth)
	}
	s.at++
	s.space()
	return nil
}

// next moves behind a value of a container: it reports whether another follows.
func (s *scanner) next(bracket byte) (more bool, err error) {
	s.space()
	switch s.peek() {
	case ',':
		s.at++
		s.space()
		return true, nil
	case bracket:
		s.at++
		s.depth--
		return false, nil
	}
	return false, s.errorf("want a comma or %q, found %s", bracket, s.found())
}

// object reads an object. It calls value for each member with the scanner at
// the member's value; what name points to is valid until then. It returns the
// number of members. It does not look for duplicates.
func (s *scanner) object(value func(name []byte) error) (n int, err error) {
	if err := s.open('{', "an object"); err != nil {
		return 0, err
	}
	if s.peek() == '}' {
		s.at++
		s.depth--
		return 0, nil
	}
	for more := true; more; n++ {
		name, err := s.text()
		if err != nil {
			return 0, err
		}
		s.space()
		if s.peek() != ':' {
			return 0, s.errorf("want a colon, found %s", s.found())
		}
		s.at++
		s.space()
		if err := value(name); err != nil {
			return 0, err
		}
		if more, err = s.next('}'); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// array reads an array and calls value with the scanner at each element. It
// returns the number of elements.
func (s *scanner) array(value func(i int) error) (n int, err error) {
	if err := s.open('[', "an array"); err != nil {
		return 0, err
	}
	if s.peek() == ']' {
		s.at++
		s.depth--
		return 0, nil
	}
	for more := true; more; n++ {
		if err := value(n); err != nil {
			return 0, err
		}
		if more, err = s.next(']'); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// any reads a value of any type, as free-form members hold them.
func (s *scanner) any() (err error) {
	switch s.peek() {
	case '{':
		var seen nameSet
		_, err = s.object(func(name []byte) error {
			if !seen.add(name) {
				return s.errorf("want each member once, found %q again", clip(name))
			}
			return s.any()
		})
	case '[':
		_, err = s.array(func(int) error { return s.any() })
	case '"':
		_, err = s.text()
	case 't':
		err = s.literal("true")
	case 'f':
		err = s.literal("false")
	case 'n':
		err = s.literal("null")
	default:
		_, err = s.number()
	}
	return err
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.in[s.at:], []byte(word)) {
		return s.errorf("want %s, found something else", word)
	}
	s.at += len(word)
	return nil
}

// nameSet finds duplicates: by comparison among a few, by a map among many, so
// that no object costs more than its length.
type nameSet struct {
	few  [][]byte
	many map[string]bool
}

func (n *nameSet) add(name []byte) bool {
	if n.many != nil {
		if n.many[string(name)] {
			return false
		}
		n.many[string(name)] = true
		return true
	}
	for _, have := range n.few {
		if bytes.Equal(have, name) {
			return false
		}
	}
	n.few = append(n.few, name)
	if len(n.few) > 16 {
		n.many = make(map[string]bool)
		for _, have := range n.few {
			n.many[string(have)] = true
		}
	}
	return true
}

// number reads a number and returns its text: the grammar of RFC 8259 section
// 6, within the bounds of checkNumber.
func (s *scanner) number() ([]byte, error) {
	start := s.at
	if s.peek() == '-' {
		s.at++
	}
	whole := s.digits()
	if whole == 0 {
		return nil, s.errorf("want a value, found %s", s.found())
	}
	if first := s.at - whole; whole > 1 && s.in[first] == '0' {
		return nil, s.errorf("want a number without leading zeros")
	}
	integer := true
	if s.peek() == '.' {
		integer = false
		s.at++
		if s.digits() == 0 {
			return nil, s.errorf("want a digit after the decimal point, found %s", s.found())
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		integer = false
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if s.digits() == 0 {
			return nil, s.errorf("want a digit in the exponent, found %s", s.found())
		}
	}
	text := s.in[start:s.at]
	if err := checkNumber(text, integer); err != nil {
		s.at = start
		return nil, s.errorf("%w", err)
	}
	return text, nil
}

func (s *scanner) digits() (n int) {
	for s.at < len(s.in) && s.in[s.at] >= '0' && s.in[s.at] <= '9' {
		s.at++
		n++
	}
	return n
}

// maxNumber is the longest spelling of a number, in bytes. The shortest decimal
// of any double has at most 24; exact arithmetic on longer ones has no bound.
const maxNumber = 64

// checkNumber accepts integers within ±(2^53-1), and other numbers whose
// nearest double is within the same bounds and is zero only if they are. A
// negative zero and a zero with an exponent are refused: each has another
// spelling, and a reader may lose the difference.
func checkNumber(text []byte, integer bool) error {
	if integer {
		if n, ok := parseInteger(text); !ok || n == 0 && text[0] == '-' {
			return fmt.Errorf("want integers within ±(2^53-1) and no -0, found %s", clip(text))
		}
		return nil
	}
	if len(text) > maxNumber {
		return fmt.Errorf("want a number of at most %d bytes, found %d", maxNumber, len(text))
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.Abs(f) > maxInteger {
		return fmt.Errorf("want numbers within ±(2^53-1), found %s", clip(text))
	}
	if f == 0 && bytes.ContainsAny(text, "-123456789eE") {
		return fmt.Errorf("want a number that a double can hold, and zero without sign or exponent, found %s", clip(text))
	}
	return nil
}

// parseInteger reads the digits of a JSON integer within ±(2^53-1).
func parseInteger(text []byte) (n int64, ok bool) {
	digits := bytes.TrimPrefix(text, []byte{'-'})
	if len(digits) > 16 { // 2^53 has 16
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	if len(digits) < len(text) {
		n = -n
	}
	return n, n <= maxInteger && n >= -maxInteger
}

// plain marks the bytes that stand for themselves in a string and need no
// further look.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// text reads a string and returns what it stands for: a part of the input where
// nothing is escaped.
func (s *scanner) text() ([]byte, error) {
	if s.peek() != '"' {
		return nil, s.errorf("want a string, found %s", s.found())
	}
	s.at++
	start := s.at
	for s.at < len(s.in) && plain[s.in[s.at]] {
		s.at++
	}
	if s.peek() == '"' {
		s.at++
		return s.in[start : s.at-1], nil
	}
	buf := bytes.Clone(s.in[start:s.at])
	for {
		switch c := s.peek(); {
		case s.at >= len(s.in):
			return nil, s.errorf("want the end of a string, found the end")
		case c == '"':
			s.at++
			return buf, nil
		case c == '\\':
			r, err := s.escape()
			if err != nil {
				return nil, err
			}
			buf = utf8.AppendRune(buf, r)
		case c < 0x20:
			return nil, s.errorf("want control characters escaped in a string, found byte 0x%02x", c)
		default:
			r, n := utf8.DecodeRune(s.in[s.at:])
			if r == utf8.RuneError && n == 1 {
				return nil, s.errorf("want UTF-8, found byte 0x%02x", c)
			}
			if nonCharacter(r) {
				return nil, s.errorf("want no noncharacter (RFC 7493 section 2.1), found %U", r)
			}
			buf = append(buf, s.in[s.at:s.at+n]...)
			s.at += n
		}
	}
}

// escape reads one escape sequence, or the two of a surrogate pair.
func (s *scanner) escape() (rune, error) {
	s.at++
	c := s.peek()
	s.at++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		r, ok := s.hex4()
		if ok && r >= 0xd800 && r < 0xdc00 && bytes.HasPrefix(s.in[s.at:], []byte(`\u`)) {
			s.at += 2
			low, ok2 := s.hex4()
			ok = ok2 && low >= 0xdc00 && low < 0xe000
			r = (r-0xd800)<<10 + (low - 0xdc00) + 0x10000
		}
		if !ok || r >= 0xd800 && r < 0xe000 {
			return 0, s.errorf("want four hexadecimal digits after \\u and surrogates in pairs")
		}
		if nonCharacter(r) {
			return 0, s.errorf("want no noncharacter (RFC 7493 section 2.1), found %U", r)
		}
		return r, nil
	}
	return 0, s.errorf(`want one of "\/bfnrtu after a backslash, found another`)
}

func (s *scanner) hex4() (r rune, ok bool) {
	if len(s.in)-s.at < 4 {
		return 0, false
	}
	for _, c := range s.in[s.at : s.at+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	s.at += 4
	return r, true
}

// nonCharacter: U+FDD0 to U+FDEF and the last two of every plane (Unicode 23.7).
func nonCharacter(r rune) bool {
	return r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe
}
