package quickstart

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charm.land/lipgloss/v2"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
)

func options(out io.Writer, dir string) Options {
	return Options{DataDir: dir, Out: out, Program: "%s", Logger: slog.New(slog.DiscardHandler)}
}

// TestRun: a reader sees five claims, what became of each, and a lie caught; and
// what the page says of a bundle is what its file says.
func TestRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	var out bytes.Buffer
	if err := Run(t.Context(), options(&out, dir)); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	if strings.ContainsRune(page, 0x1b) {
		t.Error("escape sequences in what is not a terminal")
	}
	for _, want := range []string{
		"✓ supported", "✗ unsupported", "✗ contradicted", "no send_email", "refund-above-", "payment", "proven wrong  exit 1",
		"verified  exit 0", "serve --data-dir", "D=" + dir,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("want %q on the page:\n%s", want, page)
		}
	}
	b, err := os.ReadFile(dir + ".audit/trust.json")
	if err != nil {
		t.Fatal(err)
	}
	trust, err := bundle.ParseTrust(b)
	if err != nil {
		t.Fatal(err)
	}
	for name, exit := range map[string]int{
		"complaint-1041": 0, "complaint-1042": 1, "complaint-1043": 1, "complaint-1044": 1, "complaint-1045": 1, "complaint-1044.changed": 1,
	} {
		f, err := os.Open(filepath.Join(dir+".audit", name+".bundle"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		rep, err := audit.VerifyBundle(f, trust, audit.Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if rep.ExitCode() != exit {
			t.Errorf("%s: want exit %d, found %d", name, exit, rep.ExitCode())
		}
		if changed := strings.HasSuffix(name, ".changed"); (rep.Rule(audit.RuleSignature).Status == audit.Broken) != changed {
			t.Errorf("%s: signature is %s", name, rep.Rule(audit.RuleSignature).Status)
		}
	}
	// The directory is an ordinary one: a second quickstart leaves it alone.
	if err := Run(t.Context(), options(io.Discard, dir)); err == nil {
		t.Error("a quickstart took over a directory that holds a ledger")
	}
}

func TestLinesFitTheTerminal(t *testing.T) {
	for _, width := range []int{80, 120} {
		var out bytes.Buffer
		o := options(&out, filepath.Join(t.TempDir(), "ledger"))
		o.Width = width
		if err := Run(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			// What is to be typed or copied is not broken.
			if w := lipgloss.Width(strings.TrimRight(line, "\n")); w > width && !strings.Contains(line, o.DataDir) && !strings.Contains(line, "$D") {
				t.Errorf("%d columns in a terminal of %d: %s", w, width, line)
			}
		}
	}
}

func TestServeRunsUntilItIsStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	o := options(w, filepath.Join(t.TempDir(), "ledger"))
	o.Serve = true
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()
	page := make([]byte, 0, 1<<16)
	for buf := make([]byte, 4096); !bytes.Contains(page, []byte("Ctrl-C")); {
		n, err := r.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		page = append(page, buf[:n]...)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	select {
	case err := <-done:
		t.Fatalf("it ended by itself: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestEditNeedsWhatItChanges: if the record's form changed, tampering would
// silently change nothing, and nothing would be caught.
func TestEditNeedsWhatItChanges(t *testing.T) {
	key, err := evidence.NewPrivateKey(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	entry, err := evidence.SignPayload([]byte(`{"a":1}`), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := edit(entry, [][2]string{{`"b"`, `"c"`}}); err == nil {
		t.Error("a change that does not apply is no error")
	}
	forged, err := edit(entry, [][2]string{{`1`, `2`}})
	if err != nil || bytes.Equal(forged, entry) {
		t.Errorf("want another entry, found %s (%v)", forged, err)
	}
}

// TestMarksDifferWithoutColours: results are told apart without colours.
func TestMarksDifferWithoutColours(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range []evidence.Result{evidence.Supported, evidence.Contradicted, evidence.InDoubt} {
		var out bytes.Buffer
		newView(&out, nil, 80).print(mark(r))
		first := fmt.Sprint([]rune(out.String())[0])
		if seen[first] {
			t.Errorf("%s looks like another result: %s", r, out.String())
		}
		seen[first] = true
	}
}
