package action

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// block returns the fenced block of a document that follows a text.
func block(t *testing.T, document, after string) string {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), after)
	_, rest, ok2 := strings.Cut(rest, "```")
	_, rest, ok3 := strings.Cut(rest, "\n")
	body, _, ok4 := strings.Cut(rest, "```")
	if !ok || !ok2 || !ok3 || !ok4 {
		t.Fatalf("%s: expected a block after %q", document, after)
	}
	return body
}

// A forge is a repository with an owners' branch main, and a branch of an agent's
// with two commits: there is evidence about the first, and notes give it to both.
type forge struct {
	*place
	url           string
	first, second string
}

func newForge(t *testing.T) *forge {
	t.Helper()
	needs(t, "git")
	f := &forge{place: newPlace(t)}
	files, work := f.dir, filepath.Join(t.TempDir(), "work")
	f.url = "file://" + work
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", work, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	copyTo := func(name, to string) {
		t.Helper()
		f.must(os.MkdirAll(filepath.Dir(to), 0o755))
		f.must(os.WriteFile(to, readFile(f.place, name), 0o600))
	}
	f.must(os.Mkdir(work, 0o755))
	git("init", "--quiet", "-b", "main")
	copyTo("trust.json", filepath.Join(work, ".ledgerd/trust.json"))
	copyTo("contract.json", filepath.Join(work, ".ledgerd/contract.json"))
	git("add", "--all")
	git("commit", "--quiet", "-m", "main")
	git("switch", "--quiet", "-c", "change")
	// The agent's branch trusts somebody else, and asks for something else.
	copyTo("stranger.json", filepath.Join(work, ".ledgerd/trust.json"))
	copyTo("other.json", filepath.Join(work, ".ledgerd/contract.json"))
	git("commit", "--quiet", "-a", "-m", "first")
	f.first = git("rev-parse", "HEAD")
	git("commit", "--quiet", "--allow-empty", "-m", "second")
	f.second = git("rev-parse", "HEAD")
	git("switch", "--quiet", "main")
	// Who may push a branch may push tags, which go before branches of their names.
	git("tag", "main", "change")
	git("tag", "origin/main", "change")
	f.done("first.bundle", f.first)
	note := git("hash-object", "-w", filepath.Join(files, "first.bundle"))
	for _, commit := range []string{f.first, f.second} {
		git("notes", "--ref", "evidence", "add", "-C", note, commit)
	}
	return f
}

// checkout makes the workspace a shallow clone of main, as runners make them.
func (f *forge) checkout() {
	f.Helper()
	f.dir = filepath.Join(f.TempDir(), "workspace")
	if out, err := exec.Command("git", "clone", "--quiet", "--depth", "1", "--branch", "main", f.url, f.dir).CombinedOutput(); err != nil {
		f.Fatalf("%v\n%s", err, out)
	}
}

