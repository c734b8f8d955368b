package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"ledgerd/audit"
	"ledgerd/handoff"
	"ledgerd/internal/datadir"
)

// page runs the shell blocks of a document, one after the other, in an empty
// directory, with a daemon of its own that they start and kill. It returns what
// they print.
func page(t *testing.T, name string) (dir string, out []byte) {
	t.Helper()
	for _, tool := range []string{"sh", "curl", "mkdir"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("the page wants %s, which .ci/install should have seen to", tool)
			}
			t.Skipf("the page wants %s, which is not here", tool)
		}
	}
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	script := []byte("set -eu\ntrap 'kill -9 $(jobs -p) 2>/dev/null || true' EXIT\n")
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(doc, -1)
	for _, b := range blocks {
		script = append(script, b[1]...)
	}
	if len(blocks) < 8 {
		t.Fatalf("only %d examples", len(blocks))
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	sh := exec.CommandContext(ctx, "sh", "-x")
	sh.Dir = dir
	sh.Stdin = bytes.NewReader(script)
	sh.Env = append(os.Environ(), "SERVER=http://"+address, "LEDGERD_LISTEN="+address, "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"))
	sh.WaitDelay = time.Second // a daemon that is left has the pipes
	out, err = sh.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir, out
}

// TestContractsPage runs docs/contracts.md, and holds its contracts to the schema.
func TestContractsPage(t *testing.T) {
	dir, out := page(t, "contracts.md")
	for _, want := range []string{
		"contracts/refund.json: sound", "wrong.json: contract: /expects/0/input_has/subject/$begins: ", "exit code 1", `"result":"supported"`,
		"/expects/1     run_tests", "/only ", `"$input": "/order"`,
	} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the page never printed %s", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
	text, err := os.ReadFile("../../docs/contract.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("contract.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("contract.json")
	if err != nil {
		t.Fatal(err)
	}
	contracts, err := filepath.Glob(filepath.Join(dir, "contracts", "*.json"))
	if err != nil || len(contracts) != 4 {
		t.Fatalf("want 4 contracts, found %v %v", contracts, err)
	}
	for _, file := range append(contracts, filepath.Join(dir, "draft.json")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestAgentsPage runs docs/agents-http.md.
func TestAgentsPage(t *testing.T) {
	dir, out := page(t, "agents-http.md")
	for _, want := range []string{
		`"state":"allowed"`, `"state":"denied"`, `"state":"in_doubt"`, `"state":"succeeded"`, `"reason":"claim_unsupported"`, `"result":"contradicted"`,
		`"result":"supported"`, `"end":"completed"`, `"policies":["support-tells-crm"]`, `"name":"noted"`, "not decided yet", "not on this claim",
	} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the page never printed %s", want)
		}
	}
	refund, err := os.ReadFile(filepath.Join(dir, "refund.json"))
	if err != nil || !strings.Contains(string(refund), `"state":"allowed"`) {
		t.Errorf("the refund, once approved: %s, %v", refund, err)
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
	if info, err := os.Stat(filepath.Join(dir, "ticket-4711")); err != nil || !info.IsDir() {
		t.Errorf("the tool did nothing: %v", err)
	}
	verifyPage(t, dir)
}

// verifyPage audits the bundle that the page ends with.
func verifyPage(t *testing.T, dir string) {
	t.Helper()
	d, err := datadir.Open(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.Ledger(t.Context(), datadir.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	trust, err := l.Trust()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "run.bundle.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	report, err := audit.VerifyBundle(f, trust, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Rules {
		if r.Status != audit.Broken {
			continue
		}
		for _, f := range r.Findings {
			// The first claim was a lie, and is shown to be one.
			if r.Rule != audit.RuleClaim {
				t.Errorf("the audit: %s", f.String())
			}
		}
	}
	if got := report.Rule(audit.RuleContract).Status; got != audit.Held {
		t.Errorf("the contract: %v", got)
	}
}

// TestHandoffsPage: the commands of docs/handoffs.md are those of the scripts that
// play both sides.
func TestHandoffsPage(t *testing.T) {
	doc, err := os.ReadFile("../../docs/handoffs.md")
	if err != nil {
		t.Fatal(err)
	}
	var script []byte
	for _, name := range []string{"handoff.txt", "peers.txt"} {
		one, err := os.ReadFile("testdata/script/" + name)
		if err != nil {
			t.Fatal(err)
		}
		script = append(script, one...)
	}
	commands := 0
	for line := range strings.Lines(string(doc)) {
		if !strings.HasPrefix(line, "ledgerd ") {
			continue
		}
		commands++
		if !strings.Contains("\n"+string(script), "\n"+line) {
			t.Errorf("not in testdata/script/handoff.txt or peers.txt: %s", line)
		}
	}
	if commands < 15 {
		t.Errorf("only %d commands", commands)
	}
	for _, reason := range handoff.Reasons() {
		if !strings.Contains(string(doc), "| `"+string(reason)+"` |") {
			t.Errorf("no row for %s", reason)
		}
	}
}
