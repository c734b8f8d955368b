// Package airline measures how often a false completion is caught, on 100 real
// runs of an airline's support agent: under the contract that comes with each run,
// and under one standing contract for all of them, airline-support.json, which
// README.md explains. Each run is imported, and then done again through the
// runtime: the recorded agent as the model, a server that answers from the
// recording as the tools.
//
// There is no Go in it but tests: that of the runs reads them where
// LEDGERD_AIRLINE_DATA says they are, and skips where they are absent; that of the
// standing contract breaks each of its clauses, and needs no runs.
package airline
