package audit

import "ledgerd/evidence"

// Holder returns the actor that a key was registered for, and its role, whether
// the key still holds or not; ok is false where nobody ever had it. It decides
// nothing about a record: [Registry.Permit] does.
func (g *Registry) Holder(kid evidence.Digest) (actor string, role evidence.Role, ok bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	e := g.keys[kid]
	if e == nil {
		return "", "", false
	}
	return e.actor, e.role, true
}

// Speaks reports why the holder of a key may not sign executions of an actor as
// the registry stands now; nil: it may.
func (g *Registry) Speaks(kid evidence.Digest, actor string) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	_, _, err := g.signer(forever, kid, &evidence.Record{Kind: evidence.KindExecution, Actor: actor})
	return err
}
