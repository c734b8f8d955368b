package overa2a_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/handoff/overa2a"
	"ledgerd/internal/raced"
	"ledgerd/ledger"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
)

var ctx = context.Background()

const (
	research = "ledger.example/research"
	analysis = "ledger.example/analysis"
)

type query struct {
	Q string `json:"q"`
}

type rows struct {
	Rows int `json:"rows"`
}

// search and chart are the tools of both sides.
func tool(name string) runtime.Tool {
	return runtime.NewFunc(runtime.Spec{Name: name, Action: name, Description: name, Idempotent: true},
		func(context.Context, *runtime.Call, query) (rows, error) { return rows{7}, nil })
}

// analyst does the work: one chart, within the scope.
type analyst struct {
	rt       *runtime.Runtime
	worked   []evidence.ID                        // the offers it worked on, a message each
	heard    []string                             // the text of the messages
	question string                               // asks for input before it works, where the message does not answer
	silent   bool                                 // ends without a last state
	wrong    func(a2a.TaskInfoProvider) a2a.Event // makes what it yields that it may not
	open     bool                                 // leaves the run open, as if it were stopped
	inside   func()                               // called while it works
}

func (w *analyst) Work(ctx context.Context, a *handoff.Accepted, unverified *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		w.worked = append(w.worked, a.OfferID())
		said := ""
		for _, p := range unverified.Message.Parts {
			said += p.Text()
		}
		w.heard = append(w.heard, said)
		switch {
		case w.silent:
			return
		case w.wrong != nil:
			yield(w.wrong(unverified), nil)
			return
		case w.question != "" && !strings.Contains(said, "answer"):
			yield(a2a.NewStatusUpdateEvent(unverified, a2a.TaskStateInputRequired, a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart(w.question))), nil)
			return
		}
		if w.inside != nil {
			w.inside()
		}
		said, err := w.work(ctx, a)
		if err != nil {
			yield(nil, err)
			return
		}
		if yield(a2a.NewArtifactEvent(unverified, a2a.NewTextPart(said)), nil) {
			yield(a2a.NewStatusUpdateEvent(unverified, a2a.TaskStateCompleted, nil), nil)
		}
	}
}

func (w *analyst) work(ctx context.Context, a *handoff.Accepted) (string, error) {
	run, err := w.rt.Open(ctx, overa2a.RunKey(a.OfferID()), runtime.As(runtimetest.Agent), runtime.Task("analyse", nil), runtime.Continues(a))
	if err != nil {
		return "", err
	}
	res, err := run.Do(ctx, runtime.Action{Step: "chart", Tool: "chart", Resource: "report/q3", Input: []byte(`{"q":"x"}`)})
	if err != nil {
		return "", err
	}
	if w.open {
		run.Leave(ctx)
		return "", fmt.Errorf("stopped")
	}
	s, err := run.Summarize(ctx, "The chart is made.", res)
	if err := run.Finish(ctx, err); err != nil {
		return "", err
	}
	return s.Text, nil
}

func (w *analyst) Cancel(_ context.Context, a *handoff.Accepted, unverified *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		yield(a2a.NewStatusUpdateEvent(unverified, a2a.TaskStateCanceled, nil), nil)
	}
}

// An exchange is a researcher who hands over, and an analyst's server.
type exchange struct {
	*testing.T
	giver, receiver *runtimetest.World
	party           *handoff.Party // the analyst's
	run             *runtime.Run   // the researcher's
	found           *runtime.Result
	worker          *analyst
	card            *a2a.AgentCard
	client          *a2aclient.Client
	url             string
	mu              sync.Mutex
	bodies          []string // of the requests and answers on the wire; mu
}

func newExchange(t *testing.T) *exchange {
	x := &exchange{T: t, giver: runtimetest.Named(t, research), receiver: runtimetest.Named(t, analysis)}
	x.party = x.receiver.Party(x.giver)
	x.worker = &analyst{rt: x.receiver.Runtime(tool("chart"))}
	x.serve()
	run, err := x.giver.Runtime(tool("search")).Open(ctx, "q3", runtime.As(runtimetest.Agent), runtime.Task("research", nil))
	x.must(err)
	x.run = run
	x.found, err = run.Do(ctx, runtime.Action{Step: "search", Tool: "search", Resource: "db/sales", Input: []byte(`{"q":"sales"}`)})
	x.must(err)
	return x
}

