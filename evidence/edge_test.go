package evidence

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"testing"

	"filippo.io/edwards25519"
)

// signatureCase is a signature with what each rule says of it.
type signatureCase struct {
	name              string
	key, message, sig []byte
	keyOK             bool // the key is a canonical point of prime order
	standard          bool // crypto/ed25519 accepts, whatever the key
	valid             bool // we do
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// torsion returns [0]T to [7]T for a point T of order 8.
func torsion() [8]*edwards25519.Point {
	t, err := new(edwards25519.Point).SetBytes(unhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))
	if err != nil {
		panic(err)
	}
	var all [8]*edwards25519.Point
	all[0] = edwards25519.NewIdentityPoint()
	for i := 1; i < 8; i++ {
		all[i] = new(edwards25519.Point).Add(all[i-1], t)
	}
	return all
}

func scalarOf(s string) *edwards25519.Scalar {
	h := sha512.Sum512([]byte("ledgerd test scalar: " + s))
	n, err := new(edwards25519.Scalar).SetUniformBytes(h[:])
	if err != nil {
		panic(err)
	}
	return n
}

// challenge is k of RFC 8032 section 5.1.7.
func challenge(r, key, message []byte) *edwards25519.Scalar {
	h := sha512.Sum512(bytes.Join([][]byte{r, key, message}, nil))
	k, err := new(edwards25519.Scalar).SetUniformBytes(h[:])
	if err != nil {
		panic(err)
	}
	return k
}

// signWith is the signature (R, r + k·a): it verifies with the cofactor where R
// is rB and the key aB, both but for torsion.
func signWith(r, a *edwards25519.Scalar, encodedR, key, message []byte) []byte {
	s := new(edwards25519.Scalar).MultiplyAdd(challenge(encodedR, key, message), a, r)
	return append(bytes.Clone(encodedR), s.Bytes()...)
}

// addOrder adds n·ℓ to the S of a signature.
func addOrder(sig []byte, n int) []byte {
	order := unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	out := bytes.Clone(sig)
	for range n {
		carry := 0
		for i := range 32 {
			carry += int(out[32+i]) + int(order[i])
			out[32+i] = byte(carry)
			carry >>= 8
		}
	}
	return out
}

// messageFor searches a message for which the challenge mod 8 is (or is not) 0.
func messageFor(encodedR, key []byte, zero bool) []byte {
	for i := 0; ; i++ {
		m := fmt.Appendf(nil, "message %d", i)
		if (challenge(encodedR, key, m).Bytes()[0]&7 == 0) == zero {
			return m
		}
	}
}

