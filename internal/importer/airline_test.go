package importer_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// airlineFile returns the airline runs, or skips the test where they are absent.
func airlineFile(t testing.TB, name string) []byte {
	t.Helper()
	dir := os.Getenv("LEDGERD_AIRLINE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data", "airline")
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Skipf("the airline runs are not here (set LEDGERD_AIRLINE_DATA to their folder): %v", err)
	}
	return b
}

// airlineRule is the rule of the data's own README, computed from the file and
// nothing of ours: each of expects stands for exactly one success, a further
// success of an action in only breaks the contract, a result that begins with
// "Error" is a failure, inputs are equal as JSON values. It returns, for each
// run, whether the contract is met.
func airlineRule(t testing.TB, file []byte) map[string]bool {
	t.Helper()
	type call struct {
		Action string `json:"action"`
		Input  any    `json:"input"`
	}
	met := make(map[string]bool)
	for line := range bytes.Lines(file) {
		var run struct {
			ID       string
			Contract struct {
				Expects []call
				Only    []string
			}
			Messages []struct {
				Role      string
				Content   any
				ToolCalls []struct {
					Function struct{ Name, Arguments string }
				} `json:"tool_calls"`
			}
		}
		if err := json.Unmarshal(line, &run); err != nil {
			t.Fatal(err)
		}
		var asked, done []call
		for _, m := range run.Messages {
			for _, c := range m.ToolCalls {
				var input any
				if err := json.Unmarshal([]byte(c.Function.Arguments), &input); err != nil {
					t.Fatal(err)
				}
				asked = append(asked, call{c.Function.Name, input})
			}
			if m.Role == "tool" {
				if text, _ := m.Content.(string); !strings.HasPrefix(text, "Error") {
					done = append(done, asked[0])
				}
				asked = asked[1:]
			}
		}
		ok := true
		for _, want := range run.Contract.Expects {
			found := false
			for i := range done {
				if reflect.DeepEqual(done[i], want) {
					done = append(done[:i:i], done[i+1:]...)
					found = true
					break
				}
			}
			ok = ok && found
		}
		for _, left := range done {
			for _, action := range run.Contract.Only {
				ok = ok && left.Action != action
			}
		}
		met[run.ID] = ok
	}
	return met
}
