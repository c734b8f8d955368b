// Package bench makes load for a ledger and measures what it takes: signed
// execution records of about 935 bytes, on runs whose every record passes an
// audit, written by any number of writers, each of whom waits for an answer
// before it goes on.
//
// Only what a ledger does is timed. Records are signed before a phase begins
// and not while it runs, because signing is a client's work, and here client and
// ledger share a machine. What parsing and verifying alone would take is
// measured in the same process, so that a rate can be read against the floor
// that no ledger gets below.
package bench
