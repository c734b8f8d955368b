package exchange

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/api"
	"ledgerd/ledger"
)

// parcel is an offer or an acceptance that has to go out. It is gone once nothing has
// to be sent any more. Its fields are guarded by the exchange's mu.
type parcel struct {
	id      evidence.ID
	offer   bool
	to      string        // origin of the ledger that it is for
	expires evidence.Time // of an offer
	tries   int
	next    time.Time // when it is tried again
	sending bool
	reason  string // of what the last try came to
	detail  string

	// Of an offer that is being sent: the heads in its bundle, the size of the one in the
	// bundle that the receiver keeps, and what it had accepted before.
	sent    *arrival
	kept    uint64
	answers int
}

const (
	maxRetry = 10 * time.Minute // between two attempts
	sends    = 4                // at a time, one to each peer
	// settle is how long the follower rests after it read the log, so that a busy
	// log is not looked through at every commit.
	settle = 100 * time.Millisecond
)

// told makes parcels of what the ledger says. The book's mu is held.
func (x *Exchange) told(found []evidence.Placed) {
	for i := range found {
		p := &found[i]
		switch b := p.Record.Body.(type) {
		case *evidence.HandoffOffered:
			if n, _ := x.journal.of(p.ID); n.State == api.DeliveryDelivered {
				x.mu.Lock()
				x.arrived[p.ID] = &arrival{to: b.To.Origin, expires: b.Expires}
				x.mu.Unlock()
			}
			x.pack(&parcel{id: p.ID, offer: true, to: b.To.Origin, expires: b.Expires})
		case *evidence.HandoffAccepted:
			x.inbox.drop(b.Offer)
			x.unpack(b.Offer)
			if !b.Acceptance.IsZero() || b.Origin == x.origin {
				x.taken(b.Offer, b.Origin)
			}
			if b.Acceptance.IsZero() && b.Origin != x.origin {
				x.pack(&parcel{id: p.ID, to: b.Origin})
			}
		case *evidence.HandoffRejected:
			if own(b.Reason) {
				x.inbox.drop(b.Offer)
			}
		}
	}
	x.wake()
}

// pack takes a parcel into the outbox, unless it need not go out any more.
func (x *Exchange) pack(p *parcel) {
	if n, noted := x.journal.of(p.id); noted && n.State != api.DeliveryPending {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.out[p.id] = p
}

func (x *Exchange) unpack(id evidence.ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.out, id)
}

func (x *Exchange) wake() {
	select {
	case x.poke <- struct{}{}:
	default: // it is awake
	}
}

// again has the parcels that are it tried now.
func (x *Exchange) again(is func(*parcel) bool) {
	x.mu.Lock()
	for _, p := range x.out {
		if is(p) {
			p.next = time.Time{}
		}
	}
	x.mu.Unlock()
	x.wake()
}

// Resend has an offer or an acceptance of this ledger sent now, also where the peer
// had refused it.
func (x *Exchange) Resend(ctx context.Context, id evidence.ID) error {
	if err := x.book.catchUp(ctx); err != nil {
		return err
	}
	at, err := x.cfg.Ledger.Get(ctx, id)
	if err != nil {
		return err
	}
	p := &parcel{id: id}
	switch b := at.Record.Body.(type) {
	case *evidence.HandoffOffered:
		if x.book.answered(id) {
			return nil
		}
		p.offer, p.to, p.expires = true, b.To.Origin, b.Expires
	case *evidence.HandoffAccepted:
		p.to = b.Origin
		if !b.Acceptance.IsZero() || b.Origin == x.origin {
			return fmt.Errorf("%w: want an offer, or the acceptance of another ledger's, of this one", ledger.ErrNoRecord)
		}
	default:
		return fmt.Errorf("%w: want an offer or an acceptance, found a %s", ledger.ErrNoRecord, at.Record.Kind)
	}
	if _, noted := x.journal.of(id); noted {
		if err := x.journal.write(note{Record: id, State: api.DeliveryPending}); err != nil {
			return err
		}
	}
	x.mu.Lock()
	if x.out[id] == nil {
		x.out[id] = p
	}
	x.mu.Unlock()
	x.again(func(o *parcel) bool { return o.id == id })
	return nil
}

