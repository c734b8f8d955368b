// Package tlog is a tiled transparency log of opaque entries: it orders them,
// hashes them into the Merkle tree of RFC 6962, signs tree heads, proves
// inclusion and consistency, and serves tiles as C2SP tlog-tiles describes.
//
// It knows nothing of what an entry says. Whoever owns a [Log] hands it an
// [Admitter], which decides where order is decided, and a [Store], which keeps
// the bytes.
//
// # Words
//
// The log's signed state, its size and root, is a tree head here ([SignedHead]).
// On the wire it has the format that C2SP calls a checkpoint, a signed note
// (https://c2sp.org/tlog-checkpoint), and is served under the path /checkpoint.
// Everywhere else in this module "checkpoint" is the saved state of a workflow,
// which is another thing.
//
// # What is pure
//
// Hashes, tiles, tree heads, proofs and node sets need no store, clock or
// network: an offline verifier imports this package for them and gets no
// storage engine with it.
//
// # What an acknowledgement means
//
// The result of [Log.Append] is given only once one atomic, synced commit holds
// the entry, its index rows and the signed tree head that covers it. Nothing
// that this package hands out, neither head, entry, tile nor proof, lies beyond
// the newest head that is durable. Only the Admitter sees further.
//
// # What a failure means
//
// A commit that fails is final. Entries that were begun answer [ErrUnknown]:
// they may or may not be there after a restart. Entries still in line answer
// [ErrNotAppended]. The Log is dead from then on, and nothing is retried: after
// a failed fsync the operating system may have dropped the pages it could not
// write, and a second fsync that succeeds says nothing about them.
package tlog
