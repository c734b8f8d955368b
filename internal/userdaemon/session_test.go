//go:build unix

package userdaemon

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ledgerd/internal/userdaemon/place"
)

// tree is a table of processes by ID, each a parent and a command line.
type tree map[int]string

func (ps tree) look(pid int) (*process, error) {
	line, ok := ps[pid]
	if !ok {
		return nil, errGone
	}
	words := strings.Split(line, "|")
	parent, err := strconv.Atoi(words[0])
	p := &process{pid: pid, parent: parent, start: "1"}
	p.describe(words[1:])
	return p, err
}

// The agent is the nearest ancestor that does more than to start others.
func TestAgentOf(t *testing.T) {
	for name, c := range map[string]struct {
		tree tree
		want int
	}{
		"direct":           {tree{10: "9|ledgerd|mcp", 9: "8|claude", 8: "1|zsh"}, 9},
		"by sh -c":         {tree{10: "9|ledgerd|hook", 9: "8|/bin/sh|-c|ledgerd hook", 8: "7|claude", 7: "1|-zsh"}, 8},
		"by npx":           {tree{10: "9|ledgerd", 9: "8|sh|-c|server", 8: "7|npm exec server", 7: "6|node|/usr/bin/npx|server", 6: "5|codex"}, 6},
		"by npx-cli.js":    {tree{10: "9|ledgerd", 9: "8|node|--no-warnings|/usr/lib/node_modules/npm/bin/npx-cli.js|x", 8: "1|node|/opt/agent/cli.mjs"}, 8},
		"by uvx":           {tree{10: "9|ledgerd", 9: "8|/home/u/.local/bin/uvx|server", 8: "1|python3|-m|agent"}, 8},
		"by timeout":       {tree{10: "9|ledgerd", 9: "8|timeout|60|ledgerd|hook", 8: "7|env|A=b|timeout", 7: "1|claude"}, 7},
		"ledgerd itself":   {tree{10: "9|server", 9: "8|/usr/bin/ledgerd|mcp|--|server", 8: "1|claude"}, 8},
		"by hand":          {tree{10: "9|ledgerd", 9: "8|-bash", 8: "1|sshd: u@pts/0"}, 9},
		"by hand in tmux":  {tree{10: "9|ledgerd", 9: "8|bash", 8: "7|zsh", 7: "1|tmux: server"}, 8},
		"nobody":           {tree{10: "1|ledgerd"}, 10},
		"parent has ended": {tree{10: "9|ledgerd"}, 10},
		"a shell's script": {tree{10: "9|ledgerd", 9: "8|bash|agent.sh", 8: "1|gnome-terminal-server"}, 8},
		"in a circle":      {tree{10: "9|sh", 9: "10|sh"}, 10},
	} {
		if got := must(agentOf(10, c.tree.look))(t); got.pid != c.want {
			t.Errorf("%s: want %d, found %d", name, c.want, got.pid)
		}
	}
}

// What a process is told to be is the same by proc(5) and by ps(1).
func TestLook(t *testing.T) {
	if _, err := exec.LookPath("ps"); err != nil {
		t.Skip("want ps, which is not here")
	}
	for _, pid := range []int{os.Getpid(), os.Getppid()} {
		p, err := lookPS(pid)
		q := must(look(pid))(t)
		if err != nil || p.parent != q.parent || p.name != q.name || p.start == "" || q.start == "" {
			t.Errorf("process %d: want the same, found %+v by ps (%v) and %+v", pid, p, err, q)
		}
	}
	for _, f := range []func(int) (*process, error){look, lookPS} {
		if _, err := f(1 << 30); err != errGone {
			t.Errorf("want %v, found %v", errGone, err)
		}
	}
}

