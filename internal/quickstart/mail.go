package quickstart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"sync"
)

// mailServer is a mail server on this machine: it takes messages by SMTP, as much
// of RFC 5321 as a client needs, and its mailbox answers HTTP. It keeps every
// message that it takes, one that it had before too: whoever sends twice is seen
// to.
type mailServer struct {
	smtp    net.Listener
	mailbox *localServer

	sessions sync.WaitGroup

	mu    sync.Mutex
	taken []message
	open  map[net.Conn]bool // sessions under way; nil: the server is closed
	// onTaken is told of a message that is the server's, before the client hears
	// of it; nil: nobody is.
	onTaken func(message)
}

// message is what arrived.
type message struct {
	ID      string // Message-ID, with its brackets
	To      string // the first recipient, as the envelope has it
	Subject string
}

func startMail() (*mailServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &mailServer{smtp: l, open: make(map[net.Conn]bool)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /messages/{id}", func(w http.ResponseWriter, r *http.Request) {
		if !slices.ContainsFunc(s.messages(), func(m message) bool { return m.ID == r.PathValue("id") }) {
			http.NotFound(w, r)
		}
	})
	if s.mailbox, err = startHTTP(mux); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.sessions.Go(s.accept)
	return s, nil
}

func (s *mailServer) address() string { return s.smtp.Addr().String() }

func (s *mailServer) close() error {
	err := errors.Join(s.smtp.Close(), s.mailbox.close())
	s.mu.Lock()
	for c := range s.open {
		_ = c.Close()
	}
	s.open = nil
	s.mu.Unlock()
	s.sessions.Wait()
	return err
}

// messages returns what arrived so far.
func (s *mailServer) messages() []message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.taken)
}

// to returns how many messages arrived for an address.
func (s *mailServer) to(address string) int {
	n := 0
	for _, m := range s.messages() {
		if m.To == address {
			n++
		}
	}
	return n
}

// tell sets who is told of messages that arrive.
func (s *mailServer) tell(f func(message)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onTaken = f
}

func (s *mailServer) accept() {
	for {
		c, err := s.smtp.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.open == nil {
			s.mu.Unlock()
			_ = c.Close()
			return
		}
		s.open[c] = true
		s.mu.Unlock()
		s.sessions.Go(func() {
			s.session(textproto.NewConn(c))
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
		})
	}
}

// session speaks with one client, until it says QUIT or is gone.
func (s *mailServer) session(c *textproto.Conn) {
	defer func() { _ = c.Close() }()
	say := func(line string) error { return c.PrintfLine("%s", line) }
	err := say("220 localhost ESMTP")
	var to []string
	for err == nil {
		var line string
		if line, err = c.ReadLine(); err != nil {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO", "HELO", "NOOP":
			err = say("250 localhost")
		case "MAIL", "RSET":
			to = nil
			err = say("250 OK")
		case "RCPT":
			_, address, _ := strings.Cut(rest, "<")
			address, _, _ = strings.Cut(address, ">")
			to = append(to, address)
			err = say("250 OK")
		case "DATA":
			err = s.data(c, to)
			to = nil
		case "QUIT":
			_ = say("221 Bye")
			return
		default:
			err = say("502 Not here")
		}
	}
}

// data takes a message. Once it is kept, it has arrived, whether or not the client
// lives to hear so.
func (s *mailServer) data(c *textproto.Conn, to []string) error {
	if len(to) == 0 {
		return c.PrintfLine("503 Whom to?")
	}
	if err := c.PrintfLine("354 Go on"); err != nil {
		return err
	}
	text, err := c.ReadDotBytes()
	if err != nil {
		return err
	}
	m := message{To: to[0]}
	if err := m.read(text); err != nil {
		return c.PrintfLine("554 That is no message")
	}
	s.mu.Lock()
	s.taken = append(s.taken, m)
	told := s.onTaken
	s.mu.Unlock()
	if told != nil {
		told(m)
	}
	return c.PrintfLine("250 Taken")
}

func (m *message) read(text []byte) error {
	parsed, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		return err
	}
	m.ID = parsed.Header.Get("Message-Id")
	if m.Subject, err = new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject")); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	_, err = io.Copy(io.Discard, parsed.Body)
	return err
}
