package main

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/internal/inspect"
	"ledgerd/internal/report"
	"ledgerd/internal/wholefile"
)

// keepHeads keeps pairs of tree heads beside the state of an audit: as proof where
// they are one, with nodes that the log's tiles give if it takes these.
func keepHeads(ctx context.Context, r *report.Report, s audit.Source, trust *bundle.Trust, statePath string, pairs [][2][]byte) error {
	for _, pair := range pairs {
		x := inspect.ByNotes(inspect.OpenSigned("state", pair[0], trust), inspect.OpenSigned(r.Input, pair[1], trust))
		if x.Old.Head == nil || x.Later.Head == nil {
			continue
		}
		if x.Status == report.NotDecided {
			if err := byTiles(ctx, x, s); err != nil {
				return err
			}
		}
		var err error
		if x.Contradiction != nil {
			r.Proof, err = writeAside(statePath+".proof", x.Contradiction)
		} else {
			r.Kept, err = writeAside(statePath+".heads", &inspect.Proof{Heads: [2]string{string(pair[0]), string(pair[1])}})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unkept says that what shows a violation was not kept, unless err is nil. It is a
// violation all the same.
func unkept(std stdio, name string, err error) {
	if err != nil {
		fmt.Fprintf(std.err, "verify: %s: %s\n", report.Visible(name), report.Visible(err.Error()))
	}
}

// writeAside writes a proof under a name that no other file has, and returns it.
func writeAside(prefix string, p *inspect.Proof) (string, error) {
	b, err := p.Marshal()
	if err != nil {
		return "", err
	}
	for n := 1; ; n++ {
		path := fmt.Sprintf("%s-%d", prefix, n)
		if kept, err := os.ReadFile(path); err == nil && bytes.Equal(kept, b) {
			return path, nil // the same proof, of an audit before
		}
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		return path, wholefile.Write(path, b, false)
	}
}
