package server_test

import (
	"testing"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
)

// TestAgentsGatewayObserves: to ask without being held is a gateway's, of tools that are run
// elsewhere; and of a step that is on record it changes nothing.
func TestAgentsGatewayObserves(t *testing.T) {
	a := newAgents(t, nil, 0)
	gateway := a.Grant(daemontest.Agent, api.RightAct, api.RightGateway)
	run := "/v1/runs/complaint-1"
	s := read[api.RunState](t, a.send("PUT", run, `{"task":"complaint"}`), 200)
	const all, large = `{"action":"delete_all","input":1,"asker":"p","observe":true}`, `{"action":"refund","input":1,"asker":"p","observe":true}`
	if got := a.send("PUT", run+"/steps/all", all); got.status != 403 || got.problem.Reason != api.ReasonRight {
		t.Errorf("an agent that is not held to policies: %d %s", got.status, got.body)
	}
	for step, c := range map[string]struct {
		asks   string
		effect evidence.Effect
	}{"all": {all, evidence.Deny}, "large": {large, evidence.Escalate}} {
		for range 2 {
			got := read[api.Step](t, a.as(gateway, "PUT", run+"/steps/"+step, c.asks), 200)
			if got.State != api.StepAllowed || got.Effect != c.effect || got.Mode != evidence.Observe || got.Attempt != 1 {
				t.Errorf("%s: %+v", step, got)
			}
		}
		read[api.Outcome](t, a.as(gateway, "PUT", run+"/steps/"+step+"/outcome", `{"attempt":1,"status":"success","source":"runtime"}`), 200)
	}
	// The daemon's own tools, with its credentials, are out of it.
	if got := a.as(gateway, "PUT", run+"/steps/mail", `{"tool":"email","input":{"to":"ann"},"observe":true}`); got.status != 422 {
		t.Errorf("a registered tool past its policies: %d %s", got.status, got.body)
	}
	// What was denied, and enforced, stays so; what another asks is not observed.
	held := read[api.Step](t, a.send("PUT", run+"/steps/held", `{"action":"delete_all","input":1,"asker":"p"}`), 200)
	if got := read[api.Step](t, a.as(gateway, "PUT", run+"/steps/held", all), 200); held.State != api.StepDenied || got.State != api.StepDenied || got.Authorization != held.Authorization {
		t.Errorf("%+v\n%+v", held, got)
	}
	a.sound(s.Run)
}
