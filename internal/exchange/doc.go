// Package exchange is what goes between this ledger and those of others: the peers
// that somebody here named, the inbox of offers that wait for an agent, and the
// outbox of offers and acceptances that are on their way to a peer.
//
// # What authenticates
//
// A bundle is its own credential: its tree heads are signed by the log of a peer.
// [Exchange.Receive] reads no further than these before it knows that, and keeps
// nothing that does not verify under the peer's trust file and every rule of an
// audit. Accepting is the agent's ([Exchange.Accept]): what lies in the inbox
// commits nobody to anything.
//
// # What is where
//
//	D/peers.json                 the peers: origin, URL of the inbox, trust file
//	D/handoffs/inbox/<ID>.offer  one line about an offer, and the bundle as it came
//	D/handoffs/outbox.jsonl      what was delivered or finally refused, one line each
//
// The outbox is no queue that could be lost: what has to go out is derived from the
// ledger, and the file only says what need not go out any more. So a crash between
// a delivery and its line sends the same bundle once more, which the peer answers as
// it did before.
package exchange
