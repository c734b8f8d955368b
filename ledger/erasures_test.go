package ledger

import (
	"encoding/binary"
	"testing"

	"ledgerd/evidence"
)

// What may have been erased is looked up; only what certainly was not is not.
func TestErasuresInMemory(t *testing.T) {
	digest := func(i int) (d evidence.Digest) {
		binary.BigEndian.PutUint64(d[:], uint64(i))
		return d
	}
	var e erasures
	if !e.may(digest(0)) {
		t.Error("before those on record are known, something certainly was not erased")
	}
	e.loaded = true
	if e.may(digest(0)) {
		t.Error("nothing was erased, and is looked up")
	}
	for i := range maxErasures {
		e.add(digest(i))
	}
	if !e.may(digest(0)) || !e.may(digest(maxErasures-1)) || e.may(digest(maxErasures)) {
		t.Error("what is kept in memory is not what was added")
	}
	// One more than is kept: it must not be taken for one that never was.
	e.add(digest(maxErasures))
	if !e.may(digest(maxErasures)) || !e.may(digest(1)) {
		t.Error("an erasure beyond those that are kept is forgotten")
	}
}
