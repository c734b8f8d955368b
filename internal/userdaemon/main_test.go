//go:build unix

package userdaemon

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ledgerd/client"
	"ledgerd/internal/api"
)

// This test binary is also the programs that a user has: called join it joins the
// daemon as somebody, called session it says which run its session has, and called by
// any other name in copies it is an agent, which runs what it is told and waits for it.
func TestMain(m *testing.M) {
	var err error
	switch filepath.Base(os.Args[0]) {
	case "join":
		err = joinProgram(os.Args[1], os.Args[2] == "gateway")
	case "session":
		s := Session{Agent: "claude-code"}
		if len(os.Args) > 1 {
			s.ID = os.Args[1]
		}
		var key string
		if key, err = SessionRun(context.Background(), s); err == nil {
			fmt.Println(key)
		}
	case "claude", "codex":
		c := exec.Command(os.Args[1], os.Args[2:]...)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		err = c.Run()
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func joinProgram(agent string, gateway bool) error {
	ctx := context.Background()
	c, err := Join(ctx, Options{Agent: agent, Gateway: gateway, Program: os.Getenv("PROGRAM")})
	if err != nil {
		return err
	}
	if _, err := c.OpenRun(ctx, fmt.Sprintf("of-%d", os.Getpid()), api.OpenRun{Task: "coding"}); err != nil {
		return err
	}
	h, err := Find("")
	if err != nil {
		return err
	}
	s, err := h.Status(ctx)
	if err != nil {
		return err
	}
	fmt.Println(s.PID)
	return nil
}

// programs is a directory with ledgerd and the programs of TestMain.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "userdaemon-")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "ledgerd"), "ledgerd/cmd/ledgerd").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	own, err := os.Executable()
	if err != nil {
		return "", err
	}
	for _, name := range []string{"join", "session", "claude", "codex"} {
		if err := os.Symlink(own, filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	return dir, nil
})

func program(t *testing.T, name string) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// Heavy skips what starts daemons in processes of their own.
func heavy(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds ledgerd, and starts daemons and dozens of other processes; runs without -short")
	}
}

// A resident is a user with a home for a daemon, in a directory of his own.
type resident struct {
	*Home
	t *testing.T
}

func newUser(t *testing.T) *resident {
	t.Helper()
	dir, err := os.MkdirTemp("", "ld") // short: a socket has to have room
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LEDGERD_HOME", filepath.Join(dir, "h"))
	h, err := Find("")
	if err != nil {
		t.Fatal(err)
	}
	u := &resident{h, t}
	t.Cleanup(func() {
		if pid := u.pid(); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			for alive(pid) {
				time.Sleep(time.Millisecond)
			}
		}
		_ = os.RemoveAll(dir)
	})
	return u
}

// pid is that of the daemon that answers; 0: none does.
func (u *resident) pid() int {
	s, err := u.Status(context.Background())
	if err != nil {
		return 0
	}
	return s.PID
}

func (u *resident) options(agent string) Options {
	return Options{Agent: agent, Program: program(u.t, "ledgerd")}
}

func (u *resident) join(agent string) *client.Client {
	u.t.Helper()
	return must(Join(u.t.Context(), u.options(agent)))(u.t)
}

func (u *resident) admin() *client.Client {
	u.t.Helper()
	dir := must(u.dir())(u.t)
	d := daemon{u.Home, program(u.t, "ledgerd")}
	return must(d.client(must(dir.AdminToken())(u.t), d.reach))(u.t)
}

// config replaces the settings, before or after the first use.
func (u *resident) config(text string) {
	u.t.Helper()
	check(u.t, u.make())
	check(u.t, os.WriteFile(u.file("config.json"), []byte(text), 0o600))
}

// starts counts the daemons that listened.
func (u *resident) starts() int {
	u.t.Helper()
	return bytes.Count(must(os.ReadFile(u.file("daemon.log")))(u.t), []byte("msg=serving"))
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused fails unless an error says all of some words.
func refused(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("want an error that says %q, found none", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("want an error that says %q, found %v", w, err)
		}
	}
}
