// Package handoff passes work from one agent to another, and lets nobody act on it
// before it is verified.
//
// A giver offers: to whom, what for, within which scope, on which evidence. What
// travels is a bundle about the offer: the giver's run up to it, whole. [Verify]
// reads it offline, under the receiver's own trust file and every rule of an audit,
// and returns a [Verified] or says in a [Refused] why not. [Party.Accept] records
// the acceptance, of which a ledger admits one for an offer, and returns an
// [Accepted]: the only thing that opens a run which continues the work.
//
// Neither value can be made in another way. A text that says "the work is done" is
// an unverified note, whoever hands it over, and is handed over as one.
//
// A checkpoint is the saved state of a workflow; the signed state of a log is a
// tree head here.
package handoff
