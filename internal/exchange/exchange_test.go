package exchange_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/internal/exchange"
	"ledgerd/ledger"
	"ledgerd/runtime"
)

var ctx = context.Background()

const (
	research = "ledger.example/research"
	analysis = "ledger.example/analysis"
)

// side is an organisation: its daemon, and an agent that asks it.
type side struct {
	*daemontest.Daemon
	t     *testing.T
	how   daemontest.Trading
	end   func()
	token string // the agent's
	agent *client.Client
	admin *client.Client
}

func newSide(t *testing.T, origin string, change func(*exchange.Config)) *side {
	t.Helper()
	s := &side{Daemon: daemontest.Named(t, origin), t: t}
	tool := func(name string) runtime.Tool {
		return runtime.NewFunc(runtime.Spec{Name: name, Action: name, Idempotent: true},
			func(context.Context, *runtime.Call, map[string]any) (string, error) { return "7 rows", nil })
	}
	s.how = daemontest.Trading{Change: change, Runtime: runtime.Config{
		Tools: []runtime.Tool{tool("search"), tool("chart")},
		Permit: runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
			return runtime.Permission{Effect: evidence.Allow, Mode: evidence.Enforce, Policies: []string{"all"}}, nil
		}),
	}}
	s.start()
	return s
}

// start is the next process of the daemon.
func (s *side) start() {
	s.t.Helper()
	s.end = s.Trade(s.how)
	s.admin = s.Client(s.Token)
	s.token = s.Grant(daemontest.Agent, api.RightAct)
	s.agent = s.Client(s.token)
}

// knows makes the other a peer.
func (s *side) knows(other *side) {
	s.t.Helper()
	_, err := s.admin.AddPeer(ctx, api.Peer{URL: other.Inbox, Trust: other.trust()})
	s.must(err)
}

func (s *side) trust() []byte {
	s.t.Helper()
	t, err := s.Ledger.Trust()
	s.must(err)
	b, err := t.Marshal()
	s.must(err)
	return b
}

func (s *side) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// post has the agent send JSON.
func (s *side) post(method, path, body string) (status int, answer string) {
	s.t.Helper()
	return send(s.t, method, s.URL+path, "application/json", s.token, bytes.NewReader([]byte(body)))
}

// work has the agent do a step of a run.
func (s *side) work(key string) {
	s.t.Helper()
	_, err := s.agent.OpenRun(ctx, key, api.OpenRun{Task: "research"})
	s.must(err)
	s.step(key, "search", "db", api.StepSucceeded)
}

// receiver is for whom an offer to this side's agent has to be.
func (s *side) receiver() evidence.Recipient {
	return evidence.Recipient{Origin: s.Ledger.Origin(), Actor: daemontest.Agent, Key: s.Key.Public().Thumbprint()}
}

func (s *side) offering(to *side) api.MakeOffer {
	return api.MakeOffer{
		To: to.receiver(), Task: "analyse", Scope: []evidence.ScopeEntry{{Action: "chart", Resource: "report/*"}},
		Steps: []string{"search"}, Artifact: []byte(`{"rows": 7}`), Note: "All checked.",
	}
}

// offers has the agent offer work of its run.
func (s *side) offers(key string, to *side) evidence.ID {
	s.t.Helper()
	s.work(key)
	o, err := s.agent.Offer(ctx, key, s.offering(to))
	s.must(err)
	return o.Offer
}

// until waits for something to come true.
func (s *side) until(what string, is func() bool) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if is() {
			return
		}
	}
	s.t.Fatalf("it never came true: %s", what)
}

func (s *side) list() *api.Handoffs {
	s.t.Helper()
	all, err := s.admin.Handoffs(ctx, nil)
	s.must(err)
	return all
}

// waits waits until an offer lies in the inbox.
func (s *side) waits(offer evidence.ID) {
	s.t.Helper()
	s.until("the offer waits", func() bool {
		for _, w := range s.list().Waiting {
			if w.Offer == offer {
				return true
			}
		}
		return false
	})
}

