package tlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// HashSize is the size of a [Hash] in bytes.
const HashSize = sha256.Size

// MaxEntry is the size in bytes of the largest entry: tlog-tiles prefixes each
// entry with its length as a uint16.
const MaxEntry = 1<<16 - 1

// A Hash is that of a leaf or of an interior node of the tree (RFC 6962,
// section 2.1).
type Hash [HashSize]byte

// EmptyRoot is the root of the tree without entries, SHA-256 of nothing.
var EmptyRoot = Hash(sha256.Sum256(nil))

// LeafHash returns the hash of an entry: SHA-256(0x00 ‖ entry).
func LeafHash(entry []byte) Hash {
	var h Hash
	d := sha256.New()
	d.Write([]byte{0x00})
	d.Write(entry)
	d.Sum(h[:0])
	return h
}

// NodeHash returns the hash of an interior node: SHA-256(0x01 ‖ left ‖ right).
func NodeHash(left, right Hash) Hash {
	var b [1 + 2*HashSize]byte
	b[0] = 0x01
	copy(b[1:], left[:])
	copy(b[1+HashSize:], right[:])
	return sha256.Sum256(b[:])
}

// String returns the hash in standard base64, as tree heads and proofs write it.
func (h Hash) String() string { return base64.StdEncoding.EncodeToString(h[:]) }

// ParseHash parses what [Hash.String] wrote, and nothing else: white space, a
// missing padding and non-zero trailing bits are refused.
func ParseHash(s string) (Hash, error) {
	var h Hash
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != HashSize {
		return h, fmt.Errorf("%q is not a hash: expected 32 bytes in base64", clip(s))
	}
	copy(h[:], b)
	// Strict still skips CR and LF.
	if h.String() != s {
		return Hash{}, fmt.Errorf("%q is not the canonical base64 of a hash", clip(s))
	}
	return h, nil
}

// clip bounds what an error quotes of hostile input.
func clip[T ~string | ~[]byte](s T) string {
	if len(s) > 64 {
		return string(s[:64]) + "…"
	}
	return string(s)
}

// bytesOf joins hashes to the bytes of a tile.
func bytesOf(hs []Hash) []byte {
	var b bytes.Buffer
	b.Grow(len(hs) * HashSize)
	for i := range hs {
		b.Write(hs[i][:])
	}
	return b.Bytes()
}
