package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A stage is what a log serves until the next one.
type stage struct {
	dir  string // of the fixtures; "": the server is out of order
	then func() // called when the stage begins
}

// staged serves one stage after the other: each read of the tree head but the first
// goes on to the next. What was read is in reads.
func staged(t *testing.T, dir string, stages ...stage) (url string, reads *[]string) {
	t.Helper()
	var mu sync.Mutex
	next, current := 0, stage{}
	reads = new([]string)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/checkpoint" && next < len(stages) {
			current = stages[next]
			next++
			if current.then != nil {
				current.then()
			}
		}
		if current.dir == "" {
			http.Error(w, "out of order", http.StatusTeapot) // which is not asked again at once
			return
		}
		*reads = append(*reads, current.dir+r.URL.Path)
		http.ServeFile(w, r, filepath.Join(dir, current.dir, filepath.FromSlash(r.URL.Path)))
	}))
	t.Cleanup(srv.Close)
	return srv.URL, reads
}

// watching runs verify watch to its end, or until ctx is done.
func (s session) watching(ctx context.Context, args ...string) (out string, code int) {
	s.Helper()
	stdout, err := os.Create(filepath.Join(s.TempDir(), "out"))
	if err != nil {
		s.Fatal(err)
	}
	defer stdout.Close()
	stderr, err := os.Create(filepath.Join(s.TempDir(), "err"))
	if err != nil {
		s.Fatal(err)
	}
	defer stderr.Close()
	std := stdio{strings.NewReader(""), stdout, stderr}
	argv := append([]string{"verify", "watch", "--interval", "1ms", "--trust", filepath.Join(s.dir, "trust.json")}, args...)
	code = exitCode(newApp(std).RunContext(ctx, arrange(argv)), stderr)
	b, err := os.ReadFile(stdout.Name())
	if err != nil {
		s.Fatal(err)
	}
	return string(b), code
}

// A log that grows is followed; that it is out of order for a while is no violation;
// the first violation ends it.
func TestWatchFollowsUntilAViolation(t *testing.T) {
	s := newSession(t)
	garbage := fixtures{"log-garbage/checkpoint": []byte("<html>busy</html>")}
	if err := garbage.write(s.dir); err != nil {
		t.Fatal(err)
	}
	url, _ := staged(t, s.dir, stage{dir: "log-before"}, stage{dir: "log-before"}, stage{}, stage{dir: "log-garbage"}, stage{}, stage{dir: "log-later"}, stage{dir: "log-fork"})
	state := filepath.Join(s.dir, "watched.json")
	out, code := s.watching(t.Context(), "--state", state, url)
	if code != exitWrong {
		t.Errorf("expected exit code 1, found %d\n%s", code, out)
	}
	lines := strings.Split(out, "\n")
	for i, want := range []string{"VERIFIED  log of ledger.example/test, size 11", "VERIFIED  log of ledger.example/test, size 16", "PROVEN WRONG  log of ledger.example/test"} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d: expected %q, found %q", i+1, want, lines[i])
		}
	}
	s.exits(1, "--trust trust.json watched.json.proof-1")
	// The finding is there again the next time, for what was seen before it stands.
	if out, code := s.watching(t.Context(), "--state", state, "--once", filepath.Join(s.dir, "log-fork")); code != exitWrong {
		t.Errorf("the next time: %d\n%s", code, out)
	}
}

// Who is told to end says what it saw until then.
func TestWatchInterrupted(t *testing.T) {
	s := newSession(t)
	for _, form := range []string{"text", "json", "sarif", "junit"} {
		ctx, cancel := context.WithCancel(t.Context())
		url, _ := staged(t, s.dir, stage{dir: "log-before"}, stage{dir: "log-later"}, stage{dir: "log-later", then: cancel})
		out, code := s.watching(ctx, "--output", form, url)
		if code != exitVerified || !strings.Contains(out, "size 16") && form != "sarif" && form != "junit" {
			t.Errorf("%s: exit code %d\n%s", form, code, out)
		}
		if form == "json" && strings.Count(out, "\n") != 2 {
			t.Errorf("expected a line for each tree head, found\n%s", out)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	url, _ := staged(t, s.dir, stage{then: cancel})
	if out, code := s.watching(ctx, url); code != exitUndecidable {
		t.Errorf("nothing seen: exit code %d\n%s", code, out)
	}
}

// After a restart the log is not read again: here its entries before the state's are
// not there any more, but for those that the state keeps.
func TestWatchResumes(t *testing.T) {
	s := newSession(t)
	state := filepath.Join(s.dir, "resumed.json")
	url, _ := staged(t, s.dir, stage{dir: "log-later"})
	if out, code := s.watching(t.Context(), "--state", state, "--once", url); code != exitVerified {
		t.Fatalf("%d\n%s", code, out)
	}
	before, err := os.Stat(state)
	if err != nil {
		t.Fatal(err)
	}
	url, reads := staged(t, s.dir, stage{dir: "log-later"})
	if out, code := s.watching(t.Context(), "--state", state, "--once", url); code != exitVerified {
		t.Fatalf("%d\n%s", code, out)
	}
	for _, path := range *reads {
		if strings.Contains(path, "/tile/0/") {
			t.Errorf("%s was read although nothing is new", path)
		}
	}
	if after, err := os.Stat(state); err != nil || !os.SameFile(before, after) {
		t.Errorf("the state was written although nothing is new: %v", err)
	}
	if before.Mode().Perm() != 0o600 {
		t.Errorf("the state is readable for others: %v", before.Mode())
	}
}

// The wait grows with each failure, up to a bound, and is never the same for all.
func TestWatchBacksOff(t *testing.T) {
	for _, c := range []struct {
		interval time.Duration
		failed   int
		want     time.Duration
	}{{time.Second, 0, time.Second}, {time.Second, 3, 8 * time.Second}, {time.Second, 1000, maxWait}, {time.Hour, 5, time.Hour}} {
		seen := make(map[time.Duration]bool)
		for range 100 {
			got := pause(c.interval, c.failed)
			if got < c.want-c.want/8 || got > c.want+c.want/8+1 {
				t.Errorf("%v after %d failures: waits %v", c.interval, c.failed, got)
			}
			seen[got] = true
		}
		if len(seen) < 50 {
			t.Errorf("%v: no jitter", c.interval)
		}
	}
}
