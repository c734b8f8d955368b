package importer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// MaxLine is the length in bytes of the longest line that a [Reader] takes: one
// run, held in memory while it is imported.
const MaxLine = 64 << 20

// LineError says which line of the input is wrong, and how.
type LineError struct {
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns what is wrong.
func (e *LineError) Unwrap() error { return e.Err }

// Reader reads transcripts, one a line. Empty lines are skipped.
type Reader struct {
	in   *bufio.Reader
	line int
	ids  map[string]int // run names seen, and on which line
}

// NewReader reads from r, which it buffers.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, 256<<10), ids: make(map[string]int)}
}

// Next returns the next transcript, and io.EOF after the last. Every other
// error but one of the underlying reader is a *LineError.
func (r *Reader) Next() (*Transcript, error) {
	for {
		line, err := r.readLine()
		if err != nil {
			return nil, err
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		t, err := Parse(line)
		if err != nil {
			return nil, &LineError{r.line, err}
		}
		if first, ok := r.ids[t.ID]; ok {
			return nil, &LineError{r.line, fmt.Errorf("member id: want a name of its own for each run, found %q, which line %d has", t.ID, first)}
		}
		r.ids[t.ID] = r.line
		t.Line = r.line
		return t, nil
	}
}

// readLine returns the next line; the last one need not end in a newline.
func (r *Reader) readLine() ([]byte, error) {
	var line []byte
	r.line++
	for {
		part, err := r.in.ReadSlice('\n')
		if len(line)+len(part) > MaxLine {
			return nil, &LineError{r.line, fmt.Errorf("want at most %d MiB in a line, found more: is this one run a line (JSON Lines)?", MaxLine>>20)}
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		default:
			return nil, err
		}
	}
}
