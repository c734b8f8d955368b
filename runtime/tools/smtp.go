package tools

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"ledgerd/evidence"
	"ledgerd/runtime"
)

// SMTPConfig says how an SMTP tool sends email.
type SMTPConfig struct {
	// Spec is the tool's; schema, params and refs are set where they are nil, and
	// its description is completed. Idempotent is for a server that drops a second
	// message with a Message-ID that it had.
	Spec    runtime.Spec
	Address string // of the server: host:port
	From    string // an address, as in "Support <support@example.org>"
	// Recipients are the addresses, and the domains ("example.org"), that email
	// may go to; nil: any.
	Recipients []string
	Auth       smtp.Auth   // nil: none
	TLS        *tls.Config // for STARTTLS; the server's name if nil
	// Plain: a server without STARTTLS is fine. On a loopback address it always is.
	Plain bool
	Now   func() time.Time // for the Date; time.Now if nil
}

// Mail is the input of an SMTP tool: a text for one or more recipients.
type Mail struct {
	To      []string `json:"to"`
	Subject string   `json:"subject"`
	Text    string   `json:"text"`
}

// Sent is its output.
type Sent struct {
	// MessageID is made from the call's key: another attempt is the same message.
	MessageID string `json:"messageId"`
}

const mailSchema = `{"type":"object","required":["to","subject","text"],"additionalProperties":false,"properties":{
"to":{"type":"array","minItems":1,"maxItems":100,"items":{"type":"string","minLength":3,"maxLength":320}},
"subject":{"type":"string","maxLength":900},"text":{"type":"string","maxLength":1000000}}}`

type smtpTool struct {
	cfg    SMTPConfig
	from   *mail.Address
	host   string
	domain string // of From
}

// MessageID returns the Message-ID of the email that is sent under a call's key:
// what a probe asks a mail server about. From is that of the configuration.
func MessageID(key, from string) (string, error) {
	a, err := parseAddress(from)
	if err != nil {
		return "", err
	}
	return messageID(key, domainOf(a.Address)), nil
}

func messageID(key, domain string) string {
	sum := sha256.Sum256([]byte(key))
	return "<" + hex.EncodeToString(sum[:16]) + "@" + domain + ">"
}

// NewSMTP returns a tool that sends email. SMTP itself cannot be asked what became
// of a message: who has a mailbox or an API that can gives the tool a probe
// ([runtime.Func.WithProbe], [MessageID]).
func NewSMTP(cfg SMTPConfig) (*runtime.Func[Mail, Sent], error) {
	t := &smtpTool{cfg: cfg}
	var err error
	if t.host, _, err = net.SplitHostPort(cfg.Address); err != nil {
		return nil, fmt.Errorf("smtp tool %q: want host:port of a server: %w", cfg.Spec.Name, err)
	}
	if t.from, err = parseAddress(cfg.From); err != nil {
		return nil, fmt.Errorf("smtp tool %q: From: %w", cfg.Spec.Name, err)
	}
	t.domain = domainOf(t.from.Address)
	if t.cfg.Now == nil {
		t.cfg.Now = time.Now
	}
	spec := cfg.Spec
	if spec.Schema == nil {
		spec.Schema = []byte(mailSchema)
	}
	if spec.Params == nil {
		spec.Params = []string{"to"}
	}
	if spec.Refs == nil {
		spec.Refs = []string{"messageId"}
	}
	to := "anybody"
	if cfg.Recipients != nil {
		to = strings.Join(cfg.Recipients, ", ")
	}
	describe(&spec, fmt.Sprintf("SMTP to %s as %s; recipients: %s", cfg.Address, cfg.From, to))
	return runtime.NewFunc(spec, t.send), nil
}

// parseAddress reads an address that can stand in a header and in a command.
func parseAddress(s string) (*mail.Address, error) {
	if err := oneLine(s); err != nil {
		return nil, err
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		return nil, err
	}
	for _, c := range []byte(a.Address) {
		if c <= ' ' || c >= 0x7f || c == '<' || c == '>' {
			return nil, fmt.Errorf("want an address in ASCII, without spaces, found %q", a.Address)
		}
	}
	return a, nil
}

// oneLine refuses what would begin another header.
func oneLine(s string) error {
	for _, c := range s {
		if c < ' ' && c != '\t' || c == 0x7f || c == '\u0085' || c == '\u2028' || c == '\u2029' {
			return fmt.Errorf("want one line without control characters, found %q", s)
		}
	}
	return nil
}

func domainOf(address string) string {
	return strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
}

func (t *smtpTool) allowed(address string) bool {
	if t.cfg.Recipients == nil {
		return true
	}
	for _, r := range t.cfg.Recipients {
		if strings.Contains(r, "@") && strings.EqualFold(r, address) || strings.EqualFold(r, domainOf(address)) {
			return true
		}
	}
	return false
}

