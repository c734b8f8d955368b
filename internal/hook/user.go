package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"time"

	"ledgerd/internal/userdaemon/place"
)

// Where no daemon is named, it is the user's own (package userdaemon). What it takes to
// start one takes its time to initialise; to speak to one that runs takes little: its
// socket, the agent's token and the run of the session are files.

// Unnamed reports whether a call names no daemon.
func (c *Call) Unnamed() bool { return c.Server == "" && c.Token == "" && c.TokenFile == "" }

// given is what was read of standard input by quick, for the command to read.
var given []byte

// Input is standard input, with what was read of it before the command began.
func Input(r io.Reader) io.Reader { return io.MultiReader(bytes.NewReader(given), r) }

// quick has a call be served by the user's daemon, if that runs, knows the agent, and has
// a run for the session that goes on: else the command sees to it. It returns what it
// read.
func quick(c *Call, env func(string) (string, bool), in io.Reader) (raw []byte, there bool) {
	getenv := func(name string) string { v, _ := env(name); return v }
	home, err := place.Home(getenv)
	if err != nil || place.Private(home) != nil {
		return nil, false
	}
	socket, err := place.Socket(home, getenv("XDG_RUNTIME_DIR"))
	if err != nil {
		return nil, false
	}
	token := place.Token(home, c.Agent, c.Mode == "observe")
	agent, err := For(c.Agent)
	if _, missing := os.Stat(token); missing != nil || err != nil {
		return nil, false
	}
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return nil, false // it has ended: the command starts another
	}
	_ = conn.Close()
	raw, err = io.ReadAll(io.LimitReader(in, maxInput+1))
	given = raw
	if err != nil {
		return nil, false
	}
	e, err := agent.Parse(raw)
	if err != nil || e.Kind == Start || e.Kind == End { // the book has the process of a session, too
		return nil, false
	}
	if c.Run == "" {
		var page struct {
			Run   string `json:"run"`
			Agent string `json:"agent"`
			ID    string `json:"id"`
		}
		text, err := os.ReadFile(place.Session(home, "id", c.Agent, e.Session))
		if err != nil || json.Unmarshal(text, &page) != nil || page.Run == "" || page.Agent != c.Agent || page.ID != e.Session {
			return nil, false
		}
		if e.Server != "" && !governed(c.StateDir, page.Run, e.Server) && governed(c.StateDir, inProcess(""), e.Server) {
			return nil, false // it may be of this agent's process, which only the command knows
		}
		c.RunOf = func(context.Context, string, bool) (string, error) { return page.Run, nil }
	}
	c.Server, c.TokenFile = "unix:"+socket, token
	return raw, true
}

// doQuick serves a call as quick has it, unless the daemon does not know the token: the
// command has another made. Nothing is done then, nor said.
func (c *Call) doQuick(in io.Reader, stdout, stderr io.Writer) (exit int, done bool) {
	send, err := Reach(c)
	if err != nil {
		return 0, false
	}
	known := true
	var out, errs bytes.Buffer
	exit = c.Do(context.Background(), func(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
		status, answer, err := send(ctx, method, path, body)
		known = known && status != 401
		return status, answer, err
	}, nil, in, &out, &errs)
	if !known {
		return 0, false
	}
	_, outErr := out.WriteTo(stdout)
	_, errErr := errs.WriteTo(stderr)
	if outErr != nil || errErr != nil {
		return ExitBlock, true // nobody hears that it is permitted
	}
	return exit, true
}
