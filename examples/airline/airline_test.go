package airline_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/internal/agent"
	"ledgerd/internal/importer"
	"ledgerd/internal/raced"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
	"ledgerd/runtime/tools"
)

// task is the type of task of every run, by which the standing contract is chosen.
const task = "airline-support"

// A recording is one run of the data set.
type recording struct {
	ID       string          `json:"id"`
	Actor    string          `json:"actor"`
	Intent   string          `json:"intent"`
	Contract json.RawMessage `json:"contract"`
	Messages []json.RawMessage

	turns []turn
	calls []call // of all turns, in order
}

// A turn is what one message of the conversation adds.
type turn struct {
	role  string
	text  string
	raw   json.RawMessage
	calls []int // into the recording's; of an assistant
	call  int   // that a tool's message answers
}

type call struct {
	tool, input, output string
}

// failed: a result that begins with Error is a call that failed.
func (c *call) failed() bool { return strings.HasPrefix(c.output, "Error") }

// changes reports whether a call changes bookings, or what a customer has.
func (c *call) changes() bool {
	return slices.Contains([]string{"book_reservation", "cancel_reservation", "send_certificate"}, c.tool) || strings.HasPrefix(c.tool, "update_")
}

func data(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("LEDGERD_AIRLINE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data", "airline")
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Skipf("the airline runs are not here (set LEDGERD_AIRLINE_DATA to their folder): %v", err)
	}
	return b
}

func recordings(t *testing.T) []*recording {
	t.Helper()
	var all []*recording
	for line := range bytes.Lines(data(t, "runs.jsonl")) {
		r := new(recording)
		if err := json.Unmarshal(line, r); err != nil {
			t.Fatal(err)
		}
		r.read(t)
		all = append(all, r)
	}
	return all
}

