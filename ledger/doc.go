// Package ledger is the evidence ledger: a transparency log of evidence records
// that admits each of them under the rules of an audit, finds them again, keeps
// their payloads beside the log, and hands out receipts and bundles.
//
//	store, _ := pebblestore.Open("store", pebblestore.Options{})
//	vault, _ := ledger.OpenVault("payloads", 0)
//	l, _ := ledger.Open(ctx, store, vault, ledger.Config{Signer: s, Verifier: v})
//	placed, err := l.Append(ctx, entry)
//
// # What an acknowledgement means
//
// [Ledger.Append] returns once one atomic, synced commit holds the record, its
// index rows and a signed tree head that covers it (package tlog). Every read,
// and the answer to a duplicate, is bounded by the newest durable tree head, and
// every entry is hashed and compared with the tree before it is handed out.
//
// # Admission
//
// A record is admitted where order is decided. Refused is only what cannot be
// attributed, is out of order, or is a second use of what can be used once; the
// error is then a [*Refusal] with a stable reason, or a [*ConflictError] that
// names the record which stands. Everything else is admitted and left to the
// audit: misbehaviour is evidence too. The rules are package audit's;
// docs/log-format.md lists them with their reasons.
//
// # Indexes
//
// Index rows follow from the log alone and are never believed: what a row points
// to is read and compared. [Reindex] makes all of them again, [Check] compares
// all of them with the log.
//
// # Payloads
//
// A [Vault] keeps payloads beside the log, under their commitments, so that one can
// be erased without touching a proof: in files, or small ones encrypted in the
// ledger's store ([CellStore]), where their record's sync makes them durable.
//
// The log's signed state is a tree head here, on the wire in the format that
// C2SP calls a checkpoint; in this module a checkpoint is the saved state of a
// workflow.
package ledger
