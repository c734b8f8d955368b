package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/hook"
	"ledgerd/internal/mcp"
	"ledgerd/internal/report"
	"ledgerd/internal/userdaemon"
)

func init() {
	register(&cli.Command{
		Name:      "mcp",
		Usage:     "stand between an MCP client and a server: every tool call is permitted first, and recorded",
		ArgsUsage: "-- COMMAND [ARG...]",
		UsageText: "ledgerd mcp [options] -- COMMAND [ARG...]\nledgerd mcp [options] --name NAME --upstream URL",
		Description: "In the client's configuration, put this before the server's command. Policies know the server's tools as NAME/TOOL. " +
			"Where the ledger cannot be reached, nothing is called. With --mode observe nothing is held back, and what would have been is recorded.\n\n" +
			"Examples:\n" +
			"  # What a client starts in place of: notes-server --dir notes\n" +
			"  ledgerd mcp --name notes -- notes-server --dir notes < session.jsonl\n" +
			"  # A server that is reached over HTTP\n" +
			"  ledgerd mcp --name notes --upstream http://127.0.0.1:3001/mcp\n" +
			"  # To start with: nothing is held back, and it is on record what would have been\n" +
			"  ledgerd mcp --mode observe --name notes -- notes-server --dir notes",
		Flags: append(gatewayFlags(), pinsFlag()),
		Action: func(c *cli.Context) error {
			return gateway(c)
		},
		Subcommands: []*cli.Command{{
			Name:  "tools",
			Usage: "see and accept what the tools of MCP servers are",
			Description: "A tool that is not what it was when it was first seen, or that has the name of another server's, is neither shown nor called, until it is accepted.\n\n" +
				"Examples:\n" +
				"  # Which tools are held back?\n" +
				"  ledgerd mcp tools list",
			Subcommands: []*cli.Command{
				{
					Name: "list", Usage: "list the tools that were seen, and those that changed",
					Description: "Examples:\n" +
						"  # Which tools are held back?\n" +
						"  ledgerd mcp tools list",
					Flags: []cli.Flag{pinsFlag()}, Action: listTools,
				},
				{
					Name: "accept", Usage: "take a tool as it is now", ArgsUsage: "NAME/TOOL...",
					Description: "NAME/ is all tools of a server.\n\n" +
						"Examples:\n" +
						"  # After looking at what it says now\n" +
						"  ledgerd mcp tools accept notes/",
					Flags: []cli.Flag{pinsFlag()}, Action: acceptTools,
				},
			},
		}},
	})
}

func gatewayFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "name", Usage: "the server's `NAME`, by which policies know its tools (default: the command's)"},
		&cli.StringFlag{Name: "server", Usage: "the daemon at `URL` (default: the user's own, which is started if need be)"},
		&cli.StringFlag{Name: "agent", Value: "agent", Usage: "with the user's own daemon: the `AGENT` whose calls they are"},
		&cli.StringFlag{Name: "token", Usage: "`SECRET` of a token with the rights act, read and gateway; better as LEDGERD_TOKEN_FILE"},
		&cli.StringFlag{Name: "upstream", Usage: "instead of a command: the server at `URL`, over streamable HTTP"},
		&cli.StringFlag{Name: "listen", Value: "127.0.0.1:0", Usage: "with --upstream: `ADDRESS` at which clients find it"},
		&cli.StringSliceFlag{Name: "origin", Usage: "with --upstream: `ORIGIN` of a web page that may use it, such as https://app.example"},
		&cli.StringFlag{Name: "run", Usage: "`KEY` of the run that the calls belong to (default: of the agent's session with the user's own daemon, else of the gateway's)"},
		&cli.StringFlag{Name: "task", Value: hook.DefaultTask, Usage: "`TASK` that the run is opened for, by which its contract is chosen"},
		&cli.StringFlag{Name: "subject", Usage: "what the run is about: `SUBJECT`"},
		&cli.StringFlag{Name: "mode", Value: string(evidence.Enforce), Usage: "what would be held back is recorded and called under observe: `enforce|observe`"},
		&cli.DurationFlag{Name: "wait", Value: 20 * time.Second, Usage: "`TIME` that a call waits for a human, before the client is told to call again"},
		&cli.StringSliceFlag{Name: "redact", Usage: "environment `VARIABLE` whose value gets into no record"},
	}
}

