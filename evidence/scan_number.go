package evidence

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
)

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
