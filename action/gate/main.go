// Command gate is what the GitHub Action and the GitLab template run: it asks
// verify about files or a log, shows the answer where the CI system shows
// answers, and ends as the gate has to end.
//
// It is a program and no shell script, for everything that it is given may be
// hostile: names of files, what records say, what a log answers. It gets its
// inputs from the environment, so that no shell and no template ever reads them:
//
//	GATE_FILES     bundles and receipts, one a line: a file, or a pattern
//	GATE_LOG       the URL or directory of a log
//	GATE_TRUST     trust files, one a line
//	GATE_SUBJECT   what the files have to be about; "none" waives it
//	GATE_CONTRACT  the contract that they have to meet; "none" waives it
//	GATE_RUN       the run that they have to be about, if one is asked for
//	GATE_FAIL_ON   "undecidable" (default) or "wrong"
//	GATE_STATE     for a log: the file that keeps its tree head
//	GATE_TOKEN     for a log that is not public: its token
//	GATE_VERIFY    the verify to ask
//	GATE_OUT       the directory for verify.jsonl, verify.sarif and verify.xml
//
// On GitHub it writes annotations, the step's summary and its outputs besides.
//
// It adds three demands to verify's. It has to be told who is trusted, what the
// evidence has to be about and which contract it has to meet, or be told so in
// words that it need not. Where a contract is asked for, a claim has to stand in
// every file, and be supported: evidence that nobody claimed anything from passes
// no gate. And with GATE_FAIL_ON=wrong what is undecidable passes only where
// payloads were withheld: never where nobody trusted signed it, or where it is
// about something else.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"ledgerd/internal/report"
)

// verify's exit codes (docs/verify.md), which are the gate's too.
const (
	exitVerified    = 0
	exitWrong       = 1
	exitUndecidable = 2
	exitUsage       = 64
	exitMalformed   = 65
	exitInternal    = 70
)

const none = "none" // waives a demand

func main() {
	os.Exit(run(os.Getenv, os.Stdout))
}

// An answer is what the gate says in the end.
type answer struct {
	exit    int // of verify, the worst of all
	passes  bool
	reports []*report.Report
	notes   []string // what stands in no report: diagnostics, and the gate's own demands
}

func run(env func(string) string, out io.Writer) int {
	q, err := ask(env)
	var a *answer
	if err != nil {
		a = &answer{exit: exitUsage, notes: []string{err.Error()}}
		var missing missingError
		if errors.As(err, &missing) {
			a.exit = exitUndecidable
		}
	} else {
		a = decide(q)
	}
	if err := show(env, out, cmp.Or(q.out, env("GATE_OUT")), a); err != nil {
		fmt.Fprintf(out, "gate: %s\n", report.Visible(err.Error()))
		return cmp.Or(a.exit, exitInternal)
	}
	if a.passes {
		return exitVerified
	}
	return cmp.Or(a.exit, exitUndecidable)
}

// A question is what the gate was told, in its form.
type question struct {
	verify                  string
	trust, files            []string
	subject, contract, runs string // "": waived
	log, state, token       string
	wrongOnly               bool
	out                     string
}

// missingError says that nothing can be decided: evidence or trust is not there.
type missingError struct{ error }

func ask(env func(string) string) (question, error) {
	q := question{
		verify: env("GATE_VERIFY"), runs: env("GATE_RUN"), log: env("GATE_LOG"), state: env("GATE_STATE"), token: env("GATE_TOKEN"), out: env("GATE_OUT"),
	}
	if q.verify == "" || q.out == "" {
		return q, errors.New("expected GATE_VERIFY and GATE_OUT, which verify.sh sets")
	}
	switch failOn := env("GATE_FAIL_ON"); failOn {
	case "", "undecidable":
	case "wrong":
		q.wrongOnly = true
	default:
		return q, fmt.Errorf("fail-on: expected undecidable or wrong, found %q", failOn)
	}
	q.trust = lines(env("GATE_TRUST"))
	if len(q.trust) == 0 {
		return q, missingError{errors.New("trust: expected a trust file, without which nobody's word counts")}
	}
	names := lines(env("GATE_FILES"))
	if len(names) == 0 && q.log == "" {
		return q, missingError{errors.New("expected files or a log: there is no evidence")}
	}
	for _, name := range names {
		found, err := match(name)
		if err != nil {
			return q, err
		}
		q.files = append(q.files, found...)
	}
	var err error
	if q.subject, err = demanded("subject", env("GATE_SUBJECT")); err != nil {
		return q, err
	}
	if q.contract, err = demanded("contract", env("GATE_CONTRACT")); err != nil {
		return q, err
	}
	if len(q.files) == 0 && q.subject+q.contract+q.runs != "" {
		return q, errors.New("a log alone is about no subject and no run, and has no payloads to meet a contract with: expected files, or subject and contract none")
	}
	return q, nil
}

// lines returns the lines that are not blank.
func lines(s string) []string {
	var all []string
	for line := range strings.Lines(s) {
		if line = strings.TrimRight(line, "\r\n"); strings.TrimSpace(line) != "" {
			all = append(all, line)
		}
	}
	return all
}

// match returns the file that a line names, or those that match it as a pattern.
func match(name string) ([]string, error) {
	if _, err := os.Lstat(name); err == nil {
		return []string{name}, nil
	}
	found, err := filepath.Glob(name)
	if err != nil || len(found) == 0 {
		return nil, missingError{fmt.Errorf("files: expected %q to be there: there is no evidence", name)}
	}
	return found, nil
}

