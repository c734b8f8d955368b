package a2a

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/examples/a2a/party"
	"ledgerd/handoff/overa2a"
	"ledgerd/ledger"
)

// page returns README.md and the shell blocks in it.
func page() (text string, blocks []string, err error) {
	b, err := os.ReadFile("README.md")
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(b, -1) {
		blocks = append(blocks, string(m[1]))
	}
	if err == nil && len(blocks) < 7 {
		err = fmt.Errorf("README.md: only %d shell blocks", len(blocks))
	}
	return string(b), blocks, err
}

// shell runs blocks of README.md in a directory, and returns what they print.
func shell(ctx context.Context, dir, listen string, blocks ...string) ([]byte, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	sh := exec.CommandContext(ctx, "sh")
	sh.Stdin = strings.NewReader("set -eu\ntrap 'kill -9 $(jobs -p) 2>/dev/null || true' EXIT\n" + strings.Join(blocks, ""))
	sh.Dir, sh.WaitDelay = dir, time.Second // a server that is left has the pipes
	sh.Env = append(os.Environ(), "REPOSITORY="+root, "LISTEN="+listen)
	return sh.CombinedOutput()
}

var scratch string // where the programs are, once they are built

// build builds the programs, once, as README.md says, and returns where they are.
var build = sync.OnceValues(func() (string, error) {
	_, blocks, err := page()
	if err != nil {
		return "", err
	}
	if scratch, err = os.MkdirTemp("", "ledgerd-a2a-"); err != nil {
		return "", err
	}
	if out, err := shell(context.Background(), scratch, "", blocks[0]); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return filepath.Join(scratch, "bin"), nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if scratch != "" {
		os.RemoveAll(scratch)
	}
	os.Exit(code)
}

// skip skips what takes processes: the race detector does not see into them.
func skip(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs programs")
	}
}

// A world is a directory with two organisations in it, and the analyst's server.
type world struct {
	*testing.T
	dir    string
	server *exec.Cmd
	lines  chan string // of the server's output
	url    string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	skip(t)
	w := &world{T: t, dir: t.TempDir()}
	for _, args := range [][]string{
		{"init", "--data-dir", "g", "--origin", "ledger.example/research"},
		{"init", "--data-dir", "r", "--origin", "ledger.example/analysis"},
		{"actor", "add", "scout", "--role", "agent", "--host", "runtime", "--data-dir", "g"},
		{"actor", "add", "analyst", "--role", "agent", "--host", "runtime", "--data-dir", "r"},
	} {
		w.run(0, "ledgerd", args...)
	}
	for _, side := range []string{"g", "r"} {
		w.write(side+".trust", w.run(0, "ledgerd", "trust", "--data-dir", side))
	}
	w.write("sales.csv", "q3,north,40\nq3,south,25\nq4,north,44\n")
	w.serve()
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, data string) {
	w.Helper()
	w.must(os.WriteFile(w.path(name), []byte(data), 0o600))
}

func (w *world) command(program string, args ...string) *exec.Cmd {
	w.Helper()
	dir, err := build()
	w.must(err)
	cmd := exec.CommandContext(w.Context(), filepath.Join(dir, program), args...)
	cmd.Dir = w.dir
	return cmd
}

// run runs a program to its end, wants it to end with an exit code, and returns what
// it printed.
func (w *world) run(code int, program string, args ...string) string {
	w.Helper()
	var out, diag bytes.Buffer
	cmd := w.command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &diag
	err := cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		w.Fatalf("%s %s: want exit code %d, found %v\n%s%s", program, args, code, err, out.String(), diag.String())
	}
	return out.String()
}

// serve starts the server, and waits until it listens.
func (w *world) serve() {
	w.Helper()
	w.server = w.command("server", "--data-dir", "r", "--trust", "g.trust", "--listen", "127.0.0.1:0")
	w.server.Stderr = os.Stderr
	out, err := w.server.StdoutPipe()
	w.must(err)
	w.must(w.server.Start())
	lines := make(chan string, 64)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	w.lines = lines
	w.url = w.says(`^listening on (\S+)$`)
}

