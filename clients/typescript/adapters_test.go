package typescript

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/internal/server"
	"ledgerd/ledger"
	"ledgerd/runtime"
)

// adapter returns a program of tests/adapters as a command, where the frameworks are
// installed and the adapters are built.
func adapter(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := node(t, append([]string{"tests/adapters/" + args[0]}, args[1:]...)...)
	if _, err := os.Stat("dist/adapters/ai.js"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI is set, and dist/adapters is not there: bash .ci/install")
		}
		t.Skip("dist/adapters is not there: npm run build --prefix clients/typescript")
	}
	return cmd
}

// desk is a daemon under which refunds are a human's to permit and customers are not
// deleted.
type desk struct {
	*house
	human *evidence.PrivateKey
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{house: &house{Daemon: daemontest.Init(t)}}
	d.human = d.Actor("mia", evidence.RoleHuman)
	d.host = d.Host(runtime.Config{
		Permit: runtime.PermitterFunc(func(_ context.Context, r *runtime.PermissionRequest) (runtime.Permission, error) {
			switch r.Action {
			case "lookup_order", "send_email":
				return runtime.Permission{Effect: evidence.Allow, Policies: []string{"support-works"}}, nil
			case "refund":
				return runtime.Permission{Effect: evidence.Escalate, Policies: []string{"refunds-are-asked"}, Team: "finance"}, nil
			}
			return runtime.Permission{Effect: evidence.Deny, Policies: []string{"customers-stay"}}, nil
		}),
		Contracts: func(task string, _ []byte) (*runtime.Contract, error) {
			doc := `{"contract":"v1","task":"` + task + `","weakest_source":"reported","expects":[{"action":"send_email"}]}`
			if task == "complaint" {
				doc = `{"contract":"v1","task":"complaint","weakest_source":"reported","expects":[{"action":"refund"},{"action":"send_email"}],"forbids":[{"action":"delete_customer"}]}`
			}
			return &runtime.Contract{Document: []byte(doc), DeclaredBy: "operator"}, nil
		},
	}, 0)
	d.Serve(func(c *server.Config) { c.Agents = d.host })
	d.token = d.Grant(daemontest.Agent, api.RightAct)
	return d
}

// approve has the human approve the one thing that waits.
func (d *desk) approve(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	list, err := d.host.Approvals(ctx)
	must(t, err)
	if len(list.Approvals) != 1 {
		t.Fatalf("want one question to the human, found %d", len(list.Approvals))
	}
	asked := list.Approvals[0]
	n := d.Ledger.Registry().Number()
	b := &evidence.Approval{Answer: evidence.Approve, Until: evidence.TimeOf(time.Now().Add(time.Hour))}
	entry, err := evidence.Sign(&evidence.Record{
		Origin: daemontest.Origin, Kind: b.Kind(), Run: asked.Run, About: asked.Authorization, Registry: &n, Actor: "mia", Time: evidence.TimeOf(time.Now()), Body: b,
	}, d.human)
	must(t, err)
	_, err = d.Ledger.Append(ctx, entry)
	must(t, err)
}

// world is what the tools act on, and where the model is asked. It kills the process
// that comes to kill, the n-th time that anybody does, after it did what was asked.
type world struct {
	*httptest.Server
	mu      sync.Mutex
	calls   map[string]int // guarded by mu, as all below
	mail    []string
	told    []string // what the model was told last, by tool
	kill    string   // "": nobody
	nth     int
	process *os.Process
}

func newWorld(t *testing.T) *world {
	w := &world{calls: make(map[string]int)}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var in struct {
		Text string
		Told []struct{ Tool, Text string }
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	path := strings.TrimPrefix(r.URL.Path, "/")
	w.calls[path]++
	answer := any(map[string]any{"ok": true})
	switch path {
	case "lookup_order":
		answer = map[string]any{"order": "K-1", "cents": 4200, "customer": "Jun Sato"}
	case "refund":
		answer = map[string]any{"refund": fmt.Sprintf("r-%d", w.calls[path])}
	case "send_email":
		w.mail = append(w.mail, in.Text)
		answer = map[string]any{"message": in.Text}
	case "mailbox":
		answer = map[string]any{"messages": append([]string{}, w.mail...)}
	case "model":
		w.told = nil
		for _, told := range in.Told {
			w.told = append(w.told, told.Tool+": "+told.Text)
		}
	}
	if path == w.kill && w.calls[path] == w.nth {
		_ = w.process.Kill()
		panic(http.ErrAbortHandler)
	}
	_ = json.NewEncoder(rw).Encode(answer)
}

// was returns how often somebody came to a path, and forgets it.
func (w *world) was(path string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.calls[path]
	w.calls[path] = 0
	return n
}

// killed has a program killed the n-th time that it comes to path.
func (w *world) killed(t *testing.T, cmd *exec.Cmd, path string, nth int) {
	t.Helper()
	w.mu.Lock()
	w.kill, w.nth, w.calls[path] = path, nth, 0
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Start()
	w.process = cmd.Process
	w.mu.Unlock()
	must(t, err)
	err = cmd.Wait()
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); err == nil || !ok || s.Signal() != syscall.SIGKILL {
		t.Fatalf("want it killed at %s: %v\n%s", path, err, &out)
	}
	w.mu.Lock()
	w.kill = ""
	w.mu.Unlock()
}

