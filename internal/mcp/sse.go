package mcp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// An eventStream copies a stream of server-sent events (HTML, 9.2.6).
type eventStream struct {
	b       *bufio.Reader
	lastCR  bool // the line before ended with a CR, so that an LF is its end, too
	resumes bool // an event had an id, by which a client comes back
}

// lineCost is about what a line that is kept takes beside its bytes.
const lineCost = 32

var bom = []byte("\xEF\xBB\xBF")

// copy passes on each event as f has its data. One whose data stays what it is stays as
// it came; of one that f drops the id alone is passed on, by which a client comes back.
func (s *eventStream) copy(f func([]byte) ([]byte, error), out io.Writer) error {
	var lines [][]byte
	size, first := 0, true
	for {
		line, err := s.line()
		if errors.Is(err, io.EOF) {
			return nil // an event that is not ended is none
		}
		if err != nil {
			return err
		}
		if first {
			line, first = bytes.TrimPrefix(line, bom), false
		}
		if len(line) > 0 {
			if size += len(line) + lineCost; size > maxMessage {
				return fmt.Errorf("want events of at most %d MiB", maxMessage>>20)
			}
			lines = append(lines, line)
			continue
		}
		if len(lines) > 0 {
			if err := s.event(lines, f, out); err != nil {
				return err
			}
		}
		lines, size = nil, 0
	}
}

// line reads a line. CR, LF and CRLF end one: a reader that knows but one of them would
// not see what another sees in a line of its own.
func (s *eventStream) line() ([]byte, error) {
	if s.lastCR {
		s.lastCR = false
		if next, err := s.b.Peek(1); err == nil && next[0] == '\n' {
			_, _ = s.b.Discard(1)
		}
	}
	var line []byte
	for {
		if _, err := s.b.Peek(1); err != nil {
			return nil, err
		}
		have, _ := s.b.Peek(s.b.Buffered())
		end := bytes.IndexAny(have, "\r\n")
		part := have
		if end >= 0 {
			part = have[:end]
		}
		if len(line)+len(part) > maxMessage {
			return nil, fmt.Errorf("want lines of at most %d MiB", maxMessage>>20)
		}
		line = append(line, part...)
		if end < 0 {
			_, _ = s.b.Discard(len(have))
			continue
		}
		s.lastCR = have[end] == '\r'
		_, _ = s.b.Discard(end + 1)
		return line, nil
	}
}

func (s *eventStream) event(lines [][]byte, f func([]byte) ([]byte, error), out io.Writer) error {
	lines = slices.DeleteFunc(lines, several)
	var data, kept [][]byte
	for _, line := range lines {
		switch name, value, _ := bytes.Cut(line, []byte(":")); string(name) {
		case "data":
			data = append(data, bytes.TrimPrefix(value, []byte(" ")))
			continue
		case "id":
			s.resumes = true
			kept = append(kept, line)
		}
	}
	if len(lines) == 0 {
		return nil
	}
	whole := bytes.Join(data, []byte("\n"))
	if len(bytes.TrimSpace(whole)) == 0 {
		return write(out, lines)
	}
	made, err := f(whole)
	if made != nil {
		made = oneLine(made)
	}
	switch {
	case err != nil:
		return err
	case bytes.Equal(made, whole):
		return write(out, lines)
	case made == nil && len(kept) == 0:
		return nil
	case made == nil:
		return write(out, append(kept, []byte("data: ")))
	}
	var changed [][]byte
	for _, line := range lines {
		if name, _, _ := bytes.Cut(line, []byte(":")); string(name) != "data" {
			changed = append(changed, line)
		}
	}
	for line := range bytes.SplitSeq(made, []byte("\n")) {
		changed = append(changed, append([]byte("data: "), line...))
	}
	return write(out, changed)
}

// several reports whether readers that end lines where Unicode does would take a line for
// several: one that says nothing of a message could be one to them. Of data see oneLine.
func several(line []byte) bool {
	name, _, _ := bytes.Cut(line, []byte(":"))
	return string(name) != "data" && bytes.ContainsAny(line, "\v\f\x1c\x1d\x1e\u0085\u2028\u2029")
}

// oneLine returns a message without lines of data in it that only readers have who end lines
// where Unicode does: of these ends JSON has three, in texts alone, and there they may be
// escaped.
func oneLine(message []byte) []byte {
	begins := func(end string) bool { return bytes.Contains(message, []byte(end+"data")) }
	if !begins("\u0085") && !begins("\u2028") && !begins("\u2029") {
		return message
	}
	return []byte(strings.NewReplacer("\u0085", `\u0085`, "\u2028", `\u2028`, "\u2029", `\u2029`).Replace(string(message)))
}

// write writes an event.
func write(out io.Writer, lines [][]byte) error {
	_, err := out.Write(append(bytes.Join(lines, []byte("\n")), "\n\n"...))
	return err
}