// says waits until the server says something, and returns a part of it.
func (w *world) says(pattern string) string {
	w.Helper()
	p := regexp.MustCompile(pattern)
	for line := range w.lines {
		if m := p.FindStringSubmatch(line); m != nil {
			return m[1]
		}
	}
	w.Fatalf("the server never said %s", pattern)
	return ""
}

// stop ends the server by a signal.
func (w *world) stop(sig syscall.Signal) {
	w.Helper()
	w.must(w.server.Process.Signal(sig))
	for range w.lines { // to the end, or Wait would cut it off
	}
	if err := w.server.Wait(); err != nil && sig != syscall.SIGKILL {
		w.Fatal(err)
	}
}

func (w *world) client(code int, server string, args ...string) string {
	w.Helper()
	return w.run(code, "client", append([]string{"--server", server, "--data-dir", "g", "--trust", "r.trust"}, args...)...)
}

// in opens a ledger, which no process may have open.
func (w *world) in(dir, agent string, do func(*party.Side)) {
	w.Helper()
	side, err := party.Open(context.Background(), w.path(dir), agent, nil)
	w.must(err)
	defer func() { w.must(side.Close()) }()
	do(side)
}

func (w *world) records(side *party.Side, kind evidence.Kind) []evidence.Placed {
	w.Helper()
	var found []evidence.Placed
	for p, err := range side.Ledger.Find(context.Background(), ledger.Filter{Kind: kind}) {
		w.must(err)
		found = append(found, p)
	}
	return found
}

// trust is both ledgers'.
func (w *world) trust() *bundle.Trust {
	w.Helper()
	t, err := party.Trust(new(bundle.Trust), []string{w.path("g.trust"), w.path("r.trust")})
	w.must(err)
	return t
}

// bothHalves stops the server, and wants each ledger to hold both halves of so many
// handoffs: by what it says, and by an audit of what it exports.
func (w *world) bothHalves(handoffs int) {
	w.Helper()
	w.stop(syscall.SIGTERM)
	holds := func(side *party.Side, what string, o ledger.ExportOptions, other string) {
		w.Helper()
		var b bytes.Buffer
		w.must(side.Ledger.Export(context.Background(), &b, o))
		r, err := audit.VerifyBundle(&b, w.trust(), audit.Options{})
		w.must(err)
		if r.Status() != audit.Held || len(r.Given) != 1 || r.Given[0].Report.Status() != audit.Held || r.Given[0].Report.Scope.Origin != other {
			w.Errorf("%s: exit %d, %+v", what, r.ExitCode(), r.Given)
		}
	}
	var accepted []evidence.ID
	w.in("r", "analyst", func(side *party.Side) {
		for _, p := range w.records(side, evidence.KindHandoffAccepted) {
			accepted = append(accepted, p.ID)
			holds(side, "the analyst's run", ledger.ExportOptions{Run: p.Record.Body.(*evidence.HandoffAccepted).Opens}, "ledger.example/research")
		}
	})
	w.in("g", "scout", func(side *party.Side) {
		back := w.records(side, evidence.KindHandoffAccepted)
		if len(accepted) != handoffs || len(back) != handoffs {
			w.Fatalf("want %d handoffs in both ledgers, found %d of the receiver's and %d of the giver's", handoffs, len(accepted), len(back))
		}
		for i, p := range back {
			if id := p.Record.Body.(*evidence.HandoffAccepted).Acceptance; id != accepted[i] {
				w.Errorf("the giver recorded %s, the receiver %s", id, accepted[i])
			}
			holds(side, "the giver's record", ledger.ExportOptions{Record: p.ID}, "ledger.example/analysis")
		}
	})
}

// untouched wants nothing to have been accepted, and no report written.
func (w *world) untouched() {
	w.Helper()
	w.stop(syscall.SIGTERM)
	w.in("r", "analyst", func(side *party.Side) {
		if n := len(w.records(side, evidence.KindHandoffAccepted)); n != 0 {
			w.Errorf("%d handoffs were accepted", n)
		}
	})
	if files, err := os.ReadDir(w.path("reports")); err != nil || len(files) != 0 {
		w.Errorf("work was done: %v %v", files, err)
	}
}

