package audit

import "ledgerd/ledger/tlog"

// LogState is what an audit of a log leaves for the next: the tree head that it
// saw. The next audit recomputes the root at that size from the entries, so that
// nothing before it can have changed unseen, and refuses a log that is shorter.
type LogState struct {
	Origin string
	Size   uint64
	Root   tlog.Hash
	Head   []byte // the signed note: proof, should the log ever say otherwise
}
