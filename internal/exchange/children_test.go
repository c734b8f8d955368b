package exchange_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"ledgerd/internal/api"
)

// TestChildren: the child of a run that continues a handoff is held to its scope, and
// after a restart it is driven again with its parent, or not at all.
func TestChildren(t *testing.T) {
	g, r := strangers(t, nil)
	offer := g.offers("research-1", r)
	r.deliver(g.bundleOf(offer))
	parent, err := r.continues("analysis-1", offer)
	r.must(err)
	open := func(key, of string) (*api.RunState, error) {
		return r.agent.OpenRun(ctx, key, api.OpenRun{Task: "analyse", Parent: of})
	}
	wants := func(err error, status int, reason string) {
		t.Helper()
		var p *api.Problem
		if !errors.As(err, &p) || p.Status != status || p.Reason != reason {
			t.Errorf("want %d %s, found %v", status, reason, err)
		}
	}
	child, err := open("child-1", "analysis-1")
	r.must(err)
	_, err = open("grandchild-1", "child-1")
	r.must(err)
	r.step("child-1", "chart", "report/q3", api.StepSucceeded)
	r.step("child-1", "elsewhere", "secrets", api.StepDenied)
	r.step("grandchild-1", "elsewhere", "secrets", api.StepDenied)
	_, err = open("child-1", "")
	wants(err, http.StatusConflict, api.ReasonChanged)
	_, err = open("child-1", "grandchild-1")
	wants(err, http.StatusConflict, api.ReasonChanged)
	_, err = open("orphan-1", "nothing")
	wants(err, http.StatusNotFound, api.ReasonNotFound)
	_, err = open("analysis-1", "child-1")
	wants(err, http.StatusConflict, api.ReasonChanged)

	r.end()
	r.start()
	path := strings.NewReplacer("{run}", "child-1", "{step}", "more").Replace(api.PathRunStep)
	if status, answer := r.post("POST", path, `{"tool":"chart","resource":"secrets","input":{}}`); status != http.StatusConflict || !strings.Contains(answer, api.ReasonParent) {
		t.Errorf("a child alone: %d %s", status, answer)
	}
	// With its parent at work, a child is driven by its key alone.
	_, err = r.agent.OpenRun(ctx, "analysis-1", api.OpenRun{Task: "analyse"})
	r.must(err)
	r.step("child-1", "first", "secrets", api.StepDenied)
	again, err := open("child-1", "analysis-1")
	r.must(err)
	if again.Run != child.Run {
		t.Error("another run")
	}
	r.step("child-1", "more", "secrets", api.StepDenied)
	r.step("child-1", "most", "report/q4", api.StepSucceeded)
	joined(t, g, r, parent.Run)
}