// A wire lies between client and server. It keeps what the client sent, and change
// may change it.
type wire struct {
	url    string
	change func([]byte) []byte

	mu   sync.Mutex
	sent [][]byte // mu
}

func (w *world) between(change func([]byte) []byte) *wire {
	w.Helper()
	to, err := url.Parse(w.url)
	w.must(err)
	x := &wire{change: change}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(r *http.Response) error {
		if !strings.HasSuffix(r.Request.URL.Path, "agent-card.json") {
			return nil
		}
		card, err := io.ReadAll(r.Body)
		card = bytes.ReplaceAll(card, []byte(w.url), []byte(x.url))
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(card)), int64(len(card))
		r.Header.Set("Content-Length", fmt.Sprint(len(card)))
		return err
	}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				w.Error(err)
			}
			if x.change != nil {
				body = x.change(body)
			}
			x.mu.Lock()
			x.sent = append(x.sent, body)
			x.mu.Unlock()
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		}
		proxy.ServeHTTP(rw, r)
	}))
	w.Cleanup(s.Close)
	x.url = s.URL
	return x
}

// post sends a request as it is, and returns state and reason of the task.
func (w *world) post(body []byte) (state, reason string) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), http.MethodPost, w.url+"/a2a", bytes.NewReader(body))
	w.must(err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("A2A-Extensions", overa2a.URI)
	req.Header.Set("A2A-Version", "1.0")
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	// As docs/a2a.md has it, and not by the types of the package.
	var answer struct {
		Result struct {
			Task struct {
				Status struct {
					State   string
					Message struct {
						Parts []struct {
							MediaType string
							Data      struct {
								Handoff string
								Refused struct{ Reason string }
							}
						}
					}
				}
			}
		}
	}
	w.must(json.NewDecoder(resp.Body).Decode(&answer))
	status := answer.Result.Task.Status
	for _, p := range status.Message.Parts {
		if p.MediaType == "application/vnd.ledgerd.handoff+json" && p.Data.Handoff == "v1" {
			reason = p.Data.Refused.Reason
		}
	}
	return status.State, reason
}

// TestHandedOver: research, offer, A2A, verified, worked on within the scope, claimed,
// and back; and a second one, which has to extend the first.
func TestHandedOver(t *testing.T) {
	w := newWorld(t)
	for _, quarter := range []string{"q3", "q4"} {
		out := w.client(0, w.url, "--quarter", quarter)
		if !strings.Contains(out, `analyst: "The chart is drawn. Publishing it was denied: handoff-scope. (supported)"`) || !strings.HasSuffix(out, "TASK_STATE_COMPLETED\n") {
			t.Errorf("the client printed\n%s", out)
		}
		if report, err := os.ReadFile(w.path("reports/" + quarter + ".txt")); err != nil || !strings.Contains(string(report), `"north"      ####`) {
			t.Errorf("%s, %v", report, err)
		}
	}
	w.bothHalves(2)
}

// TestSummaryAlone: a researcher that sends only a summary is refused on the wire.
func TestSummaryAlone(t *testing.T) {
	w := newWorld(t)
	x := w.between(nil)
	if out := w.client(3, x.url, "--summary-only", "Sales rose by 12 %. All sources were checked."); !strings.Contains(out, "handoff refused (malformed)") {
		t.Errorf("the client printed %s", out)
	}
	if state, reason := w.post(x.sent[0]); state != "TASK_STATE_REJECTED" || reason != "malformed" {
		t.Errorf("%s, %s", state, reason)
	}
	w.untouched()
}

// TestTampered: a bundle that somebody changed on the way is refused on the wire.
// Unchanged, the same offer is accepted afterwards.
func TestTampered(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"a record's payload": func(b []byte) []byte { return flip(b, `\"jws\":\"`, '.', 40) },
		"a signature":        func(b []byte) []byte { return flip(b, `\"jws\":\"`, '.', -1) },
		"the artifact":       func(b []byte) []byte { return flip(b, `{\"data\":\"`, 0, 4) },
		"the tree head":      func(b []byte) []byte { return flip(b, `{\"head\":\"`, 0, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			x := w.between(change)
			out := w.client(3, x.url)
			if !regexp.MustCompile(`handoff (refused|not decidable) \((signature|malformed|untrusted|rule|artifact)\)`).MatchString(out) {
				t.Errorf("the client printed %s", out)
			}
			if state, reason := w.post(x.sent[0]); state != "TASK_STATE_REJECTED" || reason == "" {
				t.Errorf("%s, %s", state, reason)
			}
			w.untouched()
			w.serve()
			w.client(0, w.url)
			w.bothHalves(1)
		})
	}
}

