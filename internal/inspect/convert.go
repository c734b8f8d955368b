package inspect

import (
	"fmt"
	"strings"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/internal/report"
)

// aboutRule is the name under which reports list what the auditor asked for.
const aboutRule = "about"

// Convert turns what an audit found into a report.
func Convert(input, form string, a *audit.Report) *report.Report {
	r := &report.Report{Version: report.Version, Input: input, Form: form, Outcome: outcome(a.Status()), Origin: a.Scope.Origin}
	if a.Scope.About != nil {
		r.About = a.Scope.About.String()
	}
	r.Scope = scope(&a.Scope)
	if len(a.Asked) > 0 {
		r.Rules = append(r.Rules, asked(a.Asked))
	}
	for i := range a.Rules {
		r.Rules = append(r.Rules, rule(&a.Rules[i]))
	}
	for _, v := range a.Verdicts {
		r.Claims = append(r.Claims, claim(v))
	}
	for _, g := range a.Given {
		r.Given = append(r.Given, given(g))
	}
	for _, pair := range a.Equivocation {
		r.Equivocation = append(r.Equivocation, [2]string{string(pair[0]), string(pair[1])})
	}
	r.Summary = summary(r)
	return r
}

// given converts what an acceptance rests on.
func given(g *audit.Given) report.Given {
	out := report.Given{Acceptance: g.Acceptance.String()}
	if g.Report != nil {
		out.Report = Convert("", "bundle", g.Report)
	} else {
		out.Report = &report.Report{Version: report.Version, Form: "bundle", Outcome: report.Malformed, Summary: "bundle of " + g.Body.Origin, Error: g.Err.Error()}
	}
	return out
}

func outcome(s audit.Status) report.Outcome {
	switch s {
	case audit.Broken:
		return report.Wrong
	case audit.Undecidable:
		return report.Undecidable
	}
	return report.Verified
}

func scope(s *audit.Scope) *report.Scope {
	out := &report.Scope{
		Size: s.Size, Witnesses: s.Witnesses, Heads: s.Heads, Records: s.Records, Since: s.Since, Runs: s.Runs, Open: s.Open, InDoubt: s.InDoubt,
		Disclosed: s.Disclosed, Withheld: s.Withheld, Erased: s.Erased,
	}
	if s.Size > 0 {
		out.Root = s.Root.String()
	}
	if s.From != 0 {
		out.From, out.To = s.From.String(), s.To.String()
	}
	for _, d := range s.WithheldBy {
		out.WithheldCommits = append(out.WithheldCommits, d.String())
	}
	for _, d := range s.ErasedBy {
		out.ErasedCommits = append(out.ErasedCommits, d.String())
	}
	return out
}

func asked(answers []audit.Answer) report.Rule {
	out := report.Rule{Rule: aboutRule, Status: report.Held}
	for _, a := range answers {
		if a.Status == audit.Held {
			continue
		}
		f := report.Finding{Status: report.Status(a.Status), Reason: "not_about_this_" + a.Asked, Expected: a.Expected, Found: a.Found}
		if a.Asked == "about" {
			f.Reason = "not_what_it_says"
		}
		if a.Status == audit.Undecidable {
			f.Decides = "a bundle that discloses it"
			if out.Status == report.Held {
				out.Status = report.NotDecided
			}
		} else {
			out.Status = report.Broken
		}
		out.Findings = append(out.Findings, f)
	}
	return out
}

func rule(r *audit.RuleResult) report.Rule {
	out := report.Rule{Rule: string(r.Rule), Status: report.Status(r.Status), Note: r.Note, AsEnforced: r.AsEnforced, Omitted: r.Omitted}
	for i := range r.Findings {
		out.Findings = append(out.Findings, finding(&r.Findings[i]))
	}
	return out
}

func finding(f *audit.Finding) report.Finding {
	out := report.Finding{
		Status: report.Status(f.Status), Reason: string(f.Reason), Expected: f.Expected, Found: f.Found, Decides: f.Decides, Run: string(f.Run),
	}
	for i, id := range f.Records {
		rec := report.Record{ID: id.String()}
		if i < len(f.Indexes) {
			rec.Index = &f.Indexes[i]
		}
		out.Records = append(out.Records, rec)
	}
	return out
}

func claim(j audit.Judged) report.Claim {
	v := j.Verdict
	out := report.Claim{Run: string(j.Run), Result: string(v.Result)}
	if !v.Claim.IsZero() {
		out.Claim = v.Claim.String()
	}
	for _, b := range v.Bare {
		out.Bare = append(out.Bare, b.String())
	}
	decisions := make([]audit.Decision, 0, len(v.Assertions)+1)
	for _, a := range v.Assertions {
		decisions = append(decisions, a.Decision)
	}
	if v.Claim.IsZero() && v.Contract != nil {
		decisions = append(decisions, v.Contract.Decision)
	}
	for _, g := range v.Given {
		decisions = append(decisions, audit.Decision{Result: g.Result, Why: "what was handed to it: " + g.Why})
		out.RestsOn = append(out.RestsOn, report.Ground{Acceptance: g.Acceptance.String(), Result: string(g.Result), Why: g.Why})
	}
	var weakest evidence.Source
	for _, d := range decisions {
		if d.Result == v.Result && out.Why == "" {
			out.Why = d.Why
		}
		if d.Source != "" && (weakest == "" || d.Source.Strength() < weakest.Strength()) {
			weakest = d.Source
		}
	}
	out.Source = string(weakest)
	return out
}

// summary is the answer in one sentence.
func summary(r *report.Report) string {
	what := r.Form
	if r.About != "" {
		what += " about " + r.About
	}
	if r.Origin != "" {
		what += " of " + r.Origin
	}
	named := func(s report.Status) string {
		var names []string
		for _, rule := range r.Rules {
			if rule.Status == s {
				names = append(names, rule.Rule)
			}
		}
		if len(names) >= len(audit.Rules()) {
			return "every rule"
		}
		return strings.Join(names, ", ")
	}
	switch r.Outcome {
	case report.Verified:
		return fmt.Sprintf("%s, %s", what, report.Count(int(r.Scope.Records), "record"))
	case report.Wrong:
		return fmt.Sprintf("%s: %s", what, named(report.Broken))
	}
	return fmt.Sprintf("%s: %s", what, named(report.NotDecided))
}
