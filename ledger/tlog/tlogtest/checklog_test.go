package tlogtest

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
	"testing"

	formats "github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The oracle must see each kind of broken promise, or no crash test means much.
func TestCheckLogSees(t *testing.T) {
	skey, vkey, err := note.GenerateKey(nil, "log")
	if err != nil {
		t.Fatal(err)
	}
	signer, _ := note.NewSigner(skey)
	verifier, _ := note.NewVerifier(vkey)
	entry := func(i int) []byte { return fmt.Appendf(nil, "entry %d", i) }
	entries := func(n int, change int) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			for i := range n {
				e := entry(i)
				if i == change {
					e = []byte("another")
				}
				if !yield(e, nil) {
					return
				}
			}
		}
	}
	head := func(n int, change int) []byte {
		var stored []tlog.Hash
		read := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
			hs := make([]tlog.Hash, len(at))
			for i, x := range at {
				hs[i] = stored[x]
			}
			return hs, nil
		})
		i := 0
		for e := range entries(n, change) {
			hs, _ := tlog.StoredHashes(int64(i), e, read)
			stored = append(stored, hs...)
			i++
		}
		root, _ := tlog.TreeHash(int64(n), read)
		signed, err := note.Sign(&note.Note{Text: string(formats.Checkpoint{Origin: "log", Size: uint64(n), Hash: root[:]}.Marshal())}, signer)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	for _, tc := range []struct {
		name    string
		journal func(*Journal)
		size    int
		change  int
		want    string // "": nothing is wrong
	}{
		{"sound", func(j *Journal) { j.Acked(3, entry(3)); j.Look()(head(5, -1)); j.Acked(9, entry(9)) }, 10, -1, ""},
		{"nothing heard", func(j *Journal) {}, 0, -1, ""},
		{"acknowledged entry gone", func(j *Journal) { j.Acked(10, entry(10)) }, 10, -1, "acknowledged and are gone"},
		{"acknowledged entry changed", func(j *Journal) { j.Acked(3, entry(3)) }, 10, 3, "not what was acknowledged"},
		{"index given twice", func(j *Journal) { j.Acked(3, entry(3)); j.Acked(3, entry(4)) }, 10, -1, "two entries"},
		{"head older than the acknowledgement", func(j *Journal) { j.Acked(3, entry(3)); j.Look()(head(3, -1)) }, 10, -1, "after index 3 was acknowledged"},
		{"two roots", func(j *Journal) { j.Look()(head(10, 2)) }, 10, -1, "two roots"},
		{"not an extension", func(j *Journal) { j.Look()(head(7, 2)) }, 10, -1, "at size 7 the entries give"},
		{"shrunk", func(j *Journal) { j.Look()(head(11, -1)) }, 10, -1, "showed 11 before"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var text bytes.Buffer
			j := NewJournal(&text)
			tc.journal(j)
			text.WriteString("ack 5 cut o")
			again, err := ReadJournal(&text)
			if err != nil {
				t.Fatal(err)
			}
			for _, j := range []*Journal{j, again} {
				err := CheckLog(verifier, head(tc.size, tc.change), entries(tc.size, tc.change), j)
				if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
					t.Errorf("got %v, expected %q", err, tc.want)
				}
			}
		})
	}
}
