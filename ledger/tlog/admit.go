package tlog

import "fmt"

// A Candidate is an entry that wants to be appended.
type Candidate struct {
	Entry []byte // not to be changed until its result is known
	Leaf  Hash   // LeafHash(Entry); set before Prepare is called
	Value any    // the Admitter's own: what Prepare found out, for Admit
}

// An Admitter decides what the log takes, where order is decided. The methods
// other than Prepare are called one at a time, in log order, and must not call
// back into the Log's appends.
type Admitter interface {
	// Prepare does what needs no order: parse, verify. It is given the
	// candidates that happen to be there, a few at most, and returns the refusal
	// of each, nil where there is none. It is called on any goroutine, several
	// at a time, and must not wait for anything.
	Prepare(cs []*Candidate) []error
	// Admit decides about c, which would stand at index, over all that was
	// admitted before, durable or not. nil takes it, and it stands from then
	// on. *Duplicate answers with the index at which the same bytes stand.
	// Any other error is the result of this candidate alone. Whichever it
	// is, its writer hears of it only once all that the decision rested on
	// is durable.
	Admit(index uint64, c *Candidate) error
	// Rows returns the index rows of the n entries from first on, admitted
	// since it was last called. They are committed with the entries.
	Rows(first uint64, n int) []Row
	// Durable says that the first size entries are durable, before their
	// writers hear of it. It may be called while Admit runs.
	Durable(size uint64)
}

// A Duplicate is Admit's answer for bytes that stand in the log already.
type Duplicate struct{ Index uint64 }

func (d *Duplicate) Error() string { return fmt.Sprintf("the same bytes stand at index %d", d.Index) }

// A Result is what became of one candidate.
type Result struct {
	Index     uint64 // valid where Err is nil
	Duplicate bool   // it stood there before
	Err       error  // the Admitter's refusal, ErrUnknown, ErrNotAppended, ErrDiskFull, ErrEntrySize
}
