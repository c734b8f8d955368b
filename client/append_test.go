package client

import (
	"encoding/json"
	"testing"

	"ledgerd/evidence"
	"ledgerd/internal/api"
)

// FuzzPlaced: what is read without encoding/json is what that reads.
func FuzzPlaced(f *testing.F) {
	id := evidence.IDOf([]byte("a")).String()
	for _, line := range []string{
		`{"status":201,"index":7,"id":"` + id + `"}`, `{"status":200,"index":0,"id":"` + id + `"}`,
		`{"status":200,"index":07,"id":"` + id + `"}`, `{"status":201,"index":-1,"id":"` + id + `"}`,
		`{"status":201,"index":18446744073709551616,"id":"` + id + `"}`, `{"status":201,"index":7,"id":"` + id[:45] + `_"}`,
		`{"status":207,"index":7,"id":"` + id + `"}`, `{"status":201,"index":7,"id":"` + id + `"} x`,
	} {
		f.Add([]byte(line + "\n"))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		status, index, got, ok := parsePlaced(line)
		if !ok {
			return
		}
		var want api.Placed
		if err := json.Unmarshal(line, &want); err != nil || want != (api.Placed{Status: status, Index: index, ID: got}) {
			t.Errorf("%q: found %d %d %s, encoding/json %+v, %v", line, status, index, got, want, err)
		}
	})
}
