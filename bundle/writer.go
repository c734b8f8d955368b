package bundle

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// A Nodes gives the hashes of nodes of the tree whose size is that of the
// bundle's last tree head: each is of the leaves from lo to hi-1, as RFC 6962
// hashes them. A Writer asks for them from left to right, none twice.
type Nodes func(lo, hi uint64) (tlog.Hash, error)

// A Writer writes a bundle as a stream: header, tree heads, then records, each
// followed by the payloads that are disclosed with it. After an error it writes
// nothing more, and what it wrote is no bundle.
type Writer struct {
	w     *bufio.Writer
	h     Header
	nodes Nodes
	sizes []uint64
	fold  *fold // from the first record on
	last  []byte
	end   endLine
	inRec int // payloads of the current record
	err   error
}

// NewWriter writes the header.
func NewWriter(w io.Writer, h Header, nodes Nodes) *Writer {
	bw := &Writer{w: bufio.NewWriterSize(w, 64<<10), h: h, nodes: nodes}
	if err := h.Check(); err != nil {
		bw.err = fmt.Errorf("bundle: %w", err)
		return bw
	}
	bw.line(&h)
	return bw
}

func (w *Writer) line(v any) error {
	if w.err != nil {
		return w.err
	}
	b, err := encode(v)
	if err == nil && len(b) > MaxLine {
		err = fmt.Errorf("a line of %d bytes, expected at most %d", len(b), MaxLine)
	}
	if err == nil {
		w.w.Write(b)
		err = w.w.WriteByte('\n')
	}
	return w.fail(err)
}

func (w *Writer) fail(err error) error {
	if w.err == nil && err != nil {
		w.err = fmt.Errorf("bundle: %w", err)
	}
	return w.err
}

// Head writes a tree head, a signed note. All of them come before the first
// record, the smallest first; records and nodes connect to the last.
func (w *Writer) Head(signed []byte) error {
	if w.err != nil {
		return w.err
	}
	if w.fold != nil {
		return w.fail(errors.New("a tree head after the first record"))
	}
	un, err := readNote(signed)
	if err != nil {
		return w.fail(err)
	}
	if err := checkSizes(w.sizes, un.size); err != nil {
		return w.fail(err)
	}
	w.sizes = append(w.sizes, un.size)
	w.end.Heads++
	s := string(signed)
	return w.line(&line{Head: &s})
}

// left moves the fold to index and returns the hashes of the nodes on the way.
func (w *Writer) left(index uint64) ([]hash32, error) {
	if w.fold == nil {
		if len(w.sizes) == 0 {
			return nil, errors.New("expected a tree head before the first record")
		}
		w.fold = newFold(w.sizes)
	}
	if err := w.h.About.skip(w.fold.next, index); err != nil {
		return nil, err
	}
	var out []hash32
	for _, s := range w.fold.gap(index) {
		h, err := w.nodes(s.lo, s.hi)
		if err != nil {
			return nil, fmt.Errorf("node of leaves %d to %d: %w", s.lo, s.hi-1, err)
		}
		out = append(out, hash32(h))
		w.fold.push(s, h)
	}
	return out, nil
}

// Record writes a record. Indexes rise.
func (w *Writer) Record(index uint64, entry []byte) error {
	if w.err != nil {
		return w.err
	}
	if w.fold != nil && index < w.fold.next {
		return w.fail(fmt.Errorf("record %d after record %d: expected indexes to rise", index, w.fold.next-1))
	}
	if len(w.sizes) > 0 && index >= w.sizes[len(w.sizes)-1] {
		return w.fail(fmt.Errorf("record %d is not in the tree of size %d", index, w.sizes[len(w.sizes)-1]))
	}
	left, err := w.left(index)
	if err != nil {
		return w.fail(err)
	}
	w.fold.push(span{index, index + 1}, tlog.LeafHash(entry))
	w.end.Records++
	w.last, w.inRec = nil, 0
	return w.line(&line{Record: &recordLine{Index: index, Left: left, JWS: string(entry)}})
}

// Payload discloses a payload of the record before: what c commits to, opened
// by salt. The payloads of one record come in the order of the bytes of their
// commitments. It reads all of data, and fails if that is not what c commits to.
func (w *Writer) Payload(c evidence.Commitment, s [evidence.SaltSize]byte, data io.Reader) error {
	if w.err != nil {
		return w.err
	}
	if w.end.Records == 0 || w.last != nil && bytes.Compare(w.last, c.Commit[:]) >= 0 || w.inRec == maxRecordPayloads {
		return w.fail(fmt.Errorf("payload %s: expected at most %d after the record, in the order of their commitments", c.Commit, maxRecordPayloads))
	}
	w.last = bytes.Clone(c.Commit[:])
	w.inRec++
	w.end.Payloads++
	if err := w.line(&line{Payload: &payloadLine{Commit: c.Commit, Size: c.Size, Salt: s}}); err != nil {
		return err
	}
	sum := evidence.NewCommitHash(s)
	buf := make([]byte, Chunk)
	for left := c.Size; left > 0; {
		part := buf[:min(left, Chunk)]
		if _, err := io.ReadFull(data, part); err != nil {
			return w.fail(fmt.Errorf("payload %s: expected %d bytes: %w", c.Commit, c.Size, err))
		}
		sum.Write(part)
		text := base64.RawURLEncoding.EncodeToString(part)
		if err := w.line(&line{Data: &text}); err != nil {
			return err
		}
		left -= int64(len(part))
	}
	if n, _ := io.ReadFull(data, buf[:1]); n > 0 {
		return w.fail(fmt.Errorf("payload %s: expected %d bytes, found more", c.Commit, c.Size))
	}
	if !bytes.Equal(sum.Sum(nil), c.Commit[:]) {
		return w.fail(fmt.Errorf("payload %s: what was stored is not what the record commits to", c.Commit))
	}
	return nil
}

// Close writes the last line and flushes. It does not close the underlying writer.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	if w.end.Records == 0 {
		return w.fail(errors.New("expected a record"))
	}
	left, err := w.left(w.fold.size())
	if err != nil {
		return w.fail(err)
	}
	w.end.Left = left
	if err := w.line(&line{End: &w.end}); err != nil {
		return err
	}
	if err := w.w.Flush(); err != nil {
		return w.fail(err)
	}
	w.err = errors.New("bundle: closed")
	return nil
}
