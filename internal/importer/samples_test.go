package importer_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/internal/bench"
	"ledgerd/internal/importer"
	"ledgerd/internal/logsource"
	"ledgerd/internal/raced"
)

var update = flag.Bool("update", false, "write the golden files of the samples anew")

// importFile imports a file in the format that its content has.
func importFile(t testing.TB, im *importer.Importer, file []byte, o importer.Options) ([]importer.Outcome, importer.Format) {
	t.Helper()
	in, format, err := importer.Open(bytes.NewReader(file), o)
	if err != nil {
		t.Fatal(err)
	}
	var all []importer.Outcome
	if err := im.ImportAll(t.Context(), in, func(o importer.Outcome) error {
		all = append(all, o)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all, format
}

// TestSamplesOfFormats: each sample becomes the records that its golden file says,
// which an auditor finds in order; what was kept is counted; and importing it a
// second time appends nothing.
func TestSamplesOfFormats(t *testing.T) {
	raced.Skip(t)
	for name, format := range map[string]importer.Format{
		"openai-responses.jsonl":        importer.FormatResponses,
		"anthropic.jsonl":               importer.FormatAnthropic,
		"claude-code.jsonl":             importer.FormatClaudeCode,
		"otlp.jsonl":                    importer.FormatOTLP,
		"otlp-one.json":                 importer.FormatOTLP,
		"unknown-openai-responses.json": importer.FormatResponses,
		"unknown-anthropic.json":        importer.FormatAnthropic,
		"unknown-claude-code.jsonl":     importer.FormatClaudeCode,
		"unknown-otlp.json":             importer.FormatOTLP,
	} {
		t.Run(name, func(t *testing.T) {
			file, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			im, s := newImporter(t, nil)
			outcomes, seen := importFile(t, im, file, importer.Options{})
			if seen != format {
				t.Errorf("want the format %s seen, found %s", format, seen)
			}
			golden(t, name, told(t, s, outcomes))
			checkAudited(t, s, outcomes)
			size := s.Head().Size
			again, _ := importFile(t, im, file, importer.Options{Format: format})
			for _, o := range again {
				if o.Appended != 0 {
					t.Errorf("imported again: %+v", o)
				}
			}
			if len(again) != len(outcomes) || s.Head().Size != size {
				t.Errorf("imported again: %d runs and %d records more", len(again), s.Head().Size-size)
			}
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: want\n%s\nfound\n%s", path, want, got)
	}
}

// told writes runs as people may read them: a line a record, with what it
// commits to.
func told(t *testing.T, s *bench.Scratch, outcomes []importer.Outcome) string {
	t.Helper()
	var b strings.Builder
	for _, o := range outcomes {
		fmt.Fprintf(&b, "run %s: %s, %d records\n", o.ID, o.Verdict, o.Records)
		for _, kind := range slices.Sorted(maps.Keys(o.Kept)) {
			fmt.Fprintf(&b, "  kept %d %s\n", o.Kept[kind], kind)
		}
		number := make(map[evidence.ID]int)
		for p, err := range s.Run(t.Context(), o.Run) {
			if err != nil {
				t.Fatal(err)
			}
			number[p.ID] = len(number)
			fmt.Fprintf(&b, "%3d %s %s", number[p.ID], p.Record.Kind, tellBody(t, s, p.Record, number))
			if p.Record.At != 0 {
				fmt.Fprintf(&b, " @%s", p.Record.At)
			}
			b.WriteByte('\n')
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func tellBody(t *testing.T, s *bench.Scratch, r *evidence.Record, number map[evidence.ID]int) string {
	content := func(c *evidence.Commitment) string {
		if c == nil {
			return "-"
		}
		p, err := s.Payload(t.Context(), c.Commit)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		data, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		mark := ""
		if c.Media == "application/json" {
			mark = "JSON "
		}
		return mark + fmt.Sprintf("%q", data)
	}
	switch b := r.Body.(type) {
	case *evidence.RunOpened:
		return fmt.Sprintf("source %s imported %q subject %q actor %s intent %s", b.Source, b.Imported, b.Subject, r.Actor, content(b.Intent))
	case *evidence.Context:
		return b.Sources[0].Name + " " + content(&b.Sources[0].Content)
	case *evidence.Decision:
		var from []string
		for _, id := range b.Context {
			from = append(from, fmt.Sprint(number[id]))
		}
		return fmt.Sprintf("by %s from [%s] %s", b.Model, strings.Join(from, " "), content(&b.Choice))
	case *evidence.Authorization:
		decided := "nothing"
		if !b.Decision.IsZero() {
			decided = fmt.Sprint(number[b.Decision])
		}
		return fmt.Sprintf("%s %s %s %v on %s source %s %s", b.Step, b.Action, b.Effect, b.Policies, decided, b.Source, content(&b.Input))
	case *evidence.Execution:
		return fmt.Sprintf("of %d %s %s source %s output %s error %s", number[b.Authorization], b.Status, b.Class, b.Source, content(b.Output), content(b.Error))
	case *evidence.Claim:
		return content(&b.Statements[0].Text)
	case *evidence.RunClosed:
		return string(b.End)
	}
	return ""
}

// checkAudited: the log verifies, and in the bundle of each run no rule is broken
// but those about what the agent claimed.
func checkAudited(t *testing.T, s *bench.Scratch, outcomes []importer.Outcome) {
	t.Helper()
	trust, _ := auditorsTrust(t, s)
	url, token := daemon(t, s)
	source, err := logsource.HTTP(url, logsource.Options{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	rep, _, err := audit.VerifyLog(t.Context(), source, trust, audit.Options{})
	if err != nil || rep.ExitCode() != audit.ExitVerified || rep.Scope.Records != s.Head().Size {
		t.Errorf("the log: %v, exit %d, %+v\n%s", err, rep.ExitCode(), rep.Scope, broken(rep))
	}
	for _, o := range outcomes {
		rep, err := audit.VerifyBundle(bytes.NewReader(export(t, s.Ledger, o.Run)), trust, audit.Options{Run: o.Run})
		if err != nil {
			t.Fatalf("%s: %v", o.ID, err)
		}
		for _, r := range rep.Rules {
			about := r.Rule == audit.RuleClaim || r.Rule == audit.RuleContract
			if r.Status == audit.Broken && !about || r.Status == audit.Undecidable && !(about && o.Verdict == evidence.NoContract) {
				t.Errorf("%s: the rule %s is %s\n%s", o.ID, r.Rule, r.Status, broken(rep))
			}
		}
	}
}
