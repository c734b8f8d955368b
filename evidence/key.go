package evidence

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"filippo.io/edwards25519"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
)

// JWK is an Ed25519 public key as RFC 8037 writes it, with these three members
// and no other.
type JWK struct {
	Kty string `json:"kty"` // "OKP"
	Crv string `json:"crv"` // "Ed25519"
	X   string `json:"x"`   // 43 characters of base64url
}

// PublicKey is an Ed25519 public key that is a canonical point of prime order.
// It verifies signatures and knows its RFC 7638 thumbprint.
type PublicKey struct {
	ed  ed25519.PublicKey
	kid Digest

	// A key that verifies often gets multiples of its negative, once: keys that
	// are seen once cost nothing.
	uses atomic.Uint32
	fast atomic.Pointer[multiples]
}

// fastAfter is how often a key verifies before its multiples are computed,
// which costs about as much as two or three more.
const fastAfter = 8

// PrivateKey is an Ed25519 private key.
type PrivateKey struct {
	ed     ed25519.PrivateKey
	pub    *PublicKey
	header []byte // the protected header of every record that it signs
}

// GenerateKey makes a key from 32 bytes of random.
func GenerateKey(random io.Reader) (*PrivateKey, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, fmt.Errorf("key: want %d random bytes: %w", len(seed), err)
	}
	return NewPrivateKey(seed)
}

// NewPrivateKey makes a key from its 32-byte seed (RFC 8032).
func NewPrivateKey(seed []byte) (*PrivateKey, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("key: want a seed of %d bytes, found %d", ed25519.SeedSize, len(seed))
	}
	ed := ed25519.NewKeyFromSeed(seed)
	pub, err := NewPublicKey(ed.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	return &PrivateKey{ed, pub, []byte(headerBefore + pub.kid.String() + headerAfter)}, nil
}

// Public returns the public half.
func (k *PrivateKey) Public() *PublicKey { return k.pub }

// Seed returns the 32-byte seed: a secret.
func (k *PrivateKey) Seed() []byte { return k.ed.Seed() }

// String names the key by its thumbprint.
func (k *PrivateKey) String() string { return "private key " + k.pub.kid.String() }

// Format is [PrivateKey.String] for every verb: it keeps the secret out of logs
// and errors.
func (k *PrivateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// privateJWK is a private key as RFC 8037 writes it.
type privateJWK struct {
	JWK
	D string `json:"d"`
}

// MarshalJWK returns the key as a JWK with the member d: a secret.
func (k *PrivateKey) MarshalJWK() ([]byte, error) {
	return json.Marshal(&privateJWK{k.pub.JWK(), base64.RawURLEncoding.EncodeToString(k.ed.Seed())})
}

// ParsePrivateJWK reads what MarshalJWK wrote, and requires that the two halves
// belong together. Its errors never hold the secret.
func ParsePrivateJWK(b []byte) (*PrivateKey, error) {
	var w privateJWK
	if err := json.Unmarshal(b, &w, json.RejectUnknownMembers(true)); err != nil {
		return nil, errors.New("key: want a private JWK with members kty, crv, x and d")
	}
	seed, err := appendBase64url(nil, []byte(w.D))
	if err != nil {
		return nil, errors.New("key: want member d to be 43 base64url characters")
	}
	k, err := NewPrivateKey(seed)
	if err != nil {
		return nil, err
	}
	if k.pub.JWK() != w.JWK {
		return nil, errors.New("key: want member x to be the public key of member d")
	}
	return k, nil
}

// NewPublicKey accepts 32 bytes that are the canonical encoding of a point of
// prime order, which excludes the small-order and mixed-order points under
// which one signature can verify for many messages.
func NewPublicKey(b []byte) (*PublicKey, error) {
	if len(b) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("key: want %d bytes, found %d", ed25519.PublicKeySize, len(b))
	}
	p, err := new(edwards25519.Point).SetBytes(b)
	if err != nil {
		return nil, errors.New("key: want a point of edwards25519")
	}
	// No point of prime order has a second encoding (a test counts them), so this
	// only gives a better reason.
	if !bytes.Equal(p.Bytes(), b) {
		return nil, errors.New("key: want the canonical encoding of a point")
	}
	if !primeOrder(p) {
		return nil, errors.New("key: want a point of prime order, found one of small or mixed order")
	}
	k := &PublicKey{ed: bytes.Clone(b)}
	thumb, err := (&jose.JSONWebKey{Key: k.ed}).Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("key: thumbprint: %w", err)
	}
	copy(k.kid[:], thumb)
	return k, nil
}