func (x *exchange) must(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// serve starts the analyst's server anew: with no task, and nothing in memory.
func (x *exchange) serve() {
	x.Helper()
	x.card = &a2a.AgentCard{Name: "analyst", Capabilities: a2a.AgentCapabilities{Extensions: []a2a.AgentExtension{overa2a.Extension(x.party)}}}
	executor := overa2a.NewExecutor(overa2a.Receiver{Party: x.party, Ledger: x.receiver.Ledger, RunID: x.worker.rt.RunID, Worker: x.worker})
	h := a2asrv.NewJSONRPCHandler(a2asrv.NewHandler(executor, a2asrv.WithCapabilityChecks(&x.card.Capabilities), a2asrv.WithLogger(slog.New(slog.DiscardHandler))))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, overa2a.MaxRequest))
		if err != nil {
			x.Error(err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		x.mu.Lock()
		x.bodies = append(x.bodies, string(body), answer.Body.String())
		x.mu.Unlock()
		for k, v := range answer.Header() {
			w.Header()[k] = v
		}
		w.Write(answer.Body.Bytes())
	}))
	x.Cleanup(s.Close)
	x.url = s.URL
	x.card.SupportedInterfaces = []*a2a.AgentInterface{a2a.NewAgentInterface(s.URL, a2a.TransportProtocolJSONRPC)}
	var err error
	x.client, err = a2aclient.NewFromCard(ctx, x.card)
	x.must(err)
}

func (x *exchange) from() overa2a.Giver {
	return overa2a.Giver{Client: x.client, Party: x.giver.Party(x.giver, x.receiver), Ledger: x.giver.Ledger}
}

// offering is what the researcher offers, unless a test changes it.
func (x *exchange) offering() runtime.Offering {
	x.Helper()
	to, err := overa2a.ReceiverOf(x.card, x.giver.Party(x.receiver).Trust)
	x.must(err)
	return runtime.Offering{
		To: to, Task: "analyse", Scope: []evidence.ScopeEntry{{Action: "chart", Resource: "report/*"}},
		Evidence: []evidence.ID{x.found.Execution}, Artifact: []byte(`{"rows":7}`), Note: "I looked at everything.",
	}
}

func (x *exchange) offer(change ...func(*runtime.Offering)) evidence.ID {
	x.Helper()
	o := x.offering()
	for _, f := range change {
		f(&o)
	}
	id, err := x.run.Offer(ctx, o)
	x.must(err)
	return id
}

func (x *exchange) bundle(offer evidence.ID, heads ...[]byte) []byte {
	x.Helper()
	var b bytes.Buffer
	x.must(x.giver.Ledger.Export(ctx, &b, ledger.ExportOptions{Offer: offer, Heads: heads}))
	return b.Bytes()
}

// message makes a message of any parts.
func message(parts ...*a2a.Part) *a2a.Message { return a2a.NewMessage(a2a.MessageRoleUser, parts...) }

func (x *exchange) handing(bundle []byte, parts ...*a2a.Part) *a2a.Message {
	x.Helper()
	m, err := overa2a.Message(bundle, parts...)
	x.must(err)
	return m
}

// active is a context in which the extension is asked for.
func active() context.Context {
	return a2aclient.AttachServiceParams(ctx, a2aclient.ServiceParams{a2a.SvcParamExtensions: {overa2a.URI}})
}

func (x *exchange) send(m *a2a.Message) *a2a.Task {
	x.Helper()
	result, err := x.client.SendMessage(active(), &a2a.SendMessageRequest{Message: m})
	x.must(err)
	t, ok := result.(*a2a.Task)
	if !ok {
		x.Fatalf("want a task, found %T", result)
	}
	return t
}

// refused wants a task to be refused for a reason.
func (x *exchange) refused(t *a2a.Task, state a2a.TaskState, reason handoff.Reason, undecidable bool) *overa2a.Refused {
	x.Helper()
	r, err := overa2a.RefusedIn(t)
	x.must(err)
	if r == nil || t.Status.State != state || r.Reason != reason || r.Undecidable != undecidable {
		x.Fatalf("want %s, refused as %s (not decidable: %v), found %s, %v", state, reason, undecidable, t.Status.State, r)
	}
	return r
}

