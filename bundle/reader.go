package bundle

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"

	"ledgerd/evidence"
	"ledgerd/ledger/tlog"
)

// An Item is what [Reader.Next] returns: a *HeadItem, *RecordItem, *PayloadItem
// or *EndItem.
type Item interface{ item() }

// A HeadItem is a tree head, which nobody has verified yet: that is for
// [Trust.OpenHead].
type HeadItem struct {
	Note []byte
	Size uint64 // as the note says
}

// A RecordItem is a record and where it is said to stand. Whether it does is
// known at the end, from the roots.
type RecordItem struct {
	Index uint64
	Entry []byte // the record's JWS; the caller's to keep
}

// A PayloadItem discloses a payload that the record before commits to. Data is
// read from the bundle and is valid until the next call of Next, which skips
// what is left of it.
type PayloadItem struct {
	Commit evidence.Digest // as the bundle says
	Size   int64           // bytes
	Salt   [evidence.SaltSize]byte
	Data   io.Reader
	r      *payloadReader
}

// Opened reads what is left of Data and reports whether salt and payload are
// what Commit stands for. Whether a record commits to that, with this size, is
// for the caller to compare.
func (p *PayloadItem) Opened() (bool, error) {
	if _, err := io.Copy(io.Discard, p.Data); err != nil {
		return false, err
	}
	return bytes.Equal(p.r.sum.Sum(nil), p.Commit[:]), nil
}

// An EndItem comes last. Roots holds, for each tree head in order, the root
// that the records and nodes give for its size: every record is in the tree of
// every head that is larger than its index if these are the roots that are signed.
type EndItem struct {
	Roots    []tlog.Hash
	Records  uint64
	Payloads uint64
}

func (*HeadItem) item()    {}
func (*RecordItem) item()  {}
func (*PayloadItem) item() {}
func (*EndItem) item()     {}

// A Reader reads a bundle as a stream, in memory that does not grow with the
// bundle. Every error but those of the underlying reader is a *FormatError or a
// *ProofError, and final.
type Reader struct {
	r       *bufio.Reader
	n       int // lines read
	h       *Header
	sizes   []uint64
	fold    *fold // from the first record on
	seen    endLine
	last    []byte // commitment of the last payload of the record
	inRec   int
	payload *payloadReader // being read, nil: none
	done    bool
	err     error
}

// NewReader returns a Reader of a bundle.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, MaxLine+1)}
}

// Header returns the first line, which it reads when it is called first.
func (r *Reader) Header() (*Header, error) {
	if r.h != nil || r.err != nil {
		return r.h, r.err
	}
	text, err := r.readLine()
	if err != nil {
		return nil, r.fail(err)
	}
	h := new(Header)
	if err := decode(text, h); err != nil {
		return nil, r.malformed("expected the header of a bundle: %v", err)
	}
	if err := h.Check(); err != nil {
		return nil, r.malformed("%v", err)
	}
	r.h = h
	return h, nil
}

// Next returns what comes next: tree heads, records each followed by its
// payloads, the end, and then io.EOF.
func (r *Reader) Next() (Item, error) {
	if _, err := r.Header(); err != nil {
		return nil, err
	}
	if r.payload != nil {
		if _, err := io.Copy(io.Discard, r.payload); err != nil {
			return nil, r.fail(err)
		}
		r.payload = nil
	}
	if r.done {
		return nil, r.finish()
	}
	l, err := r.readObject()
	if err != nil {
		return nil, r.fail(err)
	}
	switch {
	case l.Head != nil:
		return r.head(*l.Head)
	case l.Record != nil:
		return r.record(l.Record)
	case l.Payload != nil:
		return r.payloadOf(l.Payload)
	case l.End != nil:
		return r.ended(l.End)
	}
	return nil, r.malformed("a data line without a payload that it belongs to")
}

func (r *Reader) fail(err error) error {
	if r.err == nil {
		r.err = err
	}
	return r.err
}

func (r *Reader) malformed(format string, args ...any) error {
	return r.fail(&FormatError{r.n, fmt.Errorf(format, args...)})
}

// readLine returns the next line without its newline; it is valid until the
// next call. At the end of the input it returns io.ErrUnexpectedEOF.
func (r *Reader) readLine() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	text, err := r.r.ReadSlice('\n')
	r.n++
	switch {
	case err == nil:
		return text[:len(text)-1], nil
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, &FormatError{r.n, fmt.Errorf("expected lines of at most %d bytes", MaxLine)}
	case errors.Is(err, io.EOF):
		return nil, &FormatError{r.n, errors.New("the bundle is cut off: expected its end line")}
	}
	return nil, err
}

func (r *Reader) readObject() (*line, error) {
	text, err := r.readLine()
	if err != nil {
		return nil, err
	}
	l := new(line)
	if err := decode(text, l); err != nil {
		return nil, &FormatError{r.n, err}
	}
	if l.members() != 1 {
		return nil, &FormatError{r.n, errors.New("expected one of head, record, payload, data and end")}
	}
	return l, nil
}

func (r *Reader) head(signed string) (Item, error) {
	if r.fold != nil {
		return nil, r.malformed("a tree head after the first record")
	}
	un, err := readNote([]byte(signed))
	if err != nil {
		return nil, r.malformed("%v", err)
	}
	if err := checkSizes(r.sizes, un.size); err != nil {
		return nil, r.malformed("%v", err)
	}
	r.sizes = append(r.sizes, un.size)
	r.seen.Heads++
	return &HeadItem{Note: []byte(signed), Size: un.size}, nil
}

