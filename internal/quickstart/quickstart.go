package quickstart

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"ledgerd/bundle"
	"ledgerd/client"
	"ledgerd/internal/datadir"
	"ledgerd/internal/importer"
	"ledgerd/internal/server"
	"ledgerd/ledger"
)

//go:embed runs.jsonl
var transcripts []byte

// Origin and Runtime are those of the ledger that is made.
const (
	Origin  = "quickstart.example/support"
	Runtime = "support-runtime"
)

// Options says how the quickstart runs.
type Options struct {
	DataDir string // where the ledger is made; "": in a temporary directory
	Serve   bool   // leave the daemon running until the context ends
	Out     io.Writer
	Width   int      // columns; 0: those of the terminal that Out is
	Environ []string // as os.Environ
	Program string   // how the reader calls ledgerd and verify, with %s for which
	Logger  *slog.Logger
}

// Run runs the quickstart. Everything it shows goes to o.Out; an error means
// that something did not go as it should, and says what.
func Run(ctx context.Context, o Options) (err error) {
	begun := time.Now()
	t, err := open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	v := newView(o.Out, o.Environ, o.Width)
	v.title("ledgerd", "An agent's final answer is a claim, not evidence. Five runs of a support team, each reported as done; here is what the evidence says.")
	v.step("A ledger, and the daemon that serves it")
	v.fact("ledger", t.dir.Path)
	v.fact("entry 0", t.dir.Entry0.String())
	v.fact("daemon", t.url)

	if err := t.importRuns(ctx); err != nil {
		return err
	}
	v.step("Five transcripts become signed records")
	v.fact("records", fmt.Sprintf("%d, from %d runs: every message, tool call, result, claim and verdict is one", t.records, len(t.outcomes)))
	v.fact("log", fmt.Sprintf("%d entries, each under the signed tree head before its import was acknowledged", t.ledger.Head().Size))

	if err := t.handOut(ctx); err != nil {
		return err
	}
	stories, err := t.check()
	if err != nil {
		return err
	}
	v.step("Each claim, checked offline against its run's bundle")
	v.stories(stories)
	if err := t.checkLog(ctx, v); err != nil {
		return err
	}

	lie, err := t.tamper()
	if err != nil {
		return err
	}
	v.step("Somebody changes one record in a copy")
	v.lie(lie)

	v.step("What to type next")
	t.next(v, o)
	v.print("")
	v.paragraph(faint.Render(fmt.Sprintf("All of this took %.1f s.", time.Since(begun).Seconds())))
	if !o.Serve {
		return nil
	}
	v.paragraph("The daemon runs on at " + t.url + ". Ctrl-C stops it.")
	select {
	case <-ctx.Done():
		return nil
	case err := <-t.served:
		t.served <- nil // close waits for it
		return fmt.Errorf("the daemon stopped: %w", err)
	}
}

// tour is the ledger, its daemon, and what the auditor was handed.
type tour struct {
	dir    *datadir.Dir
	ledger *datadir.Ledger
	url    string
	client *client.Client
	stop   context.CancelFunc
	served chan error // the daemon's end; capacity 1

	outcomes []importer.Outcome
	records  int

	audit string        // directory of what the auditor has
	trust *bundle.Trust // read back from there
}

// open makes the ledger and starts its daemon on a free port of this machine.
func open(ctx context.Context, o Options) (*tour, error) {
	path := o.DataDir
	if path == "" {
		tmp, err := os.MkdirTemp("", "ledgerd-")
		if err != nil {
			return nil, err
		}
		path = filepath.Join(tmp, "ledger")
	}
	d, err := datadir.Init(ctx, path, datadir.InitOptions{Origin: Origin, Runtime: Runtime, Now: time.Now()})
	if err != nil {
		return nil, err
	}
	t := &tour{dir: d, audit: d.Path + ".audit", served: make(chan error, 1)}
	metrics := server.NewMetrics()
	if t.ledger, err = d.Ledger(ctx, datadir.Options{Logger: o.Logger, OnCommit: metrics.Commit}); err != nil {
		return nil, err
	}
	if err := t.serve(ctx, metrics, o.Logger); err != nil {
		return nil, errors.Join(err, t.ledger.Close())
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
		err = t.dir.Announce(t.url)
	}
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	// Not ended by ctx itself: close ends it, in order.
	ctx, t.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() { t.served <- s.Serve(ctx, ln, nil, 5*time.Second) }()
	return nil
}

func (t *tour) close() error {
	t.stop()
	return errors.Join(<-t.served, t.ledger.Close(), t.dir.Withdraw())
}

// importRuns imports the transcripts over HTTP, as anybody would.
func (t *tour) importRuns(ctx context.Context) error {
	key, err := t.dir.Key(Runtime)
	if err != nil {
		return err
	}
	root, err := t.dir.Root()
	if err != nil {
		return err
	}
	r := importer.Remote{Client: t.client, Root: root}
	im := &importer.Importer{
		Ledger: r, Registry: r, Origin: Origin, Runtime: Runtime, Key: key, Operator: "support-lead", Now: time.Now, Random: rand.Reader,
	}
	return im.ImportAll(ctx, importer.NewReader(bytes.NewReader(transcripts)), func(o importer.Outcome) error {
		t.outcomes = append(t.outcomes, o)
		t.records += o.Appended
		return nil
	})
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
	for _, o := range t.outcomes {
		var file bytes.Buffer
		if err := t.client.Export(ctx, &file, ledger.ExportOptions{Run: o.Run}); err != nil {
			return fmt.Errorf("bundle of %s: %w", o.ID, err)
		}
		if err := writeNew(t.bundleFile(o.ID), file.Bytes()); err != nil {
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

// next says what the reader could do now.
func (t *tour) next(v *view, o Options) {
	say := func(program, what, line string) { v.command(fmt.Sprintf(o.Program, program)+" "+line, what) }
	v.command("D="+t.dir.Path, "the ledger; what the auditor was handed is in $D.audit")
	if !o.Serve {
		say("ledgerd", "serve it again", "serve --data-dir $D")
	}
	say("ledgerd", "its runs, with claim and verdict", "run list --data-dir $D")
	say("verify", "one of them in full, offline, under every rule", "--trust $D.audit/trust.json $D.audit/complaint-1042.bundle")
	say("ledgerd", "runs of your own, in the OpenAI chat format (docs/import.md)", "import --data-dir $D FILE.jsonl")
}
