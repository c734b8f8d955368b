package evidence

import (
	"bytes"
	"encoding/base64"
	"errors"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"ledgerd/internal/raced"
)

// joseVerifies asks go-jose, given its best chance: any serialisation, the
// algorithm and the key.
func joseVerifies(t *testing.T, entry string, k *PublicKey) bool {
	t.Helper()
	algorithms := []jose.SignatureAlgorithm{jose.EdDSA}
	jws, err := jose.ParseSignedCompact(entry, algorithms)
	if err != nil {
		if jws, err = jose.ParseSignedJSON(entry, algorithms); err != nil {
			return false
		}
	}
	_, err = jws.Verify(k.ed)
	return err == nil
}

// TestJoseSignsTheSame: byte for byte. Ed25519 is deterministic, so there is one
// right answer.
func TestJoseSignsTheSame(t *testing.T) {
	for _, s := range samples(t) {
		k := testKey(t, s.key)
		payload, err := MarshalPayload(s.record)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := jose.NewSigner(
			jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: k.ed, KeyID: k.pub.kid.String()}},
			(&jose.SignerOptions{}).WithType("evidence+jws"),
		)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		want, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		got, err := SignPayload(payload, k)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s:\n%s\ngo-jose:\n%s", s, got, want)
		}
	}
}

// TestSignRefusesWhatIsTooLong: at the very byte.
func TestSignRefusesWhatIsTooLong(t *testing.T) {
	k := testKey(t, "runtime")
	room := base64.RawURLEncoding.DecodedLen(MaxEntry - base64.RawURLEncoding.EncodedLen(headerSize) - 1 - 1 - 86) // dots and signature
	for payload, ok := range map[int]bool{room: true, room + 1: false} {
		entry, err := SignPayload(make([]byte, payload), k)
		if (err == nil) != ok || len(entry) > MaxEntry {
			t.Errorf("%d bytes of payload: %d of entry, %v", payload, len(entry), err)
		}
	}
}

// TestJoseVerifiesWhatWeSign: the key ID, the payload and the signature, of
// every sample.
func TestJoseVerifiesWhatWeSign(t *testing.T) {
	for _, s := range samples(t) {
		k := testKey(t, s.key)
		entry, err := Sign(s.record, k)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := jose.ParseSignedCompact(string(entry), []jose.SignatureAlgorithm{jose.EdDSA})
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		payload, err := jws.Verify(jose.JSONWebKey{Key: k.pub.ed, KeyID: k.pub.kid.String()})
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		want, err := MarshalPayload(s.record)
		if err != nil {
			t.Fatal(err)
		}
		h := jws.Signatures[0].Protected
		if !bytes.Equal(payload, want) || h.KeyID != k.pub.kid.String() || h.Algorithm != "EdDSA" || h.ExtraHeaders["typ"] != "evidence+jws" {
			t.Errorf("%s: go-jose reads header %+v and payload %s", s, h, payload)
		}
	}
}

// TestKidIsTheSigners: a record that says that one key signed it does not verify
// under another that did.
func TestKidIsTheSigners(t *testing.T) {
	payload, err := MarshalPayload(samples(t)[0].record)
	if err != nil {
		t.Fatal(err)
	}
	said, did := testKey(t, "runtime"), testKey(t, "agent")
	u, err := Parse([]byte(joined(headerFor(said), string(payload), did)))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []*PrivateKey{said, did} {
		if _, err := u.Verify(k.Public()); !errors.Is(err, ErrSignature) {
			t.Errorf("under key %s: %v", k.Public().Thumbprint(), err)
		}
	}
}

// TestDots is row 14: ten million of them cost nothing.
func TestDots(t *testing.T) {
	entry := bytes.Repeat([]byte{'.'}, 10_000_000)
	if n := testing.AllocsPerRun(10, func() {
		if _, err := Parse(entry); err == nil {
			t.Error("accepted")
		}
	}); n > 10 {
		t.Errorf("%v allocations", n)
	}
}

// TestEveryBitCounts: an entry with any one bit changed does not parse, or does
// not verify, or says who signed it wrongly; and its ID is another.
func TestEveryBitCounts(t *testing.T) {
	raced.Skip(t)
	s := samples(t)[1]
	k := testKey(t, s.key)
	entry, err := Sign(s.record, k)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(entry) {
		changed := flipBit(entry, i)
		if IDOf(changed) == IDOf(entry) {
			t.Fatalf("bit %d: the same ID", i)
		}
		u, err := Parse(changed)
		if err != nil {
			continue
		}
		if _, err := u.Verify(k.Public()); !errors.Is(err, ErrSignature) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
}

// FuzzParse: an entry that parses is written in the one way there is, and
// go-jose reads the same payload from it.
func FuzzParse(f *testing.F) {
	for _, s := range samples(f) {
		entry, err := Sign(s.record, testKey(f, s.key))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(entry)
	}
	for _, m := range entryMutations(f) {
		if len(m.entry) < 4096 {
			f.Add([]byte(m.entry))
		}
	}
	f.Fuzz(func(t *testing.T, entry []byte) {
		u, err := Parse(entry)
		if err != nil {
			if form, ok := err.(*FormError); !ok || form.Err == nil { //nolint:errorlint // Parse promises the type itself
				t.Fatalf("%q: %v: want a form error", entry, err)
			}
			return
		}
		_, payload, sig, err := split(entry)
		if err != nil {
			t.Fatal(err)
		}
		again := b64(headerBefore+u.KeyID().String()+headerAfter) + "." + b64(string(payload)) + "." + b64(string(sig))
		if again != string(entry) {
			t.Fatalf("%q parses, and is written %q", entry, again)
		}
		if u.ID() != IDOf(entry) || !bytes.Equal(u.Entry(), entry) {
			t.Fatalf("%q: another ID or entry", entry)
		}
		jws, err := jose.ParseSignedCompact(string(entry), []jose.SignatureAlgorithm{jose.EdDSA})
		if err != nil || !bytes.Equal(jws.UnsafePayloadWithoutVerification(), payload) || jws.Signatures[0].Protected.KeyID != u.KeyID().String() {
			t.Fatalf("%q: go-jose: %v", entry, err)
		}
		if text, err := MarshalPayload(u.UnverifiedRecord()); err != nil || !sameJSON(text, payload) {
			t.Fatalf("%q: %s, %v", entry, text, err)
		}
	})
}
