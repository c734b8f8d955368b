package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"ledgerd/audit"
	"ledgerd/bundle"
	"ledgerd/evidence"
)

// RootActor is the actor whose name entry 0 bears, and whose keys sign the
// registry's records.
const RootActor = "root"

// A Genesis says how a ledger begins.
type Genesis struct {
	Origin    string
	RootKeys  []evidence.JWK
	Successor *evidence.Successor // the ledger that this one continues after a restore
	Time      evidence.Time
}

// Entry0 returns the unsigned record that creates a ledger. A root key signs it.
func (g *Genesis) Entry0() *evidence.Record {
	return &evidence.Record{
		Origin: g.Origin, Kind: evidence.KindLedgerCreated, Registry: new(int64), Actor: RootActor, Time: g.Time,
		Body: &evidence.LedgerCreated{RootKeys: g.RootKeys, Successor: g.Successor},
	}
}

// SuccessorOf names the ledger that a new one continues, after its newest copy
// was lost: the old origin, and the last tree head that is known of it.
func SuccessorOf(origin string, size uint64, root evidence.Digest) *evidence.Successor {
	return &evidence.Successor{Origin: origin, Head: evidence.HeadRef{Size: int64(size), Root: root}}
}

// ErrExists: the store holds a ledger already.
var ErrExists = errors.New("the store holds a ledger already")

// Create makes a ledger in an empty store, and opens it. The entries are its
// first: entry 0, signed by one of the root keys that it names, and whatever is
// to be durable together with it, such as the registration of the first runtime.
//
// If it is interrupted, the store holds none of the entries or all of those
// that one commit takes; Create on what is left goes on, for the same bytes are
// the same entries.
func Create(ctx context.Context, s Store, v *Vault, cfg Config, entries ...[]byte) (*Ledger, error) {
	if len(entries) == 0 {
		return nil, errors.New("create ledger: expected entry 0, found no entries")
	}
	id := evidence.IDOf(entries[0])
	if !cfg.Entry0.IsZero() && cfg.Entry0 != id {
		return nil, fmt.Errorf("create ledger: expected %s as entry 0, found %s", cfg.Entry0, id)
	}
	cfg.Entry0 = id
	l, err := open(ctx, s, v, cfg)
	if err != nil {
		return nil, err
	}
	err = func() error {
		if l.Head().Size > 0 {
			first, err := l.At(ctx, 0)
			if err != nil {
				return err
			}
			if first.ID != id {
				return fmt.Errorf("%w: its entry 0 is %s", ErrExists, first.ID)
			}
			if err := errors.Join(l.checkForm(ctx), l.loadRegistry(ctx)); err != nil {
				return err
			}
		}
		if err := l.loadErasures(ctx); err != nil {
			return err
		}
		if _, err := l.Append(ctx, entries...); err != nil {
			return err
		}
		l.entry0 = id
		return l.finishErasures(ctx)
	}()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create ledger: %w", err), l.Close())
	}
	return l, nil
}

// NextRegistry fills in what a registry record has to say beside its body: its
// number, the record before it, origin, actor and time. The caller signs it with
// a root key, and appends it; a conflict says that somebody else was faster.
func (l *Ledger) NextRegistry(body evidence.Body) (*evidence.Record, error) {
	if body.Kind().Place() != evidence.Registry || body.Kind() == evidence.KindLedgerCreated {
		return nil, fmt.Errorf("expected the body of a registry record, found a %s", body.Kind())
	}
	return nextRegistry(l.registry, l.origin, evidence.TimeOf(l.cfg.Clock()), body), nil
}

func nextRegistry(g *audit.Registry, origin string, at evidence.Time, body evidence.Body) *evidence.Record {
	number := g.Number() + 1
	return &evidence.Record{
		Origin: origin, Kind: body.Kind(), Registry: &number, Prev: g.Tail(), Actor: RootActor, Time: at, Body: body,
	}
}

// Register appends the registration of an actor, signed by a root key. A key
// beside those that the actor has is one more; to rotate, register the new key
// and then revoke the old one.
func (l *Ledger) Register(ctx context.Context, root *evidence.PrivateKey, actor *evidence.ActorRegistered) (evidence.Placed, error) {
	return l.appendRegistry(ctx, root, actor)
}

