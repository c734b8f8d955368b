package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"ledgerd/internal/raced"
)

// closed forbids, in a schema, every member that it does not name.
func closed(schema any) any {
	switch s := schema.(type) {
	case map[string]any:
		for _, v := range s {
			closed(v)
		}
		if _, ok := s["properties"]; ok {
			s["additionalProperties"] = false
		}
	case []any:
		for _, v := range s {
			closed(v)
		}
	}
	return schema
}

// strictSchema compiles a schema of docs, closed.
func strictSchema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name + ".schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, closed(doc)); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// What verify prints as JSON, for every file and log of the scripts, is what the
// schema in docs describes, with no member that the schema does not name.
func TestReportsFollowTheirSchema(t *testing.T) {
	raced.Skip(t)
	schema := strictSchema(t, "verify-report")
	check := func(name, report string) {
		t.Helper()
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(report))
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, report)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s: %v\n%s", name, err, report)
		}
	}
	md, err := os.ReadFile("../../docs/verify.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(md), "<!-- example: report -->\n```json\n")
	example, _, _ = strings.Cut(example, "```")
	check("docs/verify.md", example)

	dir := t.TempDir()
	files := newFixtures(t)
	if err := files.write(dir); err != nil {
		t.Fatal(err)
	}
	audited := make(map[string]bool)
	for name := range files {
		args := []string{"verify", "--output", "json", "--trust", filepath.Join(dir, "witnessed.json")}
		if strings.HasPrefix(name, "handed") {
			args[4] = filepath.Join(dir, "both.json")
		}
		switch top, _, inLog := strings.Cut(name, "/"); {
		case inLog:
			args = append(args, "log", "--state", filepath.Join(dir, "state"), filepath.Join(dir, top))
			name = top
		case strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".run") || strings.HasSuffix(name, ".ev"):
			continue
		default:
			args = append(args, "--subject", "ticket-2", filepath.Join(dir, name))
		}
		if audited[name] {
			continue
		}
		audited[name] = true
		out, code := capture(t, args)
		if strings.TrimSpace(out) == "" {
			t.Errorf("%s: exit code %d and no report", name, code)
			continue
		}
		check(name, out)
		var r struct{ Outcome string }
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		if want := map[string]int{"verified": 0, "wrong": 1, "undecidable": 2, "malformed": 65}[r.Outcome]; code != want {
			t.Errorf("%s: outcome %s with exit code %d", name, r.Outcome, code)
		}
	}
	for command, want := range map[string]int{
		"consistency old.head new.head":                               2,
		"consistency old.head new.head --log log-later":               0,
		"consistency new.head fork.head":                              1,
		"equivocation new.head longfork.head --log log-longfork -o p": 1,
		"watch --once log-before":                                     0,
		"watch --once --state old.json log-fork":                      1,
		"watch --once --state old.json log-before":                    1,
		"watch --once --state old.json --stale 1h log-later":          2,
	} {
		args := []string{"verify", "--output", "json", "--trust", filepath.Join(dir, "trust.json")}
		for i, word := range strings.Fields(command) {
			if i > 0 && !strings.HasPrefix(word, "-") && word != "1h" {
				word = filepath.Join(dir, word)
			}
			args = append(args, word)
		}
		out, code := capture(t, args)
		if code != want {
			t.Errorf("%s: expected exit code %d, found %d", command, want, code)
		}
		check(command, out)
	}
	if len(audited) < 30 {
		t.Errorf("only %d inputs were audited", len(audited))
	}
}

func capture(t *testing.T, args []string) (string, int) {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	code := run(args, stdio{strings.NewReader(""), out, null})
	b, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b), code
}
