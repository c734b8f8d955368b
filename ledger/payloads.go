package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// PutPayload stores a payload, and returns its commitment once it is durable: to
// be called before the record that holds the commitment is submitted. What was
// erased is not taken again (ErrErased).
func (l *Ledger) PutPayload(ctx context.Context, salt [evidence.SaltSize]byte, media string, r io.Reader) (evidence.Commitment, error) {
	return l.vault.put(ctx, salt, media, r, nil, l.notErased(ctx))
}

// PutCommitted is PutPayload for a payload that is said to open want; if it does
// not, nothing is stored and the error is ErrCommitment.
func (l *Ledger) PutCommitted(ctx context.Context, want evidence.Commitment, salt [evidence.SaltSize]byte, r io.Reader) error {
	_, err := l.vault.put(ctx, salt, want.Media, r, &want, l.notErased(ctx))
	return err
}

// PutPayloads stores many payloads for the price of a few syncs.
func (l *Ledger) PutPayloads(ctx context.Context, payloads []evidence.Payload) ([]evidence.Commitment, error) {
	return l.vault.putMany(ctx, payloads, l.notErased(ctx), true)
}

// PutPayloadsAhead is PutPayloads for payloads whose record is submitted next, with
// salts that the caller just made: they are durable once a record is that was
// submitted after it returned, and small ones cost no sync of their own. If we
// crash before, they are gone, as the record is. Nobody looks whether they are
// there: what is put twice is stored twice.
func (l *Ledger) PutPayloadsAhead(ctx context.Context, payloads []evidence.Payload) ([]evidence.Commitment, error) {
	return l.vault.putMany(ctx, payloads, l.notErased(ctx), false)
}

// notErased is asked while nothing else writes or erases the payload.
func (l *Ledger) notErased(ctx context.Context) func(evidence.Digest) error {
	return func(d evidence.Digest) error {
		if l.cfg.ReadOnly {
			return fmt.Errorf("payload %s: %w", d, ErrReadOnly)
		}
		_, err := l.erasedAt(ctx, d)
		switch {
		case errors.Is(err, ErrNoPayload):
			return nil
		case err != nil:
			return err
		}
		return fmt.Errorf("%w: %s", ErrErased, d)
	}
}

// Payload verifies the payload under a commitment's digest and returns it for
// reading. The errors are ErrErased, ErrNoPayload and, where what is stored is
// not what was committed to, ErrCommitment.
func (l *Ledger) Payload(ctx context.Context, d evidence.Digest) (*OpenPayload, error) {
	p, err := l.vault.Open(d)
	if errors.Is(err, ErrNoPayload) {
		if at, lookup := l.erasedAt(ctx, d); lookup == nil {
			return nil, fmt.Errorf("%w: %s, as the record at index %d says", ErrErased, d, at)
		} else if !errors.Is(lookup, ErrNoPayload) {
			return nil, lookup
		}
	}
	return p, err
}

// erasedAt returns where a payload's erasure is recorded, or ErrNoPayload.
func (l *Ledger) erasedAt(ctx context.Context, d evidence.Digest) (uint64, error) {
	if !l.erasures.may(d) {
		return 0, ErrNoPayload
	}
	for row, err := range l.store.Rows(ctx, erasedRow(d, 0), erasedRow(d, none), false) {
		if err != nil {
			return 0, fmt.Errorf("look up the erasure of %s: %w", d, err)
		}
		index := indexOfKey(row.Key)
		p, err := l.At(ctx, index)
		if errors.Is(err, ErrNoRecord) {
			break // begun, and not durable
		}
		if err != nil {
			return 0, err
		}
		if b, ok := p.Record.Body.(*evidence.PayloadErased); !ok || b.Commit != d {
			return 0, &IndexError{row, "a " + string(p.Record.Kind)}
		}
		return index, nil
	}
	return 0, ErrNoPayload
}