// follow reads the log as it grows.
func (x *Exchange) follow() {
	ctx := x.stopping
	for next := uint64(0); ; {
		if x.cfg.Ledger.Log().Wait(ctx, next) != nil {
			return
		}
		next = x.cfg.Ledger.Head().Size + 1
		if err := x.book.catchUp(ctx); err != nil && ctx.Err() == nil {
			x.log.Warn("handoffs: the ledger could not be read", "error", err)
		}
		if !sleep(ctx, settle) {
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// postman sends what is due.
func (x *Exchange) postman() {
	for {
		wait := x.dispatch()
		t := time.NewTimer(wait)
		select {
		case <-x.stopping.Done():
			t.Stop()
			return
		case <-x.poke:
		case <-t.C:
		}
		t.Stop()
	}
}

// dispatch sends what is due, one thing to a peer at a time, and returns how long
// until more is.
func (x *Exchange) dispatch() time.Duration {
	now := x.now()
	wait := maxRetry
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, p := range x.out {
		switch {
		case p.sending:
			continue
		case p.offer && p.expires < evidence.TimeOf(now):
			delete(x.out, id)
			delete(x.arrived, id)
			continue
		case p.to != x.origin && x.cfg.Peers.Peer(p.to) == nil: // by hand
			continue
		case now.Before(p.next):
			wait = min(wait, p.next.Sub(now))
			continue
		case x.busy[p.to] || len(x.busy) >= sends: // it wakes the postman when it is done
			continue
		}
		p.sending, x.busy[p.to] = true, true
		p.tries++
		x.done.Go(func() {
			err := x.deliver(x.stopping, p)
			x.settled(p, err)
			x.wake()
		})
	}
	return wait
}

// settled says what a delivery came to.
func (x *Exchange) settled(p *parcel, err error) {
	if x.stopping.Err() != nil && err != nil {
		return // the next process sends it
	}
	n := note{Record: p.id, State: api.DeliveryDelivered}
	if err != nil {
		n.State, n.Reason, n.Detail = api.DeliveryRefused, "no_answer", clip(err.Error())
		if problem := problemIn(err); problem != nil {
			n.Reason, n.Detail = problem.Reason, problem.Detail
		}
	}
	last := err == nil || final(err)
	if before, _ := x.journal.of(p.id); last && before.State != n.State {
		if failed := x.journal.write(n); failed != nil {
			x.log.Error("handoffs", "error", failed)
			last = false // it is sent again, until that can be noted
		}
	}
	level, what := x.log.Info, "a handoff was delivered"
	if err != nil {
		level, what = x.log.Warn, "a handoff was not delivered"
	}
	level(what, "record", p.id, "to", p.to, "last", last, "try", p.tries, "reason", n.Reason)
	answered := x.book.answered(p.id)
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.busy, p.to)
	p.sending = false
	if last && err == nil && p.offer && x.arrives(p, answered) {
		p.next = time.Time{}
		return
	}
	if last {
		delete(x.out, p.id)
		if err != nil {
			delete(x.arrived, p.id)
		}
		return
	}
	p.reason, p.detail = n.Reason, n.Detail
	p.next = x.now().Add(x.delay(p.tries, err))
}

// delay is how long until the next try: twice as long each time, and between half of
// that and all of it, so that who comes back is not called by all at once; no sooner
// than the peer asked for.
func (x *Exchange) delay(tries int, err error) time.Duration {
	d := min(x.cfg.Retry<<min(tries-1, 20), maxRetry)
	d = d/2 + rand.N(d/2+1)
	if later, ok := errors.AsType[*Later](err); ok {
		d = max(d, later.After)
	}
	return d
}

// final reports whether trying again cannot go better. A peer that says which tree head
// it knows takes another bundle.
func final(err error) bool {
	if handoff.AsRefused(err) != nil {
		return true
	}
	p := problemIn(err)
	return p != nil && !p.Undecidable && p.Known == "" &&
		(strings.HasPrefix(p.Reason, api.ReasonHandoff) || p.Status == http.StatusBadRequest || p.Status == http.StatusRequestEntityTooLarge)
}

// deliver sends a parcel to the peer that it is for, or puts it into the inbox here.
func (x *Exchange) deliver(ctx context.Context, p *parcel) error {
	x.mu.Lock()
	known := x.heads[p.to]
	x.mu.Unlock()
	err := x.send(ctx, p, known)
	// The receiver knows a tree head of this log which the bundle has to hold.
	problem := problemIn(err)
	if problem == nil || problem.Known == "" || problem.Known == string(known) {
		return err
	}
	known = []byte(problem.Known)
	if err = x.send(ctx, p, known); err == nil {
		x.mu.Lock()
		x.heads[p.to] = known
		x.mu.Unlock()
	}
	return err
}

func (x *Exchange) send(ctx context.Context, p *parcel, known []byte) error {
	o := ledger.ExportOptions{Record: p.id}
	var answers int
	if p.offer {
		o = ledger.ExportOptions{Offer: p.id}
		o.Heads, answers = x.waitingHeads(p.to)
	}
	if known != nil && !slices.ContainsFunc(o.Heads, func(h []byte) bool { return bytes.Equal(h, known) }) {
		o.Heads = append(o.Heads, known)
	}
	got, sent, err := x.sendBundle(ctx, p, o)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	p.sent, p.kept, p.answers = sent, got.Head, answers
	return nil
}

func (x *Exchange) sendBundle(ctx context.Context, p *parcel, o ledger.ExportOptions) (got *api.Received, sent *arrival, err error) {
	var b bytes.Buffer
	switch err := x.cfg.Ledger.Export(ctx, &atMost{&b, handoff.MaxBundle}, o); {
	case errors.Is(err, errTooLarge):
		return nil, nil, &handoff.Refused{Reason: handoff.Large, Expected: fmt.Sprintf("a bundle of at most %d bytes", handoff.MaxBundle), Found: "a larger one"}
	case errors.Is(err, ledger.ErrOtherHead):
		// What the peer says it knows is no head of this log, or one of another
		// history: nothing that is sent again makes it so.
		return nil, nil, &handoff.Refused{Reason: handoff.HeadOther, Expected: "the peer to know a tree head of this log", Found: err.Error()}
	case err != nil:
		return nil, nil, err
	}
	if sent, err = headsOf(b.Bytes()); err != nil {
		return nil, nil, err
	}
	if p.to == x.origin {
		got, err = x.here(ctx, b.Bytes())
		return got, sent, err
	}
	peer := x.cfg.Peers.Peer(p.to)
	if peer == nil {
		return nil, nil, fmt.Errorf("%s: %w", p.to, ErrNoPeer)
	}
	got, err = x.sender.Send(ctx, peer.URL, b.Bytes())
	return got, sent, err
}

// here takes an offer to an agent of this ledger itself.
func (x *Exchange) here(ctx context.Context, b []byte) (*api.Received, error) {
	got, err := x.takeOffer(ctx, x.origin, b)
	if r := handoff.AsRefused(err); r != nil {
		p := Refusal(r)
		if r.Stale() {
			if k, err := x.Party("").Known(ctx, x.origin); err == nil && k != nil {
				p.Known = string(k.Note)
			}
		}
		return nil, p
	}
	return got, err
}

var errTooLarge = errors.New("the bundle is too large to be handed over")

// atMost is a writer of so many bytes and no more.
type atMost struct {
	b    *bytes.Buffer
	left int
}

func (w *atMost) Write(p []byte) (int, error) {
	if len(p) > w.left {
		return 0, errTooLarge
	}
	w.left -= len(p)
	return w.b.Write(p)
}
