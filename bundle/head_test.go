package bundle

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"filippo.io/edwards25519"

	"ledgerd/ledger/tlog"
)

func vkeyOf(name string, typ byte, key []byte) string {
	b := append([]byte{typ}, key...)
	return fmt.Sprintf("%s+%08x+%s", name, keyID(name, b), base64.StdEncoding.EncodeToString(b))
}

// How a verifier has to take a tree head: accepted, not decidable, proven
// wrong, or malformed.
func judge(err error) string {
	var fe *FormatError
	switch {
	case err == nil:
		return "accepted"
	case errors.Is(err, ErrUntrusted), errors.Is(err, ErrQuorum):
		return "undecidable"
	case errors.As(err, &fe):
		return "malformed"
	}
	return "broken"
}

func TestOpenHead(t *testing.T) {
	log, _ := logSigner(t, origin, "log")
	stranger, _ := logSigner(t, origin, "another key")
	elsewhere, _ := logSigner(t, "other.example/log", "other log")
	w1, _ := cosigner(t, "w1.example")
	w2, _ := cosigner(t, "w2.example")
	root := naiveRoot(leavesOf(5))
	trust := newTrust(t, policyKeys(t, "log LOG\nwitness a W1\nwitness b W2\ngroup g all a b\nquorum g\n"))
	good := string(signHead(t, 5, root, log, w1, w2))
	body, sigs, _ := strings.Cut(good, "\n\n")
	lines := strings.SplitAfter(sigs, "\n")
	with := func(body string, sigs ...string) string { return body + "\n\n" + strings.Join(sigs, "") }
	flip := func(line string) string {
		i := strings.LastIndexByte(line, ' ') + 1 + 24
		c := byte('A')
		if line[i] == c {
			c = 'B'
		}
		return line[:i] + string(c) + line[i+1:]
	}
	unknown := strings.TrimPrefix(strings.SplitAfter(string(signHead(t, 5, root, elsewhere)), "\n\n")[1], "")

	for _, c := range []struct{ name, note, want string }{
		{"as signed", good, "accepted"},
		{"signatures in another order", with(body, lines[2], lines[0], lines[1]), "accepted"},
		{"a stranger's signature too", with(body, lines[0], lines[1], lines[2], unknown), "accepted"},
		{"one witness missing", with(body, lines[0], lines[1]), "undecidable"},
		{"row 53: one witness twice", with(body, lines[0], lines[1], lines[1]), "undecidable"},
		{"row 53: one witness under another's name", with(body, lines[0], lines[1], strings.Replace(lines[1], "w1", "w2", 1)), "undecidable"},
		{"a witness that does not verify", with(body, lines[0], lines[1], flip(lines[2])), "undecidable"},
		{"row 54: another key of the same name", string(signHead(t, 5, root, stranger, w1, w2)), "undecidable"},
		{"another ledger", string(signHead(t, 5, root, elsewhere)), "undecidable"},
		{"row 55: unsigned", body + "\n\n", "broken"},
		{"row 55: witnesses only", with(body, lines[1], lines[2]), "broken"},
		{"row 55: signature that does not verify", with(body, flip(lines[0]), lines[1], lines[2]), "broken"},
		{"row 55: another size", strings.Replace(good, "\n5\n", "\n6\n", 1), "broken"},
		{"row 55: another root", strings.Replace(good, root.String(), naiveRoot(nil).String(), 1), "broken"},
		{"row 55: wrong origin", strings.Replace(good, origin+"\n", "other.example/log\n", 1), "broken"},
		{"row 56: size 0 with a root", string(signHead(t, 0, root, log, w1, w2)), "broken"},
		{"size 0", string(signHead(t, 0, tlog.EmptyRoot, log, w1, w2)), "accepted"},
		{"an extension line, signed", extended(t, trust), "accepted"},
		{"an extension line, not signed", with(body+"\nextension", lines...), "broken"},
		{"no size", strings.Replace(good, "\n5\n", "\n", 1), "malformed"},
		{"size with a zero before", strings.Replace(good, "\n5\n", "\n05\n", 1), "malformed"},
		{"size beyond 2^62", strings.Replace(good, "\n5\n", "\n4611686018427387905\n", 1), "malformed"},
		{"root cut short", strings.Replace(good, root.String(), root.String()[:40], 1), "malformed"},
		{"no newline at the end", strings.TrimSuffix(good, "\n"), "malformed"},
		{"hyphen for dash", strings.ReplaceAll(good, "— ", "- "), "malformed"},
		{"not UTF-8", good + "— \xff abcdefgh\n", "malformed"},
		{"too long", body + strings.Repeat("\nx", tlog.MaxHead) + "\n\n" + sigs, "malformed"},
		{"empty", "", "malformed"},
		{"no signatures and no newline", body + "\nx", "malformed"},
		{"no origin", strings.TrimPrefix(good, origin), "malformed"},
		{"no dash", good + "x.example AAAAAAAA\n", "malformed"},
		{"no name", good + "—  AAAAAAAA\n", "malformed"},
		{"a key ID without a signature", good + "— x.example AAAAAA==\n", "malformed"},
		{"a carriage return in a signature", good + "— x.example AAAA\rAAAA\n", "malformed"},
		{"more than 256 signatures", good + strings.Repeat("— x.example AAAAAAAA\n", maxSigners), "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := trust.OpenHead([]byte(c.note))
			if got := judge(err); got != c.want {
				t.Errorf("expected %s, found %s: %v", c.want, got, err)
			}
			if (h != nil) != (err == nil || errors.Is(err, ErrQuorum)) {
				t.Errorf("head %v with error %v", h, err)
			}
		})
	}
	h, err := trust.OpenHead([]byte(good))
	if err != nil || h.Size != 5 || h.Root != root || !slices.Equal(h.Witnesses, []string{"a", "b"}) || h.Ledger != trust.Ledgers[0] {
		t.Errorf("%+v, %v", h, err)
	}
}

