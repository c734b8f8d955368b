package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// TestForeignFiles: what others signed is read as what it is, and what is no receipt of
// a ledger's is said not to be one. bundle's own tests have these tree heads in full.
func TestForeignFiles(t *testing.T) {
	const foreign = "../../testdata/foreign"
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(foreign, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	trusts := make(map[string]string)
	for _, name := range []string{"tessera", "sumdb"} {
		p, err := bundle.ParsePolicy(string(read(name + ".policy")))
		if err != nil {
			t.Fatal(err)
		}
		trust := &bundle.Trust{Ledgers: []*bundle.TrustedLedger{{Policy: p, Entry0: evidence.IDOf([]byte("one"))}}}
		trusts[name] = write(name+".json", marshal(t, trust))
	}
	one := tlog.TextProof{Extra: []byte("one"), Head: read("tessera-1.head")}
	alone := tlog.TextProof{Head: one.Head}
	for _, c := range []struct {
		file, trust string
		exit        int
		says        []string
	}{
		{filepath.Join(foreign, "tessera-15.head"), "tessera", 0, []string{"VERIFIED  tree head of example.com/log/testdata, size 15"}},
		{filepath.Join(foreign, "sumdb-6476701.head"), "sumdb", 1, []string{`PROVEN WRONG  tree head: expected the origin "sum.golang.org", whose key signed it, found "go.sum database tree"`}},
		{filepath.Join(foreign, "rekor-798034.head"), "tessera", 2, []string{`NOT DECIDABLE  tree head of "Rekor": the trust file does not name who signed`}},
		// An entry of a log whose entries are no records is in the log, and no record.
		{write("one.tlog-proof", one.Marshal()), "tessera", 1, []string{"inclusion     ✓ held", "signature     ✗ broken", "expected    a record in the one form that there is"}},
		{write("alone.tlog-proof", alone.Marshal()), "tessera", 65, []string{"expected an extra line with the record, found a tlog-proof of something that it does not hold"}},
	} {
		out, code := capture(t, []string{"verify", "--trust", trusts[c.trust], c.file})
		if code != c.exit {
			t.Errorf("%s: expected exit code %d, found %d\n%s", c.file, c.exit, code, out)
		}
		for _, text := range c.says {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), strings.Join(strings.Fields(text), " ")) {
				t.Errorf("%s: expected %q in\n%s", c.file, text, out)
			}
		}
	}
}
