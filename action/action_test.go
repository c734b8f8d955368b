package action

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ledgerd/audit/audittest"
	"ledgerd/bundle"
	"ledgerd/evidence"
)

const (
	today     = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
	yesterday = "da39a3ee5e6b4b0d3255bfef95601890afd80709"

	contract = `{"contract":"v1","task":"change","expects":[{"action":"run_tests","input":{"commit":{"$input":"/commit"}}}]}`
)

var scratch string // where the programs are, once they are built

// build builds verify and the gate, once, as verify.sh does.
var build = sync.OnceValues(func() (string, error) {
	// go test remembers a result as long as what the test itself has opened is as it
	// was, and knows nothing of what the go command opens.
	for _, pattern := range []string{"*", "gate/*", "../cmd/verify/*.go", "../internal/report/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		for _, name := range files {
			if _, err := os.Stat(name); err != nil {
				return "", err
			}
		}
	}
	var err error
	if scratch, err = os.MkdirTemp("", "ledgerd-action-"); err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-trimpath", "-o", scratch+"/", "../cmd/verify", "./gate").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return scratch, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if scratch != "" {
		os.RemoveAll(scratch)
	}
	os.Exit(code)
}

// A place is a workspace with evidence in it.
type place struct {
	*testing.T
	dir string
	w   *audittest.World
}

// needs skips a test where a program is not there; but never in CI.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err == nil {
			continue
		} else if os.Getenv("CI") != "" {
			t.Fatalf("it wants %s, which .ci/install should have seen to: %v", name, err)
		}
		t.Skipf("it wants %s, which is not here", name)
	}
}

func newPlace(t *testing.T) *place {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs programs")
	}
	needs(t, "bash")
	p := &place{T: t, dir: t.TempDir(), w: audittest.New(t)}
	trust, err := p.w.Trust().Marshal()
	p.must(err)
	p.write("trust.json", trust)
	stranger, err := audittest.Named(t, "stranger.example/log").Trust().Marshal()
	p.must(err)
	p.write("stranger.json", stranger)
	p.write("contract.json", []byte(contract))
	p.write("other.json", []byte(strings.Replace(contract, "run_tests", "look_at_it", 1)))
	return p
}

func (p *place) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *place) write(name string, data []byte) {
	p.Helper()
	p.must(os.WriteFile(filepath.Join(p.dir, name), data, 0o600))
}

// run opens a run about a commit, under the contract.
func (p *place) run(subject string) *audittest.Run {
	return p.w.Open(func(_ *evidence.Record, b *evidence.RunOpened) {
		b.Subject, b.Task = subject, "change"
		input := p.w.Commit(fmt.Sprintf(`{"commit":%q}`, subject))
		b.Input = &input
		b.Contract = &evidence.ContractRef{Document: p.w.Commit(contract), DeclaredBy: "operator"}
	})
}

// done writes a bundle of a run that did what the contract asks for.
func (p *place) done(name, subject string) *audittest.Run {
	r := p.run(subject)
	r.Do("run_tests", fmt.Sprintf(`{"commit":%q}`, subject))
	r.ClaimContract()
	r.Close(evidence.Completed)
	p.write(name, p.w.RunBundle(r.ID))
	return r
}

// A command is one that the runner was told by a line of the log.
type command struct{ name, properties, text string }

// A result is what a step left.
type result struct {
	exit     int
	log      string
	commands []command
	summary  string
	outputs  map[string]string
}

// commandsOf reads a log as GitHub's runner does: a line that begins with "::", or
// has "##[" anywhere, is a command, but for those between "::stop-commands::word" and
// "::word::".
func commandsOf(log string) []command {
	var all []command
	stopped := ""
	form := regexp.MustCompile(`^::([^ :]+)(?: ([^:]*))?::(.*)$`)
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		switch m := form.FindStringSubmatch(line); {
		case stopped != "":
			if line == "::"+stopped+"::" {
				stopped = ""
			}
		case m != nil && m[1] == "stop-commands":
			stopped = m[3]
		case m != nil:
			all = append(all, command{m[1], m[2], strings.NewReplacer("%0A", "\n", "%0D", "\r", "%25", "%").Replace(m[3])})
		case strings.HasPrefix(line, "::") || strings.Contains(line, "##["):
			all = append(all, command{name: "other", text: line})
		}
	}
	return all
}