// pipeline fetches the commit of a merge request, with what tags git takes along.
func (f *forge) pipeline(commit string) {
	f.Helper()
	if out, err := exec.Command("git", "-C", f.dir, "fetch", "--quiet", "origin", "refs/heads/change:refs/pipelines/1").CombinedOutput(); err != nil {
		f.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command("git", "-C", f.dir, "checkout", "--quiet", "--detach", commit).CombinedOutput(); err != nil {
		f.Fatalf("%v\n%s", err, out)
	}
}

// TestGitHubPage runs the job of docs/ci.md: it lets the commit through that the
// evidence is about, and not the next one.
func TestGitHubPage(t *testing.T) {
	f := newForge(t)
	doc, err := readYAML(block(t, "../docs/ci.md", "<!-- example: github -->"))
	f.must(err)
	on := doc.(map[string]any)["on"].(map[string]any)
	if len(on) != 1 || on["pull_request_target"] == nil {
		t.Errorf("the workflow runs on %v: of anything but pull_request_target the agent brings its own", on)
	}
	job := doc.(map[string]any)["jobs"].(map[string]any)["evidence"].(map[string]any)
	for commit, exit := range map[string]int{f.first: 0, f.second: 1} {
		gates := 0
		for _, s := range job["steps"].([]any) {
			step := s.(map[string]any)
			uses, _ := step["uses"].(string)
			switch {
			case strings.HasPrefix(uses, "actions/checkout@"):
				if step["with"] != nil {
					t.Error("the job checks something out that is not main")
				}
				f.checkout()
			case step["run"] != nil:
				env := machine(t)
				for name, v := range step["env"].(map[string]any) {
					env = append(env, name+"="+strings.ReplaceAll(v.(string), "${{ github.event.pull_request.head.sha }}", commit))
				}
				if r := f.shell(env, "bash", "-e", "-c", step["run"].(string)); r.exit != 0 {
					t.Fatalf("exit %d\n%s", r.exit, r.log)
				}
			case strings.HasPrefix(uses, "OWNER/ledgerd/action@"):
				gates++
				with := map[string]string{}
				for name, v := range step["with"].(map[string]any) {
					with[name] = v.(string)
				}
				// On pull_request_target github.sha is main's.
				r := f.github(f.inputs(with), map[string]string{"github.sha": today, "github.event.pull_request.head.sha": commit})
				if r.exit != exit {
					t.Errorf("want exit %d, found %d\n%s", exit, r.exit, r.log)
				}
			default:
				t.Errorf("a step that nobody runs here: %v", step)
			}
		}
		if gates != 1 {
			t.Errorf("want one gate in the job, found %d", gates)
		}
	}
}

// TestGitLabPage does the same with the job for GitLab.
func TestGitLabPage(t *testing.T) {
	f := newForge(t)
	doc, err := readYAML(block(t, "../docs/ci.md", "<!-- example: gitlab -->"))
	f.must(err)
	job := doc.(map[string]any)["evidence"].(map[string]any)
	if job["extends"] != ".ledgerd" {
		t.Errorf("the job extends %v", job["extends"])
	}
	bin, err := build()
	f.must(err)
	url, source := source(t)
	for commit, exit := range map[string]int{f.first: 0, f.second: 1} {
		f.checkout()
		trust := filepath.Join(f.TempDir(), "trust")
		f.must(os.WriteFile(trust, readFile(f.place, ".ledgerd/trust.json"), 0o600))
		f.pipeline(commit)
		// What is checked out is the agent's: links to what it would like to change.
		outside := f.TempDir()
		for _, name := range []string{"run.bundle", "contract.json", "ledgerd-gate"} {
			f.must(os.Symlink(filepath.Join(outside, name), filepath.Join(f.dir, name)))
		}
		f.must(os.Mkdir(filepath.Join(outside, "ledgerd-gate"), 0o755))
		variables := map[string]string{"GATE_TRUST": trust, "GATE_BIN": bin, "CI_COMMIT_SHA": commit, "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}
		for name, v := range job["variables"].(map[string]any) {
			variables[name] = v.(string)
		}
		variables["LEDGERD_SOURCE"], variables["LEDGERD_COMMIT"] = url, source
		env := machine(t)
		for name, v := range variables {
			env = append(env, name+"="+v)
		}
		script := "set -eo pipefail\n"
		for _, line := range job["before_script"].([]any) {
			script += line.(string) + "\n"
		}
		if r := f.shell(env, "bash", "-c", script); r.exit != 0 {
			t.Fatalf("exit %d\n%s", r.exit, r.log)
		}
		if r := f.gitlab(variables); r.exit != exit {
			t.Errorf("want exit %d, found %d\n%s", exit, r.exit, r.log)
		}
		if err := errors.Join(os.Remove(filepath.Join(outside, "ledgerd-gate")), os.Remove(outside)); err != nil {
			t.Errorf("something was written through a link: %v", err)
		}
	}
}

// TestAnywherePage runs the command of docs/ci.md for other systems.
func TestAnywherePage(t *testing.T) {
	f := newForge(t)
	bin, err := build()
	f.must(err)
	bundle := readFile(f.place, "first.bundle")
	f.checkout()
	for _, name := range []string{"trust.json", "contract.json"} {
		f.write(name, readFile(f.place, ".ledgerd/"+name))
	}
	f.write("run.bundle", bundle)
	command := block(t, "../docs/ci.md", "## Anywhere else")
	env := append(machine(t), "GATE_BIN="+bin, "LEDGERD="+filepath.Dir(here(t)))
	if r := f.shell(env, "sh", "-c", command); r.exit != 1 { // it is main's commit
		t.Errorf("want exit 1, found %d\n%s", r.exit, r.log)
	}
	if r := f.shell(env, "sh", "-c", "git fetch --quiet --unshallow origin change:change && git checkout --quiet "+f.first+"\n"+command); r.exit != 0 {
		t.Errorf("want exit 0, found %d\n%s", r.exit, r.log)
	}
}

// TestOneContract: docs/ci.md explains the contract and the policy that the example
// has.
func TestOneContract(t *testing.T) {
	example, err := os.ReadFile("../examples/ci-gate/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []string{"## The contract", "the tests of no other commit are run:"} {
		if shown := block(t, "../docs/ci.md", after); !bytes.Contains(example, []byte(shown)) {
			t.Errorf("the example has not:\n%s", shown)
		}
	}
}
