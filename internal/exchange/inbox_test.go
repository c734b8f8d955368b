package exchange_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/api"
	"ledgerd/internal/exchange"
	"ledgerd/internal/server"
	"ledgerd/ledger"
)

// bundleOf exports an offer of this side.
func (s *side) bundleOf(offer evidence.ID) []byte {
	s.t.Helper()
	var b bytes.Buffer
	s.must(s.Ledger.Export(ctx, &b, ledger.ExportOptions{Offer: offer}))
	return b.Bytes()
}

// refused posts a bundle and wants it refused.
func (s *side) refused(b []byte, status int, reason string) *api.Problem {
	s.t.Helper()
	got, p := s.deliver(b)
	if got != status || p.Reason != reason {
		s.t.Errorf("want %d %s, found %d %s: %s", status, reason, got, p.Reason, p.Detail)
	}
	return p
}

// strangers are a giver who does not know the receiver, so that nothing is sent but
// what a test posts, and a receiver who knows the giver.
func strangers(t *testing.T, change func(*exchange.Config)) (g, r *side) {
	t.Helper()
	g, r = newSide(t, research, nil), newSide(t, analysis, change)
	r.knows(g)
	return g, r
}

// TestOnce: a bundle that is known is answered as before, and verified no more.
func TestOnce(t *testing.T) {
	g, r := strangers(t, nil)
	offer := g.offers("research-1", r)
	b := g.bundleOf(offer)
	for range 3 {
		if status, p := r.deliver(b); status != http.StatusAccepted {
			t.Fatalf("%d %+v", status, p)
		}
	}
	free := r.Exchange.Occupy()
	if status, p := r.deliver(b); status != http.StatusAccepted {
		t.Errorf("while nothing can be verified: %d %+v", status, p)
	}
	free()
	state, err := r.continues("analysis-1", offer)
	r.must(err)
	if status, p := r.deliver(b); status != http.StatusAccepted {
		t.Errorf("once it was accepted: %d %+v", status, p)
	}
	if len(r.list().Waiting) != 0 {
		t.Error("it waits again")
	}
	_, err = r.continues("analysis-2", offer)
	var p *api.Problem
	if !errors.As(err, &p) || p.Status != http.StatusConflict || p.Reason != "handoff_already_accepted" || p.Stands == nil || *p.Stands != state.Continues.Acceptance {
		t.Errorf("accepted for another run: %v", err)
	}
	if n := len(r.records(evidence.KindHandoffAccepted, offer)); n != 1 {
		t.Errorf("%d acceptances", n)
	}
	// The acceptance, sent back twice, is recorded once.
	g.knows(r)
	var back bytes.Buffer
	r.must(r.Ledger.Export(ctx, &back, ledger.ExportOptions{Record: state.Continues.Acceptance}))
	for range 2 {
		if status, p := g.deliver(back.Bytes()); status != http.StatusOK {
			t.Fatalf("%d %+v", status, p)
		}
	}
	if n := len(g.records(evidence.KindHandoffAccepted, offer)); n != 1 {
		t.Errorf("%d acceptances came back", n)
	}
}

// TestManyAtOnce: of those who accept at once, for two runs, those for one succeed.
func TestManyAtOnce(t *testing.T) {
	g, r := strangers(t, nil)
	offer := g.offers("research-1", r)
	r.deliver(g.bundleOf(offer))
	var took [2]atomic.Int64
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			_, err := r.continues(fmt.Sprint("analysis-", i%2), offer)
			var p *api.Problem
			switch {
			case err == nil:
				took[i%2].Add(1)
			case !errors.As(err, &p) || p.Reason != "handoff_already_accepted":
				t.Errorf("refused: %v", err)
			}
		})
	}
	all.Wait()
	if a, b := took[0].Load(), took[1].Load(); a*b != 0 || a+b != 6 {
		t.Errorf("%d accepted for one run, and %d for the other", a, b)
	}
	if n := len(r.records(evidence.KindHandoffAccepted, offer)); n != 1 {
		t.Errorf("%d acceptances", n)
	}
}

