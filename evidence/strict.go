package evidence

import (
	"bytes"
	"fmt"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// scan refuses what is not one I-JSON object (RFC 7493) within our bounds:
// duplicate members, invalid UTF-8 and lone surrogates (the decoder), numbers
// that a double cannot carry, -0, depth, anything after the value. Outside the
// free-form members ext, params and refs it also refuses null, true, false and
// empty strings, arrays and objects: there, what is absent is not written.
func scan(b []byte) error {
	if len(b) == 0 || b[0] != '{' {
		return fmt.Errorf("record: want a JSON object from the first byte on")
	}
	return scanTokens(b, false)
}

// scanFree is scan for a free-form object.
func scanFree(b []byte) error { return scanTokens(b, true) }

func scanTokens(b []byte, free bool) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(b))
	freeBelow := -1 // depth of the container in which the free-form member stands
	for first := true; first || d.StackDepth() > 0; first = false {
		if d.StackDepth() == freeBelow {
			// Back at the member's container: the free-form value has ended.
			if _, n := d.StackIndex(freeBelow); n%2 == 0 {
				freeBelow = -1
			}
		}
		inFree := free || freeBelow >= 0
		t, err := d.ReadToken()
		if err != nil {
			return fmt.Errorf("record: JSON: %w", err)
		}
		depth := d.StackDepth()
		if depth > maxDepth {
			return fmt.Errorf("record: JSON: want at most %d levels, found more at offset %d", maxDepth, d.InputOffset())
		}
		kind, n := d.StackIndex(depth)
		isName := kind == '{' && t.Kind() == '"' && n%2 == 1
		switch t.Kind() {
		case '0':
			if err := checkNumber(t.String()); err != nil {
				return err
			}
		case 'n', 't', 'f':
			if !inFree {
				return fmt.Errorf("record: JSON: want no %s at %s: what is absent is not written", t.String(), d.StackPointer())
			}
		case '"':
			s := t.String()
			if !inFree && !isName && s == "" {
				return fmt.Errorf("record: JSON: want no empty string at %s: what is absent is not written", d.StackPointer())
			}
			if isName && !inFree && freeMember(s, depth) {
				freeBelow = depth
			}
		case '{', '[':
			if !inFree && (d.PeekKind() == '}' || d.PeekKind() == ']') {
				return fmt.Errorf("record: JSON: want nothing empty at %s: what is absent is not written", d.StackPointer())
			}
		}
	}
	if rest := b[d.InputOffset():]; len(rest) > 0 {
		return fmt.Errorf("record: JSON: want nothing after the value, found %d bytes", len(rest))
	}
	return nil
}

// freeMember: ext of the envelope, params and refs of a body.
func freeMember(name string, depth int) bool {
	return depth == 1 && name == "ext" || depth == 2 && (name == "params" || name == "refs")
}

// checkNumber accepts integers within ±(2^53-1), and other numbers that a
// double carries without becoming infinite or losing the value to zero.
func checkNumber(s string) error {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		if i > maxInteger || i < -maxInteger || s == "-0" {
			return fmt.Errorf("record: JSON: want integers within ±(2^53-1) and no -0, found %s", s)
		}
		return nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) || f == 0 {
		return fmt.Errorf("record: JSON: want a number that a double can hold, found %s", clip([]byte(s)))
	}
	if math.Abs(f) > maxInteger && f == math.Trunc(f) {
		return fmt.Errorf("record: JSON: want integers within ±(2^53-1), found %s", clip([]byte(s)))
	}
	return nil
}
