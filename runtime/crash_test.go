package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

// errPassing is a failure that passes.
var errPassing = errors.New("try again")

// workflow is a program over three tools, as a user would write it.
func workflow(rt *runtime.Runtime) (err error) {
	run, err := rt.Open(ctx, "complaint-4711", runtime.As(runtimetest.Agent), runtime.Task("complaint", nil))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.Close(ctx)) }()
	if _, err := run.Context(ctx, runtime.Source{Name: "complaint", Data: []byte("My parcel is late.")}); err != nil {
		return err
	}
	triage := runtime.NewModel("rules-v1", func(context.Context, string) (runtime.ThoughtOf[mail], error) {
		return runtime.ThoughtOf[mail]{Choice: mail{To: "logistics"}, Rationale: "It is about a parcel."}, nil
	})
	to, err := runtime.Decide(ctx, run, "triage", triage, "late")
	if err != nil {
		return err
	}
	var done []runtime.Evidenced
	for i, tool := range []string{"first", "second", "third"} {
		res, err := run.Do(ctx, runtime.Action{Step: fmt.Sprintf("step-%d", i), Tool: tool, Input: fmt.Appendf(nil, `{"to":%q}`, to.To)})
		if err != nil {
			return err
		}
		done = append(done, res)
		if err := run.Checkpoint(ctx, tool+"-done", map[string]int{"at": i}); err != nil {
			return err
		}
	}
	_, err = run.Summarize(ctx, "All three are told", done...)
	return err
}

// tools over servers, one each. probed: they can tell what happened.
func toolsOf(servers []*mailServer, idempotent, probed bool) []runtime.Tool {
	var tools []runtime.Tool
	for i, name := range []string{"first", "second", "third"} {
		s := servers[i]
		spec := runtime.Spec{Name: name, Action: "send_email", Idempotent: idempotent}
		f := runtime.NewFunc(spec, s.send(idempotent))
		if !probed {
			tools = append(tools, f)
			continue
		}
		tools = append(tools, f.WithProbe(func(_ context.Context, c *runtime.Call, in mail) (evidence.Status, sent, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.sent[c.Key] > 0 {
				return evidence.StatusSuccess, sent{"msg_" + in.To}, nil
			}
			return evidence.StatusNotRun, sent{}, nil
		}))
	}
	return tools
}

// TestKilledAtEveryBoundary kills the driver before and after each record, and
// before and after each call, and runs the program again from the top. Effects
// are counted at the tools' servers. The second server is down at its first
// call, so that retries are killed too; and the second driver is killed as well.
// Whatever prefix of its records a run is left with, it comes to the same in the
// end.
func TestKilledAtEveryBoundary(t *testing.T) {
	for _, c := range []struct {
		name               string
		idempotent, probed bool
	}{{"idempotent", true, false}, {"probed", false, true}, {"both", true, true}, {"neither", false, false}} {
		t.Run(c.name, func(t *testing.T) {
			points, whole := -1, ""
			for first := 0; points < 0 || first <= points; first++ {
				if first%3 != 0 && testing.Short() {
					continue
				}
				again := []int{0}
				if first > 0 && first%5 == 0 && !testing.Short() {
					again = append(again, 1, 2, 4, 8, 16, 32)
				}
				for _, second := range again {
					crash, end := killed(t, c.idempotent, c.probed, first, second)
					switch {
					case first == 0:
						points, whole = crash.Points(), end
					case end != whole && end != "":
						t.Errorf("killed %s, and then at point %d: it came to\n%s\nand without that to\n%s", crash.Where(), second, end, whole)
					}
				}
			}
			t.Logf("%d points", points)
			if points < 30 {
				t.Errorf("only %d points", points)
			}
		})
	}
}

// killed runs the workflow with a driver that is killed at one point, a second
// that is killed at another, and a third that is not. It returns what the run
// came to, "" where a human was asked.
func killed(t *testing.T, idempotent, probed bool, first, second int) (*runtimetest.Crash, string) {
	t.Helper()
	w := runtimetest.New(t)
	servers := []*mailServer{{}, {}, {}}
	servers[1].fail = func(call int) error {
		if call == 1 {
			return &runtime.Failure{Class: evidence.ToolUnavailable, Err: errPassing, NotRun: true}
		}
		return nil
	}
	var crash *runtimetest.Crash
	var err error
	for _, at := range []int{first, second, 0, 0} {
		c := runtimetest.CrashAt(at)
		if crash == nil {
			crash = c
		}
		w.Config = func(cfg *runtime.Config) { cfg.Ledger = c.Ledger(cfg.Ledger) }
		var tools []runtime.Tool
		for _, tool := range toolsOf(servers, idempotent, probed) {
			tools = append(tools, c.Tool(tool))
		}
		err = workflow(w.Runtime(tools...))
		w.Clock.Add(time.Hour) // the lease ends
	}
	where := fmt.Sprintf("killed %s, and then at point %d", crash.Where(), second)
	for i, s := range servers {
		n := s.effects()
		switch {
		case n > 1:
			t.Errorf("%s: server %d did its work %d times", where, i, n)
		case err == nil && n == 0:
			t.Errorf("%s: the run is done, and server %d did nothing", where, i)
		}
	}
	run := w.Runtime(toolsOf(servers, idempotent, probed)...).RunID("complaint-4711")
	var doubt *runtime.InDoubt
	switch {
	case err == nil:
		kinds := w.Kinds(run)
		if kinds[len(kinds)-1] != evidence.KindRunClosed {
			t.Errorf("%s: the run is done and open", where)
		}
	case !idempotent && !probed && errors.As(err, &doubt):
		if doubt.Escalation.IsZero() {
			t.Errorf("%s: in doubt, and nobody was asked", where)
		}
	default:
		t.Errorf("%s: %v", where, err)
	}
	w.Sound(run)
	if err != nil {
		return crash, ""
	}
	return crash, cameTo(t, w, run)
}

// cameTo is what a run came to, whatever happened on the way: each step's result,
// each checkpoint's state, the decision, the verdict and the end.
func cameTo(t *testing.T, w *runtimetest.World, run evidence.RunID) string {
	t.Helper()
	read := func(c *evidence.Commitment) string {
		if c == nil {
			return ""
		}
		p, err := runtime.Embedded{Ledger: w.Ledger}.ReadPayload(ctx, c.Commit)
		if err != nil {
			t.Fatal(err)
		}
		return string(p.Data)
	}
	steps := make(map[evidence.ID]string)
	said := make(map[string]string)
	for _, p := range w.Records(run) {
		switch b := p.Record.Body.(type) {
		case *evidence.Decision:
			said["decision "+b.Step] = read(&b.Choice)
		case *evidence.Authorization:
			steps[p.ID] = b.Step
		case *evidence.Execution:
			steps[p.ID] = steps[b.Authorization]
			if b.Status == evidence.StatusSuccess {
				said["step "+steps[p.ID]] = read(b.Output)
			}
		case *evidence.Settlement:
			if b.Finding == evidence.StatusSuccess {
				said["step "+steps[b.Settles]] = read(b.Output)
			}
		case *evidence.Checkpoint:
			said["checkpoint "+b.Name] = fmt.Sprint(b.Sequence, " ", read(&b.State))
		case *evidence.Claim:
			said["claim"] = read(&b.Statements[0].Text)
		case *evidence.Verdict:
			said["verdict"] = string(b.Result)
		case *evidence.RunClosed:
			said["end"] = string(b.End)
		}
	}
	var lines []string
	for what, text := range said {
		lines = append(lines, what+": "+text)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
