package server

import (
	"bytes"
	"testing"

	"ledgerd/evidence"
)

// FuzzSigner: what holds a token to its actor reads the kid where admission
// reads it. An entry that admission takes never passes by unread.
func FuzzSigner(f *testing.F) {
	k, err := evidence.NewPrivateKey(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		f.Fatal(err)
	}
	number := int64(1)
	e, err := evidence.Sign(&evidence.Record{
		Origin: "ledger.example/test", Kind: evidence.KindRunOpened, Run: "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11", Registry: &number,
		Actor: "support", Time: 1, Body: &evidence.RunOpened{Principal: "p", Task: "t", Runtime: "runtime"},
	}, k)
	if err != nil {
		f.Fatal(err)
	}
	if kid, ok := signer(e); !ok || kid != k.Public().Thumbprint() {
		f.Fatalf("want %s, found %s %v", k.Public().Thumbprint(), kid, ok)
	}
	f.Add(e)
	f.Add(append([]byte(" "), e...))
	f.Add(bytes.Replace(e, []byte("."), []byte(".."), 1))
	f.Add(e[:headerText])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, entry []byte) {
		u, err := evidence.Parse(entry)
		if err != nil {
			signer(entry) // does not panic
			return
		}
		if kid, ok := signer(entry); !ok || kid != u.KeyID() {
			t.Errorf("want %s, found %s %v", u.KeyID(), kid, ok)
		}
	})
}
