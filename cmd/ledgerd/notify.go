package main

import (
	"context"
	"encoding/json"
	"iter"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"ledgerd/internal/agent"
	"ledgerd/internal/datadir"
	"ledgerd/internal/notify"
	"ledgerd/runtime"
)

// notifyFlags are those of serve that say how humans hear of what waits for them.
func notifyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "notify-command", Usage: "`COMMAND` that is run with what waits for a human on its standard input: a path, or a JSON array of a path and arguments"},
		&cli.StringFlag{Name: "notify-webhook", Usage: "`URL` that it is posted to; better as LEDGERD_NOTIFY_WEBHOOK_FILE where it holds a secret"},
		&cli.PathFlag{Name: "notify-secret-file", Usage: "`FILE` (0600) with the secret that signs it: whsec_ and base64"},
		&cli.StringSliceFlag{Name: "notify-allow", Usage: "addresses that are not public, and that the webhook may be at all the same, as `CIDR`"},
	}
}

// notifier tells humans what waits; nil where nobody said how. It is to be started.
func notifier(c *cli.Context, l *datadir.Ledger, log *slog.Logger) (*notify.Notifier, error) {
	var senders []notify.Sender
	if text := c.String("notify-command"); text != "" {
		argv := []string{text}
		if strings.HasPrefix(text, "[") {
			if err := json.Unmarshal([]byte(text), &argv); err != nil {
				return nil, usage("--notify-command: want a path, or a JSON array of strings")
			}
		}
		s, err := notify.NewCommand(argv, 0)
		if err != nil {
			return nil, usage("--notify-command: %v", err)
		}
		senders = append(senders, s)
	}
	s, err := webhook(c)
	if err != nil {
		return nil, err
	}
	if s != nil {
		senders = append(senders, s)
	}
	if len(senders) == 0 || l.Dir.Copy { // in a copy nobody can answer
		return nil, nil
	}
	return notify.New(notify.Config{
		Senders: senders, Origin: l.Origin(), Logger: log,
		Waiting: func(ctx context.Context) iter.Seq2[runtime.Notice, error] {
			return agent.Notices(ctx, l.Ledger, time.Now())
		},
	}), nil
}

func webhook(c *cli.Context) (notify.Sender, error) {
	url, file := c.String("notify-webhook"), c.Path("notify-secret-file")
	switch {
	case url == "" && file == "" && !c.IsSet("notify-allow"):
		return nil, nil
	case url == "" || file == "":
		return nil, usage("want --notify-webhook and --notify-secret-file together: who is told has to know that it is true")
	}
	cfg := notify.WebhookConfig{URL: url}
	for _, text := range c.StringSlice("notify-allow") {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, usage("--notify-allow: want a prefix such as 10.0.0.7/32, found %q", text)
		}
		cfg.Allow = append(cfg.Allow, p)
	}
	var err error
	if cfg.Secret, err = notify.ReadSecret(file); err != nil {
		return nil, usage("--notify-secret-file: %v", err)
	}
	s, err := notify.NewWebhook(cfg)
	if err != nil {
		return nil, usage("--notify-webhook: %v", err)
	}
	return s, nil
}

// lastWords is how long messages that are on their way at the stop have to arrive.
const lastWords = 5 * time.Second

func hush(n *notify.Notifier) {
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	n.Close(ctx)
}
