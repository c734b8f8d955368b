package mcp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os/exec"
	"regexp"
	goruntime "runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"ledgerd/evidence"
)

const payCall = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"n":1}}}`

// outcomes returns what is recorded of a run's calls, by action, and holds the run to an
// audit. Of a call that was not permitted no outcome is.
func (h *house) outcomes(run string) map[string]string {
	h.t.Helper()
	st, err := h.Client(h.Token).RunState(context.Background(), run)
	if err != nil {
		h.t.Fatal(err)
	}
	got := make(map[string]string)
	action := make(map[evidence.ID]string)
	for p, err := range h.Client(h.Token).Run(context.Background(), st.Run) {
		if err != nil {
			h.t.Fatal(err)
		}
		switch b := p.Record.Body.(type) {
		case *evidence.Authorization:
			action[p.ID] = b.Action
			got[b.Action] += fmt.Sprintf("%s ", b.Effect)
		case *evidence.Execution:
			action[p.ID] = b.Action
			got[b.Action] += fmt.Sprintf("%s ", b.Status)
		case *evidence.Settlement:
			got[action[b.Settles]] += fmt.Sprintf("%s ", b.Finding)
		}
	}
	h.sound(st.Run)
	return got
}

// recorded holds a run to what is recorded of calls, by action: their permissions and
// what came of them, in order.
func (h *house) recorded(run string, want map[string]string) {
	h.t.Helper()
	if got := h.outcomes(run); !maps.Equal(got, want) {
		h.t.Errorf("want the records %v, found %v", want, got)
	}
}

// quiet holds that nothing more comes before the answer to a ping.
func (r *raw) quiet() {
	r.t.Helper()
	r.send(`{"jsonrpc":"2.0","id":"quiet","method":"ping"}`)
	if answer := r.next(); answer != `{"jsonrpc":"2.0","id":"quiet","result":{}}` {
		r.t.Errorf("the client heard %s", answer)
	}
}

// TestServerLies: a server that answers what it was not asked, twice, under another's id,
// or a call that was denied or is yet to be made. The client hears what was recorded, once.
func TestServerLies(t *testing.T) {
	t.Parallel()
	lie := func(id string) string {
		return `{"jsonrpc":"2.0","id":` + id + `,"result":{"content":[{"type":"text","text":"a lie"}]}}`
	}
	h := newHouse(t)
	r := h.front(h.config("gateway-1"), scripted([]string{"pay", "wipe", "other"}, func(m *message, say func(string)) {
		switch {
		case m.method == "ping":
			say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":{}}`)
		case strings.Contains(string(m.raw), `"other"`):
			say(lie("3"))
			say(lie(`"never asked"`))
			say(lie("7")) // the client's next id
			say(lie("2")) // what was denied
			say("[" + lie("3") + "," + lie("8") + "]")
			say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":{"content":[],"true":1}}`)
			say(lie(m.id))
			say(`{"jsonrpc":"2.0","id":` + m.id + `,"error":{"code":1,"message":"a lie"}}`)
		default:
			say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":{"content":[],"true":1}}`)
			say(lie(m.id))
		}
	}))
	r.send(payCall)
	if answer := r.next(); !strings.Contains(answer, `"true":1`) || !strings.Contains(answer, MetaEvidence) {
		t.Error(answer)
	}
	r.quiet()
	r.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"wipe"}}`)
	if answer := r.next(); !strings.Contains(answer, "Denied") {
		t.Error(answer)
	}
	r.send(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"other"}}`)
	if answer := r.next(); !strings.Contains(answer, `"id":5,"result":{"_meta"`) || !strings.Contains(answer, `"true":1`) {
		t.Error(answer)
	}
	r.quiet()
	r.send(`{"jsonrpc":"2.0","id":7,"method":"ping"}`)
	if answer := r.next(); answer != `{"jsonrpc":"2.0","id":7,"result":{}}` {
		t.Error(answer)
	}
	h.recorded("session-1", map[string]string{"demo/pay": "allow success ", "demo/wipe": "deny ", "demo/other": "allow success "})
}

