// Package node is a second implementation of ledgerd's formats, in JavaScript
// for Node 20 and its standard library, written from docs/ and testdata/ alone:
// a verifier, a client and a runner of the vectors. There is no Go in it but
// the tests, which hold both implementations to one answer. See README.md.
package node