// github runs the steps of action.yml as GitHub's runner does, with inputs given by
// a workflow, in a context (github.sha, …).
func (p *place) github(inputs, context map[string]string) result {
	p.Helper()
	doc := p.yaml("action.yml").(map[string]any)
	known := doc["inputs"].(map[string]any)
	for name := range inputs {
		if known[name] == nil {
			p.Fatalf("action.yml has no input %s", name)
		}
	}
	expression := regexp.MustCompile(`\$\{\{ ([a-z_.-]+) \}\}`)
	evaluate := func(s string) string {
		return expression.ReplaceAllStringFunc(s, func(e string) string {
			name := expression.FindStringSubmatch(e)[1]
			if input, ok := strings.CutPrefix(name, "inputs."); ok {
				spec, ok := known[input].(map[string]any)
				if !ok {
					p.Fatalf("action.yml reads the input %s, which it has not", input)
				}
				if v, ok := inputs[input]; ok {
					return v
				}
				byDefault, _ := spec["default"].(string)
				return byDefault
			}
			return context[name] // absent: empty, as in an expression
		})
	}
	temp := p.TempDir()
	env := []string{
		"GITHUB_ACTIONS=true", "GITHUB_SHA=" + context["github.sha"], "RUNNER_TEMP=" + temp, "GITHUB_WORKSPACE=" + p.dir,
		"GITHUB_STEP_SUMMARY=" + filepath.Join(temp, "summary"), "GITHUB_OUTPUT=" + filepath.Join(temp, "output"), "GITHUB_ACTION_PATH=" + here(p.T),
	}
	env = append(env, machine(p.T)...)
	runs := doc["runs"].(map[string]any)
	steps := runs["steps"].([]any)
	if runs["using"] != "composite" || len(steps) != 1 {
		p.Fatal("action.yml: expected a composite action of one step")
	}
	step := steps[0].(map[string]any)
	if strings.Contains(step["run"].(string), "${{") {
		p.Error("action.yml: a script has an expression in it: what it gives would be read by the shell")
	}
	for name, v := range step["env"].(map[string]any) {
		env = append(env, name+"="+evaluate(v.(string)))
	}
	script := filepath.Join(temp, "step.sh")
	p.must(os.WriteFile(script, []byte(step["run"].(string)), 0o600))
	r := p.shell(env, "bash", "--noprofile", "--norc", "-eo", "pipefail", script) // what "shell: bash" is
	r.commands = commandsOf(r.log)
	summary, _ := os.ReadFile(filepath.Join(temp, "summary"))
	r.summary = string(summary)
	output, _ := os.ReadFile(filepath.Join(temp, "output"))
	written := map[string]string{}
	for line := range strings.Lines(string(output)) {
		name, v, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok {
			p.Errorf("GITHUB_OUTPUT has the line %q", line)
		}
		written[name] = v
	}
	r.outputs = map[string]string{}
	for name, o := range doc["outputs"].(map[string]any) {
		value := o.(map[string]any)["value"].(string)
		r.outputs[name] = written[strings.TrimSuffix(strings.TrimPrefix(value, "${{ steps.gate.outputs."), " }}")]
	}
	return r
}

func here(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// machine is what the environment of a step has of the machine: where programs are,
// and what go has built and fetched before.
func machine(t *testing.T) []string {
	t.Helper()
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "GOPROXY=off"}
	names := []string{"GOCACHE", "GOMODCACHE"}
	out, err := goEnv()
	if values := strings.Fields(out); err == nil && len(values) == len(names) {
		for i, name := range names {
			env = append(env, name+"="+values[i])
		}
		return env
	}
	t.Fatalf("go env: %v %q", err, out)
	return nil
}

var goEnv = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	return string(out), err
})

func (p *place) yaml(name string) any {
	p.Helper()
	text, err := os.ReadFile(name)
	p.must(err)
	doc, err := readYAML(string(text))
	if err != nil {
		p.Fatalf("%s: %v", name, err)
	}
	return doc
}