// TestResults: a result that is none of a tool's has no place for evidence, and passes as
// it came. In one that has evidence already, of another gateway's or of none, there is
// one, and it is this gateway's.
func TestResults(t *testing.T) {
	t.Parallel()
	const id = `"ev_[A-Za-z0-9_-]{43}"`
	for name, c := range map[string]struct{ result, want, recorded string }{
		"a number":        {`1`, `1`, "failure"},
		"a text":          {`"x"`, `"x"`, "failure"},
		"null":            {`null`, `null`, "success"},
		"an array":        {`[]`, `\[\]`, "failure"},
		"nothing in it":   {`{ }`, `{"_meta":{"dev.ledgerd/evidence":` + id + `} }`, "success"},
		"other meta":      {`{"_meta":{"x":1}}`, `{"_meta":{"dev.ledgerd/evidence":` + id + `,"x":1}}`, "success"},
		"meta is no more": {`{"_meta":7}`, `{"_meta":7}`, "success"},
		"evidence":        {`{"_meta":{"x":1,"dev.ledgerd/evidence":"ev_of another"},"y":2}`, `{"_meta":{"x":1,"dev.ledgerd/evidence":` + id + `},"y":2}`, "success"},
		"evidence, so":    {`{"_meta":{"dev.ledgerd\/evidence" : {"of":"another"}}}`, `{"_meta":{"dev.ledgerd\\/evidence" : ` + id + `}}`, "success"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			r := h.front(h.config("gateway-1"), scripted([]string{"pay"}, func(m *message, say func(string)) {
				say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":` + c.result + `}`)
			}))
			r.send(payCall)
			want := regexp.MustCompile(`^{"jsonrpc":"2.0","id":1,"result":` + c.want + `}$`)
			if answer := r.next(); !want.MatchString(answer) {
				t.Errorf("want %s, found %s", want, answer)
			}
			h.recorded("session-1", map[string]string{"demo/pay": "allow " + c.recorded + " "})
		})
	}
}

// TestBatchInBatch: a batch holds messages, and no batch: of many, each in the other, each
// would be kept whole.
func TestBatchInBatch(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const said = `{"jsonrpc":"2.0","method":"notifications/said"}`
	r := h.front(h.config("gateway-1"), scripted(nil, func(m *message, say func(string)) {
		say("[[" + said + "]]")
		say("[" + said + "]")
		say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":{}}`)
	}))
	r.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	if got := r.next() + r.next(); got != said+`{"jsonrpc":"2.0","id":1,"result":{}}` {
		t.Error(got)
	}
}

// TestAnsweredIsNotKept: of a call that is answered, however large it is, only as much is
// kept as is needed to know the answer again.
func TestAnsweredIsNotKept(t *testing.T) {
	t.Parallel()
	nowhere := func([]byte) error { return nil }
	g := newGateway(t.Context(), Config{Log: slog.New(slog.DiscardHandler)}, nowhere, nowhere)
	g.heard = &heard{again: make(map[string]answerer)}
	c := &call{id: "1", raw: make([]byte, 1<<20), unrecorded: true}
	kept := weak.Make(c)
	m, err := parse([]byte(paid))
	if err != nil {
		t.Fatal(err)
	}
	if reply := g.finishAndHear(c, m); string(reply) != paid {
		t.Errorf("%s", reply)
	}
	goruntime.GC()
	if kept.Value() != nil {
		t.Error("the call is kept")
	}
	if again := g.answered(m)(m); string(again) != paid {
		t.Errorf("%s", again)
	}
}

