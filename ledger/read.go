package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// ErrNoRecord: the durable log holds no such record.
var ErrNoRecord = errors.New("no such record")

// An IndexError says that an index row points to what is not there. The log is
// not concerned: make the index again.
type IndexError struct {
	Row   tlog.Row
	Found string
}

func (e *IndexError) Error() string {
	return fmt.Sprintf("index row %q %x is wrong: it points to %s; stop the ledger and run reindex", e.Row.Key[:1], e.Row.Key[1:], e.Found)
}

// Unwrap makes it a corrupt store, which it is.
func (e *IndexError) Unwrap() error {
	return &tlog.CorruptError{Place: "an index row", Want: "what the log says", Found: e.Found}
}

// At returns the record at an index of the durable log, or ErrNoRecord.
func (l *Ledger) At(ctx context.Context, index uint64) (evidence.Placed, error) {
	entry, err := l.log.Entry(ctx, index)
	if errors.Is(err, tlog.ErrBeyond) {
		return evidence.Placed{}, fmt.Errorf("%w: index %d, the log's size is %d", ErrNoRecord, index, l.Head().Size)
	}
	if err != nil {
		return evidence.Placed{}, err
	}
	return placeAdmitted(index, entry)
}

// placeAdmitted places an entry that the log has compared with its tree: it was
// admitted, and so verified, before.
func placeAdmitted(index uint64, entry []byte) (evidence.Placed, error) {
	u, err := evidence.ParseAdmitted(entry)
	return placeParsed(index, u, err)
}

// place places an entry that nobody has compared with anything.
func place(index uint64, entry []byte) (evidence.Placed, error) {
	u, err := evidence.Parse(entry)
	return placeParsed(index, u, err)
}

func placeParsed(index uint64, u *evidence.Unverified, err error) (evidence.Placed, error) {
	if err != nil {
		return evidence.Placed{}, fmt.Errorf("entry %d: %w", index, err)
	}
	return u.PlacedAt(index), nil
}

// Get returns the record with that evidence ID, or ErrNoRecord.
func (l *Ledger) Get(ctx context.Context, id evidence.ID) (evidence.Placed, error) {
	index, ok, err := l.indexOf(ctx, id)
	if err != nil {
		return evidence.Placed{}, err
	}
	if !ok {
		return evidence.Placed{}, fmt.Errorf("%w: %s", ErrNoRecord, id)
	}
	return l.At(ctx, index)
}

// Index returns where the record with that evidence ID stands, or ErrNoRecord.
func (l *Ledger) Index(ctx context.Context, id evidence.ID) (uint64, error) {
	index, ok, err := l.indexOf(ctx, id)
	if err == nil && !ok {
		err = fmt.Errorf("%w: %s", ErrNoRecord, id)
	}
	return index, err
}

// indexOf looks a record of the durable log up by its whole hash, and compares
// what it finds with that hash.
func (l *Ledger) indexOf(ctx context.Context, id evidence.ID) (index uint64, ok bool, err error) {
	value, err := l.store.Row(ctx, hashRow(id))
	if errors.Is(err, tlog.ErrNoRow) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look up %s: %w", id, err)
	}
	if index, err = indexIn(value); err != nil {
		return 0, false, err
	}
	entry, err := l.log.Entry(ctx, index)
	if errors.Is(err, tlog.ErrBeyond) {
		return 0, false, nil // begun, and not durable: not there yet
	}
	if err != nil {
		return 0, false, err
	}
	if found := evidence.IDOf(entry); found != id {
		return 0, false, &IndexError{tlog.Row{Key: hashRow(id), Value: value}, found.String()}
	}
	return index, true, nil
}

// Run yields the records of a run in the order of the log: its line, and what
// stands beside it. A run that nobody opened has none.
func (l *Ledger) Run(ctx context.Context, id evidence.RunID) iter.Seq2[evidence.Placed, error] {
	return l.Find(ctx, Filter{Run: id})
}

// RunAfter is Run for the records beyond an index.
func (l *Ledger) RunAfter(ctx context.Context, id evidence.RunID, index uint64) iter.Seq2[evidence.Placed, error] {
	return l.Find(ctx, Filter{Run: id, After: &index})
}

// RunOpened reports whether the durable log holds a record of the run.
func (l *Ledger) RunOpened(ctx context.Context, id evidence.RunID) (bool, error) {
	for _, err := range l.Find(ctx, Filter{Run: id, Limit: 1}) {
		return err == nil, err
	}
	return false, nil
}

// Records yields the records from first to end-1, in order. end is at most the
// size of the durable log.
func (l *Ledger) Records(ctx context.Context, first, end uint64) iter.Seq2[evidence.Placed, error] {
	return func(yield func(evidence.Placed, error) bool) {
		at := first
		for entry, err := range l.log.Entries(ctx, first, end) {
			if err != nil {
				yield(evidence.Placed{}, err)
				return
			}
			p, err := placeAdmitted(at, entry)
			if !yield(p, err) || err != nil {
				return
			}
			at++
		}
	}
}

// Receipt returns the proof that a record stands in the tree of the newest
// durable head. It was checked, the head's signature included, before it is
// returned.
func (l *Ledger) Receipt(ctx context.Context, id evidence.ID) (*bundle.Receipt, error) {
	index, err := l.Index(ctx, id)
	if err != nil {
		return nil, err
	}
	return l.ReceiptAt(ctx, index)
}

// ReceiptAt is Receipt for the record at an index.
func (l *Ledger) ReceiptAt(ctx context.Context, index uint64) (*bundle.Receipt, error) {
	head := l.Head()
	if index >= head.Size {
		return nil, fmt.Errorf("%w: index %d, the log's size is %d", ErrNoRecord, index, head.Size)
	}
	entry, err := l.log.Entry(ctx, index)
	if err != nil {
		return nil, err
	}
	proof, err := l.log.Inclusion(ctx, index, head.Size)
	if err != nil {
		return nil, err
	}
	checked, err := l.checkedHead(head.Note)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	if checked.Size != head.Size {
		return nil, fmt.Errorf("receipt: expected a tree head of size %d, found %d", head.Size, checked.Size)
	}
	if err := proof.Check(tlog.LeafHash(entry), checked.Root); err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return &bundle.Receipt{Entry: entry, Index: index, Hashes: proof.Hashes, Head: head.Note}, nil
}

// checkedHead verifies a tree head's signature. The last one is remembered, in
// bytes of its own: the same bytes verify again, and a thousand receipts go out
// under one head.
func (l *Ledger) checkedHead(signed []byte) (*tlog.SignedHead, error) {
	if last := l.checked.Load(); last != nil && bytes.Equal(last.Note, signed) {
		return last, nil
	}
	h, err := tlog.ParseHead(bytes.Clone(signed), l.verifier)
	if err != nil {
		return nil, err
	}
	l.checked.Store(h)
	return h, nil
}

// indexOfKey returns the index at the end of a row's key.
func indexOfKey(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }
