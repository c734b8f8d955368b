package node_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ledgerd/internal/raced"
)

const origin = "ledger.example/node"

// node returns the JavaScript of this directory as a command; it skips where
// there is no node to run it.
func node(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI is set, and node (20 or newer) is not on the PATH")
		}
		t.Skip("node is not on the PATH: the second implementation cannot run here")
	}
	return exec.Command(path, args...)
}

// run runs a command and returns what it prints, and its exit code.
func run(t *testing.T, cmd *exec.Cmd) (stdout []byte, exit int) {
	t.Helper()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatalf("%s: %v", cmd, err)
	}
	if code := cmd.ProcessState.ExitCode(); code < 0 || code >= 64 && code != 65 || errs.Len() > 0 && code == 1 {
		t.Fatalf("%s: exit code %d\n%s%s", cmd, code, out, &errs)
	}
	return out, cmd.ProcessState.ExitCode()
}

// must is run for commands that have to succeed.
func must(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	out, code := run(t, cmd)
	if code != 0 {
		t.Fatalf("%s: exit code %d\n%s", cmd, code, out)
	}
	return out
}

// TestVectors: what testdata/ says of records, keys, signatures, bundles and
// receipts is what an implementation from docs/ alone says.
func TestVectors(t *testing.T) {
	raced.Skip(t)
	out, code := run(t, node(t, "vectors.mjs"))
	var passed, failed int
	last := out[bytes.LastIndexByte(bytes.TrimRight(out, "\n"), '\n')+1:]
	if _, err := fmt.Sscanf(string(last), "%d passed, %d failed", &passed, &failed); err != nil {
		t.Fatalf("want the last line to count the vectors, found %q", last)
	}
	if code != 0 || failed != 0 || passed < 1000 {
		t.Errorf("want more than 1000 vectors passed and none failed\n%s", out)
	}
}

// ledger is a daemon with a ledger in a directory of its own.
type ledger struct {
	t               *testing.T
	dir, data, url  string
	trust, pinned   string // files
	ledgerd, verify string // programs
	runtimeKey      string // file
}

func serve(t *testing.T) *ledger {
	t.Helper()
	node(t)
	dir := t.TempDir()
	l := &ledger{t: t, dir: dir, data: filepath.Join(dir, "data"), ledgerd: filepath.Join(dir, "ledgerd"), verify: filepath.Join(dir, "verify")}
	must(t, exec.Command("go", "build", "-o", dir+string(filepath.Separator), "ledgerd/cmd/ledgerd", "ledgerd/cmd/verify"))
	must(t, exec.Command(l.ledgerd, "init", "--data-dir", l.data, "--origin", origin))
	l.runtimeKey = filepath.Join(l.data, "keys", "runtime.jwk")
	for _, actor := range [][]string{
		{"support", "--role", "agent", "--host", "runtime"},
		{"auditor", "--role", "agent", "--new-key", filepath.Join(dir, "auditor.jwk")},
		{"email_sender", "--role", "tool", "--new-key", filepath.Join(dir, "tool.jwk")},
		{"ann", "--role", "human", "--team", "leads", "--new-key", filepath.Join(dir, "ann.jwk")},
	} {
		must(t, exec.Command(l.ledgerd, append([]string{"actor", "add", "--data-dir", l.data}, actor...)...))
	}
	for file, actor := range map[string]string{"auditor": "auditor", "tool": "email_sender", "ann": "ann"} {
		must(t, exec.Command(l.ledgerd, "token", "add", "--data-dir", l.data, "--actor", actor,
			"--right", "record", "--right", "approve", "-o", filepath.Join(dir, file+".token")))
	}
	l.start()
	l.trustFiles()
	return l
}

