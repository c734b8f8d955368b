package report

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestRow60NothingReachesTheTerminal(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"plain":                  {"support-agent-01 → done", "support-agent-01 → done"},
		"other scripts":          {"日本語 العربية é", "日本語 العربية é"},
		"escape sequence":        {"\x1b[2Jcleared", `\u{1b}[2Jcleared`},
		"OSC 8 link":             {"\x1b]8;;https://evil\x1b\\text\x1b]8;;\x1b\\", `\u{1b}]8;;https://evil\u{1b}\\text\u{1b}]8;;\u{1b}\\`},
		"C1 control":             {"a\u009b31mb", `a\u{9b}31mb`},
		"C1 byte alone":          {"a\x9b31m", `a\x{9b}31m`},
		"new line and return":    {"a\nb\rc\td", `a\u{a}b\u{d}c\u{9}d`},
		"bell and backspace":     {"\a\b\x7f", `\u{7}\u{8}\u{7f}`},
		"bidirectional override": {"exe.\u202etxt", `exe.\u{202e}txt`},
		"bidirectional isolate":  {"\u2066a\u2069", `\u{2066}a\u{2069}`},
		"tag characters":         {"a\U000e0041\U000e007f", `a\u{e0041}\u{e007f}`},
		"zero width":             {"a\u200bb\u200dc\ufeff", `a\u{200b}b\u{200d}c\u{feff}`},
		"variation selectors":    {"a\ufe0f\U000e0101", `a\u{fe0f}\u{e0101}`},
		"fillers":                {"\u3164\u115f\u2800", `\u{3164}\u{115f}\u{2800}`},
		"line separator":         {"a\u2028b\u2029c\u0085", `a\u{2028}b\u{2029}c\u{85}`},
		"no-break space":         {"a\u00a0b", `a\u{a0}b`},
		"backslash":              {`a\u{1b}`, `a\\u{1b}`},
		"invalid UTF-8":          {"a\xff\xc0\xaf", `a\x{ff}\x{c0}\x{af}`},
		"piled marks":            {"e\u0301\u0302\u0303\u0304", "e\u0301\u0302" + `\u{303}\u{304}`},
		"mark without character": {"\u0301a", `\u{301}a`},
		"private use":            {"\ue000\U000f0000", `\u{e000}\u{f0000}`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Visible(c.in); got != c.want {
				t.Errorf("expected %q, found %q", c.want, got)
			}
		})
	}
}

func FuzzVisible(f *testing.F) {
	f.Add("a\x1b[31m", `a\u{1b}[31m`)
	f.Add("\u202e", "\xe2\x80")
	f.Fuzz(func(t *testing.T, a, b string) {
		v := Visible(a)
		if !utf8.ValidString(v) {
			t.Errorf("%q gives invalid UTF-8", a)
		}
		for _, r := range v {
			if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs) || r >= 0xe0000 && r <= 0xe0fff {
				t.Errorf("%q gives %q, with %U", a, v, r)
			}
		}
		// Otherwise one record could pass for another.
		if a != b && v == Visible(b) {
			t.Errorf("%q and %q look the same: %q", a, b, v)
		}
		text, err := json.Marshal(strings.ToValidUTF8(a, "?"))
		if err != nil {
			t.Fatal(err)
		}
		var back string
		safe := SafeJSON(text)
		if err := json.Unmarshal(safe, &back); err != nil || back != strings.ToValidUTF8(a, "?") {
			t.Errorf("%q becomes %q in JSON: %v", a, safe, err)
		}
		for _, r := range string(safe) {
			if unicode.In(r, unicode.Cc, unicode.Cf, unicode.M) {
				t.Errorf("%q gives %q, with %U", a, safe, r)
			}
		}
	})
}
