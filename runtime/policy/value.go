package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

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

// reader turns one JSON value into a Cedar value.
type reader struct {
	dec     *jsontext.Decoder
	numbers types.RecordMap
}

// valueOf returns what a JSON value is in Cedar, and the decimals in it by JSON
// pointer.
func valueOf(input []byte) (types.Value, types.RecordMap, error) {
	r := reader{dec: jsontext.NewDecoder(bytes.NewBuffer(input)), numbers: types.RecordMap{}}
	v, err := r.value("", true, 0)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it is empty or ends too early")
		}
		return nil, nil, fmt.Errorf("the input: %w", err)
	}
	if _, err := r.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("the input: want one JSON value, found more after it")
	}
	return v, r.numbers, nil
}

// value reads the value at a pointer. Pointers into arrays are not listed: a set
// has no order.
func (r *reader) value(at string, listed bool, depth int) (types.Value, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%q is nested deeper than %d", at, maxDepth)
	}
	t, err := r.dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch t.Kind() {
	case 'n':
		return jsonNull, nil
	case 't', 'f':
		return types.Boolean(t.Bool()), nil
	case '"':
		return types.String(t.String()), nil
	case '0':
		v, d, err := number(t.String())
		if err != nil {
			return nil, fmt.Errorf("%q: %w", at, err)
		}
		if listed && d != nil {
			r.numbers[types.String(at)] = *d
		}
		return v, nil
	case '[':
		return r.set(at, depth)
	default:
		return r.record(at, listed, depth)
	}
}

func (r *reader) set(at string, depth int) (types.Value, error) {
	var all []types.Value
	for r.dec.PeekKind() != ']' {
		if len(all) == maxElements {
			return nil, fmt.Errorf("%q has more than %d elements, which no policy is asked about", at, maxElements)
		}
		v, err := r.value(at, false, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, err
	}
	return types.NewSet(all...), nil
}

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")

func (r *reader) record(at string, listed bool, depth int) (types.Value, error) {
	m := types.RecordMap{}
	for r.dec.PeekKind() != '}' {
		name, err := r.dec.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String() // the token is void once the next is read
		v, err := r.value(at+"/"+escapePointer.Replace(key), listed, depth+1)
		if err != nil {
			return nil, err
		}
		m[types.String(key)] = v
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, err
	}
	return types.NewRecord(m), nil
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