// flip changes one character: so many after the last place of mark, or after the first
// of a character behind that; -1: right before the closing quote.
func flip(b []byte, mark string, behind byte, after int) []byte {
	b = bytes.Clone(b)
	i := bytes.LastIndex(b, []byte(mark))
	if i < 0 {
		return b
	}
	i += len(mark)
	if behind != 0 {
		i += bytes.IndexByte(b[i:], behind)
	}
	if after < 0 {
		after = bytes.IndexByte(b[i:], '\\') - 10
	}
	if i += after; b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return b
}

// TestReplay: what was accepted is not accepted again, whoever sends it.
func TestReplay(t *testing.T) {
	w := newWorld(t)
	x := w.between(nil)
	w.client(0, x.url)
	if state, reason := w.post(x.sent[0]); state != "TASK_STATE_REJECTED" || reason != "already_accepted" {
		t.Errorf("the same request: %s, %s", state, reason)
	}
	if out := w.client(3, w.url); !strings.Contains(out, "handoff refused (already_accepted)") {
		t.Errorf("the client printed %s", out)
	}
	w.stop(syscall.SIGTERM)
	w.serve()
	if state, reason := w.post(x.sent[0]); state != "TASK_STATE_REJECTED" || reason != "already_accepted" {
		t.Errorf("after a restart: %s, %s", state, reason)
	}
	w.bothHalves(1)
}

// TestKilled kills the server between acceptance and completion: the report that it
// writes is a pipe that nobody reads. Who sends the same again goes on with the same
// acceptance.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	pipe := w.path("reports/q3.txt")
	w.must(syscall.Mkfifo(pipe, 0o600))
	client := w.command("client", "--server", w.url, "--data-dir", "g", "--trust", "r.trust")
	var out bytes.Buffer
	client.Stdout = &out
	w.must(client.Start())
	first := w.says(`^accepted .* for (\S+)$`)
	w.stop(syscall.SIGKILL)
	if err := client.Wait(); err == nil || strings.Contains(out.String(), "TASK_STATE") {
		t.Fatalf("the client heard an end: %v, %s", err, out.String())
	}
	w.must(os.Remove(pipe))
	w.serve()
	again := w.client(0, w.url)
	if !strings.HasSuffix(again, "TASK_STATE_COMPLETED\n") {
		t.Errorf("the client printed %s", again)
	}
	if second := w.says(`^accepted .* for (\S+)$`); second != first {
		t.Errorf("want the run %s to go on, found %s", first, second)
	}
	w.bothHalves(1)
}

// TestREADME runs README.md as it stands, in an empty directory.
func TestREADME(t *testing.T) {
	skip(t)
	text, blocks, err := page()
	if err != nil {
		t.Fatal(err)
	}
	bin, err := build() // the first block
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(bin, filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := shell(t.Context(), dir, listen, blocks[1:]...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, shown, ok := strings.Cut(text, "It prints:\n\n```\n")
	shown, _, ok2 := strings.Cut(shown, "```")
	if !ok || !ok2 {
		t.Fatal("README.md: want what the client prints")
	}
	for line := range strings.Lines(shown) {
		want := regexp.MustCompile("(?m)^" + strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(line)), "…", `\S+`) + "$")
		if !want.Match(out) {
			t.Errorf("README.md shows %q, which was not printed", line)
		}
	}
	for _, want := range []string{
		"handoff refused (malformed)", "handoff refused (already_accepted)", "accepted\n", "handoff       ✓ held", "  accepted    on VERIFIED  bundle about offer ",
		"VERIFIED  bundle about run_",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("README.md never printed %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
