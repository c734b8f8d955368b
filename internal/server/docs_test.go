package server_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ledgerd/internal/daemontest"
)

const apiDoc = "../../docs/http-api.md"

// TestDocsExamples runs the shell blocks of docs/http-api.md, one after the
// other, against a daemon.
func TestDocsExamples(t *testing.T) {
	for _, tool := range []string{"sh", "curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("the examples want %s, which .ci/install should have seen to", tool)
			}
			t.Skipf("the examples want %s, which is not here", tool)
		}
	}
	doc, err := os.ReadFile(apiDoc)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(doc, -1)
	if len(blocks) < 8 {
		t.Fatalf("only %d examples", len(blocks))
	}
	script := []byte("set -eu\n")
	for _, b := range blocks {
		script = append(script, b[1]...)
		script = append(script, "echo\n"...)
	}
	d := daemontest.New(t, nil)
	dir := t.TempDir()
	line := d.Line()
	entries := d.Records(line, 5)
	for name, content := range map[string][]byte{
		"record.jws": entries[0], "records.jws": append(bytes.Join(entries[1:], []byte("\n")), '\n'), "payload.json": []byte(`{"to":"a@example.org"}`),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sh := exec.Command("sh", "-x")
	sh.Dir = dir
	sh.Stdin = bytes.NewReader(script)
	sh.Env = append(os.Environ(), "SERVER="+d.URL, "TOKEN="+d.Token, "RUN="+string(line.Run()))
	out, err := sh.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`"status":201,"index":3`, `"status":201,"index":7`, "ledgerd_tree_size 9", "event: record", `"differences":[]`} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the examples never printed %s\n%s", want, out)
		}
	}
}

// TestDocsAreComplete: every route and every reason of the daemon's own is in
// docs/http-api.md.
func TestDocsAreComplete(t *testing.T) {
	doc, err := os.ReadFile(apiDoc)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("\\\n", " ", "\n", " ").Replace(string(doc))
	d := daemontest.New(t, nil)
	for _, r := range d.Server.Routes() {
		method, path, _ := strings.Cut(r, " ")
		path = strings.ReplaceAll(path, "...", "")
		said := strings.Contains(text, "`"+r+"`") || strings.Contains(text, "`"+method+" "+path) ||
			strings.Contains(text, "-X "+method+` "$SERVER`+path) || strings.Contains(text, "-X "+method+" $SERVER"+path)
		if !said && method == "GET" {
			said = strings.Contains(text, "$SERVER"+path)
		}
		if !said && method == "PUT" {
			said = strings.Contains(text, "-X PUT $SERVER/v1/payloads/$COMMIT")
		}
		if !said && method == "POST" {
			said = regexp.MustCompile(regexp.QuoteMeta("$SERVER"+path) + `.{0,200}(-d |--data)`).MatchString(text)
		}
		if !said {
			t.Errorf("%s is served, and not in docs/http-api.md", r)
		}
	}
	source, err := os.ReadFile("../api/problem.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`Reason\w+ += "(\w+)"`).FindAllSubmatch(source, -1) {
		if reason := string(m[1]); reason != "conflict" && !strings.Contains(text, "`"+reason+"`") {
			t.Errorf("reason %s is not in docs/http-api.md", reason)
		}
	}
}
