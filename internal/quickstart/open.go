package quickstart

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"ledgerd/bundle"
	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/datadir"
	"ledgerd/internal/quickstart/support"
	"ledgerd/internal/server"
	"ledgerd/internal/wholefile"
	"ledgerd/ledger"
)

// operator has the policies and contracts: what agents may do, and what has to
// have happened when they are through.
//
//go:embed operator
var operator embed.FS

// tour is the ledger and its daemon, the world that agents act on, and what the
// auditor was handed.
type tour struct {
	begun  time.Time
	view   *view
	dir    *datadir.Dir
	ledger *datadir.Ledger
	url    string
	client *client.Client // the operator's, with every right
	stop   context.CancelFunc
	served chan error // the daemon's end; capacity 1

	mail *mailServer
	shop *shop
	lead *human

	settings support.Settings
	desk     *support.Desk
	agent    func(context.Context) (*exec.Cmd, error)
	worked   []worked

	audit string        // directory of what the auditor has
	trust *bundle.Trust // read back from there
}

// open makes the ledger, starts its daemon and the servers, and says who may act.
func open(ctx context.Context, o Options) (*tour, error) {
	t := &tour{begun: time.Now(), view: newView(o.Out, o.Environ, o.Width), agent: o.Agent, served: make(chan error, 1)}
	path := o.DataDir
	if path == "" {
		tmp, err := os.MkdirTemp("", "ledgerd-")
		if err != nil {
			return nil, err
		}
		path = filepath.Join(tmp, "ledger")
	}
	d, err := datadir.Init(ctx, path, datadir.InitOptions{Origin: Origin, Runtime: Runtime, Now: t.begun})
	if err != nil {
		return nil, err
	}
	t.dir, t.audit = d, d.Path+".audit"
	metrics := server.NewMetrics()
	if t.ledger, err = d.Ledger(ctx, datadir.Options{Logger: o.Logger, OnCommit: metrics.Commit, Leases: true}); err != nil {
		return nil, err
	}
	if err := t.serve(ctx, metrics, o.Logger); err != nil {
		return nil, errors.Join(err, t.ledger.Close())
	}
	if err := t.staff(ctx, o.Logger); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

func (t *tour) serve(ctx context.Context, metrics *server.Metrics, log *slog.Logger) error {
	tokens, err := t.dir.Tokens()
	if err != nil {
		return err
	}
	s, err := server.New(server.Config{Ledger: t.ledger.Ledger, Tokens: tokens, Metrics: metrics, Logger: log, Version: "quickstart"})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	t.url = "http://" + ln.Addr().String()
	secret, err := t.dir.AdminToken()
	if err == nil {
		t.client, err = client.New(t.url, client.Options{Token: secret, BusyRetries: 10})
	}
	if err == nil {
		err = t.dir.Announce(t.url, "")
	}
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	// Not ended by ctx itself: close ends it, in order.
	ctx, t.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() { t.served <- s.Serve(ctx, ln, nil, 5*time.Second) }()
	return nil
}

// staff starts the servers that tools reach, registers who acts, and opens the
// desk.
func (t *tour) staff(ctx context.Context, log *slog.Logger) (err error) {
	if t.mail, err = startMail(); err != nil {
		return err
	}
	if t.shop, err = startShop(); err != nil {
		return err
	}
	if err := t.register(ctx, &evidence.ActorRegistered{Name: support.Agent, Role: evidence.RoleAgent, Host: Runtime}); err != nil {
		return err
	}
	if t.lead, err = t.hire(ctx, "mia", leads); err != nil {
		return err
	}
	if t.settings, err = t.furnish(ctx); err != nil {
		return err
	}
	t.desk, err = support.Open(t.settings, log)
	return err
}

// furnish writes what the operator gives the desk to a directory beside the
// ledger's: policies, contracts, and a token with the rights that a runtime needs.
func (t *tour) furnish(ctx context.Context) (s support.Settings, err error) {
	desk := t.dir.Path + ".desk"
	files, err := fs.Sub(operator, "operator")
	if err == nil {
		err = os.CopyFS(desk, files)
	}
	if err != nil {
		return s, err
	}
	// What `ledgerd policy explain` is asked about at the end.
	refund, err := json.Marshal(support.Refund{Order: dear.Order, Cents: dear.Cents, Currency: "EUR"})
	if err == nil {
		err = writeNew(filepath.Join(desk, "refund.json"), refund)
	}
	if err != nil {
		return s, err
	}
	s = support.Settings{
		Ledger: t.url, TokenFile: filepath.Join(desk, "runtime.token"), Origin: Origin, Runtime: Runtime,
		Policies: filepath.Join(desk, "policies"), Contracts: filepath.Join(desk, "contracts"),
		Mail: t.mail.address(), Mailbox: t.mail.mailbox.url, Shop: t.shop.url,
	}
	if s.KeyFile, err = t.dir.KeyPath(Runtime); err != nil {
		return s, err
	}
	secret, err := t.token(ctx, Runtime, api.RightRecord, api.RightRead, api.RightPayloads)
	if err != nil {
		return s, err
	}
	return s, wholefile.Write(s.TokenFile, []byte(secret+"\n"), false)
}

func (t *tour) token(ctx context.Context, actor string, rights ...api.Right) (secret string, err error) {
	issued, err := t.client.AddToken(ctx, api.NewToken{Actor: actor, Rights: rights, Note: "quickstart"})
	if err != nil {
		return "", fmt.Errorf("a token for %s: %w", actor, err)
	}
	return issued.Secret, nil
}

// register registers an actor, as `ledgerd actor add` does.
func (t *tour) register(ctx context.Context, body *evidence.ActorRegistered) error {
	root, err := t.dir.Root()
	if err != nil {
		return err
	}
	record, err := t.client.NextRegistry(ctx, ledger.RootActor, body, evidence.TimeOf(time.Now()))
	if err != nil {
		return err
	}
	entry, err := evidence.Sign(record, root)
	if err != nil {
		return err
	}
	if _, err := t.client.Append(ctx, entry); err != nil {
		return fmt.Errorf("register %s: %w", body.Name, err)
	}
	return nil
}

func (t *tour) close() error {
	var errs []error
	if t.mail != nil {
		errs = append(errs, t.mail.close())
	}
	if t.shop != nil {
		errs = append(errs, t.shop.close())
	}
	t.stop()
	return errors.Join(append(errs, <-t.served, t.ledger.Close(), t.dir.Withdraw())...)
}

// handOut writes what an auditor gets: the trust file and one bundle a run.
func (t *tour) handOut(ctx context.Context) error {
	if err := os.MkdirAll(t.audit, 0o700); err != nil {
		return err
	}
	trust, err := t.client.Trust(ctx)
	if err != nil {
		return err
	}
	b, err := trust.Marshal()
	if err != nil {
		return err
	}
	if err := writeNew(t.trustFile(), b); err != nil {
		return err
	}
	for i := range t.worked {
		w := &t.worked[i]
		var file bytes.Buffer
		if err := t.client.Export(ctx, &file, ledger.ExportOptions{Run: w.run}); err != nil {
			return fmt.Errorf("bundle of %s: %w", w.id, err)
		}
		if err := writeNew(t.bundleFile(w.id), file.Bytes()); err != nil {
			return err
		}
		// From here on a run is what its bundle says.
		if w.contents, err = readContents(t.bundleFile(w.id)); err != nil {
			return err
		}
	}
	if b, err = os.ReadFile(t.trustFile()); err != nil {
		return err
	}
	t.trust, err = bundle.ParseTrust(b)
	return err
}

// writeNew writes a file that is not there yet.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

func (t *tour) trustFile() string { return filepath.Join(t.audit, "trust.json") }

func (t *tour) bundleFile(id string) string { return filepath.Join(t.audit, id+".bundle") }
