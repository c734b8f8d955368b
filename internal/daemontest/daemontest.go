// Package daemontest runs a daemon for tests: a data directory, the ledger in
// it, and the server on a real listener. It is what `ledgerd serve` does, in
// the process of the test, so that a test can look behind it.
package daemontest

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/bench"
	"ledgerd/internal/datadir"
	"ledgerd/internal/exchange"
	"ledgerd/internal/server"
	"ledgerd/ledger/pebblestore"
)

// Origin is the name of the ledger.
const Origin = "ledger.example/test"

// Agent is hosted by the runtime.
const Agent = "support"

// Daemon is a daemon at work. Its ledger has the runtime and one agent.
type Daemon struct {
	URL    string
	Dir    *datadir.Dir
	Ledger *datadir.Ledger
	Server *server.Server
	Root   *evidence.PrivateKey
	Key    *evidence.PrivateKey // the runtime's
	Token  string               // the runtime's, with every right

	// Inbox is the URL of the listener for peers; "": there is none.
	Inbox string
	// Exchange is what Handoffs made; nil: nothing.
	Exchange *exchange.Exchange

	// Stop stops serving, as a signal does it; the ledger stays open.
	Stop func()

	t     testing.TB
	store pebblestore.Options
}

// New makes a ledger in a temporary directory and serves it until the test ends.
// change, if not nil, changes how it is served.
func New(t testing.TB, change func(*server.Config)) *Daemon {
	t.Helper()
	d := Init(t)
	d.Serve(change)
	return d
}

// Init makes a ledger in a temporary directory, and opens it.
func Init(t testing.TB) *Daemon {
	t.Helper()
	return InitWith(t, pebblestore.Options{MinFree: 1 << 20})
}

// InitWith is Init with a store that is opened in a particular way: on a disk
// that fails, for one.
func InitWith(t testing.TB, store pebblestore.Options) *Daemon {
	t.Helper()
	return initNamed(t, Origin, store)
}

// Named is Init of a ledger of another name.
func Named(t testing.TB, origin string) *Daemon {
	t.Helper()
	return initNamed(t, origin, pebblestore.Options{MinFree: 1 << 20})
}

func initNamed(t testing.TB, origin string, store pebblestore.Options) *Daemon {
	t.Helper()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "ledger")
	dir, err := datadir.Init(ctx, path, datadir.InitOptions{Origin: origin, Runtime: "runtime", Now: time.Now()})
	must(t, err)
	d := &Daemon{Dir: dir, t: t, store: store}
	d.Root, err = dir.Root()
	must(t, err)
	d.Key, err = dir.Key(dir.Runtime)
	must(t, err)
	d.Token, err = dir.AdminToken()
	must(t, err)
	d.open()
	_, err = d.Ledger.Register(ctx, d.Root, &evidence.ActorRegistered{Name: Agent, Role: evidence.RoleAgent, Host: dir.Runtime})
	must(t, err)
	t.Cleanup(func() { _ = d.Ledger.Close() })
	return d
}

func (d *Daemon) open() {
	d.t.Helper()
	var err error
	d.Ledger, err = d.Dir.Ledger(context.Background(), datadir.Options{Leases: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Store: d.store})
	must(d.t, err)
}

// Serve serves the ledger on a port of the loopback interface.
func (d *Daemon) Serve(change func(*server.Config)) {
	d.t.Helper()
	tokens, err := d.Dir.Tokens()
	must(d.t, err)
	cfg := server.Config{Ledger: d.Ledger.Ledger, Tokens: tokens, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if os.Getenv("LEDGERD_TEST_LOG") != "" {
		cfg.Logger = slog.Default()
	}
	if change != nil {
		change(&cfg)
	}
	d.Server, err = server.New(cfg)
	must(d.t, err)
	d.URL, d.Stop = d.listen(d.Server, "127.0.0.1:0")
}

// listen serves on an address, and returns its URL and what stops it.
func (d *Daemon) listen(s *server.Server, address string) (url string, end func()) {
	d.t.Helper()
	ln, err := net.Listen("tcp", address)
	must(d.t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln, nil, time.Second) }()
	end = sync.OnceFunc(func() {
		stop()
		if err := <-done; err != nil {
			d.t.Errorf("serve: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	d.t.Cleanup(end)
	return "http://" + ln.Addr().String(), end
}

// Client returns a client with the token of the given secret.
func (d *Daemon) Client(secret string) *client.Client {
	d.t.Helper()
	c, err := client.New(d.URL, client.Options{Token: secret})
	must(d.t, err)
	return c
}

// Grant makes a token for an actor and returns its secret.
func (d *Daemon) Grant(actor string, rights ...api.Right) string {
	d.t.Helper()
	c := d.Client(d.Token)
	issued, err := c.AddToken(context.Background(), api.NewToken{Actor: actor, Rights: rights})
	must(d.t, err)
	return issued.Secret
}

// Actor registers an actor with a key of its own.
func (d *Daemon) Actor(name string, role evidence.Role) *evidence.PrivateKey {
	d.t.Helper()
	k, err := evidence.GenerateKey(rand.Reader)
	must(d.t, err)
	jwk := k.Public().JWK()
	a := &evidence.ActorRegistered{Name: name, Role: role, Key: &jwk}
	if role == evidence.RoleHuman {
		a.Teams = []string{"finance"}
	}
	_, err = d.Ledger.Register(context.Background(), d.Root, a)
	must(d.t, err)
	return k
}

// Signer signs the records of runs of this ledger's runtime.
func (d *Daemon) Signer() *bench.Signer {
	return &bench.Signer{
		Origin: d.Ledger.Origin(), Runtime: d.Dir.Runtime, Agent: Agent, Registry: d.Ledger.Registry().Number(), Key: d.Key,
	}
}

// Line begins a run.
func (d *Daemon) Line() *bench.Line {
	d.t.Helper()
	l, err := bench.NewLine(d.Signer())
	must(d.t, err)
	return l
}

// Records signs the next n records of a run.
func (d *Daemon) Records(l *bench.Line, n int) [][]byte {
	d.t.Helper()
	all := make([][]byte, n)
	for i := range all {
		var err error
		all[i], err = l.Next(time.Now())
		must(d.t, err)
	}
	return all
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
