package overa2a

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"

	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/ledger"
)

// Giver says who hands work over. All of it is needed.
type Giver struct {
	Client *a2aclient.Client // of the receiver
	Party  *handoff.Party    // whose ledger records the acceptance; its trust file names the receiver's
	Ledger Exporter          // the party's
}

// Sent is a handoff that was accepted.
type Sent struct {
	Task *a2a.Task
	// Recorded is the acceptance as the giver's ledger has it.
	Recorded evidence.ID
}

// Send hands over an offer that stands in the giver's ledger, beside parts that
// nobody verifies, waits for what comes of it, and records the receiver's acceptance.
//
// Why it was refused is a *[Refused]. Where the receiver knows a tree head of the
// giver's ledger that the bundle does not hold, the bundle is made again with it, and
// sent once more. Where it was accepted already, what the refusal shows of that is
// recorded before it is returned.
func (g Giver) Send(ctx context.Context, offer evidence.ID, parts ...*a2a.Part) (*Sent, error) {
	ctx = a2aclient.AttachServiceParams(ctx, a2aclient.ServiceParams{a2a.SvcParamExtensions: {URI}})
	task, err := g.send(ctx, ledger.ExportOptions{Offer: offer}, parts)
	if err != nil {
		return nil, err
	}
	refused, err := RefusedIn(task)
	if err == nil && refused != nil && refused.Known != nil {
		if task, err = g.send(ctx, ledger.ExportOptions{Offer: offer, Heads: [][]byte{refused.Known}}, parts); err != nil {
			return nil, err
		}
		refused, err = RefusedIn(task)
	}
	switch {
	case err != nil:
		return nil, err
	case refused == nil:
		recorded, err := g.Record(ctx, offer, task)
		if err != nil {
			return nil, err
		}
		return &Sent{task, recorded}, nil
	case refused.Acceptance != nil:
		if _, err := g.record(ctx, offer, refused.Acceptance); err != nil {
			return nil, errors.Join(refused, err)
		}
	}
	return nil, refused
}

// send makes the bundle, and sends it.
func (g Giver) send(ctx context.Context, o ledger.ExportOptions, parts []*a2a.Part) (*a2a.Task, error) {
	var b bytes.Buffer
	if err := g.Ledger.Export(ctx, &b, o); err != nil {
		return nil, fmt.Errorf("a2a: the bundle about %s: %w", o.Offer, err)
	}
	m, err := Message(b.Bytes(), parts...)
	if err != nil {
		return nil, err
	}
	result, err := g.Client.SendMessage(ctx, &a2a.SendMessageRequest{Message: m})
	if err != nil {
		return nil, fmt.Errorf("a2a: hand over %s: %w", o.Offer, err)
	}
	task, ok := result.(*a2a.Task)
	if !ok {
		return nil, fmt.Errorf("a2a: want a task for %s, found a %T: the receiver does not know the extension", o.Offer, result)
	}
	return task, nil
}

// Record records the acceptance of an offer that a task holds, for who sends messages
// by other ways than [Giver.Send]. A task that was neither accepted nor refused is an
// error: whoever works on it does so without evidence.
func (g Giver) Record(ctx context.Context, offer evidence.ID, task *a2a.Task) (evidence.ID, error) {
	b, err := Acceptance(task)
	if err != nil {
		return evidence.ID{}, err
	}
	if b == nil {
		return evidence.ID{}, fmt.Errorf("a2a: want the acceptance of %s in the task %s, which is %s, found none", offer, visible(string(task.ID)), visible(string(task.Status.State)))
	}
	return g.record(ctx, offer, b)
}

func (g Giver) record(ctx context.Context, offer evidence.ID, b []byte) (evidence.ID, error) {
	id, err := g.Party.Returned(ctx, b)
	if err != nil {
		return evidence.ID{}, fmt.Errorf("a2a: what the receiver says of its acceptance: %w", err)
	}
	at, err := g.Party.Ledger.Get(ctx, id)
	if err != nil {
		return evidence.ID{}, fmt.Errorf("a2a: the acceptance as recorded: %w", err)
	}
	if found := at.Record.Body.(*evidence.HandoffAccepted).Offer; found != offer {
		return evidence.ID{}, fmt.Errorf("a2a: want the acceptance of %s, found that of %s, which is recorded", offer, found)
	}
	return id, nil
}
