package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/go-json-experiment/json/jsontext"
)

// Cedar keeps sets in tables whose hashes an agent can choose, and compares
// values recursively: what it is handed is bounded. Neither is near what a tool
// can sensibly be given.
const (
	maxElements = 10_000 // of one array
	maxDepth    = 128
)

var jsonNull = types.NewEntityUID("JSON", "null")

// reader turns one JSON value into as much of a Cedar value as is asked for. It
// reads all of it: what is not asked for has to be sound too.
type reader struct {
	buf     bytes.Buffer
	dec     *jsontext.Decoder
	asked   *need // of numbers
	numbers types.RecordMap
}

var readers = sync.Pool{New: func() any { return &reader{dec: jsontext.NewDecoder(new(bytes.Buffer))} }}

// valueOf returns what a JSON value is in Cedar, and the decimals in it by JSON
// pointer, as far as they are asked for.
func valueOf(input []byte, asked, numbers *need) (types.Value, types.RecordMap, error) {
	r := readers.Get().(*reader)
	r.buf = *bytes.NewBuffer(input)
	r.dec.Reset(&r.buf)
	r.asked, r.numbers = numbers, nil
	v, err := r.value(asked, true, 0)
	if err == nil {
		if _, err = r.dec.ReadToken(); err == nil {
			err = errors.New("want one JSON value, found more after it")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	} else if errors.Is(err, io.EOF) {
		err = errors.New("it is empty or ends too early")
	}
	found := r.numbers
	r.buf, r.numbers = bytes.Buffer{}, nil
	r.dec.Reset(&r.buf) // it may hold the input no longer than this
	readers.Put(r)
	if err != nil {
		return nil, nil, fmt.Errorf("the input: %w", err)
	}
	return v, found, nil
}

// value reads the next value, and makes it where it is asked for. Pointers into
// arrays are not listed: a set has no order.
func (r *reader) value(asked *need, listed bool, depth int) (types.Value, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%q is nested deeper than %d", r.dec.StackPointer(), maxDepth)
	}
	switch r.dec.PeekKind() {
	case '{':
		return r.record(asked, listed, depth)
	case '[':
		return r.set(asked, depth)
	}
	text, err := r.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	switch text.Kind() {
	case '0':
		return r.number(text, asked, listed)
	case '"':
		if asked == nil {
			return nil, nil
		}
		s, err := unquote(text)
		return types.String(s), err
	case 'n':
		return jsonNull, nil
	default:
		return types.Boolean(text.Kind() == 't'), nil
	}
}

// unquote returns what a JSON string says, which the decoder found sound.
func unquote(text []byte) (string, error) {
	if plain := text[1 : len(text)-1]; bytes.IndexByte(plain, '\\') < 0 {
		return string(plain), nil
	}
	b, err := jsontext.AppendUnquote(nil, text)
	return string(b), err
}

// number is value for a number.
func (r *reader) number(text []byte, asked *need, listed bool) (types.Value, error) {
	listed = listed && r.asked != nil
	if asked == nil && !listed && short(text) {
		return nil, nil
	}
	v, d, err := number(string(text))
	if err != nil {
		return nil, fmt.Errorf("%q: %w", r.dec.StackPointer(), err)
	}
	if listed && d != nil {
		if at := types.String(r.dec.StackPointer()); r.asked.get(at) != nil {
			if r.numbers == nil {
				r.numbers = types.RecordMap{}
			}
			r.numbers[at] = *d
		}
	}
	return v, nil
}

// short reports whether a number certainly fits into a long.
func short(text []byte) bool {
	return len(text) <= 18 && !bytes.ContainsAny(text, ".eE")
}

