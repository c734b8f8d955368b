package quickstart

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/datadir"
)

// leads is the team that policies ask.
const leads = "support-leads"

// human is somebody who answers what agents wait for. Key and token are theirs,
// and not the operator's.
type human struct {
	name   string
	key    *evidence.PrivateKey
	client *client.Client
}

// hire makes a human's key in a directory of their own, and registers its public
// half.
func (t *tour) hire(ctx context.Context, name, team string) (*human, error) {
	home := t.dir.Path + "." + name
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, err
	}
	key, err := datadir.NewKey(filepath.Join(home, name+".jwk"))
	if err != nil {
		return nil, err
	}
	public := key.Public().JWK()
	err = t.register(ctx, &evidence.ActorRegistered{Name: name, Role: evidence.RoleHuman, Key: &public, Teams: []string{team}})
	if err != nil {
		return nil, err
	}
	secret, err := t.token(ctx, name, api.RightApprove, api.RightRead, api.RightPayloads)
	if err != nil {
		return nil, err
	}
	c, err := client.New(t.url, client.Options{Token: secret, BusyRetries: 10})
	return &human{name, key, c}, err
}

// reads returns what an authorization that waits would do, to the byte.
func (h *human) reads(ctx context.Context, authorization evidence.ID) (*evidence.Authorization, []byte, error) {
	placed, err := h.client.Get(ctx, authorization)
	if err != nil {
		return nil, nil, err
	}
	body, ok := placed.Record.Body.(*evidence.Authorization)
	if !ok {
		return nil, nil, fmt.Errorf("%s: want an authorization, found %s", authorization, placed.Record.Kind)
	}
	input, err := h.client.Payload(ctx, body.Input.Commit)
	if err != nil {
		return nil, nil, err
	}
	return body, input.Data, nil
}

// approves signs an approval of one authorization, to be used once and within the
// hour: what `ledgerd approvals approve` does.
func (h *human) approves(ctx context.Context, run evidence.RunID, authorization evidence.ID) (evidence.ID, error) {
	registry, err := h.client.Registry(ctx)
	if err != nil {
		return evidence.ID{}, err
	}
	now := time.Now()
	entry, err := evidence.Sign(&evidence.Record{
		Origin: registry.Origin, Kind: evidence.KindApproval, Run: run, About: authorization, Registry: &registry.Number,
		Actor: h.name, Time: evidence.TimeOf(now),
		Body: &evidence.Approval{Answer: evidence.Approve, Until: evidence.TimeOf(now.Add(time.Hour))},
	}, h.key)
	if err != nil {
		return evidence.ID{}, err
	}
	placed, err := h.client.Append(ctx, entry)
	if err != nil {
		return evidence.ID{}, err
	}
	return placed[0].ID, nil
}
