// Package logsource reads a log that somebody else keeps, over HTTP or from a
// directory: its tree head, its tiles and its entries, under the paths of C2SP
// tlog-tiles (https://c2sp.org/tlog-tiles).
//
// It trusts nothing and verifies nothing but size: what it returns has the
// length that was asked for, and whoever asked hashes it.
package logsource
