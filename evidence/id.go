package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
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
func (id ID) String() string { return string(id.append(nil)) }

func (id *ID) append(b []byte) []byte {
	return base64.RawURLEncoding.AppendEncode(append(b, idPrefix...), id[:])
}

// MarshalText is [ID.String].
func (id ID) MarshalText() ([]byte, error) { return id.append(nil), nil }

// UnmarshalText is [ParseID].
func (id *ID) UnmarshalText(b []byte) error {
	rest, ok := bytes.CutPrefix(b, []byte(idPrefix))
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
func ParseDigest(s string) (Digest, error) { return parseDigest([]byte(s)) }

// IsZero reports whether d is absent.
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns the base64url of d.
func (d Digest) String() string { return string(d.append(nil)) }

func (d *Digest) append(b []byte) []byte { return base64.RawURLEncoding.AppendEncode(b, d[:]) }

// MarshalText is [Digest.String].
func (d Digest) MarshalText() ([]byte, error) { return d.append(nil), nil }

// UnmarshalText is [ParseDigest].
func (d *Digest) UnmarshalText(b []byte) (err error) {
	*d, err = parseDigest(b)
	return err
}

func parseDigest(text []byte) (d [32]byte, err error) {
	if len(text) != 43 {
		return d, fmt.Errorf("want 43 base64url characters (32 bytes), found %d characters", len(text))
	}
	if _, err := appendBase64url(d[:0], text); err != nil {
		return d, err
	}
	if d == [32]byte{} {
		return d, fmt.Errorf("want a hash, found 32 zero bytes")
	}
	return d, nil
}

// errRunID says what a run ID looks like.
var errRunID = errors.New(`run: want "run_" and a lowercase UUID (RFC 9562)`)

// RunID names a run: "run_" followed by a UUID in lowercase (RFC 9562), such as
// run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11.
type RunID string

// ParseRunID reads a run ID and refuses any other spelling.
func ParseRunID(s string) (RunID, error) {
	const n = len("run_") + 36
	if len(s) != n || s[:4] != "run_" {
		return "", fmt.Errorf("%w, found %q", errRunID, clip([]byte(s)))
	}
	for i, c := range []byte(s[4:]) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
		if dash != (c == '-') || !dash && !hex {
			return "", fmt.Errorf("%w, found %q", errRunID, s)
		}
	}
	return RunID(s), nil
}

// clip shortens text from outside before it enters an error message.
func clip(b []byte) string {
	if len(b) > 80 {
		return string(b[:80]) + "…"
	}
	return string(b)
}
