package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/internal/agent"
	"ledgerd/internal/datadir"
	"ledgerd/internal/exchange"
	"ledgerd/internal/server"
	"ledgerd/internal/telemetry"
	"ledgerd/internal/traces"
	"ledgerd/ledger/pebblestore"
	"ledgerd/ledger/tlog"
)

func init() {
	register(&cli.Command{
		Name:  "serve",
		Usage: "serve a ledger over HTTP",
		Description: "Examples:\n" +
			"  # At http://127.0.0.1:8420, until it is interrupted\n" +
			"  ledgerd serve --data-dir data\n" +
			"  # At a Unix socket, with agents that may do what the policies permit\n" +
			"  ledgerd serve --data-dir data --listen unix:ledgerd.sock --policies policies",
		Flags: append(append(append(agentFlags(), notifyFlags()...), inboxFlags()...),
			dataDirFlag(), headFileFlag(),
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:8420", Usage: "`ADDRESS` host:port, or unix:/path"},
			&cli.BoolFlag{Name: "public-log", Usage: "tree heads and tiles, which hold every record and no payload, need no token"},
			&cli.StringSliceFlag{Name: "host", Usage: "further `NAME` that the daemon is called by"},
			&cli.PathFlag{Name: "tls-cert", Usage: "certificate chain in `FILE` (PEM): needed beyond loopback"},
			&cli.PathFlag{Name: "tls-key", Usage: "its private key in `FILE` (PEM)"},
			&cli.Int64Flag{Name: "max-payload", Usage: "largest payload in `BYTES` (default: 16 MiB)"},
			&cli.PathFlag{Name: "backup-dir", Usage: "`DIR` for backups that are asked for over HTTP (default: that of --data-dir with .backups)"},
			&cli.DurationFlag{Name: "idle-stop", Usage: "end when no request came, and none was at work, for `TIME` (default: never)"},
			&cli.DurationFlag{Name: "grace", Value: 15 * time.Second, Usage: "`TIME` for what is under way when the daemon stops"},
			&cli.StringFlag{Name: "log-level", Value: "info", Usage: "how much the daemon says: `debug|info|warn|error`"},
			&cli.StringFlag{Name: "log-format", Value: "text", Usage: "form of what it says: `text|json`"},
		),
		Action: serve,
	})
}

func serve(c *cli.Context) error {
	if err := args(c); err != nil {
		return err
	}
	log, err := logger(c)
	if err != nil {
		return err
	}
	secure, err := tlsConfig(c, "tls")
	if err != nil {
		return err
	}
	address := c.String("listen")
	if err := mayListen("listen", "tls", address, secure != nil); err != nil {
		return err
	}
	if err := mayIdle(c); err != nil {
		return err
	}
	d, err := dataDir(c)
	if err != nil {
		return err
	}
	tracing, err := telemetry.Setup(c.Context, version(), log)
	if err != nil {
		return err
	}
	metrics := server.NewMetrics()
	fatal := make(chan error, 1)
	l, err := openToServe(c, d, address, datadir.Options{
		HeadFile: c.Path("head-file"), MaxPayload: c.Int64("max-payload"), Logger: log, OnCommit: metrics.Commit, Leases: true,
		OnFatal: func(err error) { fatal <- err },
	})
	if errors.Is(err, pebblestore.ErrLocked) {
		if a, other := d.Daemon(); other == nil {
			err = fmt.Errorf("%w: the daemon at %s, process %d, if it still is that one", err, a.URL, a.PID)
		}
	}
	if err != nil {
		return err
	}
	humans, err := notifier(c, l, log)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	handoffs, err := openExchange(c, l, log)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	host, err := agents(c, l, handoffs, tracing, humans, log)
	if err != nil {
		return errors.Join(err, handoffs.Close(), l.Close())
	}
	var spans *traces.Receiver
	end := func() error {
		spans.Close()
		host.Close()
		return handoffs.Close()
	}
	spans, err = spanReceiver(l, log)
	if err != nil {
		return errors.Join(err, end(), l.Close())
	}
	inbox, err := openInbox(c, l, handoffs, metrics, log)
	if err != nil {
		return errors.Join(err, end(), l.Close())
	}
	s, ln, err := listen(c, l, host, spans, handoffs, tracing, metrics, log, address)
	if err != nil {
		return errors.Join(err, inbox.Close(), end(), l.Close())
	}
	url := urlOf(ln.Addr(), secure != nil)
	if err := d.Announce(url, inbox.URL()); err != nil {
		return errors.Join(err, ln.Close(), inbox.Close(), end(), l.Close())
	}
	log.Info("serving", "origin", d.Origin, "url", url, "size", l.Head().Size, "data_dir", d.Path, "copy", d.Copy, "handoffs", inbox.URL())

	humans.Start()
	handoffs.Start()

	ctx, stop := context.WithCancel(c.Context)
	defer stop()
	if d := c.Duration("idle-stop"); d > 0 {
		go func() {
			if s.Idle(ctx, d) {
				log.Info("stopping: nobody asked for anything", "for", d)
				stop()
			}
		}()
	}
	err = serveUntil(ctx, l, fatal, func(ctx context.Context) error {
		return together(ctx, func(ctx context.Context) error { return s.Serve(ctx, ln, secure, c.Duration("grace")) },
			func(ctx context.Context) error { return inbox.Serve(ctx, c.Duration("grace")) })
	})
	if err == nil {
		err = end()
		hush(humans)
		flush(tracing, log)
		// While we have the directory: whoever has it next says where he listens.
		err = errors.Join(err, d.Withdraw(), l.Close())
		log.Info("stopped", "size", l.Head().Size)
	}
	return err
}

