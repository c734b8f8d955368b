package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"ledgerd/evidence"
	"ledgerd/internal/api"
)

// NextRegistry fills in what a registry record has to say beside its body: its
// number, the record before it, origin and time. The caller signs it with a
// root key, and appends it; a conflict says that somebody else was faster.
func (c *Client) NextRegistry(ctx context.Context, root string, body evidence.Body, now evidence.Time) (*evidence.Record, error) {
	g, err := c.Registry(ctx)
	if err != nil {
		return nil, err
	}
	if g.Number < 0 {
		return nil, errNoRegistry
	}
	number := g.Number + 1
	return &evidence.Record{
		Origin: g.Origin, Kind: body.Kind(), Prev: g.Tip, Registry: &number, Actor: root, Time: now, Body: body,
	}, nil
}

// Tokens lists the daemon's tokens, without secrets.
func (c *Client) Tokens(ctx context.Context) ([]api.Token, error) {
	var a api.Tokens
	err := c.getJSON(ctx, api.PathTokens, nil, &a)
	return a.Tokens, err
}

// AddToken makes a token. Its secret is in the answer and nowhere else.
func (c *Client) AddToken(ctx context.Context, n api.NewToken) (*api.IssuedToken, error) {
	body, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	var t api.IssuedToken
	err = c.callJSON(ctx, &request{
		method: http.MethodPost, path: api.PathTokens, body: body, header: map[string]string{"Content-Type": api.MediaJSON},
	}, &t)
	return &t, err
}

// RevokeToken ends a token.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.callJSON(ctx, &request{method: http.MethodDelete, path: api.PathTokens + "/" + id}, nil)
}

// Backup has the daemon write a backup on its own machine.
func (c *Client) Backup(ctx context.Context) (*api.Backup, error) {
	var b api.Backup
	return &b, c.callJSON(ctx, &request{method: http.MethodPost, path: api.PathBackups}, &b)
}

// Check has the daemon recompute its whole store, which takes a while.
func (c *Client) Check(ctx context.Context) (*api.Checked, error) {
	var r api.Checked
	return &r, c.callJSON(ctx, &request{method: http.MethodPost, path: api.PathCheck}, &r)
}

// Metrics returns what the daemon tells Prometheus, in its text format.
func (c *Client) Metrics(ctx context.Context) (string, error) {
	resp, err := c.do(ctx, &request{method: http.MethodGet, path: api.PathMetrics})
	if err != nil {
		return "", asLedger(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return string(b), err
}

// Ready returns nil where the daemon takes records.
func (c *Client) Ready(ctx context.Context) error {
	return c.getJSON(ctx, api.PathReady, nil, nil)
}
