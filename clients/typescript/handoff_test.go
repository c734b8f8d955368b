package typescript

import (
	"context"
	"encoding/json"
	"os"
	"testing"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/runtime"
)

// TestHandoff: work is offered, continued, handed back and taken up, and an offer turned
// down, between two daemons.
func TestHandoff(t *testing.T) {
	cmd := node(t, "tests/handoff.mjs")
	type side struct {
		Server    string             `json:"server"`
		Token     string             `json:"token"`
		Recipient evidence.Recipient `json:"recipient"`
	}
	tool := func(name string) runtime.Tool {
		return runtime.NewFunc(runtime.Spec{Name: name, Action: name, Idempotent: true},
			func(context.Context, *runtime.Call, map[string]any) (string, error) { return "7 rows", nil })
	}
	var sides []side
	var daemons []*daemontest.Daemon
	for _, origin := range []string{"ledger.example/research", "ledger.example/analysis"} {
		d := daemontest.Named(t, origin)
		d.Trade(daemontest.Trading{Runtime: runtime.Config{
			Tools: []runtime.Tool{tool("search"), tool("chart")},
			Permit: runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
				return runtime.Permission{Effect: evidence.Allow, Mode: evidence.Enforce, Policies: []string{"all"}}, nil
			}),
		}})
		daemons = append(daemons, d)
		sides = append(sides, side{d.URL, d.Grant(daemontest.Agent, api.RightAct), evidence.Recipient{
			Origin: origin, Actor: daemontest.Agent, Key: d.Key.Public().Thumbprint(),
		}})
	}
	for i, d := range daemons {
		other := daemons[1-i]
		trust, err := other.Ledger.Trust()
		must(t, err)
		b, err := trust.Marshal()
		must(t, err)
		_, err = d.Client(d.Token).AddPeer(context.Background(), api.Peer{URL: other.Inbox, Trust: b})
		must(t, err)
	}
	env, err := json.Marshal(sides)
	must(t, err)
	cmd.Env = append(os.Environ(), "SIDES="+string(env))
	if out := run(t, cmd); string(out) != "done\n" {
		t.Errorf("%s", out)
	}
}
