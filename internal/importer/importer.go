package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/ledger"
)

// Ledger is where the records go: an embedded ledger or a daemon's client.
type Ledger interface {
	// Append returns once all entries are durable and provable.
	Append(ctx context.Context, entries ...[]byte) ([]evidence.Placed, error)
	// Run yields a run's records in log order, and none for a run that there is not.
	Run(ctx context.Context, run evidence.RunID) iter.Seq2[evidence.Placed, error]
	// PutPayloads stores payloads beside the log, durably.
	PutPayloads(ctx context.Context, payloads []evidence.Payload) ([]evidence.Commitment, error)
	// Payload returns what was stored under a commitment.
	Payload(ctx context.Context, commit evidence.Digest) (*evidence.Payload, error)
}

// Registry knows the ledger's actors.
type Registry interface {
	// Host sees to it that an agent is registered, with runtime as its host.
	Host(ctx context.Context, agent, runtime string) error
	// Number returns the latest registry number.
	Number(ctx context.Context) (int64, error)
}

// Importer writes transcripts into a ledger as runs of one runtime.
type Importer struct {
	Ledger   Ledger
	Registry Registry
	Origin   string
	Runtime  string               // the actor that the runs' lines belong to
	Key      *evidence.PrivateKey // its key
	Operator string               // who declared the contracts: an identifier
	Now      func() time.Time
	Random   io.Reader // salts
}

// Outcome is what became of one transcript.
type Outcome struct {
	ID       string          `json:"id"`
	Run      evidence.RunID  `json:"run"`
	Verdict  evidence.Result `json:"verdict"`
	Records  int             `json:"records"`        // on the run's line
	Appended int             `json:"appended"`       // of them, by this import: 0 when it was there before
	Kept     map[string]int  `json:"kept,omitempty"` // by kind, what was kept as payloads that nothing reads
}

// ChangedError says that a run was imported before from another transcript of
// the same name.
type ChangedError struct {
	ID    string
	Run   evidence.RunID
	Found evidence.ID // the first record that differs
	Kind  evidence.Kind
	Index int // its place on the line, from 0
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("run %q is in the ledger as %s, from another transcript: its record %d (%s, %s) says something else. "+
		"What is recorded stays; to import this one too, give it another id", e.ID, e.Run, e.Index, e.Kind, e.Found)
}

// Transcripts are read one after the other.
type Transcripts interface {
	// Next returns the next transcript, and io.EOF after the last.
	Next() (*Transcript, error)
}

// ImportAll imports everything that r yields, in order, and calls each with the
// outcome of every run. It stops at the first line that is wrong, with a
// *LineError; what came before that line is in the ledger, and a second import
// of the same input goes on after it.
func (im *Importer) ImportAll(ctx context.Context, r Transcripts, each func(Outcome) error) error {
	for {
		t, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		o, err := im.Import(ctx, t)
		if errors.Is(err, errLarge) {
			return &LineError{t.Line, err}
		}
		if err != nil {
			return fmt.Errorf("line %d, run %q: %w", t.Line, t.ID, err)
		}
		if err := each(o); err != nil {
			return err
		}
	}
}

// Import makes t a run of the ledger. If the run is there, it appends what is
// missing, which is nothing if the import was complete.
//
// A crash leaves a run that lacks its end; the same import finishes it. The
// payloads of a record are durable before the record is.
func (im *Importer) Import(ctx context.Context, t *Transcript) (Outcome, error) {
	appended := 0
	for try := 1; ; try++ {
		o, err := im.once(ctx, t)
		appended += o.Appended
		o.Appended = appended
		// Somebody registered an actor between the question for the latest
		// number and the record that names it: what is missing is made again.
		if r := ledger.AsRefusal(err); r != nil && r.Reason == ledger.Reason(audit.ReasonStale) && try < 5 {
			continue
		}
		return o, err
	}
}

// errLarge: a run that cannot be recorded as it is.
var errLarge = fmt.Errorf("want at most %d MiB in a message, a call, a result or whatever else of a run is one payload, found more", ledger.DefaultMaxPayload>>20)

// once is Import for as long as nobody changes the registry meanwhile.
func (im *Importer) once(ctx context.Context, t *Transcript) (Outcome, error) {
	b := &builder{
		im: im, t: t, run: RunID(im.Origin, t.ID),
		drafts: plan(t, im.Runtime, im.Operator), payloads: make(map[evidence.Digest]*evidence.Payload),
	}
	if err := b.replay(ctx); err != nil {
		return Outcome{}, err
	}
	if b.closed {
		return b.outcome(), nil
	}
	for _, d := range b.drafts {
		// The ledger would not take it, and what came before it would stay without an end.
		if slices.ContainsFunc(d.parts, func(p part) bool { return len(p.data) > ledger.DefaultMaxPayload }) {
			return Outcome{}, fmt.Errorf("%s: %w", d.kind, errLarge)
		}
	}
	if err := im.Registry.Host(ctx, t.Actor, im.Runtime); err != nil {
		return Outcome{}, fmt.Errorf("its actor: %w", err)
	}
	err := b.extend(ctx)
	if err == nil {
		err = b.finish(ctx)
	}
	return b.outcome(), err
}