// A cosignature whose R is the identity verifies for crypto/ed25519, and does not
// count (design section 5).
func TestCosignatureWithSmallOrderR(t *testing.T) {
	key := edKey("w1.example")
	digest := sha512.Sum512(key.Seed())
	a, err := edwards25519.NewScalar().SetBytesWithClamping(digest[:32])
	must(t, err)
	log, _ := logSigner(t, origin, "log")
	head := signHead(t, 5, naiveRoot(leavesOf(5)), log)
	text, _, _ := strings.Cut(string(head), "\n\n")
	message := "cosignature/v1\ntime 1\n" + text + "\n"
	r := edwards25519.NewIdentityPoint().Bytes()
	pub := key.Public().(ed25519.PublicKey)
	sum := sha512.Sum512(slices.Concat(r, pub, []byte(message)))
	k, err := edwards25519.NewScalar().SetUniformBytes(sum[:])
	must(t, err)
	sig := append(r, edwards25519.NewScalar().Multiply(k, a).Bytes()...)
	if !ed25519.Verify(pub, []byte(message), sig) {
		t.Fatal("crypto/ed25519 refuses it: the test shows nothing")
	}
	raw := binary.BigEndian.AppendUint32(nil, keyID("w1.example", append([]byte{typeEd25519Cosig}, pub...)))
	raw = append(binary.BigEndian.AppendUint64(raw, 1), sig...)
	head = fmt.Appendf(head, "— w1.example %s\n", base64.StdEncoding.EncodeToString(raw))
	trust := newTrust(t, policyKeys(t, "log LOG\nwitness a W1\nquorum a\n"))
	if _, err := trust.OpenHead(head); !errors.Is(err, ErrQuorum) {
		t.Errorf("expected ErrQuorum, found %v", err)
	}
}

