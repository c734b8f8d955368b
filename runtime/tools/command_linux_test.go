package tools_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
	"ledgerd/runtime/tools"
)

func command(t *testing.T, cfg tools.CommandConfig) *runtime.Func[tools.CommandInput, tools.CommandOutput] {
	t.Helper()
	cfg.Spec.Name, cfg.Spec.Action = "command", "run_command"
	tool, err := tools.NewCommand(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tool
}

// script writes an executable; it stands in for a real one that ends as it is told.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func lookPath(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip(err)
	}
	return path
}

func TestCommandFailures(t *testing.T) {
	exit := func(code string) tools.CommandConfig {
		return tools.CommandConfig{Path: script(t, "#!/bin/sh\necho no >&2\nexit "+code+"\n")}
	}
	for _, c := range []struct {
		name  string
		cfg   tools.CommandConfig
		input string
		want  string // of the first execution record
		class evidence.Class
		doubt bool
		out   string
	}{
		{name: "stdin to stdout", cfg: tools.CommandConfig{Path: "cat", Stdin: "text"}, input: `{"text":"a\u0000b; $(c)"}`, want: "success", out: `{"stdout":"a\u0000b; $(c)"}`},
		{name: "arguments stay whole", cfg: tools.CommandConfig{Path: "printf", Args: []string{"[%s]", "{a}", "{b}"}}, input: `{"a":"x y; $(id)","b":7}`, want: "success", out: `{"stdout":"[x y; $(id)][7]"}`},
		{name: "an option from the input", cfg: tools.CommandConfig{Path: "cat", Args: []string{"{file}"}}, input: `{"file":"--help"}`, want: "failure invalid_tool_payload", class: evidence.InvalidToolPayload},
		{name: "after --", cfg: tools.CommandConfig{Path: "printf", Args: []string{"--", "%s", "{a}"}}, input: `{"a":"-n"}`, want: "success", out: `{"stdout":"-n"}`},
		{name: "NUL", cfg: tools.CommandConfig{Path: "cat", Args: []string{"{file}"}}, input: `{"file":"a\u0000b"}`, want: "failure invalid_tool_payload", class: evidence.InvalidToolPayload},
		{name: "no environment", cfg: tools.CommandConfig{Path: "env", Env: []string{"A=1"}}, input: `{}`, want: "success", out: `{"stdout":"A=1\n"}`},
		{name: "directory", cfg: tools.CommandConfig{Path: lookPath(t, "pwd")}, input: `{}`, want: "success", out: `{"stdout":"/\n"}`},
		{name: "script", cfg: tools.CommandConfig{Path: script(t, "#!/bin/sh\necho \"$1\"\n"), Args: []string{"{a}"}}, input: `{"a":"b"}`, want: "success", out: `{"stdout":"b\n"}`},
		{name: "false", cfg: tools.CommandConfig{Path: "false"}, input: `{}`, want: "failure tool_failed", class: evidence.ToolFailed},
		{name: "EX_USAGE", cfg: exit("64"), input: `{}`, want: "failure invalid_tool_payload", class: evidence.InvalidToolPayload},
		{name: "EX_TEMPFAIL", cfg: exit("75"), input: `{}`, want: "failure tool_unavailable", class: evidence.ToolUnavailable},
		{name: "by a signal", cfg: tools.CommandConfig{Path: script(t, "#!/bin/sh\nkill -9 $$\n")}, input: `{}`, want: "unknown outcome_unknown", doubt: true},
		{name: "timeout", cfg: tools.CommandConfig{Spec: runtime.Spec{Timeout: 100 * time.Millisecond}, Path: "sleep", Args: []string{"{s}"}}, input: `{"s":60}`, want: "unknown outcome_unknown", doubt: true},
		{name: "timeout, idempotent", cfg: tools.CommandConfig{Spec: runtime.Spec{Timeout: 50 * time.Millisecond, Idempotent: true}, Path: "sleep", Args: []string{"{s}"}}, input: `{"s":60}`, want: "failure tool_timeout", class: evidence.ToolTimeout},
		{name: "more than it keeps", cfg: tools.CommandConfig{Path: "cat", Stdin: "text", MaxOutput: 4}, input: `{"text":"123456"}`, want: "success", out: `{"stdout":"1234","truncated":true}`},
		{name: "bytes", cfg: tools.CommandConfig{Path: "printf", Args: []string{`\377`}}, input: `{}`, want: "success", out: `{"stdout_base64":"/w=="}`},
		{name: "no executable format", cfg: tools.CommandConfig{Path: script(t, "no format\n")}, input: `{}`, want: "failure tool_unavailable", class: evidence.ToolUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("SECRET", "of the runtime")
			w := runtimetest.New(t)
			run := open(t, w.Runtime(command(t, c.cfg)))
			res, err := run.Do(ctx, runtime.Action{Step: "x", Tool: "command", Input: []byte(c.input)})
			var failed *runtime.Failed
			var doubt *runtime.InDoubt
			switch {
			case c.class != "":
				if !errors.As(err, &failed) || failed.Class != c.class {
					t.Errorf("want class %s: %v", c.class, err)
				}
			case c.doubt:
				if !errors.As(err, &doubt) {
					t.Errorf("want a doubt: %v", err)
				}
			case err != nil || string(res.Output) != c.out:
				t.Errorf("%+v, %v", res, err)
			}
			if strings.HasPrefix(c.name, "EX_") && !strings.Contains(err.Error(), `"no"`) {
				t.Errorf("what it said is not in the error: %v", err)
			}
			if got := executions(w, run.ID()); len(got) == 0 || got[0] != c.want {
				t.Errorf("records: %q", got)
			}
			w.Sound(run.ID())
		})
	}
}

