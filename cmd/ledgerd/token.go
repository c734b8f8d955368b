package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/internal/api"
	"ledgerd/internal/server"
	"ledgerd/internal/wholefile"
	"ledgerd/ledger/pebblestore"
)

func init() {
	register(&cli.Command{
		Name:  "token",
		Usage: "make and revoke tokens",
		Description: "Examples:\n" +
			"  # Which tokens are there, and whose are they?\n" +
			"  ledgerd token list --data-dir data",
		Subcommands: []*cli.Command{
			{
				Name: "add", Usage: "make a token; its secret is shown once",
				Description: "Examples:\n" +
					"  # For a runtime on another machine\n" +
					"  ledgerd token add --actor runtime --right record --right read \\\n" +
					"    -o runtime.token --data-dir data\n" +
					"  # For a dashboard, until that time\n" +
					"  ledgerd token add --actor runtime --right read \\\n" +
					"    --expires 2099-12-31T00:00:00Z --note dashboard \\\n" +
					"    -o dashboard.token --data-dir data",
				Flags: ledgerFlags(outputFlag(),
					&cli.StringFlag{Name: "actor", Usage: "the `ACTOR` that it belongs to", Required: true},
					&cli.StringSliceFlag{Name: "right", Usage: "a right that it carries: `record|read|payloads|approve|act|gateway|administer`", Required: true},
					&cli.StringFlag{Name: "expires", Usage: "until this `TIME` (RFC 3339)"},
					&cli.StringFlag{Name: "note", Usage: "`TEXT` for whoever reads the list"},
					&cli.PathFlag{Name: "o", Usage: "write the secret to `FILE` (0600) and not to stdout"},
				),
				Action: addToken,
			},
			{
				Name: "list", Usage: "list tokens, without secrets",
				Description: "Examples:\n" +
					"  # Which tokens are there, and whose are they?\n" +
					"  ledgerd token list --data-dir data",
				Flags: ledgerFlags(outputFlag()), Action: listTokens,
			},
			{
				Name: "revoke", Usage: "end a token",
				Description: "Examples:\n" +
					"  # TOKEN is its name in the list, such as tok_5f0c21a79b3d\n" +
					"  ledgerd token revoke \"$TOKEN\" --data-dir data",
				ArgsUsage: "TOKEN", Flags: ledgerFlags(outputFlag()), Action: revokeToken,
			},
		},
	})
}

// withTokens runs local on the file of tokens in --data-dir where no daemon has
// it, and remote on the daemon otherwise. The ledger is opened for its lock: a
// daemon that has read the file would not see a change.
func withTokens(c *cli.Context, local func(*server.Tokens) error, remote func(*target) error) error {
	t, err := openTarget(c)
	if err != nil {
		if errors.Is(err, pebblestore.ErrLocked) {
			return fmt.Errorf("%w: the daemon changes its tokens itself", err)
		}
		return err
	}
	if t.remote != nil {
		return remote(t)
	}
	tokens, err := t.local.Dir.Tokens()
	if err == nil {
		err = local(tokens)
	}
	return errors.Join(err, t.Close())
}

func addToken(c *cli.Context) error {
	if err := args(c); err != nil {
		return err
	}
	want := api.NewToken{Actor: c.String("actor"), Expires: c.String("expires"), Note: c.String("note")}
	for _, r := range c.StringSlice("right") {
		want.Rights = append(want.Rights, api.Right(r))
	}
	var made *api.IssuedToken
	err := withTokens(c,
		func(s *server.Tokens) (err error) { made, err = s.Add(want, time.Now()); return err },
		func(t *target) (err error) { made, err = t.remote.AddToken(c.Context, want); return err })
	if err != nil {
		return err
	}
	if path := c.Path("o"); path != "" {
		if err := wholefile.Write(path, []byte(made.Secret+"\n"), false); err != nil {
			return fmt.Errorf("token %s was made, and its secret is lost: revoke it. %w", made.ID, err)
		}
		return show(c, made.Token, fmt.Sprintf("%s for %s, secret in %s", made.ID, made.Actor, path))
	}
	return show(c, made, made.Secret)
}

func listTokens(c *cli.Context) error {
	if err := args(c); err != nil {
		return err
	}
	var all []api.Token
	err := withTokens(c,
		func(s *server.Tokens) error { all = s.List(); return nil },
		func(t *target) (err error) { all, err = t.remote.Tokens(c.Context); return err })
	if err != nil {
		return err
	}
	for _, t := range all {
		var rights []string
		for _, r := range t.Rights {
			rights = append(rights, string(r))
		}
		line := fmt.Sprintf("%s  %-16s %s", t.ID, t.Actor, strings.Join(rights, ","))
		if t.Expires != "" {
			line += "  until " + t.Expires
		}
		if t.Note != "" {
			line += "  " + t.Note
		}
		if err := show(c, t, line); err != nil {
			return err
		}
	}
	return nil
}

func revokeToken(c *cli.Context) error {
	if err := args(c, "TOKEN"); err != nil {
		return err
	}
	id := c.Args().First()
	err := withTokens(c,
		func(s *server.Tokens) error { return s.Revoke(id) },
		func(t *target) error { return t.remote.RevokeToken(c.Context, id) })
	if err != nil {
		return err
	}
	return show(c, map[string]string{"revoked": id}, id+" revoked")
}
