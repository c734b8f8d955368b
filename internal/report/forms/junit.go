package forms

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"ledgerd/internal/report"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Failure *junitMessage `xml:"failure"`
	Error   *junitMessage `xml:"error"`
	Skipped *junitMessage `xml:"skipped"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// JUnit writes reports as JUnit XML: a suite for each input, a test case for
// each rule. Broken is a failure; not decidable and malformed are errors, for
// nothing was proven; not applicable is skipped.
func JUnit(w io.Writer, reports ...*report.Report) error {
	all := junitSuites{Name: "verify"}
	for _, r := range reports {
		s := junitSuite{Name: report.Visible(r.Input)}
		for _, rule := range r.Rules {
			s.add(ruleCase(r, rule))
		}
		if r.Error != "" || len(r.Rules) == 0 {
			s.add(junitCase{Name: "form", Class: report.Visible(r.Input), Error: &junitMessage{
				Message: report.Visible(r.Summary), Type: string(r.Outcome), Text: report.Visible(r.Error),
			}})
		}
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
		all.Skipped += s.Skipped
		all.Suites = append(all.Suites, s)
	}
	b, err := xml.MarshalIndent(&all, "", "  ")
	if err != nil {
		return fmt.Errorf("report: JUnit: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, b)
	return err
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

func ruleCase(r *report.Report, rule report.Rule) junitCase {
	c := junitCase{Name: rule.Rule, Class: report.Visible(r.Input)}
	var text strings.Builder
	for _, f := range rule.Findings {
		text.WriteString(sentence(f))
		for _, rec := range f.Records {
			fmt.Fprintf(&text, "\n  %s", report.Visible(rec.String()))
		}
		text.WriteByte('\n')
	}
	m := &junitMessage{Message: report.Visible(rule.Says()), Type: string(rule.Status), Text: text.String()}
	switch rule.Status {
	case report.Broken:
		c.Failure = m
	case report.NotDecided:
		c.Error = m
	case report.NotApplicable:
		c.Skipped = m
	}
	return c
}
