package pebblestore_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"testing"

	"ledgerd/ledger/pebblestore"
	"ledgerd/ledger/tlog"
)

const origin = "ledger.example/test"

// config returns the Config of the test log, whose key is always the same.
func config(t testing.TB) tlog.Config {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	signer, err := tlog.NewSigner(origin, key)
	if err != nil {
		t.Fatal(err)
	}
	vkey, err := tlog.VerifierKey(origin, key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := tlog.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return tlog.Config{Signer: signer, Verifier: verifier}
}

func open(t testing.TB, dir string, o pebblestore.Options) *pebblestore.Store {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	s, err := pebblestore.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func entry(i int) []byte { return fmt.Appendf(nil, "entry %d", i) }

func candidates(from, n int) []*tlog.Candidate {
	cs := make([]*tlog.Candidate, n)
	for i := range cs {
		cs[i] = &tlog.Candidate{Entry: entry(from + i)}
	}
	return cs
}

// fill appends the entries from..from+n-1, some at a time.
func fill(t testing.TB, l *tlog.Log, from, n int) {
	t.Helper()
	for n > 0 {
		k := min(n, 500)
		rs, err := l.Append(context.Background(), candidates(from, k)...)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rs {
			if r.Err != nil || r.Index != uint64(from+i) {
				t.Fatalf("entry %d: got %+v", from+i, r)
			}
		}
		from, n = from+k, n-k
	}
}

func TestReopen(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	size := 0
	for _, n := range []int{0, 1, 255, 1, 700, 3, 66_000} {
		s := open(t, dir, pebblestore.Options{})
		l, err := tlog.Open(ctx, s, config(t))
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Head().Size; got != uint64(size) {
			t.Fatalf("opened at size %d, expected %d", got, size)
		}
		fill(t, l, size, n)
		size += n
		r, err := l.Check(ctx, nil)
		if err != nil || len(r.Differences) > 0 || r.Entries != uint64(size) {
			t.Fatalf("check: %v, %+v", err, r)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
