package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"verify": main})
}

// The scripts in testdata read like a session. Each starts in a directory with
// the files of fixtures_test.go.
func TestScripts(t *testing.T) {
	files := newFixtures(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			e.Setenv("EVIL", evil[1:5]+"\x1b[31m.bundle")
			e.Setenv("LONG", strings.Repeat("l", 250)) // a name to which nothing can be added
			for name, b := range files {
				if run, ok := strings.CutSuffix(name, ".run"); ok {
					e.Setenv("RUN_"+run, string(b))
				}
				if record, ok := strings.CutSuffix(name, ".ev"); ok {
					e.Setenv("EV_"+record, string(b))
				}
			}
			return files.write(e.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"serve": serve,
			// statev1 FROM TO writes a state as version 1 had it.
			"statev1": func(ts *testscript.TestScript, _ bool, args []string) {
				var st stateFile
				ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &st))
				b, err := json.Marshal(map[string]string{"state": "v1", "origin": st.Origin, "head": st.Head})
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o600))
			},
		},
	})
}

// exits CODE COMMAND... runs a command, which has to exit with that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if code != want {
		ts.Fatalf("expected exit code %d, found %d\nstdout: %s\nstderr: %s", want, code, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// serve DIR [TOKEN] serves a directory as $URL, to those with the token.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: serve DIR [TOKEN]")
	}
	files := http.FileServer(http.Dir(ts.MkAbs(args[0])))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(args) > 1 && r.Header.Get("Authorization") != "Bearer "+args[1] {
			http.Error(w, "a token is needed", http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	}))
	ts.Defer(srv.Close)
	ts.Setenv("URL", srv.URL)
}

// Who waits for a file to end is ended by the first signal: there is nothing to say yet.
func TestInterruptedOverAFile(t *testing.T) {
	s := newSession(t)
	for _, sent := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := exec.CommandContext(t.Context(), "verify", "--trust", filepath.Join(s.dir, "trust.json"), "-")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// More than a pipe holds, and less than a line may have: once it is written, it is read.
		if _, err := in.Write(slices.Concat([]byte(`{"bundle":`), make([]byte, 1<<16))); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(sent); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			if err == nil || !strings.Contains(err.Error(), "signal: "+sent.String()) {
				t.Errorf("%v: %v", sent, err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%v: it goes on", sent)
			_ = cmd.Process.Kill()
			<-ended
		}
	}
}

// An offline verifier needs no storage engine, no runtime and no server.
func TestVerifyDependsOnLittle(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 50 {
		t.Fatalf("go list names %d packages: has its output changed?", len(deps))
	}
	for _, dep := range deps {
		for _, no := range []string{"github.com/cockroachdb", "ledgerd/runtime", "ledgerd/internal/server", "ledgerd/internal/api", "ledgerd/ledger/pebblestore", "net/http/httptest", "testing"} {
			if dep == no || strings.HasPrefix(dep, no+"/") {
				t.Errorf("cmd/verify depends on %s", dep)
			}
		}
		if dep == "ledgerd/ledger" {
			t.Error("cmd/verify depends on ledgerd/ledger")
		}
	}
}

// A FILE called log is no command.
func TestArrange(t *testing.T) {
	for in, want := range map[string]string{
		"verify a --trust t b -q":            "verify --trust t -q -- a b",
		"verify --trust t log U --state s":   "verify log --trust t --state s -- U",
		"verify log U --trust=t":             "verify log --trust=t -- U",
		"verify trust show --trust t f":      "verify trust show --trust t -- f",
		"verify --trust t trust show":        "verify trust show --trust t --",
		"verify -- trust show":               "verify -- ./trust show",
		"verify consistency a --log L b":     "verify consistency --log L -- a b",
		"verify -- log":                      "verify -- ./log",
		"verify --trust t -- --quiet":        "verify --trust t -- --quiet",
		"verify --trust t -":                 "verify --trust t -- -",
		"verify x log --trust t":             "verify --trust t -- x log",
		"verify --trust":                     "verify --trust --",
		"verify --output json --nonsense f":  "verify --output json --nonsense -- f",
		"verify f --contract c --subject -q": "verify --contract c --subject -q -- f",
	} {
		if got := strings.Join(arrange(strings.Fields(in)), " "); got != want {
			t.Errorf("%s\nexpected %s\nfound    %s", in, want, got)
		}
	}
}
