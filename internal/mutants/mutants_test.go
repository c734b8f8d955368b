package mutants

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "find out which test fails without each check, and write testdata again")

// mutated are the packages whose checks are taken out, and how each reports.
var mutated = []struct {
	pkg     string
	reports []string
	decide  []string // files in which every condition decides something
	// skip are tests that draw at random, or want data that is not everywhere: what
	// they notice they may not notice the next time.
	skip string
	// first are the tests that notice the most, or the soonest.
	first string
}{
	{"audit", []string{"broken", "undecidable", "refuse", "refused", "Finding{}", "headFinding", "wrong"}, []string{"cases.go", "decide.go", "judge.go", "question.go"}, "TestAirline|TestBrief|TestJudgeAgainstEvery|TestJudgePast|TestContractSchema|TestHorizon|TestManySites|TestOpenRunMemory|TestSound|TestValues|TestDecimal", "TestConsulted|TestDecide|TestTry|TestJudge|TestTruthTable|TestPatterns|TestRestsOn|TestGiven|TestNoContract"},
	{"bundle", []string{"Errorf", "New", "malformed", "bad", "formErr", "FormatError{}", "ProofError{}"}, nil, "^$", ""},
	{"handoff", []string{"Refused{}", "finding", "used"}, nil, "TestNothingElse|TestNoWorld", ""},
}

// unnoticed begins the line of a mutant that no test can notice, and says why.
const unnoticed = "none: "

// TestEveryCheckHasItsTest holds testdata to the code: a check that is new has no line
// yet, and -update finds the test that fails without it. With LEDGERD_TEST_MUTANTS=all
// each is taken out, and its test has to fail.
func TestEveryCheckHasItsTest(t *testing.T) {
	for _, m := range mutated {
		t.Run(m.pkg, func(t *testing.T) {
			dir, err := filepath.Abs("../../" + m.pkg)
			if err != nil {
				t.Fatal(err)
			}
			s, err := read(dir, m.reports, m.decide)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", m.pkg+".txt")
			lines := readLines(t, golden)
			if *update {
				lines = discover(t, s, lines, m.skip, m.first)
				writeLines(t, golden, s.names(), lines)
			}
			names := s.names()
			for _, name := range names {
				if lines[name] == "" {
					t.Errorf("no test for the check %q: run go test ./internal/mutants -update", name)
				}
			}
			for name := range lines {
				if !slices.Contains(names, name) {
					t.Errorf("the check %q is not there any more", name)
				}
			}
			if t.Failed() || os.Getenv("LEDGERD_TEST_MUTANTS") != "all" || *update {
				return
			}
			bin := build(t, s)
			each(names, func(n int, name string) {
				test := lines[name]
				if strings.HasPrefix(test, unnoticed) {
					return
				}
				if failed, out := run(t, bin, s.dir, n, "-test.run", only(test)); failed == "" {
					t.Errorf("%s passes without %q\n%s", test, name, out)
				}
			})
		})
	}
}

func readLines(t *testing.T, path string) map[string]string {
	t.Helper()
	lines := make(map[string]string)
	text, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, test, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t=> ")
		if ok {
			lines[name] = test
		}
	}
	return lines
}

func writeLines(t *testing.T, path string, names []string, lines map[string]string) {
	t.Helper()
	var b bytes.Buffer
	for _, name := range names {
		fmt.Fprintf(&b, "%s\t=> %s\n", name, lines[name])
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// build compiles the package's tests with all mutants in it.
func build(t *testing.T, s *source) string {
	t.Helper()
	dir := t.TempDir()
	overlay, err := s.write(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	file, bin := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "mutants.test")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", file, "-o", bin, s.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// patience is how long tests may take without a check before that counts as failing:
// without some, they do not end.
const patience = 2 * time.Minute

var failing = regexp.MustCompile(`(?m)^( *)--- FAIL: (\S+)`)

// run runs tests with one mutant on, and returns the first that fails, with its
// subtest; "" where none does.
func run(t *testing.T, bin, dir string, mutant int, args ...string) (failed, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, append([]string{"-test.short", "-test.failfast"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", variable, mutant))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "", string(out)
	}
	name := ""
	for _, m := range failing.FindAllStringSubmatch(string(out), -1) {
		if strings.HasPrefix(m[2], name) {
			name = m[2] // the innermost
		} else {
			break
		}
	}
	if name == "" {
		name = "?" // it failed otherwise
	}
	return name, string(out)
}

// only is what -test.run takes for one test.
func only(test string) string {
	parts := strings.Split(test, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}

// each calls f for each name, as many at a time as there are cores.
func each(names []string, f func(n int, name string)) {
	var wg sync.WaitGroup
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	for n, name := range names {
		free <- struct{}{}
		wg.Go(func() {
			f(n, name)
			<-free
		})
	}
	wg.Wait()
}

// discover finds for each mutant a test that fails without the check: the one that is
// on record, if it still does.
func discover(t *testing.T, s *source, before map[string]string, skip, first string) map[string]string {
	t.Helper()
	bin := build(t, s)
	if failed, out := run(t, bin, s.dir, len(s.mutants), "-test.skip", skip); failed != "" {
		t.Fatalf("with no check taken out %s fails:\n%s", failed, out)
	}
	var mu sync.Mutex
	lines := make(map[string]string)
	each(s.names(), func(n int, name string) {
		test := before[name]
		if !strings.HasPrefix(test, unnoticed) {
			found := ""
			for _, tests := range []string{only(test), first, "."} {
				if found == "" && tests != "" && tests != only("") {
					found, _ = run(t, bin, s.dir, n, "-test.run", tests, "-test.skip", skip)
				}
			}
			if found != test {
				t.Logf("%s => %s", name, found)
			}
			test = found
		}
		mu.Lock()
		defer mu.Unlock()
		lines[name] = test
	})
	return lines
}