func (w *world) says(t *testing.T, cmd *exec.Cmd, want string) {
	t.Helper()
	if out := string(run(t, cmd)); out != want+"\n" {
		t.Fatalf("want %q, found %q; the model was told %q", want, out, w.told)
	}
}

const (
	done    = "I have refunded 42.00 EUR, and emailed the confirmation."
	waiting = "The refund waits for an approval."
)

// TestFrameworks: the complaint in the frameworks, killed between steps, and when the
// email is sent and not reported. Everything happened once, the model was asked each
// question once, and verify says that the claim holds.
func TestFrameworks(t *testing.T) {
	node(t)
	for name, of := range map[string]struct {
		program []string
		asked   [3]int // how often the model is asked from each kill on
	}{
		"langgraph":            {[]string{"langgraph.mjs", "model"}, [3]int{2, 1, 1}},
		"langgraph-checkpoint": {[]string{"langgraph.mjs", "saver"}, [3]int{2, 2, 1}},
		"openai-agents":        {[]string{"openai-agents.mjs"}, [3]int{2, 1, 1}},
		"ai":                   {[]string{"ai.mjs"}, [3]int{2, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, w := newDesk(t), newWorld(t)
			env := d.env("WORLD="+w.URL, "SAVER="+filepath.Join(t.TempDir(), "thread"), "LANGCHAIN_TRACING_V2=false")
			processes := 0
			program := func() *exec.Cmd {
				args := append([]string{of.program[0], "complaint-1"}, of.program[1:]...)
				if processes++; name == "ai" && processes%2 == 0 {
					args = append(args, "stream")
				}
				cmd := adapter(t, args...)
				cmd.Env = env
				return cmd
			}
			w.killed(t, program(), "model", 2) // the order is looked up
			if denied := strings.Join(w.told, "\n"); !regexp.MustCompile(`(?m)^delete_customer: Denied: delete_customer is not permitted\. It was not done\. Decided by the policy customers-stay\. Evidence: ev_[A-Za-z0-9_-]{43}\.$`).MatchString(denied) {
				t.Errorf("the model was told %q", denied)
			}
			w.was("model")
			w.says(t, program(), waiting)
			if n := w.was("model"); n != of.asked[0] {
				t.Errorf("want the model asked %d times until it waits, found %d", of.asked[0], n)
			}
			d.approve(t)
			w.killed(t, program(), "send_email", 1)
			if n := w.was("model"); n != of.asked[1] {
				t.Errorf("want the model asked %d times until the email, found %d", of.asked[1], n)
			}
			w.says(t, program(), done)
			if n := w.was("model"); n != of.asked[2] {
				t.Errorf("want the model asked %d times at the end, found %d", of.asked[2], n)
			}
			if name == "ai" {
				w.says(t, program(), "It is done already.")
			}
			for path, want := range map[string]int{"lookup_order": 1, "refund": 1, "send_email": 1, "delete_customer": 0} {
				if n := w.was(path); n != want {
					t.Errorf("want %s called %d times, found %d", path, want, n)
				}
			}
			d.verified(t, "complaint-1")
			d.named(t, "complaint-1", name != "langgraph-checkpoint")
		})
	}
}

// named wants the steps of a run named by the IDs of their calls, and where the model is
// governed, to rest on its decisions.
func (d *desk) named(t *testing.T, key string, governed bool) {
	t.Helper()
	steps := make(map[string]bool)
	for p, err := range d.Ledger.Run(context.Background(), d.host.RunID(key)) {
		must(t, err)
		b, ok := p.Record.Body.(*evidence.Authorization)
		if !ok || !b.Escalated.IsZero() { // what an approval permits rests on the question
			continue
		}
		steps[b.Step] = true
		if !regexp.MustCompile(`^`+b.Action+`:[A-Za-z0-9_-]{22}:call_[0-9a-f]{8}$`).MatchString(b.Step) || b.Decision.IsZero() == governed {
			t.Errorf("step %q rests on the decision %q", b.Step, b.Decision)
		}
	}
	if len(steps) != 4 {
		t.Errorf("want 4 steps, found %v", steps)
	}
}

