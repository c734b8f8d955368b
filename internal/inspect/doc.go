// Package inspect verifies the files that an auditor was handed: it sees from its
// content what a file is, has it audited, and turns what was found into a report.
// Tree heads it compares with each other itself. The command verify and the page
// that [ledgerd/internal/page] makes both call it, so that one file has one answer
// in both.
//
// It opens no file and reaches no network: whoever calls it has opened what it
// reads.
package inspect
