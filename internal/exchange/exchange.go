package exchange

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/api"
	"ledgerd/ledger"
	"ledgerd/runtime"
)

// Config says what an exchange works with.
type Config struct {
	Ledger *ledger.Ledger
	Peers  *Peers
	Dir    string               // its own, made if it is not there
	Key    *evidence.PrivateKey // of the runtime, which signs for the agents that it hosts
	Quotas Quotas
	TLS    *tls.Config   // of what is sent to peers; nil: the system's roots
	Retry  time.Duration // the first delay between two attempts: 1 s if 0; each is twice the one before, up to 10 min
	Logger *slog.Logger  // slog.Default if nil
	Clock  func() time.Time
}

// Exchange is one ledger's side of handoffs with others. Its methods may be called
// from any goroutine.
type Exchange struct {
	cfg    Config
	origin string
	quotas Quotas
	log    *slog.Logger
	now    func() time.Time

	inbox   *inbox
	journal *journal
	book    *book
	sender  *Sender

	failures  *shares[netip.Prefix]
	bytes     *shares[string] // by origin
	verifying chan struct{}   // one element for each verification at work
	rejecting sync.Mutex      // so that a refusal is recorded once

	stopping context.Context
	stop     context.CancelFunc
	done     sync.WaitGroup
	poke     chan struct{} // the postman has something new to look at

	mu    sync.Mutex
	out   map[evidence.ID]*parcel // what has not arrived; guarded by mu, as what follows
	busy  map[string]bool         // peers that something is being sent to
	heads map[string][]byte       // the tree head of this log that a peer knows
	// arrived are the offers that lie in peers' inboxes; answers counts what a peer is known
	// to have accepted.
	arrived map[evidence.ID]*arrival
	answers map[string]int
}

// New returns the exchange of a ledger, once what has to go out is known; Start
// sends it. Close ends it.
func New(ctx context.Context, cfg Config) (*Exchange, error) {
	x := &Exchange{
		cfg: cfg, origin: cfg.Ledger.Origin(), quotas: cfg.Quotas.withDefaults(), log: cfg.Logger, now: cfg.Clock, sender: NewSender(cfg.TLS),
		poke: make(chan struct{}, 1), out: make(map[evidence.ID]*parcel), busy: make(map[string]bool), heads: make(map[string][]byte),
		arrived: make(map[evidence.ID]*arrival), answers: make(map[string]int),
	}
	if x.log == nil {
		x.log = slog.Default()
	}
	if x.now == nil {
		x.now = time.Now
	}
	if x.cfg.Retry <= 0 {
		x.cfg.Retry = time.Second
	}
	x.failures = newShares[netip.Prefix](float64(x.quotas.Failures), time.Hour, addresses)
	x.bytes = newShares[string](float64(x.quotas.Bytes), 24*time.Hour, addresses)
	x.verifying = make(chan struct{}, x.quotas.Verifying)
	x.stopping, x.stop = context.WithCancel(context.Background())
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("handoffs: %w", err)
	}
	var err error
	if x.inbox, err = openInbox(filepath.Join(cfg.Dir, "inbox"), x.log); err != nil {
		return nil, err
	}
	if x.journal, err = openJournal(filepath.Join(cfg.Dir, "outbox.jsonl")); err != nil {
		return nil, err
	}
	x.book = newBook(cfg.Ledger, x.told)
	if err := x.book.catchUp(ctx); err != nil {
		return nil, errors.Join(err, x.journal.close())
	}
	return x, nil
}

// Start begins to send what has to go out. Of no exchange it sends nothing.
func (x *Exchange) Start() {
	if x == nil {
		return
	}
	x.done.Go(x.follow)
	x.done.Go(x.postman)
}

// Close ends what is being sent, and waits for it. Of no exchange it closes nothing.
func (x *Exchange) Close() error {
	if x == nil {
		return nil
	}
	x.stop()
	x.done.Wait()
	return x.journal.close()
}

// Party returns this side of handoffs for an agent that the runtime hosts, under what
// is trusted now.
func (x *Exchange) Party(agent string) *handoff.Party {
	return &handoff.Party{
		Ledger: runtime.Embedded{Ledger: x.cfg.Ledger}, Origin: x.origin, Agent: agent, Key: x.cfg.Key, Trust: x.cfg.Peers.Trust(), Clock: x.now,
	}
}

// AddPeer adds a peer, and sends it what waits for it.
func (x *Exchange) AddPeer(n api.Peer) (*api.Peer, error) {
	p, err := x.cfg.Peers.Add(n, x.now())
	if err == nil {
		x.again(func(o *parcel) bool { return o.to == p.Origin })
	}
	return p, err
}