func (p *place) shell(env []string, name string, args ...string) result {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = p.dir, env
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.Fatal(err)
	}
	return result{exit: cmd.ProcessState.ExitCode(), log: string(out)}
}

// inputs are those of a workflow as docs/ci.md shows it, with some changed.
func (p *place) inputs(changed map[string]string) map[string]string {
	p.Helper()
	bin, err := build()
	p.must(err)
	in := map[string]string{"files": "run.bundle", "trust": "trust.json", "contract": "contract.json", "bin": bin}
	maps.Copy(in, changed)
	return in
}

var push = map[string]string{"github.sha": today}

// TestGate: what passes, and what does not, by the code of the step, the outputs and
// the annotations.
func TestGate(t *testing.T) {
	p := newPlace(t)
	good := p.done("run.bundle", today)
	p.done("old.bundle", yesterday)

	lied := p.run(today)
	lied.ClaimContract()
	lied.Close(evidence.Completed)
	p.write("lied.bundle", p.w.RunBundle(lied.ID))

	failed := p.run(today)
	failed.Execute(failed.Authorize("run_tests", fmt.Sprintf(`{"commit":%q}`, today), nil), evidence.StatusFailure, nil)
	failed.ClaimContract()
	failed.Close(evidence.Completed)
	p.write("failed.bundle", p.w.RunBundle(failed.ID))

	elsewhere := p.run(today)
	elsewhere.Do("run_tests", fmt.Sprintf(`{"commit":%q}`, yesterday))
	elsewhere.ClaimContract()
	elsewhere.Close(evidence.Completed)
	p.write("elsewhere.bundle", p.w.RunBundle(elsewhere.ID))

	silent := p.run(today)
	silent.Do("run_tests", fmt.Sprintf(`{"commit":%q}`, today))
	silent.Close(evidence.Completed)
	p.write("silent.bundle", p.w.RunBundle(silent.ID))

	vague := p.run(today)
	vague.Do("run_tests", fmt.Sprintf(`{"commit":%q}`, today))
	vague.Claim()
	vague.Close(evidence.Completed)
	p.write("vague.bundle", p.w.RunBundle(vague.ID))

	withheld := map[evidence.Digest]bool{}
	for d := range p.w.Payloads {
		withheld[d] = true
	}
	hide := func(r *audittest.Run) []byte {
		return p.w.Bundle(audittest.Bundling{Header: bundle.RunHeader(p.w.Origin, r.ID), Indexes: p.w.RunIndexes(r.ID), Withhold: withheld})
	}
	p.write("withheld.bundle", hide(good))
	p.write("withheld-vague.bundle", hide(vague))
	p.write("withheld-silent.bundle", hide(silent))
	whole := p.w.RunBundle(good.ID)
	signature := bytes.LastIndex(whole, []byte(`"jws":"`)) + 30
	tampered := bytes.Clone(whole)
	tampered[signature] ^= 1
	p.write("tampered.bundle", tampered)
	p.write("cut.bundle", whole[:len(whole)/2])
	p.write("text.bundle", []byte("the tests passed\n"))
	p.write("broken.json", []byte(`{"contract":"v1"`))

	type changed = map[string]string
	for name, c := range map[string]struct {
		in      changed
		context map[string]string
		exit    int // of the step
		code    int // of verify, where it differs
		outcome string
		says    string // in an annotation
	}{
		"verified": {outcome: "verified"},
		"the commit of a pull request, and not the merge": {
			context: map[string]string{"github.sha": yesterday, "github.event.pull_request.head.sha": today}, outcome: "verified",
		},
		"a bundle of the base of a pull request": {
			in: changed{"files": "old.bundle"}, context: map[string]string{"github.sha": yesterday, "github.event.pull_request.head.sha": today}, exit: 1, outcome: "wrong", says: "not_about_this_subject",
		},
		"yesterday's bundle":           {in: changed{"files": "old.bundle"}, exit: 1, outcome: "wrong", says: "not_about_this_subject"},
		"yesterday's beside today's":   {in: changed{"files": "run.bundle\nold.bundle\n"}, exit: 1, outcome: "wrong", says: "not_about_this_subject"},
		"a subject of one's own":       {in: changed{"files": "old.bundle", "subject": yesterday}, outcome: "verified"},
		"no subject":                   {in: changed{"files": "old.bundle", "subject": "none"}, outcome: "verified"},
		"no commit":                    {context: changed{}, exit: 64, outcome: "error", says: "subject: expected one"},
		"a claim that is a lie":        {in: changed{"files": "lied.bundle"}, exit: 1, outcome: "wrong", says: "unsupported"},
		"a lie, without the contract":  {in: changed{"files": "lied.bundle", "contract": "none"}, exit: 1, outcome: "wrong", says: "unsupported"},
		"tests that failed":            {in: changed{"files": "failed.bundle"}, exit: 1, outcome: "wrong", says: "contradicted"},
		"tests of another commit":      {in: changed{"files": "elsewhere.bundle"}, exit: 1, outcome: "wrong", says: "unsupported"},
		"no claim":                     {in: changed{"files": "silent.bundle"}, exit: 2, outcome: "undecidable", says: "expected a claim"},
		"no claim, and wrong only":     {in: changed{"files": "silent.bundle", "fail-on": "wrong"}, exit: 2, outcome: "undecidable", says: "expected a claim"},
		"a claim of nothing":           {in: changed{"files": "vague.bundle"}, exit: 2, outcome: "undecidable"},
		"another contract":             {in: changed{"contract": "other.json"}, exit: 1, outcome: "wrong", says: "not_about_this_contract"},
		"no contract":                  {in: changed{"contract": ""}, exit: 64, outcome: "error", says: "contract: expected one"},
		"a contract that is not there": {in: changed{"contract": "nowhere.json"}, exit: 64, outcome: "error"},
		"a contract without a form":    {in: changed{"contract": "broken.json"}, exit: 65, outcome: "malformed"},
		"another run":                  {in: changed{"run": string(lied.ID)}, exit: 1, outcome: "wrong", says: "not_about_this_run"},
		"tampered":                     {in: changed{"files": "tampered.bundle"}, exit: 1, outcome: "wrong"},
		"tampered, and wrong only":     {in: changed{"files": "tampered.bundle", "fail-on": "wrong"}, exit: 1, outcome: "wrong"},
		"cut off":                      {in: changed{"files": "cut.bundle", "fail-on": "wrong"}, exit: 65, outcome: "malformed"},
		"words":                        {in: changed{"files": "text.bundle", "fail-on": "wrong"}, exit: 65, outcome: "malformed", says: "expected a receipt"},
		"words beside a bundle":        {in: changed{"files": "run.bundle\ntext.bundle", "fail-on": "wrong"}, exit: 65, outcome: "malformed"},
		"withheld":                     {in: changed{"files": "withheld.bundle"}, exit: 2, outcome: "undecidable", says: "undisclosed"},
		"withheld, and wrong only":     {in: changed{"files": "withheld.bundle", "fail-on": "wrong"}, code: 2, outcome: "undecidable"},
		"withheld, and a vague claim":  {in: changed{"files": "withheld-vague.bundle", "fail-on": "wrong"}, exit: 2, outcome: "undecidable"},
		"withheld, and no claim":       {in: changed{"files": "withheld-silent.bundle", "fail-on": "wrong"}, exit: 2, outcome: "undecidable"},
		"no claim, beside withheld":    {in: changed{"files": "silent.bundle\nwithheld.bundle", "fail-on": "wrong"}, exit: 2, outcome: "undecidable", says: "expected a claim"},
		"a claim, beside withheld":     {in: changed{"files": "run.bundle\nwithheld.bundle", "fail-on": "wrong"}, code: 2, outcome: "undecidable"},
		"no trust":                     {in: changed{"trust": ""}, exit: 2, outcome: "undecidable", says: "trust: expected"},
		"no trust, and wrong only":     {in: changed{"trust": " \n", "fail-on": "wrong"}, exit: 2, outcome: "undecidable", says: "trust: expected"},
		"trust in somebody else":       {in: changed{"trust": "stranger.json"}, exit: 2, outcome: "undecidable"},
		"… and wrong only":             {in: changed{"trust": "stranger.json", "fail-on": "wrong"}, exit: 2, outcome: "undecidable"},
		"… in both":                    {in: changed{"trust": "stranger.json\ntrust.json"}, outcome: "verified"},
		"trust that is not there":      {in: changed{"trust": "nowhere.json"}, exit: 64, outcome: "error"},
		"no files":                     {in: changed{"files": ""}, exit: 2, outcome: "undecidable", says: "there is no evidence"},
		"no such file":                 {in: changed{"files": "nowhere.bundle", "fail-on": "wrong"}, exit: 2, outcome: "undecidable", says: "there is no evidence"},
		"a pattern that nothing fits":  {in: changed{"files": "nowhere/*.bundle"}, exit: 2, outcome: "undecidable", says: "there is no evidence"},
		"a pattern":                    {in: changed{"files": "[r]un.*"}, outcome: "verified"},
		"a receipt":                    {in: changed{"files": "trust.json"}, exit: 65, outcome: "malformed", says: "found a trust file"},
		"another fail-on":              {in: changed{"fail-on": "never"}, exit: 64, outcome: "error", says: "fail-on: expected"},
	} {
		t.Run(name, func(t *testing.T) {
			q := *p
			q.T = t
			context := c.context
			if context == nil {
				context = push
			}
			r := q.github(q.inputs(c.in), context)
			code := fmt.Sprint(max(c.exit, c.code))
			if r.exit != c.exit || r.outputs["exit-code"] != code || r.outputs["outcome"] != c.outcome {
				t.Errorf("want exit %d, verify's %s, %s; found %d, %v", c.exit, code, c.outcome, r.exit, r.outputs)
			}
			annotated := ""
			for _, cmd := range r.commands {
				if cmd.name != "error" && cmd.name != "warning" {
					t.Errorf("the runner was told %+v", cmd)
				}
				annotated += cmd.text + "\n"
			}
			if (c.outcome == "verified") != (annotated == "") || !strings.Contains(annotated, c.says) {
				t.Errorf("want annotations with %q, found %q", c.says, annotated)
			}
			passes := "The gate does not pass: " + c.outcome
			if c.exit == 0 {
				passes = "The gate passes: " + c.outcome
			}
			if !strings.Contains(r.log, passes) || !strings.Contains(r.summary, passes) {
				t.Errorf("want %q in log and summary, found %q", passes, r.summary)
			}
			q.sarif(r.outputs["sarif"], c.exit != 0 || c.code != 0)
			junit, err := os.ReadFile(r.outputs["junit"])
			q.must(err)
			if shown := bytes.Contains(junit, []byte("<failure ")) || bytes.Contains(junit, []byte("<error ")); shown == (code == "0") {
				t.Errorf("verify's exit code is %s, and the JUnit report\n%s", code, junit)
			}
			if t.Failed() {
				t.Logf("%s", r.log)
			}
		})
	}
}