// records returns the receiver's records of a kind.
func (x *exchange) records(kind evidence.Kind) []evidence.Placed {
	x.Helper()
	var found []evidence.Placed
	for p, err := range x.receiver.Ledger.Find(ctx, ledger.Filter{Kind: kind}) {
		x.must(err)
		found = append(found, p)
	}
	return found
}

func (x *exchange) counts(accepted, rejected, worked int) {
	x.Helper()
	a, r := len(x.records(evidence.KindHandoffAccepted)), len(x.records(evidence.KindHandoffRejected))
	if a != accepted || r != rejected || len(x.worker.worked) != worked {
		x.Errorf("want %d accepted, %d rejected, %d times worked, found %d, %d, %d", accepted, rejected, worked, a, r, len(x.worker.worked))
	}
}

// TestHandedOver: what verifies is worked on, and both ledgers show both halves.
func TestHandedOver(t *testing.T) {
	x := newExchange(t)
	offer := x.offer()
	sent, err := x.from().Send(ctx, offer, a2a.NewTextPart("a chart, please"))
	x.must(err)
	if sent.Task.Status.State != a2a.TaskStateCompleted || len(sent.Task.Artifacts) != 2 || sent.Task.Artifacts[1].Parts[0].Text() != "The chart is made." {
		t.Errorf("task %+v", sent.Task)
	}
	x.counts(1, 0, 1)
	if x.worker.worked[0] != offer || x.worker.heard[0] != "[what was handed over: the receiver's ledger has it, if it was accepted]a chart, please" {
		t.Errorf("worked on %s, heard %q", x.worker.worked, x.worker.heard)
	}
	accepted := x.records(evidence.KindHandoffAccepted)[0]
	body := accepted.Record.Body.(*evidence.HandoffAccepted)
	if body.Offer != offer || body.Opens != x.worker.rt.RunID(overa2a.RunKey(offer)) {
		t.Errorf("accepted %+v", body)
	}
	at, err := x.giver.Ledger.Get(ctx, sent.Recorded)
	x.must(err)
	if c := at.Record.Body.(*evidence.HandoffAccepted); c.Acceptance != accepted.ID || c.Offer != offer || c.Opens != body.Opens {
		t.Errorf("the giver recorded %+v", c)
	}
	// The receiver's run shows the giver's half; the giver's record the receiver's.
	trust := x.giver.Party(x.giver, x.receiver).Trust
	var b bytes.Buffer
	x.must(x.receiver.Ledger.Export(ctx, &b, ledger.ExportOptions{Run: body.Opens}))
	r, err := audit.VerifyBundle(&b, trust, audit.Options{Run: body.Opens})
	x.must(err)
	if h := r.Rule(audit.RuleHandoff); h.Status != audit.Held || len(r.Given) != 1 || r.Given[0].Report.Scope.Origin != research {
		t.Errorf("the receiver's half: %s, %v", h.Status, h.Findings)
	}
	b.Reset()
	x.must(x.giver.Ledger.Export(ctx, &b, ledger.ExportOptions{Record: sent.Recorded}))
	back, r, err := audit.VerifyAcceptance(&b, trust, audit.Options{})
	if err != nil || back == nil || r.ExitCode() != 0 || len(r.Given) != 1 || r.Given[0].Report.Scope.Origin != analysis {
		t.Errorf("the giver's half: %+v, %v", r, err)
	}
	// What was handed over does not come back with the answer.
	if answer := x.bodies[1]; strings.Contains(answer, `\"about\":{\"kind\":\"offer\"`) {
		t.Error("the offer's bundle came back in the task's history")
	}
}

// part makes one of the extension's parts, of any data.
func part(data any) *a2a.Part {
	p := a2a.NewDataPart(data)
	p.MediaType = overa2a.Media
	return p
}