// RemovePeer forgets a peer.
func (x *Exchange) RemovePeer(origin string) error { return x.cfg.Peers.Remove(origin) }

// Peers lists the peers.
func (x *Exchange) Peers() []api.Peer { return x.cfg.Peers.List() }

// Counts returns how many offers wait here, and how much has to go out.
func (x *Exchange) Counts() (waiting, pending int) {
	x.mu.Lock()
	pending = len(x.out)
	x.mu.Unlock()
	return len(x.inbox.list(evidence.TimeOf(x.now()))), pending
}

// Waiting lists the inbox, the oldest first.
func (x *Exchange) Waiting(ctx context.Context) ([]api.Waiting, error) {
	err := x.book.catchUp(ctx) // what was accepted does not wait
	return x.inbox.list(evidence.TimeOf(x.now())), err
}

// List returns the handoffs' records from index first on, in log order, at most
// limit of them, and what waits.
func (x *Exchange) List(ctx context.Context, first uint64, limit int) (*api.Handoffs, error) {
	waiting, err := x.Waiting(ctx)
	if err != nil {
		return nil, err
	}
	a := &api.Handoffs{Handoffs: []api.Handoff{}, Waiting: waiting, Size: x.cfg.Ledger.Head().Size}
	found, err := handoffsAfter(ctx, x.cfg.Ledger, first, a.Size, limit+1)
	if err != nil {
		return nil, err
	}
	for i := range found {
		if i == limit {
			a.Next = &a.Handoffs[limit-1].Index
			break
		}
		a.Handoffs = append(a.Handoffs, x.handoffOf(&found[i]))
	}
	return a, nil
}

func (x *Exchange) handoffOf(p *evidence.Placed) api.Handoff {
	h := api.Handoff{Index: p.Index, ID: p.ID, Kind: p.Record.Kind, Time: p.Record.Time, Actor: p.Record.Actor, Offer: p.ID, Run: p.Record.Run}
	switch b := p.Record.Body.(type) {
	case *evidence.HandoffOffered:
		d := x.deliveryOf(p.ID, b.To.Origin, b.Expires, true)
		h.Origin, h.To, h.Task, h.Delivery = b.To.Origin, &b.To, b.Task, &d
	case *evidence.HandoffAccepted:
		h.Offer, h.Origin, h.Run = b.Offer, b.Origin, b.Opens
		if !b.Acceptance.IsZero() {
			h.Acceptance = &b.Acceptance
		} else if b.Origin != x.origin {
			d := x.deliveryOf(p.ID, b.Origin, 0, false)
			h.Delivery = &d
		}
	case *evidence.HandoffRejected:
		h.Offer, h.Origin, h.Reason = b.Offer, b.Origin, b.Reason
	}
	return h
}

// Delivery returns how far an offer of this ledger has come.
func (x *Exchange) Delivery(ctx context.Context, offer evidence.ID) (api.Delivery, evidence.Time, error) {
	if err := x.book.catchUp(ctx); err != nil {
		return api.Delivery{}, 0, err
	}
	p, err := x.cfg.Ledger.Get(ctx, offer)
	if err != nil {
		return api.Delivery{}, 0, err
	}
	b, ok := p.Record.Body.(*evidence.HandoffOffered)
	if !ok {
		return api.Delivery{}, 0, fmt.Errorf("%w: want an offer, found a %s", ledger.ErrNoRecord, p.Record.Kind)
	}
	return x.deliveryOf(offer, b.To.Origin, b.Expires, true), b.Expires, nil
}

func (x *Exchange) deliveryOf(id evidence.ID, to string, expires evidence.Time, offer bool) api.Delivery {
	if offer && x.book.answered(id) {
		return api.Delivery{State: api.DeliveryAnswered}
	}
	n, noted := x.journal.of(id)
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.out[id]
	switch {
	case p == nil && noted && n.State != api.DeliveryPending:
		return api.Delivery{State: n.State, Reason: n.Reason, Detail: n.Detail}
	case offer && expires < evidence.TimeOf(x.now()):
		return api.Delivery{State: api.DeliveryExpired}
	case to != x.origin && x.cfg.Peers.Peer(to) == nil:
		return api.Delivery{State: api.DeliveryByHand}
	case p == nil:
		return api.Delivery{State: api.DeliveryPending} // it is being read
	}
	d := api.Delivery{State: api.DeliveryPending, Tries: p.tries, Reason: p.reason, Detail: p.detail}
	if !p.next.IsZero() {
		next := evidence.TimeOf(p.next)
		d.Next = &next
	}
	return d
}

// own reports whether a rejection's reason is somebody's own word.
func own(reason string) bool { return !slices.Contains(handoff.Reasons(), handoff.Reason(reason)) }
