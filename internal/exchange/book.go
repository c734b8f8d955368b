package exchange

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"ledgerd/evidence"
	"ledgerd/ledger"
)

// book is what the ledger says of handoffs, as far as it was read.
type book struct {
	ledger *ledger.Ledger

	mu       sync.Mutex
	next     uint64                      // index of the first record that was not read; guarded by mu, as what follows
	accepted map[evidence.ID]acceptance  // by offer: the acceptance that stands here, the receiver's or the giver's of it
	returned map[evidence.ID]evidence.ID // by the receiver's acceptance: the giver's record of it
	rejected map[rejection]evidence.ID   // the first of its kind
	unwanted map[evidence.ID]string      // by offer that held up, and was rejected all the same: by whom
	told     func([]evidence.Placed)     // is given what was read, in log order
}

type acceptance struct {
	id    evidence.ID
	actor string
	body  *evidence.HandoffAccepted
}

type rejection struct {
	offer         evidence.ID
	actor, reason string
}

var handoffKinds = []evidence.Kind{evidence.KindHandoffOffered, evidence.KindHandoffAccepted, evidence.KindHandoffRejected}

func newBook(l *ledger.Ledger, told func([]evidence.Placed)) *book {
	return &book{
		ledger: l, told: told, accepted: make(map[evidence.ID]acceptance), returned: make(map[evidence.ID]evidence.ID),
		rejected: make(map[rejection]evidence.ID), unwanted: make(map[evidence.ID]string),
	}
}

// catchUp reads what was recorded since.
func (b *book) catchUp(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	size := b.ledger.Head().Size
	if b.next >= size {
		return nil
	}
	found, err := handoffsAfter(ctx, b.ledger, b.next, size, 0)
	if err != nil {
		return fmt.Errorf("handoffs: %w", err)
	}
	for i := range found {
		b.read(&found[i])
	}
	b.next = size
	if len(found) > 0 {
		b.told(found)
	}
	return nil
}

func (b *book) read(p *evidence.Placed) {
	switch body := p.Record.Body.(type) {
	case *evidence.HandoffAccepted:
		if !body.Acceptance.IsZero() {
			b.returned[body.Acceptance] = p.ID
		}
		b.accepted[body.Offer] = acceptance{p.ID, p.Record.Actor, body}
	case *evidence.HandoffRejected:
		r := rejection{body.Offer, p.Record.Actor, body.Reason}
		if b.rejected[r].IsZero() {
			b.rejected[r] = p.ID
		}
		if own(body.Reason) {
			b.unwanted[body.Offer] = p.Record.Actor
		}
	}
}

// acceptanceOf returns the acceptance of an offer that stands here.
func (b *book) acceptanceOf(ctx context.Context, offer evidence.ID) (acceptance, bool, error) {
	if err := b.catchUp(ctx); err != nil {
		return acceptance{}, false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.accepted[offer]
	return a, ok, nil
}

// returnOf returns the giver's record of a receiver's acceptance, the zero ID where
// there is none.
func (b *book) returnOf(ctx context.Context, acceptance evidence.ID) (evidence.ID, error) {
	if err := b.catchUp(ctx); err != nil {
		return evidence.ID{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.returned[acceptance], nil
}

// rejectionOf returns a rejection that was recorded, the zero ID where there is none.
func (b *book) rejectionOf(ctx context.Context, r rejection) (evidence.ID, error) {
	if err := b.catchUp(ctx); err != nil {
		return evidence.ID{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rejected[r], nil
}

// handoffsAfter returns the handoffs' records from index first up to size, in log
// order; at most limit of them, all where that is 0.
func handoffsAfter(ctx context.Context, l *ledger.Ledger, first, size uint64, limit int) ([]evidence.Placed, error) {
	var all []evidence.Placed
	for _, kind := range handoffKinds {
		f := ledger.Filter{Kind: kind, Limit: limit}
		if first > 0 {
			after := first - 1
			f.After = &after
		}
		for p, err := range l.Find(ctx, f) {
			if err != nil {
				return nil, err
			}
			if p.Index >= size {
				break
			}
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b evidence.Placed) int { return int(min(max(int64(a.Index)-int64(b.Index), -1), 1)) })
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return all, nil
}

// answered reports whether an acceptance of an offer stands here, as far as was read.
func (b *book) answered(offer evidence.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.accepted[offer]
	return ok
}

// dismissed returns who did not want an offer that held up; "": nobody.
func (b *book) dismissed(offer evidence.ID) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.unwanted[offer]
}
