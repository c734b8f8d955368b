package hook

import (
	"context"
	"strings"
	"testing"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
)

// TestObserve: with a token that may, a hook that observes has what was not permitted on
// record with what came of it, and every record says that nothing was enforced.
func TestObserve(t *testing.T) {
	h := newHouse(t, "")
	enforced := h.call
	h.blocks(h.before("toolu_1", "Bash", object{"command": "git push"}), "Pending")
	h.secret = h.Grant(daemontest.Agent, api.RightAct, api.RightGateway)
	h.call.Mode, h.call.Token = "observe", h.secret
	for id, command := range map[string]string{"toolu_2": "rm -rf /", "toolu_3": "git push"} {
		if o := h.before(id, "Bash", object{"command": command}); o.Exit != 0 || !strings.Contains(o.Stdout, "not enforced: the policies say ") {
			t.Errorf("%+v", o)
		}
		h.passes(h.after(id, "Bash", object{"command": command}))
	}
	h.passes(h.before("toolu_4", "Bash", object{"command": "ls"}))
	want := map[string]evidence.Effect{"toolu_2": evidence.Deny, "toolu_3": evidence.Escalate, "toolu_4": evidence.Allow}
	for p, err := range h.Client(h.Token).Run(context.Background(), h.state(key1).Run) {
		must(t, err)
		a, ok := p.Record.Body.(*evidence.Authorization)
		if ok && a.Step != "toolu_1" && (a.Mode != evidence.Observe || a.Effect != want[a.Step]) {
			t.Errorf("%s: %s, %s", a.Step, a.Effect, a.Mode)
		}
	}
	for _, step := range []string{"toolu_2", "toolu_3"} {
		if x := h.executions(key1)[step]; x == nil || x.Status != evidence.StatusSuccess || x.Source != evidence.SourceReported {
			t.Errorf("%s: %+v", step, x)
		}
	}
	h.sound(key1)
	h.call = enforced
	h.blocks(h.before("toolu_5", "Bash", object{"command": "rm -rf /"}), "Denied")
}
