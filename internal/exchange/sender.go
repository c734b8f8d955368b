package exchange

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"ledgerd/internal/api"
)

// Sender posts bundles to peers' inboxes, and to nobody else: it follows no redirect
// and asks no proxy of the environment.
type Sender struct{ client *http.Client }

// NewSender returns a Sender that trusts what the configuration does; nil: the
// system's roots.
func NewSender(config *tls.Config) *Sender {
	return &Sender{&http.Client{
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second, TLSClientConfig: config,
			ExpectContinueTimeout: time.Second, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// sendTime is how long a bundle of n bytes may take on its way, verification
// included.
func sendTime(n int) time.Duration { return 2*time.Minute + time.Duration(n)*time.Second/(32<<10) }

// maxAnswer bounds what is read of a peer's answer, in bytes: a problem may hold a
// tree head.
const maxAnswer = 256 << 10

// Send posts a bundle to the inbox at a peer's URL. What the peer says against it is a
// [*api.Problem], or a [*Later] where it says when to come again; its text is the
// peer's, whom nobody vouches for.
func (s *Sender) Send(ctx context.Context, url string, bundle []byte) (*api.Received, error) {
	if err := CheckURL(url); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime(len(bundle)))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+api.PathHandoffs, bytes.NewReader(bundle))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", api.MediaBundle)
	req.Header.Set("Expect", "100-continue") // a refusal that needs no body comes before it
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the peer's answer: %w", err)
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusAccepted {
		got := new(api.Received)
		if err := json.Unmarshal(b, got); err != nil {
			return nil, fmt.Errorf("the peer's answer: %w", err)
		}
		return got, nil
	}
	p := new(api.Problem)
	if json.Unmarshal(b, p) != nil || p.Status != resp.StatusCode || p.Reason == "" {
		// Something between us and the peer, or no daemon at all.
		p = api.NewProblem(resp.StatusCode, "no_problem", "want a problem as %s, found %q", api.MediaProblem, clip(resp.Header.Get("Content-Type")))
	}
	p.Reason, p.Detail = clip(p.Reason), clip(p.Detail)
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		return nil, &Later{p, min(time.Duration(min(s, 1<<20))*time.Second, maxRetry)}
	}
	return nil, p
}

// clip bounds what is kept of a peer's words.
func clip(s string) string {
	const most = 500
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// problemIn returns the problem in an error, nil where there is none.
func problemIn(err error) *api.Problem {
	p, _ := errors.AsType[*api.Problem](err)
	return p
}
