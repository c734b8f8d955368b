package forms

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"charm.land/lipgloss/v2"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"ledgerd/internal/report"
)

var seven = uint64(7)

const evil = "\x1b]8;;https://evil\x1b\\safe\u202e\U000e0041\u009b"

func sampleReport() *report.Report {
	return &report.Report{
		Version: report.Version, Input: "run.bundle", Form: "bundle", Outcome: report.Wrong, Summary: "authorized is broken" + evil,
		Origin: "ledger.example/support", About: "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11",
		Scope:        &report.Scope{Size: 1842, Root: "zvW7lYMbvX9uRsnZYyYpQGn0ETUKDvi2pUtqdQpjDPM=", Witnesses: []string{"w1"}, Records: 12, Runs: 1},
		Equivocation: [][2]string{{"one\nnote" + evil, "another"}},
		Rules: []report.Rule{
			{Rule: "signature", Status: report.Held},
			{Rule: "authorized", Status: report.Broken, Findings: []report.Finding{{
				Status: report.Broken, Reason: "denied", Expected: "effect allow", Found: "effect deny" + evil,
				Records: []report.Record{{ID: "ev_AAAA", Index: &seven}},
			}}},
			{Rule: "contract", Status: report.NotDecided, Findings: []report.Finding{{Status: report.NotDecided, Reason: "missing", Decides: "the payload of the contract" + evil}}},
			{Rule: "handoff", Status: report.NotApplicable},
			{Rule: "chain", Status: report.Held, AsEnforced: true},
		},
		Claims: []report.Claim{{Run: "run_0197f3c2-7d1e-7a60-8b1c-5a2f4e9d0c11", Claim: "ev_BBBB", Result: "unsupported", Source: "imported"}},
	}
}

func TestTextAnswersFirst(t *testing.T) {
	var b bytes.Buffer
	if err := (&Text{W: &b, Width: 60}).Write(sampleReport()); err != nil {
		t.Fatal(err)
	}
	out := b.String()
	first, _, _ := strings.Cut(out, "\n")
	if !strings.HasPrefix(first, "PROVEN WRONG  authorized is broken") {
		t.Errorf("the first line is %q", first)
	}
	for _, want := range []string{"✓ held", "✗ broken", "? not decidable", "- not applicable", "as the operator enforced it", "deny\\u{1b}", "ev_AAAA (index 7)", "decided by", "cosigned by"} {
		if !strings.Contains(out, want) {
			t.Errorf("expected %q in\n%s", want, out)
		}
	}
	for _, line := range strings.Split(out, "\n")[1:] {
		if lipgloss.Width(line) > 60 {
			t.Errorf("wider than 60 columns: %q", line)
		}
	}
	if i := strings.IndexFunc(out, func(r rune) bool { return r < 0x20 && r != '\n' || r == 0x9b || r == 0x202e || r > 0xe0000 }); i >= 0 {
		t.Errorf("row 60: %q reaches the terminal", out[i:min(i+10, len(out))])
	}
	if b.Reset(); (&Text{W: &b, Quiet: true}).Write(sampleReport()) != nil || strings.Count(b.String(), "\n") != 1 {
		t.Errorf("quiet is not one line: %q", b.String())
	}
}

// Colors are all that is added to what is there without them.
func TestTextColors(t *testing.T) {
	var plain, color bytes.Buffer
	(&Text{W: &plain}).Write(sampleReport())
	(&Text{W: &color, Color: true}).Write(sampleReport())
	if !strings.Contains(color.String(), "\x1b[") {
		t.Error("expected colors")
	}
	if strings.Contains(plain.String(), "\x1b") {
		t.Error("expected no escape sequence without colors")
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := report.JSON(&b, sampleReport()); err != nil {
		t.Fatal(err)
	}
	if strings.Count(b.String(), "\n") != 1 || strings.ContainsAny(b.String(), "\x1b\u202e\u009b\U000e0041") {
		t.Errorf("row 60: %q", b.String())
	}
	var back report.Report
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back.Summary != sampleReport().Summary {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestSARIFFollowsItsSchema(t *testing.T) {
	var b bytes.Buffer
	broken := &report.Report{Input: "-", Form: "bundle", Outcome: report.Malformed, Summary: "malformed", Error: "line 3" + evil}
	if err := SARIF(&b, map[string]string{"authorized": "what it is"}, sampleReport(), broken); err != nil {
		t.Fatal(err)
	}
	log, err := sarif.FromBytes(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Validate(); err != nil {
		t.Errorf("%v\n%s", err, b.String())
	}
	results := log.Runs[0].Results
	if len(results) != 3 {
		t.Fatalf("expected the broken, the undecidable and the malformed, found %d", len(results))
	}
	if r := results[0]; *r.RuleID != "authorized" || r.Level != "error" || !strings.Contains(*r.Message.Text, "effect deny") {
		t.Errorf("%+v", r)
	}
	if r := results[1]; *r.RuleID != "contract" || r.Level != "warning" {
		t.Errorf("%+v", r)
	}
	if strings.ContainsAny(b.String(), "\x1b\u202e\u009b\U000e0041") {
		t.Errorf("row 60: %q", b.String())
	}
	for _, r := range results { // what a page shows once it has read the JSON
		if strings.ContainsAny(*r.Message.Text, "\x1b\u202e\u009b\U000e0041") {
			t.Errorf("row 60: %q", *r.Message.Text)
		}
	}
}

func TestJUnit(t *testing.T) {
	var b bytes.Buffer
	if err := JUnit(&b, sampleReport(), &report.Report{Input: "x\x1b", Outcome: report.Malformed, Summary: "malformed", Error: "cut off"}); err != nil {
		t.Fatal(err)
	}
	var s junitSuites
	if err := xml.Unmarshal(b.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Tests != 6 || s.Failures != 1 || s.Errors != 2 || s.Skipped != 1 || len(s.Suites) != 2 {
		t.Errorf("%+v", s)
	}
	d := xml.NewDecoder(&b)
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
