package main

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"ledgerd/internal/datadir"
	"ledgerd/internal/importer"
	"ledgerd/internal/traces"
)

// spanReceiver makes what records the spans that agents send; nil where this directory
// signs no runs.
func spanReceiver(l *datadir.Ledger, log *slog.Logger) (*traces.Receiver, error) {
	if l.Dir.Copy {
		return nil, nil
	}
	key, err := l.Dir.Key(l.Dir.Runtime)
	if errors.Is(err, datadir.ErrNoKey) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e := importer.Embedded{Ledger: l.Ledger} // without the root's key: spans register nobody
	return traces.New(traces.Config{
		Importer: &importer.Importer{
			Ledger: e, Registry: e, Origin: l.Origin(), Runtime: l.Dir.Runtime, Key: key, Now: time.Now, Random: rand.Reader,
		},
		Dir:    l.Dir.SpansPath(),
		Logger: log,
	})
}
