package action

import (
	"bytes"
	"encoding/xml"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// source makes a repository of the files of this one, as they are here, and returns
// its URL and its commit.
func source(t *testing.T) (url, commit string) {
	t.Helper()
	needs(t, "git")
	dir := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	deps, err := exec.Command("go", "list", "-deps", "-f", "{{if .Module}}{{if .Module.Main}}{{.Dir}}{{end}}{{end}}", "../cmd/verify", "./gate").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Dir(here(t))
	names := []string{"go.mod", "go.sum", "action/verify.sh"}
	for _, pkg := range strings.Fields(string(deps)) {
		files, err := filepath.Glob(filepath.Join(pkg, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			name, err := filepath.Rel(root, f)
			if info, err2 := os.Stat(f); err != nil || err2 != nil || info.IsDir() || strings.HasSuffix(name, "_test.go") {
				continue
			}
			names = append(names, name)
		}
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	git("init", "--quiet")
	git("add", "--all")
	git("commit", "--quiet", "-m", "all")
	return "file://" + dir, git("rev-parse", "HEAD")
}

// gitlab runs the script of gitlab-ci.yml as GitLab's runner does, as the job of a
// pipeline with these variables.
func (p *place) gitlab(variables map[string]string) result {
	p.Helper()
	job := p.yaml("gitlab-ci.yml").(map[string]any)[".ledgerd"].(map[string]any)
	env := map[string]string{}
	known := job["variables"].(map[string]any)
	for name, v := range known {
		env[name] = v.(string)
	}
	for name := range variables {
		if _, ok := known[name]; !ok && !strings.HasPrefix(name, "CI_") && name != "GATE_BIN" {
			p.Fatalf("gitlab-ci.yml has no variable %s", name)
		}
	}
	maps.Copy(env, variables)
	env["CI_PROJECT_DIR"] = p.dir
	all := machine(p.T)
	for name, v := range env {
		all = append(all, name+"="+v)
	}
	script := "set -eo pipefail\n"
	for _, line := range job["script"].([]any) {
		script += line.(string) + "\n"
	}
	return p.shell(all, "bash", "-c", script)
}

// TestGitLab: the same gate, built from a clone at one commit, which is asked about
// the commit of a pipeline, and of a merge request the last one of its branch.
func TestGitLab(t *testing.T) {
	p := newPlace(t)
	p.done("run.bundle", today)
	p.done("old.bundle", yesterday)
	lied := p.run(today)
	lied.ClaimContract()
	lied.Close("completed")
	p.write("lied.bundle", p.w.RunBundle(lied.ID))
	p.must(os.WriteFile(filepath.Join(p.dir, "a\nsection_start:0:x\r.bundle"), readFile(p, "run.bundle"), 0o600))
	url, commit := source(t)
	bin, err := build()
	p.must(err)
	job := p.yaml("gitlab-ci.yml").(map[string]any)[".ledgerd"].(map[string]any)
	artifacts := job["artifacts"].(map[string]any)
	if artifacts["when"] != "always" {
		t.Error("gitlab-ci.yml: the report of a gate that does not pass is not kept")
	}
	junit := artifacts["reports"].(map[string]any)["junit"].(string)
	type changed = map[string]string
	for name, c := range map[string]struct {
		in      changed
		exit    int
		failure bool // in the JUnit report
	}{
		"a branch":                           {changed{"GATE_BIN": ""}, 0, false},
		"yesterday's bundle":                 {changed{"GATE_FILES": "old.bundle"}, 1, true},
		"a merge request":                    {changed{"CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": ""}, 0, false},
		"the result of a merge":              {changed{"CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": today, "CI_COMMIT_SHA": yesterday}, 0, false},
		"yesterday's, the result of a merge": {changed{"GATE_FILES": "old.bundle", "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": today, "CI_COMMIT_SHA": yesterday}, 1, true},
		"a lie":                              {changed{"GATE_FILES": "lied.bundle"}, 1, true},
		"no trust":                           {changed{"GATE_TRUST": "", "GATE_FAIL_ON": "wrong"}, 2, false},
		"no contract":                        {changed{"GATE_CONTRACT": ""}, 64, false},
		"a hostile name":                     {changed{"GATE_FILES": "a*.bundle\n"}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			q := *p
			q.T = t
			q.must(os.RemoveAll(filepath.Join(p.dir, "ledgerd-gate")))
			in := changed{
				"LEDGERD_SOURCE": url, "LEDGERD_COMMIT": commit, "GATE_FILES": "run.bundle", "GATE_TRUST": "trust.json", "GATE_CONTRACT": "contract.json",
				"CI_COMMIT_SHA": today, "GATE_BIN": bin,
			}
			maps.Copy(in, c.in)
			r := q.gitlab(in)
			if r.exit != c.exit || strings.Contains(r.log, "\nsection_start") || strings.Contains(r.log, "::") {
				t.Errorf("want exit %d, found %d\n%s", c.exit, r.exit, r.log)
			}
			text, err := os.ReadFile(filepath.Join(p.dir, junit))
			q.must(err)
			q.must(xml.Unmarshal(text, new(struct{})))
			if failure := bytes.Contains(text, []byte("<failure ")); failure != c.failure {
				t.Errorf("want a failure in the JUnit report: %v, found\n%s", c.failure, text)
			}
			if passes := !c.failure && !bytes.Contains(text, []byte("<error ")); passes != (c.exit == 0) {
				t.Errorf("exit %d, and the JUnit report is\n%s", c.exit, text)
			}
		})
	}
	if r := p.gitlab(changed{"LEDGERD_SOURCE": url, "LEDGERD_COMMIT": yesterday, "GATE_BIN": bin}); r.exit == 0 {
		t.Errorf("a source that is not there passes:\n%s", r.log)
	}
}
