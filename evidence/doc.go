// Package evidence is the evidence record: a signed statement of one thing
// that happened, serialised as a compact JWS (RFC 7515).
//
// # What it is
//
// An entry is the ASCII text of a compact JWS of at most [MaxEntry] bytes:
//
//	BASE64URL(header) "." BASE64URL(payload) "." BASE64URL(signature)
//
// The header is exactly the bytes
//
//	{"alg":"EdDSA","kid":"<RFC 7638 thumbprint>","typ":"evidence+jws"}
//
// and nothing else: no other algorithm, member, order or white space. The
// payload is an I-JSON object (RFC 7493), the [Record]. The signature is
// Ed25519 (RFC 8032, RFC 8037) over the first two parts and the dot between
// them. The bytes signed are the bytes logged.
//
// The [ID] of a record is "ev_" followed by the base64url of its RFC 6962 leaf
// hash, so that naming a record is linking to it by hash.
//
// A record has one of three places. On the line of its run: signed by the
// run's runtime, naming the record before it by prev. Beside the line: an
// approval, a confirmation, or what an agent signs with a key of its own; it
// names by about what it concerns, has no prev, and counts from the first
// record of the line that names it. Outside every run: the ledger's registry,
// erasures, and the receiver's half of a handoff.
//
// The whole format is in docs/record-format.md, and its vectors in
// testdata/evidence.
//
// Whatever a person or a model wrote stays out of the record: the record holds
// a [Commitment] to it, and the payload lies beside the log.
//
// # What it is not
//
// It is not a JOSE library. The header is fixed, so it is compared and written
// as bytes; go-jose computes thumbprints here, and is the oracle of the tests.
//
// The package does no I/O, holds no clock and starts no goroutine. It does not
// know which keys belong to whom ([ledgerd/audit] does), nor order, nor
// inclusion ([ledgerd/ledger/tlog] does). [Parse] establishes form,
// [Unverified.Verify] a signature under a given key, and neither says that the
// key was the right one.
package evidence
