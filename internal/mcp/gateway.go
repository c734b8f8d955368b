package mcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"ledgerd/evidence"
	"ledgerd/internal/api"
)

// MetaEvidence is the member of a result's _meta that has the evidence ID of what the
// ledger recorded about the call.
const MetaEvidence = "dev.ledgerd/evidence"

const (
	// maxOutput is the largest result, in bytes, that is recorded as it is; of a larger
	// one its digest and size are.
	maxOutput = 1 << 20
	// reportFor is how long it is tried to record what came of a call.
	reportFor = 30 * time.Second
	// askedFor is how long the answer to a question is waited for that the client has
	// cancelled.
	askedFor = time.Second
	// cancelledFor is how long a server has to answer a call that the client has
	// cancelled, before nobody knows what came of it.
	cancelledFor = 10 * time.Second
)

// A Run is where calls are asked for and reported: a run of a daemon's.
type Run interface {
	AskStep(ctx context.Context, step string, a api.AskStep, wait time.Duration) (*api.Step, error)
	ReportStep(ctx context.Context, step string, r api.ReportStep) (*api.Outcome, error)
	RunState(ctx context.Context) (*api.RunState, error)
	Step(ctx context.Context, step string) (*api.Step, error)
}

// Config is what a gateway needs.
type Config struct {
	Server string // the server's name, by which policies know its tools: SERVER/TOOL
	Run    Run
	Asker  string        // a name that no other gateway has
	Wait   time.Duration // how long a call waits for a human before the client is told to call again
	Pins   *Pins         // what tools were when they were first seen
	Names  *Names        // of the run's steps; gateways of one process that share a run share them
	Redact *Redactor     // secrets that get into no record
	// Observe holds nothing back: what policies deny or have a human asked is recorded as
	// that, and called; see observe.go.
	Observe bool
	Log     *slog.Logger
}

// A gateway governs what goes between one client and one server.
type gateway struct {
	Config
	ctx      context.Context
	toServer func([]byte) error // writes one message
	toClient func([]byte) error
	work     work // calls that are asked for or reported

	mu     sync.Mutex
	calls  map[string]*call                                           // by JSON-RPC id: tools/call that are not answered
	asked  map[string]answerer                                        // by id: what becomes of the answer to a request of the client's or ours; nil: it passes
	heard  *heard                                                     // answers that may come again; nil: none
	tasks  map[string]*call                                           // by task ID: accepted calls whose outcome is not known
	tools  map[string]*tool                                           // as the server listed them
	bad    map[string]string                                          // by tool: why it is held back
	listed chan struct{}                                              // closed once tools is complete; nil: to be listed
	number int                                                        // of our own requests
	pages  func(ctx context.Context, params string) (*message, error) // asks for tools by another way; nil: none
	gone   bool                                                       // the server is
	shared *gateway                                                   // whose tools are these, too; nil: nobody's
	at     time.Time                                                  // when tools were listed
	// resumed counts the streams that clients have resumed, and that are open; resumeFor is
	// how long a call waits for the next one.
	resumed   int
	resumeFor time.Duration
}

// An answerer takes the answer to a request, nil where none will come, and returns what
// the client gets in its place; nil: nothing.
type answerer func(*message) []byte

// A call is one tools/call.
type call struct {
	id        string
	raw       []byte
	tool      *tool
	input     jsontext.Value
	meta      jsontext.Value // _meta of its params; nil: none
	key       string         // tool and digest of the input
	step      string
	attempt   int
	auth      evidence.ID
	began     time.Time
	forwarded bool
	task      bool
	taskID    string
	// state and answers: it has the state, or answers, of a further round. next is what the
	// server asks for before it goes on, before the call of which this is a further round,
	// accepted what is recorded of that, of the gateway that waits for it (rounds.go).
	state     string
	answers   bool
	next      *round
	before    *call
	accepted  evidence.ID
	of        *gateway
	ended     bool // an outcome is recorded, or being so
	cancelled bool
	// adrift: the stream by which the server answers has ended, and the answer was not in
	// it. until is when it has been missed for long enough.
	adrift bool
	until  time.Time
	// unrecorded: the ledger knows nothing of it, and will not.
	unrecorded bool
	cancel     context.CancelFunc
}

