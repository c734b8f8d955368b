package bundle

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	cosig "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

const origin = "ledger.example/support"

// naiveRoot is RFC 6962, section 2.1, word for word, and shares nothing with
// the code under test.
func naiveRoot(leaves [][]byte) tlog.Hash {
	switch n := len(leaves); n {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	default:
		k := 1
		for k*2 < n {
			k *= 2
		}
		l, r := naiveRoot(leaves[:k]), naiveRoot(leaves[k:])
		return sha256.Sum256(slices.Concat([]byte{1}, l[:], r[:]))
	}
}

func leavesOf(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = fmt.Appendf(nil, "entry-%d", i)
	}
	return out
}

func nodesOf(leaves [][]byte) Nodes {
	return func(lo, hi uint64) (tlog.Hash, error) { return naiveRoot(leaves[lo:hi]), nil }
}

func seed(s string) []byte { h := sha256.Sum256([]byte(s)); return h[:] }

func edKey(s string) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(seed(s)) }

func logSigner(t testing.TB, origin, key string) (note.Signer, string) {
	t.Helper()
	s, err := tlog.NewSigner(origin, edKey(key))
	if err != nil {
		t.Fatal(err)
	}
	vkey, err := tlog.VerifierKey(origin, edKey(key).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return s, vkey
}

// cosigner is a witness of transparency-dev/formats.
func cosigner(t testing.TB, name string) (note.Signer, string) {
	t.Helper()
	key := edKey(name)
	pub := append([]byte{typeEd25519Cosig}, key.Public().(ed25519.PublicKey)...)
	id := fmt.Sprintf("%08x", keyID(name, pub))
	priv := append([]byte{typeEd25519Cosig}, key.Seed()...)
	s, err := cosig.NewSignerForCosignatureV1("PRIVATE+KEY+" + name + "+" + id + "+" + base64.StdEncoding.EncodeToString(priv))
	if err != nil {
		t.Fatal(err)
	}
	return s, name + "+" + id + "+" + base64.StdEncoding.EncodeToString(pub)
}

func signHead(t testing.TB, size uint64, root tlog.Hash, signers ...note.Signer) []byte {
	t.Helper()
	h, err := tlog.SignHead(size, root, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return h.Note
}

func newTrust(t testing.TB, policy string) *Trust {
	t.Helper()
	p, err := ParsePolicy(policy)
	if err != nil {
		t.Fatal(err)
	}
	return &Trust{Ledgers: []*TrustedLedger{{Policy: p, Entry0: evidence.IDOf([]byte("entry-0"))}}}
}

type disclosed struct {
	salt [32]byte
	data []byte
}

func (d disclosed) commitment() evidence.Commitment {
	p := evidence.Payload{Salt: d.salt, Media: "text/plain", Data: d.data}
	return p.Commitment()
}

// payloads of the sample's records: every awkward size.
var payloads = map[uint64][]disclosed{
	3:  {{[32]byte{1}, nil}, {[32]byte{2}, []byte("x")}},
	12: {{[32]byte{3}, bytes.Repeat([]byte("y"), Chunk)}, {[32]byte{4}, bytes.Repeat([]byte("z"), Chunk+1)}},
}

func committed(record uint64, d evidence.Digest) bool {
	return slices.ContainsFunc(payloads[record], func(p disclosed) bool { return p.commitment().Commit == d })
}

// sample is a bundle of a few records of a tree, under two tree heads.
func sample(t testing.TB) []byte { return sampleOf(t, 0, 3, 8, 12, 13, 20) }

// smallSample is without the large payloads.
func smallSample(t testing.TB) []byte { return sampleOf(t, 0, 3, 8, 13, 20) }

func sampleOf(t testing.TB, indexes ...uint64) []byte {
	t.Helper()
	signer, _ := logSigner(t, origin, "log")
	leaves := leavesOf(23)
	var b bytes.Buffer
	w := NewWriter(&b, RunHeader(origin, "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11"), nodesOf(leaves))
	for _, size := range []int{9, 23} {
		must(t, w.Head(signHead(t, uint64(size), naiveRoot(leaves[:size]), signer)))
	}
	for _, i := range indexes {
		must(t, w.Record(i, leaves[i]))
		ps := slices.Clone(payloads[i])
		slices.SortFunc(ps, func(a, b disclosed) int {
			x, y := a.commitment(), b.commitment()
			return bytes.Compare(x.Commit[:], y.Commit[:])
		})
		for _, p := range ps {
			must(t, w.Payload(p.commitment(), p.salt, bytes.NewReader(p.data)))
		}
	}
	must(t, w.Close())
	return b.Bytes()
}

// read reads a bundle to its end as a verifier would: it is right only if it is
// well-formed, gives the roots that are signed, and every payload opens.
func read(b io.Reader, trust *Trust) error {
	r := NewReader(b)
	var want []tlog.Hash
	var record uint64
	for {
		it, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch it := it.(type) {
		case *HeadItem:
			h, err := trust.OpenHead(it.Note)
			if err != nil {
				return err
			}
			want = append(want, h.Root)
		case *RecordItem:
			record = it.Index
		case *PayloadItem:
			if !committed(record, it.Commit) {
				return fmt.Errorf("record %d does not commit to payload %s", record, it.Commit)
			}
			if ok, err := it.Opened(); err != nil || !ok {
				return fmt.Errorf("payload opened: %v, %w", ok, err)
			}
		case *EndItem:
			if !slices.Equal(it.Roots, want) {
				return fmt.Errorf("roots differ from the signed ones")
			}
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// splitLines returns the lines with their newlines, so that joined they are b.
func splitLines(b []byte) []string {
	lines := strings.SplitAfter(string(b), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}
