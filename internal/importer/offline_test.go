package importer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/bench"
	"ledgerd/internal/importer"
	"ledgerd/internal/logsource"
	"ledgerd/internal/server"
	"ledgerd/ledger"
)

// daemon serves a ledger over HTTP, and returns its URL and a token with every
// right for the runtime.
func daemon(t *testing.T, s *bench.Scratch) (url, token string) {
	t.Helper()
	tokens, err := server.OpenTokens(filepath.Join(t.TempDir(), "tokens.json"))
	if err != nil {
		t.Fatal(err)
	}
	issued, err := tokens.Add(api.NewToken{Actor: bench.Runtime, Rights: api.Rights()}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	h, err := server.New(server.Config{Ledger: s.Ledger, Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL, issued.Secret
}

// auditorsTrust is the ledger's trust file, written and read back.
func auditorsTrust(t *testing.T, s *bench.Scratch) (*bundle.Trust, []byte) {
	t.Helper()
	trust, err := s.Trust()
	if err != nil {
		t.Fatal(err)
	}
	file, err := trust.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if trust, err = bundle.ParseTrust(file); err != nil {
		t.Fatal(err)
	}
	return trust, file
}

// checkOffline: the whole log passes, and the bundle of each run passes or fails
// as its verdict is supported or not.
func checkOffline(t *testing.T, s *bench.Scratch, outcomes []importer.Outcome) {
	t.Helper()
	trust, trustFile := auditorsTrust(t, s)
	url, token := daemon(t, s)
	source, err := logsource.HTTP(url, logsource.Options{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	rep, _, err := audit.VerifyLog(t.Context(), source, trust, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if rep.ExitCode() != audit.ExitVerified || rep.Scope.Records != s.Head().Size || rep.Scope.Runs < len(outcomes) {
		t.Errorf("the log: exit %d, %+v\n%s", rep.ExitCode(), rep.Scope, broken(rep))
	}
	exits := make(map[int]int)
	for _, o := range outcomes {
		file := export(t, s.Ledger, o.Run)
		rep, err := audit.VerifyBundle(bytes.NewReader(file), trust, audit.Options{Run: o.Run})
		if err != nil {
			t.Fatalf("%s: %v", o.ID, err)
		}
		want := audit.ExitBroken
		if o.Verdict == evidence.Supported {
			want = audit.ExitVerified
		}
		if rep.ExitCode() != want {
			t.Errorf("%s is %s: want exit %d, found %d\n%s", o.ID, o.Verdict, want, rep.ExitCode(), broken(rep))
		}
		// What fails is what the agent said, and nothing about the evidence.
		for _, r := range rep.Rules {
			if r.Status == audit.Broken && r.Rule != audit.RuleClaim && r.Rule != audit.RuleContract {
				t.Errorf("%s: the rule %s is broken\n%s", o.ID, r.Rule, broken(rep))
			}
		}
		// The first few also through the program that auditors have.
		if exits[want]++; exits[want] <= 2 {
			checkCommand(t, o, trustFile, file, want)
		}
	}
}

func export(t *testing.T, l *ledger.Ledger, run evidence.RunID) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := l.Export(t.Context(), &file, ledger.ExportOptions{Run: run}); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

func broken(rep *audit.Report) string {
	text := ""
	for _, r := range rep.Rules {
		for _, f := range r.Findings {
			text += fmt.Sprintln(f.String())
		}
	}
	return text
}

// checkCommand runs cmd/verify on a bundle.
func checkCommand(t *testing.T, o importer.Outcome, trust, file []byte, want int) {
	t.Helper()
	dir := t.TempDir()
	for name, b := range map[string][]byte{"trust.json": trust, "run.bundle": file} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), verifyProgram(t), "--trust", "trust.json", "--run", string(o.Run), "run.bundle")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("verify of %s: want exit %d, found %d\n%s", o.ID, want, got, out)
	}
}

var verifyPath string

// verifyProgram builds cmd/verify, once.
func verifyProgram(t *testing.T) string {
	t.Helper()
	if verifyPath == "" {
		path := filepath.Join(t.TempDir(), "verify")
		if out, err := exec.Command("go", "build", "-o", path, "ledgerd/cmd/verify").CombinedOutput(); err != nil {
			t.Fatalf("building cmd/verify: %v\n%s", err, out)
		}
		verifyPath = path
		t.Cleanup(func() { verifyPath = "" })
	}
	return verifyPath
}

// TestOverHTTP: an import through a daemon gives the runs that an import into
// the directory gives, and finds them again.
func TestOverHTTP(t *testing.T) {
	im, _ := newImporter(t, nil)
	want := importAll(t, im, samples(t))

	remote, s := newImporter(t, nil)
	url, token := daemon(t, s)
	c, err := client.New(url, client.Options{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	r := importer.Remote{Client: c, Root: s.Root}
	remote.Ledger, remote.Registry = r, r
	got := importAll(t, remote, samples(t))
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("embedded %+v, over HTTP %+v", want[i], got[i])
		}
	}
	checkOffline(t, s, got)
	for _, o := range importAll(t, remote, samples(t)) {
		if o.Appended != 0 {
			t.Errorf("imported again over HTTP: %+v", o)
		}
	}

	// Without the root's key, the agents have to be there.
	r.Root = nil
	if err := r.Host(context.Background(), "new-agent", bench.Runtime); err == nil {
		t.Error("an agent was registered without the root's key")
	}
	if err := r.Host(context.Background(), "support-agent", "another-runtime"); err == nil {
		t.Error("want an agent of one runtime not to speak through another")
	}
}

// TestUnansweredCall: a transcript that breaks off says so.
func TestUnansweredCall(t *testing.T) {
	im, s := newImporter(t, nil)
	line := `{"id":"cut","actor":"a","intent":"x","contract":{"expects":[{"action":"refund"}],"only":["refund"]},"messages":[` +
		`{"role":"user","content":"refund it"},{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"refund","arguments":"{}"}}]}]}`
	o := importAll(t, im, []byte(line))[0]
	if o.Verdict != evidence.InDoubt {
		t.Errorf("want in_doubt, found %s", o.Verdict)
	}
	trust, _ := auditorsTrust(t, s)
	rep, err := audit.VerifyBundle(bytes.NewReader(export(t, s.Ledger, o.Run)), trust, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if rep.ExitCode() == audit.ExitVerified {
		t.Error("a run that nobody knows the end of is verified")
	}
}

// TestWithoutContract: shown, never supported.
func TestWithoutContract(t *testing.T) {
	im, _ := newImporter(t, nil)
	line := `{"id":"free","actor":"a","intent":"x","messages":[{"role":"user","content":"hello"},{"role":"assistant","content":"All done."}]}`
	if o := importAll(t, im, []byte(line))[0]; o.Verdict != evidence.NoContract {
		t.Errorf("want no_contract, found %s", o.Verdict)
	}
}
