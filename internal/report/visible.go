package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks may follow one character. More of them
// paint over the lines above and below.
const maxMarks = 2

// Visible returns s with everything made visible that is not simply a
// character: \u{1b} for a control or format character, \x{ff} for a byte that
// is no UTF-8, \\ for a backslash. No two strings become the same. What it
// returns is one line.
func Visible(s string) string {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= 0x20 && s[i] < 0x7f && s[i] != '\\'
	}
	if plain {
		return s
	}
	var b strings.Builder
	marks := maxMarks // none to begin with: a mark needs a character
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x{%02x}`, s[i])
			marks = maxMarks
		case r == '\\':
			b.WriteString(`\\`)
			marks = maxMarks
		case unicode.Is(unicode.M, r):
			if marks++; marks > maxMarks || hidden(r) {
				fmt.Fprintf(&b, `\u{%x}`, r)
			} else {
				b.WriteRune(r)
			}
		case !unicode.IsPrint(r) || hidden(r):
			fmt.Fprintf(&b, `\u{%x}`, r)
			marks = maxMarks
		default:
			b.WriteRune(r)
			marks = 0
		}
		i += n
	}
	return b.String()
}

// hidden says whether r shows nothing although Unicode counts it among letters,
// marks or symbols (Default_Ignorable_Code_Point and blanks). Spaces but the
// ASCII one, and format characters, which include the bidirectional controls
// and the tags, are no printable characters to begin with.
func hidden(r rune) bool {
	switch {
	case r == 0x034f, r == 0x115f, r == 0x1160, r == 0x17b4, r == 0x17b5, r == 0x3164, r == 0xffa0, // fillers
		r == 0x2800, r == 0xfffc, r == 0x1d159, // blanks
		r >= 0x180b && r <= 0x180f, r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0000 && r <= 0xe0fff: // variation selectors, tags
		return true
	}
	return false
}

// SafeJSON escapes, in a JSON text, every character that Visible would make
// visible. The value stays the same: outside strings JSON has none of them.
func SafeJSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r < utf8.RuneSelf && r != 0x7f:
			out = append(out, text[0])
		case unicode.IsPrint(r) && !hidden(r) && !unicode.Is(unicode.M, r):
			out = append(out, text[:n]...)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		text = text[n:]
	}
	return out
}
