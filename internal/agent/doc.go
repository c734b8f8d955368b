// Package agent drives runs for agents that are elsewhere: it is the runtime of a
// daemon. [Host] keeps the runs that somebody works on in memory, one driver for
// each, and answers what agents ask in the words of internal/api. Package
// internal/server has it over HTTP.
//
// # Requests that are sent again
//
// Whoever sends a request again, because the answer was lost, gets the same answer,
// and no second record. What makes a request the same is what it names: the run by
// its caller's key, steps, decisions and checkpoints by their names, an outcome by
// the number of its attempt. JSON values are compared in one form ([normal]), so
// that a client may write the same value in another way.
//
// # Drivers
//
// The host is one driver under one name, which it makes when it starts. A run that
// nobody asks for is put away after a while: its lease is given back, and it is
// read again when somebody does ask. Since the host was the last to drive it,
// nothing is recorded about that. Another driver, or the host of the next process,
// leaves a run.resumed, once.
//
// A host that starts knows that the one before it is dead, for only one process has
// the ledger. So it does not wait for the leases that a crash left; but as long as
// they would last, a call of a tool may still be under way, and what is in doubt is
// not settled before.
package agent
