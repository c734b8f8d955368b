package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/evidence"
	"ledgerd/internal/api"
	"ledgerd/internal/datadir"
	"ledgerd/internal/server"
	"ledgerd/ledger"
)

func rootKeyFlag() cli.Flag {
	return &cli.PathFlag{Name: "root-key", Usage: "`FILE` with the root's private key (default: that in DIR)"}
}

func init() {
	key := []cli.Flag{
		&cli.PathFlag{Name: "key", Usage: "the actor's public key in `FILE` (JWK; of a private one, the public half)"},
		&cli.PathFlag{Name: "new-key", Usage: "make a key, and write its private half to `FILE` (0600)"},
	}
	register(&cli.Command{
		Name:  "actor",
		Usage: "register actors and their keys",
		Description: "Examples:\n" +
			"  # Who is registered, and with which keys?\n" +
			"  ledgerd actor list --data-dir data",
		Subcommands: []*cli.Command{
			{
				Name: "add", Usage: "register an actor",
				ArgsUsage: "NAME",
				Description: "An agent has a key of its own (--key, --new-key) or a runtime that hosts it (--host). Without\n" +
					"any of these a key is made, and kept in DIR/keys.\n\n" +
					"Examples:\n" +
					"  # An agent for which the daemon's runtime signs\n" +
					"  ledgerd actor add support --role agent --host runtime --data-dir data\n" +
					"  # A human who approves, with a new key that goes nowhere else\n" +
					"  ledgerd actor add mia --role human --team finance --new-key mia.jwk \\\n" +
					"    --data-dir data",
				Flags: ledgerFlags(append(key,
					outputFlag(), rootKeyFlag(),
					&cli.StringFlag{Name: "role", Usage: "its role: `runtime|agent|tool|human`", Required: true},
					&cli.StringFlag{Name: "host", Usage: "the `RUNTIME` that signs for the agent"},
					&cli.StringSliceFlag{Name: "team", Usage: "a human's `TEAM`"},
				)...),
				Action: with(addActor),
			},
			{
				Name: "list", Usage: "list actors and keys",
				Description: "Examples:\n" +
					"  # Everybody, one line each\n" +
					"  ledgerd actor list --data-dir data\n" +
					"  # For a program\n" +
					"  ledgerd actor list --output json --data-dir data",
				Flags: ledgerFlags(outputFlag()), Action: with(listActors),
			},
			{
				Name: "rotate", Usage: "give an actor a new key, and revoke those that it had",
				Description: "Examples:\n" +
					"  # Others may have seen the runtime's key\n" +
					"  ledgerd actor rotate runtime --reason leaked --data-dir data",
				ArgsUsage: "NAME",
				Flags: ledgerFlags(append(key, outputFlag(), rootKeyFlag(),
					&cli.StringFlag{Name: "reason", Value: "rotated", Usage: "`WHY`, an identifier"})...),
				Action: with(rotateActor),
			},
			{
				Name: "revoke", Usage: "end an actor, or one of its keys",
				Description: "Examples:\n" +
					"  # She works elsewhere now\n" +
					"  ledgerd actor revoke mia --reason left --data-dir data\n" +
					"  # A key was stolen: what it signed from index 2 on is in doubt\n" +
					"  ledgerd actor revoke reviewer --reason stolen --suspect-from 2 --data-dir data",
				ArgsUsage: "NAME",
				Flags: ledgerFlags(outputFlag(), rootKeyFlag(),
					&cli.StringFlag{Name: "kid", Usage: "only the key with the thumbprint `KID`"},
					&cli.Int64Flag{Name: "suspect-from", Value: -1, Usage: "what it signed from `INDEX` on is in doubt"},
					&cli.StringFlag{Name: "reason", Usage: "`WHY`, an identifier", Required: true}),
				Action: with(revokeActor),
			},
		},
	})
}

