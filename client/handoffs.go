package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"ledgerd/evidence"
	"ledgerd/handoff"
	"ledgerd/internal/api"
)

// Peers lists the daemon's peers.
func (c *Client) Peers(ctx context.Context) ([]api.Peer, error) {
	var a api.Peers
	err := c.getJSON(ctx, api.PathPeers, nil, &a)
	return a.Peers, err
}

// AddPeer adds a peer, or replaces the one of its origin.
func (c *Client) AddPeer(ctx context.Context, p api.Peer) (*api.Peer, error) {
	return post[api.Peer](ctx, c, http.MethodPost, api.PathPeers, p)
}

// RemovePeer forgets a peer.
func (c *Client) RemovePeer(ctx context.Context, origin string) error {
	return c.callJSON(ctx, &request{method: http.MethodDelete, path: api.PathPeers, query: url.Values{"origin": {origin}}}, nil)
}

// Handoffs returns one page of the ledger's handoffs, in log order, and what waits in
// the inbox. after is the last index of the page before, nil for the first.
func (c *Client) Handoffs(ctx context.Context, after *uint64) (*api.Handoffs, error) {
	q := url.Values{"limit": {strconv.Itoa(api.MaxPage)}}
	if after != nil {
		q.Set("after", strconv.FormatUint(*after, 10))
	}
	a := new(api.Handoffs)
	return a, c.getJSON(ctx, api.PathHandoffs, q, a)
}

// Handoff returns an offer to an agent of the daemon's ledger, which the daemon
// verified anew.
func (c *Client) Handoff(ctx context.Context, offer evidence.ID) (*api.Offered, error) {
	a := new(api.Offered)
	return a, c.getJSON(ctx, offerPath(api.PathHandoff, offer), nil, a)
}

// HandoffBundle returns the bundle about such an offer, for who verifies by itself.
func (c *Client) HandoffBundle(ctx context.Context, offer evidence.ID) ([]byte, error) {
	return c.getBytes(ctx, offerPath(api.PathHandoffBundle, offer), handoff.MaxBundle)
}

// TakeUp accepts an offer that waits for the agent of an open run, and has the run take
// it up. The same again is the same record.
func (c *Client) TakeUp(ctx context.Context, key string, offer evidence.ID) (*api.TakenUp, error) {
	return post[api.TakenUp](ctx, c, http.MethodPost, runPath(api.PathTakeUp, key), api.TakeUp{Offer: offer})
}

// RejectOffer records that the token's agent does not accept an offer that waits for
// it, because of a word of its own; "" where the offer does not hold up.
func (c *Client) RejectOffer(ctx context.Context, offer evidence.ID, because string) (*api.Rejection, error) {
	return post[api.Rejection](ctx, c, http.MethodPost, offerPath(api.PathHandoffReject, offer), api.RejectOffer{Because: because})
}

// SendHandoff has the daemon send an offer or an acceptance of its ledger now.
func (c *Client) SendHandoff(ctx context.Context, record evidence.ID) error {
	return c.callJSON(ctx, &request{method: http.MethodPost, path: offerPath(api.PathHandoffSend, record)}, nil)
}

// Offer offers work of a run to another agent, as the token's agent.
func (c *Client) Offer(ctx context.Context, key string, o api.MakeOffer) (*api.Offer, error) {
	return post[api.Offer](ctx, c, http.MethodPost, runPath(api.PathOffers, key), o)
}

func offerPath(path string, offer evidence.ID) string {
	return strings.Replace(path, "{offer}", offer.String(), 1)
}
