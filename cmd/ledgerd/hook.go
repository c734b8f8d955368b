package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/internal/hook"
	_ "ledgerd/internal/hook/early" // serves most calls before main begins
	"ledgerd/internal/hook/install"
	"ledgerd/internal/userdaemon"
	"ledgerd/internal/userdaemon/place"
)

func init() {
	agent := func() cli.Flag {
		return &cli.StringFlag{Name: "agent", Usage: "the agent `" + strings.Join(hook.Names(), "|") + "`"}
	}
	call := []cli.Flag{
		&cli.StringFlag{Name: "server", Usage: "the daemon at `URL`, or unix:PATH (default: the user's own, which is started if need be)"},
		&cli.PathFlag{Name: "token-file", Usage: "`FILE` with the secret of a token with the right act"},
		&cli.StringFlag{Name: "run", Usage: "record in the run of this `KEY` (default: one of the session's)"},
		&cli.StringFlag{Name: "task", Usage: "open runs as this `TASK`, by which the operator chooses the contract (default: " + hook.DefaultTask + ")"},
		&cli.StringFlag{Name: "mode", Usage: "whether anything is blocked: `enforce|observe` (default: enforce)"},
		&cli.DurationFlag{Name: "wait", Usage: "hold a call for a human's answer for `DURATION` (default: not at all)"},
		&cli.IntFlag{Name: "send-back", Usage: "send an agent that is not done back `N` times in a row", Value: hook.DefaultSendBack},
		&cli.PathFlag{Name: "state-dir", Usage: "what one call leaves for the next, in `DIR` (default: in the user's state directory)"},
	}
	installing := []cli.Flag{
		agent(),
		&cli.StringFlag{Name: "scope", Usage: "for whom: `user|project`", Value: "user"},
		&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
	}
	register(&cli.Command{
		Name: "hook", Usage: "be asked by a coding agent before and after each use of a tool",
		Description: "The agent gives an event as JSON on standard input. A call that is not permitted, or cannot be asked for, is blocked as the\n" +
			"agent wants to be told; where it says that it is done and its contract is not met, it is sent back. docs/integrations/coding-agents.md\n" +
			"says what is governed, and what a hook cannot see.\n\n" +
			"Examples:\n" +
			"  # What Claude Code does before it runs a command\n" +
			"  ledgerd hook --agent claude-code --token-file agent.token < before.json",
		Flags:  append([]cli.Flag{agent(), &cli.StringFlag{Name: "token", Usage: "`SECRET` of the token; better --token-file"}}, call...),
		Action: serveHook,
		// A code that is not 2 would let the agent go on.
		OnUsageError: func(_ *cli.Context, err error, _ bool) error { return cli.Exit(err.Error(), hook.ExitBlock) },
		Subcommands: []*cli.Command{
			{
				Name: "install", Usage: "add the hook to an agent's settings",
				Description: "The change is shown first. Everything else in the file stays as it is.\n\n" +
					"Examples:\n" +
					"  # Govern Claude Code in all projects of this user\n" +
					"  ledgerd hook install --agent claude-code --yes --token-file agent.token\n" +
					"  # Let Gemini CLI in this project be recorded, and block nothing\n" +
					"  ledgerd hook install --agent gemini-cli --scope project --mode observe --yes",
				Flags:  append(append(installing[:len(installing):len(installing)], &cli.StringFlag{Name: "command", Usage: "`PROGRAM` that the agent calls (default: this one)"}), call...),
				Action: installHook,
			},
			{
				Name: "uninstall", Usage: "take the hook out of an agent's settings",
				Description: "Examples:\n" +
					"  # Claude Code is not governed any more\n" +
					"  ledgerd hook uninstall --agent claude-code --yes",
				Flags: installing, Action: uninstallHook,
			},
		},
	})
}

// hookTime is how long a call takes at most, but for a human's answer: less than what agents
// are told to wait (package install), of which some let it go on where nobody has said no.
var hookTime = 45 * time.Second

// hookCall reads what the flags say of a call.
func hookCall(c *cli.Context) *hook.Call {
	h := &hook.Call{
		Agent: c.String("agent"), Server: c.String("server"), Token: c.String("token"), TokenFile: c.Path("token-file"), Run: c.String("run"),
		Task: c.String("task"), Mode: c.String("mode"), Wait: c.Duration("wait"), SendBack: c.Int("send-back"), StateDir: c.Path("state-dir"),
	}
	if h.StateDir == "" {
		h.StateDir = hook.StateDir(os.LookupEnv)
	}
	return h
}

// serveHook serves the calls that package early does not: help, a file of settings, a
// daemon elsewhere.
func serveHook(c *cli.Context) error {
	if c.NArg() > 0 {
		return cli.Exit(fmt.Sprintf("ledgerd hook: there is no command %q", c.Args().First()), hook.ExitBlock)
	}
	h := hookCall(c)
	ctx, cancel := context.WithTimeout(c.Context, h.Wait+hookTime)
	defer cancel()
	var send hook.Transport
	var err error
	if h.Unnamed() {
		send, err = userDaemon(ctx, h)
	} else if send, err = hook.Reach(h); hook.IsElsewhere(err) {
		send, err = overTLS(h)
	}
	if exit := h.Do(ctx, send, err, hook.Input(c.App.Reader), c.App.Writer, c.App.ErrWriter); exit != 0 {
		return cli.Exit("", exit)
	}
	return nil
}

