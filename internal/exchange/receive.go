package exchange

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/api"
	"ledgerd/ledger"
)

// Later is a problem that goes away by itself.
type Later struct {
	*api.Problem
	After time.Duration
}

func (l *Later) Unwrap() error { return l.Problem }

// RetryAfter returns the header's value: whole seconds, at least one.
func (l *Later) RetryAfter() string {
	return strconv.Itoa(int(max(1, (l.After+time.Second-1)/time.Second)))
}

// Receive takes a bundle that somebody posts: about an offer to an agent of this
// ledger, which is kept for it, or about the acceptance of an offer that was made
// here, which is recorded. What it answers is durable. An error is a [*Later], a
// [*api.Problem], or one of reading body or of the ledger.
//
// Of who is no peer it reads no more than the lines that say so.
func (x *Exchange) Receive(ctx context.Context, from netip.Addr, body io.Reader) (*api.Received, error) {
	source := sourceOf(from)
	if ok, wait := x.failures.left(source, x.now()); !ok {
		return nil, tooMany(wait, "%d requests of your address an hour may fail to verify, and did", x.quotas.Failures)
	}
	got, blame, err := x.receive(ctx, body)
	if err != nil && blame {
		x.failures.put(source, 1, x.now())
	}
	return got, err
}

func tooMany(wait time.Duration, format string, args ...any) error {
	return &Later{api.NewProblem(http.StatusTooManyRequests, api.ReasonQuota, format, args...), wait}
}

// receive is Receive, and tells whether the sender is to blame for an error.
func (x *Exchange) receive(ctx context.Context, body io.Reader) (got *api.Received, blame bool, err error) {
	in, err := x.open(body)
	if err != nil {
		return nil, true, err
	}
	if got, err := x.known(ctx, &in.header.About); got != nil || err != nil {
		return got, false, err
	}
	if err := x.room(in.peer.Origin, &in.header.About); err != nil {
		return nil, false, err
	}
	if err := in.rest(body); err != nil {
		return nil, true, err
	}
	select {
	case x.verifying <- struct{}{}:
		defer func() { <-x.verifying }()
	default:
		return nil, false, &Later{api.NewProblem(http.StatusServiceUnavailable, api.ReasonBusy, "%d bundles are being verified, as many as are at a time", x.quotas.Verifying), 2 * time.Second}
	}
	take := x.takeOffer
	if in.header.About.Kind == bundle.AboutRecord {
		take = x.takeAcceptance
	}
	got, err = take(ctx, in.peer.Origin, in.read.Bytes())
	r := handoff.AsRefused(err)
	if err == nil || r != nil && r.Proven() {
		x.bytes.put(in.peer.Origin, float64(in.read.Len()), x.now())
	}
	if r == nil {
		_, is := errors.AsType[*api.Problem](err)
		return got, is, err
	}
	// A giver cannot know which tree head is known here: it is told, and comes again.
	missing := r.Stale()
	p := Refusal(r)
	if missing {
		if k, err := x.Party("").Known(ctx, r.Origin); err == nil && k != nil {
			p.Known = string(k.Note)
		}
	}
	x.log.Info("a handoff was refused", "reason", p.Reason, "undecidable", r.Undecidable, "peer", in.peer.Origin, "about", in.header.About.Record)
	return nil, !missing, p
}

// Refusal is what is said of a handoff that is refused.
func Refusal(r *handoff.Refused) *api.Problem {
	status := http.StatusUnprocessableEntity
	if r.Reason == handoff.Used {
		status = http.StatusConflict
	}
	p := api.NewProblem(status, api.ReasonHandoff+string(r.Reason), "%v", r)
	p.Undecidable = r.Undecidable
	if !r.Stands.IsZero() {
		p.Stands = &r.Stands
	}
	return p
}

// incoming is a bundle that begins as a peer's does.
type incoming struct {
	header *bundle.Header
	peer   *api.Peer
	read   bytes.Buffer // all of the body that was read
}

