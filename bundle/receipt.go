package bundle

import (
	"bytes"
	"fmt"

	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// ReceiptPrefix is how every receipt begins.
const ReceiptPrefix = "c2sp.org/tlog-proof@v1\n"

// A Receipt places one record in a log: a C2SP tlog-proof
// (https://c2sp.org/tlog-proof) whose extra line is the record's JWS.
type Receipt struct {
	Entry  []byte      // the record's JWS, exactly as logged
	Index  uint64      // where it stands
	Hashes []tlog.Hash // inclusion proof, from the leaf up
	Head   []byte      // signed tree head
}

// ParseReceipt reads what [Receipt.Marshal] wrote and no other spelling of it.
// It checks form only: neither proof nor head nor record.
func ParseReceipt(b []byte) (*Receipt, error) {
	p, err := tlog.ParseTextProof(b)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", &FormatError{Err: err})
	}
	if len(p.Extra) == 0 {
		return nil, fmt.Errorf("receipt: %w", formErr("expected an extra line with the record, found a tlog-proof of something that it does not hold"))
	}
	if len(p.Extra) > evidence.MaxEntry {
		return nil, fmt.Errorf("receipt: %w", formErr("expected an extra line with the record, 1 to %d bytes, found %d", evidence.MaxEntry, len(p.Extra)))
	}
	if _, err := readNote(p.Head); err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return &Receipt{Entry: p.Extra, Index: p.Index, Hashes: p.Hashes, Head: p.Head}, nil
}

// Marshal writes the receipt.
func (r *Receipt) Marshal() []byte {
	p := tlog.TextProof{Extra: r.Entry, Index: r.Index, Hashes: r.Hashes, Head: r.Head}
	return p.Marshal()
}

// Check reports whether the record is in the tree of a verified head.
func (r *Receipt) Check(h *Head) error {
	if !bytes.Equal(h.Note, r.Head) {
		return fmt.Errorf("receipt: expected to be checked under its own tree head")
	}
	p := tlog.Inclusion{Index: r.Index, Size: h.Size, Hashes: r.Hashes}
	return p.Check(tlog.LeafHash(r.Entry), h.Root)
}
