package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// The rows of docs/attacks.md that are thrown at verify, by number. The scripts
// in testdata show the same as sessions.

// session is a directory with the fixtures.
type session struct {
	*testing.T
	dir string
}

func newSession(t *testing.T) session {
	s := session{t, t.TempDir()}
	if err := newFixtures(t).write(s.dir); err != nil {
		t.Fatal(err)
	}
	return s
}

// exits verifies with the given words, those with a dot or a slash in the
// fixtures' directory, and returns what was printed.
func (s session) exits(want int, words string) string {
	s.Helper()
	args := []string{"verify"}
	for word := range strings.FieldsSeq(words) {
		if strings.Contains(word, ".") || strings.HasPrefix(word, "log-") {
			word = filepath.Join(s.dir, word)
		}
		args = append(args, word)
	}
	out, code := capture(s.T, args)
	if code != want {
		s.Errorf("verify %s: expected exit code %d, found %d\n%s", words, want, code, out)
	}
	return out
}

func (s session) has(out, text string) {
	s.Helper()
	if !strings.Contains(out, text) {
		s.Errorf("expected %q in\n%s", text, out)
	}
}

func TestRow52OneSizeTwoRoots(t *testing.T) {
	s := newSession(t)
	out := s.exits(1, "--trust pinned.json done.tlog-proof row52-tworoots.tlog-proof")
	s.has(out, "two_roots")
	s.has(out, "and signed")
	s.exits(0, "log --trust trust.json --state seen.json log-later")
	s.has(s.exits(1, "log --trust trust.json --state seen.json log-fork"), "two_roots")
	proof, err := os.ReadFile(filepath.Join(s.dir, "seen.json.proof-1"))
	if err != nil {
		t.Fatal(err)
	}
	// Both, and both signed.
	if n := strings.Count(string(proof), "— ledger.example/test "); n != 2 {
		t.Errorf("expected two signed tree heads to be kept, found %d\n%s", n, proof)
	}
}

// However much stands before it, a tree head of a bundle is compared with those of other
// files, and is the last one.
func TestRow52BehindOtherHeads(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	w, other := audittest.New(t), audittest.New(t)
	large := w.Head(3)
	for len(large) < tlog.MaxHead-1000 {
		large = fmt.Appendf(large, "— pad.example %s\n", base64.StdEncoding.EncodeToString(make([]byte, 600)))
	}
	var files []string
	for _, of := range []*audittest.World{w, other} {
		of.Clock += evidence.Time(len(files))
		r := of.Open(nil)
		r.Close(evidence.Completed)
		heads := append(slices.Repeat([][]byte{large}, 20), of.Head(len(of.Placed)))
		files = append(files, write(fmt.Sprintf("%d.bundle", len(files)), of.Bundle(audittest.Bundling{Header: bundle.RunHeader(of.Origin, r.ID), Indexes: of.RunIndexes(r.ID), Heads: heads})))
	}
	trust := write("trust.json", marshal(t, w.Trust()))
	for _, of := range files {
		if out, code := capture(t, []string{"verify", "--trust", trust, of}); code != exitVerified {
			t.Fatalf("by itself: %d\n%s", code, out)
		}
	}
	for _, command := range [][]string{{"verify"}, {"verify", "consistency"}} {
		out, code := capture(t, slices.Concat(command, []string{"--trust", trust}, files))
		if code != exitWrong || !strings.Contains(out, "two_roots") {
			t.Errorf("%v: expected exit code 1 for two roots, found %d\n%s", command, code, out)
		}
	}
}

// A tree head of a bundle that lies in another is one of that file, too.
func TestRow52InWhatWasHandedOver(t *testing.T) {
	s := newSession(t)
	s.exits(0, "--trust both.json handed.bundle")
	s.exits(0, "--trust both.json giver-fork.head")
	for _, files := range []string{"handed.bundle giver-fork.head", "giver-fork.head handed.bundle"} {
		s.has(s.exits(1, "--trust both.json "+files), "two_roots")
	}
}

func TestRow53OneWitnessTwice(t *testing.T) {
	s := newSession(t)
	s.exits(0, "--trust witnessed.json row53-both.bundle")
	s.exits(2, "--trust witnessed.json row53-twice.bundle")
	s.exits(2, "--trust witnessed.json row53-renamed.bundle")
}

func TestRow54OwnKeyOtherSubjectNothingClaimed(t *testing.T) {
	s := newSession(t)
	s.exits(2, "--trust trust.json row54-ownkey.bundle")
	s.exits(2, "--trust trust.json row54-stranger.bundle")
	s.exits(1, "--trust trust.json --subject ticket-2 done.bundle")
	s.exits(2, "--trust trust.json emptyclaim.bundle")
	s.exits(2, "--trust trust.json emptycontract.bundle")
}

func TestRow55UnsignedHeadWrongOrigin(t *testing.T) {
	s := newSession(t)
	s.exits(1, "--trust pinned.json row55-unsigned.tlog-proof")
	s.exits(1, "--trust pinned.json row55-origin.tlog-proof")
	s.exits(1, "--trust trust.json row55-origin.bundle")
}

func TestRow56SizeZeroIndexBeyondOverlongProof(t *testing.T) {
	s := newSession(t)
	s.exits(1, "--trust pinned.json row56-size0.tlog-proof")
	s.exits(1, "--trust pinned.json row56-index.tlog-proof")
	s.exits(1, "--trust pinned.json row56-overlong.tlog-proof")
	s.exits(1, "--trust trust.json row56-index.bundle")
}

func TestRow57PayloadThatDoesNotParse(t *testing.T) {
	s := newSession(t)
	s.exits(1, "--trust pinned.json row57-payload.tlog-proof")
	s.exits(1, "--trust trust.json row57-payload.bundle")
}

func TestRow58NoArchives(t *testing.T) {
	s := newSession(t)
	s.exits(65, "--trust trust.json row58.zip")
}

func TestRow59Bombs(t *testing.T) {
	s := newSession(t)
	s.exits(65, "--trust trust.json row59.gz")
	s.exits(65, "--trust trust.json row59-line.bundle")
}

func TestRow60TextIsShownEscaped(t *testing.T) {
	s := newSession(t)
	for _, form := range []string{"text", "json", "sarif", "junit"} {
		out := s.exits(1, "--trust trust.json --output "+form+" evil.bundle")
		if strings.ContainsAny(out, "\x1b\u202e\U000e0041") {
			t.Errorf("%s: %q", form, out)
		}
		s.has(out, "evil.example")
	}
	s.has(s.exits(1, "--trust trust.json evil.bundle"), `\u{1b}]8;;https://evil.example`)
}
