package ledger

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// A Store is what a ledger keeps its log and index rows in.
type Store interface {
	tlog.Store
	tlog.RowReader
}

// MaxSkew is how far a record's time may be from the ledger's clock.
const MaxSkew = 5 * time.Minute

// Config says how a ledger is opened. The log's key is needed; all else may be
// left out.
type Config struct {
	Signer      note.Signer // the log's key; its name is the origin. nil where ReadOnly
	VerifierKey string      // its public half as text: tlog.VerifierKey

	// Entry0, where it is known, is the evidence ID that entry 0 must have.
	Entry0 evidence.ID
	// Runtime signs the ledger's own records, which are those of erasures, as
	// the actor RuntimeActor. nil: Erase is refused.
	Runtime      *evidence.PrivateKey
	RuntimeActor string

	Clock  func() time.Time // time.Now if nil
	Keeper tlog.HeadKeeper  // keeps the newest head outside the store; nil: a rollback is not seen
	// ReadOnly takes no records: for a restored backup.
	ReadOnly bool

	// LeaseDir is where leases outlive this process, for drivers that do: those
	// of a daemon. "": drivers are in this process, and gone with it.
	LeaseDir string
	// Runs is how many runs' states are kept in memory, 16,384 if 0: about
	// 1 KiB each. Others are read back from the store when they are needed.
	Runs int
	// The bounds of tlog.Config of the same names.
	QueueEntries, QueueBytes, BatchEntries, BatchBytes, CacheBytes int

	OnFatal  func(error)            // see tlog.Config
	OnCommit func(tlog.CommitStats) // likewise
}

// A Ledger is an evidence ledger at work. Its methods may be called from any
// goroutine.
type Ledger struct {
	cfg      Config
	origin   string
	verifier note.Verifier
	entry0   evidence.ID
	store    Store
	vault    *Vault
	log      *tlog.Log
	admit    *admitter
	registry *audit.Registry
	leases   *leases
	erasures erasures
	counts   counts
	checked  atomic.Pointer[tlog.SignedHead] // of the last receipt: its signature was verified
}

// ErrNoLedger: the store holds no entry 0. Create makes one.
var ErrNoLedger = errors.New("the store holds no ledger yet")

// Open takes up the ledger that a store holds, or ErrNoLedger. It recomputes the
// right edge of the tree (see tlog.Open), follows the registry from entry 0, and
// finishes the erasures that a crash interrupted.
func Open(ctx context.Context, s Store, v *Vault, cfg Config) (*Ledger, error) {
	l, err := open(ctx, s, v, cfg)
	if err != nil {
		return nil, err
	}
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), l.log.Close())
	}
	return l, nil
}

// open opens the log, with nothing of the registry known yet.
func open(ctx context.Context, s Store, v *Vault, cfg Config) (*Ledger, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Runs <= 0 {
		cfg.Runs = 16 << 10
	}
	verifier, err := tlog.NewVerifier(cfg.VerifierKey)
	if err != nil {
		return nil, fmt.Errorf("open ledger: the log's verifier key: %w", err)
	}
	l := &Ledger{cfg: cfg, origin: verifier.Name(), verifier: verifier, store: s, vault: v}
	attachCells(v, s)
	if l.leases, err = openLeases(cfg.LeaseDir); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l.registry = audit.NewRegistry(l.origin, cfg.Entry0)
	if err := reserveLogKey(l.registry, cfg.VerifierKey); err != nil {
		return nil, fmt.Errorf("open ledger: the log's verifier key: %w", err)
	}
	l.admit = newAdmitter(l)
	log, err := tlog.Open(ctx, s, tlog.Config{
		Signer: cfg.Signer, Verifier: verifier, Admitter: l.admit, Keeper: cfg.Keeper, ReadOnly: cfg.ReadOnly,
		QueueEntries: cfg.QueueEntries, QueueBytes: cfg.QueueBytes,
		BatchEntries: cfg.BatchEntries, BatchBytes: cfg.BatchBytes, CacheBytes: cfg.CacheBytes,
		OnFatal: cfg.OnFatal, OnCommit: l.committed,
	})
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l.log = log
	return l, nil
}

// reserveLogKey keeps the log's key from becoming an actor's: a key has one
// purpose. A verifier key is name+hash+base64(type ‖ key).
func reserveLogKey(g *audit.Registry, vkey string) error {
	// Cut from the left: base64 has plus signs of its own, an origin has none.
	_, rest, _ := strings.Cut(vkey, "+")
	_, text, _ := strings.Cut(rest, "+")
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) == 0 {
		return fmt.Errorf("expected name+hash+key, found %q", vkey)
	}
	key, err := evidence.NewPublicKey(b[1:])
	if err != nil {
		return err
	}
	g.Reserve(key, "log")
	return nil
}

// start reads the registry, and finishes what a crash left.
func (l *Ledger) start(ctx context.Context) error {
	if l.log.Head().Size == 0 {
		return ErrNoLedger
	}
	if err := l.checkForm(ctx); err != nil {
		return err
	}
	if err := errors.Join(l.loadRegistry(ctx), l.loadErasures(ctx)); err != nil {
		return err
	}
	return l.finishErasures(ctx)
}

// checkForm refuses a store whose rows another version made. They would not be
// wrong, only too few: nothing that is read would show it.
func (l *Ledger) checkForm(ctx context.Context) error {
	value, err := l.store.Row(ctx, []byte(formRow))
	if err != nil && !errors.Is(err, tlog.ErrNoRow) {
		return fmt.Errorf("the form of the index rows: %w", err)
	}
	if want := indexValue(rowForm); !bytes.Equal(value, want) {
		return fmt.Errorf("expected index rows of form % x, found % x, of another version of this program: run reindex", want, value)
	}
	return nil
}

// loadRegistry applies the registry's records, which the index finds and whose
// numbers leave no gap.
func (l *Ledger) loadRegistry(ctx context.Context) error {
	first, err := l.At(ctx, 0)
	if err != nil {
		return err
	}
	l.entry0 = first.ID
	for p, err := range l.registryRecords(ctx) {
		if err != nil {
			return err
		}
		if err := l.applyRegistry(p); err != nil {
			return err
		}
	}
	return nil
}

// Origin returns the ledger's name.
func (l *Ledger) Origin() string { return l.origin }

// VerifierKey returns the public half of the log's key as text.
func (l *Ledger) VerifierKey() string { return l.cfg.VerifierKey }

// Entry0 returns the evidence ID of the record that created the ledger.
func (l *Ledger) Entry0() evidence.ID { return l.entry0 }

// Head returns the newest durable tree head.
func (l *Ledger) Head() *tlog.SignedHead { return l.log.Head() }

// Log returns the log below, for tiles, proofs and tree heads. Its Append is
// the ledger's, without the results' records.
func (l *Ledger) Log() *tlog.Log { return l.log }

// Vault returns the payloads. What was erased is not kept out of it by itself:
// put payloads by [Ledger.PutPayload].
func (l *Ledger) Vault() *Vault { return l.vault }

// Registry returns the actors and keys. It is safe for concurrent reading, and
// may know of records that are not yet durable.
func (l *Ledger) Registry() *audit.Registry { return l.registry }

// Err returns nil while the ledger takes records, and why not where it does not.
func (l *Ledger) Err() error { return l.log.Err() }

// Close takes no more records, waits until those in line are durable, and ends.
// It closes neither store nor vault.
func (l *Ledger) Close() error { return l.log.Close() }
