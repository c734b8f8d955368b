// Package datadir is where a ledger lives on one machine: which file is what in
// a data directory, how one is made, and how it is opened.
//
//	D/ledger.json      origin, log key (public), entry 0, runtime: what makes it this ledger
//	D/keys/log.jwk     the log's private key, 0600
//	D/keys/root.jwk    the root's, 0600, unless it is kept elsewhere
//	D/keys/<actor>.jwk the private keys of actors that were made here, 0600
//	D/store/           the log and its index
//	D/payloads/        payloads, beside the log
//	D/tokens.json      tokens, hashed, 0600
//	D/peers.json       peers, 0600
//	D/handoffs/        offers that wait here, and what has arrived where it was sent
//	D/admin.token      the first token's secret, 0600
//	D/daemon.json      where the daemon that holds D listens, while it does
//	D/BACKUP           only in a copy: it is read, and never written
//	D.head             the newest tree head, beside D and not in it
//
// It is wiring: what the parts promise is said in packages ledger, pebblestore
// and server.
package datadir
