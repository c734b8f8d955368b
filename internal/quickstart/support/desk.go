package support

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/runtime"
	"ledgerd/runtime/policy"
	"ledgerd/runtime/tools"
)

// Settings are the operator's. Secrets are in files.
type Settings struct {
	Ledger    string `json:"ledger"` // the daemon's URL
	TokenFile string `json:"token_file"`
	Origin    string `json:"origin"`
	Runtime   string `json:"runtime"` // the actor, registered with the key
	KeyFile   string `json:"key_file"`
	Policies  string `json:"policies"`  // a directory of Cedar policies
	Contracts string `json:"contracts"` // a directory with TASK.json
	Mail      string `json:"mail"`      // the mail server's host:port, for SMTP
	Mailbox   string `json:"mailbox"`   // its URL, to ask what it has
	Shop      string `json:"shop"`      // the URL of tickets and refunds
}

// Desk is where agents work: a runtime, and the tools that it has.
type Desk struct {
	runtime          *runtime.Runtime
	tickets, refunds runtime.Tool
	mail             *runtime.ProbedFunc[tools.Mail, tools.Sent]
	mailbox          string
}

// Open makes a runtime on the daemon's ledger. What it has to say of itself goes
// to log.
func Open(s Settings, log *slog.Logger) (*Desk, error) {
	token, err := os.ReadFile(s.TokenFile)
	if err != nil {
		return nil, err
	}
	ledger, err := client.New(s.Ledger, client.Options{Token: strings.TrimSpace(string(token)), BusyRetries: 10})
	if err != nil {
		return nil, err
	}
	jwk, err := os.ReadFile(s.KeyFile)
	if err != nil {
		return nil, err
	}
	key, err := evidence.ParsePrivateJWK([]byte(strings.TrimSpace(string(jwk))))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.KeyFile, err)
	}
	permit, err := policy.Open(s.Policies, policy.Options{Logger: log})
	if err != nil {
		return nil, err
	}
	d := &Desk{mailbox: s.Mailbox}
	if err := d.equip(s); err != nil {
		return nil, err
	}
	d.runtime, err = runtime.New(runtime.Config{
		Ledger: client.Runtime(ledger), Origin: s.Origin, Actor: s.Runtime, Key: key,
		Permit: permit, Tools: []runtime.Tool{d.tickets, d.refunds, d.mail}, Contracts: contracts(s.Contracts),
	})
	return d, err
}

// Run returns the run that is, or will be, about a complaint.
func (d *Desk) Run(c Complaint) evidence.RunID { return d.runtime.RunID(c.key()) }

// contracts reads what the operator wants done for a type of task. The agent has
// no say in it.
func contracts(dir string) func(task string) (*runtime.Contract, error) {
	return func(task string) (*runtime.Contract, error) {
		document, err := fs.ReadFile(os.DirFS(dir), task+".json")
		if err != nil {
			return nil, err
		}
		return &runtime.Contract{Document: document, DeclaredBy: "support-lead"}, nil
	}
}

// Ticket is the input of the tool that opens tickets.
type Ticket struct {
	Team  string `json:"team"`
	Order string `json:"order"`
	Text  string `json:"text"`
}

// Refund is the input of the tool that pays back.
type Refund struct {
	Order    string `json:"order"`
	Cents    int    `json:"cents"`
	Currency string `json:"currency"`
}

const (
	from         = "Kettle & Crane <support@kettle.example>"
	ticketSchema = `{"type":"object","required":["team","order","text"],"additionalProperties":false,"properties":{
"team":{"enum":["quality","logistics"]},"order":{"type":"string"},"text":{"type":"string"}}}`
	refundSchema = `{"type":"object","required":["order","cents","currency"],"additionalProperties":false,"properties":{
"order":{"type":"string"},"cents":{"type":"integer","minimum":1},"currency":{"const":"EUR"}}}`
)

// equip configures the tools: what each may reach, and how it is to be asked again.
func (d *Desk) equip(s Settings) error {
	shop, err := url.Parse(s.Shop)
	if err != nil {
		return err
	}
	hosts := []tools.Host{{Name: shop.Host}}
	// The shop does nothing again under an Idempotency-Key that it had: a call that
	// timed out is simply made again.
	d.tickets, err = tools.NewHTTP(tools.HTTPConfig{
		Spec: runtime.Spec{
			Name: "ticket-desk", Action: "create_ticket", Description: "Opens a ticket for a team.",
			Schema: []byte(ticketSchema), Params: []string{"team"}, Idempotent: true, Timeout: 1500 * time.Millisecond,
		},
		URL: s.Shop + "/tickets", Hosts: hosts,
	})
	if err != nil {
		return err
	}
	d.refunds, err = tools.NewHTTP(tools.HTTPConfig{
		Spec: runtime.Spec{
			Name: "payments", Action: "issue_refund", Description: "Pays money back to a customer.",
			Schema: []byte(refundSchema), Resource: "/order", Params: []string{"cents", "currency"}, Idempotent: true, Timeout: 10 * time.Second,
		},
		URL: s.Shop + "/refunds", Hosts: hosts,
	})
	if err != nil {
		return err
	}
	// A mail server sends what it is given, twice if it is given twice, and SMTP
	// cannot be asked what became of a message. This one has a mailbox that can.
	mail, err := tools.NewSMTP(tools.SMTPConfig{
		Spec:    runtime.Spec{Name: "mailer", Action: "send_email", Description: "Writes to a customer.", Timeout: 10 * time.Second},
		Address: s.Mail, From: from, Recipients: []string{"example.com"},
	})
	if err != nil {
		return err
	}
	d.mail = mail.WithProbe(d.arrived)
	return nil
}

// arrived is the probe: it asks the mailbox for the message of a call.
func (d *Desk) arrived(ctx context.Context, c *runtime.Call, _ tools.Mail) (evidence.Status, tools.Sent, error) {
	id, err := tools.MessageID(c.Key, from)
	if err != nil {
		return "", tools.Sent{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.mailbox+"/messages/"+url.PathEscape(id), nil)
	if err != nil {
		return "", tools.Sent{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", tools.Sent{}, err
	}
	switch err := resp.Body.Close(); {
	case err != nil:
		return "", tools.Sent{}, err
	case resp.StatusCode == http.StatusOK:
		return evidence.StatusSuccess, tools.Sent{MessageID: id}, nil
	case resp.StatusCode == http.StatusNotFound:
		return evidence.StatusNotRun, tools.Sent{}, nil
	}
	return "", tools.Sent{}, errors.New("the mailbox answered " + resp.Status)
}
