//go:build unix

package userdaemon

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/userdaemon/place"
)

// Fifty programs that start at once have one daemon, and each the token that it wants.
func TestFifty(t *testing.T) {
	heavy(t)
	u := newUser(t)
	t.Setenv("PROGRAM", program(t, "ledgerd"))
	const programs = 50
	pids := make([]string, programs)
	var all sync.WaitGroup
	for i := range programs {
		all.Go(func() {
			kind := "agent"
			if i%2 == 0 {
				kind = "gateway"
			}
			out, err := exec.Command(program(t, "join"), fmt.Sprintf("agent-%d", i%3), kind).CombinedOutput()
			if err != nil {
				t.Errorf("program %d: %v\n%s", i, err, out)
			}
			pids[i] = strings.TrimSpace(string(out))
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	slices.Sort(pids)
	if pids = slices.Compact(pids); len(pids) != 1 || pids[0] != fmt.Sprint(u.pid()) {
		t.Fatalf("want one daemon, %d, found %q", u.pid(), pids)
	}
	if n := u.starts(); n != 1 {
		t.Errorf("want one start, found %d", n)
	}
	if ps, err := exec.Command("ps", "-A", "-o", "args=").Output(); err == nil { // nor one that waits for its turn
		if n := strings.Count(string(ps), "serve --config "+u.file("config.json")); n != 1 {
			t.Errorf("want one process, found %d", n)
		}
	}
	var names []string
	for _, a := range must(u.admin().Registry(t.Context()))(t).Actors {
		if a.Role == evidence.RoleAgent {
			names = append(names, a.Name)
		}
	}
	if slices.Sort(names); !slices.Equal(names, []string{"agent-0", "agent-1", "agent-2"}) {
		t.Errorf("want three agents, found %q", names)
	}
	found := make(map[string]int)
	for _, token := range must(u.admin().Tokens(t.Context()))(t) {
		found[fmt.Sprint(token.Actor, token.Rights)]++
	}
	for i := range 3 {
		for _, rights := range []string{"[act read]", "[act read gateway]"} {
			if n := found[fmt.Sprintf("agent-%d%s", i, rights)]; n != 1 {
				t.Errorf("want one token of agent-%d for %s, found %d of %v", i, rights, n, found)
			}
		}
	}
	if len(found) != 7 {
		t.Errorf("want six tokens and the first, found %v", found)
	}
}

// What a program has asked for is neither lost nor done twice when the daemon is killed:
// the same client goes on at the next one.
func TestKilled(t *testing.T) {
	heavy(t)
	u := newUser(t)
	c := u.join("claude-code")
	ctx := t.Context()
	ask := api.AskStep{Action: "edit_file", Input: []byte(`{"file":"a.go"}`), Asker: "one"}
	must(c.OpenRun(ctx, "session", api.OpenRun{Task: "coding"}))(t)
	for i := range 3 {
		name := fmt.Sprintf("edit-%d", i)
		step := must(c.AskStep(ctx, "session", name, ask, 0))(t)
		if step.State != api.StepAllowed {
			t.Fatalf("want the first policy to permit everything, found %s", step.State)
		}
		pid := u.pid()
		if group, err := syscall.Getpgid(pid); err != nil || group != pid {
			t.Errorf("want the daemon, %d, to be in a group of its own, found %d, %v: what ends the agent's would end it", pid, group, err)
		}
		check(t, syscall.Kill(pid, syscall.SIGKILL))
		out := must(c.ReportStep(ctx, "session", name, api.ReportStep{Attempt: step.Attempt, Status: evidence.StatusSuccess, Output: []byte(`1`)}))(t)
		again := must(c.AskStep(ctx, "session", name, ask, 0))(t)
		if again.State != api.StepSucceeded || again.Authorization != step.Authorization {
			t.Fatalf("want the step to have succeeded by %s, found %s by %s (reported as %s)", step.Authorization, again.State, again.Authorization, out.Execution)
		}
		if now := u.pid(); now == pid || now == 0 {
			t.Fatalf("want another daemon than %d, found %d", pid, now)
		}
	}
	if n := u.starts(); n != 4 {
		t.Errorf("want four starts, found %d", n)
	}
	if report := must(u.admin().Check(ctx))(t); len(report.Differences) > 0 {
		t.Errorf("want the ledger to be sound, found %+v", report)
	}
}

// A daemon that ends while it is asked loses no request, and ends with nothing but
// permissions under way.
func TestIdle(t *testing.T) {
	heavy(t)
	u := newUser(t)
	u.config(`{"idle-stop": "20ms", "policies": "policies", "contracts": "contracts"}`)
	ctx := t.Context()
	said := func(words string) int {
		b, _ := os.ReadFile(u.file("daemon.log"))
		return strings.Count(string(b), words)
	}
	const often = 3 // how many daemons it takes; on a loaded machine each takes its time to start
	last := time.Now().Add(time.Minute)
	var all sync.WaitGroup
	for i := range 3 {
		c := u.join(fmt.Sprintf("agent-%d", i))
		all.Go(func() {
			key := fmt.Sprintf("session-%d", i)
			for n, over := 0, time.Now().Add(2*time.Second); time.Now().Before(over) || said("msg=serving") < often && time.Now().Before(last); n++ {
				if _, err := c.OpenRun(ctx, key, api.OpenRun{Task: "coding"}); err != nil {
					t.Errorf("open, turn %d: %v", n, err)
					return
				}
				time.Sleep(rand.N(60 * time.Millisecond))
				name := fmt.Sprintf("step-%d", n)
				step, err := c.AskStep(ctx, key, name, api.AskStep{Action: "edit_file", Input: []byte(`{}`), Asker: key}, 0)
				if err != nil {
					t.Errorf("ask, turn %d: %v", n, err)
					return
				}
				time.Sleep(rand.N(60 * time.Millisecond))
				if _, err := c.ReportStep(ctx, key, name, api.ReportStep{Attempt: step.Attempt, Status: evidence.StatusSuccess}); err != nil {
					t.Errorf("report, turn %d: %v", n, err)
					return
				}
			}
		})
	}
	all.Wait()
	if n := u.starts(); n < often {
		t.Errorf("want the daemon to have ended often, found %d starts", n)
	} else {
		t.Logf("%d starts", n)
	}
	// It says that it stopped once it has closed the ledger, which is after its socket has gone.
	for over := time.Now().Add(30 * time.Second); u.pid() != 0 || said("msg=stopped") < u.starts(); time.Sleep(100 * time.Millisecond) { // rarely, so that it is idle
		if time.Now().After(over) {
			t.Fatalf("%d daemons stopped of %d, though nobody asks", said("msg=stopped"), u.starts())
		}
	}
	log := string(must(os.ReadFile(u.file("daemon.log")))(t))
	if strings.Count(log, "msg=stopped") != u.starts() || strings.Contains(log, "level=ERROR") || strings.Contains(log, "ledgerd_") {
		t.Errorf("want every daemon to have ended well, and no token in the log:\n%s", log)
	}
}

// A step that waits in the daemon is at work, however long it takes.
func TestAtWorkIsNotIdle(t *testing.T) {
	heavy(t)
	u := newUser(t)
	u.config(`{"idle-stop": "300ms", "policies": "policies"}`) // less than the wait, and more than a request may be late
	c := u.join("claude-code")
	check(t, os.WriteFile(u.file("policies", "more.cedar"), []byte(`@id("asked") @escalate("me") forbid (principal, action == Action::"push", resource);`), 0o600))
	_ = must(u.Stop(t.Context()))(t)
	ctx := t.Context()
	must(c.OpenRun(ctx, "session", api.OpenRun{Task: "coding"}))(t)
	before, asked := u.starts(), time.Now()
	step := must(c.AskStep(ctx, "session", "push", api.AskStep{Action: "push", Input: []byte(`{}`), Asker: "one"}, time.Second))(t)
	if step.State != api.StepWaiting {
		t.Fatalf("want a human to be asked, found %s", step.State)
	}
	// One that ends says so before the time is over.
	if n, took := u.starts()-before, time.Since(asked); n > 1 || took < time.Second {
		t.Errorf("want one daemon to wait for as long as it was told to, found an answer after %s, and %d starts", took, n)
	}
}

// A daemon that somebody started by hand is joined where it listens at the socket, and
// named where it does not.
func TestByHand(t *testing.T) {
	heavy(t)
	u := newUser(t)
	u.join("claude-code")
	must(u.Stop(t.Context()))(t)
	hand := func(listen string) *exec.Cmd {
		c := exec.Command(program(t, "ledgerd"), "serve", "--data-dir", u.DataDir(), "--listen", listen, "--policies", u.file("policies"))
		check(t, c.Start())
		for range 3000 {
			if a, err := u.announced(); err == nil && a.PID == c.Process.Pid {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		return c
	}
	c := hand("127.0.0.1:0")
	_, err := Join(t.Context(), u.options("claude-code"))
	refused(t, err, "to listen at unix:"+u.Socket, fmt.Sprintf("found process %d, which listens at http://127.0.0.1:", c.Process.Pid), "--server")
	check(t, c.Process.Signal(os.Interrupt))
	check(t, c.Wait())

	c = hand("unix:" + u.Socket)
	u.join("claude-code")
	if u.pid() != c.Process.Pid {
		t.Errorf("want the daemon that listens at the socket to be joined")
	}
	check(t, c.Process.Signal(os.Interrupt))
	check(t, c.Wait())
}

// What stands where the socket should is taken for what it is.
func TestSocket(t *testing.T) {
	heavy(t)
	u := newUser(t)
	check(t, u.make())

	check(t, os.WriteFile(u.Socket, nil, 0o600))
	_, err := Join(t.Context(), u.options("claude-code"))
	refused(t, err, u.Socket, "another kind of file")
	check(t, os.Remove(u.Socket))

	ln := must(net.Listen("unix", u.Socket))(t)
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":"ok"}`) })}
	go func() { _ = s.Serve(ln) }()
	check(t, os.Chmod(u.Socket, 0o666))
	_, err = Join(t.Context(), u.options("claude-code"))
	refused(t, err, "want a socket of mode 0600, found 0666")
	check(t, s.Close())

	u.join("claude-code") // over the socket of a dead daemon, of whatever mode
	if info := must(os.Stat(u.Socket))(t); info.Mode().Perm() != 0o600 {
		t.Errorf("found mode %v", info.Mode())
	}
}

func TestHomeIsPrivate(t *testing.T) {
	u := newUser(t)
	check(t, os.MkdirAll(u.Path, 0o755))
	_, err := Join(t.Context(), Options{Agent: "claude-code", Program: "false"})
	refused(t, err, "want mode 0700, found 0755", "chmod 700")
	if os.Geteuid() == 0 {
		check(t, os.Chmod(u.Path, 0o700))
		check(t, os.Chown(u.Path, 12345, -1))
		_, err = Join(t.Context(), Options{Agent: "claude-code", Program: "false"})
		refused(t, err, "found another's")
	}
}

func TestHomePath(t *testing.T) {
	for want, env := range map[string]map[string]string{
		"/x/h":                    {"LEDGERD_HOME": "/x/h", "XDG_DATA_HOME": "/d", "HOME": "/u"},
		"/d/ledgerd":              {"XDG_DATA_HOME": "/d", "HOME": "/u"},
		"/u/.local/share/ledgerd": {"XDG_DATA_HOME": "relative", "HOME": "/u"},
	} {
		if got := must(place.Home(func(name string) string { return env[name] }))(t); got != want {
			t.Errorf("want %s, found %s", want, got)
		}
	}
	_, err := place.Home(func(string) string { return "" })
	refused(t, err, "LEDGERD_HOME")

	long := "/" + strings.Repeat("l", 100)
	_, err = place.Socket(long, "")
	refused(t, err, "at most 103 bytes", "XDG_RUNTIME_DIR")
	run := t.TempDir()
	check(t, os.Chmod(run, 0o700))
	short := must(place.Socket(long, run))(t)
	if other := must(place.Socket(long+"x", run))(t); filepath.Dir(short) != run || other == short {
		t.Errorf("want each home to have a socket of its own in %s, found %s and %s", run, short, other)
	}
	check(t, os.Chmod(run, 0o755))
	_, err = place.Socket(long, run)
	refused(t, err, "want mode 0700")
}

// A token is made once, and another where the daemon knows it no more.
func TestToken(t *testing.T) {
	heavy(t)
	u := newUser(t)
	ctx := t.Context()
	u.join("claude-code")
	path := u.tokenPath("claude-code", false)
	read := func() string { return string(must(os.ReadFile(path))(t)) }
	first := read()
	if info := must(os.Stat(path))(t); info.Mode().Perm() != 0o600 {
		t.Errorf("found mode %v", info.Mode())
	}
	u.join("claude-code")
	if read() != first {
		t.Error("want one token, found another one")
	}
	check(t, os.Remove(path))
	u.join("claude-code")
	if read() == first {
		t.Error("want another token than the lost one's")
	}
	for _, token := range must(u.admin().Tokens(ctx))(t) {
		if token.Actor == "claude-code" {
			check(t, u.admin().RevokeToken(ctx, token.ID))
		}
	}
	revoked := read()
	u.join("claude-code")
	if read() == revoked {
		t.Error("want another token than the revoked one's")
	}
	check(t, os.Chmod(path, 0o644))
	_, err := Join(ctx, u.options("claude-code"))
	refused(t, err, path, "want mode 0600, found 0644")
	check(t, os.Chmod(path, 0o600))

	_, err = Join(ctx, u.options("runtime"))
	refused(t, err, "runtime is a runtime")
	_, err = Join(ctx, u.options("two words"))
	refused(t, err, "the agent's name")

	// Only the daemon's own token makes them.
	dir := must(u.dir())(t)
	admin := must(os.ReadFile(dir.AdminTokenPath()))(t)
	check(t, os.WriteFile(dir.AdminTokenPath(), []byte(read()), 0o600))
	_, err = Join(ctx, u.options("other"))
	refused(t, err, "403")
	if strings.Contains(err.Error(), strings.TrimSpace(read())) {
		t.Error("the error has a token in it")
	}
	check(t, os.WriteFile(dir.AdminTokenPath(), admin, 0o600))
	root := filepath.Join(u.DataDir(), "keys", "root.jwk")
	check(t, os.Rename(root, root+".elsewhere"))
	_, err = Join(ctx, u.options("other"))
	refused(t, err, "ledgerd actor add other --role agent --host runtime", "--root-key")
}

// An agent that starts the daemon does not say by its environment what it may do.
func TestEnvironment(t *testing.T) {
	heavy(t)
	u := newUser(t)
	t.Setenv("LEDGERD_MODE", "observe")
	t.Setenv("LEDGERD_TOOLS", "/nowhere")
	t.Setenv("OTEL_TRACES_EXPORTER", "nonsense")
	c := u.join("claude-code")
	check(t, os.WriteFile(u.file("policies", "first-use.cedar"), []byte(`@id("nothing") forbid (principal, action, resource);`), 0o600))
	must(u.Stop(t.Context()))(t)
	must(c.OpenRun(t.Context(), "session", api.OpenRun{Task: "coding"}))(t)
	step := must(c.AskStep(t.Context(), "session", "one", api.AskStep{Action: "edit_file", Input: []byte(`{}`)}, 0))(t)
	if step.State != api.StepDenied {
		t.Errorf("want what no policy permits to be denied, found %s", step.State)
	}
	u.config(`{"mode": "observe", "policies": "policies"}`)
	must(u.Stop(t.Context()))(t)
	step = must(c.AskStep(t.Context(), "session", "two", api.AskStep{Action: "edit_file", Input: []byte(`{}`)}, 0))(t)
	if step.State != api.StepAllowed {
		t.Errorf("want the user's settings to count, found %s", step.State)
	}
}

// A first use that broke off is begun again; what is there is the user's.
func TestFirst(t *testing.T) {
	heavy(t)
	u := newUser(t)
	check(t, os.MkdirAll(u.file("ledger.new", "keys"), 0o700))
	check(t, os.MkdirAll(u.file("policies.new"), 0o700))
	check(t, os.WriteFile(u.file("ledger.new.head"), []byte("torn"), 0o600))
	u.join("claude-code")
	if dir := must(u.dir())(t); !strings.HasPrefix(dir.Origin, "local/") || strings.ToLower(dir.Origin) != dir.Origin {
		t.Errorf("found the origin %q", dir.Origin)
	}
	must(u.Stop(t.Context()))(t)

	// No policy comes back by itself, least of all one that permits everything.
	check(t, os.RemoveAll(u.file("policies")))
	_, err := Join(t.Context(), u.options("claude-code"))
	refused(t, err, "did not start (exit status 1)", "--policies", u.file("daemon.log"))

	check(t, os.Rename(u.DataDir(), u.file("elsewhere")))
	_, err = Join(t.Context(), u.options("claude-code"))
	refused(t, err, "ledger.head is there", "bring it back")
}

// The log is bounded when a daemon starts, and what is told of it has no token in it.
func TestLog(t *testing.T) {
	heavy(t)
	u := newUser(t)
	check(t, u.make())
	check(t, os.WriteFile(u.file("daemon.log"), make([]byte, maxLog+1), 0o600))
	u.join("claude-code")
	if info := must(os.Stat(u.file("daemon.log")))(t); info.Size() > 1<<14 {
		t.Errorf("the log has %d bytes", info.Size())
	}
	must(u.Stop(t.Context()))(t)
	token := strings.TrimSpace(string(must(os.ReadFile(u.tokenPath("claude-code", false)))(t)))
	u.config(fmt.Sprintf(`{"log-level": %q}`, token))
	_, err := Join(t.Context(), u.options("claude-code"))
	refused(t, err, "--log-level", "ledgerd_…")
	if strings.Contains(err.Error(), token) {
		t.Errorf("found the token in %v", err)
	}
}

// A program that is not ledgerd, and starts itself for one, does not go on so.
func TestNoDaemonOfItsOwn(t *testing.T) {
	newUser(t)
	t.Setenv(isDaemon, "1")
	_, err := Join(t.Context(), Options{Agent: "claude-code"})
	refused(t, err, "was itself started as one")
}

// Who is told to end waits for nobody.
func TestJoinEnds(t *testing.T) {
	u := newUser(t)
	check(t, u.make())
	unlock := must(u.lock(t.Context(), "lock"))(t)
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Join(ctx, Options{Agent: "claude-code", Program: "false"})
	refused(t, err, "another process", context.DeadlineExceeded.Error())
}
