package mcp

import (
	"context"
	"testing"

	"ledgerd/evidence"
	"ledgerd/internal/api"
)

// TestRunMoves: where the agent begins anew, the next call is asked for in the new run,
// and what is under way is reported in the one in which it was asked, whether that has
// ended or not.
func TestRunMoves(t *testing.T) {
	h := newHouse(t)
	key := "one"
	run := DaemonRun(h.Client(h.Grant("support", api.RightAct, api.RightRead, api.RightGateway)), func(context.Context) (string, error) { return key, nil }, api.OpenRun{Task: "session"})
	ctx := context.Background()
	ask := func(step string) *api.Step {
		t.Helper()
		got, err := run.AskStep(ctx, step, api.AskStep{Tool: "demo/echo", Action: "demo/echo", Input: []byte(`{}`), Asker: "a"}, 0)
		if err != nil || got.State != api.StepAllowed {
			t.Fatalf("%+v %v", got, err)
		}
		return got
	}
	report := func(step string, status evidence.Status) {
		t.Helper()
		if _, err := run.ReportStep(ctx, step, api.ReportStep{Attempt: 1, Status: status, Source: evidence.SourceRuntime}); err != nil {
			t.Errorf("%s: %v", step, err)
		}
	}
	first := ask("demo:echo:a:1")
	task := ask("demo:echo:b:1")
	report("demo:echo:b:1", evidence.StatusAccepted)
	key = "two"
	second := ask("demo:echo:c:1")
	report("demo:echo:a:1", evidence.StatusSuccess)
	report("demo:echo:b:1", evidence.StatusSuccess)
	report("demo:echo:c:1", evidence.StatusSuccess)
	if first.Run != task.Run || first.Run == second.Run {
		t.Errorf("asked in %s, %s and %s", first.Run, task.Run, second.Run)
	}
	for key, steps := range map[string]int{"one": 2, "two": 1} {
		st, err := h.Client(h.Token).RunState(ctx, key)
		if err != nil || len(st.Steps) != steps || len(st.InDoubt) != 0 {
			t.Errorf("%s: %+v %v", key, st, err)
			continue
		}
		h.sound(st.Run)
	}
}
