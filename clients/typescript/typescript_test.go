package typescript

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/agent"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/internal/server"
	"ledgerd/ledger"
	"ledgerd/runtime"
)

// node returns a script as a command, where the package is built: from the source that
// is there, which is looked at once.
func node(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if testing.Short() {
		t.Skip("what is tested are processes of their own, which the race detector does not see")
	}
	missing := ""
	if _, err := exec.LookPath("node"); err != nil {
		missing = "node (20 or newer) is not on the PATH"
	} else if _, err := os.Stat("node_modules/typescript"); err != nil {
		missing = "the packages of clients/typescript are not installed: bash .ci/install"
	}
	if missing != "" {
		if os.Getenv("CI") != "" {
			t.Fatal("CI is set, and " + missing)
		}
		t.Skip(missing)
	}
	if err := built(); err != nil {
		t.Fatal(err)
	}
	return exec.Command("node", args...)
}

// built compiles the source, strictly, and reports where dist is not what comes of it.
var built = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "dist")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if out, err := exec.Command("node", "node_modules/typescript/bin/tsc", "-p", ".", "--outDir", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("tsc: %w\n%s", err, out)
	}
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if got, err := os.ReadFile(filepath.Join("dist", rel)); err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("dist/%s is not what src makes: npm run build --prefix clients/typescript", rel)
		}
		return nil
	})
})

func run(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, &errs)
	}
	return out
}

// TestVectors: testdata/ holds for this client, too.
func TestVectors(t *testing.T) {
	run(t, node(t, "--test", "tests/vectors.mjs", "tests/unit.mjs"))
}

// house is a daemon that permits sending email, with an agent.
type house struct {
	*daemontest.Daemon
	host  *agent.Host
	token string // the agent's
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{Daemon: daemontest.Init(t)}
	h.host = h.Host(runtime.Config{
		Permit: runtime.PermitterFunc(func(_ context.Context, r *runtime.PermissionRequest) (runtime.Permission, error) {
			if r.Action == "send_email" {
				return runtime.Permission{Effect: evidence.Allow, Policies: []string{"support-mails"}}, nil
			}
			return runtime.Permission{Effect: evidence.Deny}, nil
		}),
		Contracts: func(task string, _ []byte) (*runtime.Contract, error) {
			doc := `{"contract":"v1","task":"complaint","weakest_source":"reported","expects":[{"action":"send_email"}]}`
			return &runtime.Contract{Document: []byte(doc), DeclaredBy: "operator"}, nil
		},
	}, 0)
	h.Serve(func(c *server.Config) { c.Agents = h.host })
	h.token = h.Grant(daemontest.Agent, api.RightAct, api.RightRead, api.RightPayloads)
	return h
}

func (h *house) env(more ...string) []string {
	return append(append(os.Environ(), "LEDGERD_SERVER="+h.URL, "LEDGERD_TOKEN="+h.token), more...)
}

// trust writes the ledger's trust file, with actors pinned.
func (h *house) trust(t *testing.T, pinned ...bundle.PinnedActor) []byte {
	t.Helper()
	trust, err := h.Ledger.Trust()
	must(t, err)
	trust.Ledgers[0].Actors = append(trust.Ledgers[0].Actors, pinned...)
	b, err := trust.Marshal()
	must(t, err)
	return b
}

// verified has the bundle of a run audited as verify does it: the exit code is 0.
func (h *house) verified(t *testing.T, key string) {
	t.Helper()
	id := h.host.RunID(key)
	var b bytes.Buffer
	must(t, h.Ledger.Export(context.Background(), &b, ledger.ExportOptions{Run: id}))
	trust, err := h.Ledger.Trust()
	must(t, err)
	report, err := audit.VerifyBundle(&b, trust, audit.Options{Run: id})
	must(t, err)
	if report.ExitCode() != 0 {
		t.Errorf("the audit of %s: exit code %d: %+v", key, report.ExitCode(), report.Rules)
	}
}

// mail is a server that keeps messages by ID. It kills the process that sends the first
// one, once it has it, and before it answers.
type mail struct {
	mu      sync.Mutex
	kept    map[string]string // guarded by mu
	puts    int               // guarded by mu
	process func() *os.Process
}

func (m *mail) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := strings.TrimPrefix(r.URL.Path, "/messages/")
	if r.Method == http.MethodPut {
		m.puts++
		m.kept[id] = fmt.Sprintf(`{"messageId":"m-%d"}`, m.puts)
		if m.puts == 1 {
			_ = m.process().Kill()
			panic(http.ErrAbortHandler)
		}
	}
	if m.kept[id] == "" {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write([]byte(m.kept[id]))
}