// open reads the header and the tree heads of a bundle, each as it comes: the header
// has to name a peer's ledger, and its log has to have signed the heads.
func (x *Exchange) open(body io.Reader) (*incoming, error) {
	in := new(incoming)
	r := bundle.NewReader(io.TeeReader(body, &in.read))
	var err error
	if in.header, err = r.Header(); err != nil {
		return nil, unread(err)
	}
	if kind := in.header.About.Kind; kind != bundle.AboutOffer && kind != bundle.AboutRecord {
		return nil, api.NewProblem(http.StatusBadRequest, api.ReasonMalformed, "want a bundle about an offer, or about the record of an acceptance, found one about %s", in.header.About.Kind)
	}
	v := x.cfg.Peers.seen.Load()
	in.peer = v.byOrigin[in.header.Origin]
	if in.peer == nil {
		return nil, api.NewProblem(http.StatusForbidden, api.ReasonUnknownPeer, "want a bundle of a peer's ledger, found one of %q: its operator and ours have to name each other first", in.header.Origin)
	}
	l := v.trust.Ledger(in.peer.Origin)
	for heads := 0; ; heads++ {
		item, err := r.Next()
		if err != nil {
			return nil, unread(err)
		}
		h, ok := item.(*bundle.HeadItem)
		if !ok && heads > 0 {
			return in, nil
		}
		// With too few witnesses the log has signed all the same: that is for the
		// verification to say.
		if _, err := l.OpenHead(h.Note); err != nil && !errors.Is(err, bundle.ErrQuorum) {
			return nil, api.NewProblem(http.StatusForbidden, api.ReasonUnknownPeer, "want tree heads that the log of %s signed: %v", in.peer.Origin, err)
		}
	}
}

// unread says what a bundle is that could not be read.
func unread(err error) error {
	var format *bundle.FormatError
	var proof *bundle.ProofError
	if errors.As(err, &format) || errors.As(err, &proof) {
		return api.NewProblem(http.StatusBadRequest, api.ReasonMalformed, "want a bundle: %v", err)
	}
	return err
}

// rest reads what is left of the body.
func (in *incoming) rest(body io.Reader) error {
	if _, err := io.Copy(&in.read, io.LimitReader(body, int64(handoff.MaxBundle+1-in.read.Len()))); err != nil {
		return err
	}
	if in.read.Len() > handoff.MaxBundle {
		return api.NewProblem(http.StatusRequestEntityTooLarge, api.ReasonTooLarge, "want a bundle of at most %d bytes", handoff.MaxBundle)
	}
	return nil
}

// known answers a bundle about something that is here already; nil: it is not.
func (x *Exchange) known(ctx context.Context, about *bundle.About) (*api.Received, error) {
	if about.Kind == bundle.AboutRecord {
		recorded, err := x.book.returnOf(ctx, about.Record)
		if err != nil || recorded.IsZero() {
			return nil, err
		}
		at, err := x.cfg.Ledger.Get(ctx, recorded)
		if err != nil {
			return nil, err
		}
		return &api.Received{Offer: at.Record.Body.(*evidence.HandoffAccepted).Offer, State: api.StateRecorded, Recorded: &recorded}, nil
	}
	_, accepted, err := x.book.acceptanceOf(ctx, about.Record)
	if err != nil {
		return nil, err
	}
	switch {
	case accepted || x.book.dismissed(about.Record) != "":
		return &api.Received{Offer: about.Record, State: api.StateReceived}, nil
	case x.inbox.has(about.Record):
		got, err := x.waits(ctx, about.Record)
		if errors.Is(err, ErrNoOffer) { // it was taken since
			return &api.Received{Offer: about.Record, State: api.StateReceived}, nil
		}
		return got, err
	}
	return nil, nil
}

// room holds a peer to its quotas.
func (x *Exchange) room(origin string, about *bundle.About) error {
	if ok, wait := x.bytes.left(origin, x.now()); !ok {
		return tooMany(wait, "%d bytes of bundles of %s a day are taken, and were", x.quotas.Bytes, origin)
	}
	if about.Kind != bundle.AboutOffer || x.inbox.has(about.Record) { // it takes the place of one
		return nil
	}
	if n, size := x.inbox.held(origin, evidence.TimeOf(x.now())); n >= x.quotas.Waiting || size >= x.quotas.Bytes {
		return tooMany(time.Minute, "%d offers of %s wait here, of %d bytes: as many as may", n, origin, size)
	}
	return nil
}