// Revoke appends the revocation of a key, or of an actor with all its keys,
// signed by a root key.
func (l *Ledger) Revoke(ctx context.Context, root *evidence.PrivateKey, actor *evidence.ActorRevoked) (evidence.Placed, error) {
	return l.appendRegistry(ctx, root, actor)
}

// Rotate registers a new key for an actor that has one, and revokes all those
// that it had, in this order: at no index is the actor without a key.
func (l *Ledger) Rotate(ctx context.Context, root *evidence.PrivateKey, name string, key *evidence.PublicKey, reason string) ([]evidence.Placed, error) {
	var state *audit.ActorState
	for _, a := range l.registry.Actors() {
		if a.Name == name {
			state = &a
		}
	}
	if state == nil || !state.Active() || state.Host != "" {
		return nil, fmt.Errorf("rotate: expected a registered actor with a key of its own, found %q", name)
	}
	jwk := key.JWK()
	registered := &evidence.ActorRegistered{Name: name, Role: state.Role, Key: &jwk, Teams: state.Teams}
	p, err := l.appendRegistry(ctx, root, registered)
	if err != nil {
		return nil, err
	}
	placed := []evidence.Placed{p}
	for _, k := range state.Keys {
		if k.Until != none {
			continue
		}
		p, err := l.appendRegistry(ctx, root, &evidence.ActorRevoked{Name: name, Key: k.Key.Thumbprint(), Reason: reason})
		if err != nil {
			return placed, err
		}
		placed = append(placed, p)
	}
	return placed, nil
}

func (l *Ledger) appendRegistry(ctx context.Context, root *evidence.PrivateKey, body evidence.Body) (evidence.Placed, error) {
	rec, err := l.NextRegistry(body)
	if err != nil {
		return evidence.Placed{}, err
	}
	entry, err := evidence.Sign(rec, root)
	if err != nil {
		return evidence.Placed{}, err
	}
	placed, err := l.Append(ctx, entry)
	if err != nil {
		return evidence.Placed{}, err
	}
	return placed[0], nil
}

// registryRecords yields the registry's records, as the index finds them. Their
// chain and numbers are for [audit.Registry] to check.
func (l *Ledger) registryRecords(ctx context.Context) iter.Seq2[evidence.Placed, error] {
	kinds := []evidence.Kind{evidence.KindLedgerCreated, evidence.KindActorRegistered, evidence.KindActorRevoked}
	size := l.Head().Size
	seq := l.postings(ctx, fieldKind, string(kinds[0]), 0, size)
	for _, k := range kinds[1:] {
		seq = merge(seq, l.postings(ctx, fieldKind, string(k), 0, size))
	}
	return func(yield func(evidence.Placed, error) bool) {
		for index, err := range seq {
			var p evidence.Placed
			if err == nil {
				p, err = l.At(ctx, index)
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// applyRegistry takes a record of the log into the registry, as admission did.
func (l *Ledger) applyRegistry(p evidence.Placed) error {
	u, err := evidence.Parse(p.Entry)
	if err != nil {
		return fmt.Errorf("registry record %s at index %d: %w", p.ID, p.Index, err)
	}
	if p.Index == 0 {
		_, err = l.admit.attributeFirst(&prepared{u: u})
	} else {
		_, _, err = l.registry.Check(p.Index, u)
	}
	if err == nil {
		err = l.registry.Apply(p.Index, p.ID, p.Record)
	}
	if err != nil {
		return fmt.Errorf("registry record %s at index %d: %w", p.ID, p.Index, err)
	}
	return nil
}

// Trust returns the trust file for this ledger: its log's key, with no witness,
// and entry 0. It is what an auditor would have to be given by a way that the
// operator does not control.
func (l *Ledger) Trust() (*bundle.Trust, error) {
	policy, err := bundle.NewPolicy(l.VerifierKey())
	if err != nil {
		return nil, fmt.Errorf("trust file: %w", err)
	}
	return &bundle.Trust{Ledgers: []*bundle.TrustedLedger{{Policy: policy, Entry0: l.entry0}}}, nil
}
