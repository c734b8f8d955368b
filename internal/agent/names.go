package agent

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxName is the longest key or name in bytes: an idempotency key is made of it,
// and has to be an identifier.
const maxName = 200

// ErrName is what every error about a key or a name is.
var ErrName = errors.New("not a name")

// CheckKey reports why a run cannot have a key: 1 to 200 characters that a path has
// without escapes, and not the beginning of a run's ID.
func CheckKey(key string) error {
	if strings.HasPrefix(key, "run_") {
		return fmt.Errorf("%w: want the key of a run, and not a run's ID: a key does not begin with run_, found %q", ErrName, clip(key))
	}
	return CheckName("key", key)
}

// CheckName reports why a step, decision or checkpoint cannot have a name.
func CheckName(what, name string) error {
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(c rune) bool { return !inPath(c) }) {
		return fmt.Errorf("%w: want a %s of 1 to %d letters, digits and any of %s, found %q", ErrName, what, maxName, inPaths, clip(name))
	}
	return nil
}

// inPaths is what RFC 3986 lets stand in a segment of a path as it is, besides
// letters and digits.
const inPaths = "-._~!$&'()*+,;=:@"

func inPath(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c < 0x80 && strings.ContainsRune(inPaths, c)
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// normal returns a JSON value in the one form in which values are kept and
// compared: without white space, members sorted by name (as UTF-16, like RFC
// 8785), strings with no needless escapes. Numbers stay as they are written, for
// not every one has another form that is worth the same.
func normal(value []byte) ([]byte, error) {
	v := append(jsontext.Value(nil), value...)
	if err := v.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)); err != nil {
		return nil, err
	}
	return v, nil
}
