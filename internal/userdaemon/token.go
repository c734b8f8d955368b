package userdaemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"ledgerd/client"
	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/datadir"
	"ledgerd/internal/userdaemon/place"
	"ledgerd/internal/wholefile"
	"ledgerd/ledger"
)

// tokenPath is where an agent's token is kept.
func (h *Home) tokenPath(agent string, gateway bool) string {
	return place.Token(h.Path, agent, gateway)
}

// token returns the secret of an agent's token, made if there is none that the daemon
// knows, and the agent registered.
func (d daemon) token(ctx context.Context, agent string, gateway bool) (string, error) {
	if err := evidence.CheckIdentifier(agent); err != nil {
		return "", fmt.Errorf("the agent's name: %w", err)
	}
	if secret, err := d.known(ctx, agent, gateway, d.reach); secret != "" || err != nil {
		return secret, err
	}
	unlock, err := d.lock(ctx, "lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if secret, err := d.known(ctx, agent, gateway, d.reachLocked); secret != "" || err != nil {
		return secret, err // another was faster
	}
	dir, err := d.dir()
	if err != nil {
		return "", err
	}
	secret, err := dir.AdminToken()
	if err != nil {
		return "", fmt.Errorf("a token for %s: %w", agent, err)
	}
	admin, err := d.client(secret, d.reachLocked)
	if err != nil {
		return "", err
	}
	if err := register(ctx, admin, dir, agent); err != nil {
		return "", err
	}
	rights, note := []api.Right{api.RightAct, api.RightRead}, "agent"
	if gateway {
		rights, note = append(rights, api.RightGateway), "gateway"
	}
	made, err := admin.AddToken(ctx, api.NewToken{Actor: agent, Rights: rights, Note: note + ", of this user's daemon"})
	if err != nil {
		return "", d.older(ctx, fmt.Errorf("a token for %s: %w", agent, err))
	}
	path := d.tokenPath(agent, gateway)
	if err := os.MkdirAll(d.file("tokens"), 0o700); err != nil {
		return "", err
	}
	return made.Secret, wholefile.Write(path, []byte(made.Secret+"\n"), true)
}

// known returns the secret that is kept for an agent; "" where there is none that the
// daemon knows.
func (d daemon) known(ctx context.Context, agent string, gateway bool, again func(context.Context) error) (string, error) {
	path := d.tokenPath(agent, gateway)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s: want mode 0600, found %04o: others may have read it. Revoke the token (ledgerd token), and remove the file", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(b))
	if secret == "" {
		return "", nil
	}
	c, err := d.client(secret, again)
	if err != nil {
		return "", err
	}
	registry, err := c.Registry(ctx)
	var p *client.Problem
	if errors.As(err, &p) && p.Status == http.StatusUnauthorized {
		return "", nil // revoked, expired, or of a ledger that was here before
	}
	if err != nil {
		return "", err
	}
	a := find(registry, agent)
	if a == nil {
		return "", nil
	}
	return secret, acts(a, registry.Origin)
}

func find(g *api.Registry, name string) *api.Actor {
	for i := range g.Actors {
		if g.Actors[i].Name == name {
			return &g.Actors[i]
		}
	}
	return nil
}

// acts reports why an actor is no agent for which the daemon signs.
func acts(a *api.Actor, origin string) error {
	switch {
	case !a.Active:
		return fmt.Errorf("the agent %s was revoked in %s, and acts no more: choose another name", a.Name, origin)
	case a.Role != evidence.RoleAgent:
		return fmt.Errorf("want an agent, and %s is a %s in %s: choose another name", a.Name, a.Role, origin)
	case a.Host == "":
		return fmt.Errorf("want an agent that the runtime hosts, and %s has a key of its own in %s: choose another name", a.Name, origin)
	}
	return nil
}

// registerTries is how often others may register somebody first.
const registerTries = 5

// register registers an agent that the runtime hosts, unless it is registered.
func register(ctx context.Context, admin *client.Client, dir *datadir.Dir, agent string) error {
	for try := 1; ; try++ {
		g, err := admin.Registry(ctx)
		if err != nil {
			return err
		}
		if a := find(g, agent); a != nil {
			return acts(a, g.Origin)
		}
		root, err := dir.Root()
		if errors.Is(err, datadir.ErrNoKey) {
			return fmt.Errorf("the agent %s is not registered, and the root's key, which registers agents, is kept elsewhere: ledgerd actor add %s --role agent --host %s --data-dir %s --root-key FILE",
				agent, agent, dir.Runtime, dir.Path)
		}
		if err != nil {
			return err
		}
		body := &evidence.ActorRegistered{Name: agent, Role: evidence.RoleAgent, Host: dir.Runtime}
		rec, err := admin.NextRegistry(ctx, ledger.RootActor, body, evidence.TimeOf(time.Now()))
		if err != nil {
			return err
		}
		entry, err := evidence.Sign(rec, root)
		if err != nil {
			return err
		}
		_, err = admin.Append(ctx, entry)
		var conflict *ledger.ConflictError
		if errors.As(err, &conflict) && try < registerTries {
			continue
		}
		if err != nil {
			return fmt.Errorf("registering the agent %s: %w", agent, err)
		}
		return nil
	}
}

// older says of which version the daemon is that refused something: it may be one that
// was started before this program was replaced.
func (d daemon) older(ctx context.Context, err error) error {
	return fmt.Errorf("%w (the daemon is ledgerd %s: where it is older than this program, ledgerd daemon stop, and try again)", err, d.version(ctx))
}