func newGateway(ctx context.Context, cfg Config, toServer, toClient func([]byte) error) *gateway {
	return &gateway{
		Config: cfg, ctx: ctx, toServer: toServer, toClient: toClient, calls: make(map[string]*call), asked: make(map[string]answerer),
		tasks: make(map[string]*call), bad: make(map[string]string),
	}
}

// fromClient takes what the client sent. An error says that the server is not there.
func (g *gateway) fromClient(raw []byte) error {
	m, err := parseLine(raw)
	if errors.Is(err, errBatch) {
		return g.batch(raw)
	}
	if err != nil {
		g.Log.Warn("a message of the client's is refused", "error", err)
		return g.toClient(rpcError("null", -32600, "refused by ledgerd: "+err.Error()))
	}
	return g.take(m)
}

// batch takes a batch apart; the answers come one by one.
func (g *gateway) batch(raw []byte) error {
	all, err := elements(raw)
	var parsed []*message
	for _, one := range all {
		m, bad := parse(one)
		err = errors.Join(err, bad)
		parsed = append(parsed, m)
	}
	if err != nil || len(all) == 0 {
		return g.toClient(rpcError("null", -32600, "refused by ledgerd: a batch in which not every message is one"))
	}
	for _, m := range parsed {
		if err := g.take(m); err != nil {
			return err
		}
	}
	return nil
}

func (g *gateway) take(m *message) error {
	if m.method != "" && m.id != "" {
		if err := g.reserve(m.id); err != nil {
			return g.toClient(rpcError("null", -32600, "refused by ledgerd: "+err.Error()))
		}
	}
	switch m.method {
	case "tools/call":
		if m.id == "" {
			g.Log.Warn("a tools/call without an id is refused")
			return nil
		}
		c, ctx := g.enter(g.ctx, m) // before the next line, which may cancel it
		g.work.Go(func() {
			if reply := g.begin(ctx, c, m, g.toServer); reply != nil {
				_ = g.toClient(reply)
			}
		})
		return nil
	}
	if g.note(m) {
		return nil
	}
	return g.toServer(m.raw)
}

// note takes what the client sends that is no call. It says whether the server need not
// hear of it.
func (g *gateway) note(m *message) bool {
	switch m.method {
	case "tools/list":
		var meta jsontext.Value
		if at, ok := member(m.raw, m.params, "_meta"); ok {
			meta = at.of(m.raw)
		}
		g.await(m.id, func(answer *message) []byte { return g.clientList(answer, meta) })
	case "tasks/result", "tasks/get", "tasks/cancel":
		if task := taskOf(m); task != "" {
			method := m.method
			g.await(m.id, func(answer *message) []byte { return g.taskAnswer(task, method, answer) })
		}
	case "notifications/cancelled":
		return g.cancelled(m)
	}
	return false
}

