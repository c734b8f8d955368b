package answer

import (
	_ "embed"
	"html/template"
	"strings"

	"ledgerd/bundle"
	"ledgerd/internal/report"
)

// shown is what the template shows beside the answer.
type shown struct {
	*Answer
	Files   []told
	Trusted []*bundle.TrustedLedger
}

//go:embed answer.html
var text string

var page = template.Must(template.New("answer").Funcs(template.FuncMap{
	"visible": report.Visible,
	"word":    report.Outcome.Word,
	"class": func(o report.Outcome) string {
		if o == "" {
			return "none"
		}
		return string(o)
	},
	"join":    strings.Join,
	"group":   report.Group,
	"oneLine": report.OneLine,
	"count":   report.Count,
	"sign": func(s report.Status) string {
		return map[report.Status]string{report.Held: "✓", report.Broken: "✗", report.NotDecided: "?", report.NotApplicable: "–"}[s]
	},
	"status": func(s report.Status) string {
		return map[report.Status]string{report.Held: "held", report.Broken: "broken", report.NotDecided: "not decidable", report.NotApplicable: "not applicable"}[s]
	},
	// The template of package report escaped it: what looks like a heading is one,
	// and stands below that of its file.
	"story": func(t told) (template.HTML, error) {
		var b strings.Builder
		err := t.Story.Fragment(&b, t.Path)
		return template.HTML(strings.NewReplacer("<h2>", "<h4>", "</h2>", "</h4>").Replace(b.String())), err
	},
}).Parse(text))

// show makes the tree of an answer.
func (a *Answer) show(s *shown) *Answer {
	if a.Outcome != "" {
		a.Word = a.Outcome.Word()
	}
	s.Answer = a
	var b strings.Builder
	err := page.Execute(&b, s)
	if err == nil {
		a.Shown, err = parse(b.String())
	}
	if err != nil {
		panic(err) // the templates are constant, and text in them is visible and escaped
	}
	return a
}