// advance goes over the nodes left of index.
func (r *Reader) advance(index uint64, left []hash32) error {
	if r.fold == nil {
		if len(r.sizes) == 0 {
			return r.malformed("expected a tree head before the first record")
		}
		r.fold = newFold(r.sizes)
	}
	if index < r.fold.next {
		return r.malformed("record %d after record %d: expected indexes to rise", index, r.fold.next-1)
	}
	if err := r.h.About.skip(r.fold.next, index); err != nil {
		return r.malformed("%v", err)
	}
	gap := r.fold.gap(index)
	if len(gap) != len(left) {
		return r.malformed("expected %d nodes left of index %d, found %d", len(gap), index, len(left))
	}
	for i, s := range gap {
		r.fold.push(s, tlog.Hash(left[i]))
	}
	return nil
}

func (r *Reader) record(l *recordLine) (Item, error) {
	if n := len(r.sizes); n > 0 && l.Index >= r.sizes[n-1] {
		return nil, r.fail(&ProofError{r.n, fmt.Errorf("index %d is not in the tree of size %d", l.Index, r.sizes[n-1])})
	}
	if len(l.JWS) == 0 || len(l.JWS) > evidence.MaxEntry {
		return nil, r.malformed("expected a record of 1 to %d bytes, found %d", evidence.MaxEntry, len(l.JWS))
	}
	if err := r.advance(l.Index, l.Left); err != nil {
		return nil, err
	}
	entry := []byte(l.JWS)
	r.fold.push(span{l.Index, l.Index + 1}, tlog.LeafHash(entry))
	r.seen.Records++
	r.last, r.inRec = nil, 0
	return &RecordItem{Index: l.Index, Entry: entry}, nil
}

func (r *Reader) payloadOf(l *payloadLine) (Item, error) {
	if r.seen.Records == 0 || r.last != nil && bytes.Compare(r.last, l.Commit[:]) >= 0 || r.inRec == maxRecordPayloads {
		return nil, r.malformed("payload %s: expected at most %d after a record, in the order of their commitments", l.Commit, maxRecordPayloads)
	}
	if l.Size < 0 || l.Size > maxInteger {
		return nil, r.malformed("payload %s: expected a size of 0 to 2^53-1 bytes, found %d", l.Commit, l.Size)
	}
	r.last = bytes.Clone(l.Commit[:])
	r.inRec++
	r.seen.Payloads++
	r.payload = &payloadReader{r: r, left: l.Size, sum: evidence.NewCommitHash(l.Salt)}
	return &PayloadItem{Commit: l.Commit, Size: l.Size, Salt: l.Salt, Data: r.payload, r: r.payload}, nil
}

func (r *Reader) ended(l *endLine) (Item, error) {
	if r.seen.Records == 0 {
		return nil, r.malformed("expected a record before the end")
	}
	if l.Heads != r.seen.Heads || l.Records != r.seen.Records || l.Payloads != r.seen.Payloads {
		return nil, r.malformed("expected %d heads, %d records and %d payloads, as the end line says, found %d, %d and %d",
			l.Heads, l.Records, l.Payloads, r.seen.Heads, r.seen.Records, r.seen.Payloads)
	}
	if a := &r.h.About; a.Kind == AboutRange && *a.To > r.fold.size() {
		return nil, r.malformed("expected every record from %d to %d, found a tree of size %d", *a.From, *a.To-1, r.fold.size())
	}
	if err := r.advance(r.fold.size(), l.Left); err != nil {
		return nil, err
	}
	r.done = true
	return &EndItem{Roots: r.fold.roots, Records: l.Records, Payloads: l.Payloads}, nil
}

// finish requires that nothing follows the end.
func (r *Reader) finish() error {
	if r.err != nil {
		return r.err
	}
	switch _, err := r.r.ReadByte(); {
	case err == nil:
		r.n++
		return r.malformed("expected nothing after the end line")
	case errors.Is(err, io.EOF):
		return r.fail(io.EOF)
	default:
		return r.fail(err)
	}
}

// A payloadReader reads the data lines of one payload.
type payloadReader struct {
	r     *Reader
	left  int64 // bytes not yet read from lines
	chunk []byte
	sum   hash.Hash
}

func (p *payloadReader) Read(b []byte) (int, error) {
	if len(p.chunk) == 0 {
		if p.left == 0 {
			return 0, io.EOF
		}
		if p.r.payload != p {
			return 0, errors.New("bundle: a payload was read after the next item")
		}
		if err := p.fill(); err != nil {
			return 0, p.r.fail(err)
		}
	}
	n := copy(b, p.chunk)
	p.chunk = p.chunk[n:]
	return n, nil
}

func (p *payloadReader) fill() error {
	l, err := p.r.readObject()
	if err != nil {
		return err
	}
	want := min(p.left, Chunk)
	if l.Data == nil {
		return &FormatError{p.r.n, fmt.Errorf("expected a data line: %d bytes of the payload are missing", p.left)}
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(*l.Data)
	if err != nil || base64.RawURLEncoding.EncodedLen(len(data)) != len(*l.Data) {
		return &FormatError{p.r.n, errors.New("expected base64url without padding")}
	}
	if int64(len(data)) != want {
		return &FormatError{p.r.n, fmt.Errorf("expected %d bytes of the payload on this line, found %d", want, len(data))}
	}
	p.sum.Write(data)
	p.chunk = data
	p.left -= want
	return nil
}
