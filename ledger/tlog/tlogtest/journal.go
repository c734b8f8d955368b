// Package tlogtest holds the oracle that decides whether a log kept its
// promises, whatever happened to it: [CheckLog]. Every crash test ends in it.
//
// A test, or another process while it kills the log, writes a [Journal] of what
// it was told. CheckLog then compares that with what the log says in the end.
// It shares no code with the log: trees are hashed by golang.org/x/mod.
package tlogtest

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// A Journal is what the outside was told, in the order in which it heard. Its
// methods may be called from any goroutine.
type Journal struct {
	mu     sync.Mutex
	events []event
	w      io.Writer
}

// An event is an acknowledgement or a head; head is nil for the former.
type event struct {
	index uint64
	leaf  tlog.Hash
	head  []byte
	since int // number of events when the head was asked for
}

// NewJournal returns an empty journal that also writes every event to w, a line
// each, if w is not nil; [ReadJournal] reads that back. The line is written
// before the method returns.
func NewJournal(w io.Writer) *Journal { return &Journal{w: w} }

// Acked notes that the log acknowledged entry at index.
func (j *Journal) Acked(index uint64, entry []byte) {
	j.add(event{index: index, leaf: tlog.RecordHash(entry)})
}

// Look is called before the log is asked for its tree head, and what it returns
// afterwards, with the signed head: what was acknowledged before Look has to be
// in there.
func (j *Journal) Look() (seen func(head []byte)) {
	since := j.Len()
	return func(head []byte) { j.add(event{head: append([]byte(nil), head...), since: since}) }
}

func (j *Journal) add(e event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
	if j.w == nil {
		return
	}
	if e.head != nil {
		fmt.Fprintf(j.w, "head %d %s\n", e.since, base64.StdEncoding.EncodeToString(e.head))
	} else {
		fmt.Fprintf(j.w, "ack %d %s\n", e.index, e.leaf)
	}
}

// Len returns the number of events.
func (j *Journal) Len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.events)
}

// Prefix returns a journal of the first n events.
func (j *Journal) Prefix(n int) *Journal {
	j.mu.Lock()
	defer j.mu.Unlock()
	return &Journal{events: append([]event(nil), j.events[:n]...)}
}

// ReadJournal reads what a journal wrote. A last line without its end, which a
// kill can leave, is passed over.
func ReadJournal(r io.Reader) (*Journal, error) {
	j := new(Journal)
	br := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := br.ReadString('\n')
		if err == io.EOF {
			return j, nil
		}
		if err != nil {
			return nil, err
		}
		var e event
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "head ") {
			var text string
			if _, err := fmt.Sscanf(line, "head %d %s", &e.since, &text); err != nil {
				return nil, fmt.Errorf("journal line %d, %q: %w", n, line, err)
			}
			if e.head, err = base64.StdEncoding.DecodeString(text); err != nil {
				return nil, fmt.Errorf("journal line %d: %w", n, err)
			}
			if e.since > len(j.events) {
				return nil, fmt.Errorf("journal line %d: a head since event %d, after %d events", n, e.since, len(j.events))
			}
		} else {
			var leaf string
			if _, err := fmt.Sscanf(line, "ack %d %s", &e.index, &leaf); err != nil {
				return nil, fmt.Errorf("journal line %d, %q: %w", n, line, err)
			}
			if e.leaf, err = tlog.ParseHash(leaf); err != nil {
				return nil, fmt.Errorf("journal line %d: %w", n, err)
			}
		}
		j.events = append(j.events, e)
	}
}
