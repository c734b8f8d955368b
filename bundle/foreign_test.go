package bundle

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	formats "github.com/transparency-dev/formats/log"
	formatsproof "github.com/transparency-dev/formats/proof"
	xmod "golang.org/x/mod/sumdb/tlog"

	"ledgerd/ledger/tlog"
)

// Tree heads that others signed (testdata/foreign), under the keys that they published.

func foreign(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "foreign", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func foreignTrust(t *testing.T, policy string) *Trust {
	return newTrust(t, string(foreign(t, policy+".policy")))
}

func TestForeignHeads(t *testing.T) {
	for name, c := range map[string]struct {
		policy    string
		want      string
		size      uint64
		witnesses int
	}{
		"tessera-0":  {"tessera", "accepted", 0, 0},
		"tessera-1":  {"tessera", "accepted", 1, 0},
		"tessera-8":  {"tessera", "accepted", 8, 0},
		"tessera-15": {"tessera", "accepted", 15, 0},
		// tlog-checkpoint only recommends that a log's key is called as its origin is; a
		// ledger's has to be.
		"sumdb-6476701": {"sumdb", "broken", 0, 0},
		// Signed with keys that are no ledger's: nobody whom the trust file names.
		"rekor-798034":   {"tessera", "undecidable", 0, 0},
		"rome-115474666": {"tessera", "undecidable", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			note := foreign(t, name+".head")
			h, err := foreignTrust(t, c.policy).OpenHead(note)
			if got := judge(err); got != c.want {
				t.Fatalf("expected %s, found %s: %v", c.want, got, err)
			}
			if err != nil {
				return
			}
			var theirs formats.Checkpoint
			if _, err := theirs.Unmarshal(note); err != nil || theirs.Size != h.Size || !bytes.Equal(theirs.Hash, h.Root[:]) {
				t.Errorf("transparency-dev/formats reads %+v, %v", theirs, err)
			}
			if h.Size != c.size || len(h.Witnesses) != c.witnesses {
				t.Errorf("size %d, witnesses %v", h.Size, h.Witnesses)
			}
			// A change of anything but a witness' line is found.
			for i := range bytes.Index(note, []byte("\n— ")) {
				changed := bytes.Clone(note)
				changed[i] ^= 1
				if _, err := foreignTrust(t, c.policy).OpenHead(changed); err == nil {
					t.Errorf("byte %d changed: accepted", i)
				}
			}
		})
	}
}

// tesseraEntries are the entries of the log in tessera's test data.
var tesseraEntries = strings.Fields("one two three four five six seven eit nain ten ileven twelf threeten fourten fivten")

// TestForeignProofs: a tlog-proof that transparency-dev/formats writes, about an entry
// of tessera's log that golang.org/x/mod proves, is what we read and check; and what we
// write is what they read.
func TestForeignProofs(t *testing.T) {
	head := foreign(t, "tessera-15.head")
	h, err := foreignTrust(t, "tessera").OpenHead(head)
	must(t, err)
	var stored []xmod.Hash
	reader := xmod.HashReaderFunc(func(at []int64) ([]xmod.Hash, error) {
		var hs []xmod.Hash
		for _, i := range at {
			hs = append(hs, stored[i])
		}
		return hs, nil
	})
	for i, e := range tesseraEntries {
		hs, err := xmod.StoredHashes(int64(i), []byte(e), reader)
		must(t, err)
		stored = append(stored, hs...)
	}
	for i, e := range tesseraEntries {
		p, err := xmod.ProveRecord(int64(h.Size), int64(i), reader)
		must(t, err)
		theirs := formatsproof.TLogProof{Index: uint64(i), ExtraData: []byte(e), Checkpoint: head}
		for _, hash := range p {
			theirs.Hashes = append(theirs.Hashes, hash)
		}
		text := theirs.Marshal()
		ours, err := ParseReceipt(text)
		must(t, err)
		if err := ours.Check(h); err != nil {
			t.Errorf("entry %d: %v", i, err)
		}
		if !bytes.Equal(ours.Marshal(), text) {
			t.Errorf("entry %d: written otherwise", i)
		}
		ours.Entry = []byte("another")
		if ours.Check(h) == nil {
			t.Errorf("entry %d: another entry is in the tree too", i)
		}
	}
}

// TestForeignRefusals: no spelling of a proof that transparency-dev/formats refuses is
// one to us. We refuse more: what it takes, and would not write so.
func TestForeignRefusals(t *testing.T) {
	good := formatsproof.TLogProof{Index: 10, ExtraData: []byte("x"), Hashes: [][32]byte{{1}, {2}}, Checkpoint: foreign(t, "tessera-15.head")}
	text := string(good.Marshal())
	if _, err := ParseReceipt([]byte(text)); err != nil {
		t.Fatal(err)
	}
	var bad []string
	for i := range text {
		for _, with := range []string{"", "!", "\n", "=", " ", "\x00"} {
			bad = append(bad, text[:i]+with+text[i+1:])
		}
		bad = append(bad, text[:i])
	}
	bad = append(bad, strings.Replace(text, "index 10", "index -5", 1), strings.Replace(text, "index 10", "index ten", 1),
		strings.Replace(text, "index 10\n", "\n", 1), strings.Replace(text, "@v1", "@v2", 1),
		strings.Replace(text, tlog.Hash{1}.String(), strings.Repeat("A", 86)+"==", 1), strings.Replace(text, "extra eA==", "extra !!notbase64!!", 1))
	refused := 0
	for _, b := range bad {
		var theirs formatsproof.TLogProof
		err := theirs.Unmarshal([]byte(b))
		ours, ourErr := ParseReceipt([]byte(b))
		switch {
		case err != nil && ourErr == nil:
			t.Errorf("%q: %v, and we read it", b, err)
		case ourErr == nil && (theirs.Index != ours.Index || !bytes.Equal(theirs.ExtraData, ours.Entry) || len(theirs.Hashes) != len(ours.Hashes) || !bytes.Equal(theirs.Checkpoint, ours.Head)):
			t.Errorf("%q: read as %+v, and by us as %+v", b, theirs, ours)
		case err != nil:
			refused++
		}
	}
	if refused < 100 {
		t.Errorf("%d of %d were refused: the test shows little", refused, len(bad))
	}
}