// TestComplaint: the example is killed when its email is on the way, and run again. One
// email was sent, the claim is supported, and verify says so.
func TestComplaint(t *testing.T) {
	complaint := func() *exec.Cmd { return node(t, "examples/complaint.mjs", "4711", "My parcel came late.") }
	complaint()
	h := newHouse(t)
	first := complaint()
	m := &mail{kept: make(map[string]string), process: func() *os.Process { return first.Process }}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	srv := &http.Server{Handler: m}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	env := h.env("MAIL=http://" + ln.Addr().String())

	first.Env = env
	out, err := first.CombinedOutput()
	if s, ok := first.ProcessState.Sys().(syscall.WaitStatus); err == nil || !ok || s.Signal() != syscall.SIGKILL {
		t.Fatalf("want the first process killed: %v\n%s", err, out)
	}
	for _, want := range []string{"The team logistics was notified.\n", "It is done already.\n"} {
		again := complaint()
		again.Env = env
		if out := run(t, again); string(out) != want {
			t.Errorf("run again: want %q, found %q", want, out)
		}
	}
	if m.puts != 1 {
		t.Errorf("want one email sent, found %d", m.puts)
	}
	h.verified(t, "complaint-4711")
}

// TestPackage: what npm packs is what is meant to be in it, and once installed elsewhere
// the examples of the README do what they say, and have the types that they need.
func TestPackage(t *testing.T) {
	node(t)
	h := newHouse(t)
	dir := t.TempDir()
	pack := exec.Command("npm", "pack", "--json", "--ignore-scripts", "--pack-destination", dir)
	var packed []struct {
		Filename string
		Files    []struct{ Path string }
	}
	must(t, json.Unmarshal(run(t, pack), &packed))
	var other []string
	for _, f := range packed[0].Files {
		if !regexp.MustCompile(`^(package\.json|README\.md|LICENSE|dist/((verify|adapters)/)?[a-z0-9-]+\.(js|d\.ts))$`).MatchString(f.Path) {
			other = append(other, f.Path)
		}
	}
	if len(other) > 0 || len(packed[0].Files) < 30 {
		t.Errorf("in the package, of %d: %q", len(packed[0].Files), other)
	}
	must(t, os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"private":true,"type":"module"}`), 0o600))
	install := exec.Command("npm", "install", "--offline", "--no-audit", "--no-fund", "./"+packed[0].Filename)
	install.Dir = dir
	run(t, install)

	readme, err := os.ReadFile("README.md")
	must(t, err)
	var program bytes.Buffer
	for _, b := range regexp.MustCompile("(?s)```js\n(import .*?)```").FindAllSubmatch(readme, -1) {
		program.Write(b[1])
	}
	// The run is closed before the second example begins.
	text := bytes.Replace(program.Bytes(), []byte("await run.close();\n"), nil, 1)
	must(t, os.WriteFile(filepath.Join(dir, "readme.mjs"), text, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "trust.json"), h.trust(t), 0o600))
	modules, err := filepath.Abs("node_modules")
	must(t, err)
	check := exec.Command("node", filepath.Join(modules, "typescript/bin/tsc"), "--noEmit", "--strict", "--allowJs", "--checkJs", "--skipLibCheck", "--module", "nodenext", "--target", "es2022",
		"--types", "node", "--typeRoots", filepath.Join(modules, "@types"), "readme.mjs")
	check.Dir = dir
	run(t, check)
	readmeRun := exec.Command("node", "readme.mjs")
	readmeRun.Dir, readmeRun.Env = dir, h.env()
	want := "sending to logistics@example.com as notify\nsupported\nheld true\n"
	if out := run(t, readmeRun); string(out) != want {
		t.Errorf("the README: want %q, found %q", want, out)
	}
}

// TestReceipts: this client and Go's verifier say the same of receipts of a daemon, whole
// and changed in one place.
func TestReceipts(t *testing.T) {
	cmd := node(t, "tests/receipts.mjs")
	h := newHouse(t)
	ctx := context.Background()
	placed, err := h.Ledger.Append(ctx, h.Records(h.Line(), 12)...)
	must(t, err)
	receipt, err := h.Client(h.Token).Receipt(ctx, placed[5].ID)
	must(t, err)
	whole := receipt.Marshal()
	type sent struct {
		Receipt []byte `json:"receipt"`
		Trust   []byte `json:"trust"`
	}
	pin := func(name string, role evidence.Role, key *evidence.PrivateKey) []byte {
		return h.trust(t, bundle.PinnedActor{Name: name, Role: role, Key: key.Public()})
	}
	pinned := pin("runtime", evidence.RoleRuntime, h.Key)
	all := []sent{{whole, pinned}, {whole, h.trust(t)}}
	// Of a key that may not sign the record, of another key of who did, of somebody else.
	for _, name := range []string{"runtime", daemontest.Agent, "somebody"} {
		for _, role := range []evidence.Role{evidence.RoleRuntime, evidence.RoleAgent, evidence.RoleHuman, evidence.RoleTool, evidence.RoleRoot} {
			all = append(all, sent{whole, pin(name, role, h.Key)}, sent{whole, pin(name, role, h.Root)})
		}
	}
	all = append(all, []sent{{[]byte{}, pinned}, {whole[:len(whole)-1], pinned}, {append(bytes.Clone(whole), '\n'), pinned}}...)
	// Of the record, which is long, every seventh byte; of the proof each.
	proof := bytes.Index(whole, []byte("\nindex "))
	for i := range whole {
		if i > 30 && i < proof && i%7 > 0 {
			continue
		}
		changed := bytes.Clone(whole)
		changed[i] ^= 1 << (i % 7)
		all = append(all, sent{changed, pinned})
	}
	// Two lines of the log's: the first one counts.
	at := bytes.LastIndex(whole, []byte("\n— ")) + 1
	line := whole[at:]
	wrong := bytes.Clone(line)
	last := wrong[len(wrong)-10:]
	last[0] = map[bool]byte{true: 'B', false: 'A'}[last[0] == 'A']
	for _, lines := range [][][]byte{{line, line}, {line, wrong}, {wrong, line}} {
		all = append(all, sent{slices.Concat(append([][]byte{whole[:at]}, lines...)...), pinned})
	}
	// Of another origin, or none; signed by the log, by nobody, by a stranger, by too many; with what no signed note has.
	twoLogs, err := bundle.ParseTrust(pinned)
	must(t, err)
	other, err := daemontest.Named(t, "ledger.example/other").Ledger.Trust()
	must(t, err)
	twoLogs.Ledgers = append(twoLogs.Ledgers, other.Ledgers...)
	both, err := twoLogs.Marshal()
	must(t, err)
	head := bytes.Index(whole, []byte("\n\n")) + 2
	stranger := "— stranger AAAAAAAA\n"
	for _, origin := range []string{h.Ledger.Origin(), "ledger.example/other", "ledger.example/unknown", "\x01"} {
		for _, extension := range []string{"", "more\n", "\x02\n"} {
			for _, lines := range []string{string(line), "", stranger, stranger + string(line), strings.Repeat(stranger, 101), strings.Repeat(stranger, 256) + string(line), "— a\u00a0b AAAAAAAA\n"} {
				_, sizeAndRoot, _ := strings.Cut(string(whole[head:at-1]), "\n")
				all = append(all, sent{fmt.Appendf(nil, "%s%s\n%s%s\n%s", whole[:head], origin, sizeAndRoot, extension, lines), both})
			}
		}
	}
	input, err := json.Marshal(all)
	must(t, err)
	cmd.Stdin = bytes.NewReader(input)
	var answers []struct{ Outcome, Inclusion, Signature, ID string }
	must(t, json.Unmarshal(run(t, cmd), &answers))
	counts := make(map[string]int)
	for i, s := range all {
		trust, err := bundle.ParseTrust(s.Trust)
		must(t, err)
		want := "malformed"
		report, err := audit.VerifyReceipt(s.Receipt, trust, audit.Options{})
		if err == nil {
			want = map[int]string{0: "verified", 1: "wrong", 2: "undecided"}[report.ExitCode()]
		} else if !errors.As(err, new(*bundle.FormatError)) {
			t.Fatal(err)
		}
		if counts[want]++; answers[i].Outcome != want {
			t.Errorf("receipt %d: want %s, found %s: %q", i, want, answers[i].Outcome, s.Receipt)
		}
	}
	if answers[0].ID != placed[5].ID.String() || counts["verified"] < 1 || counts["wrong"] < 50 || counts["undecided"] < 1 || counts["malformed"] < 100 {
		t.Errorf("%+v, of %v", answers[0], counts)
	}
}

// TestRun: what tests/run.mjs holds of a run, by a unix socket, of which the first
// connection is cut.
func TestRun(t *testing.T) {
	cmd := node(t, "tests/run.mjs")
	h := newHouse(t)
	daemon, err := url.Parse(h.URL)
	must(t, err)
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	must(t, err)
	forward := httputil.NewSingleHostReverseProxy(daemon)
	cut := true
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cut {
			cut = false
			panic(http.ErrAbortHandler)
		}
		r.Host = daemon.Host
		forward.ServeHTTP(w, r)
	})}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	cmd.Env = append(os.Environ(), "LEDGERD_SERVER=unix:"+path, "LEDGERD_TOKEN="+h.token)
	if out := run(t, cmd); string(out) != "done\n" {
		t.Errorf("%s", out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