func (l *ledger) start() {
	l.t.Helper()
	cmd := exec.Command(l.ledgerd, "serve", "--data-dir", l.data, "--listen", "127.0.0.1:0", "--log-format", "json")
	logs, err := cmd.StderrPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	found := make(chan string, 1)
	go func() {
		for s := bufio.NewScanner(logs); s.Scan(); {
			var line struct{ Msg, URL string }
			if json.Unmarshal(s.Bytes(), &line) == nil && line.Msg == "serving" {
				found <- line.URL
			}
		}
		close(found)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	select {
	case l.url = <-found:
	case <-ctx.Done():
	}
	if l.url == "" {
		l.t.Fatal("the daemon did not say where it serves")
	}
}

// trustFiles writes what the ledger gives an auditor, and the same with the
// runtime's key pinned, so that receipts of its records are decidable.
func (l *ledger) trustFiles() {
	l.t.Helper()
	l.trust, l.pinned = filepath.Join(l.dir, "trust.json"), filepath.Join(l.dir, "pinned.json")
	trust := must(l.t, exec.Command(l.ledgerd, "trust", "--data-dir", l.data))
	l.write(l.trust, trust)
	private, err := os.ReadFile(l.runtimeKey)
	if err != nil {
		l.t.Fatal(err)
	}
	var key struct {
		Kty string `json:"kty"`
		Crv string `json:"crv"`
		X   string `json:"x"`
	}
	var file map[string]any
	if err := errors.Join(json.Unmarshal(private, &key), json.Unmarshal(trust, &file)); err != nil {
		l.t.Fatal(err)
	}
	file["ledgers"].([]any)[0].(map[string]any)["actors"] = []any{map[string]any{"name": "runtime", "role": "runtime", "key": key}}
	pinned, err := json.Marshal(file)
	if err != nil {
		l.t.Fatal(err)
	}
	l.write(l.pinned, pinned)
}

func (l *ledger) write(name string, content []byte) {
	l.t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// script runs one of the programs of this directory as a client of the daemon.
func (l *ledger) script(result any, name string, args ...string) {
	l.t.Helper()
	cmd := node(l.t, append([]string{name, "--server", l.url, "--key", l.runtimeKey}, args...)...)
	cmd.Env = append(os.Environ(), "LEDGERD_TOKEN_FILE="+filepath.Join(l.data, "admin.token"))
	if err := json.Unmarshal(must(l.t, cmd), result); err != nil {
		l.t.Fatalf("%s: %v", name, err)
	}
}

func (l *ledger) export(about, id string) []byte {
	return l.get("/v1/bundles?" + url.Values{about: {id}}.Encode())
}

func (l *ledger) get(path string) []byte {
	l.t.Helper()
	token, err := os.ReadFile(filepath.Join(l.data, "admin.token"))
	if err != nil {
		l.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, l.url+path, http.NoBody)
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		l.t.Fatalf("%s: %s, %v\n%s", path, resp.Status, err, body)
	}
	return body
}

// answer is what a verifier says of a file.
type answer struct {
	Outcome             string
	Broken, Undecidable []string
}

// both has the files audited by both verifiers, and returns what each says.
func (l *ledger) both(trust string, files []string) (ours, theirs []answer) {
	l.t.Helper()
	out, _ := run(l.t, exec.Command(l.verify, append([]string{"--trust", trust, "--output", "json"}, files...)...))
	for _, line := range bytes.Split(bytes.TrimSpace(out), []byte("\n")) {
		var report struct {
			Outcome string
			Rules   []struct{ Rule, Status string }
		}
		if err := json.Unmarshal(line, &report); err != nil {
			l.t.Fatalf("verify: %v: %s", err, line)
		}
		a := answer{Outcome: report.Outcome}
		for _, r := range report.Rules {
			switch r.Status {
			case "broken":
				a.Broken = append(a.Broken, r.Rule)
			case "undecidable":
				a.Undecidable = append(a.Undecidable, r.Rule)
			}
		}
		slices.Sort(a.Broken)
		slices.Sort(a.Undecidable)
		ours = append(ours, a)
	}
	out, _ = run(l.t, node(l.t, append([]string{"verify.mjs", "--trust", trust, "--output", "json"}, files...)...))
	for _, line := range bytes.Split(bytes.TrimSpace(out), []byte("\n")) {
		var report struct {
			Exit                int
			Broken, Undecidable []string
		}
		if err := json.Unmarshal(line, &report); err != nil {
			l.t.Fatalf("verify.mjs: %v: %s", err, line)
		}
		outcome := map[int]string{0: "verified", 1: "wrong", 2: "undecidable", 65: "malformed"}[report.Exit]
		theirs = append(theirs, answer{outcome, append([]string(nil), report.Broken...), append([]string(nil), report.Undecidable...)})
	}
	if len(ours) != len(files) || len(theirs) != len(files) {
		l.t.Fatalf("want %d answers of each, found %d and %d", len(files), len(ours), len(theirs))
	}
	return ours, theirs
}

// TestDaemon has one daemon write what the two verifiers are held to.
func TestDaemon(t *testing.T) {
	if testing.Short() {
		t.Skip("what is tested are processes of their own, which the race detector does not see")
	}
	l := serve(t)
	t.Run("run", l.testRun)
	t.Run("scenarios", l.testScenarios)
}

// testRun: what the client from the docs signs, the daemon takes; what the
// daemon hands out, both verifiers accept; and neither accepts it once changed.
func (l *ledger) testRun(t *testing.T) {
	var signed struct {
		Run     string
		Records []struct{ Kind, ID string }
	}
	l.script(&signed, "client.mjs")
	files := map[string][]byte{"run.bundle": l.export("run", signed.Run)}
	for _, r := range signed.Records {
		if r.Kind == "execution" {
			files["execution.tlog-proof"] = l.get("/v1/receipts/" + r.ID)
		}
	}
	var names []string
	for _, form := range []string{"run.bundle", "execution.tlog-proof"} {
		name := filepath.Join(l.dir, form)
		l.write(name, files[form])
		names = append(names, name)
	}
	ours, theirs := l.both(l.pinned, names)
	for i, name := range names {
		if ours[i].Outcome != "verified" || theirs[i].Outcome != "verified" {
			t.Fatalf("%s: want it verified by both, found %+v and %+v", filepath.Base(name), ours[i], theirs[i])
		}
	}
	names = names[:0]
	for _, form := range []string{"run.bundle", "execution.tlog-proof"} {
		for i := range 40 {
			name := filepath.Join(l.dir, fmt.Sprintf("%02d-%s", i, form))
			l.write(name, mutate(rand.New(rand.NewPCG(8032, uint64(i))), i, files[form]))
			names = append(names, name)
		}
	}
	for i, edge := range edges {
		changed := strings.Replace(string(files[edge.form]), edge.old, edge.new, 1)
		if changed == string(files[edge.form]) {
			t.Errorf("no %q in %s", edge.old, edge.form)
		}
		name := filepath.Join(l.dir, fmt.Sprintf("edge-%02d-%s", i, edge.form))
		l.write(name, []byte(changed))
		names = append(names, name)
	}
	ours, theirs = l.both(l.pinned, names)
	seen := map[string]int{}
	for i, name := range names {
		if ours[i].Outcome == "verified" || theirs[i].Outcome == "verified" || ours[i].Outcome != theirs[i].Outcome {
			t.Errorf("%s: want it refused, and for one reason; verify says %+v, verify.mjs %+v", filepath.Base(name), ours[i], theirs[i])
		}
		seen[ours[i].Outcome]++
	}
	t.Logf("%d changed files: %v", len(names), seen)
	if seen["wrong"] == 0 || seen["malformed"] == 0 {
		t.Errorf("want mutations that are proven wrong, and such that have no form left: %v", seen)
	}
}

// testScenarios: of runs that are right, wrong and left open, in more ways than
// the vectors are, both verifiers name the same broken and undecidable rules.
func (l *ledger) testScenarios(t *testing.T) {
	var scenarios map[string]struct{ Run, Offer, Result string }
	l.script(&scenarios, "scenarios.mjs", "--keys", l.dir)
	var names, files []string
	seen := map[string]int{}
	add := func(name, about, id string) {
		file := filepath.Join(l.dir, fmt.Sprintf("%03d.bundle", len(files)))
		l.write(file, l.export(about, id))
		names, files = append(names, name), append(files, file)
	}
	for _, name := range slices.Sorted(maps.Keys(scenarios)) {
		add(name, "run", scenarios[name].Run)
		seen[scenarios[name].Result]++
		if offer := scenarios[name].Offer; offer != "" {
			add(name+": the offer", "offer", offer)
			add(name+": the offer's record", "record", offer)
		}
	}
	add("everything", "from", "0")
	ours, theirs := l.both(l.trust, files)
	for i, name := range names {
		if !reflect.DeepEqual(ours[i], theirs[i]) {
			t.Errorf("%s: verify says %+v, verify.mjs %+v", name, ours[i], theirs[i])
		}
		seen[ours[i].Outcome]++
		for _, rule := range ours[i].Broken {
			seen[rule]++
		}
	}
	t.Logf("%d bundles: %v", len(names), seen)
	for _, want := range []string{
		"verified", "wrong", "undecidable", "chain", "authorized", "outcome", "budget", "resume", "handoff", "claim", "contract", "verdict", "disclosure",
		"supported", "contradicted", "unsupported", "in_doubt", "undisclosed",
	} {
		if seen[want] == 0 {
			t.Errorf("want a scenario for %s, found none", want)
		}
	}
}

// edges are changes that a lenient reader would not see, or see otherwise.
var edges = []struct{ form, old, new string }{
	{"run.bundle", `"index":3,`, `"index":3,"left":[],`},
	{"run.bundle", `"index":3,`, `"index":3,"left":null,`},
	{"run.bundle", `"index":3,`, `"index":3.0,`},
	{"run.bundle", `"index":10,`, `"index":1e1,`},
	{"run.bundle", `"index":3,`, `"index":3,"index":3,`},
	{"run.bundle", `{"bundle":"v1"`, `{ "bundle":"v1"`},
	{"run.bundle", `"origin":`, `"\u006frigin":`},
	{"run.bundle", `ledger.example/node"`, `ledger.example\/node"`},
	{"run.bundle", `"origin":"ledger.example/node"`, `"origin":"ledger.example/else"`},
	{"run.bundle", `"origin":"ledger.example/node"`, `"origin":"ledger example"`},
	{"run.bundle", `"kind":"run"`, `"kind":"all"`},
	{"run.bundle", `"jws":"`, `"jws":" `},
	{"run.bundle", "\n", "\r\n"},
	{"execution.tlog-proof", "index ", "index 0"},
	{"execution.tlog-proof", "index ", "index +"},
	{"execution.tlog-proof", "index ", "index 99"},
	{"execution.tlog-proof", "proof@v1", "proof@v2"},
	{"execution.tlog-proof", "extra ", "extra  "},
	{"execution.tlog-proof", "=\n\n\u2014", "=\nextension\n\n\u2014"},
	{"execution.tlog-proof", "=\n\n\u2014", "=\n\n\n\u2014"},
	{"execution.tlog-proof", "\n\u2014 ", "\n\u2014 a\u0085b AAAAAAAA\n\u2014 "},
	{"execution.tlog-proof", "\n\u2014 ", "\n\u2014 a\tb AAAAAAAA\n\u2014 "},
	{"execution.tlog-proof", "\n\u2014 ", "\n\u2014 other AAAA\n\u2014 "},
	{"execution.tlog-proof", "\n\u2014 ", "\n" + strings.Repeat("\u2014 other AAAAAAAA\n", 100) + "\u2014 "},
	{"execution.tlog-proof", "\n\u2014 ledger.example/node", "\n\u2014 ledger.example/else"},
}

// mutate changes a file in one place: what way, its number says; where, chance.
func mutate(random *rand.Rand, i int, file []byte) []byte {
	lines := bytes.SplitAfter(bytes.Clone(file), []byte("\n"))
	lines = lines[:len(lines)-1]
	n := random.IntN(len(lines))
	switch i % 5 {
	case 0: // any bit
		file = bytes.Clone(file)
		file[random.IntN(len(file))] ^= 1 << random.IntN(8)
		return file
	case 1: // a character of base64 for another, which leaves more of the form alone
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
		for {
			at := random.IntN(len(file))
			c := alphabet[random.IntN(len(alphabet))]
			if strings.IndexByte(alphabet, file[at]) >= 0 && file[at] != c {
				file = bytes.Clone(file)
				file[at] = c
				return file
			}
		}
	case 2: // a line less
		return bytes.Join(append(lines[:n:n], lines[n+1:]...), nil)
	case 3: // a line twice, but for the last: a signature that stands twice counts once
		n %= len(lines) - 1
		return bytes.Join(append(lines[:n+1:n+1], lines[n:]...), nil)
	default: // two lines in another order
		m := (n + 1 + random.IntN(len(lines)-1)) % len(lines)
		if bytes.Equal(lines[n], lines[m]) {
			return file[:len(file)-1]
		}
		lines[n], lines[m] = lines[m], lines[n]
		return bytes.Join(lines, nil)
	}
}
