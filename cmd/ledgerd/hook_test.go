package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ledgerd/internal/filelock"
)

// TestHookEnds: a hook that cannot reach the user's daemon says no before the agent, which
// may let the call go on then, ends it.
func TestHookEnds(t *testing.T) {
	home := t.TempDir()
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LEDGERD_HOME", home)
	unlock, err := filelock.Lock(filepath.Join(home, "lock")) // by a program that starts it, and does not come to an end
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	defer func(d time.Duration) { hookTime = d }(hookTime)
	hookTime = 50 * time.Millisecond
	app := newApp()
	var out bytes.Buffer
	app.Reader, app.Writer = strings.NewReader(`{"session_id":"s","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{},"tool_use_id":"t"}`), &out
	if err := app.RunContext(t.Context(), []string{"ledgerd", "hook", "--agent", "codex"}); err != nil || !strings.Contains(out.String(), `"permissionDecision":"deny"`) {
		t.Errorf("%s, %v", &out, err)
	}
}
