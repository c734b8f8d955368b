package evidence

import "slices"

// LedgerCreated is entry 0.
type LedgerCreated struct {
	RootKeys  []JWK      `json:"root_keys"`
	Successor *Successor `json:"successor,omitzero"`
}

func (*LedgerCreated) Kind() Kind { return KindLedgerCreated }

func (b *LedgerCreated) check(c *checker) {
	if n := len(b.RootKeys); n == 0 || n > maxRootKeys {
		c.fail("root_keys", "want 1 to %d keys, found %d", maxRootKeys, n)
		return
	}
	for i := range b.RootKeys {
		c.item("root_keys", i, b.RootKeys[i].check)
		c.require("root_keys", !slices.Contains(b.RootKeys[:i], b.RootKeys[i])) // each once
	}
	if b.Successor != nil {
		c.in("successor", b.Successor.check)
	}
}

// Successor names the ledger that this one continues after a restore.
type Successor struct {
	Origin string  `json:"origin"`
	Head   HeadRef `json:"head"`
}

func (s *Successor) check(c *checker) {
	c.origin("origin", s.Origin)
	c.in("head", s.Head.check)
}

// ActorRegistered gives an actor a role and a key, or a host. From the next
// entry on, until revoked.
type ActorRegistered struct {
	Name  string   `json:"name"`
	Role  Role     `json:"role"`
	Key   *JWK     `json:"key,omitzero"`
	Host  string   `json:"host,omitzero"`  // role agent: the runtime that signs for it
	Teams []string `json:"teams,omitzero"` // role human
}

func (*ActorRegistered) Kind() Kind { return KindActorRegistered }

func (b *ActorRegistered) check(c *checker) {
	c.identifier("name", b.Name)
	oneOf(c, "role", b.Role, RoleRuntime, RoleAgent, RoleTool, RoleHuman)
	if (b.Key != nil) == (b.Host != "") {
		c.fail("key", "want a key or a host, and not both")
	}
	if b.Key != nil {
		c.in("key", b.Key.check)
	}
	c.optional("host", b.Host)
	c.only("host", b.Host != "", b.Role == RoleAgent, "with role agent")
	c.identifiers("teams", b.Teams)
	c.only("teams", len(b.Teams) > 0, b.Role == RoleHuman, "with role human")
}

// ActorRevoked ends a key, or an actor with all its keys, from the next entry on.
type ActorRevoked struct {
	Name        string `json:"name"`
	Key         Digest `json:"key,omitzero"`          // absent: all of them
	SuspectFrom *int64 `json:"suspect_from,omitzero"` // log index from which its records are in doubt
	Reason      string `json:"reason"`
}

func (*ActorRevoked) Kind() Kind { return KindActorRevoked }

func (b *ActorRevoked) check(c *checker) {
	c.identifier("name", b.Name)
	if b.SuspectFrom != nil {
		c.count("suspect_from", *b.SuspectFrom, 0)
	}
	c.identifier("reason", b.Reason)
}

// PayloadErased says that the payload under a commitment is gone.
type PayloadErased struct {
	Commit Digest `json:"commit"`
	Reason string `json:"reason"`
}

func (*PayloadErased) Kind() Kind { return KindPayloadErased }

func (b *PayloadErased) check(c *checker) {
	c.require("commit", !b.Commit.IsZero())
	c.identifier("reason", b.Reason)
}
