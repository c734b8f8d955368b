package forms

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"ledgerd/internal/report"
)

// SARIF writes reports as one SARIF 2.1.0 log: a run of the tool verify, a rule
// for each rule, a result for each finding. What is broken is an error, what is
// not decidable a warning.
func SARIF(w io.Writer, descriptions map[string]string, reports ...*report.Report) error {
	log := sarif.NewReport()
	run := sarif.NewRun().WithTool(sarif.NewTool().WithDriver(sarif.NewToolComponent().WithName("verify")))
	run.WithColumnKind("unicodeCodePoints")
	for _, r := range reports {
		for _, rule := range r.Rules {
			run.AddRule(rule.Rule).WithDescription(descriptions[rule.Rule])
		}
	}
	for _, r := range reports {
		where := sarif.NewSimpleArtifactLocation(uriOf(r.Input))
		if r.Error != "" {
			run.AddRule("malformed").WithDescription(descriptions["malformed"])
			addResult(run, "malformed", report.Broken, report.Visible(r.Summary+": "+r.Error), where, nil)
		}
		for _, rule := range r.Rules {
			for _, f := range rule.Findings {
				addResult(run, rule.Rule, f.Status, sentence(f), where, f.Records)
			}
			if len(rule.Findings) == 0 && (rule.Status == report.Broken || rule.Status == report.NotDecided) {
				addResult(run, rule.Rule, rule.Status, report.Visible(rule.Says()), where, nil)
			}
		}
	}
	log.AddRun(run)
	var b bytes.Buffer
	if err := log.PrettyWrite(&b); err != nil {
		return fmt.Errorf("report: SARIF: %w", err)
	}
	b.WriteByte('\n')
	_, err := w.Write(report.SafeJSON(b.Bytes()))
	return err
}

func addResult(run *sarif.Run, rule string, s report.Status, text string, where *sarif.ArtifactLocation, records []report.Record) {
	level := "error"
	if s == report.NotDecided {
		level = "warning"
	}
	loc := sarif.NewLocationWithPhysicalLocation(sarif.NewPhysicalLocation().WithArtifactLocation(where))
	loc.WithID(-1)
	for _, rec := range records {
		loc.AddLogicalLocation(sarif.NewLogicalLocation().WithName(rec.ID).
			WithFullyQualifiedName(rec.String()).WithKind("element").WithIndex(-1).WithParentIndex(-1))
	}
	run.CreateResultForRule(rule).WithLevel(level).WithKind("fail").
		WithMessage(sarif.NewTextMessage(text)).AddLocation(loc)
}

func sentence(f report.Finding) string {
	var parts []string
	for _, p := range []struct{ name, value string }{{"expected ", f.Expected}, {"found ", f.Found}, {"decided by ", f.Decides}} {
		if p.value != "" {
			parts = append(parts, p.name+report.Visible(p.value))
		}
	}
	if len(parts) == 0 {
		return report.Visible(f.Reason)
	}
	return report.Visible(f.Reason) + ": " + strings.Join(parts, ", ")
}

// uriOf returns a relative URI reference, as CI systems want it, or the URL.
func uriOf(input string) string {
	if input == "-" {
		return "stdin"
	}
	if u, err := url.Parse(input); err == nil && u.Scheme != "" && u.Host != "" {
		return u.String()
	}
	return (&url.URL{Path: filepath.ToSlash(filepath.Clean(input))}).String()
}