// TestRefused: what does not hold up is refused with the reason, and recorded once
// where the giver's ledger signed what shows it.
func TestRefused(t *testing.T) {
	g, r := strangers(t, nil)
	g.work("research-1")
	offer := func(change func(*api.MakeOffer)) evidence.ID {
		t.Helper()
		o := g.offering(r)
		change(&o)
		made, err := g.agent.Offer(ctx, "research-1", o)
		g.must(err)
		return made.Offer
	}
	bare := offer(func(o *api.MakeOffer) { o.Steps = nil })
	for range 2 {
		r.refused(g.bundleOf(bare), 422, "handoff_no_evidence")
	}
	if found := r.records(evidence.KindHandoffRejected, bare); len(found) != 1 || found[0].Reason != "no_evidence" || found[0].Actor != r.receiver().Actor {
		t.Errorf("the rejection: %+v", found)
	}
	for name, change := range map[string]func(*api.MakeOffer){
		"unknown":     func(o *api.MakeOffer) { o.To.Actor = "nobody" },
		"another key": func(o *api.MakeOffer) { o.To.Key = g.Key.Public().Thumbprint() },
		"the runtime": func(o *api.MakeOffer) { o.To.Actor = "runtime" },
		"elsewhere":   func(o *api.MakeOffer) { o.To.Origin = "ledger.example/elsewhere" },
	} {
		t.Log(name)
		r.refused(g.bundleOf(offer(change)), 422, "handoff_wrong_audience")
	}
	good := offer(func(*api.MakeOffer) {})
	b := g.bundleOf(good)
	// What was done to a bundle on the way is nobody's word.
	tampered := bytes.Replace(b, []byte(`"data":"`), []byte(`"data":"A`), 1)
	for at := bytes.Index(b, []byte(`"data":"`)) + 8; bytes.Equal(tampered[:at], b[:at]) && at < len(b); at++ {
		tampered = bytes.Clone(b)
		if tampered[at]++; tampered[at] >= 'A' && tampered[at] <= 'Y' {
			break
		}
	}
	if got, p := r.deliver(tampered); got != 422 && got != 400 {
		t.Errorf("a payload was changed: %d %+v", got, p)
	}
	i := bytes.LastIndex(b, []byte(`"jws":"`)) + 200
	for _, at := range []int{i, i + 50, len(b) - 40} {
		changed := bytes.Clone(b)
		changed[at] ^= 1
		if got, p := r.deliver(changed); got != 422 && got != 400 {
			t.Errorf("byte %d was changed: %d %+v", at, got, p)
		}
	}
	if found := r.records(evidence.KindHandoffRejected, good); len(found) != 0 {
		t.Errorf("recorded of an offer that nobody but a stranger spoiled: %+v", found)
	}
	r.refused(b[:len(b)/2], 400, api.ReasonMalformed)
	if status, _ := r.deliver(b); status != http.StatusAccepted {
		t.Errorf("the offer itself: %d", status)
	}
	r.refused([]byte("{}\n"), 400, api.ReasonMalformed)
	r.refused(nil, 400, api.ReasonMalformed)
}

// dial opens a connection to the inbox.
func (s *side) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.Inbox, "http://"))
	s.must(err)
	s.t.Cleanup(func() { _ = c.Close() })
	s.must(c.SetDeadline(time.Now().Add(30 * time.Second)))
	return c
}

