package bundle

import (
	"bytes"
	"encoding/base64"
	"fmt"

	"github.com/go-json-experiment/json"

	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// Bounds of a bundle; docs/bundle-format.md has them too.
const (
	// MaxLine is the size in bytes of the longest line without its newline. The
	// longest are tree heads of 64 KiB, with their newlines escaped, and records
	// of 65,535 bytes with all their nodes.
	MaxLine = 160 << 10
	// Chunk is how many bytes of a payload a data line holds; the last line of
	// a payload holds the rest.
	Chunk = 48 << 10
	// maxHeads is how many tree heads a bundle holds at most.
	maxHeads = 64
	// maxRecordPayloads is how many payloads may follow one record.
	maxRecordPayloads = 4096
	// maxInteger is the largest integer of I-JSON (RFC 7493).
	maxInteger = 1<<53 - 1
)

// line is any line but the first. Exactly one member is present.
type line struct {
	Head    *string      `json:"head,omitzero"`
	Record  *recordLine  `json:"record,omitzero"`
	Payload *payloadLine `json:"payload,omitzero"`
	Data    *string      `json:"data,omitzero"`
	End     *endLine     `json:"end,omitzero"`
}

type recordLine struct {
	Index uint64   `json:"index"`
	Left  []hash32 `json:"left,omitempty"` // nodes between the record before and this one
	JWS   string   `json:"jws"`
}

type payloadLine struct {
	Commit evidence.Digest `json:"commit"`
	Size   int64           `json:"size"`
	Salt   salt            `json:"salt"`
}

type endLine struct {
	Left     []hash32 `json:"left,omitempty"` // nodes right of the last record
	Heads    int      `json:"heads"`
	Records  uint64   `json:"records"`
	Payloads uint64   `json:"payloads"`
}

// hash32 and salt are 32 bytes in base64url without padding.
type (
	hash32 [tlog.HashSize]byte
	salt   [evidence.SaltSize]byte
)

func (h hash32) MarshalText() ([]byte, error)   { return encode32(h), nil }
func (h *hash32) UnmarshalText(b []byte) error  { return decode32((*[32]byte)(h), b) }
func (s salt) MarshalText() ([]byte, error)     { return encode32(s), nil }
func (s *salt) UnmarshalText(text []byte) error { return decode32((*[32]byte)(s), text) }

func encode32(b [32]byte) []byte {
	return base64.RawURLEncoding.AppendEncode(make([]byte, 0, 43), b[:])
}

func decode32(out *[32]byte, text []byte) error {
	var buf [33]byte
	if len(text) != 43 {
		return fmt.Errorf("expected 32 bytes in 43 characters of base64url, found %d characters", len(text))
	}
	n, err := base64.RawURLEncoding.Strict().Decode(buf[:], text)
	if err != nil || n != 32 {
		return fmt.Errorf("expected 32 bytes in base64url without padding, found %q", text)
	}
	copy(out[:], buf[:])
	return nil
}

// decode parses a line and requires that it is written as encode writes it, so
// that every bundle has one spelling: no white space, no duplicate or unknown
// member, no other order, no escape that need not be.
func decode(text []byte, v any) error {
	if err := json.Unmarshal(text, v, json.RejectUnknownMembers(true)); err != nil {
		return err
	}
	again, err := encode(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, text) {
		return fmt.Errorf("expected the canonical form of the line")
	}
	return nil
}

func encode(v any) ([]byte, error) { return json.Marshal(v) }

// members returns how many members are present.
func (l *line) members() (n int) {
	for _, present := range []bool{l.Head != nil, l.Record != nil, l.Payload != nil, l.Data != nil, l.End != nil} {
		if present {
			n++
		}
	}
	return n
}
