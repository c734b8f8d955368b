package ledger

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/bits"

	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// A CellStore is a Store that keeps small values beside the log, too. Where a
// ledger's store is one, small payloads lie in it, encrypted, each under a key of
// its own; the keys lie in the vault (keyFile). Then a payload needs no sync:
// the one that makes its record durable has made the payload durable before.
// Nothing can be wiped from a store that writes everything several times, but a
// key can.
type CellStore interface {
	// Cell returns the value of a key, or tlog.ErrNoRow.
	Cell(key []byte) ([]byte, error)
	// Cells yields the cells from key from on, up to but without the key to.
	Cells(ctx context.Context, from, to []byte) iter.Seq2[tlog.Row, error]
	// LastCell returns the last key of Cells; nil: there is none.
	LastCell(from, to []byte) ([]byte, error)
	// PutCells removes cells, sets others, and appends to the values of others,
	// in this order, all or nothing. Once it has returned, nothing that is begun
	// or synced later becomes durable without them.
	PutCells(remove [][]byte, set, join []tlog.Row) error
	// SyncCells makes durable what PutCells was told before. A failed sync is
	// final, as one of the log is.
	SyncCells() error
}

// The keys of cells.
//
//	d  digest (32 bytes)  slots (8 bytes each)         where the payload lies
//	s  slot (8 bytes)     digest, nonce, ciphertext    AES-256-GCM of what would be the payload's file
//
// Slots count up, so that payloads lie in the order in which they came and
// the store need not move them about. The digest is authenticated with the
// ciphertext. A payload that was put twice may lie in two slots: whoever makes a
// salt of its own need not look whether its payload is there.
const (
	cellDigest = 'd'
	cellSlot   = 's'
	nonceSize  = 12
)

// maxCell is Vault.maxCell.
const maxCell = 32 << 10

// cellBatch is how many bytes of payloads are put at once.
const cellBatch = 4 << 20

func digestCell(d evidence.Digest) []byte { return append([]byte{cellDigest}, d[:]...) }

func slotCell(slot uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{cellSlot}, slot)
}

// cells keeps small payloads in a store.
type cells struct {
	store CellStore
	keys  *keyFile
}

// attachCells lets small payloads lie in the store, if it can, before the vault is
// used.
func attachCells(v *Vault, store Store) {
	s, ok := store.(CellStore)
	if v == nil || !ok {
		return
	}
	v.cells = &cells{store: s, keys: &keyFile{fs: v.fs, dir: v.dir, ahead: v.keysAhead, last: func() (uint64, bool, error) { return lastSlot(s) }}}
}

// inCell reports whether a payload of that size in bytes lies in a cell.
func (v *Vault) inCell(size int64) bool { return v.cells != nil && size <= v.maxCell }

// lastSlot returns the last slot in use.
func lastSlot(s CellStore) (slot uint64, ok bool, err error) {
	key, err := s.LastCell([]byte{cellSlot}, []byte{cellSlot + 1})
	switch {
	case err != nil:
		return 0, false, fmt.Errorf("payloads: the last one in the store: %w", err)
	case key == nil:
		return 0, false, nil
	case len(key) != 9:
		return 0, false, fmt.Errorf("payloads: expected a cell's key of 9 bytes, found %x", key)
	}
	return binary.BigEndian.Uint64(key[1:]), true, nil
}

// slots returns where a payload lies, or ErrNoPayload.
func (c *cells) slots(d evidence.Digest) ([]uint64, error) {
	b, err := c.store.Cell(digestCell(d))
	switch {
	case errors.Is(err, tlog.ErrNoRow):
		return nil, ErrNoPayload
	case err != nil:
		return nil, fmt.Errorf("payload %s: %w", d, err)
	}
	slots, err := readSlots(b)
	if err != nil {
		return nil, fmt.Errorf("%w: payload %s: %w", ErrCommitment, d, err)
	}
	return slots, nil
}