// begun begins a post, and returns the status of the answer.
func (s *side) begun(length int, body []byte) int {
	s.t.Helper()
	c := s.dial()
	_, err := fmt.Fprintf(c, "POST /v1/handoffs HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", api.MediaBundle, length, body)
	s.must(err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	s.must(err)
	s.must(resp.Body.Close())
	return resp.StatusCode
}

// lines returns the first n lines of a bundle.
func lines(b []byte, n int) []byte {
	return bytes.Join(bytes.SplitAfterN(b, []byte("\n"), n+1)[:n], nil)
}

// TestStrangersAreNotRead: who is no peer hears so after the lines that say it,
// whatever else is to come.
func TestStrangersAreNotRead(t *testing.T) {
	g, r := strangers(t, nil)
	other := newSide(t, "ledger.example/other", nil)
	b := g.bundleOf(g.offers("research-1", r))
	const much = 10 << 20
	if got := r.begun(much, lines(other.bundleOf(other.offers("research-1", r)), 1)); got != 403 {
		t.Errorf("another ledger's header: want 403, found %d", got)
	}
	// A peer's name, and a stranger's key.
	forged := newSide(t, research, nil)
	if got := r.begun(much, lines(forged.bundleOf(forged.offers("research-1", r)), 2)); got != 403 {
		t.Errorf("a header of a peer and the head of another log: want 403, found %d", got)
	}
	if got := r.begun(much, []byte(`{"bundle":"v1"}`+"\n")); got != 400 {
		t.Errorf("no header: want 400, found %d", got)
	}
	if got := r.begun(17<<20, nil); got != 413 {
		t.Errorf("too large: want 413, found %d", got)
	}
	// Too large without saying so.
	status, _ := send(t, "POST", r.Inbox+api.PathHandoffs, api.MediaBundle, "", io.MultiReader(bytes.NewReader(lines(b, 3)), strings.NewReader(strings.Repeat("x", 17<<20))))
	if status != 413 {
		t.Errorf("too large, chunked: want 413, found %d", status)
	}
	for method, want := range map[string]int{"GET": 405, "PUT": 405} {
		if got, _ := send(t, method, r.Inbox+api.PathHandoffs, api.MediaBundle, "", nil); got != want {
			t.Errorf("%s: want %d, found %d", method, want, got)
		}
	}
	if got, _ := send(t, "POST", r.Inbox+api.PathHandoffs, "application/json", "", strings.NewReader("{}")); got != 415 {
		t.Errorf("JSON: want 415, found %d", got)
	}
	for _, path := range []string{api.PathRecords, api.PathRuns, api.PathTokens, api.PathTrust, api.PathOpenAPI, api.PathMetrics, api.PathHead} {
		if got, _ := send(t, "GET", r.Inbox+path, "", r.Token, nil); got != 404 {
			t.Errorf("GET %s at the inbox: want 404, found %d", path, got)
		}
	}
	if got, _ := send(t, "POST", r.Inbox+api.PathRecords, api.MediaJOSE, r.Token, strings.NewReader("x")); got != 404 {
		t.Errorf("a record at the inbox: want 404, found %d", got)
	}
	if got, _ := send(t, "GET", r.Inbox+api.PathHealth, "", "", nil); got != 200 {
		t.Errorf("the probe: %d", got)
	}
	if got, _ := send(t, "POST", r.URL+api.PathHandoffs, api.MediaBundle, r.Token, bytes.NewReader(b)); got != 405 {
		t.Errorf("a handoff at the daemon's own listener: want 405, found %d", got)
	}
}

// TestSource: who gets many addresses of IPv6 is one sender all the same.
func TestSource(t *testing.T) {
	for a, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := exchange.SourceOf(netip.MustParseAddr(a)).String(); got != want {
			t.Errorf("%s: want %s, found %s", a, want, got)
		}
	}
}

// TestSlowBody: a bundle that does not come is not waited for.
func TestSlowBody(t *testing.T) {
	g, r := strangers(t, nil)
	b := g.bundleOf(g.offers("research-1", r))
	r.end()
	r.how.Server = func(c *server.Config) { c.Limits = server.Limits{BodyGrace: 300 * time.Millisecond} }
	r.start()
	for _, some := range [][]byte{nil, b[:10], lines(b, 1), lines(b, 4)} {
		if got := r.begun(len(b), some); got != http.StatusRequestTimeout {
			t.Errorf("%d bytes: want 408, found %d", len(some), got)
		}
	}
}