// delivery returns how far the record of that ID has come.
func (s *side) delivery(id evidence.ID) api.Delivery {
	s.t.Helper()
	for _, h := range s.list().Handoffs {
		if h.ID == id && h.Delivery != nil {
			return *h.Delivery
		}
	}
	return api.Delivery{}
}

// records returns the handoffs' records of a kind that are about an offer.
func (s *side) records(kind evidence.Kind, offer evidence.ID) (all []api.Handoff) {
	s.t.Helper()
	for _, h := range s.list().Handoffs {
		if h.Kind == kind && h.Offer == offer {
			all = append(all, h)
		}
	}
	return all
}

// continues opens the run that accepts an offer.
func (s *side) continues(key string, offer evidence.ID) (*api.RunState, error) {
	return s.agent.OpenRun(ctx, key, api.OpenRun{Task: "analyse", Continues: &offer})
}

// joined audits the receiver's run under both trust files, and wants to find in it
// what was accepted.
func joined(t *testing.T, giver, receiver *side, run evidence.RunID) {
	t.Helper()
	var b bytes.Buffer
	receiver.must(receiver.Ledger.Export(ctx, &b, ledger.ExportOptions{Run: run}))
	both := &bundle.Trust{}
	for _, s := range []*side{giver, receiver} {
		own, err := bundle.ParseTrust(s.trust())
		s.must(err)
		both.Ledgers = append(both.Ledgers, own.Ledgers...)
	}
	r, err := audit.VerifyBundle(bytes.NewReader(b.Bytes()), both, audit.Options{Run: run})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Rule(audit.RuleHandoff); got.Status != audit.Held || len(r.Given) != 1 || r.Given[0].Report.Scope.Origin != giver.Ledger.Origin() {
		t.Fatalf("the handoff: %v, %d given: %v", got.Status, len(r.Given), got.Findings)
	}
}

// TestThereAndBack: an offer goes to the receiver's daemon, its agent accepts, the
// acceptance comes back, and both ledgers show both halves.
func TestThereAndBack(t *testing.T) {
	g, r := newSide(t, research, nil), newSide(t, analysis, nil)
	g.knows(r)
	r.knows(g)
	offer := g.offers("research-1", r)
	r.waits(offer)
	shown, err := r.agent.Handoff(ctx, offer)
	r.must(err)
	if shown.UnverifiedNote != "All checked." || string(shown.Artifact) != `{"rows":7}` || shown.Giver != daemontest.Agent || shown.Records == 0 {
		t.Fatalf("the offer: %+v", shown)
	}
	state, err := r.continues("analysis-1", offer)
	r.must(err)
	if state.Continues == nil || state.Continues.Offer != offer {
		t.Fatalf("the run: %+v", state)
	}
	again, err := r.continues("analysis-1", offer)
	r.must(err)
	if again.Continues.Acceptance != state.Continues.Acceptance || len(r.records(evidence.KindHandoffAccepted, offer)) != 1 {
		t.Fatal("the offer was accepted twice")
	}
	r.step("analysis-1", "chart", "report/q3", api.StepSucceeded)
	r.step("analysis-1", "elsewhere", "secrets", api.StepDenied)
	g.until("the acceptance came back", func() bool { return len(g.records(evidence.KindHandoffAccepted, offer)) == 1 })
	if back := g.records(evidence.KindHandoffAccepted, offer)[0]; *back.Acceptance != state.Continues.Acceptance || back.Origin != analysis {
		t.Fatalf("what came back: %+v", back)
	}
	if len(r.list().Waiting) != 0 {
		t.Error("it still waits")
	}
	g.until("it is answered", func() bool { return g.delivery(offer).State == api.DeliveryAnswered })
	r.until("it is delivered", func() bool { return r.delivery(state.Continues.Acceptance).State == api.DeliveryDelivered })
	joined(t, g, r, state.Run)
}