// TestRefused: what does not verify is refused on the wire, and never reaches the
// worker. It is recorded only where the giver's ledger is shown to hold the offer.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		send        func(x *exchange) *a2a.Message
		reason      handoff.Reason
		undecidable bool
		recorded    int
	}{
		"a summary alone": {func(x *exchange) *a2a.Message {
			return message(a2a.NewTextPart("Sales rose by 12 %. All sources were checked."))
		}, handoff.Malformed, false, 0},
		"a bundle as text": {func(x *exchange) *a2a.Message {
			return message(a2a.NewTextPart(string(x.bundle(x.offer()))))
		}, handoff.Malformed, false, 0},
		"two offers": {func(x *exchange) *a2a.Message {
			b := x.bundle(x.offer())
			return x.handing(b, x.handing(b).Parts[0])
		}, handoff.Malformed, false, 0},
		"no data": {func(x *exchange) *a2a.Message {
			p := a2a.NewTextPart(string(x.bundle(x.offer())))
			p.MediaType = overa2a.Media
			return message(p)
		}, handoff.Malformed, false, 0},
		"no object": {func(x *exchange) *a2a.Message { return message(part([]any{"v1"})) }, handoff.Malformed, false, 0},
		"no version": {func(x *exchange) *a2a.Message {
			return message(part(map[string]any{"offer": string(x.bundle(x.offer()))}))
		}, handoff.Malformed, false, 0},
		"another version": {func(x *exchange) *a2a.Message {
			return message(part(map[string]any{"handoff": "v2", "offer": string(x.bundle(x.offer()))}))
		}, handoff.Malformed, false, 0},
		"another member": {func(x *exchange) *a2a.Message {
			return message(part(map[string]any{"handoff": "v1", "offer": string(x.bundle(x.offer())), "trust": "me"}))
		}, handoff.Malformed, false, 0},
		"an acceptance": {func(x *exchange) *a2a.Message {
			return message(part(map[string]any{"handoff": "v1", "acceptance": string(x.bundle(x.offer()))}))
		}, handoff.Malformed, false, 0},
		"an array of lines": {func(x *exchange) *a2a.Message {
			return message(part(map[string]any{"handoff": "v1", "offer": []any{string(x.bundle(x.offer()))}}))
		}, handoff.Malformed, false, 0},
		"a bundle cut short": {func(x *exchange) *a2a.Message {
			b := x.bundle(x.offer())
			return x.handing(b[:len(b)-3])
		}, handoff.Malformed, false, 0},
		"a bundle about a run": {func(x *exchange) *a2a.Message {
			var b bytes.Buffer
			x.must(x.giver.Ledger.Export(ctx, &b, ledger.ExportOptions{Run: x.run.ID()}))
			return x.handing(b.Bytes())
		}, handoff.Malformed, false, 0},
		"a changed record": {func(x *exchange) *a2a.Message {
			return x.handing(changed(x, x.bundle(x.offer())))
		}, handoff.Signature, false, 0},
		"too large": {func(x *exchange) *a2a.Message {
			return x.handing(bytes.Repeat([]byte("x"), handoff.MaxBundle+1))
		}, handoff.Large, false, 0},
		"of a ledger that is not trusted": {func(x *exchange) *a2a.Message {
			x.party.Trust = x.receiver.Party().Trust
			return x.handing(x.bundle(x.offer()))
		}, handoff.Untrusted, true, 0},
		"for another agent": {func(x *exchange) *a2a.Message {
			return x.handing(x.bundle(x.offer(func(o *runtime.Offering) { o.To.Actor = "somebody" })))
		}, handoff.Audience, false, 1},
		"for another key": {func(x *exchange) *a2a.Message {
			return x.handing(x.bundle(x.offer(func(o *runtime.Offering) { o.To.Key[3] ^= 1 })))
		}, handoff.Audience, false, 1},
		"expired": {func(x *exchange) *a2a.Message {
			b := x.bundle(x.offer(func(o *runtime.Offering) { o.For = time.Minute }))
			x.receiver.Clock.Add(2 * time.Minute)
			return x.handing(b)
		}, handoff.Expired, false, 1},
		"on no evidence": {func(x *exchange) *a2a.Message {
			return x.handing(x.bundle(x.offer(func(o *runtime.Offering) { o.Evidence = nil })))
		}, handoff.NoEvidence, false, 1},
		"an artifact changed on the way": {func(x *exchange) *a2a.Message {
			b := x.bundle(x.offer())
			i := bytes.LastIndex(b, []byte("eyJyb3dzIjo3fQ"))
			if i < 0 {
				x.Fatal("no artifact in the bundle")
			}
			return x.handing(bytes.Join([][]byte{b[:i], []byte("eyJyb3dzIjo4fQ"), b[i+14:]}, nil))
		}, handoff.Artifact, false, 0},
		"accepted for another run": {func(x *exchange) *a2a.Message {
			b := x.bundle(x.offer())
			v, err := x.party.Verify(ctx, b, nil)
			x.must(err)
			_, err = x.party.Accept(ctx, v, x.worker.rt.RunID("another"))
			x.must(err)
			return x.handing(b)
		}, handoff.Used, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "too large" {
				raced.Skip(t)
			}
			x := newExchange(t)
			m := c.send(x)
			before := len(x.records(evidence.KindHandoffAccepted))
			for range 2 { // the second time it is recorded already
				m.ID = a2a.NewMessageID()
				x.receiver.Clock.Add(time.Second) // or it would be the same record anyway
				task := x.send(m)
				r := x.refused(task, a2a.TaskStateRejected, c.reason, c.undecidable)
				if r.Expected == "" || r.Found == "" || r.Rejection.IsZero() != (c.recorded == 0) {
					t.Errorf("refused as %+v", r)
				}
				if task.Status.Message.Parts[0].Text() != r.Error() {
					t.Errorf("people read %q", task.Status.Message.Parts[0].Text())
				}
				if got, err := overa2a.Acceptance(task); got != nil || err != nil {
					t.Errorf("an acceptance goes back: %s %v", got, err)
				}
			}
			x.counts(before, c.recorded, 0)
			for _, p := range x.records(evidence.KindHandoffRejected) {
				if b := p.Record.Body.(*evidence.HandoffRejected); b.Reason != string(c.reason) || b.Origin != research {
					t.Errorf("recorded %+v", b)
				}
			}
		})
	}
}