// TestGivenIsNotKept: nor is anything kept of what the server was given, while it works on
// it, or for as long as a call waits for its next round.
func TestGivenIsNotKept(t *testing.T) {
	t.Parallel()
	nowhere := func([]byte) error { return nil }
	g := newGateway(t.Context(), Config{Log: slog.New(slog.DiscardHandler)}, nowhere, nowhere)
	m, err := parse([]byte(payCall))
	if err != nil {
		t.Fatal(err)
	}
	c, ctx := g.enter(t.Context(), m)
	defer c.cancel()
	if _, err := g.readCall(c, m); err != nil || c.input == nil {
		t.Fatal(err)
	}
	var had string
	if reply := g.forward(ctx, c, func(b []byte) error { had = string(b); return nil }); reply != nil || had != payCall {
		t.Errorf("%s, and the server had %s", reply, had)
	}
	if c.raw != nil || c.input != nil || c.meta != nil {
		t.Error("the call is kept")
	}
}

// TestSettled: a call that the client has cancelled, and that the server never answers, is
// not waited for at the end once it is recorded that nobody knows.
func TestSettled(t *testing.T) {
	t.Parallel()
	nowhere := func([]byte) error { return nil }
	g := newGateway(t.Context(), Config{Log: slog.New(slog.DiscardHandler)}, nowhere, nowhere)
	g.calls["1"] = &call{id: "1", forwarded: true, cancelled: true, ended: true, cancel: func() {}}
	began := time.Now()
	g.settled(10 * time.Second)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestServerLeavesOthers: a server that has ended, and left something that holds its output
// open, has ended.
func TestServerLeavesOthers(t *testing.T) {
	if testing.Short() {
		t.Skip("what is tested are processes of their own, which the race detector does not see")
	}
	t.Parallel()
	h := newHouse(t)
	began := time.Now()
	err := Stdio(t.Context(), h.config("gateway-1"), strings.NewReader(""), io.Discard, exec.Command("sh", "-c", "sleep 40 & exec cat >/dev/null"))
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	if err == nil || !strings.Contains(err.Error(), "holds its output open") {
		t.Error(err)
	}
}

// TestClientsIDs: a client that asks twice under one id, or under one of the gateway's, so
// that the answer to the one would pass for that to the other.
func TestClientsIDs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	release := make(chan struct{})
	r := h.front(h.config("gateway-1"), scripted([]string{"pay"}, func(m *message, say func(string)) {
		go func() {
			if m.method == "tools/call" {
				<-release
			}
			say(`{"jsonrpc":"2.0","id":` + strings.TrimSuffix(m.id, ".0") + `,"result":{}}`)
		}()
	}))
	r.send(payCall)
	for _, line := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`, payCall, `{"jsonrpc":"2.0","id":1.0,"method":"ping"}`, `{"jsonrpc":"2.0","id":10e-1,"method":"tasks/result","params":{"taskId":"x"}}`,
		`{"jsonrpc":"2.0","id":"ledgerd:1","method":"ping"}`, `{"jsonrpc":"2.0","id":"\u006cedgerd:2","method":"ping"}`,
	} {
		r.send(line)
		if answer := r.next(); !strings.HasPrefix(answer, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,`) {
			t.Errorf("%s: %s", line, answer)
		}
	}
	close(release)
	if answer := r.next(); !strings.HasPrefix(answer, `{"jsonrpc":"2.0","id":1,"result":{"_meta"`) {
		t.Error(answer)
	}
	r.send(`{"jsonrpc":"2.0","id":2.0,"method":"tools/call","params":{"name":"pay"}}`) // answered as 2: it is one number
	if answer := r.next(); !strings.HasPrefix(answer, `{"jsonrpc":"2.0","id":2,"result":{"_meta"`) {
		t.Error(answer)
	}
	h.recorded("session-1", map[string]string{"demo/pay": "allow success allow success "})
}