// userDaemon reaches the user's own daemon, which is started if need be, and has the call
// go into the run of the agent's session.
func userDaemon(ctx context.Context, h *hook.Call) (hook.Transport, error) {
	if _, err := hook.For(h.Agent); err != nil {
		return nil, err
	}
	home, err := userdaemon.Find("")
	if err != nil {
		return nil, err
	}
	// To observe takes a gateway's token: an agent's own is held to policies.
	observe := h.Mode == "observe"
	if _, err := userdaemon.Join(ctx, userdaemon.Options{Agent: h.Agent, Gateway: observe}); err != nil {
		return nil, err
	}
	h.Server, h.TokenFile = "unix:"+home.Socket, place.Token(home.Path, h.Agent, observe)
	h.RunOf = func(ctx context.Context, session string, ends bool) (string, error) {
		s := userdaemon.Session{Agent: h.Agent, ID: session}
		key, err := userdaemon.SessionRun(ctx, s)
		if err == nil && ends {
			err = userdaemon.EndSession(ctx, s)
		}
		return key, err
	}
	if h.Run == "" {
		if h.Process, err = userdaemon.Process(); err != nil {
			return nil, err
		}
	}
	return hook.Reach(h)
}

// overTLS reaches a daemon on another machine.
func overTLS(h *hook.Call) (hook.Transport, error) {
	token, err := h.Secret()
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(h.Server, "https://") {
		return nil, fmt.Errorf("want https for %s: a token sent in the clear is everybody's", h.Server)
	}
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
		req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(h.Server, "/")+path, bytes.NewReader(body))
		if err != nil {
			return 0, nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, nil, err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(io.LimitReader(resp.Body, hook.MaxAnswer))
		return resp.StatusCode, answer, err
	}, nil
}

// hookSettings opens the settings that --agent and --scope name.
func hookSettings(c *cli.Context) (*install.File, error) {
	if c.String("agent") == "" {
		return nil, usage("want --agent: %s", strings.Join(hook.Names(), ", "))
	}
	if scope := c.String("scope"); scope != "user" && scope != "project" {
		return nil, usage("--scope: want user or project, found %q", scope)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	dir := ""
	if c.String("scope") == "project" {
		if dir, err = os.Getwd(); err != nil {
			return nil, err
		}
	}
	return install.Open(c.String("agent"), home, dir, os.Getenv)
}

func installHook(c *cli.Context) error {
	f, err := hookSettings(c)
	if err != nil {
		return err
	}
	command, err := hookCommand(c)
	if err != nil {
		return err
	}
	change, err := f.Install(command, install.Options{Wait: c.Duration("wait"), Observe: c.String("mode") == "observe"})
	if err != nil {
		return err
	}
	if err := applySettings(c, change, "the hook is installed already"); err != nil {
		return err
	}
	agent, err := hook.For(c.String("agent"))
	if err != nil {
		return err
	}
	switch {
	case c.String("mode") == "observe":
		fmt.Fprintln(c.App.Writer, "It observes only: nothing is blocked.")
	case agent.Closed:
		fmt.Fprintf(c.App.Writer, "It blocks, and where it fails %s blocks the call%s.\n", agent.Name, install.Since(agent.Name))
	default:
		fmt.Fprintf(c.App.Writer, "It blocks what is not permitted. Where the hook itself fails (is killed, or takes too long) %s lets the call go on: then it observes only.\n", agent.Name)
	}
	return nil
}

func uninstallHook(c *cli.Context) error {
	f, err := hookSettings(c)
	if err != nil {
		return err
	}
	change, err := f.Uninstall()
	if err != nil {
		return err
	}
	return applySettings(c, change, "there is no hook of ledgerd's")
}

// hookCommand is the command that the agent is to call.
func hookCommand(c *cli.Context) ([]string, error) {
	program := c.String("command")
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	if !strings.Contains(filepath.Base(program), "ledgerd") {
		return nil, usage("--command: want a program whose name has ledgerd in it, by which uninstall finds it, found %q", program)
	}
	if filepath.Base(program) != program { // the agent calls it from anywhere
		abs, err := filepath.Abs(program)
		if err != nil {
			return nil, err
		}
		program = abs
	}
	words := []string{program, "hook", "--agent", c.String("agent")}
	for _, name := range []string{"server", "token-file", "run", "task", "mode", "wait", "send-back", "state-dir"} {
		if !c.IsSet(name) {
			continue
		}
		value := fmt.Sprint(c.Value(name))
		scheme := ""
		if path, ok := strings.CutPrefix(value, "unix:"); ok && name == "server" {
			scheme, value = "unix:", path
		}
		if scheme != "" || name == "token-file" || name == "state-dir" {
			abs, err := filepath.Abs(value)
			if err != nil {
				return nil, err
			}
			value = scheme + abs
		}
		words = append(words, "--"+name, value)
	}
	return words, nil
}

// applySettings shows a change, asks, and makes it.
func applySettings(c *cli.Context, change *install.Change, none string) error {
	if change == nil {
		fmt.Fprintln(c.App.Writer, none)
		return nil
	}
	fmt.Fprintln(c.App.Writer, visibleLines(change.Diff()))
	if !c.Bool("yes") {
		fmt.Fprint(c.App.ErrWriter, "Write it? [y/N] ")
		answer, err := bufio.NewReader(c.App.Reader).ReadString('\n')
		if err != nil || strings.ToLower(strings.TrimSpace(answer)) != "y" {
			return cli.Exit("nothing was written", exitFailed)
		}
	}
	return change.Write()
}
