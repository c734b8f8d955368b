package tools_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/runtimetest"
	"ledgerd/runtime/tools"
)

// mailServer speaks as much SMTP as a client needs (RFC 5321), and keeps what it
// took, by Message-ID.
type mailServer struct {
	net.Listener
	tls *tls.Config // nil: no STARTTLS

	mu       sync.Mutex
	sessions int
	messages map[string][]string
	// reply is asked before each command, and after a message ("."): "" goes on
	// as a server does, "cut" ends the connection, "hang" says nothing.
	reply func(session int, command string) string
}

func newMailServer(t *testing.T, ip ...string) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(append(ip, "127.0.0.1")[0], "0"))
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{Listener: l, messages: make(map[string][]string)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.sessions++
			n := s.sessions
			s.mu.Unlock()
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				s.serve(c, n)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return s
}

func (s *mailServer) serve(c net.Conn, session int) {
	s.mu.Lock()
	secured := s.tls
	s.mu.Unlock()
	r := bufio.NewReader(c)
	say := func(line string) { _, _ = fmt.Fprintf(c, "%s\r\n", line) }
	// other answers in another way than usual; done: the session is over.
	other := func(command string) (answered, done bool) {
		switch answer := s.says(session, command); answer {
		case "":
			return false, false
		case "cut":
			return true, true
		case "hang":
			_, _ = io.Copy(io.Discard, c)
			return true, true
		default:
			say(answer)
			return true, false
		}
	}
	if answered, done := other("greeting"); done {
		return
	} else if !answered {
		say("220 test ESMTP")
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb := strings.ToUpper(strings.Fields(line + " x")[0])
		if answered, done := other(verb); done {
			return
		} else if answered {
			continue
		}
		switch verb {
		case "EHLO":
			if secured != nil {
				say("250-test")
				say("250 STARTTLS")
			} else {
				say("250 test")
			}
		case "STARTTLS":
			say("220 go")
			secure := tls.Server(c, secured)
			c, r = secure, bufio.NewReader(secure)
		case "DATA":
			say("354 go")
			var message strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				message.WriteString(strings.TrimPrefix(line, "."))
			}
			if answer := s.says(session, "."); answer != "" && answer != "cut" && answer != "hang" {
				say(answer) // a refusal: it is not kept
				continue
			}
			m, err := mail.ReadMessage(strings.NewReader(message.String()))
			if err != nil {
				say("554 " + err.Error())
				continue
			}
			s.mu.Lock()
			id := m.Header.Get("Message-Id")
			s.messages[id] = append(s.messages[id], message.String())
			s.mu.Unlock()
			if _, done := other("."); done {
				return
			}
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (s *mailServer) says(session int, command string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reply == nil {
		return ""
	}
	return s.reply(session, command)
}

func (s *mailServer) replies(reply func(session int, command string) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = reply
}

// taken returns every message.
func (s *mailServer) taken() (list []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.messages {
		list = append(list, m...)
	}
	return list
}

func (s *mailServer) tool(t *testing.T, change func(*tools.SMTPConfig)) *runtime.Func[tools.Mail, tools.Sent] {
	t.Helper()
	cfg := tools.SMTPConfig{
		Spec:    runtime.Spec{Name: "email", Action: "send_email", Timeout: 5 * time.Second},
		Address: s.Addr().String(), From: sender, Recipients: []string{"example.com", "mia@example.net"},
	}
	if change != nil {
		change(&cfg)
	}
	tool, err := tools.NewSMTP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tool
}

const sender = "Support <support@example.org>"

var letter = tools.Mail{To: []string{"Mia <mia@example.com>"}, Subject: "Your parcel, für dich", Text: "It is late.\n.\nSorry; ünd so.\n"}

// at answers one command of the first n sessions.
func at(n int, command, answer string) func(int, string) string {
	return func(session int, c string) string {
		if session <= n && c == command {
			return answer
		}
		return ""
	}
}

func TestSMTPFailures(t *testing.T) {
	const always = 99
	for _, c := range []struct {
		name       string
		idempotent bool
		timeout    time.Duration
		reply      func(int, string) string
		want       []string
		messages   int
		class      evidence.Class
		doubt      bool
	}{
		{name: "success", want: []string{"success"}, messages: 1},
		{name: "greylisted", reply: at(1, "RCPT", "450 come back"), want: []string{"failure rate_limited", "success"}, messages: 1},
		{name: "busy", reply: at(2, "MAIL", "451 busy"), want: []string{"failure tool_unavailable", "failure tool_unavailable", "success"}, messages: 1},
		{name: "closing", reply: at(1, "greeting", "421 closing"), want: []string{"failure tool_unavailable", "success"}, messages: 1},
		{name: "refused for now after the message", reply: at(1, ".", "451 later"), want: []string{"failure tool_unavailable", "success"}, messages: 1},
		{name: "cut at the greeting", reply: at(1, "greeting", "cut"), want: []string{"failure tool_unavailable", "success"}, messages: 1},
		{name: "cut before DATA", reply: at(1, "RCPT", "cut"), want: []string{"failure tool_unavailable", "success"}, messages: 1},
		{name: "cut at DATA", reply: at(1, "DATA", "cut"), want: []string{"failure tool_unavailable", "success"}, messages: 1},
		{name: "cut after the message", reply: at(1, ".", "cut"), want: []string{"unknown outcome_unknown"}, messages: 1, doubt: true},
		{name: "cut after the message, and dropped if twice", idempotent: true, reply: at(1, ".", "cut"), want: []string{"failure tool_timeout", "success"}, messages: 2},
		{name: "silent before DATA", timeout: 100 * time.Millisecond, reply: at(1, "MAIL", "hang"), want: []string{"failure tool_timeout", "success"}, messages: 1},
		{name: "silent after the message", timeout: 100 * time.Millisecond, reply: at(1, ".", "hang"), want: []string{"unknown outcome_unknown"}, messages: 1, doubt: true},
		{name: "nobody there", reply: at(always, "RCPT", "550 no such user"), want: []string{"failure invalid_tool_payload"}, class: evidence.InvalidToolPayload},
		{name: "not from us", reply: at(always, "MAIL", "553 no"), want: []string{"failure tool_failed"}, class: evidence.ToolFailed},
		{name: "refused after the message", reply: at(always, ".", "554 spam"), want: []string{"failure tool_failed"}, class: evidence.ToolFailed},
		{name: "too large", reply: at(always, ".", "552 too large"), want: []string{"failure invalid_tool_payload"}, class: evidence.InvalidToolPayload},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := runtimetest.New(t)
			s := newMailServer(t)
			s.replies(c.reply)
			tool := s.tool(t, func(cfg *tools.SMTPConfig) {
				cfg.Spec.Idempotent = c.idempotent
				if c.timeout > 0 {
					cfg.Spec.Timeout = c.timeout
				}
			})
			run := open(t, w.Runtime(tool))
			res, err := runtime.Do(ctx, run, "notify", tool, letter)
			var failed *runtime.Failed
			var doubt *runtime.InDoubt
			switch {
			case c.class != "":
				if !errors.As(err, &failed) || failed.Class != c.class {
					t.Errorf("want class %s: %v", c.class, err)
				}
			case c.doubt:
				if !errors.As(err, &doubt) || doubt.Escalation.IsZero() {
					t.Errorf("want a doubt: %v", err)
				}
			case err != nil:
				t.Error(err)
			case len(s.messages[res.Value.MessageID]) != c.messages:
				t.Errorf("%q is not among %d messages: another attempt is another message", res.Value.MessageID, len(s.messages))
			}
			if got := executions(w, run.ID()); strings.Join(got, ", ") != strings.Join(c.want, ", ") {
				t.Errorf("records: %q", got)
			}
			if got := s.taken(); len(got) != c.messages {
				t.Errorf("%d messages", len(got))
			}
			w.Sound(run.ID())
		})
	}
}

