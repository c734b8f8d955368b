package importer

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
)

// object is a JSON object whose members are read one by one, so that an error
// can name the one that is wrong in the words of the format.
type object map[string]jsontext.Value

func parseObject(v jsontext.Value) (object, error) {
	if v == nil {
		return nil, errors.New("want an object, found none")
	}
	if v.Kind() != '{' {
		return nil, fmt.Errorf("want a JSON object, found %s", kindName(v))
	}
	var o object
	if err := json.Unmarshal(v, &o); err != nil {
		return nil, jsonError(v, err)
	}
	return o, nil
}

func parseArray(v jsontext.Value) ([]jsontext.Value, error) {
	if v == nil {
		return nil, errors.New("want a list, found none")
	}
	if v.Kind() != '[' {
		return nil, fmt.Errorf("want a list, found %s", kindName(v))
	}
	var list []jsontext.Value
	if err := json.Unmarshal(v, &list); err != nil {
		return nil, jsonError(v, err)
	}
	return list, nil
}

// jsonError says where JSON is broken.
func jsonError(v []byte, err error) error {
	var s *jsontext.SyntacticError
	if !errors.As(err, &s) {
		return fmt.Errorf("want strict JSON (RFC 7493): %w", err)
	}
	return fmt.Errorf("want strict JSON (RFC 7493), found at byte %d of %d: %w", s.ByteOffset, len(v), s.Err)
}

func unquote(v jsontext.Value) (string, error) {
	b, err := jsontext.AppendUnquote(nil, v)
	return string(b), err
}

// onlyMembers refuses a member that the form does not have: a misspelt one
// would be lost in silence otherwise.
func (o object) onlyMembers(known []string) error {
	for name := range o {
		if !slices.Contains(known, name) {
			return fmt.Errorf("member %q is unknown: want %s", clip(name), strings.Join(known, ", "))
		}
	}
	return nil
}

// text returns a member that has to be there and be a string.
func (o object) text(member string) (string, error) {
	v := o[member]
	if v == nil {
		return "", fmt.Errorf("member %s: want a string, found none", member)
	}
	if v.Kind() != '"' {
		return "", fmt.Errorf("member %s: want a string, found %s", member, kindName(v))
	}
	return unquote(v)
}

// identifier reads a member that will stand in records in the clear. An
// optional one that is absent leaves *to as it is.
func (o object) identifier(member string, to *string, required bool) error {
	if o[member] == nil && !required {
		return nil
	}
	s, err := o.text(member)
	if err != nil {
		return err
	}
	if !isIdentifier(s) {
		return fmt.Errorf("member %s: want 1 to 256 bytes of printable ASCII without spaces, because it stands in records as an identifier; found %q", member, clip(s))
	}
	*to = s
	return nil
}

func isIdentifier(s string) bool {
	return len(s) >= 1 && len(s) <= 256 && !strings.ContainsFunc(s, func(c rune) bool { return c < 0x21 || c > 0x7e })
}

// time reads the member time: RFC 3339 with any offset, or seconds since the
// Unix epoch (as the chat format's "created").
func (o object) time() (evidence.Time, error) {
	v := o["time"]
	if v == nil || v.Kind() == 'n' {
		return 0, nil
	}
	var t evidence.Time
	switch v.Kind() {
	case '"':
		s, err := unquote(v)
		if err != nil {
			return 0, err
		}
		p, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return 0, fmt.Errorf("member time: want RFC 3339 such as 2026-05-29T14:32:10Z, found %q", clip(s))
		}
		t = evidence.TimeOf(p)
	case '0':
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil || math.Abs(f) > math.MaxInt32*1000 {
			return 0, fmt.Errorf("member time: want seconds since the Unix epoch, found %s", clip(string(v)))
		}
		t = evidence.Time(math.Round(f * 1000))
	default:
		return 0, fmt.Errorf("member time: want RFC 3339 or seconds since the Unix epoch, found %s", kindName(v))
	}
	if _, err := t.MarshalText(); err != nil {
		return 0, fmt.Errorf("member %w", err)
	}
	return t, nil
}

func kindName(v jsontext.Value) string {
	switch v.Kind() {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "a list"
	}
	return fmt.Sprintf("%q, which is no JSON", clip(string(v)))
}

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