// message writes the email: RFC 5322, with a text in quoted-printable.
func (t *smtpTool) message(key string, in Mail) (id string, to []string, message []byte, err error) {
	if len(in.To) == 0 {
		return "", nil, nil, notRun(evidence.InvalidToolPayload, "want a recipient")
	}
	if err := oneLine(in.Subject); err != nil {
		return "", nil, nil, notRun(evidence.InvalidToolPayload, "the subject: %w", err)
	}
	var header []string
	for _, s := range in.To {
		a, err := parseAddress(s)
		if err != nil {
			return "", nil, nil, notRun(evidence.InvalidToolPayload, "the recipient %q: %w", s, err)
		}
		if !t.allowed(a.Address) {
			return "", nil, nil, notRun(evidence.InvalidToolPayload, "the recipient %q is not one of those that are allowed", a.Address)
		}
		to, header = append(to, a.Address), append(header, a.String())
	}
	id = messageID(key, t.domain)
	var b bytes.Buffer
	for _, h := range [][2]string{
		{"From", t.from.String()},
		{"To", strings.Join(header, ",\r\n ")},
		{"Subject", mime.QEncoding.Encode("utf-8", in.Subject)},
		{"Date", t.cfg.Now().UTC().Format(time.RFC1123Z)},
		{"Message-ID", id},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, err = w.Write([]byte(in.Text))
	if err = errors.Join(err, w.Close()); err != nil {
		return "", nil, nil, notRun(evidence.InvalidToolPayload, "the text: %w", err)
	}
	return id, to, b.Bytes(), nil
}

func (t *smtpTool) send(ctx context.Context, c *runtime.Call, in Mail) (Sent, error) {
	id, to, message, err := t.message(c.Key, in)
	if err != nil {
		return Sent{}, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", t.cfg.Address)
	if err != nil {
		return Sent{}, before(ctx, "connect", err)
	}
	defer func() { _ = conn.Close() }()
	// The deadline, or a caller who gives up, ends whatever is under way.
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	client, err := smtp.NewClient(conn, t.host)
	if err != nil {
		return Sent{}, before(ctx, "greeting", err)
	}
	if err := t.prepare(ctx, client, conn, to); err != nil {
		return Sent{}, err
	}
	w, err := client.Data()
	if err != nil {
		return Sent{}, before(ctx, "DATA", err)
	}
	// From here on the message may be the server's: only its answer tells.
	_, err = w.Write(message)
	if err == nil {
		err = w.Close()
	}
	var answer *textproto.Error
	switch {
	case errors.As(err, &answer):
		return Sent{}, before(ctx, "the message", err)
	case err != nil:
		return Sent{}, &runtime.Failure{Class: evidence.ToolTimeout, Err: fmt.Errorf("smtp: the message was sent, and no answer came: %w", cause(ctx, err))}
	}
	_ = client.Quit() // the message is accepted, whatever comes now
	return Sent{MessageID: id}, nil
}

// prepare does all that has no effect.
func (t *smtpTool) prepare(ctx context.Context, client *smtp.Client, conn net.Conn, to []string) error {
	if err := client.Hello("localhost"); err != nil {
		return before(ctx, "EHLO", err)
	}
	if ok, _ := client.Extension("STARTTLS"); ok {
		cfg := &tls.Config{ServerName: t.host}
		if t.cfg.TLS != nil {
			cfg = t.cfg.TLS
		}
		if err := client.StartTLS(cfg); err != nil {
			return before(ctx, "STARTTLS", err)
		}
	} else if !t.cfg.Plain && !loopback(conn) {
		return notRun(evidence.ToolFailed, "smtp: %s offers no STARTTLS, and the message would go in the clear", t.cfg.Address)
	}
	if t.cfg.Auth != nil {
		if err := client.Auth(t.cfg.Auth); err != nil {
			return before(ctx, "AUTH", err)
		}
	}
	if err := client.Mail(t.from.Address); err != nil {
		return before(ctx, "MAIL", err)
	}
	for _, a := range to {
		if err := client.Rcpt(a); err != nil {
			return before(ctx, "RCPT "+a, err)
		}
	}
	return nil
}

func loopback(conn net.Conn) bool {
	a, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// cause prefers the context's error to what it did to the connection.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// before classifies a failure after which the server certainly does not have the
// message. 4yz is for now, 5yz for good (RFC 5321 section 4.2.1).
func before(ctx context.Context, what string, err error) *runtime.Failure {
	err = cause(ctx, err)
	f := &runtime.Failure{Class: evidence.ToolUnavailable, Err: fmt.Errorf("smtp: %s: %w", what, err), NotRun: true}
	var answer *textproto.Error
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &answer) && (answer.Code == 450 || answer.Code == 452):
		f.Class = evidence.RateLimited // a mailbox or a system that has enough for now
	case errors.As(err, &answer) && answer.Code < 500:
	case errors.As(err, &answer) && (strings.HasPrefix(what, "RCPT") || answer.Code == 552):
		f.Class = evidence.InvalidToolPayload // nobody there, or too large
	case errors.As(err, &answer), errors.As(err, &cert):
		f.Class = evidence.ToolFailed
	case ctx.Err() != nil:
		f.Class = evidence.ToolTimeout
	}
	return f
}
