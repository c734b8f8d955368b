// Package server is the daemon's HTTP side: routes, tokens, limits, streams and
// tiles over one ledger.
//
// # What it is
//
// [New] makes a [Server], which is an http.Handler; [Server.Serve] runs it on a
// listener with the limits that a listener needs. Every route stands in one
// table (routes.go) that is at once the multiplexer and the OpenAPI document:
// what is not described is not served.
//
// # Who may do what
//
// A request carries a token. The token belongs to an actor and has rights; the
// daemon keeps its SHA-256 and never the secret. A record is taken only if the
// key that signed it belongs to the token's actor, so that a token that leaks
// cannot be used to relay somebody else's records; what the root signs needs
// the right to administer instead. None of this is what makes a record
// evidence: that is its signature, which admission checks whoever sent it.
//
// # What it is not
//
// It decides nothing about records. Admission does, in package ledger, and the
// reasons that it gives go out as problems (RFC 9457).
package server
