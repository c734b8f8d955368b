package evidence

import "fmt"

// appendBase64url accepts one spelling of each byte string: RFC 4648 section 5
// without padding, white space or non-zero trailing bits. The decoder of the
// standard library skips CR and LF even when strict, and looking for them first
// costs as much again.
func appendBase64url(to, text []byte) ([]byte, error) {
	for ; len(text) >= 4; text = text[4:] {
		a, b, c, d := sextet[text[0]], sextet[text[1]], sextet[text[2]], sextet[text[3]]
		if a|b|c|d > 63 {
			return to, base64urlError(text)
		}
		to = append(to, a<<2|b>>4, b<<4|c>>2, c<<6|d)
	}
	var a, b, c byte
	switch len(text) {
	case 3:
		c = sextet[text[2]]
		fallthrough
	case 2:
		a, b = sextet[text[0]], sextet[text[1]]
	case 1:
		return to, fmt.Errorf("want base64url, found a single character at its end")
	}
	switch {
	case a|b|c > 63:
		return to, base64urlError(text)
	case len(text) == 3 && c&3 != 0, len(text) == 2 && b&15 != 0:
		return to, fmt.Errorf("want canonical base64url, found unused bits that are not zero")
	case len(text) == 3:
		to = append(to, a<<2|b>>4, b<<4|c>>2)
	case len(text) == 2:
		to = append(to, a<<2|b>>4)
	}
	return to, nil
}

func base64urlError(text []byte) error {
	for _, c := range text {
		if sextet[c] > 63 {
			return fmt.Errorf("want base64url without padding, found byte 0x%02x", c)
		}
	}
	return nil // not reached: the caller has seen one
}

// sextet has the value of each character of the alphabet, 255 for all others.
var sextet = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		t[c] = byte(i)
	}
	return t
}()
