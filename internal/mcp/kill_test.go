package mcp

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
)

const (
	// serverVar has the test binary be a server whose tool pay adds a line to a file.
	serverVar = "LEDGERD_TEST_SERVER"
	// killVar is the point at which the test binary, as a gateway, is killed.
	killVar = "LEDGERD_TEST_KILLED"
)

func beServer(file string) {
	scripted([]string{"pay"}, func(m *message, say func(string)) {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, _ = io.WriteString(f, "paid\n")
			_ = f.Close()
		}
		say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":{"content":[]}}`)
	})(os.Stdin, os.Stdout)
	os.Exit(0)
}

// killed is a run whose gateway is killed at a point of a call.
type killed struct {
	Run
	at string
}

func (k killed) die(at string) {
	if k.at == at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

func (k killed) AskStep(ctx context.Context, step string, a api.AskStep, wait time.Duration) (*api.Step, error) {
	k.die("before it asks")
	s, err := k.Run.AskStep(ctx, step, a, wait)
	k.die("once it may")
	return s, err
}

func (k killed) ReportStep(ctx context.Context, step string, r api.ReportStep) (*api.Outcome, error) {
	k.die("once it is done")
	o, err := k.Run.ReportStep(ctx, step, r)
	k.die("once it is recorded")
	return o, err
}

// TestGatewayKilled: a gateway is killed at every point of a call. The next one does what
// was not asked for, does not do again what may have been done, and nothing is lost.
func TestGatewayKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("what is tested are processes of their own, which the race detector does not see")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]struct {
		paid, then int
		doubt      bool
	}{
		"before it asks":      {0, 1, false},
		"once it may":         {0, 0, true},
		"once it is done":     {1, 1, true},
		"once it is recorded": {1, 2, false},
	} {
		t.Run(at, func(t *testing.T) {
			h := newHouse(t)
			token := h.Grant(daemontest.Agent, api.RightAct, api.RightRead, api.RightGateway)
			dir := t.TempDir()
			file := filepath.Join(dir, "paid")
			paid := func() int {
				b, _ := os.ReadFile(file)
				return strings.Count(string(b), "paid")
			}
			const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"n":1}}}` + "\n"
			gateway := func(point string) (string, error) {
				cmd := exec.Command(self, "env", serverVar+"="+file, gatewayVar+"=", self)
				cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s demo session-1 %s", gatewayVar, h.URL, token, filepath.Join(dir, "tools.json")), killVar+"="+point)
				cmd.Stdin = strings.NewReader(call)
				out, err := cmd.Output()
				return string(out), err
			}
			if out, err := gateway(at); err == nil {
				t.Fatalf("it was not killed: %s", out)
			}
			deadline := time.Now().Add(5 * time.Second)
			for paid() < want.paid && time.Now().Before(deadline) { // the server outlives it for a moment
				time.Sleep(10 * time.Millisecond)
			}
			if n := paid(); n != want.paid {
				t.Errorf("paid %d times, want %d", n, want.paid)
			}
			out, err := gateway("")
			if err != nil || strings.Contains(out, "nobody knows whether it happened") != want.doubt {
				t.Errorf("%v %s", err, out)
			}
			st := h.state()
			if n := paid(); n != want.then || (len(st.InDoubt) == 1) != want.doubt {
				t.Errorf("paid %d times, want %d; %+v", n, want.then, st.InDoubt)
			}
			h.sound(st.Run)
		})
	}
}
