package mcp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/daemontest"
)

// refuse has the human say no to what waits.
func (h *house) refuse(run evidence.RunID, about evidence.ID) {
	h.t.Helper()
	b := &evidence.Approval{Answer: evidence.Refuse}
	n := h.Ledger.Registry().Number()
	entry, err := evidence.Sign(&evidence.Record{
		Origin: daemontest.Origin, Kind: b.Kind(), Run: run, About: about, Registry: &n, Actor: "mia", Time: evidence.TimeOf(time.Now()), Body: b,
	}, h.human)
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.Client(h.Grant("mia", api.RightApprove)).Append(context.Background(), entry); err != nil {
		h.t.Fatal(err)
	}
}

const refundCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"refund","arguments":{"n":7}}}`

// refunds is a server over HTTP that refunds, and counts it.
func refunds(t testing.TB, done *atomic.Int64) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		m, err := parse(b)
		if err != nil {
			t.Error(err)
			return
		}
		result := `{"tools":[{"name":"refund","inputSchema":{}}]}`
		if m.method == "tools/call" {
			done.Add(1)
			result = `{"content":[{"type":"text","text":"refunded"}]}`
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":`+m.id+`,"result":`+result+`}`)
	}))
	t.Cleanup(s.Close)
	return s
}

// TestEscalation: what waits for a human is told as pending before the client gives up;
// the same call again is the same authorization, whoever asks and whatever was restarted
// meanwhile; her answer is heard once, and her yes is good for one call.
func TestEscalation(t *testing.T) {
	for name, front := range map[string]func(h *house, done *atomic.Int64) func(gateway string) (call func() string){
		"stdio": func(h *house, done *atomic.Int64) func(string) func() string {
			return func(gateway string) func() string {
				r := h.front(h.config(gateway), scripted([]string{"refund"}, func(m *message, say func(string)) {
					done.Add(1)
					say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":{"content":[{"type":"text","text":"refunded"}]}}`)
				}))
				return func() string { r.send(refundCall); return r.next() }
			}
		},
		"HTTP": func(h *house, done *atomic.Int64) func(string) func() string {
			server := refunds(h.t, done)
			return func(gateway string) func() string {
				_, url := h.handle(h.config(gateway), server)
				return func() string { return mustPost(h.t, url, refundCall) }
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			var done atomic.Int64
			start := front(h, &done)
			gateways := 0
			var call func() string
			restart := func() { gateways++; call = start(fmt.Sprintf("gateway-%d", gateways)) }
			says := func(answer, word string, times int64) evidence.ID {
				t.Helper()
				if !strings.Contains(answer, word) || done.Load() != times {
					t.Errorf("want %q and %d refunds, found %d: %s", word, times, done.Load(), answer)
				}
				id, err := evidence.ParseID(regexp.MustCompile(`ev_[A-Za-z0-9_-]{43}`).FindString(answer))
				if err != nil {
					t.Fatal(err)
				}
				return id
			}
			same := func(x, y evidence.ID) {
				t.Helper()
				if x != y {
					t.Errorf("want the same authorization, found %s and %s", x, y)
				}
			}
			restart()
			first := says(call(), "Pending:", 0)
			same(first, says(call(), "Pending:", 0))
			restart()
			same(first, says(call(), "Pending:", 0))
			run := h.state().Run
			h.approve(run, first)
			restart()
			says(call(), "refunded", 1)

			second := says(call(), "Pending:", 1) // the yes was for one
			if second == first {
				t.Error("one approval for two calls")
			}
			h.refuse(run, second)
			same(second, says(call(), "Denied: a human refused demo/refund.", 1))

			third := says(call(), "Pending:", 1)
			h.refuse(run, third)
			restart()
			same(third, says(call(), "Denied: a human refused demo/refund.", 1))
			if fourth := says(call(), "Pending:", 1); fourth == third {
				t.Error("a question that was answered is asked again")
			}
			h.sound(run)
		})
	}
}

