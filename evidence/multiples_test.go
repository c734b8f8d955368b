package evidence

import (
	"crypto/ed25519"
	"errors"
	"flag"
	"math/big"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"filippo.io/edwards25519"
)

// differential is how many random signatures the multiples and crypto/ed25519
// are compared on.
var differential = flag.Int("differential", 2000, "random signatures to compare with crypto/ed25519")

func negated(tb testing.TB, k *PublicKey) *edwards25519.Point {
	tb.Helper()
	p, err := new(edwards25519.Point).SetBytes(k.ed)
	if err != nil {
		tb.Fatal(err)
	}
	return p.Negate(p)
}

// says is the answer of the multiples alone.
func says(m *multiples, key ed25519.PublicKey, message, sig []byte) bool {
	s := m.sum(key, message, sig)
	return s != nil && encodings([]*sum{s})[0] == [32]byte(sig[:32])
}

// verifies is the answer to one check.
func verifies(k *PublicKey, message, sig []byte) bool {
	c := &check{key: k, message: message, sig: sig}
	verify(c)
	return c.ok
}

// TestVerifyTogether: each of many checks has the answer that it has alone,
// whatever the others are.
func TestVerifyTogether(t *testing.T) {
	random := rand.NewChaCha8(testSeed("together"))
	rng := rand.New(random)
	rounds, cases := 200, signatureCases(t)
	if testing.Short() {
		rounds = 40
	}
	for range rounds {
		var checks []*check
		var want []bool
		for range rng.IntN(12) {
			c := cases[rng.IntN(len(cases))]
			k, err := NewPublicKey(c.key)
			if err != nil {
				continue
			}
			for range rng.IntN(2 * fastAfter) { // some with multiples, some without
				k.multiples()
			}
			checks, want = append(checks, &check{key: k, message: c.message, sig: c.sig}), append(want, c.valid)
		}
		verify(checks...)
		for i, c := range checks {
			if c.ok != want[i] {
				t.Fatalf("check %d of %d: %v, want %v", i, len(checks), c.ok, want[i])
			}
		}
	}
}

// TestEncodingsTogether: each point of many is written as it is alone.
func TestEncodingsTogether(t *testing.T) {
	var sums []*sum
	for i := range 9 {
		k := testKey(t, strconv.Itoa(i))
		message := []byte{byte(i)}
		sums = append(sums, multiplesOf(negated(t, k.pub), keyWidth).sum(k.pub.ed, message, ed25519.Sign(k.ed, message)))
	}
	for i, b := range encodings(sums) {
		if alone := encodings(sums[i : i+1])[0]; b != alone {
			t.Errorf("point %d: %x among others, %x alone", i, b, alone)
		}
	}
}

// TestVerifyEach: answers stand where their entries do, whatever is passed over
// between them.
func TestVerifyEach(t *testing.T) {
	_, k, entry := benchEntry(t)
	good, err := Parse(entry)
	if err != nil {
		t.Fatal(err)
	}
	bad := *good
	bad.sig = flipBit(good.sig, 300)
	other := testKey(t, "another").Public()
	us := []*Unverified{nil, good, &bad, good, &bad, good}
	keys := []*PublicKey{k.Public(), nil, k.Public(), k.Public(), nil, other}
	for range 2 * fastAfter {
		for i, err := range VerifyEach(us, keys) {
			if wrong := i == 2 || i == 5; errors.Is(err, ErrSignature) != wrong || (err == nil) == wrong {
				t.Fatalf("entry %d: %v", i, err)
			}
		}
	}
}

// TestMultiplesAgree: one answer, on good signatures and on broken ones.
func TestMultiplesAgree(t *testing.T) {
	random := rand.NewChaCha8(testSeed("multiples"))
	rng := rand.New(random)
	yes := 0
	for n := 0; n < *differential; {
		k, err := GenerateKey(random)
		if err != nil {
			t.Fatal(err)
		}
		m := multiplesOf(negated(t, k.pub), keyWidth)
		for range 50 {
			message := make([]byte, rng.IntN(300))
			if _, err := random.Read(message); err != nil {
				t.Fatal(err)
			}
			sig := ed25519.Sign(k.ed, message)
			switch rng.IntN(6) {
			case 0:
				sig = flipBit(sig, rng.IntN(512))
			case 1:
				sig = addOrder(sig, 1+rng.IntN(15))
			case 2:
				message = append(message, 0)
			}
			want := ed25519.Verify(k.pub.ed, message, sig)
			if got := says(m, k.pub.ed, message, sig); got != want {
				t.Fatalf("key %x message %x signature %x: %v, crypto/ed25519 %v", k.pub.ed, message, sig, got, want)
			}
			if want {
				yes++
			}
			n++
		}
	}
	t.Logf("%d signatures, %d of them good", *differential, yes)
}