func pinsFlag() cli.Flag {
	return &cli.PathFlag{Name: "tools-file", Usage: "`FILE` that keeps what tools were when they were first seen (default: mcp-tools.json where the user's own daemon keeps its files)", EnvVars: []string{"LEDGERD_MCP_TOOLS"}}
}

func pins(c *cli.Context) (*mcp.Pins, error) {
	path := c.Path("tools-file")
	if path == "" {
		home, err := userdaemon.Find("")
		if err != nil {
			return nil, err
		}
		path = filepath.Join(home.Path, "mcp-tools.json")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return mcp.NewPins(path), nil
}

func gateway(c *cli.Context) error {
	argv, upstream := c.Args().Slice(), c.String("upstream")
	if (len(argv) == 0) == (upstream == "") {
		return usage("want the server's command after --, or --upstream URL")
	}
	name := c.String("name")
	switch {
	case name == "" && upstream != "":
		return usage("want --name NAME: by it policies know the server's tools")
	case name == "":
		name = strings.TrimSuffix(filepath.Base(argv[0]), filepath.Ext(argv[0]))
	}
	if err := mcp.CheckServerName(name); err != nil {
		return usage("--name: %v", err)
	}
	mode := evidence.Mode(c.String("mode"))
	if mode != evidence.Enforce && mode != evidence.Observe {
		return usage("--mode: want enforce or observe, found %q", mode)
	}
	redact, err := redactor(c.StringSlice("redact"))
	if err != nil {
		return err
	}
	p, err := pins(c)
	if err != nil {
		return err
	}
	dial, key, err := gatewayRun(c, name)
	if err != nil {
		return err
	}
	told := announcement{c: c, server: name}
	defer told.end()
	if c.String("run") == "" && ownDaemon(c) {
		told.in()
	}
	run := func(ctx context.Context) (string, error) {
		run, err := key(ctx)
		if err == nil {
			told.of(run)
		}
		return run, err
	}
	what := api.OpenRun{Task: c.String("task"), Subject: c.String("subject")}
	calls := mcp.LateRun(dial, run, what)
	d, err := dial(c.Context)
	if err == nil {
		calls = mcp.DaemonRun(d, run, what)
		_, err = run(c.Context) // hooks are asked before the first call comes here
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if mode == evidence.Observe {
		log.Warn("calls are observed and not held back: records say what would have been")
		if err != nil {
			log.Warn("the ledger is out of reach: until it is there, calls are made and not recorded", "error", err)
		}
	} else if err != nil {
		return err
	}
	asker := "gateway-" + random()
	cfg := mcp.Config{
		Server: name, Run: calls, Asker: asker, Wait: c.Duration("wait"), Pins: p, Names: new(mcp.Names), Redact: redact, Log: log,
		Observe: mode == evidence.Observe,
	}
	if upstream != "" {
		return serveGateway(c, cfg, upstream)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	// The server is governed, and no place for what opens the ledger.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "LEDGERD_") })
	return mcp.Stdio(c.Context, cfg, os.Stdin, os.Stdout, cmd)
}

// gatewayRun returns what reaches the daemon, and what names the run that calls belong to:
// where no daemon is named, the user's own, and the run of the agent's session.
func gatewayRun(c *cli.Context, name string) (dial func(context.Context) (*client.Client, error), key func(context.Context) (string, error), err error) {
	run, own := c.String("run"), ownDaemon(c)
	if run == "" && !own {
		run = name + "-" + random()
	}
	key = func(ctx context.Context) (string, error) {
		if run != "" {
			return run, nil
		}
		return userdaemon.SessionRun(ctx, userdaemon.Session{Agent: c.String("agent")})
	}
	if own {
		return func(ctx context.Context) (*client.Client, error) {
			return userdaemon.Join(ctx, userdaemon.Options{Agent: c.String("agent"), Gateway: true})
		}, key, nil
	}
	d, err := dialDaemon(c)
	return func(context.Context) (*client.Client, error) { return d, nil }, key, err
}

// ownDaemon reports whether no daemon is named, so that it is the user's own.
func ownDaemon(c *cli.Context) bool { return c.String("server") == "" && c.String("token") == "" }

// announcement tells hooks that a gateway is there, so that they leave the server's tools
// to it.
type announcement struct {
	c      *cli.Context
	server string
	run    string
	ofRun  func() // ends what is said of the run
	here   func() // and of the agent's process
}

// in announces the gateway for the agent's process, whichever run its session is in.
func (a *announcement) in() {
	process, err := userdaemon.Process()
	if err == nil {
		a.here, err = hook.AnnounceIn(hook.StateDir(os.LookupEnv), process, a.server)
	}
	a.failed(err)
}

// of announces the gateway for a run, in place of the one before.
func (a *announcement) of(run string) {
	if run == a.run {
		return
	}
	if a.ofRun != nil {
		a.ofRun()
	}
	var err error
	a.ofRun, err = hook.Announce(hook.StateDir(os.LookupEnv), run, a.server)
	a.run = run
	a.failed(err)
}

func (a *announcement) failed(err error) {
	if err != nil {
		fmt.Fprintf(a.c.App.ErrWriter, "ledgerd: hooks are not told of this gateway, and record its calls too: %v\n", err)
	}
}

func (a *announcement) end() {
	for _, end := range []func(){a.ofRun, a.here} {
		if end != nil {
			end()
		}
	}
}

// serveGateway serves a server that is reached over HTTP, until it is interrupted.
func serveGateway(c *cli.Context, cfg mcp.Config, upstream string) error {
	u, err := url.Parse(upstream)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return usage("--upstream: want http://host:port/path or https://…, found %q", upstream)
	}
	address := c.String("listen")
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return usage("--listen: want an address of this machine's alone, such as 127.0.0.1:8421, found %q", address)
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	p := mcp.NewHandler(cfg, u, c.StringSlice("origin"))
	s := &http.Server{Handler: p, ReadHeaderTimeout: 5 * time.Second}
	fmt.Fprintf(c.App.ErrWriter, "ledgerd: the tools of %s are at http://%s\n", report.Visible(cfg.Server), ln.Addr())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	select {
	case err = <-served:
	case <-c.Context.Done():
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context), 5*time.Second)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			_ = s.Close() // streams that no one ends
		}
		<-served
	}
	p.Close()
	return err
}