func TestSMTPRefusedConnection(t *testing.T) {
	w := runtimetest.New(t)
	s := newMailServer(t)
	tool := s.tool(t, nil)
	_ = s.Close()
	run := open(t, w.Runtime(tool), runtime.Budget(evidence.Amounts{"attempts": 3}))
	_, err := runtime.Do(ctx, run, "notify", tool, letter)
	var failed *runtime.Failed
	if !errors.As(err, &failed) || failed.Class != evidence.BudgetExceeded {
		t.Error(err)
	}
	if got := strings.Join(executions(w, run.ID()), ", "); got != "failure tool_unavailable, failure tool_unavailable, failure tool_unavailable, not_run" {
		t.Error(got)
	}
	w.Sound(run.ID())
}

func TestSMTPMessage(t *testing.T) {
	w := runtimetest.New(t)
	s := newMailServer(t)
	tool := s.tool(t, nil)
	run := open(t, w.Runtime(tool))
	res, err := runtime.Do(ctx, run, "notify", tool, letter)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(strings.NewReader(s.taken()[0]))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != letter.Subject || m.Header.Get("To") != `"Mia" <mia@example.com>` || m.Header.Get("From") != `"Support" <support@example.org>` || m.Header.Get("Message-Id") != res.Value.MessageID {
		t.Errorf("%v, %v", m.Header, err)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil || strings.ReplaceAll(string(text), "\r\n", "\n") != letter.Text {
		t.Errorf("%q, %v", text, err)
	}
}

func TestSMTPInjection(t *testing.T) {
	w := runtimetest.New(t)
	s := newMailServer(t)
	tool := s.tool(t, nil)
	run := open(t, w.Runtime(tool))
	for i, in := range []tools.Mail{
		{To: []string{"mia@example.com"}, Subject: "a\r\nBcc: eve@evil.example"},
		{To: []string{"mia@example.com"}, Subject: "a\nBcc: eve@evil.example"},
		{To: []string{"mia@example.com"}, Subject: "a\rb"},
		{To: []string{"mia@example.com"}, Subject: "a\x00b"},
		{To: []string{"mia@example.com\r\nRCPT TO:<eve@evil.example>"}},
		{To: []string{"\"a\r\nBcc: eve@evil.example\" <mia@example.com>"}},
		{To: []string{"\"<eve@evil.example>\"@example.com"}},
		{To: []string{"mia@example.com, eve@evil.example"}},
		{To: []string{"eve@evil.example"}},
		{To: []string{"mia@example.com", "eve@evil.example"}},
		{To: []string{"eve@evil.example.com.evil"}},
		{To: []string{"other@example.net"}},
		{To: []string{"mia@sub.example.com"}},
		{To: []string{}},
	} {
		_, err := runtime.Do(ctx, run, fmt.Sprint("x", i), tool, in)
		var failed *runtime.Failed
		if !errors.As(err, &failed) || failed.Class != evidence.InvalidToolPayload {
			t.Errorf("%+v: %v", in, err)
		}
	}
	s.mu.Lock()
	if s.sessions != 0 {
		t.Errorf("%d sessions", s.sessions)
	}
	s.mu.Unlock()
	if _, err := runtime.Do(ctx, run, "y", tool, tools.Mail{To: []string{"MIA@example.net", "a@EXAMPLE.com"}}); err != nil {
		t.Error(err)
	}
	w.Sound(run.ID())
}

func TestSMTPStartTLS(t *testing.T) {
	// The certificate of httptest holds for 127.0.0.1.
	web := httptest.NewTLSServer(http.NotFoundHandler())
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	for name, c := range map[string]struct {
		roots    *x509.CertPool
		messages int
	}{"trusted": {roots, 1}, "not trusted": {x509.NewCertPool(), 0}} {
		t.Run(name, func(t *testing.T) {
			w := runtimetest.New(t)
			s := newMailServer(t)
			s.mu.Lock()
			s.tls = &tls.Config{Certificates: web.TLS.Certificates}
			s.mu.Unlock()
			tool := s.tool(t, func(cfg *tools.SMTPConfig) {
				cfg.TLS = &tls.Config{RootCAs: c.roots, ServerName: "127.0.0.1"}
			})
			run := open(t, w.Runtime(tool))
			_, err := runtime.Do(ctx, run, "notify", tool, letter)
			if (err == nil) != (c.messages > 0) || len(s.taken()) != c.messages {
				t.Errorf("%v, %d messages", err, len(s.taken()))
			}
			var failed *runtime.Failed
			if err != nil && (!errors.As(err, &failed) || failed.Class != evidence.ToolFailed) {
				t.Error(err)
			}
		})
	}
}

// TestSMTPInTheClear: a server elsewhere that offers no STARTTLS, or whose offer
// somebody took out, gets nothing.
func TestSMTPInTheClear(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var elsewhere net.IP
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			elsewhere = n.IP
		}
	}
	if elsewhere == nil {
		t.Skip("this machine has loopback addresses only")
	}
	for _, plain := range []bool{false, true} {
		s := newMailServer(t, elsewhere.String())
		w := runtimetest.New(t)
		tool := s.tool(t, func(cfg *tools.SMTPConfig) { cfg.Plain = plain })
		_, err := runtime.Do(ctx, open(t, w.Runtime(tool)), "notify", tool, letter)
		var failed *runtime.Failed
		if plain != (err == nil) || !plain && (!errors.As(err, &failed) || failed.Class != evidence.ToolFailed) {
			t.Errorf("plain %v: %v", plain, err)
		}
		if got := len(s.taken()); got > 0 != plain {
			t.Errorf("plain %v: %d messages", plain, got)
		}
	}
}

// TestSMTPProbe: what broke after the message is settled by who can look.
func TestSMTPProbe(t *testing.T) {
	w := runtimetest.New(t)
	s := newMailServer(t)
	s.replies(at(1, ".", "cut"))
	tool := s.tool(t, nil).WithProbe(func(_ context.Context, c *runtime.Call, _ tools.Mail) (evidence.Status, tools.Sent, error) {
		id, err := tools.MessageID(c.Key, sender)
		if err != nil {
			return "", tools.Sent{}, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.messages[id]) > 0 {
			return evidence.StatusSuccess, tools.Sent{MessageID: id}, nil
		}
		return evidence.StatusNotRun, tools.Sent{}, nil
	})
	run := open(t, w.Runtime(tool))
	input, err := json.Marshal(letter)
	if err != nil {
		t.Fatal(err)
	}
	res, err := run.Do(ctx, runtime.Action{Step: "notify", Tool: "email", Input: input})
	if err != nil || len(s.taken()) != 1 || !strings.Contains(string(res.Output), "@example.org>") {
		t.Errorf("%+v, %v, %d messages", res, err, len(s.taken()))
	}
	w.Sound(run.ID())
}
