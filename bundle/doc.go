// Package bundle is what an auditor is handed: the trust file, which says whom
// to trust; the receipt, which places one record in a log; and the bundle, one
// file with everything that is needed to check a run, a record or a handoff
// offline. docs/bundle-format.md specifies all three.
//
// The package knows formats and has no rules. It establishes that a file has
// the one form that there is, verifies tree heads under the trust file, and
// folds a bundle's Merkle nodes into the roots that its records give. Whether
// those roots are the signed ones, and what the records mean, is for
// [ledgerd/audit] to say.
//
// # Bundle
//
// A bundle is UTF-8 text of one JSON object a line, read and written as a
// stream in constant memory:
//
//	{"bundle":"v1","origin":"ledger.example/support","about":{"kind":"run","run":"run_0197f3c2-…"}}
//	{"head":"ledger.example/support\n1842\nzvW7…=\n\n— ledger.example/support x08g…\n"}
//	{"record":{"index":0,"jws":"eyJh…"}}
//	{"record":{"index":7,"left":["…","…"],"jws":"eyJh…"}}
//	{"payload":{"commit":"…","size":344,"salt":"…"}}
//	{"data":"eyJyZXNlcnZhdGlvbl9pZCI6…"}
//	{"end":{"left":["…"],"heads":1,"records":2,"payloads":1}}
//
// Records rise by index; registry records stand among the others, where the log
// has them. The member left holds the Merkle nodes that lie between the record
// before and this one, each named by nothing but its position: the indexes and
// the sizes of the tree heads determine which nodes there are. So a reader
// keeps a stack of at most 64 hashes, however large the bundle is, and no node
// comes twice.
//
// # Words
//
// A log's signed size and root is a tree head here. On the wire it has the
// format that C2SP calls a checkpoint; in this module a checkpoint is the saved
// state of a workflow and nothing else.
package bundle
