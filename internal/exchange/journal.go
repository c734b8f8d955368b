package exchange

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"ledgerd/evidence"
	"ledgerd/internal/wholefile"
)

// note is the last word about something that had to go out.
type note struct {
	Record evidence.ID `json:"record"` // the offer, or the acceptance
	State  string      `json:"state"`  // delivered, refused; or pending: it is to be tried again all the same
	Reason string      `json:"reason,omitempty"`
	Detail string      `json:"detail,omitempty"`
}

// journal is the file of notes, one JSON object a line. The last one of a record
// counts. A line that a crash left without its end is none, and is cut off.
type journal struct {
	mu    sync.Mutex
	f     *os.File
	size  int64                // of the file, up to the last line that is whole; guarded by mu
	notes map[evidence.ID]note // guarded by mu
}

func openJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	j := &journal{f: f, notes: make(map[evidence.ID]note)}
	if err := j.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("outbox: %s: %w", path, err), f.Close())
	}
	return j, wholefile.SyncDir(filepath.Dir(path))
}

func (j *journal) load() error {
	text, err := io.ReadAll(j.f)
	if err != nil {
		return err
	}
	whole := bytes.LastIndexByte(text, '\n') + 1
	j.size = int64(whole)
	for n, line := range bytes.Split(text[:whole], []byte{'\n'}) {
		if len(line) == 0 {
			continue
		}
		var one note
		if err := json.Unmarshal(line, &one); err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
		j.notes[one.Record] = one
	}
	return j.f.Truncate(j.size)
}

// write notes something down. It is durable when write returns.
func (j *journal) write(n note) error {
	line, err := json.Marshal(n)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	line = append(line, '\n')
	if _, err = j.f.WriteAt(line, j.size); err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		// A line that is there in part is written over by the next one.
		return fmt.Errorf("outbox: %w", err)
	}
	j.size += int64(len(line))
	j.notes[n.Record] = n
	return nil
}

// of returns what was noted of a record last.
func (j *journal) of(record evidence.ID) (note, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n, ok := j.notes[record]
	return n, ok
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.f.Close()
}