// TestLineEnds: a reader that ends lines at a CR, too, as Python's does, would find a call
// in what is no call to others.
func TestLineEnds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	called := make(chan string, 10)
	say := make(chan func(string), 1)
	r := h.front(h.config("gateway-1"), func(in io.Reader, w io.WriteCloser) {
		say <- func(line string) { _, _ = io.WriteString(w, line+"\n") }
		_ = eachLine(in, func(line []byte) error {
			for _, one := range bytes.Split(line, []byte("\r")) {
				if m, err := parse(bytes.TrimSpace(one)); err == nil {
					called <- m.method
				}
			}
			return nil
		})
	})
	r.send(`{"jsonrpc":"2.0","method":"notifications/x","params":` + "\r" + payCall + "\r}")
	if answer := r.next(); !strings.Contains(answer, "refused by ledgerd: want a message on one line") {
		t.Error(answer)
	}
	r.send(`{"jsonrpc":"2.0","method":"notifications/x"}` + "\r")
	if method := <-called; method != "notifications/x" {
		t.Errorf("the server was given %s", method)
	}
	tell := <-say
	tell(`{"jsonrpc":"2.0","method":"notifications/x","params":` + "\r" + `{"jsonrpc":"2.0","id":1,"result":{}}` + "\r}")
	tell("[info] a line of a log") // no batch, and no end of the session
	tell(`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}`)
	if answer := r.next(); !strings.Contains(answer, `"what?"`) {
		t.Error(answer)
	}
}

// TestServerHangs: a server that does not answer. The client gives up; nobody knows what
// came of the call, and a late answer does not change that.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	had, late := make(chan struct{}, 1), make(chan struct{})
	r := h.front(h.config("gateway-1"), scripted([]string{"pay"}, func(m *message, say func(string)) {
		switch m.method {
		case "tools/call":
			had <- struct{}{}
			go func() {
				<-late
				say(`{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`)
				say(`{"jsonrpc":"2.0","method":"notifications/late"}`)
			}()
		case "ping":
			say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":{}}`)
		}
	}))
	r.send(payCall)
	<-had
	r.quiet()
	r.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
	for until := time.Now().Add(cancelledFor + 20*time.Second); h.outcomes("session-1")["demo/pay"] != "allow unknown "; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("nothing is recorded")
		}
	}
	close(late)
	if line := r.next(); !strings.Contains(line, "notifications/late") {
		t.Error(line)
	}
	h.recorded("session-1", map[string]string{"demo/pay": "allow unknown "})
}

// TestServerDoesNotRead: a server that reads nothing holds up no end of the session. It is
// told to end, and where it does not listen to that either, it is killed: in less time than
// clients give the gateway.
func TestServerDoesNotRead(t *testing.T) {
	if testing.Short() {
		t.Skip("what is tested are processes of their own, which the race detector does not see")
	}
	const ready = `echo '{"jsonrpc":"2.0","method":"notifications/ready"}'; exec sleep 60`
	for how, script := range map[string]string{"terminated": ready, "killed": "trap '' TERM; " + ready} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			ctx, cancel := context.WithCancel(context.Background())
			in, client := io.Pipe()
			heard, out := io.Pipe()
			ended := make(chan error, 1)
			go func() { ended <- Stdio(ctx, h.config("gateway-1"), in, out, exec.Command("sh", "-c", script)) }()
			wrote := make(chan struct{})
			go func() {
				defer close(wrote)
				long := `{"jsonrpc":"2.0","method":"notifications/x","params":{"x":"` + strings.Repeat("x", 64<<10) + "\"}}\n"
				for range 20 {
					if _, err := io.WriteString(client, long); err != nil {
						return
					}
				}
			}()
			if _, err := bufio.NewReader(heard).ReadString('\n'); err != nil { // what it does about signals is set
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond) // its pipe is full
			cancel()
			select {
			case err := <-ended:
				if err == nil || !strings.Contains(err.Error(), how) {
					t.Error(err)
				}
			case <-time.After(4 * serverGrace):
				t.Error("it goes on")
			}
			_ = in.Close()
			<-wrote
		})
	}
}