func readSlots(b []byte) ([]uint64, error) {
	if len(b) == 0 || len(b)%8 != 0 {
		return nil, fmt.Errorf("expected slots of 8 bytes each, found %x", b)
	}
	slots := make([]uint64, len(b)/8)
	for i := range slots {
		slots[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return slots, nil
}

// open decrypts a payload: what would be its file. The errors are ErrNoPayload
// and, where it is damaged, ErrCommitment.
func (c *cells) open(d evidence.Digest) (VaultFile, error) {
	slots, err := c.slots(d)
	if err != nil {
		return nil, err
	}
	err = ErrNoPayload
	for _, slot := range slots {
		f, why := c.openSlot(d, slot)
		if why == nil {
			return f, nil
		}
		if !errors.Is(why, ErrNoPayload) {
			err = why
		}
	}
	return nil, err
}

func (c *cells) openSlot(d evidence.Digest, slot uint64) (*cellFile, error) {
	key, err := c.keys.get(slot)
	if err != nil {
		return nil, fmt.Errorf("payload %s: %w", d, err)
	}
	box, err := c.store.Cell(slotCell(slot))
	switch {
	case errors.Is(err, tlog.ErrNoRow):
		return nil, fmt.Errorf("%w: payload %s: its cell %d is missing", ErrCommitment, d, slot)
	case err != nil:
		return nil, fmt.Errorf("payload %s: %w", d, err)
	case len(box) < len(d)+nonceSize || !bytes.Equal(box[:len(d)], d[:]):
		return nil, fmt.Errorf("%w: payload %s: its cell %d holds something else", ErrCommitment, d, slot)
	}
	box = box[len(d):]
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, box[:nonceSize], box[nonceSize:], d[:])
	if err != nil {
		return nil, fmt.Errorf("%w: payload %s: its cell %d cannot be decrypted", ErrCommitment, d, slot)
	}
	return &cellFile{*bytes.NewReader(plain), d}, nil
}

func newAEAD(key *[keySize]byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal encrypts a payload's file under a new key, and returns the cell that it lies
// in and the one that says so.
func (c *cells) seal(d evidence.Digest, plain []byte) (box, where tlog.Row, err error) {
	slot, key, err := c.keys.take()
	if err != nil {
		return box, where, err
	}
	aead, err := newAEAD(&key)
	if err != nil {
		return box, where, err
	}
	b := make([]byte, len(d)+nonceSize, len(d)+nonceSize+len(plain)+aead.Overhead())
	copy(b, d[:])
	nonce := b[len(d):]
	_, _ = rand.Read(nonce) // never fails
	at := slotCell(slot)
	return tlog.Row{Key: at, Value: aead.Seal(b, nonce, plain, d[:])}, tlog.Row{Key: digestCell(d), Value: at[1:]}, nil
}

// digests yields what lies in cells. One whose key was wiped, and whose cells a
// crash brought back, is passed over.
func (c *cells) digests(ctx context.Context) iter.Seq2[evidence.Digest, error] {
	return func(yield func(evidence.Digest, error) bool) {
		for row, err := range c.store.Cells(ctx, []byte{cellDigest}, []byte{cellDigest + 1}) {
			var d evidence.Digest
			switch {
			case err != nil:
				err = fmt.Errorf("vault: %w", err)
			case len(row.Key) != 1+len(d):
				err = fmt.Errorf("vault: expected a cell that is named by a digest, found %x", row.Key)
			default:
				d = evidence.Digest(row.Key[1:])
				if c.wiped(row.Value) {
					continue
				}
			}
			if !yield(d, err) {
				return
			}
		}
	}
}

// wiped reports whether there is no key to any of the slots in a cell's value.
func (c *cells) wiped(value []byte) bool {
	slots, err := readSlots(value)
	if err != nil {
		return false // damaged
	}
	for _, slot := range slots {
		if _, err := c.keys.get(slot); !errors.Is(err, ErrNoPayload) {
			return false
		}
	}
	return true
}

// erase makes a payload's cells unreadable, for good: when it returns, no key to
// them is in any file. If we crash in between, the cells may come back; what they
// hold cannot be read.
func (c *cells) erase(d evidence.Digest) error {
	remove, err := c.wipe(d)
	if err == nil && len(remove) > 0 {
		err = c.store.PutCells(remove, nil, nil)
	}
	if err != nil {
		return fmt.Errorf("erase payload %s: %w", d, err)
	}
	return nil
}

// wipe makes a payload's cells unreadable and returns their keys in the store.
func (c *cells) wipe(d evidence.Digest) (remove [][]byte, err error) {
	slots, err := c.slots(d)
	if errors.Is(err, ErrNoPayload) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, slot := range slots {
		if err := c.keys.wipe(slot); err != nil {
			return nil, err
		}
		remove = append(remove, slotCell(slot))
	}
	return append(remove, digestCell(d)), nil
}

// placeCells puts payloads into the store. They are durable once something that
// was begun later is. fresh: nobody looks whether they are there already.
func (v *Vault) placeCells(all []*staged, allowed func(evidence.Digest) error, fresh bool) error {
	for len(all) > 0 {
		n, size := 0, 0
		for n < len(all) && (n == 0 || size+len(all[n].cell) <= cellBatch) {
			size += len(all[n].cell)
			n++
		}
		if err := v.placeSome(all[:n], allowed, fresh); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

func (v *Vault) placeSome(all []*staged, allowed func(evidence.Digest) error, fresh bool) error {
	var stripes uint64
	for _, s := range all {
		stripes |= 1 << stripeOf(s.commitment.Commit)
	}
	// Always in this order, so that two callers never wait for each other.
	for left := stripes; left != 0; left &= left - 1 {
		mu := &v.stripes[bits.TrailingZeros64(left)]
		mu.Lock()
		defer mu.Unlock()
	}
	var remove [][]byte
	var set, join []tlog.Row
	placed := make(map[evidence.Digest]bool, len(all))
	for _, s := range all {
		d := s.commitment.Commit
		if placed[d] {
			continue
		}
		placed[d] = true
		if allowed != nil {
			if err := allowed(d); err != nil {
				return err
			}
		}
		if !fresh {
			if stands, err := v.stands(s); stands {
				continue
			} else if err != nil {
				return err
			}
			// What is damaged is replaced, and what is left of it goes.
			damaged, err := v.cells.wipe(d)
			if err != nil {
				return fmt.Errorf("payload %s: %w", d, err)
			}
			remove = append(remove, damaged...)
		}
		box, where, err := v.cells.seal(d, s.cell)
		if err != nil {
			return fmt.Errorf("payload %s: %w", d, err)
		}
		set, join = append(set, box), append(join, where)
	}
	if len(set) == 0 {
		return nil
	}
	if err := v.cells.store.PutCells(remove, set, join); err != nil {
		return fmt.Errorf("payloads: %w", err)
	}
	return nil
}

// cellFile is a decrypted cell, for reading.
type cellFile struct {
	bytes.Reader
	digest evidence.Digest
}

func (f *cellFile) Name() string                       { return "the cell of " + f.digest.String() }
func (f *cellFile) Size() (int64, error)               { return f.Reader.Size(), nil }
func (f *cellFile) Close() error                       { return nil }
func (f *cellFile) Sync() error                        { return errors.ErrUnsupported }
func (f *cellFile) Write([]byte) (int, error)          { return 0, errors.ErrUnsupported }
func (f *cellFile) WriteAt([]byte, int64) (int, error) { return 0, errors.ErrUnsupported }
