package main

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"ledgerd/evidence"
	"ledgerd/internal/datadir"
	"ledgerd/ledger"
)

// TestSpansSurviveAKill: a daemon that was killed right after it had answered writes the
// spans when it is started again, and ended.
func TestSpansSurviveAKill(t *testing.T) {
	dir, _, token := agentDir(t, newTicketServer(t))
	p := start(t, dir.Path)
	const span = `{"traceId":"%032x","spanId":"%016x","name":"execute_tool","startTimeUnixNano":"1780065130000000000","endTimeUnixNano":"1780065130000000005","attributes":[` +
		`{"key":"gen_ai.operation.name","value":{"stringValue":"execute_tool"}},{"key":"gen_ai.tool.name","value":{"stringValue":"tool-%d"}}]}`
	for i := 1; i <= 3; i++ {
		body := `{"resourceSpans":[{"scopeSpans":[{"spans":[` + fmt.Sprintf(span, 1+i/2, i, i) + `]}]}]}`
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/v1/traces", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.read
	_ = p.Wait()
	p = start(t, dir.Path)
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.read
	if err := p.Wait(); err != nil {
		t.Fatalf("SIGTERM: %v: %s", err, p.stderr)
	}
	l, err := dir.Ledger(t.Context(), datadir.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	found := make(map[string]int)
	for e, err := range l.Find(t.Context(), ledger.Filter{Kind: evidence.KindExecution}) {
		if err != nil {
			t.Fatal(err)
		}
		found[e.Record.Body.(*evidence.Execution).Tool]++
	}
	if fmt.Sprint(found) != "map[tool-1:1 tool-2:1 tool-3:1]" {
		t.Errorf("want each tool once, found %v: %s", found, p.stderr)
	}
}
