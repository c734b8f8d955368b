package hook

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What a call is given where nothing else is said.
const (
	DefaultServer   = "http://127.0.0.1:8420" // as client.DefaultServer
	DefaultTask     = "coding-session"
	DefaultSendBack = 3
)

// maxInput is the most, in bytes, that is read of what an agent gives.
const maxInput = 64 << 20

// A Call is what a command line says of one call of a hook.
type Call struct {
	Agent, Server, Token, TokenFile, Run, Task, Mode, StateDir string

	Wait     time.Duration
	SendBack int
	Patience time.Duration // 3 s if 0
	// RunOf returns the key of the run of a session of the agent's, where no Run is named;
	// nil: the hook makes it of the two names.
	RunOf func(ctx context.Context, session string, ends bool) (string, error)
	// Process names the agent's, as gateways do; "": it is not known.
	Process string
}

// Reach returns how a call reaches the daemon. It is the one place that knows: a daemon
// of the user's own, which is joined or started where no server is named, goes here.
var Reach = func(c *Call) (Transport, error) {
	token, err := c.Secret()
	if err != nil {
		return nil, err
	}
	return Dial(cmp.Or(c.Server, DefaultServer), token)
}

// Secret returns the token's.
func (c *Call) Secret() (string, error) {
	if c.Token != "" {
		return c.Token, nil
	}
	if c.TokenFile == "" {
		return "", fmt.Errorf("want a token for %s: --token-file, or LEDGERD_TOKEN_FILE", cmp.Or(c.Server, DefaultServer))
	}
	b, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}

// IsElsewhere reports whether Reach failed because the daemon is not on this machine:
// then only what speaks TLS reaches it.
func IsElsewhere(err error) bool { return errors.Is(err, errElsewhere) }

// Do serves one call: it reads an event, and answers it. What goes wrong blocks, unless
// the call only observes. send is how the daemon is reached; err, not nil, is why it is
// not.
func (c *Call) Do(ctx context.Context, send Transport, err error, in io.Reader, stdout, stderr io.Writer) (exit int) {
	observe := c.Mode == "observe"
	give := func(o Out) int {
		_, outErr := io.WriteString(stdout, o.Stdout)
		_, errErr := io.WriteString(stderr, o.Stderr)
		if outErr != nil || errErr != nil {
			return ExitBlock // nobody hears that it is permitted
		}
		return o.Exit
	}
	// Before it is known what has happened, there is one way to say no.
	refuse := func(err error) int {
		why := visible("Not run: " + err.Error() + ".")
		if observe {
			return give(Out{Stderr: "ledgerd: not enforced: " + why + "\n", Exit: 1})
		}
		return give(Out{Stderr: why + "\n", Exit: ExitBlock})
	}
	defer func() {
		if p := recover(); p != nil {
			exit = refuse(errors.New("ledgerd hook broke down"))
		}
	}()
	agent, bad := For(c.Agent)
	if bad == nil && c.Mode != "" && c.Mode != "enforce" && !observe {
		bad = fmt.Errorf("--mode: want enforce or observe, found %s", quote(c.Mode))
	}
	if bad != nil {
		return refuse(bad)
	}
	raw, bad := io.ReadAll(io.LimitReader(in, maxInput+1))
	if bad == nil && len(raw) > maxInput {
		bad = fmt.Errorf("want an event of at most %d bytes", maxInput)
	}
	var e *Event
	if bad == nil {
		e, bad = agent.Parse(raw)
	}
	if bad != nil {
		return refuse(fmt.Errorf("the event on standard input: %w", bad))
	}
	ctx, cancel := context.WithTimeout(ctx, c.Wait+30*time.Second)
	defer cancel()
	key := c.Run
	if key == "" && c.RunOf != nil && err == nil {
		key, err = c.RunOf(ctx, e.Session, e.Kind == End)
	}
	if err != nil {
		send = func(context.Context, string, string, []byte) (int, []byte, error) { return 0, nil, noWay{err} }
	}
	return give(agent.Answer(e.Kind, Handle(ctx, Config{
		Agent: agent, Send: send, Key: key, Task: cmp.Or(c.Task, DefaultTask), Observe: observe, Wait: c.Wait, SendBack: c.SendBack,
		Patience: cmp.Or(c.Patience, 3*time.Second), Memory: c.StateDir, Process: c.Process,
	}, e)))
}

// StateDir is where a user's programs keep what is not worth a backup, and this one
// what one call leaves for the next; "": nowhere.
func StateDir(env func(string) (string, bool)) string {
	if dir, ok := env("XDG_STATE_HOME"); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "ledgerd", "hook")
	}
	if home, ok := env("HOME"); ok && filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "ledgerd", "hook")
	}
	return ""
}

// Early serves a call if it is the plain one that agents make: `hook --agent NAME` and
// flags of it. Everything else, what is wrong included, is for the command: it says no.
func Early(args []string, env func(string) (string, bool), in io.Reader, stdout, stderr io.Writer) (exit int, done bool) {
	if len(args) < 3 || args[1] != "hook" || !strings.HasPrefix(args[2], "--agent") {
		return 0, false
	}
	if config, _ := env("LEDGERD_CONFIG"); config != "" {
		return 0, false
	}
	var wait, back string
	c := Call{SendBack: DefaultSendBack}
	flags := map[string]*string{
		"agent": &c.Agent, "server": &c.Server, "token": &c.Token, "token-file": &c.TokenFile, "run": &c.Run, "task": &c.Task, "mode": &c.Mode,
		"state-dir": &c.StateDir, "wait": &wait, "send-back": &back,
	}
	given := make(map[string]bool)
	for rest := args[2:]; len(rest) > 0; rest = rest[1:] {
		name, value, inline := strings.Cut(strings.TrimPrefix(rest[0], "--"), "=")
		to := flags[name]
		if to == nil || !strings.HasPrefix(rest[0], "--") || given[name] {
			return 0, false
		}
		if !inline {
			if len(rest) < 2 {
				return 0, false
			}
			value, rest = rest[1], rest[1:]
		}
		*to, given[name] = value, true
	}
	for name, to := range flags {
		if given[name] {
			continue
		}
		variable := "LEDGERD_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if value, _ := env(variable); value != "" {
			*to = value
		} else if path, _ := env(variable + "_FILE"); path != "" && name != "token" { // that is --token-file
			return 0, false
		}
	}
	var err error
	if wait != "" {
		if c.Wait, err = time.ParseDuration(wait); err != nil {
			return 0, false
		}
	}
	if back != "" {
		if c.SendBack, err = strconv.Atoi(back); err != nil {
			return 0, false
		}
	}
	c.StateDir = cmp.Or(c.StateDir, StateDir(env))
	if c.Unnamed() {
		raw, there := quick(&c, env, in)
		if !there {
			return 0, false
		}
		return c.doQuick(bytes.NewReader(raw), stdout, stderr)
	}
	send, err := Reach(&c)
	if IsElsewhere(err) {
		return 0, false
	}
	return c.Do(context.Background(), send, err, in, stdout, stderr), true
}