// TestQuotas: of offers that wait, of bytes a day, and of an address that sends what
// does not verify.
func TestQuotas(t *testing.T) {
	t.Run("waiting", func(t *testing.T) {
		g, r := strangers(t, func(c *exchange.Config) { c.Quotas.Waiting = 2 })
		for i := range 2 {
			if status, p := r.deliver(g.bundleOf(g.offers(fmt.Sprint("research-", i), r))); status != http.StatusAccepted {
				t.Fatalf("%d %+v", status, p)
			}
		}
		third := g.bundleOf(g.offers("research-3", r))
		r.refused(third, 429, api.ReasonQuota)
		_, err := r.agent.RejectOffer(ctx, r.list().Waiting[0].Offer, "busy")
		r.must(err)
		if status, p := r.deliver(third); status != http.StatusAccepted {
			t.Errorf("once there is room: %d %+v", status, p)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		g, r := strangers(t, func(c *exchange.Config) { c.Quotas.Bytes = 1000 })
		first := g.offers("research-1", r)
		if status, p := r.deliver(g.bundleOf(first)); status != http.StatusAccepted {
			t.Fatalf("%d %+v", status, p)
		}
		second := g.bundleOf(g.offers("research-2", r))
		r.refused(second, 429, api.ReasonQuota)
		// It is the day's, also where nothing waits; and what waits counts after a restart.
		_, err := r.agent.RejectOffer(ctx, first, "busy")
		r.must(err)
		r.refused(second, 429, api.ReasonQuota)
		r.end()
		r.start()
		if status, p := r.deliver(second); status != http.StatusAccepted {
			t.Fatalf("%d %+v", status, p)
		}
		r.end()
		r.start()
		r.refused(g.bundleOf(g.offers("research-3", r)), 429, api.ReasonQuota)
	})
	t.Run("failures", func(t *testing.T) {
		g, r := strangers(t, func(c *exchange.Config) { c.Quotas.Failures = 3 })
		good := g.bundleOf(g.offers("research-1", r))
		for range 3 {
			r.refused([]byte("{}\n"), 400, api.ReasonMalformed)
		}
		r.refused(good, 429, api.ReasonQuota)
		resp, err := http.Post(r.Inbox+api.PathHandoffs, api.MediaBundle, bytes.NewReader(good))
		r.must(err)
		r.must(resp.Body.Close())
		if resp.Header.Get("Retry-After") == "" {
			t.Error("it does not say when to come again")
		}
	})
}

// TestFlood: no more is verified at a time than may be; the rest hears so, and
// everything that was sent arrives in the end.
func TestFlood(t *testing.T) {
	g, r := strangers(t, nil)
	var bundles [][]byte
	for i := range 4 {
		bundles = append(bundles, g.bundleOf(g.offers(fmt.Sprint("research-", i), r)))
	}
	free := r.Exchange.Occupy()
	var busy atomic.Int64
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if status, p := r.deliver(bundles[i%4]); status == http.StatusServiceUnavailable && p.Reason == api.ReasonBusy {
				busy.Add(1)
			}
		})
	}
	all.Wait()
	if busy.Load() != 40 {
		t.Errorf("%d of 40 were told that it is busy", busy.Load())
	}
	free()
	for range 40 {
		all.Go(func() { r.deliver(bundles[0]); r.deliver(bundles[1]); r.deliver(bundles[2]); r.deliver(bundles[3]) })
	}
	all.Wait()
	for _, b := range bundles {
		if status, p := r.deliver(b); status != http.StatusAccepted {
			t.Errorf("%d %+v", status, p)
		}
	}
	if n := len(r.list().Waiting); n != 4 {
		t.Errorf("%d offers wait", n)
	}
}

