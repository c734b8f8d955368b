// Package conformance holds the clients of all languages to one script: README.md. It
// is Go only in its tests.
package conformance