// await has f take the answer to a request.
func (g *gateway) await(id string, f answerer) {
	if id == "" {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked[id] = f
}

// fromServer takes what the server sent.
func (g *gateway) fromServer(raw []byte) error {
	m, err := parseLine(raw)
	if errors.Is(err, errBatch) {
		var all [][]byte
		if all, err = elements(raw); err == nil {
			for _, one := range all {
				if jsontext.Value(one).Kind() == '[' {
					g.Log.Warn("a batch of the server's is dropped that is in another one")
					continue
				}
				if err := g.fromServer(one); err != nil {
					return err
				}
			}
			return nil
		}
	}
	if err != nil {
		g.Log.Warn("a message of the server's is dropped", "error", err)
		return nil
	}
	f := g.answered(m)
	if f == nil {
		return g.toClient(m.raw)
	}
	g.work.Go(func() {
		if reply := f(m); reply != nil {
			_ = g.toClient(reply)
		}
	})
	return nil
}

// answered returns what takes a message of the server's; nil: it passes as it is.
func (g *gateway) answered(m *message) answerer {
	if m.method == "notifications/tools/list_changed" {
		g.mu.Lock()
		g.listed = nil
		g.mu.Unlock()
	}
	if m.method == "notifications/tasks/status" {
		return g.taskStatus(m)
	}
	if m.method != "" || m.id == "" {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.calls[m.id]
	f, asked := g.asked[m.id]
	switch {
	case c != nil && !c.forwarded:
		g.Log.Warn("an answer to a call that the server was not given is dropped", "step", c.step)
		return nothing
	case c != nil:
		delete(g.calls, m.id)
		if c.ended && (c.cancelled || !c.adrift) { // it is recorded that nobody knows, and that is not changed by what the client does not wait for
			return nothing
		}
		c.ended = true
		return func(m *message) []byte { return g.finishAndHear(c, m) }
	case !asked:
		return g.unasked(m.id)
	}
	delete(g.asked, m.id)
	g.hear(m.id, f)
	return f
}

func nothing(*message) []byte { return nil }

// enter notes a call whose id is reserved. From then on it can be cancelled.
func (g *gateway) enter(ctx context.Context, m *message) (*call, context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	c := &call{id: m.id, raw: m.raw, cancel: cancel}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.asked, m.id)
	g.calls[m.id] = c
	return c, ctx
}

// begin asks for a call, and gives it to the server, by send, if it may have it. Else it
// returns what the client is told.
func (g *gateway) begin(ctx context.Context, c *call, m *message, send func([]byte) error) []byte {
	defer c.cancel()
	g.mu.Lock()
	gone := g.gone
	g.mu.Unlock()
	reply := rpcError(c.id, -32603, "the server has ended")
	if !gone {
		reply = g.ask(ctx, c, m, send)
	}
	if reply == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.calls, c.id)
	if c.cancelled {
		return nil
	}
	return reply
}

// ask gives a call to the server if it is permitted; else it returns what the client
// is told.
func (g *gateway) ask(ctx context.Context, c *call, m *message, send func([]byte) error) []byte {
	name, err := g.readCall(c, m)
	if err != nil {
		return rpcError(c.id, -32602, "refused by ledgerd: "+err.Error())
	}
	if err := checkToolName(name); err != nil {
		if g.Observe { // no record can name it
			return g.unrecorded(ctx, c, send, err)
		}
		return rpcError(c.id, -32602, "refused by ledgerd: "+err.Error())
	}
	if reply := g.find(ctx, c, name); reply != nil {
		return reply
	}
	c.key = c.tool.name + ":" + shortDigest(g.Redact.redact(c.input))
	if g.goesOn(c) {
		return g.forward(ctx, c, send)
	}
	step, err := g.askFor(ctx, c)
	switch {
	case errors.Is(err, errBusy):
		return toolError(c.id, "Pending: the same call is waiting. It was not called. Call again with the same arguments to find out.", evidence.ID{})
	case err != nil && g.Observe && !mayNot(err):
		return g.unrecorded(ctx, c, send, err)
	case err != nil:
		return toolError(c.id, "Not called: "+err.Error(), evidence.ID{})
	case step.State != api.StepAllowed:
		return toolError(c.id, explain(step), step.Authorization)
	}
	g.observed(c, step)
	return g.forward(ctx, c, send)
}

// find finds the tool that is called. Of one that is not to be called it returns what the
// client is told.
func (g *gateway) find(ctx context.Context, c *call, name string) (reply []byte) {
	err := g.list(ctx, c.meta)
	g.mu.Lock()
	c.tool = g.tools[name]
	why := g.bad[name]
	g.mu.Unlock()
	switch {
	case err != nil:
		why = "what the server's tools are could not be read: " + err.Error()
		reply = toolError(c.id, "Not called: "+why, evidence.ID{})
	case why != "":
		reply = toolError(c.id, "Not called: "+why, evidence.ID{})
	case c.tool == nil:
		why = "the server lists no tool " + name
		reply = rpcError(c.id, -32602, "refused by ledgerd: "+why+" in its answer to tools/list. Call one that it lists; if it has just got this one, it says so by notifications/tools/list_changed, and is asked anew")
	}
	if reply == nil || !g.Observe {
		return reply
	}
	g.Log.Warn("not enforced: a call is not held back", "tool", g.Server+"/"+name, "why", why)
	if c.tool == nil {
		c.tool = &tool{name: name}
	}
	return nil
}