// TestRejectedByTheAgent: what an agent does not want is on record, waits no more, and
// does not come again.
func TestRejectedByTheAgent(t *testing.T) {
	g, r := strangers(t, nil)
	offer := g.offers("research-1", r)
	b := g.bundleOf(offer)
	r.deliver(b)
	if _, err := r.agent.RejectOffer(ctx, offer, ""); err == nil {
		t.Error("rejected for nothing")
	}
	if _, err := r.agent.RejectOffer(ctx, offer, string(handoff.Rule)); err == nil {
		t.Error("rejected for what is not so")
	}
	first, err := r.agent.RejectOffer(ctx, offer, "no-time")
	r.must(err)
	again, err := r.agent.RejectOffer(ctx, offer, "no-time")
	r.must(err)
	if first.Rejection != again.Rejection {
		t.Error("rejected twice")
	}
	if status, _ := r.deliver(b); status != http.StatusAccepted || len(r.list().Waiting) != 0 {
		t.Errorf("sent again: %d, and %d wait", status, len(r.list().Waiting))
	}
	if _, err := r.continues("analysis-1", offer); err == nil {
		t.Error("accepted after it was rejected")
	}
}

// TestWhoSees: an offer is shown to the agent that it is for, and to who may read; what
// is handed over needs the right to payloads.
func TestWhoSees(t *testing.T) {
	g, r := strangers(t, nil)
	offer := g.offers("research-1", r)
	r.deliver(g.bundleOf(offer))
	r.Actor("clerk", evidence.RoleAgent)
	path := strings.Replace(api.PathHandoff, "{offer}", offer.String(), 1)
	for name, c := range map[string]struct {
		token               string
		status, bundle      int
		opened, mayContinue bool
	}{
		"the agent":     {r.token, 200, 200, true, true},
		"another agent": {r.Grant("clerk", api.RightAct), 403, 403, false, false},
		"a reader":      {r.Grant("clerk", api.RightRead), 200, 403, false, false},
		"an auditor":    {r.Grant("clerk", api.RightRead, api.RightPayloads), 200, 200, true, false},
		"nobody":        {"", 401, 401, false, false},
	} {
		status, text := send(t, "GET", r.URL+path, "", c.token, nil)
		if status != c.status || strings.Contains(text, "All checked.") != c.opened || strings.Contains(text, `"rows"`) != c.opened {
			t.Errorf("%s: want %d, found %d %s", name, c.status, status, text)
		}
		if status, _ := send(t, "GET", r.URL+path+"/bundle", "", c.token, nil); status != c.bundle {
			t.Errorf("%s: the bundle: want %d, found %d", name, c.bundle, status)
		}
		body, err := json.Marshal(api.OpenRun{Task: "analyse", Agent: r.receiver().Actor, Continues: &offer})
		r.must(err)
		if !c.mayContinue {
			if status, _ := send(t, "POST", r.URL+path+"/reject", "application/json", c.token, strings.NewReader(`{"because":"spite"}`)); status != 401 && status != 403 {
				t.Errorf("%s rejects: %d", name, status)
			}
			if status, _ := send(t, "PUT", r.URL+"/v1/runs/stolen", "application/json", c.token, bytes.NewReader(body)); status != 401 && status != 403 {
				t.Errorf("%s accepts: %d", name, status)
			}
		}
	}
	if n := len(r.records(evidence.KindHandoffAccepted, offer)); n != 0 {
		t.Errorf("%d acceptances", n)
	}
}

// TestRunOfSomethingElse: nothing is accepted for a run that continues nothing.
func TestRunOfSomethingElse(t *testing.T) {
	g, r := strangers(t, nil)
	offer := g.offers("research-1", r)
	r.deliver(g.bundleOf(offer))
	r.work("analysis-1")
	_, err := r.continues("analysis-1", offer)
	var p *api.Problem
	if !errors.As(err, &p) || p.Reason != api.ReasonChanged {
		t.Errorf("want %s, found %v", api.ReasonChanged, err)
	}
	if n := len(r.records(evidence.KindHandoffAccepted, offer)); n != 0 {
		t.Errorf("%d acceptances", n)
	}
}