// changed changes a byte of the payload of the bundle's last record.
func changed(x *exchange, b []byte) []byte {
	x.Helper()
	b = slices.Clone(b)
	i := bytes.LastIndex(b, []byte(`"jws":"`))
	i += bytes.IndexByte(b[i:], '.') + 40
	if b[i]++; b[i] > 'z' || b[i] == '[' || b[i] == ':' {
		b[i] = 'A'
	}
	return b
}

// TestEveryByteCounts: whatever byte of a bundle is changed on the way, nothing is
// accepted.
func TestEveryByteCounts(t *testing.T) {
	x := newExchange(t)
	b := x.bundle(x.offer())
	step := len(b)/20 + 1
	for i := 0; i < len(b); i += step {
		c := slices.Clone(b)
		if c[i] ^= 1; c[i] >= 0x80 {
			continue
		}
		task := x.send(x.handing(c))
		if r, err := overa2a.RefusedIn(task); err != nil || r == nil || task.Status.State != a2a.TaskStateRejected {
			t.Errorf("byte %d, %q: %s, %v", i, b[max(i-10, 0):i+1], task.Status.State, err)
		}
	}
	x.counts(0, len(x.records(evidence.KindHandoffRejected)), 0)
}

// TestReplay: an offer is worked on once, whoever sends it again, and however.
func TestReplay(t *testing.T) {
	x := newExchange(t)
	offer := x.offer()
	b := x.bundle(offer)
	m := x.handing(b)
	var while *a2a.Task
	x.worker.inside = func() { while = x.send(x.handing(b)) }
	task := x.send(m)
	x.worker.inside = nil
	if task.Status.State != a2a.TaskStateCompleted {
		t.Fatalf("%+v", task.Status)
	}
	r := x.refused(while, a2a.TaskStateRejected, handoff.Used, false)
	if r.Task != task.ID || r.Stands != x.records(evidence.KindHandoffAccepted)[0].ID {
		t.Errorf("while it is worked on: %+v", r)
	}
	for name, m := range map[string]*a2a.Message{"to the byte": m, "in another message": x.handing(b), "exported again": x.handing(x.bundle(offer))} {
		r := x.refused(x.send(m), a2a.TaskStateRejected, handoff.Used, false)
		if r.Task != "" || r.Stands != x.records(evidence.KindHandoffAccepted)[0].ID || r.Acceptance == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	x.serve()
	x.refused(x.send(m), a2a.TaskStateRejected, handoff.Used, false)
	x.counts(1, 1, 1)
	// The giver, which may not have heard of it, records the acceptance all the same.
	sent, err := x.from().Send(ctx, offer)
	if r := handoff.AsRefused(err); sent != nil || r == nil || r.Reason != handoff.Used {
		t.Errorf("%+v, %v", sent, err)
	}
	n := 0
	for _, err := range x.giver.Ledger.Find(ctx, ledger.Filter{Kind: evidence.KindHandoffAccepted}) {
		x.must(err)
		n++
	}
	if n != 1 {
		t.Errorf("the giver recorded %d acceptances", n)
	}
}

// TestStopped: a server that is stopped between acceptance and completion goes on
// with the acceptance that stands, whatever came to pass since.
func TestStopped(t *testing.T) {
	for name, c := range map[string]struct {
		since  func(x *exchange)
		reason handoff.Reason // why it would be refused by now, were it new
	}{
		"at once":   {func(*exchange) {}, handoff.Artifact},
		"too late":  {func(x *exchange) { x.receiver.Clock.Add(2 * time.Hour) }, handoff.Expired},
		"overtaken": {func(x *exchange) { x.overtake("Another.") }, handoff.HeadOlder},
	} {
		t.Run(name, func(t *testing.T) {
			x := newExchange(t)
			offer := x.offer()
			b := x.bundle(offer)
			x.worker.open = true
			if task := x.send(x.handing(b)); task.Status.State != a2a.TaskStateFailed {
				t.Fatalf("%+v", task.Status)
			}
			x.worker.open = false
			x.serve()
			withheld := x.withheld(offer)
			c.since(x)
			accepted, worked := len(x.records(evidence.KindHandoffAccepted)), len(x.worker.worked)
			// What is not the bundle that was accepted gets no further than before.
			x.refused(x.send(x.handing(changed(x, b))), a2a.TaskStateRejected, handoff.Signature, false)
			x.refused(x.send(x.handing(withheld)), a2a.TaskStateRejected, c.reason, c.reason == handoff.Artifact)
			task := x.send(x.handing(b))
			if task.Status.State != a2a.TaskStateCompleted {
				t.Fatalf("%+v", task.Status)
			}
			recorded := 1
			if c.reason == handoff.Artifact {
				recorded = 0 // whoever carried it may have withheld that
			}
			x.counts(accepted, recorded, worked+1)
			back, err := overa2a.Acceptance(task)
			if err != nil || back == nil {
				t.Fatalf("no acceptance: %v", err)
			}
			_, err = x.giver.Party(x.giver, x.receiver).Returned(ctx, back)
			x.must(err)
		})
	}
}

// withheld is the bundle about an offer, without its payloads.
func (x *exchange) withheld(offer evidence.ID) []byte {
	x.Helper()
	var b bytes.Buffer
	x.must(x.giver.Ledger.Export(ctx, &b, ledger.ExportOptions{Offer: offer, Hide: ledger.Hidden}))
	return b.Bytes()
}

// overtake has another offer of the same giver accepted, on a later tree head.
func (x *exchange) overtake(note string) {
	x.Helper()
	_, err := x.from().Send(ctx, x.offer(func(o *runtime.Offering) { o.Note = note }))
	x.must(err)
}

// TestKnownHead: from the second handoff on, the giver learns which tree head its
// bundle has to hold, and sends once more.
func TestKnownHead(t *testing.T) {
	x := newExchange(t)
	x.overtake("A first.")
	requests := len(x.bodies)
	x.overtake("A second.")
	if n := (len(x.bodies) - requests) / 2; n != 2 {
		t.Errorf("want 2 requests, found %d", n)
	}
	x.counts(2, 0, 2) // a question is no rejection
	// By itself, the bundle is refused, and says what would decide.
	r := x.refused(x.send(x.handing(x.bundle(x.offer(func(o *runtime.Offering) { o.Note = "A third." })))), a2a.TaskStateRejected, handoff.HeadOther, true)
	known, err := x.party.Known(ctx, research)
	x.must(err)
	if !bytes.Equal(r.Known, known.Note) {
		t.Errorf("known: %q", r.Known)
	}
}

// TestFollowUp: a message in a task that was accepted hands nothing over, and cannot
// change to another offer.
func TestFollowUp(t *testing.T) {
	x := newExchange(t)
	x.worker.question = "Which quarter?"
	offer := x.offer()
	task := x.send(x.handing(x.bundle(offer)))
	if task.Status.State != a2a.TaskStateInputRequired {
		t.Fatalf("%+v", task.Status)
	}
	other := x.bundle(x.offer(func(o *runtime.Offering) { o.Note = "Another." }))
	for name, b := range map[string][]byte{"another offer": other, "the same offer": x.bundle(offer)} {
		m := x.handing(b)
		m.TaskID, m.ContextID = task.ID, task.ContextID
		r := x.refused(x.send(m), a2a.TaskStateInputRequired, handoff.Used, false)
		if r.Offer != offer || r.Stands.IsZero() {
			t.Errorf("%s: %+v", name, r)
		}
	}
	x.counts(1, 1, 1)
	// Sent again as a task of its own, it is told which task has it.
	if r := x.refused(x.send(x.handing(x.bundle(offer))), a2a.TaskStateRejected, handoff.Used, false); r.Task != task.ID {
		t.Errorf("%+v", r)
	}
	m := a2a.NewMessageForTask(a2a.MessageRoleUser, task, a2a.NewTextPart("answer: the third"))
	if done := x.send(m); done.Status.State != a2a.TaskStateCompleted || done.ID != task.ID {
		t.Errorf("%+v", done.Status)
	}
	x.counts(1, 1, 2)
}

// TestCancel: a task that was canceled lets go of its offer.
func TestCancel(t *testing.T) {
	x := newExchange(t)
	x.worker.question = "Which quarter?"
	b := x.bundle(x.offer())
	task := x.send(x.handing(b))
	canceled, err := x.client.CancelTask(active(), &a2a.CancelTaskRequest{ID: task.ID})
	x.must(err)
	if canceled.Status.State != a2a.TaskStateCanceled {
		t.Errorf("%+v", canceled.Status)
	}
	x.worker.question = ""
	if task := x.send(x.handing(b)); task.Status.State != a2a.TaskStateCompleted {
		t.Errorf("%+v", task.Status)
	}
	x.counts(1, 0, 2)
}

// TestRequired: who does not ask for the extension is told so by A2A itself.
func TestRequired(t *testing.T) {
	x := newExchange(t)
	_, err := x.client.SendMessage(ctx, &a2a.SendMessageRequest{Message: message(a2a.NewTextPart("Sales rose by 12 %."))})
	if err == nil || !strings.Contains(err.Error(), a2a.ErrExtensionSupportRequired.Error()) {
		t.Errorf("%v", err)
	}
	x.counts(0, 0, 0)
}

// TestHostileText: what a refusal quotes of a message is visible, and short.
func TestHostileText(t *testing.T) {
	x := newExchange(t)
	evil := "\x1b[2J\u202e" + strings.Repeat("x", 10_000)
	task := x.send(message(part(map[string]any{"handoff": evil, "offer": ""})))
	r := x.refused(task, a2a.TaskStateRejected, handoff.Malformed, false)
	for _, s := range []string{r.Found, task.Status.Message.Parts[0].Text()} {
		if strings.ContainsAny(s, "\x1b\u202e") || len(s) > 2_000 || !strings.Contains(s, `\u{1b}[2J\u{202e}`) {
			t.Errorf("%.100q, of %d bytes", s, len(s))
		}
	}
	// A receiver's text is no less hostile.
	task.Status.Message.Parts[1] = part(map[string]any{"handoff": "v1", "refused": map[string]any{"reason": evil, "expected": evil, "found": evil, "more": true}})
	r, err := overa2a.RefusedIn(task)
	if err != nil || strings.ContainsAny(r.Error(), "\x1b\u202e") {
		t.Errorf("%.100q, %v", r, err)
	}
}

// TestWorkerKeepsItsPlace: a worker says how its task goes on, and nothing else; a
// server is never left waiting.
func TestWorkerKeepsItsPlace(t *testing.T) {
	for name, set := range map[string]func(*analyst){
		"no last state": func(w *analyst) { w.silent = true },
		"the task anew": func(w *analyst) {
			w.wrong = func(i a2a.TaskInfoProvider) a2a.Event {
				t := a2a.NewSubmittedTask(i, message(a2a.NewTextPart("done")))
				t.Status.State = a2a.TaskStateCompleted
				return t
			}
		},
		"a bare message": func(w *analyst) {
			w.wrong = func(a2a.TaskInfoProvider) a2a.Event { return message(a2a.NewTextPart("done")) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := newExchange(t)
			set(x.worker)
			b := x.bundle(x.offer())
			task := x.send(x.handing(b))
			if back, err := overa2a.Acceptance(task); task.Status.State != a2a.TaskStateFailed || back == nil || err != nil {
				t.Errorf("%+v, %v", task.Status, err)
			}
			*x.worker = analyst{rt: x.worker.rt}
			if task := x.send(x.handing(b)); task.Status.State != a2a.TaskStateCompleted {
				t.Errorf("sent again: %+v", task.Status)
			}
		})
	}
}

// broken is a ledger that cannot say what it holds.
type broken struct{ handoff.Ledger }

func (broken) Find(context.Context, ledger.Filter) iter.Seq2[evidence.Placed, error] {
	return func(yield func(evidence.Placed, error) bool) {
		yield(evidence.Placed{}, fmt.Errorf("the disk at /secret is gone"))
	}
}

// TestLedgerFails: where the receiver's ledger cannot be asked, nothing is accepted,
// and the sender hears nothing of why.
func TestLedgerFails(t *testing.T) {
	x := newExchange(t)
	b := x.bundle(x.offer())
	whole := x.party.Ledger
	x.party.Ledger = broken{whole}
	_, err := x.client.SendMessage(active(), &a2a.SendMessageRequest{Message: x.handing(b)})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	x.counts(0, 0, 0)
	x.party.Ledger = whole
	if task := x.send(x.handing(b)); task.Status.State != a2a.TaskStateCompleted {
		t.Errorf("%+v", task.Status)
	}
}

// TestReceiverOf: an offer is made for nobody but whom the trust file knows.
func TestReceiverOf(t *testing.T) {
	x := newExchange(t)
	trust := x.giver.Party(x.giver, x.receiver).Trust
	to, err := overa2a.ReceiverOf(x.card, trust)
	if want := x.party.Receiver(); err != nil || to.Origin != want.Origin || to.Actor != want.Actor || to.Key != want.Key {
		t.Errorf("%+v, %v", to, err)
	}
	if _, err := overa2a.ReceiverOf(x.card, x.giver.Party(x.giver).Trust); err == nil {
		t.Error("the card of somebody whom the trust file does not name")
	}
	for name, change := range map[string]func(*a2a.AgentExtension){
		"another extension": func(e *a2a.AgentExtension) { e.URI = "urn:other" },
		"no params":         func(e *a2a.AgentExtension) { e.Params = nil },
		"no key":            func(e *a2a.AgentExtension) { delete(e.Params["receiver"].(map[string]any), "key") },
		"a key that is none": func(e *a2a.AgentExtension) {
			e.Params["receiver"].(map[string]any)["key"] = "?"
		},
	} {
		e := overa2a.Extension(x.party)
		change(&e)
		if _, err := overa2a.ReceiverOf(&a2a.AgentCard{Capabilities: a2a.AgentCapabilities{Extensions: []a2a.AgentExtension{e}}}, trust); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestGiverBelievesNothing: what a receiver sends back is verified, or it is an error.
func TestGiverBelievesNothing(t *testing.T) {
	x := newExchange(t)
	first := x.offer()
	sent, err := x.from().Send(ctx, first)
	x.must(err)
	second := x.offer(func(o *runtime.Offering) { o.Note = "Another." })
	g := x.from()
	if _, err := g.Record(ctx, second, sent.Task); err == nil {
		t.Error("the acceptance of another offer was taken for this one's")
	}
	task := *sent.Task
	task.Artifacts = nil
	if _, err := g.Record(ctx, first, &task); err == nil {
		t.Error("a task without an acceptance")
	}
	back, err := overa2a.Acceptance(sent.Task)
	x.must(err)
	task.Artifacts = []*a2a.Artifact{{ID: overa2a.ArtifactID, Parts: a2a.ContentParts{part(map[string]any{"handoff": "v1", "acceptance": string(changed(x, back))})}}}
	if _, err := g.Record(ctx, first, &task); handoff.AsRefused(err) == nil {
		t.Errorf("a changed acceptance: %v", err)
	}
	task.Artifacts[0].Parts = nil
	if _, err := g.Record(ctx, first, &task); err == nil {
		t.Error("an artifact without a part")
	}
}