func addActor(c *cli.Context, t *target) error {
	if err := args(c, "NAME"); err != nil {
		return err
	}
	a := &evidence.ActorRegistered{
		Name: c.Args().First(), Role: evidence.Role(c.String("role")), Host: c.String("host"), Teams: c.StringSlice("team"),
	}
	root, err := rootKeyOf(c)
	if err != nil {
		return err
	}
	made := ""
	if a.Host == "" {
		key, path, err := actorKey(c, t, a.Name)
		if err != nil {
			return err
		}
		made = path
		jwk := key.JWK()
		a.Key = &jwk
	}
	p, err := t.appendRegistry(c.Context, root, a)
	if err != nil {
		if made != "" {
			err = errors.Join(err, os.Remove(made))
		}
		return err
	}
	return showActor(c, p, a.Name, "registered", made)
}

func showActor(c *cli.Context, p evidence.Placed, name, what, keyFile string) error {
	v := struct {
		Actor string      `json:"actor"`
		ID    evidence.ID `json:"id"`
		Index uint64      `json:"index"`
		Key   string      `json:"key_file,omitempty"`
	}{name, p.ID, p.Index, keyFile}
	text := fmt.Sprintf("%s %s, %s at index %d", name, what, p.ID, p.Index)
	if keyFile != "" {
		text += "\nprivate key: " + keyFile
	}
	return show(c, v, text)
}

// actorKey is the key that the flags name, or a new one. path is the file of a
// private key that was made.
func actorKey(c *cli.Context, t *target, name string) (key *evidence.PublicKey, path string, err error) {
	if c.Path("key") != "" && c.Path("new-key") != "" {
		return nil, "", usage("want one of --key and --new-key")
	}
	if file := c.Path("key"); file != "" {
		key, err = readPublic(file)
		return key, "", err
	}
	if path = c.Path("new-key"); path == "" {
		if c.Path("data-dir") == "" {
			return nil, "", usage("want --key FILE, --new-key FILE, or --host RUNTIME for a hosted agent")
		}
		d, err := dataDir(c)
		if err != nil {
			return nil, "", err
		}
		if path, err = d.KeyPath(name); err != nil {
			return nil, "", err
		}
	}
	private, err := datadir.NewKey(path)
	if err != nil {
		return nil, "", err
	}
	return private.Public(), path, nil
}

// readPublic reads a public JWK, or the public half of a private one.
func readPublic(file string) (*evidence.PublicKey, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if private, err := evidence.ParsePrivateJWK(b); err == nil {
		return private.Public(), nil
	}
	var jwk evidence.JWK
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&jwk); err != nil {
		return nil, fmt.Errorf("%s: want a JWK with members kty, crv and x: %w", file, err)
	}
	key, err := jwk.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

func listActors(c *cli.Context, t *target) error {
	if err := args(c); err != nil {
		return err
	}
	g, err := t.registry(c.Context)
	if err != nil {
		return err
	}
	for _, a := range g.Actors {
		line := fmt.Sprintf("%-24s %-8s", a.Name, a.Role)
		switch {
		case !a.Active:
			line += " revoked"
		case a.Host != "":
			line += " hosted by " + a.Host
		}
		if len(a.Teams) > 0 {
			line += " teams " + strings.Join(a.Teams, ",")
		}
		for _, k := range a.Keys {
			line += "\n  " + k.Kid.String()
			if k.Revoked != nil {
				line += fmt.Sprintf(" revoked at %d", *k.Revoked)
			}
		}
		if err := show(c, a, line); err != nil {
			return err
		}
	}
	return nil
}

