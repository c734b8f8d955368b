package bench

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"ledgerd/evidence"
)

// attempts is how many executions follow an authorization: the tool is rate
// limited, and the call is tried again. So 98 of 100 records are executions.
const attempts = 63

// records is how many records a run has between run.opened and run.closed. Real
// runs end, and an auditor of the log forgets them then.
const records = 16 * (1 + attempts)

// Signer is who writes the runs.
type Signer struct {
	Origin   string
	Runtime  string // actor that the key belongs to
	Agent    string // actor that the runs are about, hosted by the runtime
	Registry int64  // latest number
	Key      *evidence.PrivateKey
}

// Line writes the line of one run after another. It is not safe for concurrent
// use.
type Line struct {
	s       *Signer
	run     evidence.RunID
	n       uint64 // records of the run so far
	prev    evidence.ID
	auth    evidence.ID
	attempt int64
	input   evidence.Commitment
}

// NewLine begins a run that nobody has opened yet.
func NewLine(s *Signer) (*Line, error) {
	l := &Line{s: s}
	return l, l.begin()
}

// begin goes on with a run that nobody has opened yet.
func (l *Line) begin() error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	*l = Line{s: l.s, run: evidence.RunID("run_" + id.String())}
	return nil
}

// Run returns the name of the run that Next goes on with.
func (l *Line) Run() evidence.RunID { return l.run }

// Next signs the next record of the line: run.opened, then an authorization and
// its executions, over and over, and at last run.closed; then the next run.
func (l *Line) Next(now time.Time) ([]byte, error) {
	r := &evidence.Record{
		Origin: l.s.Origin, Run: l.run, Prev: l.prev, Actor: l.s.Agent, Time: evidence.TimeOf(now),
	}
	registry := l.s.Registry
	switch {
	case l.n == 0:
		r.Registry = &registry
		r.Body = &evidence.RunOpened{Principal: "bench", Task: "bench", Runtime: l.s.Runtime}
	case l.n == 1+records:
		r.Registry = &registry
		r.Body = &evidence.RunClosed{End: evidence.Failed, Reason: string(evidence.RateLimited)}
	case l.auth.IsZero() || l.attempt == attempts:
		l.input = l.commitment("input", 344)
		l.auth, l.attempt = evidence.ID{}, 0
		step := fmt.Sprintf("step-%d", l.n)
		r.Body = &evidence.Authorization{
			Step: step, Action: "send_email", Tool: "email_sender", Input: l.input, IdempotencyKey: step,
			Effect: evidence.Allow, Mode: evidence.Enforce, Policies: []string{"support-may-send"}, Source: evidence.SourceRuntime,
		}
	default:
		l.attempt++
		took := int64(184)
		r.Body = &evidence.Execution{
			Authorization: l.auth, Action: "send_email", Tool: "email_sender", Input: l.input,
			Attempt: l.attempt, Status: evidence.StatusFailure, Class: evidence.RateLimited,
			Source: evidence.SourceRuntime, TookMS: &took, Cost: evidence.Amounts{"tokens": 41},
		}
	}
	r.Kind = r.Body.Kind()
	entry, err := evidence.Sign(r, l.s.Key)
	if err != nil {
		return nil, err
	}
	l.n++
	l.prev = evidence.IDOf(entry)
	switch r.Kind {
	case evidence.KindAuthorization:
		l.auth = l.prev
	case evidence.KindRunClosed:
		return entry, l.begin()
	}
	return entry, nil
}

// commitment makes up a commitment to a payload that nobody discloses.
func (l *Line) commitment(what string, size int64) evidence.Commitment {
	b := binary.BigEndian.AppendUint64([]byte(string(l.run)+what), l.n)
	return evidence.Commitment{Commit: sha256.Sum256(b), Size: size, Media: "application/json"}
}
