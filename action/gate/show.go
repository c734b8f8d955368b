package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ledgerd/internal/report"
	"ledgerd/internal/report/forms"
)

const (
	// maxSummary is how much of the text a step's summary shows. GitHub takes 1 MiB
	// of a step, and shows nothing of what has more.
	maxSummary = 200 << 10
	// maxAnnotations is how many of one kind GitHub shows of a step.
	maxAnnotations = 10
)

// outcome is the answer in a word: what the gate's exit code means.
func (a *answer) outcome() string {
	switch a.exit {
	case exitVerified:
		return string(report.Verified)
	case exitWrong:
		return string(report.Wrong)
	case exitUndecidable:
		return string(report.Undecidable)
	case exitMalformed:
		return string(report.Malformed)
	}
	return "error"
}

func (a *answer) verdict() string {
	what := "does not pass"
	if a.passes {
		what = "passes"
	}
	return fmt.Sprintf("The gate %s: %s (exit code %d of verify).", what, a.outcome(), a.exit)
}

// show shows the answer, to everybody who has a place for it.
func show(env func(string) string, out io.Writer, dir string, a *answer) error {
	var text bytes.Buffer
	for _, r := range a.reports {
		if err := (&forms.Text{W: &text}).Write(r); err != nil {
			return err
		}
		text.WriteByte('\n')
	}
	for _, n := range a.notes {
		fmt.Fprintf(&text, "%s\n", report.Visible(n))
	}
	onGitHub := env("GITHUB_ACTIONS") == "true"
	if onGitHub {
		// A line of a job's log may be a command to the runner. Until somebody says
		// this word again, none is.
		word := rand.Text()
		fmt.Fprintf(out, "::stop-commands::%s\n%s\n::%s::\n", word, text.Bytes(), word)
		a.annotate(out)
	} else if _, err := out.Write(text.Bytes()); err != nil {
		return err
	}
	fmt.Fprintln(out, a.verdict())
	var errs []error
	if dir != "" {
		errs = append(errs, a.files(dir))
	}
	if name := env("GITHUB_STEP_SUMMARY"); onGitHub && name != "" {
		errs = append(errs, appendTo(name, a.summary(text.String())))
	}
	if name := env("GITHUB_OUTPUT"); onGitHub && name != "" {
		var lines strings.Builder
		fmt.Fprintf(&lines, "outcome=%s\nexit-code=%d\n", a.outcome(), a.exit)
		for _, f := range []struct{ name, file string }{{"sarif", "verify.sarif"}, {"junit", "verify.xml"}, {"report", "verify.jsonl"}} {
			path := filepath.Join(dir, f.file)
			if dir == "" || strings.ContainsAny(path, "\r\n") { // an output of another name
				path = ""
			}
			fmt.Fprintf(&lines, "%s=%s\n", f.name, path)
		}
		errs = append(errs, appendTo(name, lines.String()))
	}
	return errors.Join(errs...)
}

// annotate writes workflow commands: one for each finding, and for what stands in
// no report.
func (a *answer) annotate(out io.Writer) {
	count := map[string]int{}
	add := func(level, title string, lines ...string) {
		for i := range lines {
			lines[i] = report.Visible(lines[i])
		}
		if count[level]++; count[level] <= maxAnnotations {
			fmt.Fprintf(out, "::%s title=%s::%s\n", level, property(report.Visible(title)), data(strings.Join(lines, "\n")))
		}
	}
	for _, r := range a.reports {
		if r.Error != "" {
			add("error", "verify: malformed", fmt.Sprintf("%s: %s", r.Input, r.Error))
		}
		for _, rule := range r.Rules {
			level := map[report.Status]string{report.Broken: "error", report.NotDecided: "warning"}[rule.Status]
			if level == "" {
				continue
			}
			if len(rule.Findings) == 0 {
				add(level, "verify: "+rule.Rule, fmt.Sprintf("%s: %s %s", r.Input, rule.Status, rule.Note))
			}
			for _, f := range rule.Findings {
				lines := []string{fmt.Sprintf("%s: %s", r.Input, f.Reason)}
				for _, part := range []struct{ name, value string }{{"expected ", f.Expected}, {"found ", f.Found}, {"decided by ", f.Decides}} {
					if part.value != "" {
						lines = append(lines, part.name+part.value)
					}
				}
				add(level, "verify: "+rule.Rule, lines...)
			}
		}
	}
	for _, n := range a.notes {
		add("error", "verify", n)
	}
}

// data escapes the text of a workflow command: what would end it, or begin another.
func data(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

// property escapes a property of a workflow command, which a colon or comma ends.
func property(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(data(s))
}

// summary is the page of the step. In <pre> nothing is Markdown, and with what HTML
// obeys escaped nothing is HTML.
func (a *answer) summary(text string) string {
	if len(text) > maxSummary {
		text = strings.ToValidUTF8(text[:maxSummary], "") + "\n… (the rest is in the job's log)"
	}
	return fmt.Sprintf("### Evidence\n\n%s\n\n<pre>\n%s</pre>\n\n", a.verdict(), html.EscapeString(text))
}

// files writes the reports for other programs. Where verify gave none there is
// still one, which says why: who reads it must not take nothing for no finding.
func (a *answer) files(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	reports := a.reports
	if !a.passes && len(a.notes) > 0 {
		reports = append(reports[:len(reports):len(reports)], &report.Report{
			Version: report.Version, Input: "gate", Form: "file", Outcome: report.Malformed, Summary: "no answer", Error: strings.Join(a.notes, "; "),
		})
	}
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{"verify.jsonl", func(w io.Writer) error {
			for _, r := range a.reports {
				if err := report.JSON(w, r); err != nil {
					return err
				}
			}
			return nil
		}},
		{"verify.sarif", func(w io.Writer) error { return forms.SARIF(w, describe(reports), reports...) }},
		{"verify.xml", func(w io.Writer) error { return forms.JUnit(w, reports...) }},
	} {
		var b bytes.Buffer
		if err := f.write(&b); err != nil {
			return err
		}
		// What stands there may be a link that somebody put in the workspace.
		path := filepath.Join(dir, f.name)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		_, err = out.Write(b.Bytes())
		if err := errors.Join(err, out.Close()); err != nil {
			return err
		}
	}
	return nil
}

// describe says of each rule where it is described, as SARIF wants it said.
func describe(reports []*report.Report) map[string]string {
	about := map[string]string{"malformed": "The input is in the form that it means to have, and there was an answer."}
	for _, r := range reports {
		for _, rule := range r.Rules {
			about[rule.Rule] = "The rule " + rule.Rule + " of docs/rules.md holds."
		}
	}
	return about
}

func appendTo(name, text string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
