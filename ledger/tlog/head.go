package tlog

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"filippo.io/edwards25519"
	formats "github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
)

// MaxHead is the size in bytes of the largest tree head that [ParseHead] reads.
const MaxHead = 64 << 10

// A SignedHead is the size and root of a log, signed: on the wire a C2SP
// checkpoint (https://c2sp.org/tlog-checkpoint), which is a signed note of the
// three lines origin, size in decimal and root in base64:
//
//	ledger.example/support
//	1842
//	zvW7lYMbvX9uRsnZYyYpQGn0ETUKDvi2pUtqdQpjDPM=
//
//	— ledger.example/support x08go/ZJkuBS9UG/SffcvIAQ…
//
// Both [SignHead] and [ParseHead] return it verified; a SignedHead made
// otherwise promises nothing.
type SignedHead struct {
	Origin string // name of the log
	Size   uint64 // number of entries
	Root   Hash   // root of the tree of that size
	Note   []byte // the signed note, exactly as signed or read
}

// SignHead signs a tree head. The first signer is the log's own, whose name is
// the origin.
func SignHead(size uint64, root Hash, signers ...note.Signer) (*SignedHead, error) {
	if len(signers) == 0 {
		return nil, errors.New("tree head: no signer")
	}
	origin := signers[0].Name()
	text := formats.Checkpoint{Origin: origin, Size: size, Hash: root[:]}.Marshal()
	signed, err := note.Sign(&note.Note{Text: string(text)}, signers...)
	if err != nil {
		return nil, fmt.Errorf("tree head of size %d: %w", size, err)
	}
	return &SignedHead{Origin: origin, Size: size, Root: root, Note: signed}, nil
}

// ParseHead reads a tree head of the log whose key is v, whose name is the
// origin that is expected, and verifies its signature. Extension lines, which
// tlog-checkpoint allows, are kept in Note and otherwise ignored; signatures by
// others than v too.
func ParseHead(signed []byte, v note.Verifier) (*SignedHead, error) {
	if len(signed) > MaxHead {
		return nil, fmt.Errorf("tree head: %d bytes, expected at most %d", len(signed), MaxHead)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return nil, fmt.Errorf("tree head: expected one signed by %s: %w", v.Name(), err)
	}
	var c formats.Checkpoint
	rest, err := c.Unmarshal([]byte(n.Text))
	if err != nil {
		return nil, fmt.Errorf("tree head: %w", err)
	}
	if c.Origin != v.Name() {
		return nil, fmt.Errorf("tree head: expected the origin %q, found %q", v.Name(), clip(c.Origin))
	}
	if len(c.Hash) != HashSize {
		return nil, fmt.Errorf("tree head: expected a root of %d bytes, found %d", HashSize, len(c.Hash))
	}
	if string(c.Marshal())+string(rest) != n.Text {
		return nil, errors.New("tree head: size or root is not in its canonical form")
	}
	h := &SignedHead{Origin: c.Origin, Size: c.Size, Root: Hash(c.Hash), Note: signed}
	if h.Size == 0 && h.Root != EmptyRoot {
		return nil, fmt.Errorf("tree head: size 0 has the root %v, expected %v", h.Root, EmptyRoot)
	}
	return h, nil
}

// algEd25519 is the signature type of a plain Ed25519 note
// (https://c2sp.org/signed-note).
const algEd25519 = 1

// NewSigner returns the signer of the log called origin.
func NewSigner(origin string, key ed25519.PrivateKey) (note.Signer, error) {
	vkey, err := note.NewEd25519VerifierKey(origin, key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, fmt.Errorf("log key of %q: %w", clip(origin), err)
	}
	// "PRIVATE+KEY+name+hash+base64(type ‖ seed)"; the hash is the public key's.
	// Found from the left: base64 has plus signs of its own.
	hash := vkey[len(origin)+1:][:8]
	secret := base64.StdEncoding.EncodeToString(append([]byte{algEd25519}, key.Seed()...))
	s, err := note.NewSigner("PRIVATE+KEY+" + origin + "+" + hash + "+" + secret)
	if err != nil {
		return nil, fmt.Errorf("log key of %q: %w", clip(origin), err)
	}
	return s, nil
}

// VerifierKey returns the public half of a log key as text, "name+hash+key"
// (https://c2sp.org/signed-note).
func VerifierKey(origin string, key ed25519.PublicKey) (string, error) {
	return note.NewEd25519VerifierKey(origin, key)
}

// NewVerifier reads a key that [VerifierKey] wrote: a plain Ed25519 one, whose
// point is canonical and of prime order. It verifies as crypto/ed25519 does and
// refuses, besides, a signature whose R is of small order.
func NewVerifier(vkey string) (note.Verifier, error) {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, fmt.Errorf("log key %q: %w", clip(vkey), err)
	}
	// note.NewVerifier knows no other type than Ed25519: one byte, then the key.
	_, text, _ := strings.Cut(vkey[len(v.Name())+1:], "+")
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(key) != 1+ed25519.PublicKeySize || !primeOrder(key[1:]) {
		return nil, fmt.Errorf("log key %q: expected a canonical point of prime order", clip(vkey))
	}
	return strictVerifier{v}, nil
}

type strictVerifier struct{ note.Verifier }

func (v strictVerifier) Verify(msg, sig []byte) bool {
	return v.Verifier.Verify(msg, sig) && !smallOrder(sig[:32])
}

// smallOrder says whether an encoded point is none, or is gone once multiplied
// by the cofactor.
func smallOrder(point []byte) bool {
	p, err := new(edwards25519.Point).SetBytes(point)
	return err != nil || new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1
}

// primeOrder says whether point is the canonical encoding of a point whose order
// is the prime L: L times it is the identity, and it is not the identity.
func primeOrder(point []byte) bool {
	p, err := new(edwards25519.Point).SetBytes(point)
	if err != nil || string(p.Bytes()) != string(point) || smallOrder(point) {
		return false
	}
	// L·P = (L−1)·P + P, for a scalar is reduced modulo L.
	minusOne := new(edwards25519.Scalar).Negate(scalarOne())
	q := new(edwards25519.Point).ScalarMult(minusOne, p)
	return q.Add(q, p).Equal(edwards25519.NewIdentityPoint()) == 1
}

func scalarOne() *edwards25519.Scalar {
	one, err := new(edwards25519.Scalar).SetCanonicalBytes(append([]byte{1}, make([]byte, 31)...))
	if err != nil {
		panic(err) // it is a constant
	}
	return one
}
