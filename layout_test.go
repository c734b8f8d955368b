// Package ledgerd_test holds the tests of the repository as a whole: which
// package may import which, that every package says what it is, and that the
// documents show what the code does.
package ledgerd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// order is the layout of docs/design.md: a package imports only packages that
// stand above it here. Packages of one line may import each other.
var order = [][]string{
	{"evidence"},
	{"ledger/tlog"},
	{"bundle"},
	{"audit"},
	{"checkpoint"},
	{"ledger/pebblestore", "ledger/objectstore"},
	{"ledger"},
	{"handoff"},
	{"runtime", "runtime/policy", "runtime/tools", "runtime/runtimetest"},
	{"internal/telemetry", "internal/notify"},
	{"internal/wholefile"},
	{"internal/api"},
	{"client"},
	{"internal/exchange"},
	{"internal/agent"},
	{"internal/server"},
	{"internal/*"},
	{"cmd/*"},
	{"action/*", "action"},
	{"clients/*"},
	{"examples/*"},
}

const module = "ledgerd"

// rank returns the line of order that a package stands in, -1 for none. A
// package below a named one (audit/audittest) stands with it.
func rank(pkg string) int {
	rel := strings.TrimPrefix(pkg, module+"/")
	best, length := -1, -1
	for i, line := range order {
		for _, name := range line {
			prefix, wild := strings.CutSuffix(name, "*")
			if rel == name || strings.HasPrefix(rel, name+"/") || wild && strings.HasPrefix(rel, prefix) {
				if len(prefix) > length {
					best, length = i, len(prefix)
				}
			}
		}
	}
	return best
}

type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Doc        string
	Name       string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	if testing.Short() {
		t.Skip("the race detector sees nothing of other processes; runs without -short")
	}
	out, err := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,GoFiles,Doc,Name,Imports,Deps"}, args...)...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImportsPointUpwards(t *testing.T) {
	for _, p := range list(t, "./...") {
		if p.ImportPath == module {
			continue
		}
		own := rank(p.ImportPath)
		if own < 0 {
			t.Errorf("%s stands in no line of the layout: give it one in docs/design.md and in this test", p.ImportPath)
		}
		for _, imp := range p.Imports {
			if r := rank(imp); strings.HasPrefix(imp, module+"/") && r > own {
				t.Errorf("%s imports %s, which stands below it", p.ImportPath, imp)
			}
		}
	}
}

// TestRow61NothingWritesCSV: no package makes a file that a spreadsheet runs. An example
// reads one, which it was given to work on.
func TestRow61NothingWritesCSV(t *testing.T) {
	csv := regexp.MustCompile(`csv\.NewWriter|text/csv|\.csv"`)
	for _, p := range list(t, "./...") {
		reads := strings.HasPrefix(p.ImportPath, module+"/examples/")
		if slices.Contains(p.Imports, "encoding/csv") && !reads {
			t.Errorf("%s imports encoding/csv: a cell that begins with = + - @ has to be quoted, and docs/attacks.md to say so", p.ImportPath)
		}
		for _, name := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if found := csv.Find(text); found != nil && (!reads || string(found) != `.csv"`) {
				t.Errorf("%s/%s: found %s", p.ImportPath, name, found)
			}
		}
	}
}

// TestOneOwner: some dependencies have one importer, so that what they could do
// to the rest is bounded.
func TestOneOwner(t *testing.T) {
	owners := map[string][]string{
		"github.com/cockroachdb/pebble/v2":   {"ledgerd/ledger/pebblestore"},
		"github.com/go-jose/go-jose/v4":      {"ledgerd/evidence"},
		"github.com/cedar-policy/cedar-go":   {"ledgerd/runtime/policy"},
		"github.com/a2aproject/a2a-go/v2":    {"ledgerd/handoff/overa2a", "ledgerd/examples/a2a/client", "ledgerd/examples/a2a/server"},
		"go.opentelemetry.io/otel/sdk":       {"ledgerd/internal/telemetry"},
		"go.opentelemetry.io/otel/exporters": {"ledgerd/internal/telemetry"},
	}
	for _, p := range list(t, "./...") {
		for _, imp := range p.Imports {
			for dep, allowed := range owners {
				if (imp == dep || strings.HasPrefix(imp, dep+"/")) && !slices.Contains(allowed, p.ImportPath) {
					t.Errorf("%s imports %s: only %v may", p.ImportPath, imp, allowed)
				}
			}
		}
	}
}

// TestAdmittedIsTheLedgersWord: that a signature was verified when the ledger took
// the entry is for package ledger alone to say, for it alone compares with its tree
// what it reads back.
func TestAdmittedIsTheLedgersWord(t *testing.T) {
	said := 0
	for _, p := range list(t, "./...") {
		for _, file := range p.GoFiles {
			data, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(data, []byte("ParseAdmitted")) || p.ImportPath == "ledgerd/evidence" {
				continue
			}
			if said++; p.ImportPath != "ledgerd/ledger" {
				t.Errorf("%s/%s calls evidence.ParseAdmitted: it cannot know", p.ImportPath, file)
			}
		}
	}
	if said == 0 {
		t.Error("evidence.ParseAdmitted has another name by now: want it here")
	}
}

// TestPureCore: these do no I/O of their own, so they cannot import what does.
func TestPureCore(t *testing.T) {
	forbidden := []string{"net", "net/http", "os", "os/exec", "math/rand", "math/rand/v2", "crypto/rand", "log", "log/slog"}
	for _, p := range list(t, "./evidence", "./audit", "./bundle") {
		for _, imp := range p.Imports {
			if slices.Contains(forbidden, imp) {
				t.Errorf("%s imports %s: it has no clock, randomness, disk or network", p.ImportPath, imp)
			}
		}
	}
}

// TestVerifyStandsAlone: the verifier trusts nothing of the operator's, and
// carries none of the operator's code.
func TestVerifyStandsAlone(t *testing.T) {
	for _, dep := range list(t, "./cmd/verify")[0].Deps {
		for _, no := range []string{"github.com/cockroachdb/", "ledgerd/runtime", "ledgerd/internal/server", "ledgerd/ledger/pebblestore"} {
			if strings.HasPrefix(dep, no) {
				t.Errorf("cmd/verify depends on %s", dep)
			}
		}
		if dep == "ledgerd/ledger" {
			t.Errorf("cmd/verify depends on %s: it needs the formats, not the store", dep)
		}
	}
}

// TestShownAsAUserWouldWriteIt: the program that people read first uses nothing
// that they could not.
func TestShownAsAUserWouldWriteIt(t *testing.T) {
	for _, imp := range list(t, "./internal/quickstart/support")[0].Imports {
		if strings.HasPrefix(imp, module+"/internal/") {
			t.Errorf("internal/quickstart/support imports %s, which no user's program can", imp)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range list(t, "./...") {
		if p.ImportPath != module && p.Doc == "" {
			t.Errorf("%s has no package doc", p.ImportPath)
		}
	}
}