func (r *recording) read(t *testing.T) {
	t.Helper()
	var open []int // calls without an answer
	var ids []string
	for _, raw := range r.Messages {
		var m struct {
			Role       string
			Content    string
			ToolCallID string `json:"tool_call_id"`
			ToolCalls  []struct {
				ID       string
				Function struct{ Name, Arguments string }
			} `json:"tool_calls"`
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		n := turn{role: m.Role, text: m.Content, raw: raw, call: -1}
		if m.Role == "assistant" {
			open, ids = nil, nil
			for _, c := range m.ToolCalls {
				n.calls = append(n.calls, len(r.calls))
				open, ids = append(open, len(r.calls)), append(ids, c.ID)
				r.calls = append(r.calls, call{tool: c.Function.Name, input: c.Function.Arguments})
			}
		}
		if i := slices.Index(ids, m.ToolCallID); m.Role == "tool" && i >= 0 {
			n.call = open[i]
			r.calls[n.call].output = m.Content
		}
		r.turns = append(r.turns, n)
	}
}

// last is the last thing that the agent said.
func (r *recording) last() string {
	for _, n := range slices.Backward(r.turns) {
		if n.role == "assistant" && n.text != "" {
			return n.text
		}
	}
	return "The work is done."
}

// own is the contract that comes with a run, as a document of the runtime's.
func (r *recording) own(t *testing.T) []byte {
	t.Helper()
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(r.Contract, &doc); err != nil {
		t.Fatal(err)
	}
	doc["contract"], doc["task"] = json.RawMessage(`"v1"`), json.RawMessage(`"`+task+`"`)
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// world is a ledger in memory into which runs are imported, and in which runs are
// done, under the contracts of one operator.
type world struct {
	*runtimetest.World
	key       *evidence.PrivateKey // the runtime's
	contracts func(task string, input []byte) (*runtime.Contract, error)
	server    *httptest.Server
	serves    map[string]*recording // by the ID of the run that is being done
	served    atomic.Int64          // calls that were answered
}

func newWorld(t *testing.T, contracts func(string, []byte) (*runtime.Contract, error)) *world {
	w := &world{World: runtimetest.New(t), contracts: contracts, serves: make(map[string]*recording)}
	w.Config = func(c *runtime.Config) { c.Contracts, w.key = contracts, c.Key }
	w.server = httptest.NewServer(http.HandlerFunc(w.answer))
	t.Cleanup(w.server.Close)
	w.Runtime() // tells the key
	return w
}

// imported imports a run with its operator's contract, and returns the verdict.
func (w *world) imported(t *testing.T, r *recording) (evidence.RunID, evidence.Result) {
	t.Helper()
	c, err := w.contracts(task, fmt.Appendf(nil, `{"id":%q}`, r.ID))
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(map[string]any{
		"id": r.ID, "actor": runtimetest.Agent, "intent": r.Intent, "task": task, "contract": json.RawMessage(c.Document), "messages": r.Messages,
	})
	if err != nil {
		t.Fatal(err)
	}
	transcript, err := importer.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	ledger := importer.Embedded{Ledger: w.Ledger}
	im := importer.Importer{
		Ledger: ledger, Registry: ledger, Origin: runtimetest.Origin, Runtime: runtimetest.Runtime, Key: w.key, Operator: "operator",
		Now: w.Clock.Now, Random: rand.Reader,
	}
	o, err := im.Import(t.Context(), transcript)
	if err != nil {
		t.Fatal(err)
	}
	return o.Run, o.Verdict
}

// answer is the airline's booking system: it answers the n-th call of a run as the
// recording has it, if it is that call to the byte.
func (w *world) answer(rw http.ResponseWriter, req *http.Request) {
	input, err := io.ReadAll(req.Body)
	run, step, _ := strings.Cut(req.Header.Get("Idempotency-Key"), "/")
	var n int
	if _, scanErr := fmt.Sscanf(step, "call-%d", &n); err != nil || scanErr != nil || w.serves[run] == nil || n >= len(w.serves[run].calls) {
		http.Error(rw, "no such call", http.StatusNotFound)
		return
	}
	switch c := &w.serves[run].calls[n]; {
	case "/"+c.tool != req.URL.Path || c.input != string(input):
		http.Error(rw, "another call was recorded", http.StatusNotFound)
	case c.failed():
		w.served.Add(1)
		http.Error(rw, c.output, http.StatusConflict)
	default:
		w.served.Add(1)
		if json.Valid([]byte(c.output)) {
			rw.Header().Set("Content-Type", "application/json")
		}
		_, _ = io.WriteString(rw, c.output)
	}
}

// tools are the airline's: one HTTP tool for each name that the agent calls.
func (w *world) tools(t *testing.T, all []*recording) []runtime.Tool {
	t.Helper()
	u, err := url.Parse(w.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	named := make(map[string]runtime.Tool)
	for _, r := range all {
		for _, c := range r.calls {
			if named[c.tool] != nil {
				continue
			}
			tool, err := tools.NewHTTP(tools.HTTPConfig{
				Spec: runtime.Spec{Name: c.tool, Action: c.tool}, URL: w.server.URL + "/" + c.tool, Hosts: []tools.Host{{Name: u.Host, Plain: true}},
			})
			if err != nil {
				t.Fatal(err)
			}
			named[c.tool] = body{tool}
		}
	}
	return slices.Collect(maps.Values(named))
}

// body is an HTTP tool whose output is what the server said, without status and
// headers: what a contract about bookings is written for.
type body struct{ runtime.Tool }

func (b body) Call(ctx context.Context, c *runtime.Call) (*runtime.Output, error) {
	out, err := b.Tool.Call(ctx, c)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Body json.RawMessage `json:"body"`
	}
	if err := json.Unmarshal(out.Data, &answer); err != nil {
		return nil, err
	}
	if out.Data = answer.Body; out.Data == nil {
		out.Data = []byte(`""`)
	}
	return out, nil
}

// agentOf replays the recorded agent as a model: asked for turn n, it answers what
// it answered then.
type agentOf struct{ *recording }

func (agentOf) Model() string { return "recorded" }

func (a agentOf) Reason(_ context.Context, q *runtime.Question) (*runtime.Thought, error) {
	var n int
	if err := json.Unmarshal(q.Data, &n); err != nil {
		return nil, err
	}
	return &runtime.Thought{Choice: a.turns[n].raw}, nil
}

// governed has the recorded agent do its run through the runtime, and claim
// completion.
func (w *world) governed(t *testing.T, rt *runtime.Runtime, r *recording) (evidence.RunID, *runtime.Summary) {
	t.Helper()
	ctx := t.Context()
	run, err := rt.Open(ctx, r.ID, runtime.As(runtimetest.Agent), runtime.Task(task, map[string]string{"id": r.ID}), runtime.Intent(r.Intent))
	if err != nil {
		t.Fatal(err)
	}
	w.serves[string(run.ID())] = r
	before := w.served.Load()
	var seen []runtime.Source
	done := make([]evidence.ID, len(r.calls)) // executions
	for n, m := range r.turns {
		if m.role != "assistant" {
			s := runtime.Source{Name: m.role, Data: []byte(m.text)}
			if m.call >= 0 {
				s.Evidence = done[m.call]
			}
			seen = append(seen, s)
			continue
		}
		laid, err := run.Context(ctx, seen...)
		if err != nil {
			t.Fatal(err)
		}
		seen = nil
		decision, err := run.Decide(ctx, fmt.Sprintf("turn-%d", n), agentOf{r}, fmt.Append(nil, n), laid)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range m.calls {
			c := &r.calls[i]
			res, err := run.Do(ctx, runtime.Action{Step: fmt.Sprintf("call-%d", i), Tool: c.tool, Input: []byte(c.input), Decision: decision.ID})
			failed, ok := errors.AsType[*runtime.Failed](err)
			switch {
			case err == nil && !c.failed():
				done[i] = res.Execution
			case ok && c.failed() && failed.Class == evidence.ToolFailed:
				done[i] = failed.Execution
			default:
				t.Fatalf("%s: call %d of %s gave %v, recorded is %q", r.ID, i, c.tool, err, c.output)
			}
		}
	}
	summary, err := run.Summarize(ctx, r.last())
	_, refused := errors.AsType[*runtime.Unsupported](err)
	if finished := run.Finish(ctx, err); (summary != nil) == refused || err == nil && finished != nil || err != nil && !refused {
		t.Fatalf("%s: %v, %v", r.ID, err, finished)
	}
	if n := w.served.Load() - before; n != int64(len(r.calls)) {
		t.Errorf("%s: the booking system answered %d calls of %d", r.ID, n, len(r.calls))
	}
	return run.ID(), summary
}

// judged is what anybody with the trust file says of a run's claim, and of its
// bundle.
func (w *world) judged(t *testing.T, run evidence.RunID) (*audit.Verdict, *audit.Report) {
	t.Helper()
	report := w.Report(run)
	for _, j := range report.Verdicts {
		if !j.Verdict.Claim.IsZero() {
			return j.Verdict, report
		}
	}
	t.Fatalf("no verdict on %s", run)
	return nil, nil
}

// Payload implements [audit.Payloads]: what an auditor of everything is shown.
func (w *world) Payload(commit evidence.Digest) ([]byte, bool) {
	p, err := w.Ledger.Vault().Payload(commit)
	if err != nil {
		return nil, false
	}
	return p.Data, true
}

// restsOn requires of a supported claim that it rests on one source; where nothing
// happened that the contract accounts for, it rests on none.
func (w *world) restsOn(t *testing.T, r *recording, v *audit.Verdict, source evidence.Source) {
	t.Helper()
	doc, err := w.contracts(task, fmt.Appendf(nil, `{"id":%q}`, r.ID))
	if err != nil {
		t.Fatal(err)
	}
	var accounts struct{ Only []string }
	if err := json.Unmarshal(doc.Document, &accounts); err != nil {
		t.Fatal(err)
	}
	if v.Result == evidence.Supported && v.Contract.Source != source &&
		slices.ContainsFunc(r.calls, func(c call) bool { return !c.failed() && slices.Contains(accounts.Only, c.tool) }) {
		t.Errorf("%s rests on what is %q, want %q", r.ID, v.Contract.Source, source)
	}
}

// sound requires that the bundle of a run passes exactly if its claim is supported,
// and that nothing is wrong with it but the claim.
func sound(t *testing.T, r *recording, v *audit.Verdict, report *audit.Report) {
	t.Helper()
	want := audit.ExitBroken
	if v.Result == evidence.Supported {
		want = audit.ExitVerified
	}
	if report.ExitCode() != want {
		t.Errorf("%s is %s: want exit %d, found %d", r.ID, v.Result, want, report.ExitCode())
	}
	for _, rule := range report.Rules {
		if rule.Status == audit.Broken && rule.Rule != audit.RuleClaim && rule.Rule != audit.RuleContract {
			t.Errorf("%s: the rule %s is broken: %s", r.ID, rule.Rule, rule.Findings[0].String())
		}
	}
}

// score is how many runs got each verdict, of those whose bookings were right in the
// end and of those where they were wrong: the table of docs/benchmarks.md.
type score map[evidence.Result][2]int

const (
	right = 0
	wrong = 1
)

// TestAirline: of the 100 runs, how often was a false completion caught? Whether the
// bookings were right in the end, only this test knows: no verdict sees it. The
// standing contract was written before it was first compared with the runs, and was
// not changed since.
func TestAirline(t *testing.T) {
	raced.Skip(t)
	all := recordings(t)
	own := make(map[string][]byte)
	for _, r := range all {
		own[r.ID] = r.own(t)
	}
	standing, err := agent.OpenContracts(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		contracts func(task string, input []byte) (*runtime.Contract, error)
		want      score
		but       []string // runs that the verdict is wrong about, where they are few
		parts     tally    // of the standing contract, that runs broke
	}{
		{"the contract that comes with each run", func(_ string, input []byte) (*runtime.Contract, error) {
			var of struct{ ID string }
			err := json.Unmarshal(input, &of)
			return &runtime.Contract{Document: own[of.ID], DeclaredBy: "operator"}, err
		}, score{evidence.Supported: {30, 1}, evidence.Unsupported: {0, 30}, evidence.Contradicted: {1, 38}}, []string{"airline-02-1", "airline-05-1"}, nil},
		{"one standing contract for all of them", standing.For, score{evidence.Supported: {31, 51}, evidence.Contradicted: {0, 18}}, nil, tally{
			"book_reservation": {0, 5}, "cancel_reservation": {0, 1}, "update_reservation_baggages": {0, 2}, "update_reservation_flights": {0, 11}, "/forbids/4": {0, 2},
			idle: {20, 21}, kept: {11, 30},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.contracts)
			rt := w.Runtime(w.tools(t, all)...)
			imported := make(map[string]evidence.Result)
			parts := make(map[string][]string)
			for _, r := range all {
				id, said := w.imported(t, r)
				v, report := w.judged(t, id)
				if v.Result != said {
					t.Errorf("%s: imported as %s, judged %s", r.ID, said, v.Result)
				}
				w.restsOn(t, r, v, evidence.SourceImported)
				sound(t, r, v, report)
				imported[r.ID] = said
			}
			for _, r := range all {
				id, summary := w.governed(t, rt, r)
				v, report := w.judged(t, id)
				if v.Result != imported[r.ID] {
					t.Errorf("%s: %s through the runtime, imported %s", r.ID, v.Result, imported[r.ID])
				}
				passes := v.Result == evidence.Supported
				w.restsOn(t, r, v, evidence.SourceRuntime)
				if (summary != nil) != passes || passes && summary.Verdict.Result != v.Result {
					t.Errorf("%s is %s, and the summary %+v", r.ID, v.Result, summary)
				}
				closed := w.Records(id)
				switch {
				case c.parts == nil:
				case !passes:
					parts[r.ID] = broken(t, try(t, standingContract(t), w.Ledger.Registry(), closed, id, w), closed)
				case slices.ContainsFunc(r.calls, func(c call) bool { return !c.failed() && c.changes() }):
					parts[r.ID] = []string{kept}
				default:
					parts[r.ID] = []string{idle}
				}
				end := closed[len(closed)-1].Record.Body.(*evidence.RunClosed)
				if (end.End == evidence.Completed) != passes {
					t.Errorf("%s is %s, and ended %s", r.ID, v.Result, end.End)
				}
				sound(t, r, v, report)
			}
			compare(t, imported, c.want, c.but)
			if c.parts != nil {
				count(t, parts, c.parts)
			}
		})
	}
}

// Runs that broke no part.
const (
	idle = "nothing was changed"
	kept = "changed as the policy says"
)

// tally is how many runs broke each part of a contract: of those whose bookings were
// right in the end, and of those where they were wrong. A run may break several.
type tally map[string][2]int

// count compares what was broken with the labels, and prints the table of README.md.
func count(t *testing.T, parts map[string][]string, want tally) {
	t.Helper()
	labels := truth(t)
	found := make(tally)
	for id, broken := range parts {
		for _, part := range broken {
			n := found[part]
			if labels[id] {
				n[right]++
			} else {
				n[wrong]++
			}
			found[part] = n
		}
	}
	for _, part := range slices.Sorted(maps.Keys(found)) {
		t.Logf("%-30s %3d right %3d wrong", part, found[part][right], found[part][wrong])
	}
	if !maps.Equal(found, want) {
		t.Errorf("want %v, found %v", want, found)
	}
}

// truth is whether the bookings of each run were right in the end.
func truth(t *testing.T) map[string]bool {
	t.Helper()
	var labels map[string]bool
	if err := json.Unmarshal(data(t, "labels.json"), &labels); err != nil {
		t.Fatal(err)
	}
	return labels
}

// compare compares the verdicts with the labels, and prints the table of
// docs/benchmarks.md.
func compare(t *testing.T, verdicts map[string]evidence.Result, want score, but []string) {
	t.Helper()
	labels := truth(t)
	found := make(score)
	var missed, alarms []string
	for _, id := range slices.Sorted(maps.Keys(verdicts)) {
		n, ended := found[verdicts[id]], wrong
		if labels[id] {
			ended = right
		}
		n[ended]++
		found[verdicts[id]] = n
		switch passed := verdicts[id] == evidence.Supported; {
		case passed && ended == wrong:
			missed = append(missed, id)
		case !passed && ended == right:
			alarms = append(alarms, id)
		}
	}
	for _, r := range []evidence.Result{evidence.Supported, evidence.Unsupported, evidence.Contradicted} {
		t.Logf("%-30s %3d right %3d wrong", r, found[r][right], found[r][wrong])
	}
	t.Logf("%d caught, %d missed, %d false alarms; the same imported and through the runtime",
		found[evidence.Unsupported][wrong]+found[evidence.Contradicted][wrong], len(missed), len(alarms))
	if !maps.Equal(found, want) {
		t.Errorf("want %v, found %v", want, found)
	}
	if about := append(missed, alarms...); but != nil && !slices.Equal(about, but) {
		t.Errorf("want the verdict to be wrong about %v, found %v", but, about)
	}
}