// TestCounted: where neither the model is governed nor its messages are kept, the calls
// of a tool are counted. Asked anew, the model words its email in another way, and it is
// not sent a second time.
func TestCounted(t *testing.T) {
	node(t)
	t.Parallel()
	d, w := newDesk(t), newWorld(t)
	program := func() *exec.Cmd {
		cmd := adapter(t, "langgraph.mjs", "complaint-1", "nothing")
		cmd.Env = d.env("WORLD="+w.URL, "LANGCHAIN_TRACING_V2=false")
		return cmd
	}
	w.says(t, program(), waiting)
	d.approve(t)
	w.killed(t, program(), "send_email", 1)
	out := string(run(t, program()))
	if !regexp.MustCompile(`^It is not certain: Not done: this call was asked for before with other arguments\. Do not assume that it did not happen then\. Evidence: ev_[A-Za-z0-9_-]{43}\.\n$`).MatchString(out) {
		t.Errorf("found %q", out)
	}
	if orders, refunds, emails := w.was("lookup_order"), w.was("refund"), w.was("send_email"); orders != 1 || refunds != 1 || emails != 1 {
		t.Errorf("want everything once, found %d, %d and %d times", orders, refunds, emails)
	}
}

// TestAdapterEdges: failures are recorded as failures, what is told names its evidence,
// and what cannot be governed is refused.
func TestAdapterEdges(t *testing.T) {
	node(t)
	t.Parallel()
	d := newDesk(t)
	cmd := adapter(t, "edges.mjs")
	cmd.Args = append(cmd.Args[:1], append([]string{"--test"}, cmd.Args[1:]...)...)
	cmd.Env = d.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestAgentsHandOver: an agent of the OpenAI Agents SDK hands over to one whose daemon is
// another. It goes on in a run that continues the offer, and does what that permits; a
// crash in the middle changes nothing.
func TestAgentsHandOver(t *testing.T) {
	node(t)
	t.Parallel()
	giver, receiver := newSide(t, "ledger.example/research"), newSide(t, "ledger.example/analysis")
	giver.knows(receiver)
	receiver.knows(giver)
	to, err := json.Marshal(evidence.Recipient{Origin: receiver.Ledger.Origin(), Actor: daemontest.Agent, Key: receiver.Key.Public().Thumbprint()})
	must(t, err)
	w := newWorld(t)
	program := func() *exec.Cmd {
		cmd := adapter(t, "handoff.mjs")
		cmd.Env = append(os.Environ(), "LEDGERD_SERVER="+giver.URL, "LEDGERD_TOKEN="+giver.token, "ANALYST_SERVER="+receiver.URL, "ANALYST_TOKEN="+receiver.token, "WORLD="+w.URL, "TO="+string(to))
		return cmd
	}
	w.killed(t, program(), "model", 4) // the chart is drawn
	// And once more, when the run that offered has gone on.
	for range 2 {
		out := string(run(t, program()))
		if !regexp.MustCompile(`^chart: 7 rows\nDenied: chart is not permitted\. It was not done\. .* Evidence: ev_[A-Za-z0-9_-]{43}\.\nsupported, continues support\nProblem not_found\n$`).MatchString(out) {
			t.Errorf("found %q", out)
		}
	}
	if searches, charts, published := w.was("search"), w.was("chart"), w.was("publish"); searches != 1 || charts != 1 || published != 1 {
		t.Errorf("want one search, one chart and one publication, found %d, %d and %d", searches, charts, published)
	}
	joined(t, giver, receiver)
}

// side is an organisation that permits everything, with a daemon and an agent.
type side struct {
	*daemontest.Daemon
	t     *testing.T
	token string // the agent's
}

func newSide(t *testing.T, origin string) *side {
	t.Helper()
	s := &side{Daemon: daemontest.Named(t, origin), t: t}
	s.Trade(daemontest.Trading{Runtime: runtime.Config{
		Permit: runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
			return runtime.Permission{Effect: evidence.Allow, Policies: []string{"all"}}, nil
		}),
		Contracts: func(task string, _ []byte) (*runtime.Contract, error) {
			acts := map[string]string{"research": "search", "analyse": "chart"}[task]
			doc := fmt.Sprintf(`{"contract":"v1","task":%q,"weakest_source":"reported","expects":[{"action":%q}]}`, task, acts)
			return &runtime.Contract{Document: []byte(doc), DeclaredBy: "operator"}, nil
		},
	}})
	s.token = s.Grant(daemontest.Agent, api.RightAct, api.RightRead)
	return s
}

