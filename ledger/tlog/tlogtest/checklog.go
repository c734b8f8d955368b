package tlogtest

import (
	"errors"
	"fmt"
	"iter"

	formats "github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// CheckLog decides whether a log kept its promises: whether
//
//   - every entry that was acknowledged stands at its index in every head that
//     was seen later, and now;
//   - no size ever had two roots;
//   - every head extends the ones before it: it is the head of these entries.
//
// head is the signed head that the log shows now, entries yields all of its
// entries from index 0 on, and j is what was heard before. The error joins all
// that is wrong.
func CheckLog(v note.Verifier, head []byte, entries iter.Seq2[[]byte, error], j *Journal) error {
	j.mu.Lock()
	events := append(append([]event(nil), j.events...), event{head: head, since: len(j.events)})
	j.mu.Unlock()

	var errs []error
	wrong := func(format string, args ...any) {
		if len(errs) < 20 {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	roots := make(map[uint64]tlog.Hash) // of the heads, by size
	acked := make(map[uint64]tlog.Hash)
	ends := make([]uint64, len(events)) // after the highest index acknowledged by then
	end := uint64(0)
	newest := uint64(0) // size of the largest head so far
	now := uint64(0)
	for i, e := range events {
		ends[i] = end
		if e.head == nil {
			if old, ok := acked[e.index]; ok && old != e.leaf {
				wrong("index %d was acknowledged for two entries, %v and %v", e.index, old, e.leaf)
			}
			acked[e.index] = e.leaf
			end = max(end, e.index+1)
			continue
		}
		n, err := note.Open(e.head, note.VerifierList(v))
		if err != nil {
			return fmt.Errorf("head %q: %w", e.head, err)
		}
		var c formats.Checkpoint
		if _, err := c.Unmarshal([]byte(n.Text)); err != nil || len(c.Hash) != tlog.HashSize {
			return fmt.Errorf("head %q: %v", n.Text, err)
		}
		root := tlog.Hash(c.Hash)
		if old, ok := roots[c.Size]; ok && old != root {
			wrong("size %d has two roots, %v and %v", c.Size, old, root)
		}
		roots[c.Size] = root
		if c.Size < ends[e.since] {
			wrong("a head of size %d was shown after index %d was acknowledged", c.Size, ends[e.since]-1)
		}
		if i == len(events)-1 {
			now = c.Size
		} else {
			newest = max(newest, c.Size)
		}
	}
	if now < newest {
		wrong("the log shows size %d now, but showed %d before", now, newest)
	}

	// One pass over the entries rebuilds every tree that a head was shown of.
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		hs := make([]tlog.Hash, len(at))
		for i, x := range at {
			hs[i] = stored[x]
		}
		return hs, nil
	})
	compare := func(size uint64) {
		want, ok := roots[size]
		if !ok {
			return
		}
		if got, err := tlog.TreeHash(int64(size), read); err != nil || got != want {
			wrong("at size %d the entries give the root %v (%v), but a head says %v", size, got, err, want)
		}
	}
	compare(0)
	index := uint64(0)
	for entry, err := range entries {
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("read entry %d: %w", index, err))...)
		}
		hs, err := tlog.StoredHashes(int64(index), entry, read)
		if err != nil {
			return err
		}
		stored = append(stored, hs...)
		if want, ok := acked[index]; ok && want != tlog.RecordHash(entry) {
			wrong("entry %d is not what was acknowledged", index)
		}
		index++
		compare(index)
	}
	if index != now {
		wrong("the log has %d entries, but its head says %d", index, now)
	}
	if index < end {
		wrong("entries from %d to %d were acknowledged and are gone", index, end-1)
	}
	return errors.Join(errs...)
}
