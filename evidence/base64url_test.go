package evidence

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
)

// FuzzBase64 holds the decoder to the standard library's strict one, which
// beyond the alphabet takes CR and LF.
func FuzzBase64(f *testing.F) {
	for _, s := range []string{"", "A", "AA", "AB", "AAA", "AAB", "AAAA", "AAAAA", "AA==", "AA\n", "\r\n", "+/+/", "-_-_", "é", "AA.A", "AAA\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := appendBase64url([]byte("x"), []byte(s))
		want, refusal := base64.RawURLEncoding.Strict().DecodeString(s)
		ok := refusal == nil && !strings.ContainsAny(s, "\r\n")
		if (err == nil) != ok || ok && !bytes.Equal(got, append([]byte("x"), want...)) {
			t.Fatalf("%q: %x, %v; the standard library: %x, %v", s, got, err, want, refusal)
		}
	})
}

// TestBase64 is FuzzBase64 over every character at every place of the last
// quantum.
func TestBase64(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			for _, s := range []string{string([]byte{byte(a), byte(b)}), string([]byte{'A', byte(a), byte(b)}), string([]byte{byte(a), 'A', 'A', byte(b)})} {
				got, err := appendBase64url(nil, []byte(s))
				want, refusal := base64.RawURLEncoding.Strict().DecodeString(s)
				ok := refusal == nil && !strings.ContainsAny(s, "\r\n")
				if (err == nil) != ok || ok && !bytes.Equal(got, want) {
					t.Fatalf("%q: %x, %v; the standard library: %x, %v", s, got, err, want, refusal)
				}
			}
		}
	}
}
