package audit

import (
	"fmt"

	"ledgerd/evidence"
)

// Apply takes a registry record that [Registry.Check] accepted, or entry 0, and
// that stands at index. It refuses what would break the chain or give a key or
// a name twice; then nothing has changed. Every error is a *[Refusal].
func (g *Registry) Apply(index uint64, id evidence.ID, rec *evidence.Record) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.checkPlace(index, id, rec); err != nil {
		return err
	}
	var err error
	switch b := rec.Body.(type) {
	case *evidence.LedgerCreated:
		err = g.create(rec.Actor, b)
	case *evidence.ActorRegistered:
		err = g.register(index, b)
	case *evidence.ActorRevoked:
		err = g.revoke(index, b)
	default:
		return refuse(RuleRegistry, ReasonRole, "a registry record", "a %s", rec.Kind)
	}
	if err != nil {
		return err
	}
	g.tail = id
	g.numbers = append(g.numbers, index)
	return nil
}

// skipTo goes on after a gap in the chain, which has been reported, as far as
// it can: so one missing record is one finding, not one for each that follows.
func (g *Registry) skipTo(index uint64, id evidence.ID, rec *evidence.Record) {
	g.mu.Lock()
	defer g.mu.Unlock()
	// Numbers count entries of the log: one beyond the index is nobody's gap.
	if n := len(g.numbers); n == 0 || *rec.Registry < int64(n) || *rec.Registry > int64(index) || index <= g.numbers[n-1] {
		return
	}
	var err error
	switch b := rec.Body.(type) {
	case *evidence.ActorRegistered:
		err = g.register(index, b)
	case *evidence.ActorRevoked:
		err = g.revoke(index, b)
	}
	if err != nil {
		return
	}
	for int64(len(g.numbers)) <= *rec.Registry {
		g.numbers = append(g.numbers, index)
	}
	g.tail = id
}

// Admissible reports what [Registry.Apply] would say, and changes nothing.
func (g *Registry) Admissible(index uint64, id evidence.ID, rec *evidence.Record) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if err := g.checkPlace(index, id, rec); err != nil {
		return err
	}
	switch b := rec.Body.(type) {
	case *evidence.ActorRegistered:
		return g.checkRegister(index, b)
	case *evidence.ActorRevoked:
		_, err := g.ends(index, b)
		return err
	}
	return nil
}

func (g *Registry) checkPlace(index uint64, id evidence.ID, rec *evidence.Record) error {
	if rec.Kind.Place() != evidence.Registry {
		return refuse(RuleRegistry, ReasonRole, "a registry record", "a %s", rec.Kind)
	}
	if rec.Origin != g.origin {
		return refuse(RuleRegistry, ReasonOrigin, "the origin "+g.origin, "%s", rec.Origin)
	}
	if len(g.numbers) == 0 {
		switch {
		case rec.Kind != evidence.KindLedgerCreated || index != 0:
			return refuse(RuleRegistry, ReasonEntryZero, "ledger.created as entry 0", "%s as entry %d", rec.Kind, index)
		case g.Pinned() && id != g.pin:
			return refuse(RuleRegistry, ReasonEntryZero, "the pinned entry 0, "+g.pin.String(), "%s", id)
		}
		return nil
	}
	want := int64(len(g.numbers))
	if rec.Kind == evidence.KindLedgerCreated || *rec.Registry != want {
		return &Refusal{RuleRegistry, ReasonNumber, fmt.Sprintf("registry number %d", want), fmt.Sprintf("%s with number %d", rec.Kind, *rec.Registry), g.tail}
	}
	if rec.Prev != g.tail || index <= g.numbers[want-1] {
		return &Refusal{RuleRegistry, ReasonRegistryPrev, "prev to be the latest registry record " + g.tail.String(), rec.Prev.String(), g.tail}
	}
	return nil
}

func (g *Registry) create(root string, b *evidence.LedgerCreated) error {
	fresh := make(map[evidence.Digest]*keyEntry)
	for i := range b.RootKeys {
		k, err := b.RootKeys[i].PublicKey()
		if err != nil {
			return refuse(RuleRegistry, ReasonEntryZero, "valid root keys", "%v", err)
		}
		kid := k.Thumbprint()
		if fresh[kid] != nil || g.reserved[kid] != "" {
			return refuse(RuleRegistry, ReasonKeyTaken, "root keys that are nothing else", "%s", kid)
		}
		fresh[kid] = &keyEntry{period{0, forever, forever, 0}, k, root, evidence.RoleRoot, true}
	}
	g.root = root
	for kid, e := range fresh {
		g.keys[kid] = e
	}
	return nil
}

