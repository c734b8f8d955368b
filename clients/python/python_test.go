package python

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"ledgerd/evidence"
)

// python returns a command of Python's; it skips where there is none that can run it.
func python(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err == nil {
		err = exec.Command(path, "-c", "import sys; sys.exit(sys.version_info < (3, 10))").Run()
	}
	if err != nil {
		absent(t, "python3, 3.10 or newer")
	}
	cmd := exec.Command(path, append([]string{"-B"}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONPATH=src")
	return cmd
}

// absent skips for what is not here, and fails where it has to be.
func absent(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("CI is set, and %s is not here: bash .ci/install", what)
	}
	t.Skipf("%s is not here (bash .ci/install)", what)
}

// short skips what the race detector does not see.
func short(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("what is tested are processes of their own, which the race detector does not see")
	}
}

// TestPython runs the tests of the client, with a daemon, a human and a peer for them.
func TestPython(t *testing.T) {
	short(t)
	t.Parallel()
	cmd := python(t, "-X", "dev", "-W", "error", "-m", "unittest", "discover", "-v", "-s", "tests")
	town := newTown(t)
	settings, err := json.Marshal(town.settings())
	must(t, err)
	cmd.Env = append(cmd.Env, "LEDGERD_TEST="+string(settings))
	out, err := cmd.CombinedOutput()
	ran := regexp.MustCompile(`\nRan (\d+) tests? in `).FindSubmatch(out)
	if err != nil || ran == nil || len(ran[1]) < 2 || bytes.Contains(out, []byte("Warning")) {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, line := range strings.Split(string(out), "\n") {
		if name, why, ok := strings.Cut(line, " ... skipped "); ok {
			t.Logf("skipped: %s: %s", name, why)
		}
	}
	for _, run := range town.here.runs() {
		town.here.sound(run)
	}
}

// TestComplaint kills a program that works through a complaint once the mail server has its
// message, and runs it again: no second email, nothing paid twice, and a bundle that
// verifies. It is the example, and the same in each framework.
func TestComplaint(t *testing.T) {
	short(t)
	python(t)
	for name, c := range map[string]struct {
		program   []string
		key, says string
	}{
		"example":   {[]string{"examples/complaint.py"}, "complaint-1046", "I have refunded 56.00 EUR for Lea Brandt, and emailed the confirmation.\n"},
		"LangGraph": {[]string{"tests/complaint_adapters.py", "langgraph"}, "langgraph-1046", "paid\nsent\n"},
		"agents":    {[]string{"tests/complaint_adapters.py", "agents"}, "agents-1046", "paid\nsent\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			complaint(t, c.program, c.key, c.says)
		})
	}
}

