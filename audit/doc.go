// Package audit holds every rule by which evidence is judged, once. Admission,
// the runtime and the offline verifier call the same code.
//
// It is pure: no clock, randomness, disk or network. It is fed records, proofs
// and payloads in log order, and reports.
//
// The parts, from the inside out:
//
//   - [Registry] knows which key belonged to whom at which index of the log.
//   - [Line] is the little that admission remembers of a run: its tail.
//   - [Uses] names what a record uses up, so that nothing is used twice.
//   - [Run] folds the records of one run, in log order, into findings and into
//     the state from which a runtime goes on.
//   - [Contract] says what must have happened, and [Judge] decides claims and
//     contracts into a [Verdict] that everyone computes to the same bytes.
//   - [Auditor] is fed a bundle, a range or a whole log, and writes a [Report]:
//     for each [Rule] whether it held.
//
// What this package does not decide: whether the world agrees with the records.
// A record is what its signer said. See docs/rules.md for each rule in full.
package audit
