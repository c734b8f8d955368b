package python

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/agent"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
	"ledgerd/internal/server"
	"ledgerd/ledger"
	"ledgerd/runtime"
	"ledgerd/runtime/policy"
)

// town is what the client's tests want around them: two daemons that are each other's
// peers, a human who answers, a shop and a mail server.
type town struct {
	t           *testing.T
	here, there *house
	socket      string // here, once more
	human       *httptest.Server
	shop        *shop
	mail        *mailServer
}

// house is a daemon with the agent support.
type house struct {
	*daemontest.Daemon
	t     *testing.T
	host  *agent.Host
	agent string // a token
}

func newTown(t *testing.T) *town {
	t.Helper()
	town := &town{t: t, here: newHouse(t, "ledger.example/here"), there: newHouse(t, "ledger.example/there")}
	for _, pair := range [][2]*house{{town.here, town.there}, {town.there, town.here}} {
		_, err := pair[0].Client(pair[0].Token).AddPeer(t.Context(), api.Peer{URL: pair[1].Inbox, Trust: pair[1].trust(nil)})
		must(t, err)
	}
	key := town.here.Actor("mia", evidence.RoleHuman)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{answer}/{authorization}", func(w http.ResponseWriter, r *http.Request) {
		if err := town.here.answer(key, r.PathValue("answer") == "approve", r.PathValue("authorization")); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	town.human = httptest.NewServer(mux)
	t.Cleanup(town.human.Close)
	town.socket = bridge(t, strings.TrimPrefix(town.here.URL, "http://"))
	town.mail = startMail(t)
	town.shop = startShop(t, town.mail)
	return town
}

func newHouse(t *testing.T, origin string) *house {
	t.Helper()
	h := &house{Daemon: daemontest.Named(t, origin), t: t}
	permit, err := policy.Open("tests/operator/policies", policy.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	must(t, err)
	contracts, err := agent.OpenContracts("tests/operator/contracts")
	must(t, err)
	note := runtime.NewFunc(runtime.Spec{Name: "note", Action: "take_note", Schema: []byte(`{"type":"object","required":["ticket"]}`)},
		func(_ context.Context, _ *runtime.Call, in map[string]any) (string, error) {
			return fmt.Sprintf("noted %v", in["ticket"]), nil
		})
	cfg := runtime.Config{Permit: permit, Contracts: contracts.For, Tools: []runtime.Tool{note}}
	h.Trade(daemontest.Trading{Runtime: cfg, Server: func(c *server.Config) {
		if c.Agents != nil {
			h.host = c.Agents
		}
	}})
	h.agent = h.Grant(daemontest.Agent, api.RightAct)
	return h
}

// settings are what the tests in Python are told.
func (town *town) settings() map[string]any {
	pinned := filepath.Join(town.t.TempDir(), "pinned.json")
	trust := town.here.trust([]bundle.PinnedActor{{Name: town.here.Dir.Runtime, Role: evidence.RoleRuntime, Key: town.here.Key.Public()}})
	must(town.t, os.WriteFile(pinned, trust, 0o600))
	side := func(h *house) map[string]any {
		return map[string]any{
			"server": h.URL, "token": h.agent, "reader": h.Grant(daemontest.Agent, api.RightAct, api.RightRead, api.RightPayloads),
			"to": evidence.Recipient{Origin: h.Ledger.Origin(), Actor: daemontest.Agent, Key: h.Key.Public().Thumbprint()},
		}
	}
	return map[string]any{"here": side(town.here), "there": side(town.there), "socket": "unix:" + town.socket, "human": town.human.URL, "pinned": pinned}
}

// trust is the daemon's trust file, with actors pinned.
func (h *house) trust(pinned []bundle.PinnedActor) []byte {
	h.t.Helper()
	trust, err := h.Ledger.Trust()
	must(h.t, err)
	trust.Ledgers[0].Actors = pinned
	b, err := trust.Marshal()
	must(h.t, err)
	return b
}

// answer has the human answer about an authorization.
func (h *house) answer(key *evidence.PrivateKey, approve bool, about string) error {
	id, err := evidence.ParseID(about)
	if err != nil {
		return err
	}
	asked, err := h.Ledger.Get(context.Background(), id)
	if err != nil {
		return err
	}
	b := &evidence.Approval{Answer: evidence.Refuse}
	if approve {
		b = &evidence.Approval{Answer: evidence.Approve, Until: evidence.TimeOf(time.Now().Add(time.Hour))}
	}
	n := h.Ledger.Registry().Number()
	entry, err := evidence.Sign(&evidence.Record{
		Origin: h.Ledger.Origin(), Kind: b.Kind(), Run: asked.Record.Run, About: id, Registry: &n, Actor: "mia", Time: evidence.TimeOf(time.Now()), Body: b,
	}, key)
	if err == nil {
		_, err = h.Ledger.Append(context.Background(), entry)
	}
	return err
}

// runs are the runs of the ledger.
func (h *house) runs() (all []evidence.RunID) {
	h.t.Helper()
	for p, err := range h.Ledger.Find(h.t.Context(), ledger.Filter{Kind: evidence.KindRunOpened}) {
		must(h.t, err)
		all = append(all, p.Record.Run)
	}
	return all
}

func (h *house) kinds(run evidence.RunID) map[evidence.Kind]int {
	h.t.Helper()
	n := make(map[evidence.Kind]int)
	for p, err := range h.Ledger.Run(h.t.Context(), run) {
		must(h.t, err)
		n[p.Record.Kind]++
	}
	return n
}

func (h *house) audit(run evidence.RunID) *audit.Report {
	h.t.Helper()
	var b bytes.Buffer
	must(h.t, h.Ledger.Export(h.t.Context(), &b, ledger.ExportOptions{Run: run}))
	trust, err := h.Ledger.Trust()
	must(h.t, err)
	report, err := audit.VerifyBundle(&b, trust, audit.Options{Run: run})
	must(h.t, err)
	return report
}

// verified wants what `verify` says of the run's bundle to be 0.
func (h *house) verified(run evidence.RunID) {
	h.t.Helper()
	report := h.audit(run)
	if report.ExitCode() != 0 {
		h.t.Errorf("verify: exit code %d of %s: %+v", report.ExitCode(), run, report.Rules)
	}
}

// sound has a run audited: no rule is broken but that a claim, or a run that ended, may be
// what the evidence does not support.
func (h *house) sound(run evidence.RunID) {
	h.t.Helper()
	for _, r := range h.audit(run).Rules {
		if r.Status == audit.Broken && r.Rule != audit.RuleClaim && r.Rule != audit.RuleContract {
			for _, f := range r.Findings {
				h.t.Errorf("the audit of %s: %s", run, f.String())
			}
		}
	}
}

// bridge is a socket that leads to an address.
func bridge(t *testing.T, address string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledgerd.sock")
	l, err := net.Listen("unix", path)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", address)
			if err != nil {
				_ = from.Close()
				continue
			}
			pipe := func(dst, src net.Conn) { _, _ = io.Copy(dst, src); _ = dst.Close() }
			go pipe(to, from)
			go pipe(from, to)
		}
	}()
	return path
}