func complaint(t *testing.T, program []string, key, says string) {
	town := newTown(t)
	file := filepath.Join(t.TempDir(), "complaint.json")
	must(t, os.WriteFile(file, []byte(`{"id": "1046", "customer": "Lea Brandt", "email": "lea.brandt@example.com", "order": "K-20801",
		"cents": 5600, "text": "Two of the four glasses arrived broken."}`), 0o600))
	run := func(cmd *exec.Cmd) (string, error) {
		cmd.Env = append(cmd.Env, "LEDGERD_SERVER="+town.here.URL, "LEDGERD_TOKEN="+town.here.agent,
			"SHOP="+town.shop.URL, "MAIL="+town.mail.address(), "MAILBOX="+town.shop.URL)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		return stdout.String() + stderr.String(), err
	}
	killed := python(t, append(program, file)...)
	town.mail.onTaken(func() { _ = killed.Process.Kill() })
	out, err := run(killed)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("it was not killed: %v\n%s", err, out)
	}
	town.mail.onTaken(nil)
	for range 2 { // and once more, when all is done
		out, err = run(python(t, append(program, file)...))
		if err != nil || out != says {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if n := town.mail.messages(); n != 1 {
		t.Errorf("the mail server has %d messages, want 1", n)
	}
	if n := town.shop.refunds(); n != 1 {
		t.Errorf("the shop paid %d times, want once", n)
	}
	id := town.here.host.RunID(key)
	town.here.verified(id)
	kinds := town.here.kinds(id)
	if kinds[evidence.KindAuthorization] != 2 || kinds[evidence.KindExecution] != 2 || kinds[evidence.KindRunResumed] != 0 {
		t.Errorf("want two authorizations and an execution of each, found %v", kinds)
	}
}

// TestTypes has mypy check every annotation.
func TestTypes(t *testing.T) {
	short(t)
	t.Parallel()
	path, err := exec.LookPath("mypy")
	if err != nil {
		absent(t, "mypy")
	}
	cmd := exec.Command(path, "--strict", "--python-version", "3.10", "--cache-dir", filepath.Join(t.TempDir(), "mypy"), "src", "tests", "examples/complaint.py", "backend")
	cmd.Env = append(os.Environ(), "MYPYPATH=src:tests/standins")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestWheel builds the wheel and installs it as README.md says, and looks at what is in it.
func TestWheel(t *testing.T) {
	short(t)
	t.Parallel()
	if err := python(t, "-m", "pip", "--version").Run(); err != nil {
		absent(t, "pip")
	}
	dir := t.TempDir()
	must(t, os.CopyFS(filepath.Join(dir, "clients", "python"), os.DirFS("."))) // pip leaves something behind where it builds
	page, err := os.ReadFile("README.md")
	must(t, err)
	script := regexp.MustCompile("(?s)```sh\n(.*?)```").FindSubmatch(page)[1]
	sh := exec.Command("sh", "-eu")
	sh.Dir, sh.Stdin = dir, bytes.NewReader(script)
	sh.Env = append(os.Environ(), "PIP_NO_INDEX=1", "PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_NO_INPUT=1")
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	wheel := filepath.Join(dir, "dist", "ledgerd-0.1.0-py3-none-any.whl")
	first, err := os.ReadFile(wheel)
	must(t, err)
	again := python(t, "-c", "import ledgerd_build, sys; print(ledgerd_build.build_wheel(sys.argv[1])); print(ledgerd_build.build_sdist(sys.argv[1]))", dir)
	again.Env = append(again.Env, "PYTHONPATH=backend")
	made, err := again.Output()
	must(t, err)
	if want := "ledgerd-0.1.0-py3-none-any.whl\nledgerd-0.1.0.tar.gz\n"; string(made) != want {
		t.Errorf("want %q, found %q", want, made)
	}
	second, err := os.ReadFile(filepath.Join(dir, "ledgerd-0.1.0-py3-none-any.whl"))
	must(t, err)
	if !bytes.Equal(first, second) {
		t.Error("the same source made two different wheels")
	}
	listed, err := python(t, "-m", "zipfile", "-l", wheel).Output()
	must(t, err)
	sources, err := filepath.Glob("src/ledgerd/*")
	must(t, err)
	want := []string{"ledgerd-0.1.0.dist-info/METADATA", "ledgerd-0.1.0.dist-info/WHEEL", "ledgerd-0.1.0.dist-info/RECORD", "ledgerd-0.1.0.dist-info/licenses/LICENSE"}
	for _, file := range sources {
		if !strings.Contains(file, "__pycache__") {
			want = append(want, strings.TrimPrefix(filepath.ToSlash(file), "src/"))
		}
	}
	lines := strings.Split(strings.TrimSpace(string(listed)), "\n")[1:]
	found := make(map[string]bool)
	for _, line := range lines {
		found[strings.Fields(line)[0]] = true
	}
	for _, file := range want {
		if !found[file] {
			t.Errorf("%s is not in the wheel", file)
		}
	}
	if len(found) != len(want) {
		t.Errorf("want %d files, found %v", len(want), lines)
	}
	target := filepath.Join(dir, "site")
	cmd := python(t, "-c", `import importlib.metadata, ledgerd, pathlib, sys
meta = importlib.metadata.metadata("ledgerd")
print(ledgerd.__version__, meta["Version"], meta["License-Expression"], meta["Requires-Python"], pathlib.Path(ledgerd.__file__).parent.parent == pathlib.Path(sys.argv[1]))
receipt, trust = (pathlib.Path("../../testdata/bundle", name).read_bytes() for name in ("done.tlog-proof", "pinned.json"))
print(ledgerd.verify_receipt(receipt, trust).kind)`, target)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+target)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "0.1.0 0.1.0 Apache-2.0 >=3.10 True\nrun.closed\n" {
		t.Errorf("%v\n%s", err, out)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