// signatureCases has the cases of Chalkias, Garillot and Nikolaenko, "Taming the
// many EdDSAs" (2020), computed here, with those that our rule for R adds, and
// the first vectors of RFC 8032 section 7.1.
func signatureCases(tb testing.TB) (all []signatureCase) {
	add := func(name string, key, message, sig []byte, keyOK, standard, valid bool) {
		all = append(all, signatureCase{name, key, message, sig, keyOK, standard, valid})
	}
	add("RFC 8032 test 1", unhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"), nil,
		unhex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"), true, true, true)
	add("RFC 8032 test 2", unhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"), []byte{0x72},
		unhex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"), true, true, true)

	a, r, zero := scalarOf("a"), scalarOf("r"), edwards25519.NewScalar()
	pointA, pointR := new(edwards25519.Point).ScalarBaseMult(a), new(edwards25519.Point).ScalarBaseMult(r)
	keyA, encR := pointA.Bytes(), pointR.Bytes()
	t := torsion()
	m := []byte("what is signed")
	good := signWith(r, a, encR, keyA, m)
	add("an honest signature", keyA, m, good, true, true, true)
	add("of an empty message", keyA, nil, signWith(r, a, encR, keyA, nil), true, true, true)
	add("of another message", keyA, []byte("what is not signed"), good, true, false, false)
	add("S + ℓ", keyA, m, addOrder(good, 1), true, false, false)
	add("S + 7ℓ", keyA, m, addOrder(good, 7), true, false, false)
	add("S + 15ℓ", keyA, m, addOrder(good, 15), true, false, false)
	add("S = ℓ, R the identity's negative key", keyA, m, append(bytes.Clone(encR), unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")...), true, false, false)
	add("S and R swapped", keyA, m, append(bytes.Clone(good[32:]), good[:32]...), true, false, false)
	add("the sign bit of R flipped", keyA, m, flipBit(good, 255), true, false, false)
	add("the lowest bit of S flipped", keyA, m, flipBit(good, 256), true, false, false)
	add("the highest bit of S set", keyA, m, flipBit(good, 511), true, false, false)
	add("zero", keyA, m, make([]byte, 64), true, false, false)
	add("-R and -S", keyA, m, append(new(edwards25519.Point).Negate(pointR).Bytes(), new(edwards25519.Scalar).Negate(scalarOf("r")).Bytes()...), true, false, false)

	// R of small order. Only the identity satisfies the equation without
	// cofactor, under a key of prime order: our own rule refuses it.
	identity := t[0].Bytes()
	add("R the identity", keyA, m, signWith(zero, a, identity, keyA, m), true, true, false)
	for i := 1; i < 8; i++ {
		add(fmt.Sprintf("R of small order, %d of 8", i), keyA, m, signWith(zero, a, t[i].Bytes(), keyA, m), true, false, false)
	}
	for _, c := range [][2]string{
		{"the identity, y = p + 1", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"},
		{"the identity, negative zero", "0100000000000000000000000000000000000000000000000000000000000080"},
		{"the identity, y = p + 1, negative zero", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},
		{"order 2, negative zero", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},
		{"order 4, y = p", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"},
		{"order 4, y = p, negative", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},
	} {
		name, e := c[0], unhex(c[1])
		add("R not canonical: "+name, keyA, m, signWith(zero, a, e, keyA, m), true, false, false)
		add("the key not canonical: "+name, e, m, signWith(r, zero, encR, e, m), false, ed25519.Verify(e, m, signWith(r, zero, encR, e, m)), false)
	}
	for i := 1; i < 8; i++ {
		mixed := new(edwards25519.Point).Add(pointR, t[i]).Bytes()
		add(fmt.Sprintf("R of mixed order, %d of 8", i), keyA, m, signWith(r, a, mixed, keyA, m), true, false, false)
	}

	// Keys of small and mixed order: whatever the equation says, we refuse them.
	for i := range 8 {
		key := t[i].Bytes()
		m0 := messageFor(encR, key, true)
		add(fmt.Sprintf("the key of small order, %d of 8, any R", i), key, m0, signWith(r, zero, encR, key, m0), false, true, false)
		m0 = messageFor(identity, key, true)
		add(fmt.Sprintf("the key of small order, %d of 8, R the identity, S = 0", i), key, m0, signWith(zero, zero, identity, key, m0), false, true, false)
		if i > 0 {
			key = new(edwards25519.Point).Add(pointA, t[i]).Bytes()
			m0 = messageFor(encR, key, true)
			add(fmt.Sprintf("the key of mixed order, %d of 8, verifies without cofactor", i), key, m0, signWith(r, a, encR, key, m0), false, true, false)
			// An odd challenge leaves the torsion standing, unless the order of it divides the rest.
			m0 = []byte("message 0")
			for n := 1; challenge(encR, key, m0).Bytes()[0]&1 == 0; n++ {
				m0 = fmt.Appendf(nil, "message %d", n)
			}
			add(fmt.Sprintf("the key of mixed order, %d of 8, verifies with cofactor only", i), key, m0, signWith(r, a, encR, key, m0), false, false, false)
			mixed := new(edwards25519.Point).Add(pointR, t[8-i]).Bytes()
			m1 := []byte("message 0")
			for n := 1; challenge(mixed, key, m1).Bytes()[0]&7 != 1; n++ {
				m1 = fmt.Appendf(nil, "message %d", n)
			}
			add(fmt.Sprintf("key and R of mixed order that cancel, %d of 8", i), key, m1, signWith(r, a, mixed, key, m1), false, true, false)
		}
	}
	add("the key is no point", unhex("0200000000000000000000000000000000000000000000000000000000000000"), m, good, false, false, false)
	for _, n := range []int{0, 32, 63, 65} {
		long := append(bytes.Clone(good), 0)
		add(fmt.Sprintf("a signature of %d bytes", n), keyA, m, long[:n], true, false, false)
	}
	return all
}

func flipBit(b []byte, i int) []byte {
	out := bytes.Clone(b)
	out[i/8] ^= 1 << (i % 8)
	return out
}

// TestSignatureCases holds our rule, crypto/ed25519 and the multiples to each
// case. Row 16 of the attacks: S ≥ ℓ, R of small order; row 15: keys.
func TestSignatureCases(t *testing.T) {
	for _, c := range signatureCases(t) {
		t.Run("row 16: "+c.name, func(t *testing.T) {
			if got := ed25519.Verify(c.key, c.message, c.sig); got != c.standard {
				t.Errorf("crypto/ed25519 says %v, the case %v", got, c.standard)
			}
			if p, err := new(edwards25519.Point).SetBytes(c.key); err == nil {
				m := multiplesOf(p.Negate(p), keyWidth)
				if got := says(m, c.key, c.message, c.sig); got != c.standard {
					t.Errorf("the multiples say %v, crypto/ed25519 %v", got, c.standard)
				}
			}
			k, err := NewPublicKey(c.key)
			if (err == nil) != c.keyOK {
				t.Fatalf("the key: %v, want it accepted: %v", err, c.keyOK)
			}
			if err != nil {
				return
			}
			for n := range 2 * fastAfter { // before and with the multiples
				if got := verifies(k, c.message, c.sig); got != c.valid {
					t.Errorf("use %d: verified: %v, want %v", n+1, got, c.valid)
				}
			}
		})
	}
}
