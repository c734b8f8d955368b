package story

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/internal/report"
	"ledgerd/internal/report/forms"
)

func jsonText(s string) (string, error) {
	b, err := json.Marshal(s)
	return string(b), err
}

// A new kind, rule or reason needs words.
func TestEverythingHasWords(t *testing.T) {
	for _, k := range evidence.Kinds() {
		if w := kinds[k]; w.is == "" || w.proves == "" || w.not == "" {
			t.Errorf("the kind %s has no words", k)
		}
	}
	for _, r := range audit.Rules() {
		if questions[r] == "" {
			t.Errorf("the rule %s has no question", r)
		}
	}
	files, err := filepath.Glob("../../audit/*.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\bReason\w*\s+(?:Reason)?\s*= "(\w+)"`).FindAllStringSubmatch(string(text), -1) {
			if n++; reasons[audit.Reason(m[1])] == "" {
				t.Errorf("the reason %s has no words", m[1])
			}
		}
	}
	if n < 50 {
		t.Errorf("found only %d reasons: has their form changed?", n)
	}
	for _, w := range []struct {
		name string
		n    int
		want int
	}{{"results", len(results), 6}, {"statuses", len(statuses), 5}, {"classes", len(classes), 10}, {"sources", len(sources), 5}, {"roles", len(roles), 5}} {
		if w.n != w.want {
			t.Errorf("%s: expected words for %d, found %d", w.name, w.want, w.n)
		}
	}
}

// Every member of every kind of record is told: each value in the vectors of the
// record format stands in what is said of the record.
func TestEveryMemberIsTold(t *testing.T) {
	text, err := os.ReadFile("../../testdata/evidence/records.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Name, Kind, Payload, Entry string }
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	seen := make(map[evidence.Kind]bool)
	for _, v := range vectors {
		x := &Reading{form: "bundle", Report: &audit.Report{}, byID: make(map[evidence.ID]*record), gone: make(map[evidence.Digest]*record)}
		rec := x.add(3, []byte(v.Entry))
		if rec.err != nil {
			t.Fatal(rec.err)
		}
		seen[rec.Kind] = true
		var said strings.Builder
		s := rec.sayingSection()
		for _, f := range s.Items[0].Fields {
			said.WriteString(f.Name + "\n" + f.Value + "\n")
		}
		said.WriteString(s.Items[0].Record + s.Items[0].Time)
		for _, q := range rec.says().quotes {
			said.WriteString(q.Name + "\n" + q.Commit + "\n" + q.Media + "\n")
		}
		links := rec.links()
		for _, it := range links.Items {
			said.WriteString(it.Says + "\n" + it.Record + "\n")
		}
		var members map[string]any
		if err := json.Unmarshal([]byte(v.Payload), &members); err != nil {
			t.Fatal(err)
		}
		for _, envelope := range []string{"v", "origin", "kind", "registry", "ext"} {
			delete(members, envelope)
		}
		each(members, "", func(path, value string) {
			if !strings.Contains(said.String(), value) {
				t.Errorf("%s: %s is not told: %q is missing in\n%s", v.Name, path, value, said.String())
			}
		})
	}
	for _, k := range evidence.Kinds() {
		if !seen[k] {
			t.Errorf("no vector of the kind %s", k)
		}
	}
}

// each calls f for each value within v that is no size and no part of a key.
func each(v any, path string, f func(path, value string)) {
	switch v := v.(type) {
	case map[string]any:
		for name, x := range v {
			switch name {
			case "size", "kty", "crv", "x":
				continue
			case "params", "refs":
				continue // told as they stand
			}
			if amounts, ok := x.(map[string]any); ok && (name == "cost" || name == "budget" || name == "estimate") {
				for unit := range amounts {
					f(path+"/"+name, unit)
				}
			}
			each(x, path+"/"+name, f)
		}
	case []any:
		for _, x := range v {
			each(x, path, f)
		}
	case string:
		f(path, v)
	case float64:
		b, _ := json.Marshal(v)
		f(path, string(b))
	}
}

// One explanation of each kind, in a run in which everything happens.
func TestExplainEveryKind(t *testing.T) {
	s := rich(t, func(name string) string { return "It is " + name + "." })
	x := s.read(t)
	var out bytes.Buffer
	seen := make(map[evidence.Kind]bool)
	for _, y := range x.all() {
		for _, rec := range y.records {
			if rec.Record == nil || seen[rec.Kind] {
				continue
			}
			seen[rec.Kind] = true
			p, err := Explain(x, rec.id.String())
			if err != nil {
				t.Fatal(err)
			}
			text := forms.Text{W: &out, Width: 100}
			if err := text.Page(p); err != nil {
				t.Fatal(err)
			}
			out.WriteString("\n" + strings.Repeat("=", 100) + "\n")
		}
	}
	for _, k := range evidence.Kinds() {
		if !seen[k] {
			t.Errorf("the run has no %s", k)
		}
	}
	golden(t, "explain.txt", out.Bytes())
}

// What terminals obey reaches none, wherever it stands.
func TestRow60ExplainedEscaped(t *testing.T) {
	x := rich(t, func(string) string { return evil }).read(t)
	quoted := 0
	for _, y := range x.all() {
		for _, rec := range y.records {
			p, err := Explain(x, rec.id.String())
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			text := forms.Text{W: &out, Width: 80}
			if err := text.Page(p); err != nil {
				t.Fatal(err)
			}
			if err := p.JSON(&out); err != nil {
				t.Fatal(err)
			}
			if strings.ContainsAny(out.String(), "\x1b\u202e\U000e0041\r") {
				t.Errorf("%s: %q", rec.id, out.String())
			}
			quoted += strings.Count(out.String(), "evil.example")
		}
	}
	if quoted < 50 {
		t.Errorf("the text was shown only %d times", quoted)
	}
}

func TestExplainNames(t *testing.T) {
	s := rich(t, func(name string) string { return name })
	x := s.read(t)
	whole := s.run.Opened.ID.String()
	p, err := Explain(x, whole[:9])
	if err != nil || p.Sections[0].Items[0].Record != whole {
		t.Errorf("a prefix: %v", err)
	}
	for _, wrong := range []string{"", "ev_", "ev_!", "x"} {
		if _, err := Explain(x, wrong); !errors.Is(err, ErrRecord) {
			t.Errorf("%q: expected ErrRecord, found %v", wrong, err)
		}
	}
	// The first run lies two bundles deep, and is found all the same.
	inner := x.all()[2]
	if inner.origin != "first.example/log" {
		t.Fatalf("expected the first ledger, found %s", inner.origin)
	}
	deep := inner.records[len(inner.records)-1]
	if p, err = Explain(x, deep.id.String()); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(p.Sections, func(s report.Section) bool { return s.Name == "proven" })
	lies := 0
	for _, f := range p.Sections[i].Items[0].Fields {
		if f.Name == "lies in" {
			lies++
		}
	}
	if lies != 2 {
		t.Errorf("expected to be told of two bundles around it, found %d", lies)
	}
}