// Erase makes a payload and its salt unreadable: when it returns, they are in no
// file of the vault, and a payload.erased record, signed by Config.Runtime, says
// so in the log. Proofs, and the records that commit to the payload, stay as
// they are. Copies elsewhere, backups among them, are out of its reach.
//
// A payload that the vault does not hold can be erased too: it is then never
// taken. Erasing again returns the record of the first time.
func (l *Ledger) Erase(ctx context.Context, d evidence.Digest, reason string) (evidence.Placed, error) {
	switch {
	case l.cfg.ReadOnly:
		return evidence.Placed{}, fmt.Errorf("erase payload %s: %w", d, ErrReadOnly)
	case l.cfg.Runtime == nil:
		return evidence.Placed{}, fmt.Errorf("erase payload %s: expected Config.Runtime, whose key signs the record", d)
	}
	mu := l.vault.stripe(d)
	mu.Lock()
	defer mu.Unlock()
	if at, err := l.erasedAt(ctx, d); err == nil {
		p, err := l.At(ctx, at)
		return p, errors.Join(err, l.vault.remove(d))
	} else if !errors.Is(err, ErrNoPayload) {
		return evidence.Placed{}, err
	}
	rec := &evidence.Record{
		Origin: l.origin, Kind: evidence.KindPayloadErased, Actor: l.cfg.RuntimeActor, Time: evidence.TimeOf(l.cfg.Clock()),
		Body: &evidence.PayloadErased{Commit: d, Reason: reason},
	}
	entry, err := evidence.Sign(rec, l.cfg.Runtime)
	if err != nil {
		return evidence.Placed{}, err
	}
	// If we crash from here on, the next start looks for the record.
	if err := l.vault.intend(d); err != nil {
		return evidence.Placed{}, err
	}
	placed, err := l.Append(context.WithoutCancel(ctx), entry)
	if err != nil {
		if AsRefusal(err) != nil {
			err = errors.Join(err, l.vault.forget(d))
		}
		return evidence.Placed{}, err
	}
	// And from here on, it finds it, and goes on with this:
	if err := errors.Join(l.vault.remove(d), l.vault.forget(d)); err != nil {
		return evidence.Placed{}, err
	}
	l.counts.erased()
	return placed[0], nil
}

// finishErasures does what Erase did not come to before a crash.
func (l *Ledger) finishErasures(ctx context.Context) error {
	if l.vault == nil || l.cfg.ReadOnly {
		return nil
	}
	intended, err := l.vault.intended()
	if err != nil {
		return err
	}
	for _, d := range intended {
		_, err := l.erasedAt(ctx, d)
		switch {
		case err == nil:
			err = l.vault.remove(d)
		case errors.Is(err, ErrNoPayload):
			err = nil // the record did not come into the log: nothing was promised
		}
		if err == nil {
			err = l.vault.forget(d)
		}
		if err != nil {
			return fmt.Errorf("finish the erasure of %s: %w", d, err)
		}
	}
	return nil
}

// ErrReadOnly: the ledger is a restored copy, or was opened only to be read.
var ErrReadOnly = tlog.ErrReadOnly

// erasures knows what may have been erased, so that most need not be looked up.
type erasures struct {
	mu     sync.RWMutex
	known  map[evidence.Digest]struct{}
	loaded bool // what was recorded before this process
	more   bool // than are known
}

// maxErasures is how many erasures are kept in memory.
const maxErasures = 64 << 10

func (e *erasures) add(d evidence.Digest) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known == nil {
		e.known = make(map[evidence.Digest]struct{})
	}
	if e.more = e.more || len(e.known) >= maxErasures; !e.more {
		e.known[d] = struct{}{}
	}
}

// may reports whether an erasure of d may be recorded.
func (e *erasures) may(d evidence.Digest) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	_, ok := e.known[d]
	return ok || e.more || !e.loaded
}

// loadErasures reads what the index says was erased.
func (l *Ledger) loadErasures(ctx context.Context) error {
	for row, err := range l.store.Rows(ctx, []byte{rowErased}, []byte{rowErased + 1}, false) {
		if err != nil {
			return fmt.Errorf("look up erasures: %w", err)
		}
		if len(row.Key) != 41 {
			return &IndexError{row, "an erasure"}
		}
		if l.erasures.add(evidence.Digest(row.Key[1:33])); l.erasures.more {
			break
		}
	}
	l.erasures.mu.Lock()
	l.erasures.loaded = true
	l.erasures.mu.Unlock()
	return nil
}
