package hook

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// FuzzEvent: whatever an agent gives, it is read or refused; what is refused, or cannot be
// asked for, blocks where the agent can block; and nothing of it gets to a terminal or a
// model but as one line of visible characters.
func FuzzEvent(f *testing.F) {
	for i, agent := range agents {
		files, err := filepath.Glob(filepath.Join("testdata", agent.Name, "*.json"))
		must(f, err)
		for _, file := range files {
			raw, err := os.ReadFile(file)
			must(f, err)
			f.Add(uint8(i), raw)
		}
		if agent != &cursor { // which was not seen at work
			for _, raw := range recorded(f, agent.Name) {
				f.Add(uint8(i), raw)
			}
		}
	}
	f.Add(uint8(0), []byte(`{"session_id":"s","hook_event_name":"PreToolUse","tool_name":"\u001b[2J\u202e","tool_input":{}}`))
	f.Fuzz(func(t *testing.T, n uint8, raw []byte) {
		agent := agents[int(n)%len(agents)]
		call := Call{Agent: agent.Name}
		var stdout, stderr bytes.Buffer
		exit := call.Do(context.Background(), nil, errors.New("there is no daemon"), bytes.NewReader(raw), &stdout, &stderr)
		for _, said := range []string{stdout.String(), stderr.String()} {
			line, newline := strings.CutSuffix(said, "\n")
			if said != "" && !newline || strings.ContainsFunc(line, func(c rune) bool { return !unicode.IsPrint(c) }) {
				t.Errorf("%q", said)
			}
		}
		e, err := agent.Parse(raw)
		if err != nil {
			if exit != ExitBlock || stderr.Len() == 0 {
				t.Errorf("it is refused (%v), and the agent is told %d %q %q", err, exit, &stdout, &stderr)
			}
			return
		}
		if e.Kind == Before && exit != ExitBlock && !strings.Contains(stdout.String(), `"deny"`) {
			t.Errorf("nobody was asked, and the agent is told %d %q %q", exit, &stdout, &stderr)
		}
		if e.Kind != Other && e.Session == "" || !identifier(e.Resource) && e.Resource != "" {
			t.Errorf("%+v", e)
		}
		if e.Kind == After && e.Status == "" && agent.outcomes == nil {
			t.Errorf("nobody says what came of the call: %+v", e)
		}
	})
}