// mayIdle refuses to end by itself what peers count on, who come when they like.
func mayIdle(c *cli.Context) error {
	switch d := c.Duration("idle-stop"); {
	case d < 0:
		return usage("--idle-stop: want a time of 0 or more, found %s", d)
	case d > 0 && c.String("handoffs") != "":
		return usage("--idle-stop: want none with --handoffs: peers come when they like")
	}
	return nil
}

// openToServe opens the ledger. A daemon that ends by itself may be the next one of a
// daemon that is ending: it waits for the directory as long as the one that has it says
// that it listens, or listened, in the same place.
func openToServe(c *cli.Context, d *datadir.Dir, address string, o datadir.Options) (*datadir.Ledger, error) {
	last := time.Now()
	if c.Duration("idle-stop") > 0 {
		last = last.Add(c.Duration("grace") + answerTime)
	}
	for {
		l, err := d.Ledger(c.Context, o)
		if !errors.Is(err, pebblestore.ErrLocked) || time.Now().After(last) {
			return l, err
		}
		if a, other := d.Daemon(); other == nil && a.URL != address {
			return l, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-c.Context.Done():
			return nil, errors.Join(err, c.Context.Err())
		}
	}
}

// flush sends the spans that are still here. They are no evidence: what cannot be
// sent in time is lost, and nothing fails by it.
func flush(tracing *telemetry.Tracing, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	if err := tracing.Shutdown(ctx); err != nil {
		log.Warn("traces", "error", err)
	}
}

const flushTime = 5 * time.Second

// answerTime is for writers to hear, after the log has died, what became of
// their records.
const answerTime = time.Second

// serveUntil serves until ctx ends, or the log dies, which fatal tells. Then the
// process has to end without closing the store, hence the exit code: a flush
// could make durable what was answered "unknown".
func serveUntil(ctx context.Context, l *datadir.Ledger, fatal <-chan error, serve func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- serve(ctx) }()
	var err error
	select {
	case err = <-fatal:
		time.Sleep(answerTime)
	case err = <-served:
		if l.Err() == nil || errors.Is(l.Err(), tlog.ErrReadOnly) {
			return err
		}
		err = l.Err() // it died while the last requests were answered
	}
	cancel()
	return cli.Exit(fmt.Sprintf("the log has died, and nothing more is written: %v", err), exitInternal)
}

// together serves listeners until ctx ends or one of them fails.
func together(ctx context.Context, serve ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, len(serve))
	for _, one := range serve {
		go func() {
			err := one(ctx)
			if err != nil {
				cancel()
			}
			done <- err
		}()
	}
	var err error
	for range serve {
		err = errors.Join(err, <-done)
	}
	return err
}

func listen(c *cli.Context, l *datadir.Ledger, host *agent.Host, spans *traces.Receiver, handoffs *exchange.Exchange, tracing *telemetry.Tracing, metrics *server.Metrics, log *slog.Logger, address string) (*server.Server, net.Listener, error) {
	tokens, err := l.Dir.Tokens()
	if err != nil {
		return nil, nil, err
	}
	hosts := c.StringSlice("host")
	if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
		hosts = append(hosts, host)
	}
	cfg := server.Config{
		Ledger: l.Ledger, Tokens: tokens, Agents: host, Handoffs: handoffs, PublicLog: c.Bool("public-log"), Hosts: hosts, Metrics: metrics, Logger: log,
		Version: version(), Trace: tracing.Incoming, Backup: func(ctx context.Context) (string, error) { return backupNow(ctx, l, c.Path("backup-dir")) },
	}
	if spans != nil {
		cfg.Spans = spans
	}
	s, err := server.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if path, err = filepath.Abs(path); err != nil { // clients may be elsewhere
			return nil, nil, err
		}
		// We hold the directory's lock: a socket that is there is a dead daemon's.
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
		network, address = "unix", path
	}
	ln, err := net.Listen(network, address)
	if err == nil && network == "unix" {
		err = os.Chmod(address, 0o600)
	}
	return s, ln, err
}

// backupNow writes a backup under a name that sorts by time.
func backupNow(ctx context.Context, l *datadir.Ledger, dir string) (string, error) {
	if dir == "" {
		dir = l.Dir.Path + ".backups"
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(dir, time.Now().UTC().Format("20060102T150405.000000000Z"))
	return path, l.Backup(ctx, path)
}

// mayListen refuses to listen where others could read on the wire what is not theirs.
// files begins the names of the flags that would keep them from it.
func mayListen(flag, files, address string, secure bool) error {
	if strings.HasPrefix(address, "unix:") || secure {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return usage("--%s: want host:port or unix:/path, found %q", flag, address)
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return usage("--%s %s: want --%s-cert and --%s-key beyond loopback, where what is sent in the clear is everybody's", flag, address, files, files)
}

// tlsConfig reads the files that two flags name; nil where neither does.
func tlsConfig(c *cli.Context, files string) (*tls.Config, error) {
	cert, key := c.Path(files+"-cert"), c.Path(files+"-key")
	if cert == "" && key == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("--%s-cert, --%s-key: %w", files, files, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}}, nil
}

func urlOf(a net.Addr, secure bool) string {
	switch {
	case a.Network() == "unix":
		return "unix:" + a.String()
	case secure:
		return "https://" + a.String()
	}
	return "http://" + a.String()
}

func logger(c *cli.Context) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, usage("--log-level: %v", err)
	}
	o := &slog.HandlerOptions{Level: level}
	switch c.String("log-format") {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, o)), nil
	}
	return nil, usage("--log-format: want text or json, found %q", c.String("log-format"))
}

// quiet is the diagnostics of commands that do one thing and end.
func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}
