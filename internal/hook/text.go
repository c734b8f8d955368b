package hook

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// visible makes a text one line without control or format characters. It is what
// internal/report does, as far as an agent's model needs it.
func visible(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x{%02x}`, s[i])
		case r == '\n':
			b.WriteByte(' ')
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, `\u{%x}`, r)
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

// whole returns JSON with U+FFFD in the place of what is no character in its strings, nil
// where more than that is wrong.
func whole(raw []byte) []byte {
	v := jsontext.Value(raw).Clone()
	if v.Format(jsontext.AllowInvalidUTF8(true)) != nil {
		return nil
	}
	return v
}

// clip shortens a text to at most n bytes of whole characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

func quote(s string) string { return strconv.QuoteToASCII(clip(s, 80)) }

// identifier reports whether a record can have s as an identifier, as
// evidence.CheckIdentifier does.
func identifier(s string) bool {
	return s != "" && len(s) <= 256 && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f })
}
