package evidence

import (
	"bytes"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// joseVerifies asks go-jose, given its best chance: any serialisation, the
// algorithm and the key.
func joseVerifies(t *testing.T, entry string, k *PublicKey) bool {
	t.Helper()
	jws, err := jose.ParseSigned(entry, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return false
	}
	_, err = jws.Verify(k.ed)
	return err == nil
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
