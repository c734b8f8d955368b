package evidence

import (
	"crypto/sha256"
	"hash"
)

// SaltSize is the length in bytes of the random salt of a commitment.
const SaltSize = 32

// Commitment stands in a record for a payload that lies beside the log:
// SHA-256(salt || payload), with the payload's size in bytes and its media type
// (an identifier, such as application/json).
type Commitment struct {
	Commit Digest `json:"commit"`
	Size   int64  `json:"size"`
	Media  string `json:"media"`
}

func (m *Commitment) check(c *checker) {
	c.require("commit", !m.Commit.IsZero())
	c.count("size", m.Size, 0)
	c.identifier("media", m.Media)
}

// Payload is what a commitment hides, with the salt that opens it.
type Payload struct {
	Salt  [SaltSize]byte
	Media string
	Data  []byte
}

// Commitment computes the commitment to p.
func (p *Payload) Commitment() Commitment {
	h := NewCommitHash(p.Salt)
	h.Write(p.Data)
	var d Digest
	h.Sum(d[:0])
	return Commitment{Commit: d, Size: int64(len(p.Data)), Media: p.Media}
}

// Opens reports whether p is the payload that c commits to.
func (p *Payload) Opens(c Commitment) bool { return p.Commitment() == c }

// NewCommitHash returns the hash that computes a commitment over a payload
// written to it, for payloads that are streamed.
func NewCommitHash(salt [SaltSize]byte) hash.Hash {
	h := sha256.New()
	h.Write(salt[:])
	return h
}
