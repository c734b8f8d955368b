package runtime

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/ledger"
)

// Ledger is where evidence goes. [Embedded] is one in this process; package
// client has the daemon's.
type Ledger interface {
	// Submit gives the entries, each a record's JWS, their place in line; the
	// order of calls is the order of the log. wait returns once they are
	// durable and provable. Its errors are those of package ledger.
	Submit(entries ...[]byte) (wait func(context.Context) ([]evidence.Placed, error))
	// Run yields the records of a run in log order; none for a run that there
	// is not.
	Run(ctx context.Context, run evidence.RunID) iter.Seq2[evidence.Placed, error]
	// RunAfter is Run for the records beyond an index of the log.
	RunAfter(ctx context.Context, run evidence.RunID, index uint64) iter.Seq2[evidence.Placed, error]
	// Children yields the runs that were opened as children of a run, whose
	// run.opened is given.
	Children(ctx context.Context, opened evidence.ID) iter.Seq2[evidence.RunID, error]
	// PutPayloads stores payloads beside the log. They are durable before any
	// record is that is submitted after it returned.
	PutPayloads(ctx context.Context, payloads []evidence.Payload) ([]evidence.Commitment, error)
	// ReadPayload returns what was stored under a commitment: ledger.ErrErased
	// or ledger.ErrNoPayload where it is not there.
	ReadPayload(ctx context.Context, commit evidence.Digest) (*evidence.Payload, error)
	// Actors returns the registry as it stands.
	Actors(ctx context.Context) (*audit.Registry, error)
	// Lease takes or renews the lease of a run for holder, until ttl from now,
	// and returns a *ledger.LeaseError where somebody else holds it. A ttl of 0
	// gives it back; takeOver takes it whoever has it. It is liveness, not evidence: what keeps an old driver from
	// writing is the run's line.
	Lease(ctx context.Context, run evidence.RunID, holder string, ttl time.Duration, takeOver bool) error
}

// Embedded is a Ledger in this process.
type Embedded struct{ *ledger.Ledger }

var _ Ledger = Embedded{}

// PutPayloads implements [Ledger].
func (e Embedded) PutPayloads(ctx context.Context, payloads []evidence.Payload) ([]evidence.Commitment, error) {
	return e.PutPayloadsAhead(ctx, payloads)
}

// ReadPayload implements [Ledger].
func (e Embedded) ReadPayload(ctx context.Context, commit evidence.Digest) (*evidence.Payload, error) {
	p, err := e.Payload(ctx, commit)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(p)
	if err := errors.Join(err, p.Close()); err != nil {
		return nil, err
	}
	return &evidence.Payload{Salt: p.Salt, Media: p.Media, Data: data}, nil
}

// Children implements [Ledger].
func (e Embedded) Children(ctx context.Context, opened evidence.ID) iter.Seq2[evidence.RunID, error] {
	return RunsOf(e.Find(ctx, ledger.Filter{Parent: opened}))
}

// RunsOf yields the runs of records.
func RunsOf(records iter.Seq2[evidence.Placed, error]) iter.Seq2[evidence.RunID, error] {
	return func(yield func(evidence.RunID, error) bool) {
		for p, err := range records {
			if err != nil {
				yield("", err)
				return
			}
			if !yield(p.Record.Run, nil) {
				return
			}
		}
	}
}

// Actors implements [Ledger].
func (e Embedded) Actors(context.Context) (*audit.Registry, error) { return e.Registry(), nil }