func (g *Registry) checkRegister(index uint64, b *evidence.ActorRegistered) error {
	if _, instance := SplitInstance(b.Name); instance || b.Name == g.root {
		return refuse(RuleRegistry, ReasonName, "a name that is neither the root's nor that of an instance (agent/7)", "%q", b.Name)
	}
	at := index + 1 // when it would hold
	a := g.actors[b.Name]
	if a != nil && a.role != b.Role {
		return refuse(RuleRegistry, ReasonName, fmt.Sprintf("%s to stay a %s", b.Name, a.role), "role %s", b.Role)
	}
	if b.Host != "" {
		host := g.actors[b.Host]
		if host == nil || host.role != evidence.RoleRuntime || !host.active(at) {
			return refuse(RuleRegistry, ReasonHost, "a registered runtime as host", "%q", b.Host)
		}
		if a != nil && a.active(at) {
			return refuse(RuleRegistry, ReasonHost, fmt.Sprintf("%s to have neither key nor host: revoke it first", b.Name), "one that holds")
		}
		return nil
	}
	k, err := b.Key.PublicKey()
	if err != nil {
		return refuse(RuleRegistry, ReasonUnknownKey, "a valid key", "%v", err)
	}
	kid := k.Thumbprint()
	if what := g.reserved[kid]; what != "" {
		return refuse(RuleRegistry, ReasonKeyTaken, "a key with one purpose", "the key of the %s", what)
	}
	if e := g.keys[kid]; e != nil {
		return refuse(RuleRegistry, ReasonKeyTaken, "a key that nobody has or had", "%s, registered for %s", kid, e.actor)
	}
	if a != nil && a.hostAt(at) != nil {
		return refuse(RuleRegistry, ReasonHost, fmt.Sprintf("%s to have no host: revoke it first", b.Name), "host %s", a.hostAt(at).host)
	}
	return nil
}

func (g *Registry) register(index uint64, b *evidence.ActorRegistered) error {
	if err := g.checkRegister(index, b); err != nil {
		return err
	}
	a := g.actors[b.Name]
	if a == nil {
		a = &actorEntry{name: b.Name, role: b.Role}
		g.actors[b.Name] = a
	}
	when := period{index, forever, forever, 0}
	if b.Host != "" {
		a.hosts = append(a.hosts, &hostEntry{when, b.Host})
		return nil
	}
	k, err := b.Key.PublicKey()
	if err != nil {
		return refuse(RuleRegistry, ReasonUnknownKey, "a valid key", "%v", err)
	}
	e := &keyEntry{when, k, b.Name, b.Role, false}
	a.keys = append(a.keys, e)
	g.keys[k.Thumbprint()] = e
	if b.Role == evidence.RoleHuman {
		a.teams = append(a.teams, teamEntry{index, b.Teams})
	}
	return nil
}

// ends returns the periods that a revocation at index ends.
func (g *Registry) ends(index uint64, b *evidence.ActorRevoked) ([]*period, error) {
	a := g.actors[b.Name]
	var ended []*period
	if a != nil {
		for _, k := range a.keys {
			if k.until == forever && (b.Key.IsZero() || k.key.Thumbprint() == b.Key) {
				ended = append(ended, &k.period)
			}
		}
		for _, h := range a.hosts {
			if h.until == forever && b.Key.IsZero() {
				ended = append(ended, &h.period)
			}
		}
	}
	if len(ended) == 0 {
		return nil, refuse(RuleRegistry, ReasonNothing, "a key or host that holds", "none of %q", b.Name)
	}
	if b.SuspectFrom != nil && uint64(*b.SuspectFrom) > index {
		return nil, refuse(RuleRegistry, ReasonNothing, "suspect_from not after the revocation itself", "%d", *b.SuspectFrom)
	}
	return ended, nil
}

func (g *Registry) revoke(index uint64, b *evidence.ActorRevoked) error {
	ended, err := g.ends(index, b)
	if err != nil {
		return err
	}
	for _, p := range ended {
		p.until, p.told = index, index
		if b.SuspectFrom != nil {
			p.suspect = uint64(*b.SuspectFrom)
		}
	}
	return nil
}
