package importer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// values reads transcripts of a format in which one JSON value is one run, over
// as many lines as it likes.
type values struct {
	in    *counted
	d     *jsontext.Decoder
	parse func(raw jsontext.Value) (*Transcript, error)
	ids   map[string]int // run names seen, and on which line
}

func newValues(r io.Reader, parse func(jsontext.Value) (*Transcript, error)) *values {
	in := &counted{r: r}
	return &values{in: in, d: jsontext.NewDecoder(in), parse: parse, ids: make(map[string]int)}
}

// Next implements [Transcripts].
func (v *values) Next() (*Transcript, error) {
	v.in.left = maxRun + 1
	kind := v.d.PeekKind() // the white space before it belongs to no run
	raw, err := v.d.ReadValue()
	var bad *jsontext.SyntacticError
	switch {
	case kind == 0 && errors.Is(err, io.EOF):
		return nil, io.EOF
	case errors.Is(err, errTooLong):
		return nil, &LineError{v.line(0), fmt.Errorf("want at most %d MiB in a run, found more", maxRun>>20)}
	case err != nil && v.in.failed != nil:
		return nil, v.in.failed
	case errors.As(err, &bad):
		return nil, &LineError{v.line(bad.ByteOffset - v.d.InputOffset()), fmt.Errorf("want strict JSON (RFC 7493): %w", bad.Err)}
	case err != nil:
		return nil, &LineError{v.line(0), fmt.Errorf("want strict JSON (RFC 7493): %w", err)}
	}
	line := v.line(0) - bytes.Count(raw, []byte{'\n'})
	t, err := v.parse(bytes.Clone(raw)) // the decoder writes over it
	if err != nil {
		return nil, &LineError{line, err}
	}
	if first, ok := v.ids[t.ID]; ok {
		return nil, &LineError{line, fmt.Errorf("want a name of its own for each run, found %q, which line %d has: give them different ids", clip(t.ID), first)}
	}
	v.ids[t.ID], t.Line = line, line
	return t, nil
}

var errTooLong = errors.New("a run is too long")

// counted passes on what is read, as much as may be read until left is set anew,
// and counts the line ends in it.
type counted struct {
	r      io.Reader
	left   int
	ends   int
	failed error // of r, other than io.EOF
}

func (c *counted) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooLong
	}
	n, err := c.r.Read(b[:min(len(b), c.left)])
	c.left -= n
	c.ends += bytes.Count(b[:n], []byte{'\n'})
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed = err
	}
	return n, err
}

// line returns the line of what stands ahead bytes beyond what was taken from the
// decoder.
func (v *values) line(ahead int64) int {
	unread := v.d.UnreadBuffer()
	ahead = max(0, min(ahead, int64(len(unread))))
	return 1 + v.in.ends - bytes.Count(unread[ahead:], []byte{'\n'})
}

// digestName names a run by what it says, where it has no name of its own.
func digestName(raw []byte) string {
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}
