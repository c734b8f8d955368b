// Package quickstart shows, in a few seconds and with nothing prepared, what an
// evidence ledger is for: it makes a ledger, starts the daemon, imports the
// runs of a support team whose agent always says that the work is done, and has
// each claim checked offline, by a verifier that has a trust file and a bundle
// and no access to the ledger. Then it changes one record in a copy, as somebody
// would who had something to hide, and has that checked too.
//
// Nothing is staged: the daemon is the daemon, the runs are transcripts
// (runs.jsonl, in the form of docs/import.md), and what is shown as decided is
// what package audit found in the bundles.
package quickstart
