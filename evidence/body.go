package evidence

// Body is what a record of one kind holds. There is one struct a kind, and no
// other implementation.
//
// In every body a pointer, a slice or a string that is zero stands for an
// absent member; a member that is present is never empty. Identifiers are 1 to
// 256 bytes of printable ASCII without spaces.
type Body interface {
	// Kind is the kind that this body belongs to.
	Kind() Kind
	check(c *checker)
}

// Source tells how a record came to be known, weakest last.
type Source string

// The sources. Confirmed is never written: it is what a tool's own
// confirmation lends to an execution.
const (
	SourceConfirmed Source = "confirmed"
	SourceRuntime   Source = "runtime"  // the runtime made the call
	SourceReported  Source = "reported" // someone said so
	SourceObserved  Source = "observed" // seen in a trace
	SourceImported  Source = "imported" // read from a transcript
)

// Strength orders sources: 5 for confirmed down to 1 for imported, 0 for
// anything else.
func (s Source) Strength() int {
	switch s {
	case SourceConfirmed:
		return 5
	case SourceRuntime:
		return 4
	case SourceReported:
		return 3
	case SourceObserved:
		return 2
	case SourceImported:
		return 1
	}
	return 0
}
