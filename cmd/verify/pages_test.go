package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"ledgerd/internal/raced"
)

const verifyPage = "../../docs/verify.md"

// The sessions of docs/verify.md that show a page print what stands there. With
// -update they are written again.
func TestManualShowsPages(t *testing.T) {
	text, err := os.ReadFile(verifyPage)
	if err != nil {
		t.Fatal(err)
	}
	session := regexp.MustCompile("(?s)```\n\\$ verify (explain|report) ([^\n]*)\n(.*?)```\n")
	found := 0
	got := session.ReplaceAllFunc(text, func(block []byte) []byte {
		found++
		m := session.FindSubmatch(block)
		args := []string{"verify", string(m[1])}
		for word := range strings.FieldsSeq(string(m[2])) {
			if strings.HasSuffix(word, ".json") || strings.HasSuffix(word, ".bundle") {
				word = filepath.Join(vectorDir, word)
			}
			args = append(args, word)
		}
		out, _ := capture(t, args)
		out = strings.ReplaceAll(out, vectorDir+"/", "")
		return []byte("```\n$ verify " + string(m[1]) + " " + string(m[2]) + "\n" + out + "```\n")
	})
	if found < 2 {
		t.Fatalf("found %d sessions: has their form changed?", found)
	}
	if *update {
		if err := os.WriteFile(verifyPage, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got, text) {
		t.Errorf("%s shows what is not printed; write it again with -update", verifyPage)
	}
}

// What report and explain print as JSON, of the files of the scripts, is
// what the schema describes, with no member that the schema does not name, and
// what it exits with is its outcome.
func TestPagesFollowTheirSchema(t *testing.T) {
	raced.Skip(t)
	schema := strictSchema(t, "verify-page")
	dir := t.TempDir()
	files := newFixtures(t)
	if err := files.write(dir); err != nil {
		t.Fatal(err)
	}
	checked := 0
	page := func(args ...string) string {
		t.Helper()
		out, code := capture(t, args)
		if out == "" {
			if code != exitUsage {
				t.Errorf("%q: exit code %d and no page", args, code)
			}
			return ""
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(out))
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
		var p struct{ Outcome string }
		if err := json.Unmarshal([]byte(out), &p); err != nil {
			t.Fatal(err)
		}
		if want := map[string]int{"verified": 0, "wrong": 1, "undecidable": 2, "malformed": 65}[p.Outcome]; code != want {
			t.Errorf("%q: outcome %s with exit code %d", args, p.Outcome, code)
		}
		// The audit says the same.
		if _, audit := capture(t, []string{"verify", "-q", args[2], args[3], args[4]}); audit != code {
			t.Errorf("%q: exit code %d, and that of the audit is %d", args, code, audit)
		}
		checked++
		return out
	}
	ids := regexp.MustCompile(`"record":"(ev_[A-Za-z0-9_-]{43})"`)
	for name := range files {
		if strings.Contains(name, "/") || !strings.HasSuffix(name, ".bundle") && !strings.HasSuffix(name, ".tlog-proof") {
			continue
		}
		file := filepath.Join(dir, name)
		if strings.HasSuffix(name, ".tlog-proof") {
			page("verify", "explain", "--trust", filepath.Join(dir, "pinned.json"), file, "--output", "json")
			continue
		}
		last := string(files["done.ev"])
		if ev, ok := files[strings.TrimSuffix(name, ".bundle")+".ev"]; ok {
			last = string(ev)
		}
		for _, trust := range []string{"both.json", "other.json"} {
			page("verify", "report", "--trust", filepath.Join(dir, trust), file, "--output", "json")
		}
		out := page("verify", "explain", "--trust", filepath.Join(dir, "both.json"), file, last, "--output", "json")
		for _, m := range ids.FindAllStringSubmatch(out, 3) {
			page("verify", "explain", "--trust", filepath.Join(dir, "both.json"), file, m[1], "--output", "json")
		}
	}
	if checked < 50 {
		t.Errorf("only %d pages were checked", checked)
	}
}

// 70: what nobody can put right on the command line.
func TestPagesThatCannotBeWritten(t *testing.T) {
	for _, args := range [][]string{
		{"verify", "report", "--trust", filepath.Join(vectorDir, "trust.json"), filepath.Join(vectorDir, "done.bundle")},
		{"verify", "report", "--html", "--trust", filepath.Join(vectorDir, "trust.json"), filepath.Join(vectorDir, "done.bundle")},
		{"verify", "explain", "--trust", filepath.Join(vectorDir, "pinned.json"), filepath.Join(vectorDir, "done.tlog-proof")},
		{"verify", "explain", "--output", "json", "--trust", filepath.Join(vectorDir, "pinned.json"), filepath.Join(vectorDir, "done.tlog-proof")},
	} {
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		out.Close()
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if code := run(args, stdio{strings.NewReader(""), out, null}); code != exitInternal {
			t.Errorf("%q: expected exit code %d, found %d", args, exitInternal, code)
		}
		null.Close()
	}
}
