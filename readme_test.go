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
	if err := os.CopyFS(filepath.Join(dir, "internal/quickstart"), os.DirFS(filepath.Join(root, "internal/quickstart"))); err != nil {
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