func (s *side) trust() *bundle.Trust {
	s.t.Helper()
	trust, err := s.Ledger.Trust()
	must(s.t, err)
	return trust
}

// knows makes the other a peer.
func (s *side) knows(other *side) {
	s.t.Helper()
	trust, err := other.trust().Marshal()
	must(s.t, err)
	_, err = s.Client(s.Token).AddPeer(context.Background(), api.Peer{URL: other.Inbox, Trust: trust})
	must(s.t, err)
}

// joined audits the run that continues what was handed over, under the trust in both.
func joined(t *testing.T, giver, receiver *side) {
	t.Helper()
	ctx := context.Background()
	c := receiver.Client(receiver.token)
	state, err := c.RunState(ctx, "analysis-1")
	must(t, err)
	var b bytes.Buffer
	must(t, receiver.Ledger.Export(ctx, &b, ledger.ExportOptions{Run: state.Run}))
	both := &bundle.Trust{Ledgers: append(giver.trust().Ledgers, receiver.trust().Ledgers...)}
	report, err := audit.VerifyBundle(&b, both, audit.Options{Run: state.Run})
	must(t, err)
	if got := report.Rule(audit.RuleHandoff); got.Status != audit.Held || len(report.Given) != 1 || report.ExitCode() != 0 {
		t.Errorf("the handoff: %v, %d given, exit code %d: %v", got.Status, len(report.Given), report.ExitCode(), got.Findings)
	}
}

// TestFrameworksReadme: the examples of README.md about frameworks do what they say.
func TestFrameworksReadme(t *testing.T) {
	node(t)
	t.Parallel()
	d := newDesk(t)
	readme, err := os.ReadFile("README.md")
	must(t, err)
	blocks := regexp.MustCompile("(?s)```ts\n(.*?)```").FindAllSubmatch(readme, -1)
	if len(blocks) != 4 {
		t.Fatalf("want 4 examples, found %d", len(blocks))
	}
	given := []string{"const { model, sendEmail } = await langgraph();", "const { model } = await agents();", "const { model, send_email } = await ai();"}
	for i, before := range given {
		program := fmt.Sprintf(`
import { ledgerd, parameters, smtp, langgraph, agents, ai } from './tests/adapters/readme.mjs';
%s
const run = await ledgerd.open('readme-%d', { task: 'readme' });
%s
const { steps, verdict } = await run.state();
console.log(steps.map((s) => s.action + ' ' + s.state).join(), verdict);
`, before, i, blocks[i][1])
		cmd := adapter(t, "readme.mjs")
		cmd.Args = append(cmd.Args[:1], "--input-type=module", "-e", program)
		cmd.Env = append(d.env(), "OPENAI_AGENTS_DISABLE_TRACING=1")
		if out := string(run(t, cmd)); out != "send_email succeeded supported\n" {
			t.Errorf("example %d: found %q", i, out)
		}
	}
	program, err := os.ReadFile("tests/adapters/handoff.mjs")
	must(t, err)
	if !bytes.Contains(program, blocks[3][1]) {
		t.Errorf("tests/adapters/handoff.mjs has not the example\n%s", blocks[3][1])
	}
}

// TestNoDependencies: the client is installed without another package, and only adapters
// import one.
func TestNoDependencies(t *testing.T) {
	node(t)
	var manifest struct {
		Dependencies         map[string]string
		PeerDependencies     map[string]string
		PeerDependenciesMeta map[string]struct{ Optional bool }
	}
	b, err := os.ReadFile("package.json")
	must(t, err)
	must(t, json.Unmarshal(b, &manifest))
	for name := range manifest.PeerDependencies {
		if !manifest.PeerDependenciesMeta[name].Optional {
			t.Errorf("%s is not optional", name)
		}
	}
	if len(manifest.Dependencies) > 0 {
		t.Errorf("want no dependencies, found %v", manifest.Dependencies)
	}
	from := regexp.MustCompile(`(?m)(?:^|[ }*])(?:from|import) ?\(?['"]([^'"]+)['"]`)
	files, imports := 0, 0
	for _, glob := range []string{"dist/*.js", "dist/verify/*.js"} {
		names, err := filepath.Glob(glob)
		must(t, err)
		for _, name := range names {
			b, err := os.ReadFile(name)
			must(t, err)
			files++
			for _, m := range from.FindAllSubmatch(b, -1) {
				imports++
				if to := string(m[1]); !strings.HasPrefix(to, "node:") && !strings.HasPrefix(to, "./") && !strings.HasPrefix(to, "../") || strings.Contains(to, "adapters/") {
					t.Errorf("%s imports %s", name, to)
				}
			}
		}
	}
	if files < 15 || imports < 30 {
		t.Errorf("found %d files with %d imports", files, imports)
	}
}
