package tlog

import (
	"context"
	"errors"
	"iter"
)

// What a Store or a Log answers, for callers to branch on.
var (
	// ErrBusy: the line is full, nothing was taken. Try again later.
	ErrBusy = errors.New("the log's queue is full: try again later")
	// ErrNotAppended: certainly not appended, the log stopped before.
	ErrNotAppended = errors.New("not appended: the log has stopped")
	// ErrUnknown: begun, but not known to be durable. After a restart it may
	// be there or not; appending the same bytes again finds out.
	ErrUnknown = errors.New("unknown whether appended: the commit failed")
	// ErrClosed: Close was called before.
	ErrClosed = errors.New("not appended: the log is closed")
	// ErrReadOnly: the log was opened only to be read.
	ErrReadOnly = errors.New("not appended: the log is open read-only")
	// ErrEntrySize: an entry is empty or longer than MaxEntry.
	ErrEntrySize = errors.New("an entry has 1 to 65,535 bytes")
	// ErrDiskFull: the store has no room. Reads go on.
	ErrDiskFull = errors.New("not appended: no room left in the store")
	// ErrConflict: certainly not stored, for someone else wrote there.
	ErrConflict = errors.New("someone else wrote to the store")
	// ErrBeyond: the durable tree has no such entry, tile or size.
	ErrBeyond = errors.New("beyond the log's durable tree head")
	// ErrNoRow: there is no row of that key. Any other error of a lookup says
	// nothing about whether there is one.
	ErrNoRow = errors.New("no such row")
	// ErrRollback: the store does not contain the newest head that is kept
	// outside of it: it is an older copy, or another history.
	ErrRollback = errors.New("the store does not contain the newest tree head known outside of it")
)

// A Row is an index row: a key and a value that mean nothing here.
type Row struct{ Key, Value []byte }

// A FullTile is a full tile of the tree: 8,192 bytes.
type FullTile struct {
	Level uint8
	N     uint64
	Data  []byte
}

// A Batch is what one commit holds, all of it or nothing.
type Batch struct {
	First   uint64 // index of the first entry, which is the size expected before
	Entries [][]byte
	Rows    []Row
	Tiles   []FullTile // the tiles that became full
	Head    []byte     // signed tree head that covers the entries
}

// A Store keeps a log. One Log uses it at a time.
//
// The commit may itself be a compare-and-swap at Batch.First, as on an object
// store: hence the expected size, the two steps, and ErrConflict.
type Store interface {
	Reader
	// Load returns the newest tree head that was committed, nil for an empty
	// store. What it returns, and everything that the head covers, is durable
	// before Load returns: a process that was killed may have left bytes that
	// only the operating system's memory holds, and a head must not be
	// published on those. It is called once, before anything else.
	Load(ctx context.Context) (head []byte, err error)
	// Room returns an error that is ErrDiskFull if a batch of that many bytes
	// might not fit. It is asked before entries are admitted.
	Room(bytes int) error
	// Begin hands over the batch that follows the last one begun, and does
	// not wait for it. Batches become durable in that order: where one does
	// not, no later one does. Begin and the Wait of what it returned may be
	// called from different goroutines. The store does not change the batch,
	// and keeps no reference to it once Wait has returned.
	Begin(b *Batch) (Pending, error)
}

// A Pending is a batch that was begun.
type Pending interface {
	// Wait returns nil once the batch is durable. ErrConflict means certainly
	// not stored; after any other error nobody knows. Either way the store is
	// used up: nothing that is begun later becomes durable.
	Wait() error
}

// A Reader reads back what batches held. It may show what is not yet durable;
// a Log keeps itself to its durable head.
type Reader interface {
	// Entries yields the entries from first to end-1, in order. Every slice
	// is the caller's. A missing entry is an error.
	Entries(ctx context.Context, first, end uint64) iter.Seq2[[]byte, error]
	// Tiles yields the full tiles of a level from number first to end-1, of
	// 8,192 bytes each, likewise.
	Tiles(ctx context.Context, level uint8, first, end uint64) iter.Seq2[[]byte, error]
}

// A RowReader looks index rows up. It may show rows of batches that are not yet
// durable: whoever reads them compares what they point to with [Log.Head].
type RowReader interface {
	// Row returns the value of a key, or ErrNoRow.
	Row(ctx context.Context, key []byte) ([]byte, error)
	// Rows yields the rows from key from on, up to but without the key to
	// (nil: to the end), in the order of keys or, if reverse, from the end.
	Rows(ctx context.Context, from, to []byte, reverse bool) iter.Seq2[Row, error]
}

// A HeadKeeper keeps the newest tree head outside the store, so that an older
// copy of the store cannot pass for the ledger.
type HeadKeeper interface {
	// Newest returns the head kept last, nil if there is none.
	Newest(ctx context.Context) ([]byte, error)
	// Keep replaces it, durably.
	Keep(ctx context.Context, head []byte) error
}
