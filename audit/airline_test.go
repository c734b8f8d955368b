package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ledgerd/audit/audittest"
	"ledgerd/evidence"
	"ledgerd/internal/raced"
)

type airlineRun struct {
	ID       string          `json:"id"`
	Contract json.RawMessage `json:"contract"`
	Messages []struct {
		Role      string `json:"role"`
		ToolCalls []struct {
			ID       string `json:"id"`
			Function struct {
				Name      string `json:"name"`
				Arguments string `json:"arguments"`
			} `json:"function"`
		} `json:"tool_calls"`
		ToolCallID string `json:"tool_call_id"`
		Content    string `json:"content"`
	} `json:"messages"`
}

// airlineRuns reads the shared transcripts; the test skips where they are absent.
func airlineRuns(t testing.TB) []airlineRun {
	dir := os.Getenv("LEDGERD_AIRLINE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data", "airline")
	}
	f, err := os.Open(filepath.Join(dir, "runs.jsonl"))
	if err != nil {
		t.Skipf("no airline runs: %v (set LEDGERD_AIRLINE_DATA)", err)
	}
	defer f.Close()
	var runs []airlineRun
	s := bufio.NewScanner(f)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		var r airlineRun
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		runs = append(runs, r)
	}
	return runs
}

type airlineCall struct {
	action string
	input  any
	raw    string
	ok     bool
}

func (r *airlineRun) calls(t testing.TB) []airlineCall {
	answers := make(map[string]string)
	for _, m := range r.Messages {
		if m.Role == "tool" {
			answers[m.ToolCallID] = m.Content
		}
	}
	var calls []airlineCall
	for _, m := range r.Messages {
		for _, c := range m.ToolCalls {
			call := airlineCall{action: c.Function.Name, raw: c.Function.Arguments}
			answer, answered := answers[c.ID]
			call.ok = answered && !strings.HasPrefix(answer, "Error")
			if err := json.Unmarshal([]byte(call.raw), &call.input); err != nil {
				t.Fatal(err)
			}
			calls = append(calls, call)
		}
	}
	return calls
}

// airlineRule is the rule of the data's README, written down by itself: each of
// expects stands for exactly one success; a further success of an action in
// only breaks the contract.
func airlineRule(t testing.TB, contract []byte, calls []airlineCall) bool {
	var c struct {
		Expects []struct {
			Action string `json:"action"`
			Input  any    `json:"input"`
		} `json:"expects"`
		Only []string `json:"only"`
	}
	if err := json.Unmarshal(contract, &c); err != nil {
		t.Fatal(err)
	}
	only := make(map[string]bool)
	for _, a := range c.Only {
		only[a] = true
	}
	used := make([]bool, len(c.Expects))
	for _, call := range calls {
		if !call.ok {
			continue
		}
		accounted := false
		for i, e := range c.Expects {
			if !used[i] && !accounted && e.Action == call.action && reflect.DeepEqual(e.Input, call.input) {
				used[i], accounted = true, true
			}
		}
		if only[call.action] && !accounted {
			return false
		}
	}
	for _, u := range used {
		if !u {
			return false
		}
	}
	return true
}

// TestAirline: on the real transcripts the verdict is the one of their own rule.
func TestAirline(t *testing.T) {
	raced.Skip(t)
	supported := 0
	runs := airlineRuns(t)
	for _, a := range runs {
		w := audittest.New(t)
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(a.Contract, &doc); err != nil {
			t.Fatal(err)
		}
		doc["contract"], doc["task"], doc["weakest_source"] = json.RawMessage(`"v1"`), json.RawMessage(`"airline"`), json.RawMessage(`"imported"`)
		contract, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		r := w.Open(func(_ *evidence.Record, b *evidence.RunOpened) {
			b.Source, b.Imported = evidence.SourceImported, a.ID
			b.Contract = &evidence.ContractRef{Document: w.Commit(string(contract)), DeclaredBy: "importer"}
		})
		calls := a.calls(t)
		for _, c := range calls {
			status := evidence.StatusFailure
			if c.ok {
				status = evidence.StatusSuccess
			}
			r.Execute(r.Authorize(c.action, c.raw, nil), status, nil)
		}
		claim := r.ClaimContract()
		r.Close(evidence.Completed)
		run, found := fold(t, w, r.ID)
		if len(found) > 0 {
			t.Errorf("%s: %v", a.ID, &found[0])
		}
		v, err := Judge(run, claim.ID, "", w)
		if err != nil {
			t.Fatal(err)
		}
		want := airlineRule(t, a.Contract, calls)
		if got := v.Result == evidence.Supported; got != want {
			t.Errorf("%s: the rule says %v, the verdict %s: %s", a.ID, want, v.Result, v.Contract.Why)
		}
		if want {
			supported++
		}
		if b, err := v.Bytes(); err != nil || !bytes.Contains(b, []byte(`"result":"`+v.Result+`"`)) {
			t.Errorf("%s: %s %v", a.ID, b, err)
		}
	}
	t.Logf("%d of %d supported", supported, len(runs))
}
