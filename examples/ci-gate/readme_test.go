package cigate

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestREADME runs README.md as it stands, in an empty directory, and wants each gate
// to have answered as the page says, for the reason that it says.
func TestREADME(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs programs")
	}
	for _, tool := range []string{"sh", "bash", "curl", "git"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("the page wants %s, which .ci/install should have seen to", tool)
			}
			t.Skipf("the page wants %s, which is not here", tool)
		}
	}
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	// go test remembers a result as long as what the test itself has opened is as it was.
	for _, name := range []string{"agent.sh", "tests.sh", "../../action/verify.sh", "../../action/gate/main.go", "../../action/gate/show.go"} {
		if _, err := os.Stat(name); err != nil {
			t.Fatal(err)
		}
	}
	script := "set -eu\ntrap 'kill -9 ${DAEMON:-} 2>/dev/null || true' EXIT\n"
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	for _, b := range blocks {
		script += b[1]
	}
	if len(blocks) < 9 {
		t.Fatalf("only %d shell blocks", len(blocks))
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	sh := exec.CommandContext(ctx, "sh", "-c", script)
	sh.Dir, sh.WaitDelay = t.TempDir(), time.Second // a daemon that is left has the pipes
	sh.Env = append(os.Environ(), "REPOSITORY="+root, "SERVER=http://"+address, "LEDGERD_LISTEN="+address, "GITHUB_ACTIONS=")
	out, err := sh.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Each gate's text, in the order of the page, and what it has to have in it.
	gates := strings.SplitAfter(string(out), " of verify).\n")
	for i, want := range [][]string{
		{"The gate passes: verified (exit code 0"},
		{"✗ about: not_about_this_subject", "The gate does not pass: wrong (exit code 1"},
		{`"result":"unsupported"`, `"end":"failed"`, "claim       unsupported", "The gate does not pass: wrong"},
		{`"state":"denied"`, `"state":"failed"`, "claim       contradicted", "The gate does not pass: wrong"},
		{"✓ held", "The gate passes: verified (exit code 0"},
	} {
		for _, s := range want {
			if i >= len(gates) || !strings.Contains(gates[i], s) {
				t.Errorf("gate %d: want %q", i+1, s)
			}
		}
	}
	if len(gates) != 6 || gates[5] != "" {
		t.Errorf("want 5 gates, found %d, and %q behind them", len(gates)-1, gates[len(gates)-1])
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
