package bench

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"ledgerd/evidence"
	"ledgerd/ledger"
	"ledgerd/ledger/pebblestore"
	"ledgerd/ledger/tlog"
)

// Origin, Runtime and Agent are those of a scratch ledger.
const (
	Origin  = "bench.example/ledger"
	Runtime = "bench-runtime"
	Agent   = "bench-agent"
)

// Scratch is a ledger made for a benchmark, with keys that exist in this
// process only: nobody can extend it later, and nobody should want to.
type Scratch struct {
	*ledger.Ledger
	Signer *Signer
	Root   *evidence.PrivateKey
	Dir    string

	cfg   ledger.Config
	store *pebblestore.Store
}

// NewScratch makes a ledger in dir, as a daemon would have it: on the operating
// system's files, every commit synced, the newest head kept outside the store.
func NewScratch(ctx context.Context, dir string) (*Scratch, error) {
	key := func() *evidence.PrivateKey {
		k, err := evidence.GenerateKey(rand.Reader)
		if err != nil {
			panic(err) // crypto/rand does not fail
		}
		return k
	}
	root, run := key(), key()
	logPublic, logPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	s := &Scratch{Dir: dir, Root: root, Signer: &Signer{Origin: Origin, Runtime: Runtime, Agent: Agent, Registry: 2, Key: run}}
	s.cfg = ledger.Config{Runtime: run, RuntimeActor: Runtime, Keeper: pebblestore.NewHeadFile(nil, filepath.Join(dir, "head"))}
	if s.cfg.Signer, err = tlog.NewSigner(Origin, logPrivate); err != nil {
		return nil, err
	}
	if s.cfg.VerifierKey, err = tlog.VerifierKey(Origin, logPublic); err != nil {
		return nil, err
	}
	entries, err := genesis(root, run)
	if err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	vault, err := ledger.OpenVault(filepath.Join(dir, "payloads"), 0)
	if err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	if s.Ledger, err = ledger.Create(ctx, s.store, vault, s.cfg, entries...); err != nil {
		return nil, errors.Join(err, s.store.Close())
	}
	return s, nil
}

// genesis makes the first entries: the ledger, its runtime, its agent.
func genesis(root, run *evidence.PrivateKey) ([][]byte, error) {
	now := evidence.TimeOf(time.Now())
	g := ledger.Genesis{Origin: Origin, RootKeys: []evidence.JWK{root.Public().JWK()}, Time: now}
	entry, err := evidence.Sign(g.Entry0(), root)
	if err != nil {
		return nil, err
	}
	entries := [][]byte{entry}
	jwk := run.Public().JWK()
	for i, body := range []*evidence.ActorRegistered{
		{Name: Runtime, Role: evidence.RoleRuntime, Key: &jwk},
		{Name: Agent, Role: evidence.RoleAgent, Host: Runtime},
	} {
		number := int64(i + 1)
		entry, err := evidence.Sign(&evidence.Record{
			Origin: Origin, Kind: body.Kind(), Registry: &number, Prev: evidence.IDOf(entries[i]), Actor: ledger.RootActor, Time: now, Body: body,
		}, root)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

func (s *Scratch) open() (err error) {
	s.store, err = pebblestore.Open(filepath.Join(s.Dir, "store"), pebblestore.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("scratch ledger: %w", err)
	}
	return nil
}

// Reopen closes the ledger and opens it again, and returns how long the opening
// took.
func (s *Scratch) Reopen(ctx context.Context) (time.Duration, error) {
	if err := s.Close(); err != nil {
		return 0, err
	}
	begun := time.Now()
	if err := s.open(); err != nil {
		return 0, err
	}
	vault, err := ledger.OpenVault(filepath.Join(s.Dir, "payloads"), 0)
	if err != nil {
		return 0, err
	}
	s.Ledger, err = ledger.Open(ctx, s.store, vault, s.cfg)
	return time.Since(begun), err
}

// Busy tells whether an append found the line full.
func Busy(err error) bool { return errors.Is(err, tlog.ErrBusy) }

// Close ends the ledger and closes its store.
func (s *Scratch) Close() error {
	return errors.Join(s.Ledger.Close(), s.store.Close())
}
