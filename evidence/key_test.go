package evidence

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"filippo.io/edwards25519"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
)

// TestRFC8037 has the vectors of RFC 8037 appendices A.1 to A.4.
func TestRFC8037(t *testing.T) {
	private := `{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	k, err := ParsePrivateJWK([]byte(private))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := k.Public().Thumbprint().String(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"; got != want {
		t.Errorf("thumbprint %s, want %s", got, want)
	}
	message := "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
	sig, err := base64.RawURLEncoding.DecodeString("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
	if err != nil {
		t.Fatal(err)
	}
	if !verifies(k.Public(), []byte(message), sig) {
		t.Error("the signature of appendix A.4 does not verify")
	}
}

// TestKeys: what is written is read again, and go-jose agrees on JWK and
// thumbprint.
func TestKeys(t *testing.T) {
	k, err := GenerateKey(strings.NewReader(strings.Repeat("random", 10)))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := k.MarshalJWK()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParsePrivateJWK(secret)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(back.Seed(), k.Seed()) || back.Public().Thumbprint() != k.Public().Thumbprint() {
		t.Error("a private key became another")
	}
	var theirs jose.JSONWebKey
	if err := theirs.UnmarshalJSON(secret); err != nil {
		t.Fatal(err)
	}
	thumb, err := theirs.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(thumb, bytes.Clone(k.pub.kid[:])) {
		t.Error("go-jose has another thumbprint")
	}
	jwk := k.Public().JWK()
	public, err := jwk.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(public.Bytes(), k.Public().Bytes()) {
		t.Error("a public key became another")
	}
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s", k, k, k, k), fmt.Sprintf("%d %x %q", k, k, k)} {
		if strings.Contains(s, base64.RawURLEncoding.EncodeToString(k.Seed())) || strings.Contains(s, fmt.Sprint(k.Seed()[0], " ", k.Seed()[1])) || !strings.Contains(s, "private key ") {
			t.Errorf("a private key prints as %s", s)
		}
	}
	if _, err := GenerateKey(strings.NewReader("short")); err == nil {
		t.Error("a key from five bytes")
	}
	if _, err := NewPrivateKey(make([]byte, 31)); err == nil {
		t.Error("a key from a seed of 31 bytes")
	}
}

// TestPrivateKeysRefused: and the error never holds the secret.
func TestPrivateKeysRefused(t *testing.T) {
	const d, x = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	good := `{"kty":"OKP","crv":"Ed25519","x":"` + x + `","d":"` + d + `"}`
	for name, text := range map[string]string{
		"not JSON":          good[1:],
		"an unknown member": strings.Replace(good, "{", `{"use":"sig",`, 1),
		"a member twice":    strings.Replace(good, "{", `{"kty":"OKP",`, 1),
		"another type":      strings.Replace(good, "OKP", "EC", 1),
		"another curve":     strings.Replace(good, "Ed25519", "X25519", 1),
		"halves of two":     strings.Replace(good, x, testX("runtime"), 1),
		"no x":              strings.Replace(good, `"x":"`+x+`",`, "", 1),
		"no d":              strings.Replace(good, `,"d":"`+d+`"`, "", 1),
		"d too short":       strings.Replace(good, d, d[1:], 1),
		"d padded":          strings.Replace(good, d, d+"=", 1),
		"d loose":           strings.Replace(good, d, loose(d), 1),
		"something behind":  good + "{}",
	} {
		_, err := ParsePrivateJWK([]byte(text))
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), d[5:20]) {
			t.Errorf("%s: the error holds the secret: %v", name, err)
		}
	}
	if _, err := ParsePrivateJWK([]byte(good)); err != nil {
		t.Error(err)
	}
}

// TestKeysNotCanonical: every other spelling of a point, of any order.
func TestKeysNotCanonical(t *testing.T) {
	points, prime := 0, 0
	for y := range byte(19) { // p + y is below 2^255
		for _, sign := range []byte{0, 0x80} {
			b := bytes.Repeat([]byte{0xff}, 32)
			b[0], b[31] = 0xed+y, 0x7f|sign
			if _, err := NewPublicKey(b); err == nil {
				t.Errorf("%x accepted", b)
			}
			if p, err := new(edwards25519.Point).SetBytes(b); err == nil {
				points++
				if primeOrder(p) {
					prime++
				}
			}
		}
	}
	t.Logf("%d of them are points, %d of prime order", points, prime)
}

// FuzzKey: whatever 32 bytes a key is accepted from, it is the canonical
// encoding of a point that ℓ takes to the identity, and its JWK gives it back.
func FuzzKey(f *testing.F) {
	for _, c := range signatureCases(f) {
		f.Add(c.key)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := NewPublicKey(b)
		p, noPoint := new(edwards25519.Point).SetBytes(b)
		if err != nil {
			if noPoint == nil && bytes.Equal(p.Bytes(), b) && timesOrder(p).Equal(edwards25519.NewIdentityPoint()) == 1 &&
				p.Equal(edwards25519.NewIdentityPoint()) == 0 {
				t.Fatalf("%x refused: %v", b, err)
			}
			return
		}
		if noPoint != nil || !bytes.Equal(p.Bytes(), b) || timesOrder(p).Equal(edwards25519.NewIdentityPoint()) != 1 {
			t.Fatalf("%x accepted", b)
		}
		text, err := json.Marshal(k.JWK())
		if err != nil {
			t.Fatal(err)
		}
		var jwk JWK
		if err := json.Unmarshal(text, &jwk); err != nil {
			t.Fatal(err)
		}
		again, err := jwk.PublicKey()
		if err != nil || again.Thumbprint() != k.Thumbprint() {
			t.Fatalf("%s: %v", text, err)
		}
	})
}

// timesOrder is [ℓ]p by doubling and adding: slow, and another way than the
// one that is tested.
func timesOrder(p *edwards25519.Point) *edwards25519.Point {
	order := unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	q := edwards25519.NewIdentityPoint()
	for i := 255; i >= 0; i-- {
		q.Add(q, q)
		if order[i/8]>>(i%8)&1 == 1 {
			q.Add(q, p)
		}
	}
	return q
}