// TestEscalationCancelled: a client that hangs up while a human is asked is not answered by
// a call that nobody waits for. Called again, it goes on where it was.
func TestEscalationCancelled(t *testing.T) {
	h := newHouse(t)
	var done atomic.Int64
	cfg := h.config("gateway-1")
	cfg.Wait = time.Minute
	_, url := h.handle(cfg, refunds(t, &done))
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(refundCall))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	hung := make(chan struct{})
	go func() {
		defer close(hung)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			t.Error("want no answer")
		}
	}()
	for waiting := false; !waiting; time.Sleep(10 * time.Millisecond) {
		st, err := h.Client(h.Token).RunState(context.Background(), "session-1")
		waiting = err == nil && len(st.Waiting) == 1
	}
	cancel()
	<-hung
	for { // until the gateway has noticed
		cfg.Names.mu.Lock()
		busy := cfg.Names.known
		cfg.Names.mu.Unlock()
		if !busy {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	st := h.state()
	h.approve(st.Run, st.Waiting[0].Authorization)
	if done.Load() != 0 {
		t.Error("it was called for nobody")
	}
	if answer := mustPost(t, url, refundCall); !strings.Contains(answer, "refunded") || done.Load() != 1 {
		t.Errorf("%d refunds: %s", done.Load(), answer)
	}
	h.sound(st.Run)
}

// TestEscalationAtOnce: the same call again, while the first one still waits for a human,
// is no second question.
func TestEscalationAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	cfg := h.config("gateway-1")
	cfg.Wait = time.Minute
	r := h.front(cfg, scripted([]string{"refund"}, func(m *message, say func(string)) {
		say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":{"content":[]}}`)
	}))
	call := func(id string) {
		r.send(strings.Replace(strings.Replace(payCall, "pay", "refund", 1), `"id":1`, `"id":`+id, 1))
	}
	call("1")
	for waiting := false; !waiting; time.Sleep(10 * time.Millisecond) {
		st, err := h.Client(h.Token).RunState(t.Context(), "session-1")
		waiting = err == nil && len(st.Waiting) == 1
	}
	time.Sleep(100 * time.Millisecond) // the gateway knows it, too
	call("2")
	if answer := r.next(); !strings.HasPrefix(answer, `{"jsonrpc":"2.0","id":2,`) || !strings.Contains(answer, "Pending: the same call is waiting") {
		t.Error(answer)
	}
	st := h.state()
	if len(st.Waiting) != 1 {
		t.Errorf("want one question, found %+v", st.Waiting)
	}
	h.approve(st.Run, st.Waiting[0].Authorization)
	if answer := r.next(); !strings.HasPrefix(answer, `{"jsonrpc":"2.0","id":1,`) || !strings.Contains(answer, MetaEvidence) {
		t.Error(answer)
	}
	h.sound(st.Run)
}

// TestCancelledWhileAsked: of a call that is cancelled while it is asked for, the gateway
// knows that it was not made, and the same call again is.
func TestCancelledWhileAsked(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	cfg := h.config("gateway-1")
	slow := &slowly{Run: cfg.Run, recorded: make(chan struct{}, 2)}
	cfg.Run = slow
	r := h.front(cfg, scripted([]string{"pay"}, func(m *message, say func(string)) {
		say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":{"content":[]}}`)
	}))
	r.send(payCall)
	<-slow.recorded
	r.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
	time.Sleep(time.Second)
	r.send(strings.Replace(payCall, `"id":1`, `"id":2`, 1))
	if answer := r.next(); !strings.HasPrefix(answer, `{"jsonrpc":"2.0","id":2,`) || !strings.Contains(answer, MetaEvidence) || strings.Contains(answer, "In doubt") {
		t.Error(answer)
	}
	h.recorded("session-1", map[string]string{"demo/pay": "allow not_run allow success "})
}

// slowly is a run whose permissions are recorded, and heard of only later.
type slowly struct {
	Run
	recorded chan struct{}
}

func (s *slowly) AskStep(ctx context.Context, step string, a api.AskStep, wait time.Duration) (*api.Step, error) {
	got, err := s.Run.AskStep(context.WithoutCancel(ctx), step, a, wait)
	s.recorded <- struct{}{}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(300 * time.Millisecond):
		return got, err
	}
}