// TestServerFloods: a server that says more than the client reads is not read further, and
// the client gets all of it in its order; a client that goes without reading leaves what was
// under way in doubt.
func TestServerFloods(t *testing.T) {
	t.Parallel()
	const much = 20_000
	flood := func(m *message, say func(string)) {
		if m.method != "tools/call" {
			return
		}
		for i := range much {
			say(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"%d %s"}}`, i, strings.Repeat("x", 200)))
		}
		say(`{"jsonrpc":"2.0","id":` + m.id + `,"result":{"content":[]}}`)
	}
	t.Run("read", func(t *testing.T) {
		h := newHouse(t)
		r := h.front(h.config("gateway-1"), scripted([]string{"pay"}, flood))
		r.send(payCall)
		time.Sleep(100 * time.Millisecond)
		for i := range much {
			if line := r.next(); !strings.Contains(line, fmt.Sprintf(`"data":"%d x`, i)) {
				t.Fatalf("%d: %s", i, line)
			}
		}
		if line := r.next(); !strings.Contains(line, MetaEvidence) {
			t.Error(line)
		}
		h.recorded("session-1", map[string]string{"demo/pay": "allow success "})
	})
	t.Run("unread", func(t *testing.T) {
		h := newHouse(t)
		clientIn, in := io.Pipe()
		out, clientOut := io.Pipe() // nobody reads it
		serverIn, toServer := io.Pipe()
		fromServer, serverOut := io.Pipe()
		flooding := make(chan struct{})
		go func() {
			scripted([]string{"pay"}, func(m *message, say func(string)) { close(flooding); flood(m, say) })(serverIn, serverOut)
			_ = serverOut.Close()
		}()
		ended := make(chan error, 1)
		go func() {
			ended <- relay(context.Background(), h.config("gateway-1"), clientIn, clientOut, toServer, fromServer, func() { _ = serverOut.Close(); _ = serverIn.Close() })
			_, _ = fromServer.Close(), toServer.Close() // as Stdio does
		}()
		_, _ = io.WriteString(in, payCall+"\n")
		<-flooding
		_ = out.Close()
		_ = in.Close()
		if err := <-ended; err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
		h.recorded("session-1", map[string]string{"demo/pay": "allow unknown "})
	})
}

// TestServerBreaksOff: a server that ends in the middle of its answer, answers in bytes
// that are no UTF-8, or says a line that has no end.
func TestServerBreaksOff(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for name, answer := range map[string]string{
		"half":       `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"pai`,
		"not-closed": `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"paid"}]}`,
		"no-UTF-8":   "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"pa\xff\xfed\"}]}}\n",
		"surrogate":  `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"\ud800"}]}}` + "\n",
		"twice":      `{"jsonrpc":"2.0","id":1,"id":2,"result":{}}` + "\n",
		"no-end":     "",
	} {
		t.Run(name, func(t *testing.T) {
			cfg := h.config("gateway-1")
			cfg.Run = h.runOf(name)
			r := h.front(cfg, func(in io.Reader, w io.WriteCloser) {
				_ = eachLine(in, func(b []byte) error {
					m, err := parse(b)
					if err != nil || m.method != "tools/list" {
						if answer == "" {
							part := bytes.Repeat([]byte("x"), 1<<20)
							for err == nil { // until the gateway does not read on
								_, err = w.Write(part)
							}
						}
						_, _ = io.WriteString(w, answer)
						return errors.Join(err, io.EOF)
					}
					_, err = io.WriteString(w, `{"jsonrpc":"2.0","id":`+m.id+`,"result":{"tools":[{"name":"pay","inputSchema":{}}]}}`+"\n")
					return err
				})
			})
			r.send(payCall)
			if got := r.next(); !strings.Contains(got, "In doubt: the server ended before it answered") || !strings.Contains(got, MetaEvidence) {
				t.Error(got)
			}
			h.recorded(name, map[string]string{"demo/pay": "allow unknown "})
		})
	}
}
