package tlog_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"filippo.io/edwards25519"
	formats "github.com/transparency-dev/formats/log"
	formatsproof "github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	foreign "golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"ledgerd/ledger/tlog"
)

func TestHeadAgainstOthers(t *testing.T) {
	c := config(t)
	h, err := tlog.SignHead(1842, tlog.LeafHash([]byte("x")), c.Signer)
	if err != nil {
		t.Fatal(err)
	}
	vkey, _ := tlog.VerifierKey(origin, ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey))
	theirs, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	cp, rest, _, err := formats.ParseCheckpoint(h.Note, origin, theirs)
	if err != nil || len(rest) > 0 || cp.Size != 1842 || !bytes.Equal(cp.Hash, h.Root[:]) {
		t.Errorf("transparency-dev/formats reads %+v, %q, %v", cp, rest, err)
	}
	got, err := tlog.ParseHead(h.Note, c.Verifier)
	if err != nil || got.Size != h.Size || got.Root != h.Root || got.Origin != origin {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Attack row 55: an unsigned tree head, another origin; row 56: size 0 with a
// root. And every other spelling of a head.
func TestRow55And56HeadsRefused(t *testing.T) {
	c := config(t)
	skey, _, err := note.GenerateKey(nil, "another.example")
	if err != nil {
		t.Fatal(err)
	}
	stranger, _ := note.NewSigner(skey)
	root := tlog.LeafHash([]byte("x")).String()
	text := origin + "\n5\n" + root + "\n"
	sign := func(text string, s ...note.Signer) []byte {
		b, err := note.Sign(&note.Note{Text: text}, s...)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := sign(text, c.Signer)
	if _, err := tlog.ParseHead(good, c.Verifier); err != nil {
		t.Fatal(err)
	}
	if _, err := tlog.ParseHead(sign(text, c.Signer, stranger), c.Verifier); err != nil {
		t.Errorf("a cosignature makes it fail: %v", err)
	}
	if _, err := tlog.ParseHead(sign(text+"an extension line\n", c.Signer), c.Verifier); err != nil {
		t.Errorf("an extension line makes it fail: %v", err)
	}
	if _, err := tlog.ParseHead(sign(origin+"\n0\n"+tlog.EmptyRoot.String()+"\n", c.Signer), c.Verifier); err != nil {
		t.Errorf("the empty tree: %v", err)
	}
	loose := []byte(root)
	loose[42]++ // its two lowest bits are no part of the hash
	for name, b := range map[string][]byte{
		"unsigned":                    []byte(text + "\n"),
		"signed by another":           sign(text, stranger),
		"another origin":              sign("another.example\n5\n"+root+"\n", c.Signer),
		"size 0 with a root":          sign(origin+"\n0\n"+root+"\n", c.Signer),
		"size with a leading zero":    sign(origin+"\n05\n"+root+"\n", c.Signer),
		"size with a sign":            sign(origin+"\n+5\n"+root+"\n", c.Signer),
		"size out of range":           sign(origin+"\n18446744073709551616\n"+root+"\n", c.Signer),
		"short root":                  sign(origin+"\n5\n"+root[:40]+"\n", c.Signer),
		"non-zero trailing bits":      sign(origin+"\n5\n"+string(loose)+"\n", c.Signer),
		"no root":                     sign(origin+"\n5\n", c.Signer),
		"changed after it was signed": bytes.Replace(good, []byte("\n5\n"), []byte("\n6\n"), 1),
		"too long":                    append(bytes.Clone(good), make([]byte, tlog.MaxHead)...),
		"empty":                       nil,
	} {
		if h, err := tlog.ParseHead(b, c.Verifier); err == nil {
			t.Errorf("%s: taken as %+v", name, h)
		}
	}
}

// A signature whose R is of small order is refused, though crypto/ed25519 takes
// it; and so is a key that is not canonical or not of prime order.
func TestSmallOrderRefused(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	pub := key.Public().(ed25519.PublicKey)
	msg := []byte("text\n")
	// R = identity, S = k·a: only the holder of the key can make it.
	digest := sha512.Sum512(key.Seed())
	a, err := new(edwards25519.Scalar).SetBytesWithClamping(digest[:32])
	if err != nil {
		t.Fatal(err)
	}
	r := edwards25519.NewIdentityPoint().Bytes()
	d := sha512.Sum512(slices.Concat(r, pub, msg))
	k, err := new(edwards25519.Scalar).SetUniformBytes(d[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := slices.Concat(r, new(edwards25519.Scalar).Multiply(k, a).Bytes())
	if !ed25519.Verify(pub, msg, sig) {
		t.Fatal("crypto/ed25519 refuses the signature by itself: this test shows nothing")
	}
	if v := config(t).Verifier; v.Verify(msg, sig) || !v.Verify(msg, ed25519.Sign(key, msg)) {
		t.Error("a signature with R of small order is taken, or an honest one is not")
	}
	mixed, err := new(edwards25519.Point).SetBytes(pub)
	if err != nil {
		t.Fatal(err)
	}
	order2 := append([]byte{0xec}, bytes.Repeat([]byte{0xff}, 31)...) // y = −1
	order2[31] = 0x7f
	two, err := new(edwards25519.Point).SetBytes(order2)
	if err != nil {
		t.Fatal(err)
	}
	mixed.Add(mixed, two)
	for name, pub := range map[string][]byte{
		"identity":      r,
		"order 2":       order2,
		"mixed order":   mixed.Bytes(),
		"not canonical": append([]byte{0xee}, append(bytes.Repeat([]byte{0xff}, 30), 0x7f)...),
	} {
		vkey, err := tlog.VerifierKey(origin, pub)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tlog.NewVerifier(vkey); err == nil {
			t.Errorf("%s: taken as a log key", name)
		}
	}
}

func TestHashText(t *testing.T) {
	h := tlog.LeafHash([]byte("x"))
	if got, err := tlog.ParseHash(h.String()); err != nil || got != h {
		t.Errorf("got %v, %v", got, err)
	}
	if theirs := foreign.RecordHash([]byte("x")); theirs != foreign.Hash(h) {
		t.Errorf("leaf hash %v, x/mod says %v", h, theirs)
	}
	if theirs := foreign.NodeHash(foreign.Hash(h), foreign.Hash(tlog.EmptyRoot)); theirs != foreign.Hash(tlog.NodeHash(h, tlog.EmptyRoot)) {
		t.Error("node hash differs from x/mod's")
	}
	loose := []byte(h.String())
	loose[42]++
	for _, s := range []string{"", h.String()[1:], h.String() + "\n", h.String()[:20] + "\n" + h.String()[20:], string(loose), strings.TrimRight(h.String(), "=")} {
		if _, err := tlog.ParseHash(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}

// Attack rows 41 and 42: paths that are no tile's.
func TestRow41And42TilePaths(t *testing.T) {
	for path, want := range map[string]tlog.Tile{
		"tile/0/x001/x234/067":     {Level: 0, N: 1234067, Width: 256},
		"tile/0/x001/x234/067.p/8": {Level: 0, N: 1234067, Width: 8},
		"tile/63/000":              {Level: 63, N: 0, Width: 256},
		"tile/1/003.p/255":         {Level: 1, N: 3, Width: 255},
	} {
		if got, entries, err := tlog.ParseTilePath(path); err != nil || entries || got != want || got.Path() != path {
			t.Errorf("%s: %+v, %v", path, got, err)
		}
	}
	if got, entries, err := tlog.ParseTilePath("tile/entries/x001/234.p/7"); err != nil || !entries || got.N != 1234 || got.Width != 7 || tlog.EntryTilePath(1234, 7) != "tile/entries/x001/234.p/7" {
		t.Errorf("entry tile: %+v, %v, %v", got, entries, err)
	}
	for _, path := range []string{
		"", "/tile/0/000", "tile/0", "tile/0/", "tile/64/000", "tile/00/000", "tile/-1/000", "tile/0/0", "tile/0/0000", "tile/0/x000/000",
		"tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/257", "tile/0/000.p/08", "tile/0/000.p/", "tile/0/000.p/+8", "tile/0/001/067",
		"tile/0/../0/000", "tile/0/%2e%2e", "tile/0/000\x00", "tile/0\\000", "tile/0/000/", "tile/data/000", "tile/entries/../../checkpoint",
		"tile/0/x999/x999/x999/x999/x999/x999/x999/999", "tile/0/000.p/8/9", "tile/0/000?x", "TILE/0/000", "tile/0/x001", "tile/0/X001/067",
	} {
		if got, _, err := tlog.ParseTilePath(path); err == nil {
			t.Errorf("%q is taken as %+v", path, got)
		}
	}
}

func TestEntryTiles(t *testing.T) {
	for _, tc := range []struct {
		name, data string
		width      int
	}{
		{"too few", "\x00\x01a", 2},
		{"too many", "\x00\x01a\x00\x01b", 1},
		{"length cut off", "\x00\x01a\x00", 2},
		{"entry cut off", "\x00\x01a\x00\x05b", 2},
		{"not empty", "\x00\x01a", 0},
	} {
		if es, err := tlog.ParseEntryTile([]byte(tc.data), tc.width); err == nil {
			t.Errorf("%s: taken as %q", tc.name, es)
		}
	}
	es, err := tlog.ParseEntryTile([]byte("\x00\x01a\x00\x00\x00\x02bc"), 3)
	if err != nil || len(es) != 3 || string(es[2]) != "bc" {
		t.Errorf("got %q, %v", es, err)
	}
}

// What we write, transparency-dev/formats reads, and the other way round, as far
// as it can read at all.
func TestTextProofAgainstFormats(t *testing.T) {
	head, err := tlog.SignHead(9, tlog.EmptyRoot, config(t).Signer)
	if err != nil {
		t.Fatal(err)
	}
	hash := rapid.Custom(func(t *rapid.T) tlog.Hash {
		return tlog.LeafHash(rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(t, "seed"))
	})
	rapid.Check(t, func(t *rapid.T) {
		p := &tlog.TextProof{Index: rapid.Uint64().Draw(t, "index"), Hashes: rapid.SliceOfN(hash, 0, 63).Draw(t, "hashes"), Head: head.Note}
		theirs := formatsproof.TLogProof{Index: p.Index, Checkpoint: head.Note}
		for _, h := range p.Hashes {
			theirs.Hashes = append(theirs.Hashes, h)
		}
		if rapid.Bool().Draw(t, "extra") {
			p.Extra = rapid.SliceOfN(rapid.Byte(), 0, 1000).Draw(t, "bytes")
			theirs.ExtraData = p.Extra
		}
		text := p.Marshal()
		if !bytes.Equal(text, theirs.Marshal()) {
			t.Fatalf("ours:\n%s\ntheirs:\n%s", text, theirs.Marshal())
		}
		var read formatsproof.TLogProof
		if err := read.Unmarshal(text); err != nil || read.Index != p.Index || len(read.Hashes) != len(p.Hashes) || !bytes.Equal(read.Checkpoint, head.Note) {
			t.Fatalf("formats reads %+v, %v", read, err)
		}
		got, err := tlog.ParseTextProof(text)
		if err != nil || !bytes.Equal(got.Marshal(), text) || !bytes.Equal(got.Extra, p.Extra) || got.Index != p.Index {
			t.Fatalf("got %+v, %v", got, err)
		}
	})
	// The largest entry as the extra line.
	p := &tlog.TextProof{Extra: bytes.Repeat([]byte("x"), tlog.MaxEntry), Index: 1, Hashes: make([]tlog.Hash, 63), Head: head.Note}
	if got, err := tlog.ParseTextProof(p.Marshal()); err != nil || len(got.Extra) != tlog.MaxEntry {
		t.Errorf("largest proof: %v", err)
	}
}

func TestTextProofRefused(t *testing.T) {
	head, err := tlog.SignHead(9, tlog.EmptyRoot, config(t).Signer)
	if err != nil {
		t.Fatal(err)
	}
	h := tlog.EmptyRoot.String()
	good := "c2sp.org/tlog-proof@v1\nextra " + base64.StdEncoding.EncodeToString([]byte("hi!!")) + "\nindex 3\n" + h + "\n\n" + string(head.Note)
	if _, err := tlog.ParseTextProof([]byte(good)); err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q in the proof", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for name, text := range map[string]string{
		"empty":                 "",
		"another version":       replace("@v1", "@v2"),
		"CRLF":                  strings.ReplaceAll(good, "\n", "\r\n"),
		"no index":              replace("index 3\n", ""),
		"index twice":           replace("index 3\n", "index 3\nindex 3\n"),
		"index with zero":       replace("index 3", "index 03"),
		"index with sign":       replace("index 3", "index +3"),
		"index too large":       replace("index 3", "index 18446744073709551616"),
		"extra after index":     replace("index 3\n", "index 3\nextra aGkh\n"),
		"extra trailing bits":   replace("aGkhIQ==", "aGkhIR=="),
		"extra without padding": replace("aGkhIQ==", "aGkhIQ"),
		"hash short":            replace(h, h[4:]),
		"hash with a space":     replace(h, h+" "),
		"no empty line":         replace("\n\n"+origin, "\n"+origin),
		"no head":               good[:strings.Index(good, origin)],
		"cut off":               good[:len("c2sp.org/tlog-proof@v1\nextra aGkhIQ==\nindex 3\n")],
		"64 hashes":             replace(h+"\n", strings.Repeat(h+"\n", 64)),
		"too long":              good + strings.Repeat("x", 400_000),
	} {
		if p, err := tlog.ParseTextProof([]byte(text)); err == nil {
			t.Errorf("%s: taken as %+v", name, p)
		}
	}
}
