package main

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ledgerd/client"
	"ledgerd/internal/datadir"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"ledgerd":      func() { os.Exit(run(os.Args)) },
		"notes-server": notesServer,
	})
}

// TestScript runs sessions as somebody would type them. Four commands are the
// scripts' own: `agent DIR RUN` runs a program that pays (see agent), `ready DIR` waits for the daemon of a directory and sets SERVER and INBOX,
// `mode FILE MODE` compares permissions, `setjson NAME FILE MEMBER` sets a
// variable to a member of the last JSON object of a file. Those about handoffs are in
// handoffCommands.
func TestScript(t *testing.T) {
	runs, err := filepath.Abs("../../examples/complaints.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	samples, err := filepath.Abs("../../internal/importer/testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("RUNS", runs)
			e.Setenv("SAMPLES", samples)
			return nil
		},
		Cmds: scriptCommands(),
	})
}

func scriptCommands() map[string]func(*testscript.TestScript, bool, []string) {
	all := map[string]func(*testscript.TestScript, bool, []string){
		"agent":   agentProgram,
		"ready":   ready,
		"mode":    mode,
		"setjson": setJSON,
	}
	maps.Copy(all, handoffCommands)
	return all
}

func ready(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	for range 200 {
		time.Sleep(50 * time.Millisecond)
		d, err := datadir.Open(dir)
		if err != nil {
			continue
		}
		a, err := d.Daemon()
		if err != nil {
			continue
		}
		c, err := client.New(a.URL, client.Options{})
		if err == nil && c.Ready(context.Background()) == nil {
			ts.Setenv("SERVER", a.URL)
			ts.Setenv("INBOX", a.Handoffs)
			return
		}
	}
	ts.Fatalf("no daemon of %s is ready", args[0])
}

func mode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := info.Mode().Perm().String(); (got == args[1]) == neg {
		ts.Fatalf("%s: found mode %s", args[0], got)
	}
}

func setJSON(ts *testscript.TestScript, _ bool, args []string) {
	lines := strings.Split(strings.TrimSpace(ts.ReadFile(args[1])), "\n")
	var v map[string]any
	ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &v))
	text, ok := v[args[2]].(string)
	if !ok {
		ts.Fatalf("%s has no text in %q: %s", args[1], args[2], lines[len(lines)-1])
	}
	ts.Setenv(args[0], text)
}
