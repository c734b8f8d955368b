package exchange_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"ledgerd/internal/api"
)

// send sends a request and returns what comes back.
func send(t *testing.T, method, url, kind, token string, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// step has the daemon do a step of the agent's run.
func (s *side) step(key, name, resource, want string) {
	s.t.Helper()
	tool := "search"
	if name != "search" {
		tool = "chart"
	}
	path := strings.NewReplacer("{run}", key, "{step}", name).Replace(api.PathRunStep)
	status, answer := s.post("POST", path, `{"tool":"`+tool+`","resource":"`+resource+`","input":{}}`)
	var step api.Step
	if err := json.Unmarshal([]byte(answer), &step); err != nil || status != 200 || step.State != want {
		s.t.Fatalf("%s: want %s, found %d %s", name, want, status, answer)
	}
}

// deliver posts a bundle to the inbox.
func (s *side) deliver(b []byte) (int, *api.Problem) {
	s.t.Helper()
	status, answer := send(s.t, "POST", s.Inbox+api.PathHandoffs, api.MediaBundle, "", strings.NewReader(string(b)))
	p := new(api.Problem)
	_ = json.Unmarshal([]byte(answer), p)
	return status, p
}
