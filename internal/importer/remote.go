package importer

import (
	"context"
	"time"

	"ledgerd/audit"
	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/ledger"
)

// Remote imports into a daemon's ledger. Its client's token belongs to the
// runtime and has the rights to record and to read; Admin's has the right to
// administer.
type Remote struct {
	*client.Client
	Admin *client.Client       // sends registrations; nil: the same client
	Root  *evidence.PrivateKey // signs registrations; nil: agents have to be registered before
}

var (
	_ Ledger   = Remote{}
	_ Registry = Remote{}
)

// Number implements [Registry].
func (r Remote) Number(ctx context.Context) (int64, error) {
	g, err := r.Registry(ctx)
	if err != nil {
		return 0, err
	}
	return g.Number, nil
}

// Host implements [Registry].
func (r Remote) Host(ctx context.Context, agent, runtime string) error {
	agent, _ = audit.SplitInstance(agent)
	g, err := r.Registry(ctx)
	if err != nil {
		return err
	}
	for _, a := range g.Actors {
		if a.Name == agent && a.Active {
			return hosted(agent, string(a.Role), a.Host, runtime)
		}
	}
	if r.Root == nil {
		return notRegistered(agent, runtime)
	}
	admin := r.Admin
	if admin == nil {
		admin = r.Client
	}
	body := &evidence.ActorRegistered{Name: agent, Role: evidence.RoleAgent, Host: runtime}
	record, err := admin.NextRegistry(ctx, ledger.RootActor, body, evidence.TimeOf(time.Now()))
	if err != nil {
		return err
	}
	entry, err := evidence.Sign(record, r.Root)
	if err != nil {
		return err
	}
	_, err = admin.Append(ctx, entry)
	return err
}
