package ledger

import (
	"bytes"
	"encoding/base64"
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
)

// refuseForm says in which way an entry is no record. The verdict is package
// evidence's; this only tells apart what the writer has to hear: that these are
// not the bytes of any JWS of ours (400), or that they are, and say something
// that is not for us (422).
func refuseForm(entry []byte, err error) *Refusal {
	var form *evidence.FormError
	if !errors.As(err, &form) {
		return &Refusal{Malformed, ReasonPayload, err}
	}
	var version *evidence.VersionError
	switch {
	case errors.As(err, &version):
		return &Refusal{Unacceptable, ReasonVersion, err}
	case !form.Payload && otherHeader(entry):
		return &Refusal{Unacceptable, ReasonHeader, err}
	case !form.Payload:
		return &Refusal{Malformed, ReasonJWS, err}
	case registersBadKey(entry):
		return &Refusal{Unacceptable, ReasonKey, err}
	}
	return &Refusal{Malformed, ReasonPayload, err}
}

// otherHeader reports whether an entry that is refused for its JWS is a compact
// JWS all the same, and says in its protected header that it is of another kind:
// another algorithm, type or member. A header with our algorithm and type, but
// a kid that is no thumbprint, is malformed.
func otherHeader(entry []byte) bool {
	if len(entry) > evidence.MaxEntry || bytes.Count(entry, []byte{'.'}) != 2 {
		return false
	}
	parts := bytes.Split(entry, []byte{'.'})
	var header []byte
	for i, p := range parts {
		b, err := base64.RawURLEncoding.Strict().DecodeString(string(p))
		if err != nil || base64.RawURLEncoding.EncodeToString(b) != string(p) {
			return false
		}
		if i == 0 {
			header = b
		}
	}
	var h map[string]jsontext.Value
	if err := json.Unmarshal(header, &h, jsontext.AllowDuplicateNames(true)); err != nil {
		return false
	}
	if string(h["alg"]) != `"EdDSA"` || string(h["typ"]) != `"evidence+jws"` || len(h) != 3 {
		return true
	}
	if kid, err := jsontext.AppendUnquote(nil, h["kid"]); err != nil {
		return false
	} else if _, err := evidence.ParseDigest(string(kid)); err != nil {
		return false
	}
	return true // a duplicate member, another order, white space
}

// registersBadKey reports whether a record that is refused for its payload is
// the registration of a key that is no point of prime order.
func registersBadKey(entry []byte) bool {
	parts := bytes.Split(entry, []byte{'.'})
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(string(parts[1]))
	if err != nil {
		return false
	}
	var w struct {
		Kind       evidence.Kind `json:"kind"`
		Registered *struct {
			Key *evidence.JWK `json:"key"`
		} `json:"actor.registered"`
	}
	if err := json.Unmarshal(payload, &w); err != nil || w.Registered == nil || w.Registered.Key == nil {
		return false
	}
	k := w.Registered.Key
	if k.Kty != "OKP" || k.Crv != "Ed25519" {
		return false
	}
	_, err = k.PublicKey()
	return err != nil
}
