package hook

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkCall is what an agent waits for: a process before a call of a tool and one
// after it, each from its start to its end, with a daemon in the process of the test. Run
// it with -benchtime 200x.
func BenchmarkCall(b *testing.B) {
	program := filepath.Join(b.TempDir(), "ledgerd")
	if out, err := exec.Command("go", "build", "-o", program, "ledgerd/cmd/ledgerd").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	h := newHouse(b, "")
	token := filepath.Join(b.TempDir(), "token")
	must(b, os.WriteFile(token, []byte(h.secret), 0o600))
	for _, c := range []struct {
		name  string
		args  []string
		event string
	}{
		{"true", []string{"true"}, ""},
		{"version", []string{program, "--version"}, ""},
		{
			"before",
			[]string{program, "hook", "--agent", "claude-code", "--server", h.URL, "--token-file", token},
			`{"session_id":"%d","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"npm test"},"tool_use_id":"t-%d"}`,
		},
		{
			"after",
			[]string{program, "hook", "--agent", "claude-code", "--server", h.URL, "--token-file", token},
			`{"session_id":"%d","hook_event_name":"PostToolUse","tool_name":"Bash","tool_input":{"command":"npm test"},"tool_response":{"stdout":"ok"},"tool_use_id":"t-%d"}`,
		},
	} {
		b.Run(c.name, func(b *testing.B) {
			took := make([]time.Duration, 0, b.N)
			for i := 0; b.Loop(); i++ {
				event := c.event
				if event != "" {
					event = fmt.Sprintf(event, b.N, i)
				}
				cmd := exec.Command(c.args[0], c.args[1:]...)
				cmd.Stdin = strings.NewReader(event)
				began := time.Now()
				out, err := cmd.CombinedOutput()
				took = append(took, time.Since(began))
				if err != nil || event != "" && len(out) > 0 {
					b.Fatalf("%v\n%s", err, out)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
		})
	}
}