// TestMultiplesOfOddKeys: with scalars and keys at the edges of their ranges.
func TestMultiplesOfOddKeys(t *testing.T) {
	one := make([]byte, 32)
	one[0] = 1
	unit, err := new(edwards25519.Scalar).SetCanonicalBytes(one)
	if err != nil {
		t.Fatal(err)
	}
	minus := new(edwards25519.Scalar).Negate(unit)
	scalars := []*edwards25519.Scalar{edwards25519.NewScalar(), unit, minus, scalarOf("x")}
	for i, a := range scalars {
		p := new(edwards25519.Point).ScalarBaseMult(a)
		key := p.Bytes()
		m := multiplesOf(p.Negate(p), keyWidth)
		for j, r := range scalars {
			encR := new(edwards25519.Point).ScalarBaseMult(r).Bytes()
			sig := signWith(r, a, encR, key, []byte("m"))
			if !ed25519.Verify(key, []byte("m"), sig) || !says(m, key, []byte("m"), sig) {
				t.Errorf("key %d, nonce %d: not verified", i, j)
			}
		}
	}
}

// TestDigits: they add up to the scalar, are odd or zero, and far apart.
func TestDigits(t *testing.T) {
	rng := rand.New(rand.NewChaCha8(testSeed("digits")))
	top := new(big.Int).Lsh(big.NewInt(1), 253)
	cases := []*big.Int{big.NewInt(0), big.NewInt(1), big.NewInt(255), new(big.Int).Sub(top, big.NewInt(1)), new(big.Int).Rsh(top, 1)}
	for range 200 {
		n := new(big.Int)
		for range 4 {
			n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(rng.Uint64()))
		}
		cases = append(cases, n.Mod(n, top))
	}
	for _, n := range cases {
		little := n.FillBytes(make([]byte, 32))
		for i := range 16 {
			little[i], little[31-i] = little[31-i], little[i]
		}
		for _, width := range []int{keyWidth, baseWidth} {
			var d digits
			d.set(little, width)
			sum, last := new(big.Int), -width
			for i, digit := range d {
				if digit == 0 {
					continue
				}
				if digit%2 == 0 || int(digit) >= 1<<(width-1) || int(digit) <= -1<<(width-1) || i-last < width {
					t.Fatalf("%v, width %d: digit %d at %d after one at %d", n, width, digit, i, last)
				}
				last = i
				sum.Add(sum, new(big.Int).Lsh(big.NewInt(int64(digit)), uint(i)))
			}
			if sum.Cmp(n) != 0 {
				t.Fatalf("width %d: %v became %v", width, n, sum)
			}
		}
	}
}

// TestMultiplesAreLazy: a key that is used a few times has none, one that is
// used often has, and many users at once get one answer.
func TestMultiplesAreLazy(t *testing.T) {
	k := testKey(t, "lazy")
	message := []byte("m")
	sig := ed25519.Sign(k.ed, message)
	for range fastAfter - 1 {
		if !verifies(k.pub, message, sig) {
			t.Fatal("not verified")
		}
	}
	if k.pub.fast.Load() != nil {
		t.Errorf("multiples after %d uses", fastAfter-1)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				if !verifies(k.pub, message, sig) || verifies(k.pub, message, flipBit(sig, 300)) {
					t.Error("the wrong answer")
				}
			}
		})
	}
	wg.Wait()
	if k.pub.fast.Load() == nil {
		t.Error("no multiples after many uses")
	}
}

// FuzzMultiples: one answer for any bytes, and for a good signature with any
// bytes added to it.
func FuzzMultiples(f *testing.F) {
	for _, c := range signatureCases(f) {
		f.Add([]byte("seed"), c.message, c.sig)
	}
	f.Fuzz(func(t *testing.T, seed, message, change []byte) {
		k := testKey(t, string(seed))
		m := multiplesOf(negated(t, k.pub), keyWidth)
		sig := ed25519.Sign(k.ed, message)
		for i := range min(len(change), len(sig)) {
			sig[i] ^= change[i]
		}
		for _, s := range [][]byte{sig, change} {
			want := ed25519.Verify(k.pub.ed, message, s)
			if got := says(m, k.pub.ed, message, s); got != want {
				t.Fatalf("signature %x: %v, crypto/ed25519 %v", s, got, want)
			}
		}
	})
}
