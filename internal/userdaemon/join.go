package userdaemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"ledgerd/client"
	"ledgerd/internal/api"
	"ledgerd/internal/userdaemon/place"
)

// Options says which daemon is joined, and as whom.
type Options struct {
	Home string // "": as the environment says
	// Agent is who acts. It is registered, if it is not yet, as an agent that the
	// daemon's runtime hosts.
	Agent string
	// Gateway asks for the right to say of calls that one made them oneself. It is for a
	// gateway between the agent and its tools, and not for the agent.
	Gateway bool
	Program string // that is started as the daemon; "": this one
}

// Join returns a client of the user's daemon, which is started if none answers. The
// client may act and read as the agent, and nothing else.
//
// It outlives the daemon: what gets no answer because that has ended, starts the next
// one and is sent again, but for bodies that are streams. So it is for requests that are
// the same if they come twice, as all are by which an agent acts.
func Join(ctx context.Context, o Options) (*client.Client, error) {
	h, err := Find(o.Home)
	if err != nil {
		return nil, err
	}
	if err := h.Start(ctx, o.Program); err != nil {
		return nil, err
	}
	d := daemon{h, o.Program}
	secret, err := d.token(ctx, o.Agent, o.Gateway)
	if err != nil {
		return nil, err
	}
	return d.client(secret, d.reach)
}

// Start starts the user's daemon if none answers, and returns when it does.
func (h *Home) Start(ctx context.Context, program string) error {
	if err := h.make(); err != nil {
		return fmt.Errorf("the directory of this user's daemon: %w", err)
	}
	return daemon{h, program}.reach(ctx)
}

// A daemon is what a home has, and the program that starts it.
type daemon struct {
	*Home
	program string
}

const (
	// startFor is how long a daemon has to be ready: a store may have to be read first.
	startFor = time.Minute
	// oddFor is how long something odd at the socket may last, such as a daemon that has
	// just made it, or is about to end.
	oddFor = time.Second
	// answerFor is how long a daemon has to say that it is ready.
	answerFor = 10 * time.Second
	// maxLog is how long the log may be, in bytes, before a start begins another.
	maxLog = 1 << 20
)

// reach returns when a daemon answers, which it starts if none does.
func (d daemon) reach(ctx context.Context) error {
	if _, err := d.ready(ctx); err == nil {
		return nil
	}
	unlock, err := d.lock(ctx, "lock")
	if err != nil {
		return err
	}
	defer unlock()
	return d.reachLocked(ctx)
}