// TestSaysNoSecret: no token, artifact, note or salt is in the log.
func TestSaysNoSecret(t *testing.T) {
	var said syncBuffer
	log := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g := newSide(t, research, func(c *exchange.Config) { c.Logger = log })
	r := newSide(t, analysis, func(c *exchange.Config) { c.Logger = log })
	for _, s := range []*side{g, r} { // the listeners' log, too
		s.end()
		s.how.Server = func(c *server.Config) { c.Logger = log }
		s.start()
	}
	g.knows(r)
	r.knows(g)
	offer := g.offers("research-1", r)
	r.waits(offer)
	_, err := r.continues("analysis-1", offer)
	r.must(err)
	g.until("the acceptance came back", func() bool { return len(g.records(evidence.KindHandoffAccepted, offer)) == 1 })
	g.work("research-2")
	bare := g.offering(r)
	bare.Steps, bare.Note = nil, "nothing was done"
	_, err = g.agent.Offer(ctx, "research-2", bare)
	r.must(err)
	r.until("it was refused", func() bool { return strings.Contains(said.String(), "handoff_no_evidence") })
	for _, secret := range []string{"rows", "All checked", "nothing was done", g.token, r.token, g.Token, r.Token, `"salt"`} {
		if strings.Contains(said.String(), secret) {
			t.Errorf("the log says %q:\n%s", secret, said.String())
		}
	}
	if !strings.Contains(said.String(), "an offer waits") || !strings.Contains(said.String(), "a handoff was delivered") {
		t.Errorf("the log says little:\n%s", said.String())
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestSender: it goes to the URL and nowhere else, and keeps a peer's words short.
func TestSender(t *testing.T) {
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	t.Setenv("HTTP_PROXY", other.URL)
	t.Setenv("http_proxy", other.URL)
	says := map[string]http.HandlerFunc{
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		},
		"shouts": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(422)
			_ = json.NewEncoder(w).Encode(api.NewProblem(422, "handoff_rule", "%s", strings.Repeat("\x1b[31m", 10<<10)))
		},
		"babbles": func(w http.ResponseWriter, _ *http.Request) {
			for some := bytes.Repeat([]byte("x"), 1<<20); ; {
				if _, err := w.Write(some); err != nil {
					return
				}
			}
		},
		"no daemon": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) },
	}
	for name, f := range says {
		peer := httptest.NewServer(f)
		_, err := exchange.NewSender(nil).Send(context.Background(), peer.URL, []byte("x"))
		peer.Close()
		var p *api.Problem
		if err == nil || len(err.Error()) > 2000 || errors.As(err, &p) && len(p.Detail) > 600 {
			t.Errorf("%s: %.100v", name, err)
		}
	}
	if elsewhere != 0 {
		t.Errorf("%d requests went elsewhere", elsewhere)
	}
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"offer":"ev_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE","state":"received"}`)
	}))
	defer secure.Close()
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if _, err := exchange.NewSender(nil).Send(context.Background(), secure.URL, []byte("x")); err == nil {
		t.Error("sent to whom nobody vouches for")
	}
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	if got, err := exchange.NewSender(&tls.Config{RootCAs: pool}).Send(context.Background(), secure.URL, []byte("x")); err != nil || got.State != api.StateReceived {
		t.Errorf("by TLS: %+v %v", got, err)
	}
	for _, url := range []string{strings.Replace(other.URL, "http://", "http://user:secret@", 1), other.URL + "/?x=1", other.URL + "#x"} {
		if _, err := exchange.NewSender(nil).Send(context.Background(), url, nil); err == nil || elsewhere != 0 {
			t.Errorf("sent to %s", url)
		}
	}
	for _, url := range []string{"http://handoffs.example", "ftp://127.0.0.1", "https://user:secret@handoffs.example", "https://handoffs.example/?x=1", "https://", "file:///etc/passwd", "//x"} {
		if err := exchange.CheckURL(url); err == nil {
			t.Errorf("%s is taken", url)
		}
		if _, err := exchange.NewSender(nil).Send(context.Background(), url, nil); err == nil {
			t.Errorf("sent to %s", url)
		}
	}
}
