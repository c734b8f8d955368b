package evidence

import (
	"bytes"
	"unicode/utf8"
)

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