func demanded(what, value string) (string, error) {
	switch value {
	case "":
		return "", fmt.Errorf("%s: expected one: what it is not held to, evidence says nothing about (%q waives it)", what, none)
	case none:
		return "", nil
	}
	return value, nil
}

// decide asks verify, once about all files and once about the log, and takes the
// worse of the two answers.
func decide(q question) *answer {
	a := &answer{passes: true}
	if len(q.files) > 0 {
		args := []string{"--subject", q.subject, "--contract", q.contract, "--run", q.runs}
		a.add(q, true, args, q.files)
	}
	if q.log != "" {
		a.add(q, false, []string{"--state", q.state}, []string{q.log})
	}
	return a
}

// add asks verify once. Flags without a value are left out.
func (a *answer) add(q question, files bool, flags, inputs []string) {
	var args []string
	if !files {
		args = append(args, "log")
	}
	args = append(args, "--output=json")
	for _, name := range q.trust {
		args = append(args, "--trust="+name)
	}
	for i := 0; i < len(flags); i += 2 {
		if flags[i+1] != "" {
			args = append(args, flags[i]+"="+flags[i+1])
		}
	}
	args = append(args, "--")
	for _, name := range inputs {
		if name == "-" { // a file, and not standard input
			name = "./-"
		}
		args = append(args, name)
	}
	var out, diagnostics bytes.Buffer
	cmd := exec.Command(q.verify, args...)
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	for _, e := range os.Environ() { // nothing answers but what stands here
		if !strings.HasPrefix(e, "LEDGERD_") && !strings.HasPrefix(e, "GATE_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	if !files && q.token != "" {
		cmd.Env = append(cmd.Env, "LEDGERD_TOKEN="+q.token)
	}
	exit := exitVerified
	if err := cmd.Run(); err != nil {
		exit = exitInternal
		if cmd.ProcessState == nil {
			a.notes = append(a.notes, err.Error())
		} else if code := cmd.ProcessState.ExitCode(); code > 0 {
			exit = code
		}
	}
	a.notes = append(a.notes, lines(diagnostics.String())...)
	reports, err := parse(out.Bytes())
	if err != nil {
		a.notes = append(a.notes, err.Error())
		exit = exitInternal
	}
	a.reports = append(a.reports, reports...)
	a.judge(q, exit, files, len(inputs), reports)
}

func parse(text []byte) ([]*report.Report, error) {
	var all []*report.Report
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		r := new(report.Report)
		if err := d.Decode(r); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return all, fmt.Errorf("verify's report: %w", err)
		}
		if r.Version != report.Version {
			return all, fmt.Errorf("verify's report: expected version %s, found %q", report.Version, r.Version)
		}
		all = append(all, r)
	}
}

// judge says whether an answer of verify's passes.
func (a *answer) judge(q question, exit int, files bool, inputs int, reports []*report.Report) {
	passes := false
	switch exit {
	case exitVerified:
		passes = true
		for _, r := range reports {
			passes = passes && r.Outcome == report.Verified
		}
		if !passes || len(reports) != inputs {
			a.notes = append(a.notes, fmt.Sprintf("verify ended with 0, and its %d reports on %d inputs do not all say so", len(reports), inputs))
			passes, exit = false, exitInternal
		} else if files && !a.claimed(q, reports) {
			passes, exit = false, exitUndecidable
		}
	case exitUndecidable:
		passes = q.wrongOnly && files && len(reports) == inputs && a.claimed(q, reports)
		for _, r := range reports {
			passes = passes && (r.Outcome == report.Verified || onlyWithheld(r))
		}
	}
	a.passes = a.passes && passes
	a.exit = worse(a.exit, exit)
}

// claimed says whether every file that is verified has a claim, where a contract is
// asked for.
func (a *answer) claimed(q question, reports []*report.Report) bool {
	all := true
	for _, r := range reports {
		if q.contract != "" && r.Outcome == report.Verified && !claimed(r) {
			a.notes = append(a.notes, fmt.Sprintf("%s: expected a claim that is supported, found none: nobody says that it is done", r.Input))
			all = false
		}
	}
	return all
}

// claimed says whether the run made a claim, and every claim of it is supported.
func claimed(r *report.Report) bool {
	found := false
	for _, c := range r.Claims {
		if c.Claim == "" {
			continue
		}
		if c.Result != "supported" {
			return false
		}
		found = found || c.Run == r.About
	}
	return found
}

// onlyWithheld says whether nothing is open but what payloads decide, of evidence
// that those who are trusted signed, and that is about what was asked for.
func onlyWithheld(r *report.Report) bool {
	if r.Outcome != report.Undecidable || r.Scope == nil || r.Scope.Withheld+r.Scope.Erased == 0 {
		return false
	}
	claims := 0
	for _, c := range r.Claims {
		if c.Result != "supported" && c.Result != "undisclosed" {
			return false
		}
		if c.Claim != "" {
			claims++
		}
	}
	if claims == 0 {
		return false
	}
	for _, rule := range r.Rules {
		if rule.Status != report.NotDecided {
			continue
		}
		switch rule.Rule {
		case "claim", "contract", "verdict", "disclosure":
		case "about":
			for _, f := range rule.Findings {
				if f.Reason != "not_about_this_contract" {
					return false
				}
			}
		default:
			return false
		}
	}
	return true
}

// worse returns the one of two exit codes that decides.
func worse(a, b int) int {
	for _, code := range []int{exitWrong, exitInternal, exitMalformed, exitUsage, exitUndecidable} {
		if a == code || b == code {
			return code
		}
	}
	return max(a, b)
}
