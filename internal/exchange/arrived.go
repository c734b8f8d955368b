package exchange

import (
	"bytes"
	"context"
	"slices"

	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/internal/api"
)

// A receiver accepts an offer only under a tree head that is shown to extend that of what
// it accepted before from the same ledger, and the bundle that lies in its inbox shows
// what it did when it was sent. So whichever of several offers is accepted first, the
// others may have to be sent again: the giver hears of each acceptance, knows which heads
// the bundles hold that arrived, and sends what cannot be accepted any more. To keep that
// rare a bundle holds the heads of all that lie in that inbox, too.

// maxHeads bounds the tree heads in one bundle that are there for other offers' sake.
const maxHeads = 16

// arrival is an offer of this ledger that arrived, and is not answered.
type arrival struct {
	to      string
	expires evidence.Time
	head    []byte          // of its bundle, as a signed note; nil: an earlier process sent it
	size    uint64          // of that head
	holds   map[uint64]bool // sizes of all tree heads that the bundle holds
}

// headsOf reads the tree heads of a bundle of this ledger.
func headsOf(b []byte) (*arrival, error) {
	a := &arrival{holds: make(map[uint64]bool)}
	r := bundle.NewReader(bytes.NewReader(b))
	if _, err := r.Header(); err != nil {
		return nil, err
	}
	for {
		item, err := r.Next()
		if err != nil {
			return nil, err
		}
		h, ok := item.(*bundle.HeadItem)
		if !ok {
			return a, nil
		}
		if a.holds[h.Size] = true; h.Size >= a.size {
			a.head, a.size = bytes.Clone(h.Note), h.Size
		}
	}
}

// waitingHeads returns the heads of what waits in a peer's inbox, the largest first, and
// how many offers the peer is known to have accepted.
func (x *Exchange) waitingHeads(to string) (heads [][]byte, answers int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var all []*arrival
	seen := make(map[uint64]bool)
	for _, a := range x.arrived {
		if a.to == to && a.head != nil && !seen[a.size] && a.expires >= evidence.TimeOf(x.now()) {
			seen[a.size] = true
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b *arrival) int { return int(min(max(int64(b.size)-int64(a.size), -1), 1)) })
	for _, a := range all[:min(len(all), maxHeads)] {
		heads = append(heads, a.head)
	}
	return heads, x.answers[to]
}

// taken notes that a peer accepted an offer, and sends again what it cannot accept since.
func (x *Exchange) taken(offer evidence.ID, by string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answers[by]++
	first := x.arrived[offer]
	delete(x.arrived, offer)
	for id, a := range x.arrived {
		if a.to == by && x.out[id] == nil && (first == nil || first.head == nil || !a.holds[first.size]) {
			x.out[id] = &parcel{id: id, offer: true, to: a.to, expires: a.expires}
		}
	}
}

// arrives notes what of an offer lies in the receiver's inbox now, and says whether it has
// to be sent again: something was accepted on the way. The exchange's mu is held, and the
// book's is not: who has that takes this one.
func (x *Exchange) arrives(p *parcel, answered bool) (again bool) {
	if answered {
		delete(x.arrived, p.id)
		return false
	}
	a := &arrival{to: p.to, expires: p.expires}
	if p.sent != nil && p.kept == p.sent.size {
		a.head, a.size, a.holds = p.sent.head, p.sent.size, p.sent.holds
	}
	x.arrived[p.id] = a
	return x.answers[p.to] != p.answers
}

// waits answers a bundle about an offer that lies in the inbox; nil: what lies there does
// not hold the tree head that is known, and what came is to take its place.
func (x *Exchange) waits(ctx context.Context, offer evidence.ID) (*api.Received, error) {
	w, b, err := x.inbox.get(offer)
	if err != nil {
		return nil, err
	}
	known, err := x.Party("").Known(ctx, w.Origin)
	if err != nil {
		return nil, err
	}
	a, err := headsOf(b)
	if err != nil || known != nil && !a.holds[known.Size] {
		return nil, nil
	}
	return &api.Received{Offer: offer, State: api.StateReceived, Head: a.size}, nil
}