// sessionsOf runs a script of sh with the programs of TestMain in PATH, and returns the
// keys that it prints.
func (u *resident) sessionsOf(script string) []string {
	u.t.Helper()
	c := exec.Command("sh", "-c", script)
	c.Env = append(os.Environ(), "PATH="+filepath.Dir(program(u.t, "session"))+":"+os.Getenv("PATH"))
	out, err := c.CombinedOutput()
	if err != nil {
		u.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	keys := strings.Fields(string(out))
	for _, k := range keys {
		if !strings.HasPrefix(k, "session-") || len(k) != len("session-")+32 {
			u.t.Fatalf("%s: found %s", script, out)
		}
	}
	return keys
}

func distinct(keys []string) int {
	slices.Sort(keys)
	return len(slices.Compact(keys))
}

// Programs that one agent starts, in whatever way, have one run; those of two agents two.
func TestSessions(t *testing.T) {
	heavy(t)
	u := newUser(t)
	t.Setenv("LEDGERD_RUN", "")
	for script, want := range map[string]int{
		`claude sh -c 'session & session & timeout 60 session; wait'`:                                1,
		`claude bash -c 'env A=b sh -c "session; true"; (session); session'`:                         1,
		`claude sh -c 'session; true'; claude sh -c 'session; true'`:                                 2,
		`claude sh -c 'session & session; wait' & codex sh -c 'session & session; wait' & wait`:      2,
		`claude sh -c 'session; claude sh -c "session; true"; session'`:                              2, // an agent of an agent's
		`claude sh -c 'session; session C; session; session C; session'`:                             1, // its name came later
		`claude sh -c 'session A; session; session B; session B; session; true' | sort -u`:           2, // begun anew in one process
		`claude sh -c 'session Z; true'; claude sh -c 'session; session Z; session; true'`:           2, // Z goes on in another process
		`for i in 1 2 3 4 5 6 7 8; do claude sh -c 'session & session & session; wait' & done; wait`: 8,
	} {
		keys := u.sessionsOf(script)
		if n := distinct(keys); n != want {
			t.Errorf("%s: want %d runs, found %d: %q", script, want, n, keys)
		}
	}
	// Of all these processes none is left, and of the IDs all are.
	u.sessionsOf("claude session")
	files := must(filepath.Glob(u.file("sessions", "*.json")))(t)
	if len(files) != 5 {
		t.Errorf("want one process and four IDs to be kept, found %q", files)
	}
	for _, f := range files {
		if info := must(os.Stat(f))(t); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f, info.Mode())
		}
		old := time.Now().Add(-keepID - time.Hour)
		check(t, os.Chtimes(f, old, old))
	}
	u.sessionsOf("claude session")
	if files = must(filepath.Glob(u.file("sessions", "*.json")))(t); len(files) != 1 {
		t.Errorf("want one process to be kept, found %q", files)
	}
}

// What the user says counts, and what nobody can use is refused.
func TestSessionKey(t *testing.T) {
	u := newUser(t)
	ctx := t.Context()
	t.Setenv("LEDGERD_RUN", "mine")
	if key := must(SessionRun(ctx, Session{Agent: "a"}))(t); key != "mine" {
		t.Errorf("found %s", key)
	}
	if key := must(SessionRun(ctx, Session{Agent: "a", Key: "this-one", ID: "A"}))(t); key != "this-one" {
		t.Errorf("found %s", key)
	}
	_, err := SessionRun(ctx, Session{Agent: "a", Key: "not/one"})
	refused(t, err, "LEDGERD_RUN", "want a key")
	if _, err := os.Stat(u.Path); err == nil {
		t.Error("want nothing to be written for it")
	}
}

// A session that has ended is another one's no more, and an agent's are its own.
func TestEndSession(t *testing.T) {
	newUser(t)
	ctx := t.Context()
	t.Setenv("LEDGERD_RUN", "")
	run := func(s Session) string { return must(SessionRun(ctx, s))(t) }
	first := run(Session{Agent: "a", ID: "A"})
	if run(Session{Agent: "b"}) == first {
		t.Error("want each agent to have runs of its own")
	}
	check(t, EndSession(ctx, Session{Agent: "a", ID: "B"})) // another one
	if run(Session{Agent: "a"}) != first {
		t.Error("want the session to go on")
	}
	check(t, EndSession(ctx, Session{Agent: "a"}))
	second := run(Session{Agent: "a"})
	if second == first || run(Session{Agent: "a", ID: "A"}) != second {
		t.Error("want a new run for everybody who comes later")
	}
}

// A process ID that another process has by now is not the session's.
func TestProcessIDsComeAgain(t *testing.T) {
	u := newUser(t)
	t.Setenv("LEDGERD_RUN", "")
	b, unlock, err := openBook(t.Context(), Session{})
	check(t, err)
	defer unlock()
	write := func(p page) string {
		path := place.Session(b.home.Path, "process", p.Run)
		check(t, b.write(path, p))
		return path
	}
	other := write(page{Run: "other", PID: b.of.pid, Start: b.of.start + "1", World: b.world})
	gone := write(page{Run: "gone", PID: 1 << 30, Start: b.of.start, World: b.world})
	here := write(page{Run: "here", PID: b.of.pid, Start: b.of.start, World: b.world})
	elsewhere := write(page{Run: "elsewhere", PID: 1 << 30, Start: b.of.start, World: "another container"})
	check(t, b.tidy())
	left := must(filepath.Glob(u.file("sessions", "*.json")))(t)
	want := []string{here, elsewhere}
	slices.Sort(want)
	if !slices.Equal(left, want) {
		t.Errorf("want %q to be left, and not %s and %s, found %q", want, other, gone, left)
	}
}

// BenchmarkSessionRun: what a gateway asks before each call.
func BenchmarkSessionRun(b *testing.B) {
	s := Session{Home: filepath.Join(b.TempDir(), "home"), Agent: "support"}
	b.Setenv("LEDGERD_RUN", "")
	run, err := SessionRun(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if again, err := SessionRun(b.Context(), s); err != nil || again != run {
			b.Fatal(again, err)
		}
	}
}
