package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"ledgerd/client"
	"ledgerd/internal/api"
)

// gatewayVar has the test binary be a gateway: it holds the daemon's URL, the token, the
// server's name, the run's key and the file of tools.
const gatewayVar = "LEDGERD_TEST_GATEWAY"

// beGateway is that gateway, before the server that its arguments are the command of.
func beGateway(v string) {
	f := strings.Split(v, " ")
	c, err := client.New(f[0], client.Options{Token: f[1]})
	if err == nil {
		cmd := exec.Command(os.Args[1], os.Args[2:]...)
		cmd.Stderr = os.Stderr
		// As cmd/ledgerd: a client that does not wait for the end of its server's sends this.
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err = Stdio(ctx, Config{
			Server: f[2], Run: killed{DaemonRun(c, always(f[3]), api.OpenRun{Task: "session"}), os.Getenv(killVar)}, Asker: fmt.Sprintf("gateway-%d", os.Getpid()), Wait: time.Second, Pins: NewPins(f[4]), Names: new(Names),
			Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		}, os.Stdin, os.Stdout, cmd)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// tools of the servers that say the same each time.
const (
	filesystemCalls = `[["write_file",{"path":"ROOT/a.txt","content":"hello\u001b[31m"}],["read_text_file",{"path":"ROOT/a.txt"}],["list_directory",{"path":"ROOT"}],
		["edit_file",{"path":"ROOT/a.txt","edits":[{"oldText":"hello","newText":"bye"}]}],["read_text_file",{"path":"/etc/passwd"}],["create_directory",{"path":"ROOT/d"}],
		["move_file",{"source":"ROOT/a.txt","destination":"ROOT/d/a.txt"}],["search_files",{"path":"ROOT","pattern":"**/*.txt"}],["directory_tree",{"path":"ROOT"}],
		["read_multiple_files",{"paths":["ROOT/d/a.txt","ROOT/none"]}],["list_allowed_directories",{}],["write_file",{}]]`
	// The server asks for roots 350 ms after it starts: before the call that takes a second ends.
	everythingCalls = `[["echo",{"message":"h\u00e9llo"}],["get-sum",{"a":1,"b":2.5}],["trigger-long-running-operation",{"duration":1,"steps":3}],["get-tiny-image",{}],
		["get-annotated-message",{"messageType":"error","includeImage":true}],["get-resource-reference",{"resourceType":"Text","resourceId":1}],["get-structured-content",{"location":"New York"}],
		["get-resource-links",{"count":2}],["trigger-sampling-request",{"prompt":"p","maxTokens":10}],["trigger-elicitation-request",{}],["get-roots-list",{}],["get-sum",{"a":"x"}]]`
	memoryCalls = `[["create_entities",{"entities":[{"name":"mia","entityType":"person","observations":["likes tea"]}]}],["add_observations",{"observations":[{"entityName":"mia","contents":["is here"]}]}],
		["create_relations",{"relations":[{"from":"mia","to":"mia","relationType":"is"}]}],["read_graph",{}],["search_nodes",{"query":"tea"}],["open_nodes",{"names":["mia"]}],
		["delete_entities",{"entityNames":["mia"]}],["read_graph",{}]]`
)

var (
	ourMeta  = regexp.MustCompile(`"_meta":\{"dev\.ledgerd/evidence":"ev_[A-Za-z0-9_-]{43}"\},|"dev\.ledgerd/evidence":"ev_[A-Za-z0-9_-]{43}",?`)
	ourLines = regexp.MustCompile(`(?m)^\{"jsonrpc":"2\.0","id":"ledgerd:[0-9]+".*\n`)
	clock    = regexp.MustCompile(`[0-9]{1,2}:[0-9]{2}:[0-9]{2} [AP]M`)
)

// TestSameWithoutTheGateway: a client of the TypeScript SDK and one of the Go SDK go
// through everything that three servers offer, with the gateway and without it. What the
// client gets and what the server gets is the same, to the byte, but for _meta and what
// the gateway asks itself.
func TestSameWithoutTheGateway(t *testing.T) {
	modules := nodeModules(t)
	for name, calls := range map[string]string{"filesystem": filesystemCalls, "everything": everythingCalls, "memory": memoryCalls} {
		for client, talk := range map[string]func(t *testing.T, command []string, dir, root, calls string, env []string){"node": nodeSession, "go": goOverStdio} {
			t.Run(name+"/"+client, func(t *testing.T) {
				t.Parallel()
				h := newHouse(t)
				token := h.Grant("support", api.RightAct, api.RightRead, api.RightGateway)
				dir := t.TempDir()
				root := filepath.Join(dir, "root")
				server := []string{filepath.Join(modules, ".bin", "mcp-server-"+name)}
				if name == "filesystem" {
					server = append(server, root)
				}
				calls = strings.ReplaceAll(calls, "ROOT", root)
				session := func(as string, gateway ...string) (toClient, toServer []byte) {
					t.Helper()
					if err := errors.Join(os.RemoveAll(root), os.Mkdir(root, 0o700), os.RemoveAll(filepath.Join(dir, "memory.json"))); err != nil {
						t.Fatal(err)
					}
					return record(t, dir, as, server, gateway, func(command []string) {
						talk(t, command, dir, root, calls, append(os.Environ(), "MEMORY_FILE_PATH="+filepath.Join(dir, "memory.json"),
							gatewayVar+"="+fmt.Sprintf("%s %s %s %s %s", h.URL, token, name, name, filepath.Join(dir, "tools.json"))))
					})
				}
				self, err := os.Executable()
				if err != nil {
					t.Fatal(err)
				}
				plainClient, plainServer := session("plain")
				toClient, toServer := session("governed", self)
				if bytes.Count(toClient, []byte(MetaEvidence)) < 5 {
					t.Errorf("hardly a call was governed:\n%s", toClient)
				}
				same(t, "the client got", sorted(plainClient), sorted(ourMeta.ReplaceAll(toClient, nil)))
				same(t, "the server got", sorted(plainServer), sorted(ourLines.ReplaceAll(toServer, nil)))
				c := h.Client(h.Token)
				st, err := c.RunState(context.Background(), name)
				if err != nil || len(st.InDoubt) > 0 || len(st.Steps) < 5 {
					t.Fatalf("%+v %v", st, err)
				}
				h.sound(st.Run)
			})
		}
	}
}

// nodeModules returns where the packages of testdata/node are installed.
func nodeModules(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("what is tested are processes of their own, which the race detector does not see")
	}
	modules, err := filepath.Abs("testdata/node/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "@modelcontextprotocol", "inspector")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI is set, and the packages of testdata/node are not installed: bash .ci/install")
		}
		t.Skip("the packages of testdata/node are not installed (bash .ci/install): real clients and servers cannot run here")
	}
	return modules
}

