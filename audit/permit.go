package audit

import (
	"fmt"
	"slices"

	"ledgerd/evidence"
)

// Signer is who signed a record, as the registry has it at the record's index.
type Signer struct {
	Name  string
	Role  evidence.Role
	Key   evidence.Digest
	Teams []string // role human
	// Hosted: the record speaks for an agent (or an instance of one) that the
	// signer, a runtime, hosts.
	Hosted bool
}

// Check says who signed an entry that stands, or would stand, at index: the key
// holds at that index, belongs to an actor whose role may sign this kind there,
// who may speak for the record's actor; the record names the latest registry
// number where its kind names one; and the signature verifies. Every error is a
// *[Refusal].
func (g *Registry) Check(index uint64, u *evidence.Unverified) (*evidence.Record, Signer, error) {
	s, key, err := g.permit(index, u)
	if err != nil {
		return nil, Signer{}, err
	}
	rec, err := u.Verify(key)
	if err != nil {
		return nil, Signer{}, refuse(RuleSignature, ReasonSignature, "a signature by "+s.Name, "%v", err)
	}
	return rec, s, nil
}

// Permit is Check without the signature, for a caller that verified it under
// [Registry.Key] before order was decided.
func (g *Registry) Permit(index uint64, u *evidence.Unverified) (Signer, error) {
	s, _, err := g.permit(index, u)
	return s, err
}

func (g *Registry) permit(index uint64, u *evidence.Unverified) (Signer, *evidence.PublicKey, error) {
	s, key, err := g.attribute(index, u)
	if err == nil {
		err = g.current(index, u.UnverifiedRecord())
	}
	if err != nil {
		return Signer{}, nil, err
	}
	return s, key, nil
}

// attribute finds who signed and whether they may say this there.
func (g *Registry) attribute(index uint64, u *evidence.Unverified) (Signer, *evidence.PublicKey, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	rec := u.UnverifiedRecord()
	if rec.Origin != g.origin {
		return Signer{}, nil, refuse(RuleSignature, ReasonOrigin, "the origin "+g.origin, "%s", rec.Origin)
	}
	if len(g.numbers) == 0 {
		return g.entryZero(index, u)
	}
	s, key, err := g.signer(index, u.KeyID(), rec)
	if err != nil {
		return Signer{}, nil, err
	}
	return s, key, g.mayPlace(rec, &s)
}

// entryZero finds the key of entry 0 in entry 0 itself: what makes it the right
// one is the pin, which [Registry.Apply] compares.
func (g *Registry) entryZero(index uint64, u *evidence.Unverified) (Signer, *evidence.PublicKey, error) {
	rec := u.UnverifiedRecord()
	if b, ok := rec.Body.(*evidence.LedgerCreated); ok && index == 0 {
		for i := range b.RootKeys {
			if k, err := b.RootKeys[i].PublicKey(); err == nil && k.Thumbprint() == u.KeyID() {
				return Signer{Name: rec.Actor, Role: evidence.RoleRoot, Key: u.KeyID()}, k, nil
			}
		}
		return Signer{}, nil, refuse(RuleSignature, ReasonUnknownKey, "one of the root keys that entry 0 holds", "key %s", u.KeyID())
	}
	return Signer{}, nil, refuse(RuleRegistry, ReasonEntryZero, "ledger.created as entry 0", "%s as entry %d", rec.Kind, index)
}

// signer finds whose key signed, and whether that actor may speak for the
// record's.
func (g *Registry) signer(index uint64, kid evidence.Digest, rec *evidence.Record) (Signer, *evidence.PublicKey, error) {
	e := g.keys[kid]
	if e == nil {
		if s, key := g.pinnedSigner(kid, rec); key != nil {
			return s, key, nil
		}
		return Signer{}, nil, refuse(RuleSignature, ReasonUnknownKey, "a registered key", "key %s", kid)
	}
	if !e.holds(index) && !(e.first && index == 0) {
		if index > e.until {
			return Signer{}, nil, refuse(RuleSignature, ReasonRevoked, "a key that holds", "key %s of %s, revoked at index %d", kid, e.actor, e.until)
		}
		return Signer{}, nil, refuse(RuleSignature, ReasonUnknownKey, fmt.Sprintf("a key that is registered before index %d", index), "key %s of %s, registered at index %d", kid, e.actor, e.from)
	}
	s := Signer{Name: e.actor, Role: e.role, Key: kid}
	if a := g.actors[e.actor]; a != nil {
		s.Teams = a.teamsAt(index)
	}
	if list := g.pins[e.actor]; list != nil && !slices.ContainsFunc(list, func(p pinned) bool { return p.key.Thumbprint() == kid && p.role == e.role }) {
		return Signer{}, nil, refuse(RuleSignature, ReasonNotPinned, "a key that the trust file pins for "+e.actor, "key %s of a %s", kid, e.role)
	}
	return s, e.key, g.speaks(index, rec, &s)
}

