// Package a2a is work handed from one organisation to another over A2A, on verified
// evidence: a researcher (client) and an analyst (server), each with a ledger of its
// own in its process. README.md has the commands, and a test runs them as they stand.
//
// There is no Go in this directory but the tests, which run both programs as
// processes. party opens a ledger, audit is what somebody does who trusts neither.
package a2a
