// Package report is what an audit found, as JSON for programs and as HTML for
// people; package forms writes it as text, SARIF and JUnit. It judges nothing.
//
// What a record says is data. Before any of it reaches a terminal, [Visible]
// makes everything visible that a terminal would obey, hide or reorder:
// control characters and escape sequences, bidirectional overrides, tag
// characters and their like. JSON and SARIF keep the value and escape it.
package report