// extended is a head with an extension line, which tlog-checkpoint allows.
func extended(t *testing.T, trust *Trust) string {
	t.Helper()
	log, _ := logSigner(t, origin, "log")
	w1, _ := cosigner(t, "w1.example")
	w2, _ := cosigner(t, "w2.example")
	text := fmt.Sprintf("%s\n5\n%s\nextension\n", origin, naiveRoot(leavesOf(5)))
	b, err := signNote(text, log, w1, w2)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReceipt(t *testing.T) {
	log, vkey := logSigner(t, origin, "log")
	trust := newTrust(t, "log "+vkey+"\nquorum none\n")
	leaves := leavesOf(5)
	root := naiveRoot(leaves)
	head := signHead(t, 5, root, log)
	l01, l23 := naiveRoot(leaves[0:2]), naiveRoot(leaves[2:4])
	r := &Receipt{Entry: leaves[4], Index: 4, Hashes: []tlog.Hash{tlog.NodeHash(l01, l23)}, Head: head}
	b := r.Marshal()
	if Sniff(b) != FormReceipt {
		t.Error("a receipt is not seen to be one")
	}
	again, err := ParseReceipt(b)
	if err != nil || !bytes.Equal(again.Marshal(), b) {
		t.Fatal(err)
	}
	h, err := trust.OpenHead(again.Head)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Check(h); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(r *Receipt){
		"another entry":              func(r *Receipt) { r.Entry = leaves[3] },
		"another index":              func(r *Receipt) { r.Index = 3 },
		"row 56: index beyond":       func(r *Receipt) { r.Index = 5 },
		"row 56: overlong proof":     func(r *Receipt) { r.Hashes = append(r.Hashes, tlog.Hash{1}) },
		"no proof":                   func(r *Receipt) { r.Hashes = nil },
		"another head than verified": func(r *Receipt) { r.Head = append(bytes.Clone(r.Head), head...) },
	} {
		c := *again
		change(&c)
		if err := c.Check(h); err == nil {
			t.Errorf("%s: passed", name)
		}
	}
	text := string(b)
	for name, bad := range map[string]string{
		"no record":        text[:len(ReceiptPrefix)] + text[strings.Index(text, "index"):],
		"empty record":     text[:len(ReceiptPrefix)] + "extra \n" + text[strings.Index(text, "index"):],
		"other version":    strings.Replace(text, "@v1", "@v2", 1),
		"index with zero":  strings.Replace(text, "index 4", "index 04", 1),
		"carriage returns": strings.ReplaceAll(text, "\n", "\r\n"),
		"head without end": strings.TrimSuffix(text, "\n"),
		"no head":          text[:strings.Index(text, "\n\n")+2],
		"too long":         text + strings.Repeat("x", 1<<20),
	} {
		var fe *FormatError
		if _, err := ParseReceipt([]byte(bad)); !errors.As(err, &fe) {
			t.Errorf("%s: expected a *FormatError, found %v", name, err)
		}
	}
}

func FuzzOpenHead(f *testing.F) {
	log, _ := logSigner(f, origin, "log")
	w1, _ := cosigner(f, "w1.example")
	trust := newTrust(f, policyKeys(f, "log LOG\nwitness a W1\nquorum a\n"))
	good := signHead(f, 5, naiveRoot(leavesOf(5)), log, w1)
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("\n5\n"), []byte("\n0\n"), 1))
	body, _, _ := bytes.Cut(good, []byte("\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := trust.OpenHead(b)
		// The keys have signed one text; nobody else's passes.
		if err == nil && (h.Size != 5 || !bytes.HasPrefix(b, append(bytes.Clone(body), '\n'))) {
			t.Errorf("accepted %q", b)
		}
	})
}

func FuzzReceipt(f *testing.F) {
	log, _ := logSigner(f, origin, "log")
	r := &Receipt{Entry: []byte("entry"), Index: 0, Head: signHead(f, 1, naiveRoot([][]byte{[]byte("entry")}), log)}
	f.Add(r.Marshal())
	r.Hashes = []tlog.Hash{{1}, {2}}
	f.Add(r.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseReceipt(b); err == nil && !bytes.Equal(r.Marshal(), b) {
			t.Errorf("%q has two spellings", b)
		}
	})
}