// sarif wants a SARIF file, with results or without.
func (p *place) sarif(name string, results bool) {
	p.Helper()
	text, err := os.ReadFile(name)
	p.must(err)
	var doc struct {
		Version string
		Runs    []struct{ Results []json.RawMessage }
	}
	p.must(json.Unmarshal(text, &doc))
	if doc.Version != "2.1.0" || len(doc.Runs) != 1 || (len(doc.Runs[0].Results) > 0) != results {
		p.Errorf("want a SARIF log with results: %v; found\n%s", results, text)
	}
}

// TestBuilds: without a directory of programs they are built from the action's own
// checkout, wherever the step runs, and whatever module the workspace has.
func TestBuilds(t *testing.T) {
	p := newPlace(t)
	p.done("run.bundle", today)
	p.done("old.bundle", yesterday)
	p.write("go.mod", []byte("module ledgerd\n\ngo 1.26.0\n"))
	p.write("go.work", []byte("go 1.26.0\n\nuse .\n"))
	if r := p.github(p.inputs(map[string]string{"bin": ""}), push); r.exit != 0 || r.outputs["outcome"] != "verified" {
		t.Errorf("exit %d, %v\n%s", r.exit, r.outputs, r.log)
	}
	if r := p.github(p.inputs(map[string]string{"bin": "", "files": "old.bundle"}), push); r.exit != 1 {
		t.Errorf("exit %d\n%s", r.exit, r.log)
	}
}