// takeOffer verifies an offer, and keeps it.
func (x *Exchange) takeOffer(ctx context.Context, origin string, b []byte) (*api.Received, error) {
	unverified, err := handoff.UnverifiedOffer(b)
	if err != nil {
		return nil, api.NewProblem(http.StatusBadRequest, api.ReasonMalformed, "%v", err)
	}
	known, err := x.Party("").Known(ctx, origin)
	if err != nil {
		return nil, err
	}
	v, err := handoff.Verify(b, handoff.Options{Trust: x.cfg.Peers.Trust(), To: x.receiver(unverified.To), Now: x.now(), Known: known})
	if r := handoff.AsRefused(err); r != nil {
		if r.Stale() {
			return nil, err
		}
		return nil, errors.Join(err, x.reject(ctx, unverified.To.Actor, r))
	}
	if err != nil {
		return nil, err
	}
	if err := x.keep(v, b); err != nil {
		return nil, err
	}
	// It may have been accepted since it was looked for: then it does not wait.
	if _, accepted, err := x.book.acceptanceOf(ctx, v.ID()); err != nil {
		return nil, err
	} else if accepted {
		x.inbox.drop(v.ID())
	}
	x.log.Info("an offer waits", "offer", v.ID(), "giver", v.Giver(), "origin", v.Origin(), "to", v.Offer().To.Actor)
	got := &api.Received{Offer: v.ID(), State: api.StateReceived}
	if a, err := headsOf(b); err == nil {
		got.Head = a.size
	}
	return got, nil
}

func (x *Exchange) keep(v *handoff.Verified, b []byte) error {
	o := v.Offer()
	return x.inbox.put(&api.Waiting{
		Offer: v.ID(), Origin: v.Origin(), Giver: v.Giver(), To: o.To, Task: o.Task, Expires: o.Expires,
		Received: evidence.TimeOf(x.now()), Size: int64(len(b)),
	}, b)
}

// receiver is for whom an offer to that recipient may be here: an agent, and a key
// that signs for it. To nobody: no offer is for the receiver that is returned.
func (x *Exchange) receiver(to evidence.Recipient) handoff.Receiver {
	if !x.signs(to.Key, to.Actor) {
		return handoff.Receiver{Origin: x.origin, Actor: to.Actor}
	}
	return handoff.Receiver{Origin: x.origin, Actor: to.Actor, Key: to.Key}
}

// hosts reports whether the runtime signs for an agent.
func (x *Exchange) hosts(agent string) bool { return x.signs(x.cfg.Key.Public().Thumbprint(), agent) }

// signs reports whether a key, as the registry stands now, is an agent's own, or that
// of the runtime that hosts it, or whose instance it is.
func (x *Exchange) signs(key evidence.Digest, agent string) bool {
	all := x.cfg.Ledger.Registry().Actors()
	named := func(name string) *audit.ActorState {
		i := slices.IndexFunc(all, func(a audit.ActorState) bool { return a.Name == name })
		if i < 0 {
			return nil
		}
		return &all[i]
	}
	has := func(a *audit.ActorState) bool {
		return a != nil && slices.ContainsFunc(a.Keys, func(k audit.KeyState) bool { return k.Until == math.MaxUint64 && k.Key.Thumbprint() == key })
	}
	a := named(agent)
	if a == nil {
		if name, instance := audit.SplitInstance(agent); instance {
			a = named(name)
		}
	}
	return a != nil && a.Role == evidence.RoleAgent && (a.Name == agent && has(a) || a.Host != "" && has(named(a.Host)))
}

// reject records why an offer is refused, where what its ledger signed shows that,
// once for each reason, if the runtime signs for whom it is to.
func (x *Exchange) reject(ctx context.Context, actor string, r *handoff.Refused) error {
	if !r.Proven() || !x.hosts(actor) {
		return nil
	}
	x.rejecting.Lock()
	defer x.rejecting.Unlock()
	before, err := x.book.rejectionOf(ctx, rejection{r.Offer, actor, string(r.Reason)})
	if err != nil || !before.IsZero() {
		return err
	}
	_, err = x.Party(actor).Reject(ctx, r)
	return err
}

// takeAcceptance records that an offer of this ledger was accepted.
func (x *Exchange) takeAcceptance(ctx context.Context, _ string, b []byte) (*api.Received, error) {
	unverified, err := handoff.UnverifiedAcceptance(b)
	if err != nil {
		return nil, api.NewProblem(http.StatusBadRequest, api.ReasonMalformed, "%v", err)
	}
	var giver string
	switch at, err := x.cfg.Ledger.Get(ctx, unverified.Offer); {
	case err == nil:
		giver = at.Record.Actor
	case !errors.Is(err, ledger.ErrNoRecord):
		return nil, err
	}
	if giver != "" && !x.hosts(giver) {
		return nil, api.NewProblem(http.StatusUnprocessableEntity, api.ReasonHandoff+string(handoff.Audience), "%s has a key of its own: acceptances are brought to it by hand", giver)
	}
	id, err := x.Party(giver).Returned(ctx, b)
	if err != nil {
		return nil, err
	}
	x.log.Info("an offer was accepted", "offer", unverified.Offer, "origin", unverified.Origin, "recorded", id)
	return &api.Received{Offer: unverified.Offer, State: api.StateRecorded, Recorded: &id}, nil
}
