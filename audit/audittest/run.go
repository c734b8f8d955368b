package audittest

import (
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"

	"ledgerd/evidence"
)

// A Run writes the records of one run.
type Run struct {
	*World
	ID     evidence.RunID
	Opened evidence.Placed
	Last   evidence.Placed // of the line
	Body   *evidence.RunOpened
	keys   int
}

// Open opens a run of Agent under Runtime. mod, if not nil, changes run.opened
// before it is signed.
func (w *World) Open(mod func(*evidence.Record, *evidence.RunOpened)) *Run {
	w.T.Helper()
	w.counter++
	id := uuid.NewSHA1(uuid.Nil, binary.BigEndian.AppendUint64([]byte(w.Origin), w.counter))
	body := &evidence.RunOpened{Principal: "customer", Subject: "ticket-1", Task: "complaint", Runtime: Runtime}
	rec := &evidence.Record{Run: evidence.RunID("run_" + id.String()), Actor: Agent, Body: body}
	if mod != nil {
		mod(rec, body)
	}
	r := &Run{World: w, ID: rec.Run, Body: body}
	r.Opened = w.Append(rec, body.Runtime)
	r.Last = r.Opened
	return r
}

// OpenWith opens a run with that contract.
func (w *World) OpenWith(contract string) *Run {
	w.T.Helper()
	return w.Open(func(_ *evidence.Record, b *evidence.RunOpened) {
		b.Contract = &evidence.ContractRef{Document: w.Commit(contract), DeclaredBy: "operator"}
	})
}

// Line appends the next record of the line.
func (r *Run) Line(b evidence.Body, cites ...evidence.ID) evidence.Placed {
	r.T.Helper()
	return r.LineBy(&evidence.Record{Actor: Agent, Body: b, Cites: cites}, Runtime)
}

// LineBy appends rec to the line, with run and prev filled in where they are
// zero, signed by signer.
func (r *Run) LineBy(rec *evidence.Record, signer string) evidence.Placed {
	r.T.Helper()
	if rec.Run == "" {
		rec.Run = r.ID
	}
	if rec.Prev.IsZero() {
		rec.Prev = r.Last.ID
	}
	r.Last = r.Append(rec, signer)
	return r.Last
}

// Beside appends a record beside the line.
func (r *Run) Beside(actor string, about evidence.ID, b evidence.Body) evidence.Placed {
	r.T.Helper()
	return r.Append(&evidence.Record{Run: r.ID, About: about, Actor: actor, Body: b}, actor)
}

// Authorize appends an authorization with effect allow.
func (r *Run) Authorize(action, input string, mod func(*evidence.Authorization)) evidence.Placed {
	r.T.Helper()
	r.keys++
	b := &evidence.Authorization{
		Step: fmt.Sprintf("step-%d", r.keys), Action: action, Tool: Tool, Input: r.Commit(input),
		IdempotencyKey: fmt.Sprintf("key-%d", r.keys), Effect: evidence.Allow, Mode: evidence.Enforce, Source: evidence.SourceRuntime,
	}
	if r.Body.Source == evidence.SourceImported {
		b.Source = evidence.SourceImported
	}
	if mod != nil {
		mod(b)
	}
	return r.Line(b)
}

// Execute appends an attempt at what auth authorizes.
func (r *Run) Execute(auth evidence.Placed, status evidence.Status, mod func(*evidence.Execution)) evidence.Placed {
	r.T.Helper()
	a := auth.Record.Body.(*evidence.Authorization)
	b := &evidence.Execution{
		Authorization: auth.ID, Action: a.Action, Resource: a.Resource, Tool: a.Tool, Input: a.Input, Attempt: 1, Status: status, Source: a.Source,
	}
	if status == evidence.StatusFailure {
		b.Class = evidence.ToolFailed
	}
	if mod != nil {
		mod(b)
	}
	return r.Line(b)
}

// Do authorizes an action and executes it with success.
func (r *Run) Do(action, input string) evidence.Placed {
	r.T.Helper()
	return r.Execute(r.Authorize(action, input, nil), evidence.StatusSuccess, func(b *evidence.Execution) {
		out := r.Commit(`{"ok":true}`)
		b.Output = &out
	})
}

// Claim appends a claim of Agent with one statement.
func (r *Run) Claim(assertions ...evidence.Assertion) evidence.Placed {
	r.T.Helper()
	return r.Line(&evidence.Claim{Statements: []evidence.Statement{{Text: r.CommitAs("text/plain", "done"), Assertions: assertions}}})
}

// ClaimContract claims that the contract is met.
func (r *Run) ClaimContract() evidence.Placed {
	r.T.Helper()
	return r.Claim(evidence.Assertion{Kind: evidence.AssertContract})
}

// Verdict appends a verdict with that document.
func (r *Run) Verdict(claim evidence.ID, result evidence.Result, document []byte) evidence.Placed {
	r.T.Helper()
	return r.Line(&evidence.Verdict{Claim: claim, Result: result, Document: r.Commit(string(document))})
}

// Close appends run.closed.
func (r *Run) Close(end evidence.End) evidence.Placed {
	r.T.Helper()
	return r.Line(&evidence.RunClosed{End: end})
}
