package conformance

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocument: each example of docs/clients.md stands in a file that a test runs.
func TestDocument(t *testing.T) {
	doc, err := os.ReadFile("../../docs/clients.md")
	must(t, err)
	tested := map[string]string{"go": "../../client/run_test.go", "js": "../typescript/README.md", "python": "../python/README.md"}
	blocks := regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```").FindAllSubmatch(doc, -1)
	if len(blocks) < 3 {
		t.Fatalf("want an example of each language, found %d", len(blocks))
	}
	lines := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	for _, b := range blocks {
		file, err := os.ReadFile(tested[string(b[1])])
		must(t, err)
		if !strings.Contains(lines(string(file)), lines(string(b[2]))) {
			t.Errorf("%s has not the example\n%s", tested[string(b[1])], b[2])
		}
	}
}