func rotateActor(c *cli.Context, t *target) error {
	if err := args(c, "NAME"); err != nil {
		return err
	}
	name := c.Args().First()
	g, err := t.registry(c.Context)
	if err != nil {
		return err
	}
	old, err := keysThatHold(g, name)
	if err != nil {
		return err
	}
	root, err := rootKeyOf(c)
	if err != nil {
		return err
	}
	key, path, replace, err := rotatedKey(c, t, name)
	if err != nil {
		return err
	}
	jwk := key.JWK()
	// The new key first: at no index is the actor without one.
	p, err := t.appendRegistry(c.Context, root, &evidence.ActorRegistered{Name: name, Role: old.Role, Key: &jwk, Teams: old.Teams})
	if err != nil {
		if path != "" {
			err = errors.Join(err, os.Remove(path))
		}
		return err
	}
	if replace != "" {
		if err := os.Rename(path, replace); err != nil {
			return err
		}
		path = replace
	}
	for _, k := range old.Keys {
		if k.Revoked != nil {
			continue
		}
		if p, err = t.appendRegistry(c.Context, root, &evidence.ActorRevoked{Name: name, Key: k.Kid, Reason: c.String("reason")}); err != nil {
			return fmt.Errorf("the new key is registered; revoke the old one %s: %w", k.Kid, err)
		}
	}
	return showActor(c, p, name, "rotated", path)
}

// rotatedKey is actorKey for an actor whose key may be in the directory: the new
// one then takes its place, replace, once it is registered.
func rotatedKey(c *cli.Context, t *target, name string) (key *evidence.PublicKey, path, replace string, err error) {
	if c.Path("key") != "" || c.Path("new-key") != "" || c.Path("data-dir") == "" {
		key, path, err = actorKey(c, t, name)
		return key, path, "", err
	}
	d, err := dataDir(c)
	if err != nil {
		return nil, "", "", err
	}
	if replace, err = d.KeyPath(name); err != nil {
		return nil, "", "", err
	}
	path = replace + ".new"
	private, err := datadir.NewKey(path)
	if err != nil {
		return nil, "", "", err
	}
	return private.Public(), path, replace, nil
}

func keysThatHold(g *api.Registry, name string) (*api.Actor, error) {
	for i := range g.Actors {
		if a := &g.Actors[i]; a.Name == name {
			if !a.Active || a.Host != "" {
				return nil, fmt.Errorf("want %s to have a key of its own that holds", name)
			}
			return a, nil
		}
	}
	return nil, fmt.Errorf("no actor called %q is registered", name)
}

func revokeActor(c *cli.Context, t *target) error {
	if err := args(c, "NAME"); err != nil {
		return err
	}
	r := &evidence.ActorRevoked{Name: c.Args().First(), Reason: c.String("reason")}
	if kid := c.String("kid"); kid != "" {
		d, err := evidence.ParseDigest(kid)
		if err != nil {
			return usage("--kid: %v", err)
		}
		r.Key = d
	}
	if from := c.Int64("suspect-from"); from >= 0 {
		r.SuspectFrom = &from
	}
	root, err := rootKeyOf(c)
	if err != nil {
		return err
	}
	p, err := t.appendRegistry(c.Context, root, r)
	if err != nil {
		return err
	}
	return showActor(c, p, r.Name, "revoked", "")
}

// registry returns the actors and keys.
func (t *target) registry(ctx context.Context) (*api.Registry, error) {
	if t.remote != nil {
		return t.remote.Registry(ctx)
	}
	g := server.Registry(t.local.Registry())
	return &g, nil
}

// appendRegistry signs the next registry record and appends it.
func (t *target) appendRegistry(ctx context.Context, root *evidence.PrivateKey, body evidence.Body) (evidence.Placed, error) {
	var rec *evidence.Record
	var err error
	if t.remote != nil {
		rec, err = t.remote.NextRegistry(ctx, ledger.RootActor, body, evidence.TimeOf(time.Now()))
	} else {
		rec, err = t.local.NextRegistry(body)
	}
	if err != nil {
		return evidence.Placed{}, err
	}
	entry, err := evidence.Sign(rec, root)
	if err != nil {
		return evidence.Placed{}, err
	}
	placed, err := t.append(ctx, entry)
	if err != nil {
		return evidence.Placed{}, err
	}
	return placed[0], nil
}

func (t *target) append(ctx context.Context, entries ...[]byte) ([]evidence.Placed, error) {
	if t.remote != nil {
		return t.remote.Append(ctx, entries...)
	}
	return t.local.Append(ctx, entries...)
}