// TestBroken: a verifier that breaks, or says one thing and ends as another, lets
// nothing through.
func TestBroken(t *testing.T) {
	p := newPlace(t)
	p.done("run.bundle", today)
	bin, err := build()
	p.must(err)
	gate, err := os.ReadFile(filepath.Join(bin, "gate"))
	p.must(err)
	for name, script := range map[string]string{
		"says nothing":      "exit 0",
		"says no JSON":      "echo verified",
		"says wrong":        `echo '{"report":"v1","input":"run.bundle","form":"bundle","outcome":"wrong","summary":""}'`,
		"says another form": `echo '{"report":"v2","input":"run.bundle","form":"bundle","outcome":"verified","summary":""}'`,
		"says it twice":     `for i in 1 2; do echo '{"report":"v1","input":"run.bundle","form":"bundle","outcome":"verified","summary":""}'; done`,
		"is killed":         "kill -9 $$",
		"is not there":      "",
	} {
		t.Run(name, func(t *testing.T) {
			q := *p
			q.T = t
			dir := t.TempDir()
			q.must(os.WriteFile(filepath.Join(dir, "gate"), gate, 0o755))
			if script != "" {
				q.must(os.WriteFile(filepath.Join(dir, "verify"), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
			}
			for _, failOn := range []string{"undecidable", "wrong"} {
				r := q.github(q.inputs(map[string]string{"bin": dir, "fail-on": failOn}), push)
				if r.exit != 70 || r.outputs["outcome"] != "error" {
					t.Errorf("exit %d, %v\n%s", r.exit, r.outputs, r.log)
				}
			}
		})
	}
}

// TestLog: a log is audited alone where it is said that it is about nothing, and
// beside files. An older tree head that it does not extend is found.
func TestLog(t *testing.T) {
	p := newPlace(t)
	p.done("run.bundle", today)
	for name, tile := range p.w.Tiles() {
		p.must(os.MkdirAll(filepath.Join(p.dir, "log", filepath.Dir(name)), 0o755))
		p.write(filepath.Join("log", name), tile)
	}
	for name, c := range map[string]struct {
		in   map[string]string
		exit int
	}{
		"beside files":        {map[string]string{"log": "log", "state": "state.json"}, 0},
		"alone":               {map[string]string{"files": "", "log": "log", "subject": "none", "contract": "none"}, 0},
		"about a commit":      {map[string]string{"files": "", "log": "log"}, 64},
		"not there":           {map[string]string{"log": "nowhere"}, 64},
		"of somebody else":    {map[string]string{"files": "", "log": "log", "subject": "none", "contract": "none", "trust": "stranger.json", "fail-on": "wrong"}, 2},
		"beside a wrong file": {map[string]string{"log": "log", "contract": "other.json"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			q := *p
			q.T = t
			if r := q.github(q.inputs(c.in), push); r.exit != c.exit {
				t.Errorf("want exit %d, found %d\n%s", c.exit, r.exit, r.log)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(p.dir, "state.json")); err != nil {
		t.Errorf("no tree head was kept: %v", err)
	}
}

// TestHostile: names of files and what stands in them tell the runner nothing, reach
// no shell, and are nothing but text on the step's page.
func TestHostile(t *testing.T) {
	p := newPlace(t)
	p.done("good", today)
	good, err := os.ReadFile(filepath.Join(p.dir, "good"))
	p.must(err)
	evil := p.w.Open(func(_ *evidence.Record, b *evidence.RunOpened) {
		b.Subject, b.Task = "::error::x<b>##[add-path]x", "change"
	})
	evil.Close(evidence.Completed)
	p.must(os.Mkdir(filepath.Join(p.dir, "in"), 0o755))
	names := []string{
		"a name.bundle", "--trust=evil.bundle", "-", "--", "log", "$(touch pwned).bundle", "`touch pwned`", "'\"; touch pwned; '", "a\n::error::x\n.bundle",
		"##[add-path]x", "::set-output name=outcome::verified", "%0A::error::x", "<img src=x onerror=alert(1)>", "*", "\x1b[31m", "$'\\n'", "a,b", "wild[",
	}
	for _, name := range names {
		p.write(filepath.Join("in", name), good)
	}
	check := func(what string, r result, exit int) {
		t.Helper()
		if r.exit != exit {
			t.Errorf("%s: want exit %d, found %d\n%s", what, exit, r.exit, r.log)
		}
		for _, c := range r.commands {
			if c.name != "error" && c.name != "warning" || strings.Contains(c.properties, "::") {
				t.Errorf("%s: the runner was told %+v", what, c)
			}
		}
		if strings.ContainsRune(r.log, 0x1b) || strings.Count(r.summary, "</pre>") != min(1, len(r.summary)) || strings.Contains(r.summary, "<img") || strings.Contains(r.summary, "<b>") {
			t.Errorf("%s: the page is\n%s", what, r.summary)
		}
		if r.outputs["exit-code"] != fmt.Sprint(exit) {
			t.Errorf("%s: outputs %v", what, r.outputs)
		}
		if _, err := os.Stat(filepath.Join(p.dir, "pwned")); err == nil {
			t.Fatalf("%s: a shell read it", what)
		}
	}
	check("all names", p.github(p.inputs(map[string]string{"files": "in/*"}), push), 0)
	p.dir = filepath.Join(p.dir, "in")
	p.write("trust.json", readFile(p, "../trust.json"))
	p.write("contract.json", readFile(p, "../contract.json"))
	for _, name := range names {
		if !strings.Contains(name, "\n") && name != "*" {
			check(name, p.github(p.inputs(map[string]string{"files": name}), push), 0)
			check(name, p.github(p.inputs(map[string]string{"files": name, "subject": yesterday}), push), 1)
		}
	}
	check("every input", p.github(p.inputs(map[string]string{"files": "a name.bundle\n$(touch pwned)"}), push), 2)
	for _, input := range []string{"subject", "contract", "run", "fail-on", "trust", "files"} {
		for _, name := range []string{"$(touch pwned)", "x\n::error::x", "::error::x", "</pre><img src=x>", "%0A::error::x%", "x##[add-path]x", "'; touch pwned; '", "--help"} {
			r := p.github(p.inputs(map[string]string{"files": "a name.bundle", input: name}), push)
			if r.exit == 0 {
				t.Errorf("%s %q passes", input, name)
			}
			check(input+" "+name, r, r.exit)
			if said := slices.ContainsFunc(r.commands, func(c command) bool { return strings.Contains(c.text, name) }); strings.HasPrefix(name, "%") && input != "contract" && !said {
				t.Errorf("%s %q: want it in an annotation as it is, found %+v", input, name, r.commands)
			}
		}
	}
	out := filepath.Join(p.dir, "out")
	p.must(os.Mkdir(out, 0o755))
	p.must(os.Symlink(filepath.Join(p.dir, "pwned"), filepath.Join(out, "verify.xml")))
	bin, err := build()
	p.must(err)
	r := p.shell(append(machine(t), "GATE_OUT="+out, "GATE_BIN="+bin, "GATE_SUBJECT="+today, "GATE_FILES=a name.bundle", "GATE_TRUST=trust.json", "GATE_CONTRACT=contract.json"), "bash", filepath.Join(here(t), "verify.sh"))
	if _, err := os.Stat(filepath.Join(p.dir, "pwned")); r.exit != 0 || err == nil {
		t.Errorf("exit %d, and written through a link: %v\n%s", r.exit, err == nil, r.log)
	}
	p.write("evil.bundle", p.w.RunBundle(evil.ID))
	r = p.github(p.inputs(map[string]string{"files": "evil.bundle"}), push)
	check("a hostile subject", r, 1)
	if !slices.ContainsFunc(r.commands, func(c command) bool { return strings.Contains(c.text, "found ::error::x<b>##[add-path]x") }) {
		t.Errorf("want the subject in an annotation, found %+v", r.commands)
	}
	p.write("evil.bundle", bytes.Replace(readFile(p, "evil.bundle"), []byte(`{"bundle":`), []byte("{\"bundle\":\n::error::x\n</pre><b>##[add-path]x"), 1))
	check("a hostile form", p.github(p.inputs(map[string]string{"files": "evil.bundle"}), push), 65)
}

func readFile(p *place, name string) []byte {
	p.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, name))
	p.must(err)
	return b
}
