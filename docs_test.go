package ledgerd_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func documents(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append(append(files, more...), "README.md", "CONTRIBUTING.md")
}

// TestLinks: every relative link of a document leads somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	for _, file := range documents(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", file, m[1])
			}
		}
	}
}

// TestDependenciesAreExplained: docs/dependencies.md has a line for each direct
// dependency of go.mod, and for nothing else.
func TestDependenciesAreExplained(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	direct := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(?:require )?\t?([a-z0-9.\-]+\.[a-z]+/\S+|pgregory\.net/\S+) v\S+( // indirect)?$`).FindAllStringSubmatch(string(mod), -1) {
		if m[2] == "" {
			direct[m[1]] = true
		}
	}
	if len(direct) < 10 {
		t.Fatalf("want the direct dependencies of go.mod, found only %d: has its form changed?", len(direct))
	}
	explained := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| \\S").FindAllStringSubmatch(string(doc), -1) {
		explained[m[1]] = true
		if !direct[m[1]] {
			t.Errorf("docs/dependencies.md explains %s, which is no direct dependency", m[1])
		}
	}
	for m := range direct {
		if !explained[m] {
			t.Errorf("docs/dependencies.md does not say why %s is here", m)
		}
	}
}

// TestAttacksHaveTests: docs/attacks.md names a test for each row, and each
// test that it names exists.
func TestAttacksHaveTests(t *testing.T) {
	doc, err := os.ReadFile("docs/attacks.md")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	err = filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			b, err := os.ReadFile(path)
			code.Write(b)
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| (.*) \| (.*) \|$`).FindAllStringSubmatch(string(doc), -1)
	name := regexp.MustCompile("`([^`]+)`: `(Test\\w+)`")
	for i, row := range rows {
		tests := name.FindAllStringSubmatch(row[3], -1)
		if len(tests) == 0 && !strings.HasPrefix(row[3], "later: ") {
			t.Errorf("row %s names no test and does not say what it waits for", row[1])
		}
		for _, m := range tests {
			if !strings.Contains(code.String(), "func "+m[2]+"(") {
				t.Errorf("row %s names %s, which is not there", row[1], m[2])
			}
		}
		if i > 0 && rows[i-1][1] == row[1] {
			t.Errorf("row %s stands twice", row[1])
		}
	}
	if len(rows) != 71 {
		t.Errorf("want 71 rows, found %d", len(rows))
	}
}
