package evidence

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// ID names a record by the RFC 6962 leaf hash of its entry:
// SHA-256(0x00 || entry). Its text form is "ev_" followed by 43 characters of
// unpadded base64url. The zero ID names nothing.
type ID [32]byte

const idPrefix = "ev_"

// IDOf returns the ID of an entry: SHA-256(0x00 || entry), RFC 6962 section 2.1.
func IDOf(entry []byte) ID {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(entry)
	var id ID
	h.Sum(id[:0])
	return id
}

// ParseID reads the text form of an ID and refuses any other spelling of it.
func ParseID(s string) (ID, error) {
	var id ID
	err := id.UnmarshalText([]byte(s))
	return id, err
}

// IsZero reports whether id names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// String returns "ev_" and the base64url of the hash.
func (id ID) String() string {
	return idPrefix + base64.RawURLEncoding.EncodeToString(id[:])
}

// MarshalText is [ID.String].
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is [ParseID].
func (id *ID) UnmarshalText(b []byte) error {
	rest, ok := strings.CutPrefix(string(b), idPrefix)
	if !ok {
		return fmt.Errorf("evidence ID: want %q and 43 base64url characters, found %q", idPrefix, clip(b))
	}
	d, err := parseDigest(rest)
	if err != nil {
		return fmt.Errorf("evidence ID: %w", err)
	}
	*id = d
	return nil
}

// Digest is a SHA-256 value written as 43 characters of unpadded base64url.
type Digest [32]byte

// ParseDigest reads the text form of a digest and refuses any other spelling.
func ParseDigest(s string) (Digest, error) { return parseDigest(s) }

// IsZero reports whether d is absent.
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns the base64url of d.
func (d Digest) String() string { return base64.RawURLEncoding.EncodeToString(d[:]) }

// MarshalText is [Digest.String].
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is [ParseDigest].
func (d *Digest) UnmarshalText(b []byte) (err error) {
	*d, err = parseDigest(string(b))
	return err
}

func parseDigest(s string) (d [32]byte, err error) {
	if len(s) != 43 {
		return d, fmt.Errorf("want 43 base64url characters (32 bytes), found %d characters", len(s))
	}
	b, err := decodeBase64url(s)
	if err != nil {
		return d, err
	}
	copy(d[:], b)
	if d == [32]byte{} {
		return d, fmt.Errorf("want a hash, found 32 zero bytes")
	}
	return d, nil
}

// decodeBase64url accepts one spelling of each byte string: RFC 4648 section 5
// without padding, white space or non-zero trailing bits. The Strict decoder of
// the standard library still skips CR and LF, so the alphabet is checked first.
func decodeBase64url(s string) ([]byte, error) {
	for i := range len(s) {
		if !base64urlAlphabet[s[i]] {
			return nil, fmt.Errorf("want base64url without padding, found byte 0x%02x at offset %d", s[i], i)
		}
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("want canonical base64url: %w", err)
	}
	return b, nil
}

var base64urlAlphabet = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		t[c] = true
	}
	return t
}()

// clip shortens text from outside before it enters an error message.
func clip(b []byte) string {
	if len(b) > 80 {
		return string(b[:80]) + "…"
	}
	return string(b)
}
