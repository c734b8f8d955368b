// Package quickstart shows, in a few seconds and with nothing prepared, what an
// evidence ledger is for. It makes a ledger, starts the daemon, a mail server and
// a shop's system, and has agents work through six complaints of customers: one is
// settled, one meets a server that does not answer, one has to ask a human, one is
// denied, one ends in a lie, and one is killed right after its email went out, and
// run again. Then it compares what the servers took with what the records say, and
// has each claim checked offline, by a verifier that has a trust file and a bundle
// and no access to the ledger. Last it changes one record in a copy, as somebody
// would who had something to hide, and has that checked too.
//
// Nothing is staged but the troubles: the daemon is the daemon, the agents' program
// is package support and goes through the runtime, the email is sent and the
// process is killed. The model is a small function, so that the same happens each
// time. What is shown as decided is what package audit found in the bundles.
package quickstart