// reachLocked is reach for who has the lock.
func (d daemon) reachLocked(ctx context.Context) error {
	for odd := time.Now(); ; {
		_, err := d.ready(ctx)
		if err == nil {
			return nil
		}
		if absent(err) {
			break
		}
		if time.Since(odd) > oddFor {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	if err := d.first(ctx); err != nil {
		return fmt.Errorf("first use of %s: %w", d.Path, err)
	}
	return d.start(ctx)
}

func pause(ctx context.Context) error {
	select {
	case <-time.After(20 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// absent: there is no daemon, or a dead one's socket.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// ready asks the daemon whether it takes records. See absent.
func (h *Home) ready(ctx context.Context) (*api.Health, error) {
	info, err := os.Lstat(h.Socket)
	switch {
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s: want the daemon's socket, or nothing, found another kind of file: put it elsewhere", h.Socket)
	case !place.Ours(info):
		return nil, fmt.Errorf("%s: want a socket of the user who runs this program, found another's, to whom no token is shown: remove it, or set LEDGERD_HOME", h.Socket)
	}
	ctx, cancel := context.WithTimeout(ctx, answerFor)
	defer cancel()
	transport := h.transport()
	defer transport.CloseIdleConnections()
	var health api.Health
	if err := get(ctx, transport, api.PathReady, &health); err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: want a socket of mode 0600, found %04o: others can reach the daemon that answers there. Stop it, and it is started as it should be", h.Socket, info.Mode().Perm())
	}
	return &health, nil
}

// get gets a value that needs no token.
func get(ctx context.Context, transport http.RoundTripper, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("this user's daemon: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("this user's daemon: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var p api.Problem
		_ = json.Unmarshal(b, &p) // there may be none
		return fmt.Errorf("this user's daemon answers, and is not ready: %s %s", resp.Status, p.Detail)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("want a daemon of ledgerd at its socket, found something else: %s: %w", path, err)
	}
	return nil
}

func (h *Home) transport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", h.Socket)
		},
		MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, DisableCompression: true,
	}
}

// start starts a daemon, and returns when it is ready. The caller has the lock, and
// nothing answers at the socket.
func (d daemon) start(ctx context.Context) error {
	if os.Getenv(isDaemon) != "" {
		return errors.New("want no daemon of this process's, which was itself started as one, by a program that is not ledgerd")
	}
	program := d.program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return fmt.Errorf("the daemon's program: %w", err)
		}
	}
	log, from, err := d.openLog()
	if err != nil {
		return fmt.Errorf("the daemon's log: %w", err)
	}
	defer log.Close()
	c := exec.Command(program, "serve", "--config", d.file("config.json"), "--data-dir", d.DataDir(), "--listen", "unix:"+d.Socket)
	c.Dir, c.Env, c.Stdout, c.Stderr = d.Path, append(environment(os.Environ()), isDaemon+"=1"), log, log
	detach(c)
	if err := c.Start(); err != nil {
		return fmt.Errorf("this user's daemon: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	for over := time.After(startFor); ; {
		if _, err := d.ready(ctx); err == nil {
			return nil
		}
		select {
		case err := <-ended:
			return d.failed(fmt.Errorf("did not start (%v)", err), from)
		case <-over:
			return d.failed(fmt.Errorf("was not ready within %s; process %d goes on", startFor, c.Process.Pid), from)
		case <-ctx.Done():
			return ctx.Err() // it goes on, and serves the next one
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// isDaemon is set in the environment of a daemon. A program that has Join start it, and does
// not know serve, would otherwise start itself, and that one itself, without end: tests
// are such programs.
const isDaemon = "LEDGERD_IS_DAEMON"

// openLog opens the log to be written on from an offset. Of what it grew to before, one
// more is kept.
func (h *Home) openLog() (*os.File, int64, error) {
	path := h.file("daemon.log")
	if info, err := os.Stat(path); err == nil && info.Size() > maxLog {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, 0, err
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// environment is what a daemon gets of the environment of whoever happens to start it,
// an agent, with that one's secrets and settings: nothing but where things are. A
// LEDGERD_MODE of the agent's would otherwise say what the agent may do.
func environment(of []string) []string {
	keep := []string{"HOME", "PATH", "USER", "LOGNAME", "TMPDIR", "LANG", "LC_ALL", "TZ", "XDG_RUNTIME_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR"}
	return slices.DeleteFunc(slices.Clone(of), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return !slices.Contains(keep, name)
	})
}

// secret is a token's in a text.
var secret = regexp.MustCompile(`ledgerd_[A-Za-z0-9_-]{16,}`)

// failed says why there is no daemon, with what it said last.
func (h *Home) failed(err error, from int64) error {
	if a, gone := h.announced(); gone == nil && a.URL != "unix:"+h.Socket && alive(a.PID) {
		return fmt.Errorf("this user's daemon %w: want the one of %s to listen at unix:%s, found process %d, which listens at %s: stop it, or go to it with --server and a token",
			err, h.DataDir(), h.Socket, a.PID, a.URL)
	}
	path := h.file("daemon.log")
	said, rerr := os.ReadFile(path)
	if rerr != nil {
		return fmt.Errorf("this user's daemon %w", errors.Join(err, rerr))
	}
	said = said[min(from, int64(len(said))):]
	said = said[max(0, len(said)-2<<10):]
	return fmt.Errorf("this user's daemon %w. Its log, %s, ends with:\n%s", err, path, secret.ReplaceAll(said, []byte("ledgerd_…")))
}
