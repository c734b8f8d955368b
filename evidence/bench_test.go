package evidence

import (
	"crypto/ed25519"
	"testing"
)

// benchRecord is an execution whose entry has 935 bytes, as design.md measures.
func benchEntry(b testing.TB) (*Record, *PrivateKey, []byte) {
	b.Helper()
	k := testKey(b, "runtime")
	sent := commitJSON(`{"messageId":"msg_123"}`)
	r := &Record{
		Origin: testOrigin, Kind: KindExecution, Run: testRun, Prev: testID("before"), Actor: "support-agent-01", Time: testTime,
		Body: &Execution{
			Authorization: testID("authorization"), Action: "send_email", Tool: "email_sender", Input: commitJSON(`{}`), Attempt: 1,
			Status: StatusSuccess, Source: SourceRuntime, Output: &sent, TookMS: ptr(int64(184)), Cost: Amounts{"usd_micro": 400, "tokens": 0},
		},
	}
	entry, err := Sign(r, k)
	if err != nil {
		b.Fatal(err)
	}
	return r, k, entry
}

func BenchmarkParse(b *testing.B) {
	_, _, entry := benchEntry(b)
	b.SetBytes(int64(len(entry)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(entry); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	_, k, entry := benchEntry(b)
	u, err := Parse(entry)
	if err != nil {
		b.Fatal(err)
	}
	for range fastAfter {
		k.pub.multiples()
	}
	for b.Loop() {
		if _, err := u.Verify(k.pub); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerifyStandard is the peer: what crypto/ed25519 takes.
func BenchmarkVerifyStandard(b *testing.B) {
	_, k, entry := benchEntry(b)
	sig := ed25519.Sign(k.ed, entry)
	for b.Loop() {
		if !ed25519.Verify(k.pub.ed, entry, sig) {
			b.Fatal("not verified")
		}
	}
}

func BenchmarkMultiples(b *testing.B) {
	k := testKey(b, "runtime")
	p := negated(b, k.pub)
	for b.Loop() {
		multiplesOf(p, keyWidth)
	}
}

func BenchmarkSign(b *testing.B) {
	r, k, _ := benchEntry(b)
	for b.Loop() {
		if _, err := Sign(r, k); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSignStandard is the peer: crypto/ed25519 over the same bytes.
func BenchmarkSignStandard(b *testing.B) {
	_, k, entry := benchEntry(b)
	for b.Loop() {
		ed25519.Sign(k.ed, entry)
	}
}

func BenchmarkMarshalPayload(b *testing.B) {
	r, _, _ := benchEntry(b)
	for b.Loop() {
		if _, err := MarshalPayload(r); err != nil {
			b.Fatal(err)
		}
	}
}
