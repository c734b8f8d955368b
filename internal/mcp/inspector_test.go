package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"ledgerd/internal/api"
)

// TestInspector: the command line of the protocol's inspector prints the same with the
// gateway in between as without, but for _meta: over stdio and over HTTP.
func TestInspector(t *testing.T) {
	t.Parallel()
	modules := nodeModules(t)
	node := newerNode(t, modules)
	asked := map[string][]string{
		"tools":    {"--method", "tools/list"},
		"call":     {"--method", "tools/call", "--tool-name", "get-structured-content", "--tool-arg", "location=New York"},
		"resource": {"--method", "resources/read", "--uri", "demo://resource/static/document/features.md"},
		"prompt":   {"--method", "prompts/get", "--prompt-name", "args-prompt", "--prompt-args", "city=Paris"},
	}
	h := newHouse(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	url := everything(t, modules) + "/mcp"
	governed, _, _ := h.wired("http", url)
	stdio := []string{filepath.Join(modules, ".bin", "mcp-server-everything")}
	home := t.TempDir()
	inspector := func(args, server []string) string {
		cmd := exec.Command(node, slices.Concat([]string{filepath.Join(modules, ".bin", "mcp-inspector"), "--cli"}, args, []string{"--format", "json", "--quiet"}, server)...)
		cmd.Dir = home
		// It looks for what it knows of servers at home; and nothing of it is to be shown.
		cmd.Env = append(os.Environ(), "HOME="+home, "BROWSER=none", "MCP_AUTO_OPEN_ENABLED=false")
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%v: %v\n%s", args, err, err.(*exec.ExitError).Stderr)
		}
		return string(out)
	}
	// The gateway's variable is given to it by the inspector, which hands on none of its own.
	var ways sync.WaitGroup
	slots := make(chan struct{}, 8) // most of its time it waits for a server to end
	for what, args := range asked {
		for how, servers := range map[string][2][]string{
			"stdio": {stdio, slices.Concat([]string{self}, stdio)},
			"http":  {{"--transport", "http", "--server-url", url}, {"--transport", "http", "--server-url", governed}},
		} {
			ways.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				with := slices.Clone(args)
				if how == "stdio" {
					token := h.Grant("support", api.RightAct, api.RightRead, api.RightGateway)
					with = append(with, "-e", fmt.Sprintf("%s=%s %s stdio stdio %s", gatewayVar, h.URL, token, filepath.Join(home, "tools.json")))
				}
				plain, got := inspector(args, servers[0]), inspector(with, servers[1])
				rest, evidence := withoutEvidence(t, got)
				if (what == "call") != (evidence == 1) || what != "call" && evidence > 0 {
					t.Errorf("%s over %s names %d records:\n%s", what, how, evidence, got)
				}
				if want, _ := withoutEvidence(t, plain); want != rest || len(want) < 50 {
					t.Errorf("%s over %s, without the gateway:\n%s\nand with it:\n%s", what, how, plain, got)
				}
			})
		}
	}
	ways.Wait()
	for _, run := range []string{"stdio", "http"} {
		st, err := h.Client(h.Token).RunState(context.Background(), run)
		if err != nil || len(st.Steps) != 1 || len(st.InDoubt) > 0 {
			t.Fatalf("%+v %v", st, err)
		}
		h.sound(st.Run)
	}
}

// withoutEvidence leaves out of what the inspector printed what the gateway added, and
// counts it.
func withoutEvidence(t *testing.T, printed string) (rest string, evidence int) {
	t.Helper()
	evidence = strings.Count(printed, MetaEvidence)
	var v struct {
		Result map[string]any `json:"result"`
	}
	if err := json.Unmarshal([]byte(printed), &v); err != nil || v.Result == nil {
		t.Errorf("%v: %s", err, printed)
	}
	if meta, ok := v.Result["_meta"].(map[string]any); ok {
		delete(meta, MetaEvidence)
		if len(meta) == 0 {
			delete(v.Result, "_meta")
		}
	}
	b, err := json.Marshal(v.Result)
	if err != nil {
		t.Error(err)
	}
	return string(b), evidence
}

// newerNode returns a Node that the inspector accepts: the machine's, or the one that is
// installed with the packages.
func newerNode(t *testing.T, modules string) string {
	t.Helper()
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	found := filepath.Join(modules, "node-"+runtime.GOOS+"-"+arch, "bin", "node")
	if _, err := os.Stat(found); err == nil {
		return found
	}
	out, err := exec.Command("node", "--version").Output()
	var major, minor int
	if m := regexp.MustCompile(`^v([0-9]+)\.([0-9]+)`).FindStringSubmatch(string(out)); m != nil && err == nil {
		_, _ = fmt.Sscan(m[1]+" "+m[2], &major, &minor)
	}
	if major < 22 || major == 22 && minor < 19 {
		t.Skipf("the inspector wants Node 22.19 or newer, and no package has one for %s/%s; found %s %v", runtime.GOOS, runtime.GOARCH, out, err)
	}
	return "node"
}
