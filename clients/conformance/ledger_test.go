package conformance

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/internal/agent"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/internal/server"
	"ledgerd/ledger"
	"ledgerd/runtime"
	"ledgerd/runtime/policy"
)

// house is a daemon as README.md describes it.
type house struct {
	*daemontest.Daemon
	t     *testing.T
	host  *agent.Host
	human *evidence.PrivateKey
	agent string // its token
	dir   string // in which the daemon's tool works

	commits map[string]bool // that were read
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{Daemon: daemontest.Init(t), t: t, commits: make(map[string]bool)}
	h.human = h.Actor("mia", evidence.RoleHuman)
	permit, err := policy.Open("fixture/policies", policy.Options{})
	must(t, err)
	contracts, err := agent.OpenContracts("fixture/contracts")
	must(t, err)
	file := fixtureTools(t)
	h.dir = filepath.Dir(file)
	tools, err := agent.LoadTools(file)
	must(t, err)
	h.host = h.Host(runtime.Config{Permit: permit, Contracts: contracts.For, Tools: tools}, 0)
	h.Serve(func(c *server.Config) { c.Agents = h.host })
	h.agent = h.Grant(daemontest.Agent, api.RightAct)
	return h
}

// answer has the human answer the one question that waits, once there is one.
func (h *house) answer(approve bool) {
	ctx := h.t.Context()
	for {
		list, err := h.host.Approvals(ctx)
		if ctx.Err() != nil {
			return // the test is over, and failed otherwise
		}
		if err != nil {
			h.t.Error(err)
			return
		}
		if len(list.Approvals) != 1 {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		asked := list.Approvals[0]
		b := &evidence.Approval{Answer: evidence.Refuse}
		if approve {
			b = &evidence.Approval{Answer: evidence.Approve, Until: evidence.TimeOf(time.Now().Add(time.Hour))}
		}
		n := h.Ledger.Registry().Number()
		entry, err := evidence.Sign(&evidence.Record{
			Origin: daemontest.Origin, Kind: b.Kind(), Run: asked.Run, About: asked.Authorization, Registry: &n, Actor: "mia", Time: evidence.TimeOf(time.Now()), Body: b,
		}, h.human)
		if err == nil {
			_, err = h.Ledger.Append(ctx, entry)
		}
		if err != nil {
			h.t.Error(err)
		}
		return
	}
}

// sound has a run audited as anyone outside would. A claim that was not supported was
// made, and is the one thing wrong with it.
func (h *house) sound(run evidence.RunID) {
	h.t.Helper()
	var b bytes.Buffer
	must(h.t, h.Ledger.Export(context.Background(), &b, ledger.ExportOptions{Run: run}))
	trust, err := h.Ledger.Trust()
	must(h.t, err)
	report, err := audit.VerifyBundle(&b, trust, audit.Options{Run: run})
	must(h.t, err)
	for _, r := range report.Rules {
		if r.Status == audit.Broken && r.Rule != audit.RuleClaim {
			for _, f := range r.Findings {
				h.t.Errorf("the audit of %s: %s", run, f.String())
			}
		}
	}
}

// names calls the records of runs what README.md calls them.
type names struct {
	of   map[string]string // by evidence ID, idempotency key or run
	list map[string][]string
}

var evidenceID = regexp.MustCompile(`ev_[A-Za-z0-9_-]{43}`)

// names reads what there is of runs.
func (h *house) names(keys []string) *names {
	n := &names{of: make(map[string]string), list: make(map[string][]string)}
	for _, key := range keys {
		run := h.host.RunID(key)
		n.of[string(run)] = "run of " + key
		counts := make(map[evidence.Kind]int)
		for p, err := range h.Ledger.Run(context.Background(), run) {
			must(h.t, err)
			kind := p.Record.Kind
			counts[kind]++
			name := fmt.Sprintf("%s#%d", kind, counts[kind])
			n.of[p.ID.String()] = name
			n.list[key] = append(n.list[key], string(kind))
			if b, ok := p.Record.Body.(*evidence.Authorization); ok {
				if k := string(run) + "/" + b.IdempotencyKey; n.of[k] == "" {
					n.of[k] = "key of " + name
				}
			}
		}
	}
	return n
}

// in calls everything in a JSON value by its name.
func (n *names) in(v any) any {
	switch v := v.(type) {
	case string:
		if name, ok := n.of[v]; ok {
			return name
		}
		return v
	case []any:
		for i := range v {
			v[i] = n.in(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = n.in(v[name])
		}
	}
	return v
}

// text is what the records of a run say, without what is another one each time: IDs,
// times, keys, signatures, salts, how long something took, who a process was.
func (h *house) text(key string, n *names, askers []string) string {
	var b strings.Builder
	for p, err := range h.Ledger.Run(context.Background(), h.host.RunID(key)) {
		must(h.t, err)
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(string(p.Entry), ".")[1])
		must(h.t, err)
		var rec map[string]any
		must(h.t, json.Unmarshal(payload, &rec))
		line, err := json.Marshal(h.plain(n.in(rec), askers))
		must(h.t, err)
		text := evidenceID.ReplaceAllStringFunc(string(line), func(id string) string { return n.of[id] })
		b.WriteString(strings.ReplaceAll(text, string(h.host.RunID(key)), "RUN") + "\n")
	}
	text := strings.ReplaceAll(b.String(), h.dir, "DIR")
	// Verdicts name what is disclosed.
	for commit := range h.commits {
		text = strings.ReplaceAll(text, commit, "COMMIT")
	}
	// And records, in the order of their IDs.
	return listed.ReplaceAllStringFunc(text, func(list string) string {
		names := strings.Split(list, ",")
		slices.Sort(names)
		return strings.Join(names, ",")
	})
}

var listed = regexp.MustCompile(`(\\"[a-z_.]+#[0-9]+\\",?){2,}`)

// noJSON is how a client begins to say that a function gave what it cannot report.
const noJSON = "its result is no JSON"

// plain puts what a commitment commits to in its place, and drops what differs.
func (h *house) plain(v any, askers []string) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = h.plain(v[i], askers)
		}
	case map[string]any:
		if commit, ok := v["commit"].(string); ok {
			h.commits[commit] = true
			said := h.payload(commit)
			if strings.HasPrefix(said, noJSON) { // the rest is the language's own
				said = noJSON
			}
			return map[string]any{"media": v["media"], "payload": said}
		}
		for _, name := range slices.Collect(maps.Keys(v)) {
			switch name {
			case "time", "until", "took_ms", "dev.ledgerd.driver":
				v[name] = "…"
			case "by":
				if n := slices.Index(askers, fmt.Sprint(v[name])); n >= 0 {
					v[name] = fmt.Sprintf("process %d", n+1)
				}
			default:
				v[name] = h.plain(v[name], askers)
			}
		}
	}
	return v
}

func (h *house) payload(commit string) string {
	var d evidence.Digest
	must(h.t, d.UnmarshalText([]byte(commit)))
	p, err := runtime.Embedded{Ledger: h.Ledger.Ledger}.ReadPayload(context.Background(), d)
	must(h.t, err)
	return string(p.Data)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
