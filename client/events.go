package client

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"

	"ledgerd/evidence"
)

// maxEvent is the length in bytes of the longest line of a stream: an entry,
// its payload again, and what is around them.
const maxEvent = 4 * evidence.MaxEntry

// eventData yields the data of the events of a stream, in the one form that the
// daemon writes: one line of data an event.
func eventData(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, 16<<10), maxEvent)
		for lines.Scan() {
			if data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: ")); ok && !yield(data, nil) {
				return
			}
		}
		err := lines.Err()
		if err == nil {
			err = io.ErrUnexpectedEOF // a stream has no end of its own
		}
		yield(nil, fmt.Errorf("event stream: %w", err))
	}
}
