package datadir

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/exchange"
	"ledgerd/internal/server"
	"ledgerd/internal/wholefile"
	"ledgerd/ledger"
	"ledgerd/ledger/pebblestore"
	"ledgerd/ledger/tlog"
)

const (
	metaFile   = "ledger.json"
	tokensFile = "tokens.json"
	adminFile  = "admin.token"
	daemonFile = "daemon.json"
	leasesDir  = "leases"
	peersFile  = "peers.json"
	version    = 1
)

// Meta is what makes a directory the directory of one ledger. Nothing of it is
// secret.
type Meta struct {
	Version int         `json:"ledgerd"`
	Origin  string      `json:"origin"`
	Log     string      `json:"log"`     // public half of the log's key, name+hash+key
	Entry0  evidence.ID `json:"entry0"`  //
	Runtime string      `json:"runtime"` // the actor that the daemon signs its own records as
}

// Dir is a data directory.
type Dir struct {
	Path string
	Meta
	// Copy: a restored backup, which is read and never written.
	Copy bool
}

// ErrNone: the directory is no data directory.
var ErrNone = errors.New("no ledger here")

// Open reads what a data directory says of itself. It opens no store.
func Open(path string) (*Dir, error) {
	b, err := os.ReadFile(filepath.Join(path, metaFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: want %s in %s: make a ledger with ledgerd init", ErrNone, metaFile, path)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	d := &Dir{Path: filepath.Clean(path)}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d.Meta); err != nil {
		return nil, fmt.Errorf("data directory: %s: %w", filepath.Join(path, metaFile), err)
	}
	if d.Version != version {
		return nil, fmt.Errorf("data directory: %s: want ledgerd %d, found %d: this program is another version", filepath.Join(path, metaFile), version, d.Version)
	}
	if d.Copy, err = ledger.IsBackup(path); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return d, nil
}

// InitOptions says what ledger is made.
type InitOptions struct {
	Origin    string
	Root      *evidence.PrivateKey // kept elsewhere; nil: made, and kept in the directory
	Runtime   string               // name of the first runtime
	Successor *evidence.Successor  // the ledger that this one continues
	HeadFile  string               // "": beside the directory
	Now       time.Time
}

// Init makes a ledger in a directory that holds none: keys, entry 0, the
// registration of the first runtime, and a token with every right for it, whose
// secret stands in D/admin.token. ledger.json comes last, so that what a crash
// leaves is no ledger; it is removed by hand.
func Init(ctx context.Context, path string, o InitOptions) (*Dir, error) {
	if _, err := os.Stat(filepath.Join(path, metaFile)); err == nil {
		return nil, fmt.Errorf("init: %s holds a ledger already", path)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	if files, err := os.ReadDir(path); err != nil || len(files) > 0 {
		return nil, fmt.Errorf("init: want %s to be empty or not there, found files in it (%v)", path, err)
	}
	head := o.HeadFile
	if head == "" {
		head = ledger.HeadPath(path)
	}
	if _, err := os.Stat(head); err == nil {
		return nil, fmt.Errorf("init: %s is there already: it is the newest tree head of another ledger. Keep it, and choose another place", head)
	}
	if err := os.Mkdir(filepath.Join(path, ledger.KeysDir), 0o700); err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	d := &Dir{Path: filepath.Clean(path), Meta: Meta{Version: version, Origin: o.Origin, Runtime: o.Runtime}}
	entries, err := d.genesis(o)
	if err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	l, err := d.open(ctx, Options{HeadFile: head}, entries)
	if err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	if err := l.Close(); err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	if err := d.firstToken(api.Rights(), o.Now); err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	return d, d.writeMeta(d.Path)
}

// genesis makes the keys, and signs the first two entries.
func (d *Dir) genesis(o InitOptions) ([][]byte, error) {
	logPrivate, err := NewKey(d.keyPath(logKey))
	if err != nil {
		return nil, err
	}
	if d.Log, err = tlog.VerifierKey(o.Origin, logPrivate.Public().Bytes()); err != nil {
		return nil, err
	}
	root := o.Root
	if root == nil {
		if root, err = NewKey(d.keyPath(rootKey)); err != nil {
			return nil, err
		}
	}
	path, err := d.KeyPath(o.Runtime)
	if err != nil {
		return nil, err
	}
	runtime, err := NewKey(path)
	if err != nil {
		return nil, err
	}
	now := evidence.TimeOf(o.Now)
	g := ledger.Genesis{Origin: o.Origin, RootKeys: []evidence.JWK{root.Public().JWK()}, Successor: o.Successor, Time: now}
	zero, err := evidence.Sign(g.Entry0(), root)
	if err != nil {
		return nil, err
	}
	d.Entry0 = evidence.IDOf(zero)
	number, key := int64(1), runtime.Public().JWK()
	first, err := evidence.Sign(&evidence.Record{
		Origin: o.Origin, Kind: evidence.KindActorRegistered, Registry: &number, Prev: d.Entry0, Actor: ledger.RootActor, Time: now,
		Body: &evidence.ActorRegistered{Name: o.Runtime, Role: evidence.RoleRuntime, Key: &key},
	}, root)
	return [][]byte{zero, first}, err
}

// firstToken makes the first token, for the runtime.
func (d *Dir) firstToken(rights []api.Right, now time.Time) error {
	tokens, err := d.Tokens()
	if err != nil {
		return err
	}
	t, err := tokens.Add(api.NewToken{Actor: d.Runtime, Rights: rights, Note: "made with the data directory"}, now)
	if err != nil {
		return err
	}
	return wholefile.Write(d.AdminTokenPath(), []byte(t.Secret+"\n"), false)
}

func (d *Dir) writeMeta(dir string) error {
	b, err := json.MarshalIndent(d.Meta, "", "  ")
	if err != nil {
		return err
	}
	return wholefile.Write(filepath.Join(dir, metaFile), append(b, '\n'), false)
}

// Tokens opens the file of tokens.
func (d *Dir) Tokens() (*server.Tokens, error) {
	return server.OpenTokens(filepath.Join(d.Path, tokensFile))
}

// Peers opens the file of peers.
func (l *Ledger) Peers() (*exchange.Peers, error) {
	own, err := l.Trust()
	if err != nil {
		return nil, err
	}
	return exchange.OpenPeers(filepath.Join(l.Dir.Path, peersFile), own)
}

// HandoffsPath is the directory of offers that wait, and of what has arrived.
func (d *Dir) HandoffsPath() string { return filepath.Join(d.Path, "handoffs") }

// SpansPath is the directory of spans that are not written as runs yet.
func (d *Dir) SpansPath() string { return filepath.Join(d.Path, "spans") }

// AdminTokenPath is the file with the first token's secret.
func (d *Dir) AdminTokenPath() string { return filepath.Join(d.Path, adminFile) }

// Options says how a directory's ledger is opened.
type Options struct {
	HeadFile   string // "": beside the directory
	MaxPayload int64  // bytes; 0: ledger.DefaultMaxPayload
	Logger     *slog.Logger
	// Leases keeps the leases of runs in the directory, for a daemon: its drivers
	// are other processes, and outlive it.
	Leases   bool
	OnFatal  func(error)
	OnCommit func(tlog.CommitStats)
	// Store says how the store is opened; MustExist, ReadOnly and Logger are
	// this package's to set.
	Store pebblestore.Options
}

// Ledger is the ledger of a directory, at work in this process. Nobody else can
// open it meanwhile.
type Ledger struct {
	*ledger.Ledger
	Dir   *Dir
	close func() error
}

// Ledger opens the ledger, which takes the directory's lock: the error is
// pebblestore.ErrLocked where another process has it.
func (d *Dir) Ledger(ctx context.Context, o Options) (*Ledger, error) {
	return d.open(ctx, o, nil)
}

func (d *Dir) open(ctx context.Context, o Options, genesis [][]byte) (*Ledger, error) {
	store, err := d.Store(o, genesis == nil)
	if err != nil {
		return nil, err
	}
	vault, err := d.Vault(o.MaxPayload)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	cfg := ledger.Config{VerifierKey: d.Log, Entry0: d.Entry0, ReadOnly: d.Copy, OnFatal: o.OnFatal, OnCommit: o.OnCommit}
	if !d.Copy {
		if err := d.addKeys(&cfg); err != nil {
			return nil, errors.Join(err, store.Close())
		}
		head := o.HeadFile
		if head == "" {
			head = ledger.HeadPath(d.Path)
		}
		if o.Leases {
			cfg.LeaseDir = filepath.Join(d.Path, leasesDir)
		}
		cfg.Keeper = pebblestore.NewHeadFile(nil, head)
	}
	var l *ledger.Ledger
	if genesis == nil {
		l, err = ledger.Open(ctx, store, vault, cfg)
	} else {
		l, err = ledger.Create(ctx, store, vault, cfg, genesis...)
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &Ledger{l, d, sync.OnceValue(func() error { return errors.Join(l.Close(), store.Close()) })}, nil
}

// addKeys adds the log's key, without which nothing is appended, and the
// runtime's, without which nothing is erased, if it is here.
func (d *Dir) addKeys(cfg *ledger.Config) error {
	k, err := ReadKey(d.keyPath(logKey))
	if err != nil {
		return err
	}
	if cfg.Signer, err = tlog.NewSigner(d.Origin, ed25519.NewKeyFromSeed(k.Seed())); err != nil {
		return err
	}
	runtime, err := d.Key(d.Runtime)
	if errors.Is(err, ErrNoKey) {
		return nil
	}
	cfg.Runtime, cfg.RuntimeActor = runtime, d.Runtime
	return err
}

// Store opens the store alone, for what works on a ledger that cannot be opened.
func (d *Dir) Store(o Options, mustExist bool) (*pebblestore.Store, error) {
	po := o.Store
	po.Logger, po.MustExist, po.ReadOnly = o.Logger, mustExist, d.Copy
	return pebblestore.Open(filepath.Join(d.Path, ledger.StoreDir), po)
}

// Vault opens the payloads. maxPayload is the size in bytes of the largest that
// is taken, the default if 0.
func (d *Dir) Vault(maxPayload int64) (*ledger.Vault, error) {
	return ledger.OpenVault(filepath.Join(d.Path, ledger.PayloadsDir), maxPayload)
}

// Close waits until what is in line is durable, and gives the directory back.
func (l *Ledger) Close() error { return l.close() }