// askFor asks for permission to make a call.
func (g *gateway) askFor(ctx context.Context, c *call) (*api.Step, error) {
	if g.Observe {
		return g.askAnew(ctx, c)
	}
	return g.askOnce(ctx, c, g.Wait)
}

// askOnce asks under the next name that the call may have.
func (g *gateway) askOnce(ctx context.Context, c *call, wait time.Duration) (step *api.Step, err error) {
	if c.step, err = g.Names.next(ctx, g.Run, g.Server, c.key, g.Observe); err != nil {
		return nil, fmt.Errorf("the ledger is out of reach: %w", err)
	}
	// Each call asks under a name of its own: a permission whose answer was lost is
	// nobody's, and in doubt.
	asker := fmt.Sprintf("%s.%d", g.Asker, g.Names.count())
	ask := api.AskStep{
		Tool: g.Server + "/" + c.tool.name, Action: g.Server + "/" + c.tool.name, Input: []byte(g.Redact.redact(c.input)), Asker: asker,
		Description: g.Redact.text(c.tool.description), Schema: []byte(g.Redact.redact(c.tool.schema)), Idempotent: c.tool.again, Observe: g.Observe,
	}
	step, err = g.askNow(ctx, c.step, ask)
	if err == nil && step.State == api.StepWaiting && wait > 0 {
		g.Names.waits(g.Server, c.key, c.step)
		step, err = g.Run.AskStep(ctx, c.step, ask, wait)
	}
	if err != nil {
		g.Names.stands(g.Server, c.key, c.step, "")
		return nil, fmt.Errorf("permission could not be asked for: %w", err)
	}
	g.Names.stands(g.Server, c.key, c.step, step.State)
	c.auth, c.attempt = step.Authorization, step.Attempt
	return step, nil
}

// askNow asks, and waits for no human. What is cancelled meanwhile is answered all the same,
// if it is soon: else a permission would be in doubt that nobody has used.
func (g *gateway) askNow(ctx context.Context, step string, ask api.AskStep) (*api.Step, error) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(askedFor, cancel) })()
	return g.Run.AskStep(late, step, ask, 0)
}

// forward gives a call that is permitted to the server.
func (g *gateway) forward(ctx context.Context, c *call, send func([]byte) error) []byte {
	g.mu.Lock()
	stop := c.cancelled || g.gone || ctx.Err() != nil
	c.forwarded = !stop
	c.began = time.Now()
	raw := c.raw
	c.raw, c.input, c.meta = nil, nil, nil // they may be large, and c may be kept for long
	g.mu.Unlock()
	if !stop {
		err := send(raw)
		if err == nil {
			return nil
		}
		if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" {
			g.notGiven(c)
			return toolError(c.id, "Not called: the server cannot be reached.", c.auth)
		}
		// Whether the server got it, nobody knows.
		g.stands(c, api.StepInDoubt)
		_, _ = g.report(c, api.ReportStep{Status: evidence.StatusUnknown, Error: "it could not be given to the server: " + err.Error()})
		return toolError(c.id, "In doubt: the server went away while it was called. Do not assume that nothing happened.", c.auth)
	}
	g.notGiven(c)
	return toolError(c.id, "Not called: it was cancelled before.", c.auth)
}

// readCall reads a call's tool and arguments.
func (g *gateway) readCall(c *call, m *message) (name string, err error) {
	c.input = jsontext.Value("{}")
	if m.params.none() {
		return "", errors.New("want params with a name")
	}
	err = members(m.params.of(m.raw), func(member string, at span) error {
		v := m.params.of(m.raw)[at.from:at.to]
		switch member {
		case "name":
			name, err = text(v)
			return err
		case "arguments":
			if v.Kind() == 'n' {
				return nil
			}
			if v.Kind() != '{' {
				return errors.New("want arguments that are an object")
			}
			c.input = v
		case "_meta":
			c.meta = v
		case "task":
			c.task = v.Kind() == '{'
		case "requestState":
			c.state, err = text(v)
			return err
		case "inputResponses":
			c.answers = true
		default:
			for _, known := range []string{"name", "arguments", "task"} {
				if strings.EqualFold(member, known) {
					return fmt.Errorf("want the member %q, found %q", known, member)
				}
			}
		}
		return nil
	})
	return name, err
}
