package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"ledgerd/internal/manual"
	"ledgerd/internal/manual/manualtest"
)

func pages() *manual.Page { return manual.New(newApp()) }

// Every command has examples, and its help fits a terminal.
func TestHelp(t *testing.T) { manualtest.Pages(t, pages()) }

// The examples that --help shows run as they stand. The scripts in
// testdata/examples set up what they need, and say by `examples COMMAND` whose run
// then, one after the other; `takeout COMMAND` writes them to 1.sh, 2.sh and so
// on, for what does not end by itself. A command of which no script runs the
// examples is told.
func TestExamples(t *testing.T) {
	manualtest.Long(t)
	root := pages()
	var mu sync.Mutex
	ran := make(map[string]bool)
	find := func(ts *testscript.TestScript, args []string) *manual.Page {
		name := strings.Join(append([]string{"ledgerd"}, args...), " ")
		p := root.Find(name)
		if p == nil {
			ts.Fatalf("there is no command %s", name)
		}
		mu.Lock()
		defer mu.Unlock()
		ran[name] = true
		return p
	}
	commands := scriptCommands()
	commands["examples"] = func(ts *testscript.TestScript, _ bool, args []string) {
		for _, e := range find(ts, args).Examples {
			err := ts.Exec("sh", "-e", "-c", e.Script)
			code := 0
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				code = exit.ExitCode()
			} else {
				ts.Check(err)
			}
			if code != e.Exit {
				ts.Fatalf("# %s\n%s\nexpected exit code %d, found %d", e.Comment, e.Script, e.Exit, code)
			}
		}
	}
	commands["takeout"] = func(ts *testscript.TestScript, _ bool, args []string) {
		for i, e := range find(ts, args).Examples {
			// The shell gives way to the program, which is then the one to be interrupted.
			ts.Check(os.WriteFile(ts.MkAbs(fmt.Sprintf("%d.sh", i+1)), []byte("exec "+e.Script+"\n"), 0o600))
		}
	}
	runs, err := filepath.Abs("../../examples/complaints.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	samples, err := filepath.Abs("../../internal/importer/testdata")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("scripts", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir: "testdata/examples", Cmds: commands,
			Setup: func(e *testscript.Env) error {
				e.Setenv("RUNS", runs)
				e.Setenv("SAMPLES", samples)
				e.Setenv("HOME", e.WorkDir)
				e.Setenv("LEDGERD_LISTEN", "127.0.0.1:0") // 8420 may be another's
				return nil
			},
		})
	})
	if t.Failed() {
		return
	}
	root.Walk(func(p *manual.Page) {
		if !ran[p.Name] {
			t.Errorf("no script in testdata/examples runs the examples of %s", p.Name)
		}
	})
}

func TestManPage(t *testing.T) {
	manualtest.Man(t, pages(), "NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO")
}

// docs/operations.md says how the manual and completion are installed, as --help does.
func TestManualIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ledgerd completion", "ledgerd man"} {
		for _, e := range pages().Find(name).Examples {
			if !strings.Contains(string(doc), "\n"+e.Script+"\n") {
				t.Errorf("docs/operations.md does not show\n%s", e.Script)
			}
		}
	}
}

// What a shell offers, wherever flags stand. Nothing that is only typed is run.
func TestCompletion(t *testing.T) {
	manualtest.Complete(t, "ledgerd", []manualtest.Completion{
		{Line: "ledgerd ac", Want: []string{"actor"}},
		{Line: "ledgerd quick", Want: []string{"quickstart"}}, // and not the hidden one
		{Line: "ledgerd --config trust.json ser", Want: []string{"serve"}},
		{Line: "ledgerd serve --conf", Want: []string{"--config"}},
		{Line: "ledgerd handoff off", Want: []string{"offer"}},
		{Line: "ledgerd handoff --data-dir bundles off", Want: []string{"offer"}},
		{Line: "ledgerd actor add --role ", Want: []string{"runtime", "agent", "tool", "human"}},
		{Line: "ledgerd actor add mia --role=h", Want: []string{"human"}},
		{Line: "ledgerd actor add mia --ho", Want: []string{"--host"}},
		{Line: "ledgerd token add --right read --rig", Want: []string{"--right"}},
		{Line: "ledgerd contract try --expect un", Want: []string{"unsupported", "undisclosed"}},
		{Line: "ledgerd import --data-dir ", Want: []string{"bundles"}},
		{Line: "ledgerd import tr", Want: []string{"trust.json"}},
		{Line: "ledgerd run show "},
		{Line: "ledgerd export --run run_1 -o t", Want: []string{"trust.json"}},
		{Line: "ledgerd nonsense --data-d"},
		{Line: "ledgerd $(touch pwned) ac"},
	})
}