func (r *reader) set(asked *need, depth int) (types.Value, error) {
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, err
	}
	// Nothing but that it is a set can be seen of one that is not asked for whole.
	if asked != nil && !asked.whole {
		asked = nil
	}
	var all []types.Value
	n := 0
	for ; r.dec.PeekKind() != ']'; n++ {
		if n == maxElements {
			return nil, fmt.Errorf("%q has more than %d elements, which no policy is asked about", r.dec.StackPointer(), maxElements)
		}
		v, err := r.value(asked, false, depth+1)
		if err != nil {
			return nil, err
		}
		if asked != nil {
			all = append(all, v)
		}
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, err
	}
	return types.NewSet(all...), nil
}

func (r *reader) record(asked *need, listed bool, depth int) (types.Value, error) {
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, err
	}
	var m types.RecordMap
	if asked != nil {
		m = make(types.RecordMap, len(asked.of))
	}
	for r.dec.PeekKind() != '}' {
		text, err := r.dec.ReadValue()
		if err != nil {
			return nil, err
		}
		name, member, err := r.member(text, asked)
		if err != nil {
			return nil, err
		}
		v, err := r.value(member, listed, depth+1)
		if err != nil {
			return nil, err
		}
		if member != nil {
			m[name] = v
		}
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, err
	}
	if asked == nil {
		return nil, nil
	}
	return types.NewRecord(m), nil
}

// member returns the name of a member and what is asked of it; nil: nothing.
func (r *reader) member(text []byte, asked *need) (types.String, *need, error) {
	switch {
	case asked == nil:
		return "", nil, nil
	case !asked.whole && bytes.IndexByte(text, '\\') < 0:
		if n := asked.of[types.String(text[1:len(text)-1])]; n != nil {
			return n.name, n, nil // and its name is not copied
		}
		return "", nil, nil
	}
	name, err := unquote(text)
	return types.String(name), asked.get(types.String(name)), err
}

// number returns what a JSON number is in Cedar, a long or else a decimal, and as
// a decimal, nil where it is too large for one. It never rounds.
func number(literal string) (types.Value, *types.Decimal, error) {
	digits, negative := strings.CutPrefix(literal, "-")
	exponent := 0
	if i := strings.IndexAny(digits, "eE"); i >= 0 {
		e, err := strconv.Atoi(digits[i+1:])
		if err != nil {
			e = math.MaxInt32 // or its negative: in both cases only 0 can be held
		}
		digits, exponent = digits[:i], e
	}
	if whole, fraction, ok := strings.Cut(digits, "."); ok {
		digits, exponent = whole+fraction, exponent-len(fraction)
	}
	trimmed := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(trimmed)
	digits = strings.TrimLeft(trimmed, "0")
	if digits == "" {
		return types.Long(0), new(types.Decimal), nil
	}
	if negative {
		digits = "-" + digits
	}
	d := scaled(digits, exponent+4)
	if exponent >= 0 {
		i, ok := shifted(digits, exponent)
		if !ok {
			return nil, nil, fmt.Errorf("the number %s does not fit into the 64 bits of a Cedar long", shorten(literal))
		}
		return types.Long(i), d, nil
	}
	if d == nil {
		return nil, nil, fmt.Errorf("the number %s cannot be held exactly by a Cedar decimal (four decimal places, 64 bits): send it as a string, or in smaller units as a whole number", shorten(literal))
	}
	return *d, d, nil
}

// scaled returns digits times ten to the power of n as ten-thousandths, nil where
// it is not whole or too large.
func scaled(digits string, n int) *types.Decimal {
	i, ok := shifted(digits, n)
	if !ok {
		return nil
	}
	d, err := types.NewDecimal(i, -4)
	if err != nil {
		return nil
	}
	return &d
}

// shifted returns digits times ten to the power of n, where that is an int64.
func shifted(digits string, n int) (int64, bool) {
	if n < 0 || n > 19 {
		return 0, false
	}
	i, err := strconv.ParseInt(digits+"0000000000000000000"[:n], 10, 64)
	return i, err == nil
}

func shorten(literal string) string {
	if len(literal) > 40 {
		return literal[:40] + "…"
	}
	return literal
}