// redactor hides the values of environment variables. Of one that is not set nobody knows
// what is to be hidden: most likely it has another name.
func redactor(names []string) (*mcp.Redactor, error) {
	r := new(mcp.Redactor)
	for _, name := range names {
		value, ok := os.LookupEnv(name)
		if !ok {
			return nil, usage("--redact: want a variable that is set, found %s, which is not: nothing would be taken out of records", name)
		}
		r.Hide(name, value)
	}
	return r, nil
}

func random() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

func listTools(c *cli.Context) error {
	p, err := pins(c)
	if err != nil {
		return err
	}
	all, err := p.List()
	if err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintln(c.App.Writer, "No tools were seen yet.")
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		pin := all[name]
		if pin.Now == "" {
			fmt.Fprintf(c.App.Writer, "accepted  %s  %.12s\n", report.Visible(name), pin.Accepted)
			continue
		}
		why := fmt.Sprintf("was %.12s", pin.Accepted)
		if pin.Shadows != "" {
			why = "has the name of " + report.Visible(pin.Shadows)
		}
		fmt.Fprintf(c.App.Writer, "held back %s  %s, is %.12s: %s\n", report.Visible(name), why, pin.Now, report.Visible(pin.About))
	}
	return nil
}

func acceptTools(c *cli.Context) error {
	if c.NArg() == 0 {
		return usage("want NAME/TOOL, or NAME/ for all of a server")
	}
	p, err := pins(c)
	if err != nil {
		return err
	}
	for _, name := range c.Args().Slice() {
		accepted, err := p.Accept(name)
		if err != nil {
			return err
		}
		for _, full := range accepted {
			fmt.Fprintln(c.App.Writer, "accepted", report.Visible(full))
		}
		if len(accepted) == 0 {
			fmt.Fprintf(c.App.Writer, "nothing is held back of %s\n", report.Visible(name))
		}
	}
	return nil
}
