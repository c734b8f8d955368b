package server

import (
	"bytes"
	"net/http"
	"regexp"
)

// A request that has both Content-Length and Transfer-Encoding may be read as
// two different ones by two programs (RFC 9112, section 6.3). net/http takes the
// second and hides the first, so that a handler cannot tell. Hence a connection
// remembers its last bytes, and a chunked request, which is rare, is looked up
// there.

// recent is how many bytes a connection remembers. net/http reads at most 4 KiB
// ahead, so a chunked request may have about as much of headers.
const recent = 12 << 10

// Read is called by one goroutine at a time, which is the one that runs the
// handler that looks at tail, or one that this handler started by reading.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 1 && c.unwatched.Load() {
		// net/http watches with a read of one byte, and reads nothing else so.
		// No byte and no error means that nothing happened, and the watch is over.
		return 0, nil
	}
	if err := c.startReading(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	c.stopReading()
	got := p[max(0, n-recent):n]
	if len(c.tail)+len(got) > 2*recent { // seldom, so that little is moved
		c.tail = c.tail[:copy(c.tail, c.tail[len(c.tail)-recent:])]
	}
	c.tail = append(c.tail, got...)
	return n, err
}

var (
	blankLine = regexp.MustCompile(`\r?\n\r?\n`)
	lengthOf  = regexp.MustCompile(`(?i)\ncontent-length[ \t]*:`)
	codingOf  = regexp.MustCompile(`(?i)\ntransfer-encoding[ \t]*:`)
)

// framedTwice reports whether a chunked request may have come with a
// Content-Length as well: its headers say so, or they are longer than what is
// remembered.
func framedTwice(r *http.Request) bool {
	c := connOf(r)
	if c == nil {
		return false // a test's recorder has no framing
	}
	seen := false
	rest := c.tail
	for {
		end := blankLine.FindIndex(rest)
		if end == nil {
			return !seen
		}
		block := rest[:end[0]]
		if i := bytes.LastIndex(block, []byte(" HTTP/1.")); i >= 0 && codingOf.Match(block[i:]) {
			if lengthOf.Match(block[i:]) {
				return true
			}
			seen = true
		}
		rest = rest[end[1]:]
	}
}
