package main

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ledgerd/internal/api"
	"ledgerd/internal/notify"
)

// TestHumansAreTold: a daemon tells of what waits for a human as it begins to wait,
// by a command and a webhook, with exactly what would be done; and again, once, when
// it starts and it waits still.
func TestHumansAreTold(t *testing.T) {
	secret := bytes.Repeat([]byte("k"), 32)
	var mu sync.Mutex
	var ids []string
	var posted []notify.Message
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		id := r.Header.Get("Webhook-Id")
		mac := hmac.New(sha256.New, secret)
		fmt.Fprintf(mac, "%s.%s.%s", id, r.Header.Get("Webhook-Timestamp"), body)
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); err != nil || r.Header.Get("Webhook-Signature") != want {
			t.Errorf("signature: %v %v", r.Header, err)
		}
		mu.Lock()
		defer mu.Unlock()
		var m notify.Message
		if err := json.Unmarshal(body, &m); err != nil {
			t.Error(err)
		}
		ids, posted = append(ids, id), append(posted, m)
	}))
	defer s.Close()
	dir, flags, token := agentDir(t, newTicketServer(t))
	write := func(path, text string) string {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(filepath.Join(flags[3], "ask.cedar"), `@id("ask") @escalate("finance") forbid (principal, action == Action::"refund", resource);`)
	etc := t.TempDir()
	told := filepath.Join(etc, "told")
	argv, _ := json.Marshal([]string{"tee", "-a", told})
	flags = append(flags, "--notify-command", string(argv), "--notify-webhook", s.URL+"/T0/s3cr3t", "--notify-allow", "127.0.0.0/8",
		"--notify-secret-file", write(filepath.Join(etc, "secret"), "whsec_"+base64.StdEncoding.EncodeToString(secret)+"\n"))
	const input = `{"text":"xyzzy","amount":10}`
	start := func() *process { return start(t, dir.Path, flags...) }
	stop := func(p *process) {
		t.Helper()
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-p.read
		if err := p.Wait(); err != nil {
			t.Errorf("SIGTERM: %v: %s", err, p.stderr)
		}
		for _, no := range []string{"s3cr3t", "whsec_", "xyzzy"} {
			if strings.Contains(p.stderr.String(), no) {
				t.Errorf("%s is in what the daemon says: %s", no, p.stderr)
			}
		}
	}
	// heard waits until both have heard n messages, and a little longer for more.
	heard := func(n int) (commands []notify.Message) {
		t.Helper()
		enough := func() bool {
			b, _ := os.ReadFile(told)
			mu.Lock()
			defer mu.Unlock()
			return bytes.Count(b, []byte("\n")) >= n && len(posted) >= n
		}
		for i := 0; !enough() && i < 200; i++ {
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(300 * time.Millisecond)
		f, err := os.Open(told)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var m notify.Message
			if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
				t.Errorf("%q: %v", lines.Text(), err)
			}
			commands = append(commands, m)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(commands) != n || len(posted) != n {
			t.Fatalf("want %d messages each, found %d by command and %d by webhook", n, len(commands), len(posted))
		}
		return commands
	}

	p := start()
	a := &agentClient{t, func() string { return p.url }, token}
	var run api.RunState
	a.ok("PUT", "complaint-1", `{"task":"x"}`, &run)
	var step api.Step
	a.ok("PUT", "complaint-1/steps/pay", `{"action":"refund","resource":"order/1","input":`+input+`}`, &step)
	a.ok("PUT", "complaint-1/steps/pay", `{"action":"refund","resource":"order/1","input":`+input+`}`, &step) // again: nothing new
	if step.State != api.StepWaiting {
		t.Fatalf("%+v", step)
	}
	for _, m := range append(heard(1), posted[0]) {
		if d := m.Data; m.Type != notify.Waiting || d.About != step.Authorization || d.Run != run.Run || d.Key != "complaint-1" || d.Step != "pay" ||
			d.Team != "finance" || d.Action != "refund" || d.Resource != "order/1" || !sameJSON(d.Input, input) || d.Origin != dir.Origin {
			t.Errorf("%+v", m)
		}
	}
	stop(p)

	p = start()
	for _, m := range append(heard(2)[1:], posted[1]) {
		if d := m.Data; m.Type != notify.Waiting || d.About != step.Authorization || d.Input != posted[0].Data.Input || d.Key != "" {
			t.Errorf("at the next start: %+v", m)
		}
	}
	if ids[0] != ids[1] {
		t.Errorf("one message under two names: %v", ids)
	}
	a.ok("PUT", "complaint-1/steps/other", `{"action":"refund","input":2}`, &step) // what is new is told, and nothing again
	if all := heard(3); all[2].Data.Step != "other" {
		t.Errorf("%+v", all[2])
	}
	stop(p)

	// A command line that cannot be meant.
	bad := func(want string, args ...string) {
		t.Helper()
		q := launch(t, dir.Path, args...)
		<-q.read
		_ = q.Wait()
		if q.ProcessState.ExitCode() != exitUsage || !strings.Contains(q.stderr.String(), want) || strings.Contains(q.stderr.String(), "s3cr3t") {
			t.Errorf("%q: exit %d, %s", args, q.ProcessState.ExitCode(), q.stderr)
		}
	}
	bad("together", "--notify-webhook", "https://hooks.example/s3cr3t")
	bad("not public", "--notify-webhook", "http://127.0.0.1/s3cr3t", "--notify-secret-file", filepath.Join(etc, "secret"))
	bad("a prefix", "--notify-webhook", "http://127.0.0.1/s3cr3t", "--notify-secret-file", filepath.Join(etc, "secret"), "--notify-allow", "localhost")
	bad("JSON array", "--notify-command", `["unclosed`)
	bad("--notify-command", "--notify-command", "/nowhere")
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && fmt.Sprint(x) == fmt.Sprint(y)
}
