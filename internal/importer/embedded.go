package importer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"ledgerd/audit"
	"ledgerd/evidence"
	"ledgerd/ledger"
)

// Embedded imports into a ledger that this process holds open.
type Embedded struct {
	*ledger.Ledger
	Root *evidence.PrivateKey // registers agents; nil: they have to be registered before
}

var (
	_ Ledger   = Embedded{}
	_ Registry = Embedded{}
)

// Payload implements [Ledger].
func (e Embedded) Payload(ctx context.Context, commit evidence.Digest) (*evidence.Payload, error) {
	p, err := e.Ledger.Payload(ctx, commit)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(p)
	if err := errors.Join(err, p.Close()); err != nil {
		return nil, err
	}
	return &evidence.Payload{Salt: p.Salt, Media: p.Media, Data: data}, nil
}

// Number implements [Registry].
func (e Embedded) Number(context.Context) (int64, error) { return e.Ledger.Registry().Number(), nil }

// Host implements [Registry].
func (e Embedded) Host(ctx context.Context, agent, runtime string) error {
	agent, _ = audit.SplitInstance(agent)
	for _, a := range e.Ledger.Registry().Actors() {
		if a.Name != agent || !a.Active() {
			continue
		}
		return hosted(agent, string(a.Role), a.Host, runtime)
	}
	if e.Root == nil {
		return notRegistered(agent, runtime)
	}
	_, err := e.Register(ctx, e.Root, &evidence.ActorRegistered{Name: agent, Role: evidence.RoleAgent, Host: runtime})
	return err
}

// hosted reports why an actor that is registered cannot be imported for.
func hosted(agent, role, host, runtime string) error {
	if role == string(evidence.RoleAgent) && host == runtime {
		return nil
	}
	found := fmt.Sprintf("registered as %s", role)
	switch {
	case host != "":
		found += " under the runtime " + host
	case role == string(evidence.RoleAgent):
		found += " with a key of its own"
	}
	return fmt.Errorf("want %q to be an agent that the runtime %s signs for, found it %s: "+
		"a transcript cannot speak for it. Give the runs another actor", agent, runtime, found)
}

func notRegistered(agent, runtime string) error {
	return fmt.Errorf("%q is not registered, and the root key is not here to register it: "+
		"run `ledgerd actor add --role agent --host %s %s` where that key is, then import again", agent, runtime, agent)
}
