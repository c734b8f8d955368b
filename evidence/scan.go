package evidence

import (
	"bytes"
	"fmt"
	"strconv"
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
