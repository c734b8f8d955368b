package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs is found wherever a test goes.
var docs, _ = filepath.Abs("../../docs")

// documented returns what stands between fences after each comment of that name.
func documented(t *testing.T, file, comment string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(docs, file))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i, part := range strings.Split(string(text), "<!-- "+comment+" -->\n```") {
		if i == 0 {
			continue
		}
		_, rest, _ := strings.Cut(part, "\n")
		block, _, ok := strings.Cut(rest, "```\n")
		if !ok {
			t.Fatalf("%s: no end of the block after %q", file, comment)
		}
		out = append(out, block)
	}
	if len(out) == 0 {
		t.Fatalf("%s has no %q", file, comment)
	}
	return out
}

// TestDocSessions runs the sessions of docs/verify.md: what is printed is what stands
// there, where a line … stands for any lines.
func TestDocSessions(t *testing.T) {
	dir := t.TempDir()
	if err := newFixtures(t).write(dir); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, session := range documented(t, "verify.md", "session") {
		for _, part := range strings.Split(session, "$ verify ")[1:] {
			command, want, _ := strings.Cut(part, "\n")
			out, _ := capture(t, append([]string{"verify"}, strings.Fields(command)...))
			pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "…\n", "(?s:.*)")
			if !regexp.MustCompile(`^` + pattern + `\n*$`).MatchString(out) {
				t.Errorf("verify %s\nexpected\n%s\nfound\n%s", command, want, out)
			}
		}
	}
}

// TestDocProof: the proof in docs/bundle-format.md is what is written, and holds up.
func TestDocProof(t *testing.T) {
	s := newSession(t)
	s.exits(1, "equivocation --trust trust.json new.head longfork.head --log log-longfork --proof written.proof")
	written, err := os.ReadFile(filepath.Join(s.dir, "written.proof"))
	if err != nil {
		t.Fatal(err)
	}
	if example := documented(t, "bundle-format.md", "example: proof")[0]; example != string(written) {
		t.Errorf("docs/bundle-format.md has another proof than is written:\n%s", written)
	}
	s.exits(1, "--trust trust.json written.proof")
}

// TestDocTrusted: docs/verify.md shows what verify trust show prints.
func TestDocTrusted(t *testing.T) {
	s := newSession(t)
	out := s.exits(0, "trust show --output json trust.json")
	var want bytes.Buffer
	if err := json.Compact(&want, []byte(documented(t, "verify.md", "example: trusted")[0])); err != nil {
		t.Fatal(err)
	}
	if want.String() != strings.TrimSpace(out) {
		t.Errorf("expected, as docs/verify.md has it, %s\nfound %s", &want, out)
	}
}