// pinnedSigner is the signer of a key that only the trust file knows.
func (g *Registry) pinnedSigner(kid evidence.Digest, rec *evidence.Record) (Signer, *evidence.PublicKey) {
	for _, p := range g.pins[rec.Actor] {
		if p.key.Thumbprint() == kid && evidence.MaySign(rec.Kind, p.role, false) {
			return Signer{Name: rec.Actor, Role: p.role, Key: kid}, p.key
		}
	}
	return Signer{}, nil
}

// speaks decides whether s may speak for the record's actor, and completes s.
func (g *Registry) speaks(index uint64, rec *evidence.Record, s *Signer) error {
	if rec.Actor != s.Name {
		if s.Role != evidence.RoleRuntime {
			return refuse(RuleSignature, ReasonActor, "a record of "+s.Name+", whose key signed it", "one of %q", rec.Actor)
		}
		agent, instance := g.actors[rec.Actor], false
		if agent == nil {
			var name string
			if name, instance = SplitInstance(rec.Actor); instance {
				agent = g.actors[name]
			}
		}
		if agent == nil || !agent.active(index) {
			return refuse(RuleSignature, ReasonUnknownActor, "an actor that is registered at that index", "%q", rec.Actor)
		}
		if agent.role != evidence.RoleAgent {
			return refuse(RuleSignature, ReasonActor, "the runtime itself or an agent", "%s %q", agent.role, rec.Actor)
		}
		host := agent.hostAt(index)
		if host != nil && host.host != s.Name || host == nil && instance {
			return refuse(RuleSignature, ReasonActor, "an agent that "+s.Name+" hosts", "%q", rec.Actor)
		}
		s.Hosted = host != nil
	}
	if !evidence.MaySign(rec.Kind, s.Role, s.Hosted) {
		return refuse(RuleSignature, ReasonRole, "a signer who may sign "+string(rec.Kind)+" for "+rec.Actor, "%s %q", s.Role, s.Name)
	}
	return nil
}

// mayPlace holds what can stand on a line or beside it to where its signer
// puts it: only a runtime extends a line.
func (g *Registry) mayPlace(rec *evidence.Record, s *Signer) error {
	if rec.Kind.Place() == evidence.LineOrBeside && rec.OnLine() != (s.Role == evidence.RoleRuntime) {
		return refuse(RuleSignature, ReasonRole, "prev where the runtime signs for an agent that it hosts, about where the agent signs", "%s by %s %q", rec.Kind, s.Role, s.Name)
	}
	return nil
}

// current checks the registry number that a record names.
func (g *Registry) current(index uint64, rec *evidence.Record) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if !rec.Kind.NamesRegistry() || rec.Kind.Place() == evidence.Registry {
		return nil
	}
	switch latest := g.numberAt(index); {
	case *rec.Registry < latest:
		return refuse(RuleRegistry, ReasonStale, fmt.Sprintf("the latest registry number %d", latest), "%d: read the registry again and sign anew", *rec.Registry)
	case *rec.Registry > latest:
		return refuse(RuleRegistry, ReasonAhead, fmt.Sprintf("the latest registry number %d", latest), "%d", *rec.Registry)
	}
	return nil
}

// Suspect reports whether the registry, as it stood before index asOf, puts the
// record that kid signed at index in doubt.
func (g *Registry) Suspect(kid evidence.Digest, index, asOf uint64) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	e := g.keys[kid]
	return e != nil && e.told < asOf && index >= e.suspect
}
