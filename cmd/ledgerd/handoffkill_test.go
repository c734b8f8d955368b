package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/datadir"
	"ledgerd/ledger"
	"ledgerd/runtime"
)

// partner is one organisation of TestHandoffsSurviveKills.
type partner struct {
	t       *testing.T
	dir     string
	agent   string
	address string // of the inbox
	daemon  *process
}

func newPartner(t *testing.T, origin, agent string) *partner {
	t.Helper()
	p := &partner{t: t, dir: filepath.Join(t.TempDir(), "ledger"), agent: agent}
	_, err := datadir.Init(t.Context(), p.dir, datadir.InitOptions{Origin: origin, Runtime: "runtime", Now: time.Now()})
	p.must(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	p.must(err)
	p.address = ln.Addr().String()
	p.must(ln.Close())
	p.open(func(l *datadir.Ledger) {
		root, err := l.Dir.Root()
		p.must(err)
		_, err = l.Register(t.Context(), root, &evidence.ActorRegistered{Name: agent, Role: evidence.RoleAgent, Host: "runtime"})
		p.must(err)
	})
	return p
}

func (p *partner) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// open opens the ledger while no daemon has it.
func (p *partner) open(f func(l *datadir.Ledger)) {
	p.t.Helper()
	d, err := datadir.Open(p.dir)
	p.must(err)
	l, err := d.Ledger(p.t.Context(), datadir.Options{Logger: quiet()})
	p.must(err)
	f(l)
	p.must(l.Close())
}

// names makes the other a peer.
func (p *partner) names(other *partner) {
	p.t.Helper()
	var trust []byte
	other.open(func(l *datadir.Ledger) {
		t, err := l.Trust()
		p.must(err)
		trust, err = t.Marshal()
		p.must(err)
	})
	p.open(func(l *datadir.Ledger) {
		peers, err := l.Peers()
		p.must(err)
		_, err = peers.Add(api.Peer{URL: "http://" + other.address, Trust: trust}, time.Now())
		p.must(err)
	})
}

// offers makes offers to the other's agent, without a daemon: one that starts later
// finds them in the ledger.
func (p *partner) offers(n int, to evidence.Recipient) map[evidence.ID]string {
	p.t.Helper()
	all := make(map[evidence.ID]string)
	p.open(func(l *datadir.Ledger) {
		key, err := l.Dir.Key("runtime")
		p.must(err)
		search := runtime.NewFunc(runtime.Spec{Name: "search", Action: "search", Idempotent: true},
			func(context.Context, *runtime.Call, map[string]string) (string, error) { return "7 rows", nil })
		rt, err := runtime.New(runtime.Config{
			Ledger: runtime.Embedded{Ledger: l.Ledger}, Origin: l.Origin(), Actor: "runtime", Key: key, Tools: []runtime.Tool{search},
			Permit: runtime.PermitterFunc(func(context.Context, *runtime.PermissionRequest) (runtime.Permission, error) {
				return runtime.Permission{Effect: evidence.Allow, Mode: evidence.Enforce, Policies: []string{"all"}}, nil
			}),
		})
		p.must(err)
		for i := range n {
			run, err := rt.Open(p.t.Context(), fmt.Sprint("research-", i), runtime.As(p.agent), runtime.Task("research", nil))
			p.must(err)
			found, err := run.Do(p.t.Context(), runtime.Action{Step: "search", Tool: "search", Resource: "db", Input: []byte(`{}`)})
			p.must(err)
			offer, err := run.Offer(p.t.Context(), runtime.Offering{
				To: to, Task: "analyse", Scope: []evidence.ScopeEntry{{Action: "chart", Resource: "*"}}, Evidence: []evidence.ID{found.Execution},
			})
			p.must(err)
			all[offer] = fmt.Sprint("analysis-", i)
			run.Leave(p.t.Context())
		}
	})
	return all
}

func (p *partner) start() {
	p.t.Helper()
	p.daemon = start(p.t, p.dir, "--handoffs", p.address)
}

func (p *partner) kill() {
	p.t.Helper()
	p.must(p.daemon.Process.Kill())
	<-p.daemon.read
	_ = p.daemon.Wait()
}

func (p *partner) client() *client.Client {
	p.t.Helper()
	token, err := os.ReadFile(filepath.Join(p.dir, "admin.token"))
	p.must(err)
	c, err := client.New(p.daemon.url, client.Options{Token: string(bytes.TrimSpace(token))})
	p.must(err)
	return c
}

func marshal(v any) []byte {
	b, _ := json.MarshalIndent(v, "", " ")
	return b
}

// TestHandoffsSurviveKills: two daemons are killed over and over while they hand over;
// in the end every offer was accepted once, and both ledgers say so.
func TestHandoffsSurviveKills(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills daemons for a while")
	}
	g, r := newPartner(t, "ledger.example/research", "scout"), newPartner(t, "ledger.example/analysis", "analyst")
	g.names(r)
	r.names(g)
	var to evidence.Recipient
	r.open(func(l *datadir.Ledger) {
		key, err := l.Dir.Key("runtime")
		r.must(err)
		to = evidence.Recipient{Origin: l.Origin(), Actor: r.agent, Key: key.Public().Thumbprint()}
	})
	offers := g.offers(6, to)
	g.start()
	r.start()
	// The agent accepts what waits. What fails, because its daemon was killed or the
	// other one asked first, it does again.
	var refused []error // of the last time
	accept := func() {
		c := r.client()
		all, err := c.Handoffs(t.Context(), nil)
		refused = []error{err}
		if err != nil {
			return
		}
		for _, w := range all.Waiting {
			_, err = c.OpenRun(t.Context(), offers[w.Offer], api.OpenRun{Agent: r.agent, Task: "analyse", Continues: &w.Offer})
			refused = append(refused, err)
		}
	}
	done := func() bool {
		all, err := g.client().Handoffs(t.Context(), nil)
		if err != nil {
			return false
		}
		back := make(map[evidence.ID]bool)
		for _, h := range all.Handoffs {
			if h.Kind == evidence.KindHandoffAccepted {
				back[h.Offer] = true
			}
		}
		return len(back) == len(offers)
	}
	for range 8 {
		victim := []*partner{g, r}[rand.N(2)]
		time.Sleep(rand.N(200 * time.Millisecond))
		accept()
		time.Sleep(rand.N(50 * time.Millisecond))
		victim.kill()
		victim.start()
	}
	for end := time.Now().Add(60 * time.Second); !done(); time.Sleep(100 * time.Millisecond) {
		if accept(); time.Now().After(end) {
			gave, _ := g.client().Handoffs(t.Context(), nil)
			got, _ := r.client().Handoffs(t.Context(), nil)
			t.Fatalf("not every offer was answered: %v\ngiver: %s\n%s\nreceiver: %s\n%s", errors.Join(refused...), marshal(gave), g.daemon.stderr, marshal(got), r.daemon.stderr)
		}
	}
	g.kill()
	r.kill()
	for _, p := range []*partner{g, r} {
		p.open(func(l *datadir.Ledger) {
			seen := make(map[evidence.ID]int)
			for at, err := range l.Find(t.Context(), ledger.Filter{Kind: evidence.KindHandoffAccepted}) {
				p.must(err)
				seen[at.Record.Body.(*evidence.HandoffAccepted).Offer]++
			}
			for offer := range offers {
				if seen[offer] != 1 {
					t.Errorf("%s has %d acceptances of %s", l.Origin(), seen[offer], offer)
				}
			}
			for at, err := range l.Find(t.Context(), ledger.Filter{Kind: evidence.KindHandoffRejected}) {
				p.must(err)
				b, _ := json.Marshal(at.Record.Body)
				t.Errorf("%s rejected: %s", l.Origin(), b)
			}
			report, err := l.Check(t.Context(), nil)
			p.must(err)
			if len(report.Differences) > 0 {
				t.Errorf("%s: %v", l.Origin(), report.Differences)
			}
		})
	}
}
