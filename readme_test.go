package ledgerd_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestREADME runs what README.md says to type next, line by line, in a
// directory of its own, and requires of the last line the exit code that the
// run's verdict asks for. The daemon is started by other tests.
func TestREADME(t *testing.T) {
	if testing.Short() {
		t.Skip("in one goroutine the race detector has nothing to see; runs without -short")
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, next, ok := strings.Cut(string(text), "## Next\n\n```sh\n")
	script, _, ok2 := strings.Cut(next, "```")
	if !ok || !ok2 {
		t.Fatal("README.md: want a shell block under Next")
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "examples"), os.DirFS(filepath.Join(root, "examples"))); err != nil {
		t.Fatal(err)
	}
	runID := regexp.MustCompile(`run_\S+`)
	var run, verdicts string
	verified := false
	for _, line := range strings.Split(script, "\n") {
		line = strings.TrimSpace(strings.SplitN(line, " #", 2)[0])
		switch {
		case line == "":
			continue
		case strings.Contains(line, " serve "):
			continue
		case strings.HasPrefix(line, "go build -o bin/ "):
			line = "go build -C " + root + " -o " + dir + "/bin/" + strings.TrimPrefix(line, "go build -o bin/")
		}
		line = strings.ReplaceAll(line, "RUN", run)
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if strings.HasPrefix(line, "bin/verify ") {
			verified = true
			var exit *exec.ExitError
			wrong := errors.As(err, &exit) && exit.ExitCode() == 1
			supported := strings.Contains(verdicts, "supported") && !strings.Contains(verdicts, "unsupported")
			if supported != (err == nil) || !supported && !wrong {
				t.Errorf("%s: %v, the verdict of the run: %s\n%s", line, err, verdicts, out)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		if strings.Contains(line, " run list ") {
			verdicts, _, _ = strings.Cut(string(out), "\n")
			if run = runID.FindString(verdicts); run == "" {
				t.Fatalf("%s shows no run:\n%s", line, out)
			}
		}
	}
	if !verified {
		t.Error("README.md does not verify anything")
	}
}

// TestREADMEShowsTheQuickstart: what README.md shows of the quickstart is what it
// prints, but for names that differ each time. A line "…" stands for what is left
// out.
func TestREADMEShowsTheQuickstart(t *testing.T) {
	if testing.Short() {
		t.Skip("in one goroutine the race detector has nothing to see; runs without -short")
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "among other things:\n\n```\n")
	shown, _, ok2 := strings.Cut(rest, "\n```\n")
	if !ok || !ok2 {
		t.Fatal("README.md: want a block of what the quickstart prints")
	}
	program := filepath.Join(t.TempDir(), "ledgerd")
	if out, err := exec.Command("go", "build", "-o", program, "./cmd/ledgerd").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(program, "quickstart", "--data-dir", filepath.Join(t.TempDir(), "ledger")).Output()
	if err != nil {
		t.Fatal(err)
	}
	// IDs and hashes are cut short, and numbers of processes differ.
	varies := regexp.MustCompile(`\S+…|process \d+`)
	plain := func(s string) string {
		return strings.Join(strings.Fields(varies.ReplaceAllString(s, "*")), " ")
	}
	page := plain(string(out))
	for _, part := range strings.Split(shown, "\n   …\n") {
		part = plain(part)
		_, after, found := strings.Cut(page, part)
		if len(part) < 100 || !found {
			t.Fatalf("README.md shows\n%s\nand the quickstart does not, from there on:\n%s", part, page)
		}
		page = after
	}
}