// primeOrder reports whether p is of order ℓ: p is not the identity and
// [ℓ]p is, computed as [ℓ-1]p = -p.
func primeOrder(p *edwards25519.Point) bool {
	if p.Equal(edwards25519.NewIdentityPoint()) == 1 {
		return false
	}
	one := make([]byte, 32)
	one[0] = 1
	s, err := new(edwards25519.Scalar).SetCanonicalBytes(one)
	if err != nil {
		panic(err) // 1 is canonical
	}
	s.Negate(s) // ℓ-1
	return new(edwards25519.Point).ScalarMult(s, p).Equal(new(edwards25519.Point).Negate(p)) == 1
}

// Thumbprint returns the RFC 7638 thumbprint (SHA-256): the kid of every record
// that the key signs.
func (k *PublicKey) Thumbprint() Digest { return k.kid }

// Bytes returns the 32 bytes of the key.
func (k *PublicKey) Bytes() []byte { return bytes.Clone(k.ed) }

// JWK returns the key as a JWK.
func (k *PublicKey) JWK() JWK {
	return JWK{Kty: "OKP", Crv: "Ed25519", X: base64.RawURLEncoding.EncodeToString(k.ed)}
}

func (j *JWK) check(c *checker) {
	if _, err := j.PublicKey(); err != nil {
		c.broken(err)
	}
}

// PublicKey checks the JWK and returns its key.
func (j *JWK) PublicKey() (*PublicKey, error) {
	if j.Kty != "OKP" || j.Crv != "Ed25519" {
		return nil, fmt.Errorf("key: want kty OKP and crv Ed25519, found %q and %q", clip([]byte(j.Kty)), clip([]byte(j.Crv)))
	}
	b, err := appendBase64url(nil, []byte(j.X))
	if err != nil {
		return nil, fmt.Errorf("key: member x: %w", err)
	}
	return NewPublicKey(b)
}

// A check is one signature under one key, and whether it verifies.
type check struct {
	key          *PublicKey
	message, sig []byte
	ok           bool
}

// verify has the one rule for signatures: crypto/ed25519's, and R is not of
// small order. The multiples may say yes; a no is crypto/ed25519's. Each check
// has an answer of its own: what they share is the cost of comparing encodings.
func verify(checks ...*check) {
	sums, fast := make([]*sum, 0, len(checks)), make([]*check, 0, len(checks))
	for _, c := range checks {
		if len(c.sig) != ed25519.SignatureSize || smallOrder[[32]byte(c.sig[:32])] {
			continue
		}
		if m := c.key.multiples(); m != nil {
			if s := m.sum(c.key.ed, c.message, c.sig); s != nil {
				sums, fast = append(sums, s), append(fast, c)
				continue
			}
		}
		c.ok = ed25519.Verify(c.key.ed, c.message, c.sig)
	}
	for i, r := range encodings(sums) {
		c := fast[i]
		c.ok = r == [32]byte(c.sig[:32]) || ed25519.Verify(c.key.ed, c.message, c.sig)
	}
}

// multiples returns nil until the key has been used often enough. Only the
// caller that counts to fastAfter computes them.
func (k *PublicKey) multiples() *multiples {
	m := k.fast.Load()
	if m == nil && k.uses.Add(1) == fastAfter {
		p, err := new(edwards25519.Point).SetBytes(k.ed)
		if err != nil {
			return nil // NewPublicKey has seen to it
		}
		m = multiplesOf(p.Negate(p), keyWidth)
		k.fast.Store(m)
	}
	return m
}

// smallOrder holds the canonical encodings of the eight points whose order
// divides 8. Other encodings of them never verify: crypto/ed25519 compares R
// with the canonical encoding of the point that it computes.
var smallOrder = func() map[[32]byte]bool {
	// A generator of the 8-torsion (RFC 7748 curve, twisted Edwards form).
	g := []byte{
		0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
	}
	p, err := new(edwards25519.Point).SetBytes(g)
	if err != nil {
		panic(err) // a constant
	}
	m := make(map[[32]byte]bool)
	q := edwards25519.NewIdentityPoint()
	for range 8 {
		m[[32]byte(q.Bytes())] = true
		q.Add(q, p)
	}
	return m
}()
