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

// Signer is who writes the runs.
type Signer struct {
	Origin   string
	Runtime  string // actor that the key belongs to
	Agent    string // actor that the runs are about, hosted by the runtime
	Registry int64  // latest number
	Key      *evidence.PrivateKey
}

// Line writes the line of one run. It is not safe for concurrent use.
type Line struct {
	s       *Signer
	run     evidence.RunID
	n       uint64
	prev    evidence.ID
	auth    evidence.ID
	attempt int64
	input   evidence.Commitment
}

// NewLine begins a run that nobody has opened yet.
func NewLine(s *Signer) (*Line, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	return &Line{s: s, run: evidence.RunID("run_" + id.String())}, nil
}

// Run returns the run's name.
func (l *Line) Run() evidence.RunID { return l.run }

// Next signs the next record of the line: run.opened, then an authorization and
// its executions, over and over.
func (l *Line) Next(now time.Time) ([]byte, error) {
	r := &evidence.Record{
		Origin: l.s.Origin, Run: l.run, Prev: l.prev, Actor: l.s.Agent, Time: evidence.TimeOf(now),
	}
	switch {
	case l.n == 0:
		registry := l.s.Registry
		r.Registry = &registry
		r.Body = &evidence.RunOpened{Principal: "bench", Task: "bench", Runtime: l.s.Runtime}
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
	if r.Kind == evidence.KindAuthorization {
		l.auth = l.prev
	}
	return entry, nil
}

// commitment makes up a commitment to a payload that nobody discloses.
func (l *Line) commitment(what string, size int64) evidence.Commitment {
	b := binary.BigEndian.AppendUint64([]byte(string(l.run)+what), l.n)
	return evidence.Commitment{Commit: sha256.Sum256(b), Size: size, Media: "application/json"}
}