// shop pays refunds, once for each idempotency key; and its mailbox tells what the mail
// server took.
type shop struct {
	*httptest.Server
	mu   sync.Mutex
	paid map[string]bool // by idempotency key; guarded by mu
}

func startShop(t *testing.T, mail *mailServer) *shop {
	s := &shop{paid: make(map[string]bool)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /refunds", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.paid[r.Header.Get("Idempotency-Key")] = true
		_, _ = io.WriteString(w, `{"id": "refund-1"}`)
	})
	mux.HandleFunc("GET /messages/{id}", func(w http.ResponseWriter, r *http.Request) {
		if !mail.has(r.PathValue("id")) {
			http.NotFound(w, r)
		}
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *shop) refunds() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.paid)
}

// mailServer takes messages by SMTP (RFC 5321), and keeps each, one that it had before too.
type mailServer struct {
	net.Listener
	mu    sync.Mutex
	ids   []string // Message-IDs; guarded by mu
	taken func()   // called once a message is the server's, before the client hears of it; guarded by mu
}

func startMail(t *testing.T) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := &mailServer{Listener: l}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.session(textproto.NewConn(c))
		}
	}()
	return s
}

func (s *mailServer) address() string { return s.Addr().String() }

func (s *mailServer) onTaken(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = f
}

func (s *mailServer) messages() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ids)
}

func (s *mailServer) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.ids {
		if one == id {
			return true
		}
	}
	return false
}

func (s *mailServer) session(c *textproto.Conn) {
	defer c.Close()
	err := c.PrintfLine("220 localhost ESMTP")
	for err == nil {
		var line string
		if line, err = c.ReadLine(); err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(line, " "); strings.ToUpper(verb) {
		case "DATA":
			_ = c.PrintfLine("354 go on")
			header, e := c.ReadMIMEHeader()
			if e != nil {
				return
			}
			if _, e = c.ReadDotBytes(); e != nil {
				return
			}
			s.mu.Lock()
			s.ids = append(s.ids, header.Get("Message-ID"))
			taken := s.taken
			s.mu.Unlock()
			if taken != nil {
				taken()
				return
			}
			err = c.PrintfLine("250 OK")
		case "QUIT":
			_ = c.PrintfLine("221 bye")
			return
		default:
			err = c.PrintfLine("250 localhost")
		}
	}
}