// sorted puts lines in order: a server says some of them when a timer of its own
// ends; and leaves out what time it is.
func sorted(b []byte) []string {
	lines := strings.Split(clock.ReplaceAllString(string(unheard.ReplaceAll(b, nil)), "TIME"), "\n")
	slices.Sort(lines)
	return lines
}

// record has a client talk to a server by a command, with a gateway in between if its
// command is given, and returns what came to each of the two.
func record(t *testing.T, dir, as string, server, gateway []string, talk func(command []string)) (toClient, toServer []byte) {
	t.Helper()
	for name, data := range map[string]string{
		"server.sh": "#!/bin/sh\ntee " + as + ".server | env -u " + gatewayVar + " \"$@\"\n",
		"client.sh": "#!/bin/sh\n\"$@\" | tee " + as + ".client\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	talk(slices.Concat([]string{filepath.Join(dir, "client.sh")}, gateway, []string{filepath.Join(dir, "server.sh")}, server))
	for file, b := range map[string]*[]byte{as + ".client": &toClient, as + ".server": &toServer} {
		var err error
		if *b, err = os.ReadFile(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
	}
	if !json.Valid(bytes.SplitN(toClient, []byte("\n"), 2)[0]) {
		t.Fatalf("%s", toClient)
	}
	return toClient, toServer
}

// goOverStdio has goSession talk to a command.
func goOverStdio(t *testing.T, command []string, dir, root, calls string, env []string) {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, env, io.Discard
	goSession(t, &sdk.CommandTransport{Command: cmd}, "", root, calls)
}

// nodeSession has session.mjs talk to a server: to a URL, or to a command.
func nodeSession(t *testing.T, server []string, dir, root, calls string, env []string) {
	t.Helper()
	script, err := filepath.Abs("testdata/node/session.mjs")
	if err = errors.Join(err, os.WriteFile(filepath.Join(dir, "calls.json"), []byte(calls), 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", append([]string{script}, server...)...)
	cmd.Dir, cmd.Env = dir, append(env, "CALLS=calls.json", "ROOT="+root)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
