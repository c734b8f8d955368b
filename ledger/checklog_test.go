package ledger_test

import (
	"bytes"
	"errors"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"ledgerd/evidence"
	"ledgerd/ledger"
	"ledgerd/ledger/tlog"
)

// forged makes a store whose log holds whatever entries it is given: ordered,
// hashed, signed by the log's key and indexed, but admitted by nobody.
func forged(t *testing.T, entries ...[]byte) *ledger.CheckReport {
	t.Helper()
	cfg := config(t, &clock{now: start})
	s := openStore(t, nil, filepath.Join(t.TempDir(), "store"))
	defer s.Close()
	verifier, err := tlog.NewVerifier(cfg.VerifierKey)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tlog.Open(t.Context(), s, tlog.Config{Signer: cfg.Signer, Verifier: verifier})
	if err != nil {
		t.Fatal(err)
	}
	all := make([]*tlog.Candidate, len(entries))
	for i, e := range entries {
		all[i] = &tlog.Candidate{Entry: e}
	}
	_, err = l.Append(t.Context(), all...)
	err = errors.Join(err, l.Close(), ledger.Reindex(t.Context(), s, cfg.VerifierKey, nil))
	if err != nil {
		t.Fatal(err)
	}
	r, err := ledger.Check(t.Context(), s, nil, cfg.VerifierKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The log's own key signs whatever its owner lets it sign. A record that nobody
// signed who could is found all the same, and named.
func TestCheckVerifiesEverySignature(t *testing.T) {
	at := evidence.TimeOf(start)
	registry := func(prev []byte, number int64, b evidence.Body, k *evidence.PrivateKey) []byte {
		return sign(t, &evidence.Record{
			Origin: origin, Kind: b.Kind(), Registry: &number, Prev: evidence.IDOf(prev), Actor: ledger.RootActor, Time: at, Body: b,
		}, k)
	}
	run := 0
	opened := func(number int64, k *evidence.PrivateKey) []byte {
		run++
		return sign(t, &evidence.Record{
			Origin: origin, Kind: evidence.KindRunOpened, Run: runID(run), Registry: &number, Actor: "support", Time: at,
			Body: &evidence.RunOpened{Principal: "user:1", Subject: "ticket:1", Task: "complaint", Runtime: "runtime-01"},
		}, k)
	}
	flipped := func(e []byte) []byte {
		b := bytes.Clone(e)
		if c := &b[bytes.LastIndexByte(b, '.')+10]; *c == 'A' {
			*c = 'B'
		} else {
			*c = 'A'
		}
		return b
	}
	begin := genesis(t, at)
	last := begin[len(begin)-1]
	newKey := key("registered later")
	jwk := newKey.Public().JWK()
	logJWK := evidence.JWK{}
	if k, err := evidence.NewPrivateKey(logKey(origin).Seed()); err != nil {
		t.Fatal(err)
	} else {
		logJWK = k.Public().JWK()
	}
	second := &evidence.ActorRegistered{Name: "runtime-03", Role: evidence.RoleRuntime, Key: &jwk}
	revoked := registry(last, lastNumber+1, &evidence.ActorRevoked{Name: "runtime-01", Reason: "lost"}, rootKey)
	later := registry(last, lastNumber+1, second, rootKey)
	for name, c := range map[string]struct {
		entries [][]byte
		at      int    // the difference's index, -1: none
		reason  string // in it
	}{
		"all is well":                          {[][]byte{opened(lastNumber, runtimeKey)}, -1, ""},
		"another signature":                    {[][]byte{flipped(opened(lastNumber, runtimeKey))}, 7, "signature"},
		"a key that nobody registered":         {[][]byte{opened(lastNumber, newKey)}, 7, "registered key"},
		"a key that is registered later":       {[][]byte{opened(lastNumber, newKey), later}, 7, "registered"},
		"the key of a runtime that is no host": {[][]byte{opened(lastNumber, otherKey)}, 7, "hosts"},
		"a revoked key":                        {[][]byte{revoked, opened(lastNumber+1, runtimeKey)}, 8, "revoked"},
		"a registry number that is too old":    {[][]byte{later, opened(lastNumber, runtimeKey)}, 8, "latest registry number"},
		"a registration that no root signed":   {[][]byte{registry(last, lastNumber+1, second, runtimeKey)}, 7, "sign"},
		"the log's key as an actor's": {
			[][]byte{registry(last, lastNumber+1, &evidence.ActorRegistered{Name: "runtime-03", Role: evidence.RoleRuntime, Key: &logJWK}, rootKey)}, 7, "log",
		},
	} {
		t.Run(name, func(t *testing.T) {
			entries := append(append([][]byte{}, begin...), c.entries...)
			r := forged(t, entries...)
			switch {
			case len(r.Log.Differences) > 0:
				t.Fatal(r.Log.Differences)
			case c.at < 0:
				if !r.Sound() || r.Signatures != uint64(len(entries)) {
					t.Errorf("%+v", r)
				}
			case len(r.Differences) != 1:
				t.Errorf("expected one difference, found %v", r.Differences)
			default:
				text := r.Differences[0].String()
				if id := evidence.IDOf(entries[c.at]).String(); !strings.Contains(text, id) || !strings.Contains(text, c.reason) {
					t.Errorf("expected %s and %q in it, found %s", id, c.reason, text)
				}
			}
		})
	}
	// So far in the log that its key is known when it is parsed: it is verified
	// out of order, on any goroutine.
	far := begin
	for range 256 * (2*goruntime.GOMAXPROCS(0) + 4) {
		far = append(far, opened(lastNumber, runtimeKey))
	}
	bad := flipped(opened(lastNumber, runtimeKey))
	r := forged(t, append(far, bad)...)
	if len(r.Differences) != 1 || r.Signatures != uint64(len(far)) || !strings.Contains(r.Differences[0].String(), evidence.IDOf(bad).String()) {
		t.Errorf("another signature, far on: %d verified, %v", r.Signatures, r.Differences)
	}
	// Entry 0 is signed by a key that it names itself.
	alone := forged(t, flipped(begin[0]))
	if alone.Sound() || alone.Registry != -1 || alone.Signatures != 0 {
		t.Errorf("entry 0 with another signature: %+v", alone)
	}
}

// A long log goes through many pieces, on all processors, in order.
func TestCheckTellsItsProgress(t *testing.T) {
	w := newWorld(t)
	for range 200 {
		w.must(w.newRun().whole("send_email")...)
	}
	size := w.Head().Size
	at, calls := uint64(0), 0
	r, err := w.Check(t.Context(), func(done, all uint64) {
		if calls++; done < at || all != 2*size {
			t.Errorf("%d of %d done, after %d", done, all, at)
		}
		at = done
	})
	if err != nil || !r.Sound() || r.Signatures != size {
		t.Errorf("%+v, %v", r, err)
	}
	if at != 2*size || calls < 6 {
		t.Errorf("it ended at %d of %d, after %d calls", at, 2*size, calls)
	}
}
