package tlog_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"

	"ledgerd/ledger/tlog"
)

// TestKeysWithPlusSigns: half of all keys have a plus sign in their base64,
// which is also what separates the parts of a verifier key.
func TestKeysWithPlusSigns(t *testing.T) {
	for i := range 64 {
		seed := sha256.Sum256(fmt.Append(nil, i))
		key := ed25519.NewKeyFromSeed(seed[:])
		signer, err := tlog.NewSigner("ledger.example/plus", key)
		if err != nil {
			t.Fatalf("key %d: %v", i, err)
		}
		vkey, err := tlog.VerifierKey("ledger.example/plus", key.Public().(ed25519.PublicKey))
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := tlog.NewVerifier(vkey)
		if err != nil {
			t.Fatal(err)
		}
		if signer.KeyHash() != verifier.KeyHash() {
			t.Errorf("key %d: want the key hash %08x, found %08x", i, verifier.KeyHash(), signer.KeyHash())
		}
		sig, err := signer.Sign([]byte("text"))
		if err != nil || !verifier.Verify([]byte("text"), sig) {
			t.Errorf("key %d: its signature does not verify (%v)", i, err)
		}
	}
}