// TestCommandProgress: what a long command writes is told while it runs; only the
// outcome waits for its record.
func TestCommandProgress(t *testing.T) {
	w := runtimetest.New(t)
	// It goes on when it has been heard.
	heard := filepath.Join(t.TempDir(), "heard")
	tool := command(t, tools.CommandConfig{Path: script(t, "#!/bin/sh\necho half\nwhile [ ! -e "+heard+" ]; do sleep 0.01; done\necho whole\n")})
	run, err := w.Runtime(tool).Open(t.Context(), "k", runtime.As(runtimetest.Agent), runtime.Task("build", nil))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var told bytes.Buffer
	res, err := run.Do(t.Context(), runtime.Action{Step: "build", Tool: "command", Input: []byte(`{}`), Progress: func(update []byte) {
		mu.Lock()
		defer mu.Unlock()
		told.Write(update)
		if told.String() == "half\n" {
			for _, p := range w.Records(run.ID()) {
				if p.Record.Kind == evidence.KindExecution {
					t.Error("recorded before it was over")
				}
			}
			if err := os.WriteFile(heard, nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if told.String() != "half\nwhole\n" || string(res.Output) != `{"stdout":"half\nwhole\n"}` {
		t.Errorf("told %q, and the result is %s", told.String(), res.Output)
	}
}

// TestCommandLeavesNobody: neither at the deadline nor after its end does a
// process of the command's group live on.
func TestCommandLeavesNobody(t *testing.T) {
	sleep := lookPath(t, "sleep")
	for name, end := range map[string]string{"deadline": "wait", "end": "exit 0"} {
		t.Run(name, func(t *testing.T) {
			pidFile := filepath.Join(t.TempDir(), "pid")
			path := script(t, "#!/bin/sh\n"+sleep+" 600 &\necho $! > "+pidFile+"\n"+end+"\n")
			w := runtimetest.New(t)
			run := open(t, w.Runtime(command(t, tools.CommandConfig{Path: path, Spec: runtime.Spec{Timeout: time.Second}})))
			_, err := run.Do(ctx, runtime.Action{Step: "x", Tool: "command", Input: []byte(`{}`)})
			if (err == nil) != (name == "end") {
				t.Errorf("%v", err)
			}
			text, err := os.ReadFile(pidFile)
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(10 * time.Second); alive(pid); {
				if time.Now().After(deadline) {
					_ = syscall.Kill(pid, syscall.SIGKILL)
					t.Fatal("its child lives on")
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
}

// alive reports whether a process runs: one that ended and that nobody has waited
// for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

func TestRow63SymlinkSwappedBetweenCheckAndUse(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "ran")
	evil := "#!/bin/sh\necho evil > " + marker + "\n"
	cat := lookPath(t, "cat")
	for name, swap := range map[string]func(t *testing.T, link, file string){
		"the link": func(t *testing.T, link, _ string) {
			if err := errors.Join(os.Remove(link), os.Symlink(script(t, evil), link)); err != nil {
				t.Fatal(err)
			}
		},
		"the file behind it": func(t *testing.T, _, file string) {
			if err := os.Rename(script(t, evil), file); err != nil {
				t.Fatal(err)
			}
		},
		"its content": func(t *testing.T, _, file string) {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			b := []byte(evil)
			for int64(len(b)) < info.Size() {
				b = append(b, '#')
			}
			err = errors.Join(os.WriteFile(file, b, 0o700), os.Chtimes(file, info.ModTime(), info.ModTime()))
			if err != nil {
				t.Fatal(err)
			}
		},
		"away": func(t *testing.T, _, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		},
		"a pipe": func(t *testing.T, link, _ string) {
			if err := errors.Join(os.Remove(link), syscall.Mkfifo(link, 0o700)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			link, file := filepath.Join(dir, "link"), filepath.Join(dir, "file")
			b, err := os.ReadFile(cat)
			if err := errors.Join(err, os.WriteFile(file, b, 0o700), os.Symlink(file, link)); err != nil {
				t.Fatal(err)
			}
			w := runtimetest.New(t)
			tool := command(t, tools.CommandConfig{Path: link, Stdin: "text"})
			if d := tool.Spec().Description; !strings.Contains(d, "sha256") || !strings.Contains(d, link) {
				t.Errorf("the description does not say which file it is: %s", d)
			}
			run := open(t, w.Runtime(tool))
			input := []byte(`{"text":"a"}`)
			if _, err := run.Do(ctx, runtime.Action{Step: "before", Tool: "command", Input: input}); err != nil {
				t.Fatal(err)
			}
			swap(t, link, file)
			call := &runtime.Call{Key: "k", Input: input}
			_, err = tool.Call(ctx, call)
			if f := runtime.Classify(err); f.Class != evidence.ToolUnavailable || !f.NotRun {
				t.Errorf("%+v", f)
			}
			_, err = run.Do(ctx, runtime.Action{Step: "after", Tool: "command", Input: input})
			var failed *runtime.Failed
			if !errors.As(err, &failed) || failed.Class != evidence.ToolUnavailable {
				t.Errorf("%v", err)
			}
			if _, err := os.Stat(marker); err == nil {
				t.Error("what was put in its place ran")
			}
			w.Sound(run.ID())
		})
	}
}

// TestRow63SwappedWhileRunning: the path is swapped over and over while the tool
// is called. What runs is what was looked at, or nothing.
func TestRow63SwappedWhileRunning(t *testing.T) {
	dir := t.TempDir()
	marker, link := filepath.Join(dir, "ran"), filepath.Join(dir, "link")
	evil, good := script(t, "#!/bin/sh\necho evil > "+marker+"\n"), script(t, "#!/bin/sh\necho good\n")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	tool := command(t, tools.CommandConfig{Path: link})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			next := filepath.Join(dir, "next")
			_ = os.Symlink([]string{evil, good}[i%2], next)
			_ = os.Rename(next, link)
		}
	}()
	ran := 0
	for range 150 {
		out, err := tool.Call(ctx, &runtime.Call{Key: "k", Input: []byte(`{}`)})
		if err == nil {
			ran++
			if string(out.Data) != `{"stdout":"good\n"}` {
				t.Errorf("%s", out.Data)
			}
		} else if f := runtime.Classify(err); f.Class != evidence.ToolUnavailable || !f.NotRun {
			t.Errorf("%+v", f)
		}
	}
	close(stop)
	<-stopped
	if _, err := os.Stat(marker); err == nil {
		t.Error("what was put in its place ran")
	}
	t.Logf("%d of 150 ran", ran)
}

func TestCommandConfigRefused(t *testing.T) {
	for name, cfg := range map[string]tools.CommandConfig{
		"no such file":           {Path: "/nonexistent/x"},
		"a directory":            {Path: "/"},
		"a part of an argument":  {Path: "cat", Args: []string{"--file={a}"}},
		"a directory of its own": {Path: "cat", Dir: "relative"},
	} {
		if _, err := tools.NewCommand(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
